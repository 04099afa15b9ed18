"""The system properties of Openfire that give access to a plugin. Used by `suggest` of both plugins' kinds. Pure."""

from collections.abc import Iterable

from restbroker.config.target import Target
from restbroker.config.urls import is_loopback
from restbroker.servers.allowed_commands import AllowedCommands


def properties(target: Target, allowed: AllowedCommands, plugin: str, own: Iterable[str]) -> str:
    """Return the lines of the properties to set, with remarks above them on what an operator must know.

    `plugin`: what their names begin with; `own`: lines without that, such as `httpAuth = basic`. If the target is on
    another machine, the addresses that may reach the plugin are a placeholder in capitals.
    """
    lines = [
        f"# System properties of Openfire (console: Server, Server Manager, System Properties), for {target.name}",
        "# The plugin has no rights by command: anyone who logs in may do everything. Only the tokens' Allow limits",
        "# what jobs may run: give no one else the login or access to the port.",
    ]
    if allowed.hosts:
        lines.append(f"# Only restbroker keeps jobs to {', '.join(allowed.hosts)}.")
    address = "127.0.0.1" if is_loopback(target.url.host) else "THE ADDRESSES OF RESTBROKER'S MACHINES"
    return "\n".join((*lines, *(f"{plugin}.{line}" for line in ("enabled = true", *own, f"allowedIPs = {address}"))))
