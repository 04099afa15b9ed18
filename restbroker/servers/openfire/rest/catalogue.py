"""The commands of Openfire's REST API plugin: those of 1.12, each with the version that brought it.

Used by the connector, the check, and the command line (through the registry). Always holds: loads no Trio; whatever a
server's version, a command that it lacks is refused by it.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal

from restbroker.config.target import Target
from restbroker.job.command import DANGEROUS, ArgumentSpec, Catalogue, CommandSpec, Danger, ValueType
from restbroker.servers.openfire.rest.entities import Form
from restbroker.servers.openfire.rest.ways import Way, ways

_VERSION: Final = "1.12"
_TYPES: Final[dict[Form, ValueType]] = {
    "whole": "integer",
    "flag": "any",
    "texts": "list",
    "rooms": "list",
    "properties": "any",
    "subscription": "any",
    "date": "any",
}
"""All others are texts."""
_ELEMENTS: Final[dict[Form, Literal["string", "object"]]] = {"texts": "string", "rooms": "object"}
_DANGERS: Final = (
    # Which machines serve together; also what only reads it, since it names them.
    Danger("cluster", re.compile("clustering_status|list_cluster_nodes|get_cluster_node")),
    # The server as a whole: its properties hold passwords, the shared secret and who its admins are.
    Danger("server", re.compile(".*_system_propert(y|ies)|create_chat_service|get_security_audit_log")),
)
_SECRET_RESULTS: Final = frozenset({"list_system_properties", "get_system_property"})
_PROPERTY_VALUES: Final = frozenset({"create_system_property", "update_system_property"})
# Hands out whatever it is told, in the name of the shared secret.
_BEYOND: Final = "legacy_userservice"
_LISTS: Final = frozenset({"list_users", "list_rooms", "list_sessions", "create_rooms_bulk"})
"""No version pages: the whole list comes at once."""
_LIST_TIMEOUT_S: Final = 60.0
_ONE_BY_ONE: Final = "No version of the plugin can read the list that it takes: push {} for each of them."
# 415 to XML and 400 to JSON (measured on 1.10.2): the class that it is read into is abstract, from 1.9.0 to 1.12.0.
_BROKEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "add_room_affiliations": _ONE_BY_ONE.format("add_room_affiliation"),
        "replace_room_affiliations": _ONE_BY_ONE.format("delete_room_affiliation and add_room_affiliation"),
    }
)


@lru_cache(maxsize=1)
def _known() -> Catalogue:
    commands = {way.name: _spec(way) for way in ways().values()}
    return Catalogue(_VERSION, commands, _DANGERS, is_whole=True, lacking=_BROKEN)


def for_version(_version: str | None) -> Catalogue:
    """All of them."""
    return _known()


def for_target(_target: Target, _found: str | None, _endpoint: str = "") -> Catalogue:
    """As `for_version`."""
    return _known()


def requests() -> Mapping[str, str]:
    """Method and path of each."""
    return {way.name: f"{way.method} {way.path}" for way in ways().values()}


def _spec(way: Way) -> CommandSpec:
    dangers = {DANGEROUS + danger.word for danger in _DANGERS if danger.names.fullmatch(way.name)}
    return CommandSpec(
        name=way.name,
        arguments=tuple(_arguments(way)),
        repeat=way.repeat,
        tags=frozenset({way.path.split("/")[1], *dangers}),
        result=way.answer,
        fills_host=True,
        secret_result=way.name in _SECRET_RESULTS,
        beyond=way.name.startswith(_BEYOND),
        timeout_s=_LIST_TIMEOUT_S if way.name in _LISTS else None,
        since=way.since,
    )


def _arguments(way: Way) -> Iterator[ArgumentSpec]:
    for name, form in way.forms.items():
        yield ArgumentSpec(
            name,
            _TYPES.get(form, "string"),
            secret=name in ("password", "secret") or (name == "value" and way.name in _PROPERTY_VALUES),
            aliases=("groupname",) if name == "groupnames" else (),
            element=_ELEMENTS.get(form),
            place="name" if form == "name" else None,
            optional=name not in way.needs,
        )
