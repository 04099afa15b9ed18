"""The system properties of Openfire that give access to a plugin. Used by `suggest` of both plugins' kinds. Pure."""

from collections.abc import Iterator

from restbroker.config.target import Target
from restbroker.config.urls import is_loopback
from restbroker.servers.allowed import AllowedCommands


def remarks(target: Target, allowed: AllowedCommands) -> Iterator[str]:
    """Yield the lines of comment to put above the properties: what an operator must know about them."""
    yield f"# System properties of Openfire (console: Server, Server Manager, System Properties), for {target.name}"
    yield "# The plugin has no rights by command: whoever logs in may do all of it. Which commands jobs may ask for,"
    yield "# only the tokens' Allow says, so that no one else may have the login or reach the port."
    if allowed.hosts:
        yield f"# That jobs keep to {', '.join(allowed.hosts)} is seen to by restbroker alone."


def addresses(target: Target, plugin: str) -> str:
    """Return the property with the addresses that may reach the plugin, or a placeholder for restbroker's."""
    address = "127.0.0.1" if is_loopback(target.url.host) else "THE ADDRESSES OF RESTBROKER'S MACHINES"
    return f"{plugin}.allowedIPs = {address}"
