"""Writes the settings of Openfire's Chat API, the plugin ofchat, that give access to a target and to no one else. Pure.

The registry calls `suggest`. Always holds: no secret is written. (The properties are the plugin's own, read in its
sources.)
"""

from collections.abc import Iterator
from typing import Final

from restbroker.config.target import Target
from restbroker.servers.allowed_commands import AllowedCommands
from restbroker.servers.openfire.chat.options import Options
from restbroker.servers.openfire.properties import addresses, remarks

_PLUGIN: Final = "plugin.ofchat"


def suggest(target: Target, allowed: AllowedCommands) -> str:
    """Return the lines of the properties to set, with remarks above them on what to know about them."""
    return "\n".join((*remarks(target, allowed), *_properties(target)))


def _properties(target: Target) -> Iterator[str]:
    yield f"{_PLUGIN}.enabled = true"
    if target.options_as(Options).secret is not None:
        yield f"{_PLUGIN}.secret = THE TARGET'S SECRET"
    yield addresses(target, _PLUGIN)
