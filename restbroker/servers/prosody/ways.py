"""What is sent for each command: which module of Prosody, which path, which members, and what a job may give.

Used by `catalogue`, which makes specifications of it, by `request` and by `outcomes`. Always holds: a member that
mod_rest does not know, or of another type, is named nowhere here, since it leaves such a one out of the stanza without
a word. The members are those of its 2024 schema (read); more can be named in the target's `Fields`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import attrs

from restbroker.job.command import Repeat
from restbroker.job.json_types import Json

Api = Literal["rest", "admin", "msg"]
"""mod_rest, mod_http_admin_api, mod_post_msg."""

Form = Literal["text", "credential", "name", "whole", "flag", "texts", "any", "jid", "recipients"]
"""`name`: an account's, without its domain. `flag`: true or false. `recipients`: "online", "all", or a list of JIDs."""


@attrs.frozen
class Way:
    """One command. `path` is behind the API's own, `{name}` an argument; `fixed` are members of the body.

    `needs`: what a job must give, in the order in which it is shown. `may`: what it can give. `kind`: of the stanza.
    `query`: an iq that asks and changes nothing, by `GET {query}/JID` where the JID can stand in a path.
    """

    name: str
    api: Api
    needs: Mapping[str, Form]
    may: Mapping[str, Form]
    repeat: Repeat = "unsafe"
    kind: str = ""
    query: str = ""
    method: str = "POST"
    path: str = ""
    fixed: Mapping[str, Json] = MappingProxyType({})
    secret: bool = False
    """Its answer is a credential."""
    forms: Mapping[str, Form] = attrs.field(init=False, repr=False)
    """What it takes: looked at for every job."""

    @forms.default
    def _forms(self) -> Mapping[str, Form]:
        return {**self.needs, **self.may}


_TO: Final[Mapping[str, Form]] = {"to": "jid"}
_ADDRESS: Final[Mapping[str, Form]] = {"type": "text", "from": "jid", "id": "text", "lang": "text"}
_COMMON: Final[Mapping[str, Form]] = {"nick": "text", "delay": "text", "dataform": "any", "formdata": "any"}
_NAME: Final[Mapping[str, Form]] = {"username": "name"}
_USER: Final[Mapping[str, Form]] = {"display_name": "text", "role": "text", "roles": "texts"}

_MESSAGE: Final[Mapping[str, Form]] = {
    "body": "text",
    "subject": "text",
    **_ADDRESS,
    "thread": "any",
    "html": "text",
    "oob_url": "text",
    "oob": "any",
    "state": "text",
    "replace": "text",
    "reactions": "any",
    "reference": "any",
    "markable": "flag",
    "displayed": "text",
    "fallback": "flag",
    "invite": "any",
    "forwarded": "any",
    "attach_to": "text",
    "payload": "any",
    **_COMMON,
}
_PRESENCE: Final[Mapping[str, Form]] = {
    "show": "text",
    "status": "text",
    "priority": "whole",
    "join": "flag",
    **_ADDRESS,
    "caps": "any",
    "idle_since": "text",
    "vcard_update": "any",
    **_COMMON,
}
_IQ: Final[Mapping[str, Form]] = {
    **_ADDRESS,
    "ping": "flag",
    "version": "any",
    "disco": "any",
    "items": "any",
    "command": "any",
    "archive": "any",
    "register": "any",
    "lastactivity": "any",
    "extdisco": "any",
    "gateway": "any",
    "oob": "any",
    "stats": "any",
    "payload": "any",
    **_COMMON,
}


def _stanza(kind: str, may: Mapping[str, Form]) -> Way:
    return Way(kind, "rest", _TO, may, kind=kind, fixed={"kind": kind})


def _asking() -> Way:
    sets = ("type", "command", "archive", "register")
    may = {name: form for name, form in _IQ.items() if name not in sets}
    return Way("iq_get", "rest", _TO, may, "safe", "iq", fixed={"kind": "iq", "type": "get"})


def _query(name: str, asked: Json) -> Way:
    # A node cannot stand in the path; it takes the place of `true`.
    may: Mapping[str, Form] = {"node": "text"} if asked is True and name != "ping" else {}
    fixed: dict[str, Json] = {"kind": "iq", "type": "get", name: asked}
    return Way(name, "rest", _TO, may, "safe", "iq", query=name, fixed=fixed)


def _admin(
    name: str, request: str, needs: Mapping[str, Form], may: Mapping[str, Form], repeat: Repeat = "unsafe"
) -> Way:
    method, path = request.split()
    secret = "invite" in name and method != "DELETE"
    return Way(name, "admin", needs, may, repeat, method=method, path=path, secret=secret)


_WAYS: Final = (
    _stanza("message", _MESSAGE),
    _stanza("presence", _PRESENCE),
    _stanza("iq", _IQ),
    _asking(),
    _query("ping", asked=True),
    _query("version", {}),
    _query("disco", asked=True),
    _query("items", asked=True),
    Way("msg", "msg", {"to": "jid", "body": "text"}, {"type": "text"}, path="{to}"),
    _admin("announcement", "POST server/announcement", {"body": "text", "recipients": "recipients"}, {}),
    _admin("invite", "POST invites/account", {}, {**_NAME, "ttl": "whole", "groups": "texts"}),
    _admin("invite_reset", "POST invites/reset", _NAME, {"ttl": "whole"}),
    _admin("invites", "GET invites", {}, {}, "safe"),
    _admin("delete_invite", "DELETE invites/{id}", {"id": "credential"}, {}, "already_done"),
    _admin("users", "GET users", {}, {}, "safe"),
    _admin("user", "GET users/{username}", _NAME, {}, "safe"),
    _admin("update_user", "PUT users/{username}", _NAME, _USER, "safe"),
    _admin("delete_user", "DELETE users/{username}", _NAME, {}, "already_done"),
    _admin("server_info", "GET server/info", {}, {}, "safe"),
)
WAYS: Final[Mapping[str, Way]] = MappingProxyType({way.name: way for way in _WAYS})


def more_fields(way: Way, names: tuple[str, ...]) -> Way:
    """The same for a mod_rest that knows these members too."""
    if way.api != "rest" or way.query:
        return way
    return attrs.evolve(way, may={**way.may, **{name: "any" for name in names if name not in way.forms}})
