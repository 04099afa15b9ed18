"""The system properties of Openfire that give access to a plugin. Used by `suggest` of both plugins' kinds. Pure."""

from collections.abc import Iterator

from restbroker.config.target import Target
from restbroker.config.urls import is_loopback
from restbroker.servers.allowed_commands import AllowedCommands


def remarks(target: Target, allowed: AllowedCommands) -> Iterator[str]:
    """Yield the lines of comment to put above the properties: what an operator must know about them."""
    yield f"# System properties of Openfire (console: Server, Server Manager, System Properties), for {target.name}"
    yield "# The plugin has no rights by command: anyone who logs in may do everything. Only the tokens' Allow limits"
    yield "# what jobs may run: give no one else the login or access to the port."
    if allowed.hosts:
        yield f"# Only restbroker keeps jobs to {', '.join(allowed.hosts)}."


def addresses(target: Target, plugin: str) -> str:
    """Return the line `PLUGIN.allowedIPs = ADDRESSES`, which lets restbroker reach the plugin.

    If the target is on another machine, the addresses are a placeholder in capitals.
    """
    address = "127.0.0.1" if is_loopback(target.url.host) else "THE ADDRESSES OF RESTBROKER'S MACHINES"
    return f"{plugin}.allowedIPs = {address}"
