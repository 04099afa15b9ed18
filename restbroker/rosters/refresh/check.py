"""What `restbroker check` finds about a target of kind `prosody-roster`. The registry calls `check`.

Always holds: no user is refreshed, and nothing is changed.
"""

from restbroker.config.target import Target
from restbroker.config.urls import is_loopback
from restbroker.rosters.refresh.sender import health_of, probe_request
from restbroker.servers.api.checks import asking, finding
from restbroker.servers.findings import Finding, ok


async def check(target: Target) -> list[Finding]:
    """Return all findings about this target; problems that an operator can act on are among them. Safe to cancel."""
    if target.is_local:
        return [ok(target.name, "Local", "Its commands run in Redis: there is no server to ask.")]
    found = list[Finding]()
    async with asking(target, found, "Check that Prosody runs with mod_http, and the target's URL.") as http:
        found.append(finding(target, health_of(await http.send(probe_request(target)))))
    if target.url.socket is None and target.credentials is None and not is_loopback(target.url.host):
        why = "The module requires no login: anyone who reaches it can refresh any user."
        hint = "Let Prosody listen on loopback only (http_interfaces), or put a proxy with a login in front."
        message = f"{target.url} is not on this machine, and no login is configured for it."
        found.append(Finding("warning", target.name, "OpenRefresh", message, why=why, hint=hint))
    return found
