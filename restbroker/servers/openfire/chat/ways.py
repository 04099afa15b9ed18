"""What is sent for each command: method, path, query and body, and what a job gives for them.

Used by `catalogue`, which makes specifications of it, by `request` and by `outcomes`. Always holds: loads no Trio.
`catalogue.json.gz` has one record for each resource of ofchat as its last source has it (read); what else must be known
of a command is here.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, NotRequired, TypedDict

import attrs

from restbroker.job.command import Repeat
from restbroker.servers.api import catalogue_file
from restbroker.servers.openfire.chat.bodies import Form, form_of
from restbroker.servers.openfire.chat.options import Paths

Sends = Literal["", "text", "either", "json", "entity"]
"""What the body is: nothing, a text, a text or an object as its JSON text, JSON, or an entity of named fields."""

FROM: Final = "from"
"""The argument that says as whom a command acts."""
LOGIN: Final = "chat_login"
LOGOFF: Final = "chat_logoff"
JOIN: Final = "join_room"
LEAVE: Final = "leave_room"
ROOM: Final = "chat_get_room"
CONTACTS: Final = "list_contacts"
ASK: Final = "ask"
UPLOAD: Final = "request_upload_slot"
REVOKE: Final = "ask_revoke"
CALL: Final = "make_call"
KICKS: Final = frozenset({"kick_user_sessions", "lock_user", "delete_user"})
"""They end a user's session, and the plugin keeps his stream all the same (measured)."""
OFFERS: Final = frozenset({"accept_offer", "reject_offer"})
"""Of an offer that the user's stream was made: it is gone with the stream."""
IN_ROOM: Final = frozenset({"post_to_room", "invite_contact_to_room"})
"""Commands of who is in a room on his stream. Who never asked for it gets 400 (read); else it is 200 (measured)."""
OF_ROOM: Final = frozenset({JOIN, LEAVE, *IN_ROOM})
SETS_ROOM: Final = frozenset({"create_room", "update_room"})
"""They may have users leave it: the first of them as well, where the room is there already."""
_LESS: Final = tuple(f"delete_room_{kind}" for kind in ("owner", "admin", "member"))
_BANS: Final = ("add_room_outcast", "add_room_outcast_group")
EXPELS: Final = SETS_ROOM | {"delete_room", *_BANS, *_LESS, *(f"{one}_group" for one in _LESS)}
"""They may have users leave a room: without an affiliation nobody stays in one for members only (read)."""
GONE_IS_DONE: Final = frozenset({LEAVE, LOGOFF, "delete_contact", "leave_workgroup", "ask_revoke"})
"""They get 400 where there is nothing left to end, and also for all else that is wrong (read)."""
UNTESTED: Final = frozenset({"meet"})
"""Families that nobody could try: calls and meetings need a telephone exchange."""
LONG_S: Final[Mapping[str, float]] = MappingProxyType(
    {ASK: 210.0, "irma_reveal": 75.0, "list_users": 60.0, "list_sessions": 60.0, "get_conversations_pdf": 60.0}
)
"""`ask` waits for an agent, 180 s; `irma_reveal` for a phone, 60 s (read)."""

_STREAM: Final = "{streamid}"
_ADDRESSES: Final = frozenset({"to", "rosterJid", "invitedJid"})
_RAW: Final[Mapping[str, str]] = MappingProxyType(
    {
        LOGIN: "password",
        "send_xmpp": "stanza",
        "invite_contact_to_room": "reason",
        "set_own_property": "value",
        "update_workgroup": "members",
        "put_push_subscription": "subscription",
        "send_push": "notification",
        "set_own_profile": "properties",
        "set_blast_senders": "senders",
    }
)
"""What the body is called in a job where it is not the text of a message."""
_MAY_LACK_BODY: Final = frozenset({LOGIN, "invite_contact_to_room"})
_CHOICES: Final[Mapping[tuple[str, str], Form]] = MappingProxyType(
    {("set_presence", "show"): "show", ("post_chat_state", "state"): "state", ("preview_link", "url"): "link"}
)
LEGACY: Final = "legacy_userservice"
_OF_LEGACY: Final = ("type", "secret", "username", "password", "name", "email", "groups", "item_jid", "subscription")
# Of PUT, the field of the body that says the same as the path.
_SAME: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "update_contact": ("jid", "rosterJid"),
        "update_roster_item": ("jid", "rosterJid"),
        "update_group": ("name", "groupName"),
        "update_room": ("roomName", "roomName"),
        "update_user": ("username", "username"),
        "update_system_property": ("key", "propertyKey"),
    }
)
# As the plugin's page has them; its source does not (read).
_DOCUMENTED: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "accept_offer": ("PUT", "/restapi/v1/chat/assists/{workgroup}/{offerId}"),
        "reject_offer": ("DELETE", "/restapi/v1/chat/assists/{workgroup}/{offerId}"),
        "add_contact": ("POST", "/restapi/v1/chat/contacts/{jid}"),
    }
)


class _Record(TypedDict):
    name: str
    method: str
    path: str
    query: NotRequired[list[str]]
    body: NotRequired[str]
    fields: NotRequired[list[str]]
    sends: NotRequired[Literal["text", "either", "json"]]
    accepts: NotRequired[str]
    answer: NotRequired[str]
    repeat: Repeat
    errors: NotRequired[list[int]]
    documented: NotRequired[bool]


@attrs.frozen
class Way:
    """One command. `raw`: the argument that is the body, "" where there is none; `fields`: those of an entity, which
    the plugin calls `body`, as `answer` is what a 200 holds. `same`: field of the body, and the argument of the path
    that it repeats. `needs`: what a job must give, in the order in which it is shown; `may`: what it can give. `acts`:
    as a user, on his stream.
    """

    name: str
    method: str
    path: str
    query: tuple[str, ...]
    sends: Sends
    body: str
    fields: tuple[str, ...]
    raw: str
    accepts: str
    answer: str
    repeat: Repeat
    errors: tuple[int, ...]
    documented: bool
    acts: bool
    same: tuple[str, str] | None
    needs: Mapping[str, Form]
    may: Mapping[str, Form]
    aliases: Mapping[str, str]
    """Other name → argument."""
    forms: Mapping[str, Form] = attrs.field(init=False, repr=False)
    """What it takes: looked at for every job."""

    @forms.default
    def _forms(self) -> Mapping[str, Form]:
        return {**self.needs, **self.may}

    @property
    def family(self) -> str:
        """What it belongs to, such as `chat` or `users`."""
        return self.path.split("/")[3]


@lru_cache(maxsize=2)
def ways(paths: Paths) -> Mapping[str, Way]:
    """All of them, by name, with paths as this says."""
    records: list[_Record] = catalogue_file.read(__file__, "catalogue.json.gz")
    return MappingProxyType({record["name"]: _way(record, paths) for record in records})


def _way(record: _Record, paths: Paths) -> Way:
    name, method, path = record["name"], record["method"], record["path"]
    if name == LOGIN:
        path = path.replace("{username}", f"{{{FROM}}}")
    if paths == "documented" and name in _DOCUMENTED:
        method, path = _DOCUMENTED[name]
    acts = _STREAM in path
    needs = dict(_in_path(name, path))
    may: dict[str, Form] = {} if acts or _STREAM not in record["path"] else {FROM: "user"}
    if name in OFFERS and "workgroup" not in needs:
        # Of the other form of its path.
        may["workgroup"] = "segment"
    query = _OF_LEGACY if name.startswith(LEGACY) else tuple(record.get("query", ()))
    may |= {one: _CHOICES.get((name, one), "text") for one in query}
    if name.startswith(LEGACY):
        needs["type"] = may.pop("type")
    sends: Sends = record.get("sends", "entity" if "body" in record else "")
    raw = _RAW.get(name, "body") if sends not in ("", "entity") else ""
    if raw:
        form: Form = "value" if sends == "json" else "either" if sends == "either" else "text"
        form = "texts" if raw == "members" else form
        (may if name in _MAY_LACK_BODY else needs)[raw] = form
    same = _SAME.get(name)
    fields = record.get("fields", ())
    for field in fields:
        _add_field(field.rstrip("*"), needs, may, is_needed=field.endswith("*"), same=same)
    if name == "update_user":  # its password is for a new one alone
        may["password"] = needs.pop("password")
    return Way(
        name,
        method,
        path,
        query,
        sends,
        record.get("body", ""),
        tuple(field.rstrip("*") for field in fields),
        raw,
        record.get("accepts", "application/json"),
        record.get("answer", ""),
        _repeat(record),
        tuple(record.get("errors", ())),
        record.get("documented", False),
        acts,
        same,
        needs,
        may,
        _aliases(name, path, raw, {*needs, *may}),
    )


def _add_field(
    field: str, needs: dict[str, Form], may: dict[str, Form], *, is_needed: bool, same: tuple[str, str] | None
) -> None:
    if field in needs:  # it stands in the path as well
        return
    is_same = same is not None and same[0] == field
    (needs if is_needed and not is_same else may)[field] = form_of(field)


def _in_path(name: str, path: str) -> Iterator[tuple[str, Form]]:
    for part in path.split("/"):
        if not part.startswith("{"):
            continue
        argument = part[1:-1]
        if part == _STREAM or name == LOGIN:
            yield FROM, "user"
        elif argument == "roomName":
            yield argument, "room"
        elif argument in _ADDRESSES:
            yield argument, "jid"
        else:
            yield argument, _CHOICES.get((name, argument), "segment")


def _aliases(name: str, path: str, raw: str, arguments: set[str]) -> Mapping[str, str]:
    found = {"service": "servicename", "servicename": "service"}
    if raw:
        found["body"] = raw
    if name == LOGIN:
        found["username"] = FROM
    # Who is meant, where it is not as whom the command acts.
    elif FROM not in arguments and path.split("/")[3] in ("chat", "ask"):
        found |= {FROM: next((one for one in ("username", "userId", "userID") if one in arguments), "")}
        found |= {"userId": "userID", "userID": "userId"}
    return {other: argument for other, argument in found.items() if argument in arguments and other not in arguments}


def _repeat(record: _Record) -> Repeat:
    if record["name"] in GONE_IS_DONE or (record["method"] == "DELETE" and 404 in record.get("errors", ())):
        return "already_done"
    return record["repeat"]
