"""The forms of the arguments of Openfire's plugins: which values are valid. Pure.

The entities and the tables of both kinds are made of these. Always holds: a value to which Openfire answers 500, which
explains nothing, is refused here: a name that is empty or has blanks or an @, an address that is no JID, a text that is
longer than its column in Openfire's database.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from restbroker.job.json_types import Json
from restbroker.servers.api import table
from restbroker.servers.api.jid import is_local
from restbroker.servers.api.table import ArgumentForm, Convert, InvalidArguments, is_text, is_whole

LONGEST_NAME: Final = 64
"""The most characters of an account's name: 65 get 500 (measured)."""
LONGEST_GROUP: Final = 50
"""The most characters of a group's name: as wide is its column in Openfire's schemas (read)."""
_SUBSCRIPTIONS: Final = ("remove", "none", "to", "from", "both")
"""The words for the numbers of a subscription, from -1 on."""
# XEP-0106; a blank may not begin or end a name, which is not looked at here.
_ESCAPES: Final[Mapping[str, str]] = {
    " ": "\\20",
    '"': "\\22",
    "&": "\\26",
    "'": "\\27",
    "/": "\\2f",
    ":": "\\3a",
    "<": "\\3c",
    ">": "\\3e",
    "@": "\\40",
}
_ESCAPED: Final = re.compile(f"[{''.join(_ESCAPES)}]")


def choice(wanted: str, *values: str) -> ArgumentForm:
    """Return the form of an argument that may be one of these values; `wanted` names them in messages."""
    return ArgumentForm(wanted, lambda value: value in values)


def _refuse_empty(name: str, value: Json, _host: str | None) -> Json:
    if value == "":
        raise InvalidArguments(f'the argument "{name}" is empty, where {FILLED.expected} is needed')
    return value


def _check_local(name: str, value: Json, host: str | None) -> Json:
    if not isinstance(value, str) or not value:
        return _refuse_empty(name, value, host)
    if _ESCAPED.search(value) is not None:
        character, escape = next(pair for pair in _ESCAPES.items() if pair[0] in value)
        word = "a blank" if character == " " else f"the character {character}"
        raise InvalidArguments(f'the argument "{name}" has {word}, which names may not contain: write {escape} for it')
    if not is_local(value):
        raise InvalidArguments(f'the argument "{name}" has a character that no name in XMPP may have')
    return check_segment(name, value)


def check_segment(name: str, value: Json, host: str | None = None) -> Json:
    """Return the value.

    Raise `InvalidArguments` if it cannot stand in a path: it is empty, or has a slash, or is dots.
    """
    if isinstance(value, str) and "/" in value:
        raise InvalidArguments(f'the argument "{name}" has a slash, which Openfire does not accept in a path')
    if value in (".", ".."):
        raise InvalidArguments(f'the argument "{name}" consists of dots, which a path cannot contain')
    return _refuse_empty(name, value, host)


def then(form: ArgumentForm, *steps: Convert) -> ArgumentForm:
    """Return this form, with these steps behind its own conversion; each gets what the one before returned."""
    whole = steps if form.convert is None else (form.convert, *steps)

    def convert(name: str, value: Json, host: str | None) -> Json:
        for step in whole:
            value = step(name, value, host)
        return value

    return form._replace(convert=convert)


def limit_length(most: int, form: ArgumentForm) -> ArgumentForm:
    """Return this form, limited to `most` characters."""

    def limit(name: str, value: Json, _host: str | None) -> Json:
        if isinstance(value, str) and len(value) > most:
            raise InvalidArguments(f'the argument "{name}" is longer than the {most} characters that Openfire takes')
        return value

    return then(form, limit)


def list_form(one: ArgumentForm, form: ArgumentForm) -> ArgumentForm:
    """Return this form of a list, limited to texts of the form `one`."""

    def take(name: str, value: Json, host: str | None) -> Json:
        if not isinstance(value, list):
            return value
        return [one.take(f"{name}[{index}]", text, host) for index, text in enumerate(value)]

    return then(form, take)


def _to_pairs(_name: str, value: Json, _host: str | None) -> Json:
    """Return an object as a list of objects with `key` and `value`; any other value as it is."""
    return [{"key": key, "value": member} for key, member in value.items()] if isinstance(value, dict) else value


def _are_pairs(value: Json) -> bool:
    """Tell whether this is a list of pairs; one with an empty key makes 1.3.10 create half a user (measured)."""
    return isinstance(value, list) and all(
        isinstance(pair, dict)
        and pair.keys() == {"key", "value"}
        and pair["key"] != ""
        and all(isinstance(part, str) for part in pair.values())
        for pair in value
    )


def _to_number(_name: str, value: Json, _host: str | None) -> Json:
    """Return a subscription, given as a number, a text of one (as from a shell) or a word, as its number.

    Any other value comes back as it is.
    """
    for number, word in enumerate(_SUBSCRIPTIONS, start=-1):
        if value in (number, str(number), word) and not isinstance(value, bool):
            return number
    return value


def _to_date(_name: str, value: Json, _host: str | None) -> Json:
    """Return epoch milliseconds, as 1.3 and newer answer, as a date in the form of XML; any other value as it is."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return value


def _is_date(value: Json) -> bool:
    if not isinstance(value, str):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


FILLED: Final = ArgumentForm("a string that is not empty", is_text, convert=_refuse_empty, nonempty=True)
ROOM: Final = FILLED._replace(convert=_check_local)
NAME: Final = limit_length(LONGEST_NAME, ROOM._replace(host_source="name"))
"""An account's name, without its domain."""
GROUP: Final = limit_length(LONGEST_GROUP, FILLED._replace(convert=check_segment))
"""The name of a group to create: Openfire accepts one with a slash, but then no path can name the group (measured)."""
GROUPS: Final = list_form(GROUP, table.TEXTS)
SHORT: Final = limit_length(100, table.TEXT)
"""A user's name (101 characters get 500, measured) or address.

It is as wide as the column in Openfire's schemas for PostgreSQL, SQL Server and HSQLDB (read), as is what is `LONG`.
"""
LONG: Final = limit_length(255, table.TEXT)
JID: Final = table.JID._replace(host_source=None)
"""A contact, who may be of any server."""
ADDRESS: Final = JID._replace(expected="a JID such as juliet@example.org, or an account's name")
ADDRESSES: Final = list_form(ADDRESS, table.TEXTS)
AFFILIATION: Final = choice("owners, admins, members or outcasts", "owners", "admins", "members", "outcasts")
ROOM_TYPE: Final = choice("public or all", "public", "all")
PROPERTIES: Final = ArgumentForm(
    'an object such as {"key": "value"}, or a list of {"key": …, "value": …}',
    _are_pairs,
    "any",
    is_text=False,
    convert=_to_pairs,
)
DATE: Final = ArgumentForm("a date such as 2026-01-31T12:00:00Z", _is_date, "any", convert=_to_date)
"""A date as Openfire answers it: a text, or epoch milliseconds."""
SUBSCRIPTION: Final = ArgumentForm(
    "a number from -1 to 3, or remove, none, to, from or both",
    lambda value: is_whole(value) and value in range(-1, 4),
    "any",
    convert=_to_number,
)
VCARD: Final = ArgumentForm(
    "the XML text of a vCard element", lambda value: isinstance(value, str) and "<vCard" in value and "<!" not in value
)
