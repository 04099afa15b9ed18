"""The suggestion for a server of which it is not known how its configuration grants rights: none."""

from restbroker.config.target import Target
from restbroker.servers.allowed_commands import AllowedCommands


def suggest(_target: Target, _allowed: AllowedCommands) -> None:
    """Return None: nothing can be suggested."""
