"""The commands of Prosody's modules: which module, which path, which members, and what a job may give.

`catalogue` makes specifications of it, `request` and `outcomes` read it. Always holds: a member that mod_rest does not
know, or of another type, is named nowhere here, since it leaves such a one out of the stanza without a word. The
members are those of its 2024 schema (read); more can be named in the target's `Fields`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

from restbroker.job.command import Repeat
from restbroker.job.json_types import Json
from restbroker.servers.api.ad_hoc import COMMANDS, AdHoc
from restbroker.servers.api.jid import is_jid
from restbroker.servers.api.table import ANY, FLAG, JID, NAME, TEXT, TEXTS, WHOLE, Argument, Arguments, Form, may, needs
from restbroker.servers.prosody.options import Api


@attrs.frozen(eq=False, repr=False)
class Entry:
    """The request of one command; `path` follows the API's own, with `{name}` for an argument.

    `constants` are members of the body. `stanza`: its kind. `asks`: an iq that asks and changes nothing, by `GET
    {asks}/JID` if the JID can stand in a path. `secret`: its answer is a credential. `ad_hoc`: it is an iq that is this
    ad-hoc command. `since`: the version of Prosody whose modules brought it.
    """

    name: str
    api: Api
    takes: Arguments
    repeat: Repeat = "unsafe"
    stanza: str = ""
    asks: str = ""
    method: str = "POST"
    path: str = ""
    constants: Mapping[str, Json] = MappingProxyType({})
    secret: bool = False
    ad_hoc: AdHoc | None = None
    since: str | None = None


def _are_recipients(value: Json) -> bool:
    if isinstance(value, str):
        return value in ("online", "all")
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) and is_jid(one) for one in value)


_RECIPIENTS: Final = Form('"online", "all", or a list of JIDs', _are_recipients, "any", host_source="jids")
_OBJECT: Final = Form("an object", lambda value: isinstance(value, dict), "any", is_text=False)
# A `password` in it is left out without a word (measured with the module of January 2024).
_MUC: Final = _OBJECT._replace(
    expected="an object that has history alone",
    fits=lambda value: isinstance(value, dict) and value.keys() <= {"history"},
)
_TO: Final = needs(to=JID)
_ADDRESS: Final = (*may(type=TEXT), Argument("from", JID), *may(id=TEXT, lang=TEXT))
_COMMON: Final = may(nick=TEXT, delay=TEXT, dataform=ANY, formdata=ANY, rsm=_OBJECT, xml=TEXT)
_USERNAME: Final = needs(username=NAME)
_GROUP: Final = needs(group=TEXT)
"""The id of a group."""
_NAME: Final = needs(name=TEXT)
_INVITE: Final = Argument("id", TEXT, required=True, secret=True)
_MESSAGE: Final = (
    *may(body=TEXT, subject=TEXT),
    *_ADDRESS,
    *may(thread=ANY, html=TEXT, oob_url=TEXT, oob=ANY, state=TEXT, replace=TEXT, reactions=ANY, reference=ANY),
    *may(markable=FLAG, displayed=TEXT, fallback=FLAG, invite=ANY, forwarded=ANY, attach_to=TEXT, payload=ANY),
    *may(reply=_OBJECT, encryption=TEXT, occupant_id=TEXT, stanza_ids=ANY),
    *_COMMON,
)
_PRESENCE: Final = (
    *may(show=TEXT, status=TEXT, priority=WHOLE, join=FLAG),
    *_ADDRESS,
    *may(caps=ANY, idle_since=TEXT, vcard_update=ANY, muc=_MUC),
    *_COMMON,
)
_IQ: Final = (
    *_ADDRESS,
    *may(ping=FLAG, version=ANY, disco=ANY, items=ANY, command=ANY, archive=ANY, register=ANY, lastactivity=ANY),
    *may(extdisco=ANY, gateway=ANY, oob=ANY, stats=ANY, payload=ANY, upload_request=_OBJECT, upload_slot=_OBJECT),
    *_COMMON,
)
_OF_SETS: Final = ("type", "command", "archive", "register")


def _stanza(kind: str, rows: tuple[Argument, ...]) -> Entry:
    return Entry(kind, "rest", Arguments((*_TO, *rows)), stanza=kind, constants={"kind": kind})


def _iq_get() -> Entry:
    rows = tuple(row for row in _IQ if row.name not in (*_OF_SETS, "xml"))
    return Entry(
        "iq_get", "rest", Arguments((*_TO, *rows)), repeat="safe", stanza="iq", constants={"kind": "iq", "type": "get"}
    )


def _query(name: str, value: Json) -> Entry:
    # A node cannot stand in the path; it takes the place of `true`.
    rows = may(node=TEXT) if value is True and name != "ping" else ()
    fixed: dict[str, Json] = {"kind": "iq", "type": "get", name: value}
    return Entry(name, "rest", Arguments((*_TO, *rows)), repeat="safe", stanza="iq", asks=name, constants=fixed)


def _ad_hoc(command: AdHoc) -> Entry:
    return Entry(
        command.name, "rest", command.takes, repeat=command.repeat, stanza="iq", ad_hoc=command, since=command.since
    )


def _admin(name: str, request: str, *rows: Argument, repeat: Repeat = "unsafe", since: str | None = None) -> Entry:
    method, path = request.split()
    secret = "invite" in name and method != "DELETE"
    return Entry(name, "admin", Arguments(rows), repeat, method=method, path=path, secret=secret, since=since)


ENTRIES: Final = (
    _stanza("message", _MESSAGE),
    _stanza("presence", _PRESENCE),
    _stanza("iq", _IQ),
    # As an iq, which it may be.
    Entry("stanza", "rest", Arguments(needs(xml=TEXT)), stanza="iq"),
    _iq_get(),
    _query("ping", value=True),
    _query("version", {}),
    _query("disco", value=True),
    _query("items", value=True),
    *map(_ad_hoc, COMMANDS),
    Entry("msg", "msg", Arguments((*needs(to=JID, body=TEXT), *may(type=TEXT))), path="{to}"),
    _admin("announcement", "POST server/announcement", *needs(body=TEXT, recipients=_RECIPIENTS)),
    _admin("invite", "POST invites/account", *may(username=NAME, ttl=WHOLE, groups=TEXTS)),
    _admin("invite_reset", "POST invites/reset", *_USERNAME, *may(ttl=WHOLE)),
    _admin("invites", "GET invites", repeat="safe"),
    _admin("get_invite", "GET invites/{id}", _INVITE, repeat="safe"),
    _admin("delete_invite", "DELETE invites/{id}", _INVITE, repeat="already_done"),
    _admin("users", "GET users", repeat="safe"),
    _admin("user", "GET users/{username}", *_USERNAME, repeat="safe"),
    _admin(
        "update_user",
        "PUT users/{username}",
        *_USERNAME,
        *may(display_name=TEXT, role=TEXT, roles=TEXTS),
        repeat="safe",
    ),
    _admin("patch_user", "PATCH users/{username}", *_USERNAME, *needs(enabled=FLAG), repeat="safe", since="13"),
    _admin("delete_user", "DELETE users/{username}", *_USERNAME, repeat="already_done"),
    _admin("list_user_groups", "GET users/{username}/groups", *_USERNAME, repeat="safe"),
    _admin("list_groups", "GET groups", repeat="safe"),
    _admin("get_group", "GET groups/{group}", *_GROUP, repeat="safe"),
    _admin("create_group", "POST groups", *_NAME, *may(create_muc=FLAG)),
    _admin("update_group", "PUT groups/{group}", *_GROUP, *_NAME, repeat="safe"),
    _admin("delete_group", "DELETE groups/{group}", *_GROUP, repeat="already_done"),
    _admin("add_user_to_group", "PUT groups/{group}/members/{username}", *_GROUP, *_USERNAME, repeat="safe"),
    _admin("remove_user_from_group", "DELETE groups/{group}/members/{username}", *_GROUP, *_USERNAME, repeat="safe"),
    _admin("add_group_chat", "POST groups/{group}/chats", *_GROUP, *_NAME, since="13"),
    _admin(
        "remove_group_chat",
        "DELETE groups/{group}/chats/{chat}",
        *_GROUP,
        *needs(chat=TEXT),
        repeat="safe",
        since="13",
    ),
    _admin("server_info", "GET server/info", repeat="safe"),
    _admin("server_metrics", "GET server/metrics", repeat="safe"),
)
TABLE: Final[Mapping[str, Entry]] = MappingProxyType({entry.name: entry for entry in ENTRIES})


def more_fields(entry: Entry, names: tuple[str, ...]) -> Entry:
    """Return the same entry for a mod_rest that knows these members too."""
    if entry.api != "rest" or entry.asks or entry.ad_hoc is not None or entry.name == "stanza":
        return entry
    takes = entry.takes
    rows = (Argument(name, ANY) for name in names if name not in takes.by_name)
    return attrs.evolve(entry, takes=Arguments((*takes.rows, *rows)))
