"""What a row of the Chat API's table says of a command, and how one is made.

`table` makes its rows here; the request, the connector and the judge read them. Always holds: loads no Trio; a user is
named by `from` wherever a command acts as one.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypedDict, Unpack

import attrs

from restbroker.job.command import Repeat
from restbroker.job.json_types import Json
from restbroker.servers.api.table import ANY, TEXT, Argument, Arguments, Form, in_order, names_in, split_request
from restbroker.servers.openfire.chat.bodies import BODIES
from restbroker.servers.openfire.chat.forms import EITHER, JID, QUOTED, ROOM, SEGMENT, SENDER, SHOW, STATE, USER

Sends = Literal["", "text", "either", "json"]
"""What the body is where it is no entity: a text, a text or an object as its JSON text, JSON."""
Effect = Literal[
    "",
    "logs_in",
    "logs_off",
    "lists_contacts",
    "kicks",
    "asks",
    "revokes",
    "uploads",
    "answers_offer",
    "joins",
    "leaves",
    "speaks",
    "expels",
    "sets_room",
    "calls",
    "pushes",
]
"""What the connector and the judge must know beyond the request.

`kicks`: it ends a user's session, and the plugin keeps his stream all the same (measured). `answers_offer`: of an offer
that the user's stream was made: it is gone with the stream. `speaks`: of who is in a room on his stream; who never
asked for it gets 400 (read), else it is 200 (measured). `expels`, `sets_room`: it may have users leave a room, without
an affiliation for instance one for members only (read); `sets_room`, where the room is there already, too.
"""

FROM: Final = "from"
"""The argument that says as whom a command acts."""
STREAM: Final = "streamid"
"""What stands in the path for the stream of who acts."""
_STREAM_OF: Final = Argument(FROM, USER, needed=True)
_IN_PATH: Final[Mapping[str, Form]] = {
    FROM: SENDER,
    "roomName": ROOM,
    "to": JID,
    "rosterJid": JID,
    "invitedJid": JID,
    "state": STATE,
    "url": TEXT,
}
"""All others are segments."""
_IN_QUERY: Final[Mapping[str, Form]] = {
    "service": QUOTED,
    "servicename": QUOTED,
    "type": QUOTED,
    "expandGroups": QUOTED,
    "show": SHOW,
}
"""All others are texts."""
_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "service": ("servicename",),
    "servicename": ("service",),
    # Who is meant, where it is not as whom the command acts.
    "userId": (FROM, "userID"),
    "userID": (FROM, "userId"),
}
_RAW: Final[Mapping[Sends, Form]] = {"text": TEXT, "either": EITHER, "json": ANY}


class _Columns(TypedDict, total=False):
    """What a row says as it stands in the `Entry`."""

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
    adds_secret: bool


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Entry:
    """One command. `path` is below the plugin's own, `{name}` an argument; `query`: the arguments in the query.

    `raw`: the argument that is the body where `sends` says so; `body`: else the entity that it is, and `answer`: what a
    200 holds, both in the plugin's words, "" for nothing. `defaults`: members of the body where the job has none.
    `answers_404`: a 404 that says nothing is about what the command names, and not about the whole API (read).
    `danger`: what of the server itself it touches. `beyond`: what it says goes to whomever it is told, or to all.
    `documented`: the plugin's page has it. `adds_secret`: the shared secret stands in its query, too.
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
    adds_secret: bool = False

    @property
    def acts(self) -> bool:
        """Whether as a user, on his stream."""
        return f"{{{STREAM}}}" in self.path

    @property
    def family(self) -> str:
        """What it belongs to, such as `chat` or `users`."""
        return self.path.split("/")[1]


def entry(
    name: str,
    request: str,
    *,
    own: tuple[Argument, ...] = (),
    same: tuple[str, str] | None = None,
    **columns: Unpack[_Columns],
) -> Entry:
    """Return a row, which takes what stands in its path, its query and its body. `own`, `same`: as of `in_order`."""
    method, path, query = split_request(request)
    raw, sends = columns.get("raw", "body"), columns.get("sends", "")
    rows = (
        *(
            _STREAM_OF if one == STREAM else _row(one, _IN_PATH.get(one, SEGMENT), needed=True)
            for one in names_in(path)
        ),
        *(_row(one, _IN_QUERY.get(one, TEXT)) for one in query),
        *([Argument(raw, _RAW[sends], needed=True, aliases=("body",) if raw != "body" else ())] if sends else []),
        *(BODIES[columns["body"]].members if "body" in columns else ()),
    )
    if method == "DELETE" and columns.get("answers_404"):
        columns.setdefault("repeat", "already_done")
    return Entry(name=name, method=method, path=path, query=query, takes=in_order(rows, own, same), **columns)


def _row(name: str, form: Form, *, needed: bool = False) -> Argument:
    return Argument(name, form, needed, aliases=_ALIASES.get(name, ()))
