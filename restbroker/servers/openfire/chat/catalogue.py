"""The commands of Openfire's Chat API, each with what is unusual about it (read in the last source of ofchat).

The request, the connector and the judge read the rows; the check and the command line (through the registry) use the
specifications made of them. Always holds: loads no Trio; the argument `from` names the user wherever a command acts as
one; ofchat's meetings, calls, mail, SMS, web push, blasts, uploads, previews and second logins are not here. 42 of
those here are the REST API plugin's by method and path, but their outcomes, forms and errors are not: they share its
entities and no rows.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal

import attrs

from restbroker.config.target import Target
from restbroker.job.command import DANGEROUS, Catalogue, CommandSpec, Repeat
from restbroker.job.json_types import Json
from restbroker.job.outcome import Reason
from restbroker.servers.api.table import (
    TEXT,
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
from restbroker.servers.openfire.chat.forms import (
    BODIES,
    EITHER,
    FILLED,
    GROUPS,
    JID,
    MEMBERS,
    NEW_GROUP,
    QUOTED,
    ROOM,
    SEGMENT,
    SENDER,
    SHOW,
    STATE,
    USER,
)
from restbroker.servers.openfire.chat.options import Options, Paths
from restbroker.servers.openfire.entities import PASSWORD, ROOM_DEFAULTS

Sends = Literal["", "text", "either"]
"""What the body is if it is no entity: a text, or a text or an object as its JSON text."""
Effect = Literal[
    "",
    "logs_in",
    "logs_off",
    "lists_contacts",
    "kicks",
    "asks",
    "revokes",
    "answers_offer",
    "joins",
    "leaves",
    "speaks",
    "expels",
    "sets_room",
]
"""What the connector and the judge must know beyond the request.

`kicks`: it ends a user's session, but the plugin keeps the stream (measured). `answers_offer`: it is about an offer
that was made to the user's stream, and is gone with the stream. `speaks`: it is for users who are in a room on their
stream; one that never asked for the room gets 400 (read), any other gets 200 (measured). `expels`, `sets_room`: it may
have users leave a room, for instance one for members only in which they have no affiliation (read); `sets_room` may do
so also if the room exists already.
"""

FROM: Final = "from"
"""The argument that says as whom a command acts."""
STREAM: Final = "streamid"
"""What stands in the path for the stream of the user who acts."""
_STREAM_OF: Final = Argument(FROM, USER, required=True)
_IN_PATH: Final[Mapping[str, Form]] = {
    FROM: SENDER,
    "roomName": ROOM,
    "to": JID,
    "rosterJid": JID,
    "invitedJid": JID,
    "state": STATE,
}
"""The forms of arguments in a path; all others are segments."""
_IN_QUERY: Final[Mapping[str, Form]] = {
    "service": QUOTED,
    "servicename": QUOTED,
    "type": QUOTED,
    "expandGroups": QUOTED,
    "show": SHOW,
}
"""The forms of arguments in a query; all others are texts."""
_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "service": ("servicename",),
    "servicename": ("service",),
    # Who is meant, where it is not as whom the command acts.
    "userId": (FROM, "userID"),
    "userID": (FROM, "userId"),
}
_RAW: Final[Mapping[Sends, Form]] = {"text": TEXT, "either": EITHER}
_BODY: Final = ("body",)
_LOGIN: Final = (
    Argument(FROM, USER, required=True, aliases=("username",)),
    Argument("password", TEXT, secret=True, aliases=_BODY),
)
_MEMBERS: Final = (Argument("members", MEMBERS, required=True, aliases=_BODY),)
_REASON: Final = (Argument("reason", TEXT, aliases=_BODY),)
_PASSWORD: Final = (PASSWORD._replace(form=FILLED, required=True),)
_WHOSE: Final = (Argument("username", SEGMENT, required=True, aliases=(FROM,)),)
_OFFERED: Final = may(workgroup=SEGMENT)
"""An optional argument, which only the path on the plugin's page (`_ON_PAGE`) needs."""
_VERSION: Final = "ofchat 0.9"
# It may wait for an agent still, and no one would take a second one for the same.
_ASK_UNANSWERED: Final = Reason(
    "AskUnanswered", "", "ask_status shows its state, ask_revoke withdraws it; a retry asks again."
)


@attrs.frozen(eq=False, repr=False)
class Entry:
    """One command.

    `request`: method, path below the plugin's own, with `{name}` for an argument, and the arguments in the query.

    `raw`: the argument that is the body, if `sends` says so; else `body`: the entity that is sent, and `answer`: what a
    200 holds, both in the plugin's words, "" for nothing. `defaults`: members of the body if the job has none.
    `answers_404`: a 404 that says nothing is about what the command names, and not about the whole API (read).
    `danger`: what of the server itself it touches. `beyond`: it may reach any address that it names, or all users.
    `documented`: the plugin's page has it. `takes`: the arguments of its path, query and body. `own`, `same`: as for
    `in_order`.
    """

    name: str
    request: str
    sends: Sends = ""
    raw: str = "body"
    body: str = ""
    defaults: Mapping[str, Json] = MappingProxyType({})
    accepts: str = "application/json"
    answer: str = ""
    answers_404: bool = False
    repeat: Repeat = attrs.field()
    effect: Effect = ""
    danger: Literal["", "server"] = ""
    secret_answer: bool = False
    beyond: bool = False
    timeout_s: float | None = None
    documented: bool = False
    own: tuple[Argument, ...] = ()
    same: tuple[str, str] | None = None
    parts: tuple[str, str, tuple[str, ...]] = attrs.field(init=False)
    """Method, path and names of the query."""
    takes: Arguments = attrs.field(init=False)

    @repeat.default
    def _repeat(self) -> Repeat:
        return "already_done" if self.answers_404 and self.request.startswith("DELETE ") else "safe"

    @parts.default
    def _split(self) -> tuple[str, str, tuple[str, ...]]:
        return split_request(self.request)

    @takes.default
    def _takes(self) -> Arguments:
        alias = () if self.raw == "body" else _BODY
        _, path, query = self.parts
        rows = (
            *(_row(one, _IN_PATH.get(one, SEGMENT), needed=True) for one in names_in(path)),
            *(_row(one, _IN_QUERY.get(one, TEXT)) for one in query),
            *([Argument(self.raw, _RAW[self.sends], required=True, aliases=alias)] if self.sends else []),
            *(BODIES[self.body].members if self.body else ()),
        )
        return in_order(rows, self.own, self.same)

    @property
    def acts(self) -> bool:
        """Whether the command acts as a user, on the user's stream."""
        return f"{{{STREAM}}}" in self.request

    @property
    def family(self) -> str:
        """The group that people see the command in, such as `chat` or `users`."""
        return self.parts[1].split("/")[1]


def _row(name: str, form: Form, *, needed: bool = False) -> Argument:
    if name == STREAM:
        return _STREAM_OF
    return Argument(name, form, needed, aliases=_ALIASES.get(name, ()))


def _affiliations() -> Iterator[Entry]:
    for kind in ("admin", "member", "outcast", "owner"):
        for who, path in (("", "{jid}"), ("_group", "group/{groupname}")):
            where = f"/chatrooms/{{roomName}}/{kind}s/{path}?servicename"
            yield Entry(f"add_room_{kind}{who}", f"POST {where}", effect="expels" if kind == "outcast" else "")
            yield Entry(f"delete_room_{kind}{who}", f"DELETE {where}", effect="" if kind == "outcast" else "expels")


# `ask` waits for an agent, 180 s (read). What is gone already gets 400 from those that
# end something, as all else that is wrong does (read).
# fmt: off
ENTRIES: Final[tuple[Entry, ...]] = (
    Entry("ask", "POST /ask",
          body="AssistEntity", answer="AssistEntity", repeat="unsafe", effect="asks", timeout_s=210.0, documented=True),
    Entry("create_workgroup", "POST /ask/admin", body="WorkgroupEntity", repeat="already_done"),
    Entry("update_workgroup", "POST /ask/admin/{workgroup}",
          sends="text", raw="members", own=_MEMBERS),
    Entry("delete_workgroup", "DELETE /ask/admin/{workgroup}"),
    Entry("ask_status", "GET /ask/{userId}", answer="AskQueue"),
    Entry("ask_join", "POST /ask/{userId}", repeat="unsafe"),
    Entry("ask_send", "PUT /ask/{userId}", sends="either", repeat="unsafe"),
    Entry("ask_revoke", "DELETE /ask/{userId}", repeat="already_done", effect="revokes"),
    Entry("create_bookmark", "POST /bookmarks", body="Bookmark", answer="Bookmark", repeat="unsafe"),
    Entry("list_bookmarks", "GET /bookmarks", answer="Bookmarks"),
    Entry("get_bookmark", "GET /bookmarks/{bookmarkID}", answer="Bookmark"),
    Entry("delete_bookmark", "DELETE /bookmarks/{bookmarkID}"),
    Entry("update_bookmark", "PUT /bookmarks/{bookmarkID}", body="Bookmark", answer="Bookmark"),
    Entry("set_bookmark_property", "PUT /bookmarks/{bookmarkID}/property?name&value", answer="Bookmark"),
    Entry("delete_bookmark_property", "DELETE /bookmarks/{bookmarkID}/property?name", answer="Bookmark"),
    Entry("chat_login", "POST /chat/{from}/login", sends="text", raw="password", own=_LOGIN,
          accepts="text/plain", answer="String", effect="logs_in", documented=True),
    Entry("chat_logoff", "POST /chat/{streamid}/logoff", repeat="already_done", effect="logs_off", documented=True),
    Entry("send_xmpp", "POST /chat/{streamid}/xmpp",
          sends="text", raw="stanza", repeat="unsafe", beyond=True, documented=True),
    Entry("set_presence", "POST /chat/{streamid}/presence?show&status", documented=True),
    Entry("post_message", "POST /chat/{streamid}/messages/{to}", sends="either", repeat="unsafe", documented=True),
    Entry("post_chat_state", "POST /chat/{streamid}/chatstate/{state}/{to}", repeat="unsafe"),
    Entry("get_conversations", "GET /chat/{username}/messages?keywords&to&start&end&room&service",
          own=_WHOSE, answer="Conversations", documented=True),
    Entry("chat_search_users", "GET /chat/users?search", answer="UserEntities", documented=True),
    Entry("set_own_property", "POST /chat/{streamid}/users/{propertyName}",
          sends="text", raw="value", documented=True),
    Entry("delete_own_property", "DELETE /chat/{streamid}/users/{propertyName}", documented=True),
    Entry("list_contacts", "GET /chat/{streamid}/contacts",
          answer="RosterEntities", effect="lists_contacts", documented=True),
    Entry("add_contact", "POST /chat/{streamid}/contacts",
          body="RosterItemEntity", repeat="already_done", documented=True),
    Entry("update_contact", "PUT /chat/{streamid}/contacts/{rosterJid}",
          body="RosterItemEntity", same=("jid", "rosterJid")),
    Entry("delete_contact", "DELETE /chat/{streamid}/contacts/{rosterJid}", repeat="already_done", documented=True),
    Entry("chat_list_rooms", "GET /chat/rooms?servicename&type&search&expandGroups",
          answer="MUCRoomEntities", documented=True),
    Entry("chat_get_room", "GET /chat/rooms/{roomName}?servicename&expandGroups", answer="MUCRoomEntity"),
    Entry("chat_room_participants", "GET /chat/rooms/{roomName}/participants?servicename",
          answer="ParticipantEntities"),
    Entry("chat_room_occupants", "GET /chat/rooms/{roomName}/occupants?servicename", answer="OccupantEntities"),
    Entry("chat_room_history", "GET /chat/rooms/{roomName}/chathistory?servicename", answer="MUCRoomMessageEntities"),
    Entry("join_room", "PUT /chat/{streamid}/rooms/{roomName}?service", effect="joins", documented=True),
    Entry("leave_room", "DELETE /chat/{streamid}/rooms/{roomName}?service",
          repeat="already_done", effect="leaves", documented=True),
    Entry("post_to_room", "POST /chat/{streamid}/rooms/{roomName}?service",
          sends="either", repeat="unsafe", effect="speaks", documented=True),
    Entry("invite_contact_to_room", "POST /chat/{streamid}/rooms/{roomName}/{invitedJid}?service",
          sends="text", raw="reason", own=_REASON, repeat="unsafe", effect="speaks", documented=True),
    Entry("list_workgroups", "GET /chat/{streamid}/assists", answer="WorkgroupEntities"),
    Entry("list_assist_queues", "GET /chat/{streamid}/assists/queues", answer="AssistQueues"),
    Entry("join_workgroup", "POST /chat/{streamid}/assists/{workgroup}"),
    Entry("accept_offer", "POST /chat/{streamid}/offer/{offerId}",
          own=_OFFERED, repeat="unsafe", effect="answers_offer", documented=True),
    Entry("reject_offer", "DELETE /chat/{streamid}/offer/{offerId}",
          own=_OFFERED, repeat="unsafe", effect="answers_offer", documented=True),
    Entry("leave_workgroup", "DELETE /chat/{streamid}/assists/{workgroup}", repeat="already_done"),
    Entry("list_groups", "GET /groups", answer="GroupEntities"),
    Entry("create_group", "POST /groups", body="GroupEntity", repeat="already_done"),
    Entry("get_group", "GET /groups/{groupName}", answer="GroupEntity", answers_404=True),
    Entry("update_group", "PUT /groups/{groupName}", body="GroupEntity", same=("name", "groupName"), answers_404=True),
    Entry("delete_group", "DELETE /groups/{groupName}", answers_404=True),
    *_affiliations(),
    Entry("list_rooms", "GET /chatrooms?servicename&type&search&expandGroups",
          answer="MUCRoomEntities", answers_404=True),
    Entry("get_room", "GET /chatrooms/{roomName}?servicename&expandGroups", answer="MUCRoomEntity", answers_404=True),
    Entry("delete_room", "DELETE /chatrooms/{roomName}?servicename", answers_404=True, effect="expels"),
    Entry("create_room", "POST /chatrooms?servicename",
          body="MUCRoomEntity", repeat="already_done", answers_404=True, effect="sets_room", defaults=ROOM_DEFAULTS),
    Entry("update_room", "PUT /chatrooms/{roomName}?servicename",
          body="MUCRoomEntity", answers_404=True, effect="sets_room", defaults=ROOM_DEFAULTS),
    Entry("list_room_participants", "GET /chatrooms/{roomName}/participants?servicename",
          answer="ParticipantEntities", answers_404=True),
    Entry("list_room_occupants", "GET /chatrooms/{roomName}/occupants?servicename",
          answer="OccupantEntities", answers_404=True),
    Entry("get_room_history", "GET /chatrooms/{roomName}/chathistory?servicename",
          answer="MUCRoomMessageEntities", answers_404=True),
    Entry("broadcast_message", "POST /messages/users", body="MessageEntity", repeat="unsafe", beyond=True),
    Entry("get_unread_count", "GET /archive/messages/unread/{jid}", answer="MsgArchiveEntity"),
    Entry("list_system_properties", "GET /system/properties",
          answer="SystemProperties", danger="server", secret_answer=True),
    Entry("get_system_property", "GET /system/properties/{propertyKey}",
          answer="SystemProperty", answers_404=True, danger="server", secret_answer=True),
    Entry("create_system_property", "POST /system/properties",
          body="SystemProperty", repeat="already_done", danger="server"),
    Entry("update_system_property", "PUT /system/properties/{propertyKey}",
          body="SystemProperty", same=("key", "propertyKey"), answers_404=True, danger="server"),
    Entry("delete_system_property", "DELETE /system/properties/{propertyKey}", answers_404=True, danger="server"),
    Entry("notify_sessions", "POST /sessions", sends="text", repeat="unsafe", beyond=True),
    Entry("list_sessions", "GET /sessions", answer="SessionEntities", timeout_s=60.0),
    Entry("user_sessions", "GET /sessions/{username}", answer="SessionEntities"),
    Entry("notify_user_sessions", "POST /sessions/{username}", sends="text", repeat="unsafe", beyond=True),
    Entry("kick_user_sessions", "DELETE /sessions/{username}", effect="kicks"),
    Entry("list_sip_accounts", "GET /sipaccounts?start&count", answer="SipAccounts", secret_answer=True),
    Entry("get_sip_account", "GET /sipaccounts/username/{username}", answer="SipAccount", secret_answer=True),
    Entry("get_sip_account_by_extension", "GET /sipaccounts/extension/{extension}",
          answer="SipAccount", secret_answer=True),
    Entry("put_sip_account", "POST /sipaccounts", body="SipAccount"),
    Entry("delete_sip_account", "DELETE /sipaccounts/{username}"),
    Entry("session_statistics", "GET /system/statistics/sessions", answer="SessionsCount"),
    Entry("list_user_groups", "GET /users/{username}/groups", answer="UserGroupsEntity", answers_404=True),
    Entry("add_user_to_groups", "POST /users/{username}/groups",
          body="UserGroupsEntity", own=needs(groupnames=GROUPS), answers_404=True),
    Entry("add_user_to_group", "POST /users/{username}/groups/{groupName}",
          own=needs(groupName=NEW_GROUP), answers_404=True),
    Entry("remove_user_from_group", "DELETE /users/{username}/groups/{groupName}", answers_404=True),
    Entry("remove_user_from_groups", "DELETE /users/{username}/groups", body="UserGroupsEntity", answers_404=True),
    Entry("lock_user", "POST /lockouts/{username}", answers_404=True, effect="kicks"),
    Entry("unlock_user", "DELETE /lockouts/{username}", answers_404=True),
    Entry("get_roster", "GET /users/{username}/roster", answer="RosterEntities"),
    Entry("add_roster_item", "POST /users/{username}/roster",
          body="RosterItemEntity", repeat="already_done", answers_404=True),
    Entry("delete_roster_item", "DELETE /users/{username}/roster/{rosterJid}", answers_404=True),
    Entry("update_roster_item", "PUT /users/{username}/roster/{rosterJid}",
          body="RosterItemEntity", same=("jid", "rosterJid"), answers_404=True),
    Entry("list_users", "GET /users?search&propertyKey&propertyValue", answer="UserEntities", timeout_s=60.0),
    Entry("create_user", "POST /users",
          body="UserEntity", own=_PASSWORD, repeat="already_done"),
    Entry("get_user", "GET /users/{username}", answer="UserEntity", answers_404=True),
    Entry("update_user", "PUT /users/{username}", body="UserEntity", answers_404=True),
    Entry("delete_user", "DELETE /users/{username}", answers_404=True, effect="kicks"),
)
# fmt: on
_SOURCE: Final[Mapping[str, Entry]] = MappingProxyType({one.name: one for one in ENTRIES})


def _with_path(name: str, request: str) -> Entry:
    """Return the command of this name with another request, which names no stream."""
    return attrs.evolve(_SOURCE[name], request=request, own=(Argument(FROM, USER),))


# As the plugin's page has them; its source does not (read).
_ON_PAGE: Final = (
    _with_path("accept_offer", "PUT /chat/assists/{workgroup}/{offerId}"),
    _with_path("reject_offer", "DELETE /chat/assists/{workgroup}/{offerId}"),
    _with_path("add_contact", "POST /chat/contacts/{jid}"),
)
_DOCUMENTED: Final[Mapping[str, Entry]] = MappingProxyType({**_SOURCE, **{one.name: one for one in _ON_PAGE}})


def table(paths: Paths) -> Mapping[str, Entry]:
    """Return all commands, by name, with their paths as the plugin's source or its page has them."""
    return _SOURCE if paths == "source" else _DOCUMENTED


def for_version(_version: str | None) -> Catalogue:
    """Return all commands; the version does not count."""
    return _catalogue_of("source")


def for_target(target: Target, _found: str | None, _endpoint: str = "") -> Catalogue:
    """Return all commands, with the arguments that the target's `Paths` gives each; the version does not count."""
    return _catalogue_of(target.options_as(Options).paths)


@lru_cache(maxsize=2)
def _catalogue_of(paths: Paths) -> Catalogue:
    entries = table(paths)
    dangerous = dangerous_commands_of({name: entry.danger for name, entry in entries.items()})
    return Catalogue(_VERSION, {name: _spec(entry) for name, entry in entries.items()}, dangerous, is_whole=True)


def _spec(entry: Entry) -> CommandSpec:
    tags = [entry.family, *(["documented"] if entry.documented else [])]
    return CommandSpec(
        name=entry.name,
        arguments=specs_of(entry.takes),
        repeat=entry.repeat,
        tags=frozenset({*tags, *([DANGEROUS + entry.danger] if entry.danger else [])}),
        result=entry.answer,
        secret_result=entry.secret_answer,
        beyond=entry.beyond,
        timeout_s=entry.timeout_s,
        unanswered=_ASK_UNANSWERED if entry.effect == "asks" else None,
    )
