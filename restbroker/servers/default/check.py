"""The part of `restbroker check` for a target whose kind has no check of its own: its probe.

Always holds: nothing but the probe is sent, which changes nothing there.
"""

import time

from restbroker.config.target import Target
from restbroker.servers import registry
from restbroker.servers.api.checks import finding, open_client, unreachable
from restbroker.servers.api.health import Health
from restbroker.servers.contract import DirectLink, Ports
from restbroker.servers.findings import Finding
from restbroker.transport.errors import MaybeSent, NotSent


async def check(target: Target) -> list[Finding]:
    """Send the connector's probe, and return its result, or why it got no answer, as a finding. Safe to cancel.

    Raise `ConfigError` if there is no connector.
    """
    try:
        async with open_client(target) as http:
            connector = registry.open_connector(target, Ports(lambda _: None, time.time, http))
            probe = await connector.probe(DirectLink(http))
    except (NotSent, MaybeSent) as error:
        return [unreachable(target, error, "Check that the server runs, and the target's URL.")]
    code = "Reachable" if probe.ok else "LoginRefused" if probe.denied else "Unwell"
    return [finding(target, Health(probe, code))]
