"""What `restbroker check` finds about a target of kind `prosody-roster`. The registry calls `check`.

Always holds: no user is refreshed, and nothing is changed.
"""

from restbroker.config.target import Target
from restbroker.rosters.refresh import classify, request
from restbroker.servers.api.checks import open_client
from restbroker.servers.findings import Finding, Texts, ok
from restbroker.transport.errors import MaybeSent, NotSent

_TEXTS = Texts.beside(__file__)
_LOOPBACK = ("localhost", "::1")


async def check(target: Target) -> list[Finding]:
    """Return all findings about this target; problems that an operator can act on are among them. Safe to cancel."""
    if target.is_local:
        return [ok(target.name, "Local", "Its commands run in Redis: there is no server to ask.")]
    return [await _answer(target), *_open_to_all(target)]


async def _answer(target: Target) -> Finding:
    try:
        async with open_client(target) as http:
            probe = classify.read_probe(await http.send(request.probe_request(target)))
    except (NotSent, MaybeSent) as error:
        return _TEXTS.finding(target.name, "Unreachable", message=error.message)
    message = f"{target.url}: {probe.detail}"
    if probe.denied:
        case = "ModuleMissing" if probe.detail == classify.MISSING.message else "LoginRefused"
        return _TEXTS.finding(target.name, case, message=message, hint=probe.hint)
    if not probe.ok:
        return _TEXTS.finding(target.name, "Unwell", message=message, hint=probe.hint)
    return ok(target.name, "Reachable", f"{target.url}: {probe.detail}")


def _open_to_all(target: Target) -> list[Finding]:
    host = target.url.host
    if target.url.socket is not None or target.credentials is not None:
        return []
    if host in _LOOPBACK or host.startswith("127."):
        return []
    return [_TEXTS.finding(target.name, "OpenRefresh", url=target.url)]
