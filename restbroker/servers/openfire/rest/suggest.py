"""Writes the settings of Openfire's REST API plugin that give access to a target and to no one else. Pure.

The registry calls `suggest`. Always holds: no secret is written. (The properties are the plugin's own, read in its
sources.)
"""

from collections.abc import Iterator
from typing import Final

from restbroker.config.target import Target
from restbroker.servers.allowed_commands import AllowedCommands
from restbroker.servers.openfire.properties import addresses, remarks
from restbroker.servers.openfire.rest.options import Options

_PLUGIN: Final = "plugin.restapi"


def suggest(target: Target, allowed: AllowedCommands) -> str:
    """Return the lines of the properties to set, with remarks above them on what to know about them."""
    return "\n".join((*remarks(target, allowed), *_properties(target)))


def _properties(target: Target) -> Iterator[str]:
    yield f"{_PLUGIN}.enabled = true"
    if target.options_as(Options).secret is not None:
        yield f"{_PLUGIN}.httpAuth = secret"
        yield f"{_PLUGIN}.secret = THE TARGET'S SECRET"
    else:
        yield f"{_PLUGIN}.httpAuth = basic"
    yield addresses(target, _PLUGIN)
    yield "# Since Openfire 4.7.5, or its console answers in the plugin's place:"
    yield "adminConsole.access.allow-wildcards-in-excludes = true"
