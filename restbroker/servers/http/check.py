"""What `restbroker check` checks in a target of kind `http`. The registry calls `check`.

Always holds: only the probe is sent, which changes nothing there.
"""

from restbroker.config.target import Target
from restbroker.servers.api.checks import finding, open_client, unreachable
from restbroker.servers.api.request import unsent
from restbroker.servers.findings import Finding, Texts, ok
from restbroker.servers.http.catalogue import Settings, settings_of
from restbroker.servers.http.connector import health_of
from restbroker.servers.http.request import question
from restbroker.transport.errors import MaybeSent, NotSent

_TEXTS = Texts.beside(__file__)


async def check(target: Target) -> list[Finding]:
    """Return all findings about this target; a failure that a person can act on is a finding, too. Safe to cancel."""
    settings = settings_of(target)
    return [
        _commands(target, settings),
        *([_check_signature(target, settings)] if settings.signing else []),
        *([_TEXTS.finding(target.name, "NoProbe")] if target.at_most_once and settings.probe is None else []),
        await _answer(target, settings),
    ]


async def _answer(target: Target, settings: Settings) -> Finding:
    try:
        async with open_client(target) as http:
            response = await http.send(unsent(lambda: question(target, settings)))
    except (NotSent, MaybeSent) as error:
        hint = "Check that the server runs, and the target's URL;"
        return unreachable(target, error, f"{hint} for a server in a private network set AllowPrivate in Options.")
    health = health_of(response, is_asked=settings.probe is not None)
    if not health.probe.ok:
        return finding(target, health)
    if settings.probe is None:
        return _TEXTS.finding(target.name, "LoginUnknown", url=target.url)
    return ok(target.name, "Reachable", f"{target.url} answers and accepts the login.")


def _commands(target: Target, settings: Settings) -> Finding:
    return ok(target.name, "Commands", f"Jobs may run {', '.join(sorted(settings.recipes))}.")


def _check_signature(target: Target, settings: Settings) -> Finding:
    by = "one secret" if len(settings.signing) == 1 else f"{len(settings.signing)} secrets"
    return ok(target.name, "Signed", f"Each request is signed with {by} (Standard Webhooks).")
