"""The commands of Openfire's REST API plugin 1.12: the request of each, and the version that brought it.

The request, the connector and the judge read the rows; the check and the command line (through the registry) use the
specifications made of them. Always holds: loads no Trio; what is unusual about a command stands in its row, of
`catalogue.toml`. People see the commands of the version that is known, while jobs are sent to any version: the plugin
may be newer by now, and itself refuses what it lacks.
"""

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal

import attrs

from restbroker.job.command import DANGEROUS, Catalogue, CommandSpec, Repeat
from restbroker.job.json_types import Json
from restbroker.light import field, frozen
from restbroker.servers.api.table import (
    FLAG,
    PARTS,
    TEXT,
    WHOLE,
    Argument,
    ArgumentForm,
    Arguments,
    dangerous_commands_of,
    in_order,
    may,
    names_in,
    needs,
    specs_of,
)
from restbroker.servers.openfire.entities import ENTITIES, GROUPNAMES, PASSWORD, ROOM_DEFAULTS, Entity, read_entries
from restbroker.servers.openfire.forms import ADDRESS, AFFILIATION, FILLED, GROUP, GROUPS, JID, NAME, ROOM, ROOM_TYPE

NEW_NAME: Final = "newUsername"
"""The argument of `update_user` that renames the account."""
_IN_PATH: Final[Mapping[str, ArgumentForm]] = {
    "username": NAME,
    "roomName": ROOM,
    "affiliation": AFFILIATION,
    "jid": ADDRESS,
    "rosterJid": JID,
}
"""The forms of arguments in a path; all others must not be empty."""
_IN_QUERY: Final[Mapping[str, ArgumentForm]] = {
    "encrypted": FLAG,
    "endTime": WHOLE,
    "expandGroups": FLAG,
    "limit": WHOLE,
    "offset": WHOLE,
    "sendInvitations": FLAG,
    "startTime": WHOLE,
    "type": ROOM_TYPE,
}
"""The forms of arguments in a query; all others are texts."""
_OWN: Final[Mapping[str, tuple[Argument, ...]]] = {
    "add_user_to_group": needs(groupName=GROUP),
    "add_user_to_groups": (GROUPNAMES._replace(form=GROUPS),),
    "create_user": (PASSWORD._replace(required=True),),
    "update_user": may(newUsername=NAME),
}
_DEFAULTS: Final[Mapping[str, Mapping[str, Json]]] = {
    # Without one of these the plugin makes no group: it answers 500 (since 1.8.1; measured on 1.10.2).
    "create_group": {"admins": [], "members": []},
    "create_room": ROOM_DEFAULTS,
    "update_room": ROOM_DEFAULTS,
}
_VERSION: Final = "1.12"
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)*", re.ASCII)
_NEWER: Final = "It came with plugin {}. Update the plugin; if you just did, push with --any."
_ONE_BY_ONE: Final = "No version of the plugin can read this list: push {} for each of them."
# 415 to XML and 400 to JSON (measured on 1.10.2): the class that it is read into is abstract, from 1.9.0 to 1.12.0.
_BROKEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "add_room_affiliations": _ONE_BY_ONE.format("add_room_affiliation"),
        "replace_room_affiliations": _ONE_BY_ONE.format("delete_room_affiliation and add_room_affiliation"),
    }
)


@frozen(eq=False, repr=False)
class RestEntry:
    """One command: a row of `catalogue.toml`.

    `request`: method, path below the target's own, with `{name}` for an argument, and the arguments in the query.

    `body`: the entity that is sent, and `answer`: what a 200 holds, both in the plugin's words, "" for nothing.
    `defaults`: members of the body if the job has none. `effect`: its object may exist already, which gets 409, or be
    gone, which gets 404 (measured). `danger`: what of the server itself it touches. `logs_in`: it needs the login.
    `is_question`: it asks whether the server is well, and 503 is its "no". `bad_input`: the most likely reason of a
    500. `since`: the version that brought it (read in the plugin's history); None if 1.2 has it. `takes`: the arguments
    of its path, query and body. `own`, `same`: as for `in_order`.
    """

    name: str
    request: str
    body: str = ""
    answer: str = ""
    effect: Literal["", "creates", "removes"] = ""
    repeat: Repeat = field()
    since: str | None = None
    logs_in: bool = True
    danger: Literal["", "cluster", "server"] = ""
    defaults: Mapping[str, Json] = MappingProxyType({})
    timeout_s: float | None = None
    secret_answer: bool = False
    is_question: bool = False
    bad_input: str = ""
    own: tuple[Argument, ...] = ()
    same: tuple[str, str] | None = field(default=None, converter=attrs.converters.optional(tuple))
    parts: tuple[str, str, tuple[str, ...]] = field(init=False, default=PARTS)
    """Method, path and names of the query."""
    takes: Arguments = field(init=False)

    @repeat.default
    def _repeat(self) -> Repeat:
        return "already_done" if self.effect else "safe"

    @takes.default
    def _takes(self) -> Arguments:
        _, path, query = self.parts
        rows = (
            *needs(**{name: _IN_PATH.get(name, FILLED) for name in names_in(path)}),
            *may(**{name: _IN_QUERY.get(name, TEXT) for name in query}),
            *(self.entity.members if self.entity is not None else ()),
        )
        return in_order(rows, self.own, self.same)

    @property
    def entity(self) -> Entity | None:
        """The entity whose fields its body has; None if it has no body of that kind."""
        return ENTITIES.get(self.body)


TABLE: Final = read_entries(__file__, RestEntry, _OWN, _DEFAULTS)


@lru_cache(maxsize=8)
def for_version(version: str | None) -> Catalogue:
    """Return the commands of this version, such as "1.9", or of the newer of two, such as "1.3 to 1.6".

    If the version is None or unknown, return all of them.
    """
    newest = _numbers(version or "")
    commands = {name: _spec(entry) for name, entry in TABLE.items() if _numbers(entry.since or "0") <= newest}
    newer = {name: _NEWER.format(TABLE[name].since) for name in TABLE.keys() - commands.keys()}
    dangerous = dangerous_commands_of({name: entry.danger for name, entry in TABLE.items()})
    return Catalogue(version or _VERSION, commands, dangerous, is_whole=True, unavailable={**_BROKEN, **newer})


def _numbers(version: str) -> tuple[float, ...]:
    """Return the last version number in a text, for comparison; what it leaves open counts as the newest."""
    found = _NUMBER.findall(version)
    return (*(float(part) for part in found[-1].split(".")), math.inf) if found else (math.inf,)


def _spec(entry: RestEntry) -> CommandSpec:
    dangerous = [DANGEROUS + entry.danger] if entry.danger else []
    return CommandSpec(
        name=entry.name,
        arguments=specs_of(entry.takes),
        repeat=entry.repeat,
        tags=frozenset({entry.parts[1].split("/")[1], *dangerous}),
        result=entry.answer,
        fills_host=True,
        secret_result=entry.secret_answer,
        timeout_s=entry.timeout_s,
        since=entry.since,
    )
