"""The commands of a target of kind `prosody-roster`. Through the registry; loads no Trio.

Always holds: each command may be sent again, since it says how a roster is to be, or only reads it.
"""

from types import MappingProxyType
from typing import Final

from restbroker.job.command import ArgumentSpec, Catalogue, CommandSpec

REFRESH: Final = "refresh"
_USER: Final = ArgumentSpec("user", "string", host_source="name")
_HOST: Final = ArgumentSpec("host", "string", host_source="host", optional=True)
_NAME: Final = ArgumentSpec("name", "string", optional=True)
_GROUPS: Final = ArgumentSpec("groups", "list", element="string", optional=True)
_CONTACT: Final = (_USER, ArgumentSpec("jid", "string"), _NAME, _GROUPS, _HOST)
_CHANGES: Final = frozenset({"roster"})


def _command(name: str, *arguments: ArgumentSpec, bare: str | None = None) -> CommandSpec:
    return CommandSpec(name, arguments, "safe", _CHANGES, bare=bare)


_COMMANDS: Final = (
    _command("add_contact", *_CONTACT),
    _command("delete_roster", _USER, _HOST),
    _command("get_roster", _USER, _HOST),
    _command(
        REFRESH,
        ArgumentSpec("users", "list", element="string", host_source="jids"),
        ArgumentSpec("now", "any", optional=True),
        _HOST,
        bare="users",
    ),
    _command("remove_contact", _USER, ArgumentSpec("jid", "string"), _HOST),
    _command("set_roster", _USER, ArgumentSpec("contacts", "any"), _HOST),
)
_CATALOGUE: Final = Catalogue("", MappingProxyType({command.name: command for command in _COMMANDS}), is_whole=True)


def for_version(_version: str | None) -> Catalogue:
    """Return the catalogue, which is the same for each version of Prosody."""
    return _CATALOGUE
