"""What `restbroker check` finds about a target of kind `prosody-roster`. The registry calls `check`.

Always holds: no user is refreshed, and nothing is changed.
"""

from restbroker.config.target import Target
from restbroker.rosters.refresh import classify, request
from restbroker.servers.api.checks import open_client
from restbroker.servers.findings import Finding, ok
from restbroker.transport.errors import MaybeSent, NotSent

_WAIT = "Refreshes wait in Redis until it works."
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
        hint = "Check that Prosody runs with mod_http, and the target's URL."
        return Finding(
            "problem", target.name, "Unreachable", message=error.message, why=_WAIT, hint=hint, cause="target"
        )
    message = f"{target.url}: {probe.detail}"
    if probe.denied:
        code = classify.MISSING.code if probe.detail == classify.MISSING.message else "LoginRefused"
        return Finding("problem", target.name, code, message=message, why=_WAIT, hint=probe.hint, cause="refused")
    if not probe.ok:
        return Finding("problem", target.name, "Unwell", message=message, why=_WAIT, hint=probe.hint, cause="target")
    return ok(target.name, "Reachable", f"{target.url}: {probe.detail}")


def _open_to_all(target: Target) -> list[Finding]:
    host = target.url.host
    if target.url.socket is not None or target.credentials is not None:
        return []
    if host in _LOOPBACK or host.startswith("127."):
        return []
    message = f"{target.url} is not on this machine, and no login is configured for it."
    why = "The module requires no login: anyone who reaches it can refresh any user."
    hint = "Let Prosody listen on loopback only (http_interfaces), or put a proxy with a login in front."
    return [Finding("warning", target.name, "OpenRefresh", message=message, why=why, hint=hint)]
