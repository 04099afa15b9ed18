"""What is suggested for the configuration of a server of which nobody can know how it grants rights."""

from restbroker.config.target import Target
from restbroker.servers.allowed import AllowedCommands


def suggest(_target: Target, _allowed: AllowedCommands) -> None:
    """Return nothing."""
