"""The commands of Openfire's Chat API, each with what is unusual about it (read in the last source of ofchat).

The request, the connector and the judge read the rows; the check and the command line (through the registry) use the
specifications made of them. Always holds: loads no Trio; the argument `from` names the user wherever a command acts as
one; ofchat's meetings, calls, mail, SMS, web push, blasts, uploads, previews and second logins are not here. 42 of
those here are the REST API plugin's by method and path, but their outcomes, forms and errors are not: they share its
entities and no rows.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal

import attrs

from restbroker.config.target import Target
from restbroker.job.command import DANGEROUS, Catalogue, CommandSpec, Repeat
from restbroker.job.json_types import Json
from restbroker.job.outcome import Reason
from restbroker.light import field, frozen
from restbroker.servers.api.table import (
    PARTS,
    TEXT,
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
from restbroker.servers.openfire.entities import PASSWORD, ROOM_DEFAULTS, read_entries

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
_IN_PATH: Final[Mapping[str, ArgumentForm]] = {
    FROM: SENDER,
    "roomName": ROOM,
    "to": JID,
    "rosterJid": JID,
    "invitedJid": JID,
    "state": STATE,
}
"""The forms of arguments in a path; all others are segments."""
_IN_QUERY: Final[Mapping[str, ArgumentForm]] = {
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
_RAW: Final[Mapping[Sends, ArgumentForm]] = {"text": TEXT, "either": EITHER}
_BODY: Final = ("body",)
_OFFERED: Final = may(workgroup=SEGMENT)
"""An optional argument, which only the path on the plugin's page (`_ON_PAGE`) needs."""
_OWN: Final[Mapping[str, tuple[Argument, ...]]] = {
    "accept_offer": _OFFERED,
    "add_user_to_group": needs(groupName=NEW_GROUP),
    "add_user_to_groups": needs(groupnames=GROUPS),
    "chat_login": (
        Argument(FROM, USER, required=True, aliases=("username",)),
        Argument("password", TEXT, secret=True, aliases=_BODY),
    ),
    "create_user": (PASSWORD._replace(form=FILLED, required=True),),
    "get_conversations": (Argument("username", SEGMENT, required=True, aliases=(FROM,)),),
    "invite_contact_to_room": (Argument("reason", TEXT, aliases=_BODY),),
    "reject_offer": _OFFERED,
    "update_workgroup": (Argument("members", MEMBERS, required=True, aliases=_BODY),),
}
_DEFAULTS: Final[Mapping[str, Mapping[str, Json]]] = {"create_room": ROOM_DEFAULTS, "update_room": ROOM_DEFAULTS}
_VERSION: Final = "ofchat 0.9"
# It may wait for an agent still, and no one would take a second one for the same.
_ASK_UNANSWERED: Final = Reason(
    "AskUnanswered", "", "ask_status shows its state, ask_revoke withdraws it; a retry asks again."
)


@frozen(eq=False, repr=False)
class ChatEntry:
    """One command: a row of `catalogue.toml`.

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
    repeat: Repeat = field()
    effect: Effect = ""
    danger: Literal["", "server"] = ""
    secret_answer: bool = False
    beyond: bool = False
    timeout_s: float | None = None
    documented: bool = False
    own: tuple[Argument, ...] = ()
    same: tuple[str, str] | None = field(default=None, converter=attrs.converters.optional(tuple))
    parts: tuple[str, str, tuple[str, ...]] = field(init=False, default=PARTS)
    """Method, path and names of the query."""
    takes: Arguments = field(init=False)

    @repeat.default
    def _repeat(self) -> Repeat:
        return "already_done" if self.answers_404 and self.request.startswith("DELETE ") else "safe"

    @takes.default
    def _takes(self) -> Arguments:
        alias = () if self.raw == "body" else _BODY
        _, path, query = self.parts
        rows = (
            *(_row(name, _IN_PATH.get(name, SEGMENT), needed=True) for name in names_in(path)),
            *(_row(name, _IN_QUERY.get(name, TEXT)) for name in query),
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


def _row(name: str, form: ArgumentForm, *, needed: bool = False) -> Argument:
    if name == STREAM:
        return _STREAM_OF
    return Argument(name, form, needed, aliases=_ALIASES.get(name, ()))


_SOURCE: Final = read_entries(__file__, ChatEntry, _OWN, _DEFAULTS)


def _with_path(name: str, request: str) -> ChatEntry:
    """Return the command of this name with another request, which names no stream."""
    return attrs.evolve(_SOURCE[name], request=request, own=(Argument(FROM, USER),))


# As the plugin's page has them; its source does not (read).
_ON_PAGE: Final = (
    _with_path("accept_offer", "PUT /chat/assists/{workgroup}/{offerId}"),
    _with_path("reject_offer", "DELETE /chat/assists/{workgroup}/{offerId}"),
    _with_path("add_contact", "POST /chat/contacts/{jid}"),
)
_DOCUMENTED: Final[Mapping[str, ChatEntry]] = MappingProxyType({**_SOURCE, **{entry.name: entry for entry in _ON_PAGE}})


def table(paths: Paths) -> Mapping[str, ChatEntry]:
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


def _spec(entry: ChatEntry) -> CommandSpec:
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
