"""The parts that a kind of server can leave out, as they are then. The registry takes them from here.

Always holds: of a target of such a kind, the check sends nothing but the probe, which changes nothing there.
"""

import time
from typing import TYPE_CHECKING

from restbroker.light import frozen

if TYPE_CHECKING:  # pushing a job does without them, and without Trio
    from restbroker.config.target import Target
    from restbroker.servers.allowed_commands import AllowedCommands
    from restbroker.servers.findings import Finding


DIALECT = None
"""The server has no command line that `restbroker ctl` stands in for."""


@frozen
class Options:
    """No options: nothing is written under `Options`."""


async def check(target: "Target") -> "list[Finding]":
    """Send the connector's probe, and return its result, or why it got no answer, as a finding. Safe to cancel.

    Raise `ConfigError` if there is no connector.
    """
    from restbroker.servers import registry  # for a check alone, as all here
    from restbroker.servers.api.checks import finding, open_client, unreachable
    from restbroker.servers.api.health import Health
    from restbroker.servers.contract import DirectLink, Ports
    from restbroker.transport.message import MaybeSent, NotSent

    try:
        async with open_client(target) as http:
            connector = registry.open_connector(target, Ports(lambda _: None, time.time, http))
            probe = await connector.probe(DirectLink(http))
    except (NotSent, MaybeSent) as error:
        return [unreachable(target, error, "Check that the server runs, and the target's URL.")]
    code = "Reachable" if probe.ok else "LoginRefused" if probe.denied else "Unwell"
    return [finding(target, Health(probe, code))]


def suggest(_target: "Target", _allowed: "AllowedCommands") -> None:
    """Return None: it is not known how such a server's configuration grants rights."""
