"""Whether a job's arguments fit its command. Pure.

Called by `request`. Always holds: what Openfire was seen to answer 500 to is refused here, since a 500 says nothing:
a name with blanks or an @, of more than 64 characters or of none, an address that is no JID, a slash in the path, a
field that it does not know. And a character that XML cannot hold.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final

from restbroker.job.endpoint import kind_of, quoted
from restbroker.job.hosts import plain
from restbroker.job.json_types import Json
from restbroker.servers.api.arguments import InvalidArguments
from restbroker.servers.api.jid import is_jid, is_local
from restbroker.servers.api.texts import NO_XML, fits_xml
from restbroker.servers.openfire.rest.entities import AFFILIATIONS, ENTITIES, Field, Form, with_roles
from restbroker.servers.openfire.rest.ways import Way

LONGEST_NAME: Final = 64
"""65 get 500 (measured)."""
SUBSCRIPTIONS: Final = ("remove", "none", "to", "from", "both")
"""From -1 on."""
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
_WANTED: Final[Mapping[Form, str]] = {
    "filled": "a text that is not empty",
    "whole": "a whole number",
    "flag": "true or false",
    "texts": "a list of texts",
    "properties": 'an object such as {"key": "value"}, or a list of {"key": …, "value": …}',
    "rooms": "a list of objects, each a room",
    "date": "a date such as 2026-01-31T12:00:00Z",
    "jid": "a JID such as juliet@example.org",
    "address": "a JID such as juliet@example.org, or an account's name",
    "affiliation": "owners, admins, members or outcasts",
    "subscription": "a number from -1 to 3, or remove, none, to, from or both",
    "room_type": "public or all",
    "vcard": "the XML text of a vCard element",
}


def fit(way: Way, arguments: Mapping[str, Json], host: str | None) -> dict[str, Json]:
    """The arguments as the server takes them. `host`: the server's domain, where it is known.

    Raises `InvalidArguments`.
    """
    given = {name: value for name, value in arguments.items() if value is not None or name in way.needs}
    if "host" in given:
        _check_host(given.pop("host"), host)
    given = _renamed(way, given)
    found = {name: _value(name, value, _form(way, name)) for name, value in given.items()}
    for name in way.needs:
        if name not in found:
            raise InvalidArguments(f'the argument "{name}" is missing')
    if way.same is not None:
        _check_same(way.same, found)
    return found


def _renamed(way: Way, given: dict[str, Json]) -> dict[str, Json]:
    """The groups of a user under the name that newer versions give them."""
    if "groupname" in given and "groupnames" in way.forms and "groupnames" not in given:
        given["groupnames"] = given.pop("groupname")
    return given


def _form(way: Way, name: str) -> Form:
    form = way.forms.get(name)
    if form is None:
        near = get_close_matches(name, way.forms, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise InvalidArguments(f"there is an argument {quoted(name)}, which {way.name} does not have{meant}")
    return form


def _check_host(host: Json, own: str | None) -> None:
    if own is None or not isinstance(host, str) or plain(host) != plain(own):
        known = "which has no Domain" if own is None else f"which is {own}'s"
        raise InvalidArguments(f'the argument "host" is not the host of this target, {known}')


def _check_same(same: tuple[str, str], found: Mapping[str, Json]) -> None:
    field, argument = same
    if found.get(field, found[argument]) != found[argument]:
        raise InvalidArguments(f'the arguments "{field}" and "{argument}" differ, and must be the same')


def _value(name: str, value: Json, form: Form) -> Json:
    match form:
        case "name" | "room":
            _check_local(name, value, LONGEST_NAME if form == "name" else None)
        case "segment":
            _check_segment(name, value)
        case "properties":
            value = _properties(name, value)
        case "rooms":
            value = _rooms(name, value)
        case "date":
            value = _date(name, value)
        case "subscription":
            value = _subscription(name, value)
        case _ if not _is_one(value, form):
            raise _other(name, value, form)
        case _:
            pass
    if not fits_xml(value):
        raise InvalidArguments(f'the argument "{name}" has {NO_XML}')
    return value


def _is_one(value: Json, form: Form) -> bool:
    match form:
        case "filled":
            return isinstance(value, str) and value != ""
        case "whole":
            return isinstance(value, int) and not isinstance(value, bool)
        case "flag":
            return isinstance(value, bool)
        case "texts":
            return isinstance(value, list) and all(isinstance(one, str) for one in value)
        case "jid" | "address":
            return isinstance(value, str) and is_jid(value)
        case "affiliation":
            return isinstance(value, str) and value in AFFILIATIONS
        case "room_type":
            return value in ("public", "all")
        case "vcard":
            return isinstance(value, str) and "<vCard" in value and "<!" not in value
        case _:
            return isinstance(value, str)


def _other(name: str, value: Json, form: Form) -> InvalidArguments:
    wanted = _WANTED.get(form, "a text")
    found = "another text" if isinstance(value, str) and wanted != "a text" else kind_of(value)
    if form == "filled" and value == "":
        found = "empty"
    return InvalidArguments(f'the argument "{name}" is {found}, where {wanted} is needed')


def _check_local(name: str, value: Json, limit: int | None) -> None:
    if not isinstance(value, str) or not value:
        raise _other(name, value, "filled")
    for character, escape in _ESCAPES.items():
        if character in value:
            word = "a blank" if character == " " else f"the character {character}"
            raise InvalidArguments(f'the argument "{name}" has {word}, which no name may have: write {escape} for it')
    if not is_local(value):
        raise InvalidArguments(f'the argument "{name}" has a character that no name in XMPP may have')
    if limit is not None and len(value) > limit:
        raise InvalidArguments(f'the argument "{name}" is longer than the {limit} characters that Openfire takes')


def _check_segment(name: str, value: Json) -> None:
    if not isinstance(value, str) or not value:
        raise _other(name, value, "filled")


def _properties(name: str, value: Json) -> Json:
    """As a list of objects with `key` and `value`. One without its key makes 1.3.10 create half a user (measured)."""
    if isinstance(value, dict):
        value = [{"key": key, "value": one} for key, one in value.items()]
    if not isinstance(value, list):
        raise _other(name, value, "properties")
    for one in value:
        is_pair = isinstance(one, dict) and one.keys() == {"key", "value"} and one["key"] != ""
        if not is_pair or not all(isinstance(part, str) for part in one.values()):
            raise _other(name, one, "properties")
    return value


def _rooms(name: str, value: Json) -> Json:
    if not isinstance(value, list) or not value:
        raise _other(name, value, "rooms")
    fields = {field.name: field for field in ENTITIES["MUCRoomEntity"].fields}
    return [_room(one, fields, f"{name}[{index}]") for index, one in enumerate(value)]


def _room(value: Json, fields: Mapping[str, Field], place: str) -> Json:
    if not isinstance(value, dict):
        raise _other(place, value, "rooms")
    for name in value:
        if name not in fields:
            raise InvalidArguments(f"in {place} there is {quoted(name)}, which a room does not have")
    for field in fields.values():
        if field.needed and value.get(field.name) is None:
            raise InvalidArguments(f'in {place} "{field.name}" is missing')
    return with_roles(
        {name: _value(f"{place}.{name}", one, fields[name].form) for name, one in value.items() if one is not None}
    )


def _subscription(name: str, value: Json) -> Json:
    """As a number. A shell gives it as a text."""
    for number, word in enumerate(SUBSCRIPTIONS, start=-1):
        if value in (word, str(number)) or (value == number and not isinstance(value, bool)):
            return number
    raise _other(name, value, "subscription")


def _date(name: str, value: Json) -> Json:
    """In the form of XML; 1.3 and newer answer milliseconds."""
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            value = datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="milliseconds")
        elif isinstance(value, str):
            datetime.fromisoformat(value)
        else:
            raise _other(name, value, "date")
    except (ValueError, OverflowError, OSError):
        raise _other(name, value, "date") from None
    return value
