"""The forms of the Chat API's arguments, and the bodies made of them. Pure.

The table makes arguments of them; `request` writes the bodies. Always holds: a value is refused here if the server
would answer it with a 400 or 500 without a message, or take it for another one: an unknown `show` makes a user
available, an unknown chat state is dropped with a 200 (read). A value that was copied from the plugin's page with its
quotes is accepted in a path or where it is one of several choices; in a text, quotes may belong to it.

The bodies are those of the REST API plugin, of which the Chat API has a copy, and its own. One with lists or properties
is written as XML, which all generations of this interface read alike, while the oldest silently drops parts of the
newer ones' JSON (measured on the REST API plugin). Any other is JSON, as the plugin's page shows it: without an
outermost element. A member of unknown type takes any scalar; names and texts are limited to those that Openfire
accepts.
"""

from collections.abc import Mapping
from typing import Final

from restbroker.job.jid import fold_case
from restbroker.job.json_types import Json, are_texts
from restbroker.servers.api import table
from restbroker.servers.api.jid import is_local
from restbroker.servers.api.table import (
    ANY,
    FLAG,
    TEXT,
    WHOLE,
    ArgumentForm,
    InvalidArguments,
    is_text,
    is_whole,
    rows_of,
)
from restbroker.servers.api.texts import read_toml
from restbroker.servers.openfire import forms
from restbroker.servers.openfire.entities import AFFILIATIONS, ENTITIES, Entity
from restbroker.servers.openfire.forms import GROUP, LONGEST_GROUP, LONGEST_NAME, choice, limit_length, list_form, then

_ELSEWHERE: Final = "names another server than the target's Domain"


def user_name(user: str) -> str:
    """Return the name that a user logs in with: the local part of a JID, or the name, folded as the server folds it."""
    bare = user.partition("/")[0]
    return fold_case(bare.rpartition("@")[0] or bare)


def service_of(room: str, host: str | None) -> tuple[str, str]:
    """Return the name and the service of a room's JID, as events name it.

    The service is the part of its domain before the server's. `host`: the target's domain, None if it is not known.
    Raise `InvalidArguments` for a room of another server.
    """
    name, _, domain = room.rpartition("@")
    service, _, rest = domain.partition(".")
    if rest and host is not None:
        service = fold_case(domain).removesuffix(f".{fold_case(host)}")
        if service == fold_case(domain):
            raise InvalidArguments(f'the argument "roomName" {_ELSEWHERE}')
    return name, service


def _unquote(_name: str, value: Json, _host: str | None) -> Json:
    if isinstance(value, str) and len(value) > 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def _to_text(name: str, value: Json, host: str | None) -> Json:
    value = _unquote(name, value, host)
    return str(value) if is_whole(value) else value


def _check_segment(name: str, value: Json, _host: str | None = None) -> Json:
    """Return the value, or raise `InvalidArguments` for a part of a path that Openfire cannot take.

    Such a part gets 500 (measured on the REST API plugin), or would lead elsewhere.
    """
    if isinstance(value, str) and value.strip() in ("", ".", ".."):
        raise InvalidArguments(f'the argument "{name}" is empty, or only dots')
    if isinstance(value, str) and "/" in value:
        raise InvalidArguments(f'the argument "{name}" has a slash, which a path cannot contain')
    return value


def _check_user(name: str, value: Json, host: str | None) -> Json:
    if not isinstance(value, str):
        return value
    _, at, domain = value.partition("/")[0].rpartition("@")
    if at and host is not None and fold_case(domain) != fold_case(host):
        raise InvalidArguments(f'the argument "{name}" {_ELSEWHERE}')
    local = user_name(value)
    _check_segment(name, local)
    if not is_local(local):
        raise InvalidArguments(f'the argument "{name}" has a blank or another character that no name in XMPP may have')
    if len(local) > LONGEST_NAME:
        raise InvalidArguments(
            f'the argument "{name}" is longer than the {LONGEST_NAME} characters that Openfire takes'
        )
    return value


def _complete(name: str, value: Json, host: str | None) -> Json:
    value = _unquote(name, value, host)
    if isinstance(value, str) and "@" not in value and host is not None and is_local(value):
        return f"{value}@{host}"
    return value


def _split(_name: str, value: Json, _host: str | None) -> Json:
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value


def _join(name: str, value: Json, host: str | None) -> Json:
    names = _split(name, value, host)
    return ",".join(map(str, names)) if isinstance(names, list) and are_texts(names) else names


def _members(name: str, value: Json, host: str | None) -> Json:
    """Return names as one text with commas; a single one with a comma behind it, since the plugin needs one (read)."""
    names = _split(name, value, host)
    return _join(name, [*names, ""] if isinstance(names, list) and len(names) == 1 else names, host)


QUOTED: Final = TEXT._replace(convert=_unquote)
SEGMENT: Final = then(TEXT, _to_text, _check_segment)
ROOM: Final = then(TEXT, _unquote, _check_segment)
SENDER: Final = then(TEXT, _to_text, _check_user)
"""The name of a user on whose behalf nothing is done."""
USER: Final = then(ArgumentForm("a user's name or JID", is_text, host_source="name"), _unquote, _check_user)
"""The user as whom a command acts."""
JID: Final = table.JID._replace(convert=_complete)
SHOW: Final = choice(
    "one of available, away, chat, dnd, xa and offline", "available", "away", "chat", "dnd", "xa", "offline"
)._replace(convert=_unquote)
STATE: Final = choice(
    "one of composing, paused, active, inactive and gone", "composing", "paused", "active", "inactive", "gone"
)._replace(convert=_unquote)
EITHER: Final = ArgumentForm(
    'a string, or an object such as {"body": "Hello"}', lambda value: isinstance(value, str | dict), "any"
)
SCALAR: Final = ArgumentForm(
    "a string, a number, or true or false", lambda value: isinstance(value, str | int | float), "any"
)
FILLED: Final = SCALAR._replace(convert=forms.FILLED.convert, nonempty=True)
"""A text that is not empty, or another value."""
TEXTS: Final = table.TEXTS._replace(expected="a list of strings, or one with commas,", convert=_split)
NEW_GROUP: Final = limit_length(LONGEST_GROUP, SEGMENT)
"""A group in a path, which the command may create."""
GROUPS: Final = list_form(GROUP, TEXTS)
COMMAS: Final = TEXTS._replace(fits=is_text, convert=_join)
"""A list that is sent as one text with commas."""
MEMBERS: Final = COMMAS._replace(convert=_members)


_FORMS: Final[Mapping[ArgumentForm, ArgumentForm]] = {
    forms.JID: JID,
    table.TEXTS: TEXTS,
    forms.ADDRESSES: list_form(forms.ADDRESS, TEXTS),
    **{form: form for form in (FLAG, forms.PROPERTIES, forms.SUBSCRIPTION, WHOLE)},
    **{
        form: SCALAR._replace(convert=form.convert, nonempty=form.nonempty)
        for form in (forms.FILLED, forms.GROUP, forms.LONG, forms.NAME, forms.SHORT)
    },
}
_BY_AFFILIATION: Final = [name for rank in AFFILIATIONS.values() for name in (f"{rank}s", f"{rank}Groups")]
"""The order of the plugin's page, which lists the groups of each affiliation of a room behind the people."""


def _copy(name: str) -> Entity:
    entity = ENTITIES[name]
    rows = [row._replace(form=_FORMS.get(row.form, SCALAR), aliases=()) for row in entity.members]
    if name == "MUCRoomEntity":
        rows.sort(key=lambda row: _BY_AFFILIATION.index(row.name) if row.name in _BY_AFFILIATION else -1)
    return entity._replace(members=tuple(rows))


_OF_OWN: Final[Mapping[str, ArgumentForm]] = {
    "": SCALAR,
    "any": ANY,
    "commas": COMMAS,
    "properties": forms.PROPERTIES,
    "texts": TEXTS,
    "quoted": SCALAR._replace(convert=QUOTED.convert),
}
_FILE: Final = read_toml(__file__, "bodies.toml")
BODIES: Final[Mapping[str, Entity]] = {
    **{name: _copy(name) for name in _FILE["copied"]},
    **{name: Entity("", rows_of(takes, _OF_OWN)) for name, takes in _FILE["own"].items()},
}
