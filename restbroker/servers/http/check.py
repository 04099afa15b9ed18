"""What `restbroker check` checks in a target of kind `http`. The registry calls `check`.

Always holds: only the probe is sent, which changes nothing there.
"""

from fnmatch import fnmatchcase

from restbroker.config.target import Target
from restbroker.servers.api.checks import asking, finding
from restbroker.servers.findings import Finding, Texts, ok
from restbroker.servers.http.catalogue import settings_of
from restbroker.servers.http.connector import health_of
from restbroker.servers.http.request import question

_TEXTS = Texts.beside(__file__)


async def check(target: Target) -> list[Finding]:
    """Return all findings about this target; a failure that a person can act on is a finding, too. Safe to cancel."""
    settings, hint = settings_of(target), "Check that the server runs, and the target's URL;"
    found = [ok(target.name, "Commands", f"Jobs may run {', '.join(sorted(settings.recipes))}.")]
    if (count := len(settings.signing)) > 0:
        by = "one secret" if count == 1 else f"{count} secrets"
        found.append(ok(target.name, "Signed", f"Each request is signed with {by} (Standard Webhooks)."))
    once = [name for name in settings.recipes for glob in target.at_most_once if fnmatchcase(name, glob)]
    if once and settings.probe is None:
        found.append(_TEXTS.finding(target.name, "NoProbe"))
    async with asking(target, found, f"{hint} for a server in a private network set AllowPrivate in Options.") as http:
        health = health_of(await http.send(question(target, settings)), is_asked=settings.probe is not None)
        if not health.probe.ok:
            found.append(finding(target, health))
        elif settings.probe is None:
            found.append(_TEXTS.finding(target.name, "LoginUnknown", url=target.url))
        else:
            found.append(ok(target.name, "Reachable", f"{target.url} answers and accepts the login."))
    return found
