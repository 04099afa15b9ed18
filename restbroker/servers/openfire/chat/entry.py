"""The rows of the Chat API's table: one `Entry` for each command, and a function that makes it.

`table` makes its rows here; the request, the connector and `outcomes` read them. Always holds: loads no Trio; the
argument `from` names the user wherever a command acts as one.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypedDict, Unpack

import attrs

from restbroker.job.command import Repeat
from restbroker.job.json_types import Json
from restbroker.servers.api.table import TEXT, Argument, Arguments, Form, in_order, names_in, split_request
from restbroker.servers.openfire.chat.bodies import BODIES
from restbroker.servers.openfire.chat.forms import EITHER, JID, QUOTED, ROOM, SEGMENT, SENDER, SHOW, STATE, USER

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


class _Columns(TypedDict, total=False):
    """The columns of a row that become members of the `Entry` as they are."""

    sends: Sends
    raw: str
    body: str
    defaults: Mapping[str, Json]
    accepts: str
    answer: str
    repeat: Repeat
    answers_404: bool
    effect: Effect
    danger: Literal["server"]
    secret_answer: bool
    beyond: bool
    timeout_s: float
    documented: bool


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Entry:
    """One command.

    `path` is below the plugin's own, with `{name}` for an argument; `query`: the arguments in the query.

    `raw`: the argument that is the body, if `sends` says so; else `body`: the entity that is sent, and `answer`: what a
    200 holds, both in the plugin's words, "" for nothing. `defaults`: members of the body if the job has none.
    `answers_404`: a 404 that says nothing is about what the command names, and not about the whole API (read).
    `danger`: what of the server itself it touches. `beyond`: it may reach any address that it names, or all users.
    `documented`: the plugin's page has it.
    """

    name: str
    method: str
    path: str
    query: tuple[str, ...]
    takes: Arguments
    sends: Sends = ""
    raw: str = "body"
    body: str = ""
    defaults: Mapping[str, Json] = MappingProxyType({})
    accepts: str = "application/json"
    answer: str = ""
    repeat: Repeat = "safe"
    answers_404: bool = False
    effect: Effect = ""
    danger: Literal["", "server"] = ""
    secret_answer: bool = False
    beyond: bool = False
    timeout_s: float | None = None
    documented: bool = False

    @property
    def acts(self) -> bool:
        """Whether the command acts as a user, on the user's stream."""
        return f"{{{STREAM}}}" in self.path

    @property
    def family(self) -> str:
        """The group that people see the command in, such as `chat` or `users`."""
        return self.path.split("/")[1]


def entry(
    name: str,
    request: str,
    *,
    own: tuple[Argument, ...] = (),
    same: tuple[str, str] | None = None,
    **columns: Unpack[_Columns],
) -> Entry:
    """Return a row, which takes the arguments of its path, query and body. `own`, `same`: as for `in_order`."""
    method, path, query = split_request(request)
    raw, sends = columns.get("raw", "body"), columns.get("sends", "")
    rows = (
        *(
            _STREAM_OF if one == STREAM else _row(one, _IN_PATH.get(one, SEGMENT), needed=True)
            for one in names_in(path)
        ),
        *(_row(one, _IN_QUERY.get(one, TEXT)) for one in query),
        *([Argument(raw, _RAW[sends], required=True, aliases=("body",) if raw != "body" else ())] if sends else []),
        *(BODIES[columns["body"]].members if "body" in columns else ()),
    )
    if method == "DELETE" and columns.get("answers_404"):
        columns.setdefault("repeat", "already_done")
    return Entry(name=name, method=method, path=path, query=query, takes=in_order(rows, own, same), **columns)


def _row(name: str, form: Form, *, needed: bool = False) -> Argument:
    return Argument(name, form, needed, aliases=_ALIASES.get(name, ()))
