"""What of a job is secret, and the job as it may be shown. What is known to be secret is hidden by `rules.hiding`.

Called by connectors for the secrets of a call, by `rules.display`, the stats page and the command line for jobs. Always
holds: what the catalogue or an argument's name says to be secret is masked wherever it stands, and so are message texts
unless they are asked for.
"""

import re
from collections.abc import Mapping

from restbroker.rules import rubyjson, signing
from restbroker.rules.command import CommandSpec
from restbroker.rules.hiding import EXCERPT_LIMIT, MASK, SECRET_NAME, Hide, hiding
from restbroker.rules.json_types import Json
from restbroker.rules.retry import ATTEMPTS_FIELD, UNREADABLE_CLASS

BODY_NAMES = frozenset(
    {
        *("body", "elementstring", "html", "htmlbody", "message", "messagebody", "messagehtml", "messagesubject"),
        *("question", "raw", "stanza", "subject", "text", "textbody"),
    }
)
"""Arguments that are message texts, in small letters; of an event, `raw` is what its server sent, texts under any name
among it.
"""
_QUERY_ITEM = re.compile(r"([?&;]|^)([^=&;?]+)=([^&;]*)")


def arguments(spec: CommandSpec | None, values: Mapping[str, Json], *, show_bodies: bool) -> dict[str, Json]:
    """The arguments as they may be shown: secrets masked, message texts too unless `show_bodies`.

    What is secret is said by the catalogue (`spec`) and by names (`pass*`, `newpass`, `secret`, `token`, …), at any
    depth.
    """
    return {name: _shown(spec, name, value, show_bodies=show_bodies) for name, value in values.items()}


def secret_values(spec: CommandSpec | None, values: Mapping[str, Json]) -> frozenset[str]:
    """Every secret in the arguments as text, to be taken out of whatever the server answers."""
    found: set[str] = set()
    for name, value in values.items():
        _collect(value, found, secret=_is_secret(spec, name))
    return frozenset(found)


def job(fields: Mapping[str, Json], *, show_bodies: bool = False, hide: Hide | None = None) -> dict[str, Json]:
    """A payload as it may be shown: token and secret arguments masked, whatever form its `args` have.

    The secrets are taken out of its error message and attempts too, by `hide` if it is given. A wrapped unreadable
    payload shows no args. A signature in the token's place is shown: it says whose the job is, and is of no use for
    any other.
    """
    shown = {name: _shown(None, name, value, show_bodies=show_bodies) for name, value in fields.items()}
    listed = _listed(fields.get("args"))
    hide = hide or hiding(secrets_of(fields))
    if listed is None or fields.get("class") == UNREADABLE_CLASS:
        shown["args"] = [MASK]
    else:
        shown["args"] = _args(listed, hide, show_bodies=show_bodies)
    for name in ("error_message", ATTEMPTS_FIELD):
        if name in shown:
            shown[name] = _cleaned(shown[name], hide)
    return shown


def secrets_of(fields: Mapping[str, Json]) -> frozenset[str]:
    """The secrets in a payload's `args`, whatever form these have: the token, and arguments of secret names."""
    listed = None if fields.get("class") == UNREADABLE_CLASS else _listed(fields.get("args"))
    return frozenset() if listed is None else _secrets_of(listed)


def _is_secret(spec: CommandSpec | None, name: str) -> bool:
    argument = spec.argument(name) if spec else None
    return (argument is not None and argument.secret) or SECRET_NAME.search(name.lower()) is not None


def _shown(spec: CommandSpec | None, name: str, value: Json, *, show_bodies: bool) -> Json:
    if _is_secret(spec, name) or (name.lower() in BODY_NAMES and not show_bodies):
        return MASK
    return _nested(value, show_bodies=show_bodies)


def _nested(value: Json, *, show_bodies: bool) -> Json:
    match value:
        case dict():
            return arguments(None, value, show_bodies=show_bodies)
        case [str(name), inner] if not isinstance(inner, list | dict):
            # May be a pair of name and value.
            return [name, _shown(None, name, inner, show_bodies=show_bodies)]
        case list():
            return [_nested(item, show_bodies=show_bodies) for item in value]
        case _:
            return value


def _collect(value: Json, found: set[str], *, secret: bool) -> None:
    match value:
        case dict():
            for name, inner in value.items():
                _collect(inner, found, secret=secret or _is_secret(None, name))
        case [str(name), inner] if not secret and _is_secret(None, name):
            _collect(inner, found, secret=True)
        case list():
            for inner in value:
                _collect(inner, found, secret=secret)
        case str() | int() | float() if secret and not isinstance(value, bool):
            found.add(str(value))
        case _:
            pass


def _listed(args: Json) -> list[Json] | None:
    parsed = _parsed(args) if isinstance(args, str) else args
    return parsed if isinstance(parsed, list) else None


def _parsed(raw: str) -> Json:
    try:
        return rubyjson.loads(raw.encode())
    except ValueError:
        return None


def _secrets_of(args: list[Json]) -> frozenset[str]:
    found: set[str] = set()
    if len(args) > 1:
        _collect(_parsed(args[1]) if isinstance(args[1], str) else args[1], found, secret=False)
    if len(args) > 2 and signing.read(args[2]) is None:
        _collect(args[2], found, secret=True)
    return frozenset(found)


def _args(args: list[Json], hide: Hide, *, show_bodies: bool) -> list[Json]:
    shown = [_nested(item, show_bodies=show_bodies) for item in args]
    if args and isinstance(args[0], str):
        shown[0] = _path(args[0], hide)
    if len(args) > 1 and isinstance(args[1], str):
        parsed = _parsed(args[1])
        shown[1] = MASK if parsed is None else _nested(parsed, show_bodies=show_bodies)
    if len(args) > 2 and signing.read(args[2]) is None:
        shown[2] = MASK
    return shown


def _cleaned(value: Json, hide: Hide) -> Json:
    match value:
        case str():
            return hide(value, EXCERPT_LIMIT)
        case dict():
            return {name: _cleaned(inner, hide) for name, inner in value.items()}
        case list():
            return [_cleaned(inner, hide) for inner in value]
        case _:
            return value


def _path(target: str, hide: Hide) -> str:
    return hide(_QUERY_ITEM.sub(_query_item, target), EXCERPT_LIMIT)


def _query_item(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}={MASK}" if SECRET_NAME.search(found[2].lower()) else found[0]
