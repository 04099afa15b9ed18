"""What `restbroker check` checks in a target of kind `openfire-rest`. The registry calls `check`.

Always holds: nothing changes on the server.
"""

import time

from restbroker.config.target import Target
from restbroker.servers.api.checks import asking, finding
from restbroker.servers.contract import DirectLink
from restbroker.servers.findings import Finding, ok
from restbroker.servers.openfire.access import tls_hint
from restbroker.servers.openfire.rest.connector import RestSender


async def check(target: Target) -> list[Finding]:
    """Ask the target's server as its probe does, and return the findings; a failure is a finding, too.

    Safe to cancel.
    """
    found = list[Finding]()
    hint = "Check that Openfire runs, the address and port of its console, and the target's URL."
    async with asking(target, found, hint, tls_hint(target, 9090, 9091)) as http:
        health = await RestSender(target, {}, time.time).look(DirectLink(http))
        found.append(finding(target, health))
        if health.probe.ok:
            version = health.probe.version
            about = "A REST API plugin of unknown version" if version is None else f"REST API plugin {version}"
            found.append(ok(target.name, "Version", f"{about}."))
    return found
