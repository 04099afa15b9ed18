"""Writes the settings of Openfire's Chat API, the plugin ofchat, that give access to a target and to no one else. Pure.

The registry calls `suggest`. Always holds: no secret is written. (The properties are the plugin's own, read in its
sources.)
"""

from restbroker.config.target import Target
from restbroker.servers.allowed_commands import AllowedCommands
from restbroker.servers.openfire.access import properties
from restbroker.servers.openfire.chat.options import Options


def suggest(target: Target, allowed: AllowedCommands) -> str:
    """Return the lines of the properties to set, with remarks above them on what to know about them."""
    has_secret = target.options_as(Options).secret is not None
    return properties(target, allowed, "plugin.ofchat", ("secret = THE TARGET'S SECRET",) if has_secret else ())
