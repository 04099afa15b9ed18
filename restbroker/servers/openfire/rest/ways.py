"""What is sent for each command: method, path, query and body, and what a job gives for them.

Used by `catalogue`, which makes specifications of it, by the connector and by the judge. Always holds: loads no Trio.
`catalogue.json` has one record for each resource of REST API plugin 1.12, with the version that brought it (`since`)
where that is known; what else must be known of a command is here.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, NotRequired, TypedDict

import attrs

from restbroker.job.command import Repeat
from restbroker.servers.api import catalogue_file
from restbroker.servers.openfire.rest.entities import ENTITIES, Entity, Form

LoggedIn = Literal["header", "none", "parameter"]
"""`parameter`: the shared secret stands in the query."""

_PATH_FORMS: Final[Mapping[str, Form]] = MappingProxyType(
    {"username": "name", "roomName": "room", "affiliation": "affiliation", "jid": "address", "rosterJid": "jid"}
)
"""All others are segments."""
_QUERY_FORMS: Final[Mapping[str, Form]] = MappingProxyType(
    {
        "encrypted": "flag",
        "endTime": "whole",
        "expandGroups": "flag",
        "limit": "whole",
        "offset": "whole",
        "sendInvitations": "flag",
        "startTime": "whole",
        "type": "room_type",
    }
)
_LEGACY: Final = "legacy_userservice"
_RENAMES: Final = "update_user"
CREATE_GROUP: Final = "create_group"
GET_GROUP: Final = "get_group"
UPDATE_GROUP: Final = "update_group"
NEW_NAME: Final = "newUsername"
"""The argument of `update_user` that renames."""

# Of PUT, the field of the body that must say the same as the path.
_SAME: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "update_user": ("username", "username"),
        "update_group": ("name", "groupName"),
        "update_room": ("roomName", "roomName"),
        "update_roster_item": ("jid", "rosterJid"),
        "update_system_property": ("key", "propertyKey"),
    }
)
CREATES: Final = frozenset(
    {"create_user", "create_group", "create_room", "create_chat_service", "create_system_property", "add_roster_item"}
)
"""Commands whose object may be there already: 409."""
REMOVES: Final = frozenset(
    {"delete_user", "delete_group", "delete_room", "delete_roster_item", "delete_system_property"}
)
"""Commands that get 404 where it is gone already (measured)."""
_UNSAFE: Final = frozenset({"broadcast_message", "invite_to_room", "invite_many_to_room", _LEGACY, f"{_LEGACY}_post"})
BULK: Final = "create_rooms_bulk"


class _Record(TypedDict):
    name: str
    method: str
    path: str
    query: NotRequired[list[str]]
    body: NotRequired[str]
    answer: NotRequired[str]
    since: NotRequired[str]
    login: NotRequired[LoggedIn]


@attrs.frozen
class Way:
    """One command. `answer`: what a 200 holds, in the plugin's words; "" for nothing. `same`: field of the body, and
    the argument of the path that it repeats. `needs`: what a job must give, in the order in which it is shown; `may`:
    what it can give.
    """

    name: str
    method: str
    path: str
    query: tuple[str, ...]
    body: str
    answer: str
    since: str | None
    login: LoggedIn
    repeat: Repeat
    same: tuple[str, str] | None
    needs: Mapping[str, Form]
    may: Mapping[str, Form]
    forms: Mapping[str, Form] = attrs.field(init=False, repr=False)
    """What it takes: looked at for every job."""

    @forms.default
    def _forms(self) -> Mapping[str, Form]:
        return {**self.needs, **self.may}

    @property
    def entity(self) -> Entity | None:
        """What its body is."""
        return ENTITIES.get(self.body)

    @property
    def is_legacy(self) -> bool:
        """Whether it is of the old user service, whose status says nothing."""
        return self.login == "parameter"

    @property
    def is_question(self) -> bool:
        """Whether it asks whether the server is well: 503 is its "no"."""
        return self.name.startswith(("liveness", "readiness"))


@lru_cache(maxsize=1)
def ways() -> Mapping[str, Way]:
    """All of them, by name."""
    records: list[_Record] = catalogue_file.read(__file__, "catalogue.json")
    return MappingProxyType({record["name"]: _way(record) for record in records})


def _way(record: _Record) -> Way:
    name, query, body = record["name"], tuple(record.get("query", ())), record.get("body", "")
    login = record.get("login", "header")
    needs: dict[str, Form] = dict(_in_path(record["path"]))
    may: dict[str, Form] = {}
    for parameter in query:
        may[parameter] = "text" if login == "parameter" else _QUERY_FORMS.get(parameter, "text")
    if login == "parameter":
        needs["type"] = may.pop("type")
    same = _SAME.get(name)
    for field in ENTITIES[body].fields if body else ():
        needed = field.needed or (name, field.name) == ("create_user", "password")
        if same is not None and same[0] == field.name:
            may.setdefault(field.name, field.form)
        else:
            (needs if needed else may)[field.name] = field.form
    if name == _RENAMES:
        may[NEW_NAME] = "name"
    for given in needs:
        may.pop(given, None)
    return Way(
        name,
        record["method"],
        record["path"],
        query,
        body,
        record.get("answer", ""),
        record.get("since"),
        login,
        _repeat(name),
        same,
        needs,
        may,
    )


def _in_path(path: str) -> Iterator[tuple[str, Form]]:
    for part in path.split("/"):
        if part.startswith("{"):
            yield part[1:-1], _PATH_FORMS.get(part[1:-1], "segment")


def _repeat(name: str) -> Repeat:
    if name in CREATES | REMOVES:
        return "already_done"
    # What is left of POST was measured to be the same twice: it sets an affiliation, a group or a lock. Of a bulk,
    # rooms that are there count as made (read).
    return "unsafe" if name in _UNSAFE else "safe"
