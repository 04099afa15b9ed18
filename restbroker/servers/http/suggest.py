"""A target of kind `http` is whatever its configuration says: restbroker cannot know how that server grants rights.

The registry calls `suggest`.
"""

from restbroker.config.target import Target
from restbroker.servers.allowed import Allowed


def suggest(_target: Target, _allowed: Allowed) -> None:
    """Nothing."""
