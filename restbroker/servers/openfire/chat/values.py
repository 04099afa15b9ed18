"""Whether a job's arguments fit its command, and what they mean. Pure.

Called by `request`. Always holds: what the server would answer with a 400 or 500 that says nothing is refused here, and
so is what it would take for something else: an unknown `show` makes a user available, an unknown chat state is dropped
with a 200 (read). Values that were copied from the plugin's page with its quotes are understood.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Final

from restbroker.job.endpoint import kind_of, quoted
from restbroker.job.jid import folded
from restbroker.job.json_types import Json
from restbroker.servers.api.arguments import InvalidArguments
from restbroker.servers.api.jid import is_jid, is_local
from restbroker.servers.api.texts import NO_XML, fits_xml
from restbroker.servers.openfire.chat.bodies import SUBSCRIPTIONS, Form
from restbroker.servers.openfire.chat.ways import Way

_CHOICES: Final[Mapping[Form, tuple[str, ...]]] = {
    "show": ("available", "away", "chat", "dnd", "xa", "offline"),
    "state": ("composing", "paused", "active", "inactive", "gone"),
}
_TEXTS: Final[frozenset[Form]] = frozenset({"text", "segment", "user", "room", "jid", "show", "state", "link"})
_QUOTED: Final[frozenset[Form]] = frozenset({"segment", "user", "room", "jid", "show", "state"})
"""What stands in a path: of a text, quotes may belong to it."""
_QUERY_QUOTED: Final = frozenset({"service", "servicename", "type", "expandGroups"})
_WANTED: Final[Mapping[Form, str]] = {
    "either": 'a text, or an object such as {"body": "Hello"}',
    "flag": "true or false",
    "jid": "a JID such as juliet@example.org",
    "properties": 'an object such as {"key": "value"}, or a list of {"key": …, "value": …}',
    "scalar": "a text, a number, or true or false",
    "show": "one of available, away, chat, dnd, xa and offline",
    "state": "one of composing, paused, active, inactive and gone",
    "subscription": "a number from -1 to 3, or remove, none, to, from or both",
    "texts": "a list of texts, or one with commas,",
    "user": "a user's name, or his JID",
    "whole": "a whole number",
}

_ELSEWHERE: Final = "names another server than the target's Domain"

LONGEST_NAME: Final = 64
"""65 get 500 (measured on the REST API plugin)."""


def fit(way: Way, arguments: Mapping[str, Json], host: str | None) -> dict[str, Json]:
    """The arguments as the server takes them. `host`: the server's domain, where it is known.

    Raises `InvalidArguments`.
    """
    found: dict[str, Json] = {}
    for given, value in arguments.items():
        name = given if given in way.forms else way.aliases.get(given, given)
        form = _form(way, name)
        if value is None and name not in way.needs:
            continue
        if name in found:
            raise InvalidArguments(f'the argument "{name}" is given twice, once as {quoted(given)}')
        found[name] = _value(name, value, form, host)
    for name in way.needs:
        if name not in found:
            raise InvalidArguments(f'the argument "{name}" is missing')
    _take_room_apart(way, found, host)
    if way.same is not None:
        field, argument = way.same
        if found.setdefault(field, found[argument]) != found[argument]:
            raise InvalidArguments(f'the arguments "{field}" and "{argument}" differ, and must be the same')
    return found


def _form(way: Way, name: str) -> Form:
    form = way.forms.get(name)
    if form is None:
        near = get_close_matches(name, way.forms, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise InvalidArguments(f"there is an argument {quoted(name)}, which {way.name} does not have{meant}")
    return form


def _take_room_apart(way: Way, found: dict[str, Json], host: str | None) -> None:
    """A room may be given by its JID, as events name it: the service is what its domain has before the server's."""
    room = found.get("roomName")
    if not isinstance(room, str) or "@" not in room:
        return
    name, _, domain = room.rpartition("@")
    service, _, rest = domain.partition(".")
    if rest and host is not None:
        service = folded(domain).removesuffix(f".{folded(host)}")
        if service == folded(domain):
            raise InvalidArguments(f'the argument "roomName" {_ELSEWHERE}')
    argument = "service" if "service" in way.forms else "servicename"
    if found.setdefault(argument, service) != service:
        raise InvalidArguments(f'the room\'s JID in "roomName" is of another service than "{argument}" says')
    found["roomName"] = name


def _value(name: str, value: Json, form: Form, host: str | None) -> Json:
    if isinstance(value, str) and (form in _QUOTED or name in _QUERY_QUOTED):
        value = _unquoted(value)
    if form == "jid" and isinstance(value, str) and "@" not in value and host is not None and is_local(value):
        value = f"{value}@{host}"
    if form == "segment" and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if form == "texts" and isinstance(value, str):
        value = [one.strip() for one in value.split(",") if one.strip()]
    if not _is_one(value, form):
        raise _other(name, value, form)
    if form in ("segment", "user", "room"):
        _check_segment(name, str(value), host)
    if form == "subscription" and isinstance(value, str):
        value = SUBSCRIPTIONS.index(value) - 1
    if form == "properties" and isinstance(value, dict):
        value = [{"key": key, "value": one} for key, one in value.items()]
    if not fits_xml(value):
        raise InvalidArguments(f'the argument "{name}" has {NO_XML}')
    return value


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'" else text


def _is_one(value: Json, form: Form) -> bool:
    if form in _CHOICES:
        return value in _CHOICES[form]
    if form in _TEXTS:
        return isinstance(value, str) and (form != "jid" or is_jid(value))
    return _OTHERS[form](value)


def _is_whole(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_texts(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_subscription(value: Json) -> bool:
    return value in SUBSCRIPTIONS or (isinstance(value, int) and not isinstance(value, bool) and -1 <= value <= 3)


def _are_properties(value: Json) -> bool:
    if isinstance(value, dict):
        return all(isinstance(one, str) for one in value.values())
    return isinstance(value, list) and all(
        isinstance(one, dict) and one.keys() == {"key", "value"} and all(isinstance(part, str) for part in one.values())
        for one in value
    )


_OTHERS: Final[Mapping[Form, Callable[[Json], bool]]] = {
    "either": lambda value: isinstance(value, str | dict),
    "whole": _is_whole,
    "flag": lambda value: isinstance(value, bool),
    "scalar": lambda value: isinstance(value, str | int | float),
    "texts": _are_texts,
    "properties": _are_properties,
    "subscription": _is_subscription,
    "value": lambda _: True,
}


def _other(name: str, value: Json, form: Form) -> InvalidArguments:
    wanted = _WANTED.get(form, "a text")
    if isinstance(value, str):
        return InvalidArguments(f'the argument "{name}" is a text, but not {wanted}')
    return InvalidArguments(f'the argument "{name}" is {kind_of(value)}, where {wanted} is needed')


def user_name(user: str) -> str:
    """The name that a user is logged in by: the local part, folded as the server folds it."""
    bare = user.partition("/")[0]
    return folded(bare.rpartition("@")[0] or bare)


def _check_segment(name: str, text: str, host: str | None) -> None:
    """What Openfire answers 500 to (measured on the REST API plugin), or what would lead elsewhere."""
    if name == "from":
        _, at, domain = text.partition("/")[0].rpartition("@")
        if at and host is not None and folded(domain) != folded(host):
            raise InvalidArguments(f'the argument "{name}" {_ELSEWHERE}')
        text = user_name(text)
    if text.strip() in ("", ".", ".."):
        raise InvalidArguments(f'the argument "{name}" is empty, or only dots')
    if "/" in text:
        raise InvalidArguments(f'the argument "{name}" has a slash, which cannot stand in the path')
    if name == "from" and not is_local(text):
        raise InvalidArguments(f'the argument "{name}" has a blank or another character that no name in XMPP may have')
    if name == "from" and len(text) > LONGEST_NAME:
        raise InvalidArguments(
            f'the argument "{name}" is longer than the {LONGEST_NAME} characters that Openfire takes'
        )
