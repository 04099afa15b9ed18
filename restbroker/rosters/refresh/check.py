"""What `restbroker check` finds about a target of kind `prosody-roster`. The registry calls `check`.

Always holds: no user is refreshed, and nothing is changed.
"""

from restbroker.config.target import Target
from restbroker.config.urls import is_loopback
from restbroker.rosters.refresh.sender import health_of, probe_request
from restbroker.servers.api.checks import finding, open_client, unreachable
from restbroker.servers.findings import Finding, ok
from restbroker.transport.errors import MaybeSent, NotSent


async def check(target: Target) -> list[Finding]:
    """Return all findings about this target; problems that an operator can act on are among them. Safe to cancel."""
    if target.is_local:
        return [ok(target.name, "Local", "Its commands run in Redis: there is no server to ask.")]
    try:
        async with open_client(target) as http:
            answer = finding(target, health_of(await http.send(probe_request(target))))
    except (NotSent, MaybeSent) as error:
        answer = unreachable(target, error, "Check that Prosody runs with mod_http, and the target's URL.")
    is_open = target.url.socket is None and target.credentials is None and not is_loopback(target.url.host)
    return [answer, _open_to_all(target)] if is_open else [answer]


def _open_to_all(target: Target) -> Finding:
    return Finding(
        "warning",
        target.name,
        "OpenRefresh",
        f"{target.url} is not on this machine, and no login is configured for it.",
        why="The module requires no login: anyone who reaches it can refresh any user.",
        hint="Let Prosody listen on loopback only (http_interfaces), or put a proxy with a login in front.",
    )
