"""Writes the settings of Openfire's REST API plugin that give access to a target and to no one else. Pure.

The registry calls `suggest`. Always holds: no secret is written. (The properties are the plugin's own, read in its
sources.)
"""

from typing import Final

from restbroker.config.target import Target
from restbroker.servers.allowed_commands import AllowedCommands
from restbroker.servers.openfire.access import properties
from restbroker.servers.openfire.rest.options import Options

_CONSOLE: Final = """
# Since Openfire 4.7.5, or its console answers in the plugin's place:
adminConsole.access.allow-wildcards-in-excludes = true"""


def suggest(target: Target, allowed: AllowedCommands) -> str:
    """Return the lines of the properties to set, with remarks on what to know about them."""
    has_secret = target.options_as(Options).secret is not None
    login = ("httpAuth = secret", "secret = THE TARGET'S SECRET") if has_secret else ("httpAuth = basic",)
    return properties(target, allowed, "plugin.restapi", login) + _CONSOLE
