"""The commands of Openfire's REST API plugin 1.12: the request of each, and the version that brought it.

The request, the connector and the judge read the rows; the check and the command line (through the registry) use the
specifications made of them. Always holds: loads no Trio; what is unusual about a command stands in its row. People see
the commands of the version that is known, while jobs are sent to any version: the plugin may be newer by now, and
itself refuses what it lacks.
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
from restbroker.servers.api.table import (
    FLAG,
    TEXT,
    WHOLE,
    Argument,
    Arguments,
    Form,
    dangerous_commands_of,
    in_order,
    may,
    names_in,
    needs,
    specs_of,
    split_request,
)
from restbroker.servers.openfire.entities import ENTITIES, GROUPNAMES, PASSWORD, ROOM_DEFAULTS, Entity
from restbroker.servers.openfire.forms import ADDRESS, AFFILIATION, FILLED, GROUP, GROUPS, JID, NAME, ROOM, ROOM_TYPE

NEW_NAME: Final = "newUsername"
"""The argument of `update_user` that renames the account."""
_IN_PATH: Final[Mapping[str, Form]] = {
    "username": NAME,
    "roomName": ROOM,
    "affiliation": AFFILIATION,
    "jid": ADDRESS,
    "rosterJid": JID,
}
"""The forms of arguments in a path; all others must not be empty."""
_IN_QUERY: Final[Mapping[str, Form]] = {
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
_LIST_S: Final = 60.0
"""The time-out of lists in seconds: no version pages, so that the whole list comes at once."""
# Without one of these the plugin makes no group: it answers 500 (since 1.8.1; measured on 1.10.2).
_NOBODY: Final[Mapping[str, Json]] = {"admins": [], "members": []}

# As of what 1.10.2 was measured to answer 500 to; 1.3.10 makes the group.
_NO_GROUP: Final = "A group may be missing: create it first, with create_group."
_ONE_ROOM: Final = "A room that cannot be created (e.g. with an invalid owner) makes all later ones fail."
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


@attrs.frozen(eq=False, repr=False)
class Entry:
    """One command.

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
    repeat: Repeat = attrs.field()
    since: str | None = None
    logs_in: bool = True
    danger: Literal["", "cluster", "server"] = ""
    defaults: Mapping[str, Json] = MappingProxyType({})
    timeout_s: float | None = None
    secret_answer: bool = False
    is_question: bool = False
    bad_input: str = ""
    own: tuple[Argument, ...] = ()
    same: tuple[str, str] | None = None
    parts: tuple[str, str, tuple[str, ...]] = attrs.field(init=False)
    """Method, path and names of the query."""
    takes: Arguments = attrs.field(init=False)

    @repeat.default
    def _repeat(self) -> Repeat:
        return "already_done" if self.effect else "safe"

    @parts.default
    def _split(self) -> tuple[str, str, tuple[str, ...]]:
        return split_request(self.request)

    @takes.default
    def _takes(self) -> Arguments:
        _, path, query = self.parts
        rows = (
            *needs(**{one: _IN_PATH.get(one, FILLED) for one in names_in(path)}),
            *may(**{one: _IN_QUERY.get(one, TEXT) for one in query}),
            *(self.entity.members if self.entity is not None else ()),
        )
        return in_order(rows, self.own, self.same)

    @property
    def entity(self) -> Entity | None:
        """The entity whose fields its body has; None if it has no body of that kind."""
        return ENTITIES.get(self.body)


def _question(name: str, path: str) -> Entry:
    return Entry(name, f"GET /system/{path}", logs_in=False, is_question=True, since="1.8.0")


# What is left of POST was measured to be the same twice: it sets an affiliation, a group or a lock.
# fmt: off
ENTRIES: Final = (
    # Which machines serve together; also what only reads it, since it names them.
    Entry("clustering_status", "GET /clustering/status", answer="ClusteringEntity", danger="cluster", since="1.8.0"),
    Entry("list_cluster_nodes", "GET /clustering/nodes",
           answer="ClusterNodeEntities", danger="cluster", since="1.8.0"),
    Entry("get_cluster_node", "GET /clustering/nodes/{nodeId}",
           answer="ClusterNodeEntity", danger="cluster", since="1.8.0"),
    Entry("openapi_yaml", "GET /openapi.yaml", answer="yaml", logs_in=False, since="1.7.0"),
    Entry("openapi_json", "GET /openapi.json", answer="any", since="1.7.0"),
    Entry("list_groups", "GET /groups", answer="GroupEntities"),
    Entry("create_group", "POST /groups", body="GroupEntity", effect="creates", defaults=_NOBODY),
    Entry("get_group", "GET /groups/{groupName}", answer="GroupEntity"),
    Entry("update_group", "PUT /groups/{groupName}", body="GroupEntity", same=("name", "groupName")),
    Entry("delete_group", "DELETE /groups/{groupName}", effect="removes"),
    Entry("list_room_affiliations", "GET /chatrooms/{roomName}/{affiliation}?servicename",
           answer="AffiliatedEntities", since="1.8.1"),
    Entry("add_room_affiliation", "POST /chatrooms/{roomName}/{affiliation}/{jid}?servicename&sendInvitations"),
    Entry("add_room_affiliation_group",
           "POST /chatrooms/{roomName}/{affiliation}/group/{groupname}?servicename&sendInvitations"),
    Entry("delete_room_affiliation", "DELETE /chatrooms/{roomName}/{affiliation}/{jid}?servicename"),
    Entry("delete_room_affiliation_group", "DELETE /chatrooms/{roomName}/{affiliation}/group/{groupname}?servicename"),
    Entry("list_rooms", "GET /chatrooms?servicename&type&search&expandGroups",
           answer="MUCRoomEntities", timeout_s=_LIST_S),
    Entry("get_room", "GET /chatrooms/{roomName}?servicename&expandGroups", answer="MUCRoomEntity"),
    Entry("delete_room", "DELETE /chatrooms/{roomName}?servicename", effect="removes"),
    Entry("create_room", "POST /chatrooms?servicename&sendInvitations",
           body="MUCRoomEntity", effect="creates", defaults=ROOM_DEFAULTS),
    Entry("create_rooms_bulk", "POST /chatrooms/bulk?servicename&sendInvitations",
           body="MUCRoomEntities", answer="RoomCreationResultEntities", repeat="already_done", since="1.9.0",
           timeout_s=_LIST_S, bad_input=_ONE_ROOM),
    Entry("update_room", "PUT /chatrooms/{roomName}?servicename&sendInvitations",
           body="MUCRoomEntity", defaults=ROOM_DEFAULTS),
    Entry("list_room_participants", "GET /chatrooms/{roomName}/participants?servicename",
           answer="ParticipantEntities"),
    Entry("list_room_occupants", "GET /chatrooms/{roomName}/occupants?servicename", answer="OccupantEntities"),
    Entry("get_room_history", "GET /chatrooms/{roomName}/chathistory?servicename",
           answer="MUCRoomMessageEntities", since="1.3.5"),
    Entry("invite_to_room", "POST /chatrooms/{roomName}/invite/{jid}?servicename",
           body="MUCInvitationEntity", repeat="unsafe", since="1.3.8"),
    Entry("invite_many_to_room", "POST /chatrooms/{roomName}/invite?servicename",
           body="MUCInvitationsEntity", repeat="unsafe", since="1.9.0"),
    Entry("list_chat_services", "GET /chatservices", answer="MUCServiceEntities", since="1.9.0"),
    Entry("create_chat_service", "POST /chatservices",
           body="MUCServiceEntity", effect="creates", danger="server", since="1.9.0"),
    Entry("broadcast_message", "POST /messages/users", body="MessageEntity", repeat="unsafe"),
    Entry("get_unread_count", "GET /archive/messages/unread/{jid}", answer="MsgArchiveEntity"),
    Entry("get_security_audit_log", "GET /logs/security?username&offset&limit&startTime&endTime",
           answer="SecurityAuditLogs", danger="server", since="1.3.0"),
    Entry("list_sessions", "GET /sessions", answer="SessionEntities", timeout_s=_LIST_S),
    Entry("user_sessions", "GET /sessions/{username}", answer="SessionEntities"),
    Entry("kick_user_sessions", "DELETE /sessions/{username}"),
    Entry("session_statistics", "GET /system/statistics/sessions", answer="SessionsCount"),
    # They hold passwords, the shared secret and who the server's admins are.
    Entry("list_system_properties", "GET /system/properties",
           answer="SystemProperties", danger="server", secret_answer=True),
    Entry("get_system_property", "GET /system/properties/{propertyKey}",
           answer="SystemProperty", danger="server", secret_answer=True),
    Entry("create_system_property", "POST /system/properties",
           body="SystemProperty", effect="creates", danger="server"),
    Entry("update_system_property", "PUT /system/properties/{propertyKey}",
           body="SystemProperty", same=("key", "propertyKey"), danger="server"),
    Entry("delete_system_property", "DELETE /system/properties/{propertyKey}", effect="removes", danger="server"),
    _question("liveness", "liveness"),
    _question("liveness_deadlock", "liveness/deadlock"),
    _question("liveness_properties", "liveness/properties"),
    _question("readiness", "readiness"),
    _question("readiness_server", "readiness/server"),
    _question("readiness_cluster", "readiness/cluster"),
    _question("readiness_plugins", "readiness/plugins"),
    _question("readiness_connections", "readiness/connections?connectionType&encrypted"),
    Entry("list_user_groups", "GET /users/{username}/groups", answer="UserGroupsEntity"),
    Entry("add_user_to_groups", "POST /users/{username}/groups", body="UserGroupsEntity",
           own=(GROUPNAMES._replace(form=GROUPS),), bad_input=_NO_GROUP),
    Entry("add_user_to_group", "POST /users/{username}/groups/{groupName}",
           own=needs(groupName=GROUP), bad_input=_NO_GROUP),
    Entry("remove_user_from_group", "DELETE /users/{username}/groups/{groupName}"),
    Entry("remove_user_from_groups", "DELETE /users/{username}/groups", body="UserGroupsEntity"),
    Entry("lock_user", "POST /lockouts/{username}"),
    Entry("unlock_user", "DELETE /lockouts/{username}"),
    Entry("get_roster", "GET /users/{username}/roster", answer="RosterEntities"),
    Entry("add_roster_item", "POST /users/{username}/roster", body="RosterItemEntity", effect="creates"),
    Entry("delete_roster_item", "DELETE /users/{username}/roster/{rosterJid}", effect="removes"),
    Entry("update_roster_item", "PUT /users/{username}/roster/{rosterJid}",
           body="RosterItemEntity", same=("jid", "rosterJid")),
    Entry("list_users", "GET /users?search&propertyKey&propertyValue", answer="UserEntities", timeout_s=_LIST_S),
    Entry("create_user", "POST /users", body="UserEntity", own=(PASSWORD._replace(required=True),), effect="creates"),
    Entry("get_user", "GET /users/{username}", answer="UserEntity"),
    Entry("update_user", "PUT /users/{username}", body="UserEntity", own=may(newUsername=NAME)),
    Entry("delete_user", "DELETE /users/{username}", effect="removes"),
    Entry("get_vcard", "GET /users/{username}/vcard", answer="xml", since="1.12.0"),
    Entry("set_vcard", "PUT /users/{username}/vcard", body="VCard", since="1.12.0"),
    Entry("delete_vcard", "DELETE /users/{username}/vcard", since="1.12.0"),
)
# fmt: on
TABLE: Final[Mapping[str, Entry]] = MappingProxyType({entry.name: entry for entry in ENTRIES})


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


def _spec(entry: Entry) -> CommandSpec:
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
