"""What of a job is secret, and the job as it may be shown. What is known to be secret is hidden by `job.hiding`.

Called by connectors for the secrets of a call, by `job.display`, the stats page and the command line for jobs. Always
holds: what the catalogue or an argument's name says to be secret is masked wherever it stands, and so are message texts
unless they are asked for.
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain

import attrs

from restbroker.job import endpoint, headers, hiding, names, rubyjson, signing, structured
from restbroker.job.command import CommandSpec
from restbroker.job.hiding import EXCERPT_LIMIT, MASK, Hide
from restbroker.job.json_types import Json
from restbroker.job.names import BODY_NAMES, NAMING, PRIVATE, VALUES, bare
from restbroker.job.outcome import Reason
from restbroker.job.retry import ATTEMPTS_FIELD, UNREADABLE_CLASS

_VARIABLES = "variables"
_NOTHING: frozenset[str] = frozenset()
_NAME = re.compile(r"""[^\s=<>{}"'&?,;]{1,80}""")
_QUERY_ITEM = re.compile(r"([?&;]|^)([^=&;?]+)=([^&;]*)")
_MOST_WITHIN = 65_536
"""A text of so many characters is looked through for texts within it, and these for more; one with many is masked."""
_LONG = 100
"""So many characters more of a secret take as long as another secret."""


@attrs.define(eq=False)
class _Mask:
    """How the texts of one job are shown. `left`: so many secrets are still taken out of texts, each of which may take
    half a millisecond; behind them a text with one is not shown.
    """

    show_bodies: bool
    left: int = hiding.MOST_SECRETS

    def text(self, text: str, also: frozenset[str]) -> str:
        """Without the secrets that its structure names, as they stand in it."""
        found: set[str] = set()
        _collect_text(text, found, also)
        if not found:
            return text
        self.left -= sum(1 + len(one) // _LONG for one in found)
        return MASK if self.left < 0 else hiding.without(text, hiding.spelled(found))


def arguments(
    spec: CommandSpec | None, values: Mapping[str, Json], *, show_bodies: bool, also: frozenset[str] = frozenset()
) -> dict[str, Json]:
    """The arguments as they may be shown: secrets masked, message texts too unless `show_bodies`.

    What is secret is said by the catalogue (`spec`) and by names (`pass*`, `newpass`, `secret`, `token`, …, and those
    in `also`), at any depth: in objects and lists, in pairs and fields of forms, and in texts of JSON, GraphQL and XML.
    """
    return _arguments(spec, values, _Mask(show_bodies), also)


def _arguments(
    spec: CommandSpec | None, values: Mapping[str, Json], mask: _Mask, also: frozenset[str] = _NOTHING
) -> dict[str, Json]:
    bound = _bound(values)
    return {
        name: MASK
        if is_secret or (name.lower() in BODY_NAMES and not mask.show_bodies)
        else _nested(value, mask, bound if name == _VARIABLES else _NOTHING)
        for name, value, is_secret in _members(spec, values, also)
    }


def secret_values(spec: CommandSpec | None, values: Mapping[str, Json]) -> frozenset[str]:
    """Every secret in the arguments as text, to be taken out of whatever the server answers."""
    found: set[str] = set()
    _collect_members(spec, values, found)
    return frozenset(found)


def job(
    fields: Mapping[str, Json],
    spec: CommandSpec | None = None,
    *,
    show_bodies: bool = False,
    hide: Hide | None = None,
) -> dict[str, Json]:
    """A payload as it may be shown: token and secret arguments masked, whatever form its `args` have.

    `spec`: what the catalogue says of its command, where that is known. The secrets are taken out of its error message
    and attempts too, by `hide` if it is given. A wrapped unreadable payload shows no args. A signature in the token's
    place is shown: it says whose the job is, and is of no use for any other.
    """
    mask = _Mask(show_bodies)
    shown = _arguments(None, {**fields, "args": None}, mask)
    listed = _listed(fields.get("args"))
    hide = hide or hiding.hiding(secrets_of(fields, spec))
    if listed is None or fields.get("class") == UNREADABLE_CLASS:
        shown["args"] = [MASK]
    else:
        shown["args"] = _args(listed, spec, hide, mask)
    for name in ("error_message", ATTEMPTS_FIELD):
        if name in shown:
            shown[name] = hiding.everywhere(shown[name], hide, EXCERPT_LIMIT)
    return shown


def secrets_of(fields: Mapping[str, Json], spec: CommandSpec | None = None) -> frozenset[str]:
    """The secrets in a payload's `args`, whatever form these have: the token, and arguments that are secret by their
    names or by what the catalogue says of its command (`spec`).
    """
    if fields.get("class") == UNREADABLE_CLASS:
        return frozenset()
    listed = _listed(fields.get("args"))
    return _secrets_of([fields.get("args")] if listed is None else listed, spec)


def _is_secret(spec: CommandSpec | None, name: str) -> bool:
    argument = spec.argument(name) if spec else None
    return (argument is not None and argument.secret) or names.is_secret(name)


def _is_a_name(text: str) -> bool:
    """Of a pair: a name alone, and no text that has one in it."""
    return _NAME.fullmatch(text) is not None and names.is_secret(text)


def _members(
    spec: CommandSpec | None, values: Mapping[str, Json], also: frozenset[str]
) -> Iterator[tuple[str, Json, bool]]:
    """Each, and whether it is secret: by its name, or as the value of a field that another member names."""
    attributes = (inner for name, inner in values.items() if names.holds_attributes(name) and isinstance(inner, dict))
    told = chain(values.items(), *(inner.items() for inner in attributes))
    is_field = any(
        (bare(name) == "type" and value == PRIVATE)
        or (bare(name) in NAMING and isinstance(value, str) and names.is_secret(value))
        for name, value in told
    )
    for name, value in values.items():
        yield name, value, name in also or _is_secret(spec, name) or (is_field and bare(name) in VALUES)


def _bound(values: Mapping[str, Json]) -> frozenset[str]:
    """The variables that a GraphQL document beside them gives as secrets."""
    document = values.get("query") if _VARIABLES in values else None
    return structured.variables_in(document) if isinstance(document, str) else _NOTHING


def _nested(value: Json, mask: _Mask, also: frozenset[str] = _NOTHING) -> Json:
    match value:
        case dict():
            return _arguments(None, value, mask, also)
        case [str(name), _] if _is_a_name(name):
            return [name, MASK]
        case [str(name), inner] if not isinstance(inner, list | dict) and name.lower() in BODY_NAMES:
            # May be a pair of name and value.
            return [name, _nested(inner, mask) if mask.show_bodies else MASK]
        case list():
            return [_nested(item, mask, also) for item in value]
        case str():
            return mask.text(value, also)
        case _:
            return value


def _collect_members(
    spec: CommandSpec | None, values: Mapping[str, Json], found: set[str], also: frozenset[str] = _NOTHING
) -> None:
    bound = _bound(values)
    for name, value, is_secret in _members(spec, values, also):
        _collect(value, found, secret=is_secret, also=bound if name == _VARIABLES else _NOTHING)


def _collect(value: Json, found: set[str], *, secret: bool, also: frozenset[str] = _NOTHING) -> None:
    match value:
        case dict() if secret:
            for inner in value.values():
                _collect(inner, found, secret=True)
        case dict():
            _collect_members(None, value, found, also)
        case [str(name), inner] if not secret and _is_a_name(name):
            _collect(inner, found, secret=True)
        case list():
            for inner in value:
                _collect(inner, found, secret=secret, also=also)
        case str() | int() | float() if secret and not isinstance(value, bool):
            found.add(str(value))
            if isinstance(value, str):
                found.update(headers.parts_of(value))
                # A server may quote a secret within it alone: the password in a document of GraphQL.
                _collect_text(value, found, also)
        case str():
            _collect_text(value, found, also)
        case _:
            pass


def _collect_text(text: str, found: set[str], also: frozenset[str], levels: int = 2) -> None:
    if not (also or structured.may_hold_secrets(text)):
        return
    match _parsed(text) if text.lstrip()[:1] in ("{", "[", '"') else None:
        case dict() | list() | str() as parsed:
            _collect_parsed(parsed, text, found, also)
        case _:
            for line in text.splitlines() if text.lstrip()[:1] in ("{", "[") else ():
                # Of several documents of JSON, one on each line. Most lines are none, and to find that out takes long.
                is_one = line.rstrip()[-1:] in ("}", "]") and (also or structured.may_hold_secrets(line))
                if is_one and isinstance(document := _parsed(line), dict | list):
                    _collect_parsed(document, line, found, also)
            for one in structured.secrets_in(text):
                found.add(one)
                if len(found) > hiding.MOST_SECRETS:  # then all is masked, whatever else there is
                    return
            inside = structured.texts_in(text) if levels and len(text) <= _MOST_WITHIN else ()
            for number, inner in enumerate(inside):
                if number == hiding.MOST_SECRETS:
                    found.add(text)
                    return
                within: set[str] = set()
                _collect_text(inner, within, _NOTHING, levels - 1)
                # As they stand there, where it is of JSON.
                found |= within | {json.dumps(one, ensure_ascii=False)[1:-1] for one in within}


def _collect_parsed(parsed: Json, text: str, found: set[str], also: frozenset[str]) -> None:
    try:
        _collect(parsed, found, secret=False, also=also)
    except RecursionError:  # Texts of JSON within each other, of which each is as deep as may be.
        found.add(text)


def _listed(args: Json) -> list[Json] | None:
    parsed = _parsed(args) if isinstance(args, str) else args
    return parsed if isinstance(parsed, list) else None


def _parsed(raw: str) -> Json:
    try:
        return rubyjson.loads(raw.encode())
    except ValueError:
        return None


def _secrets_of(args: list[Json], spec: CommandSpec | None) -> frozenset[str]:
    found: set[str] = set()
    _collect_behind(args, spec, found)
    if args and isinstance(endpoint.check(args[0]), Reason):
        first = _in_json(args[0])
        _collect(first, found, secret=False)
        if isinstance(first, list):
            _collect_behind(first, spec, found)
    return frozenset(found)


def _collect_behind(args: list[Json], spec: CommandSpec | None, found: set[str]) -> None:
    """What is secret behind the endpoint."""
    if len(args) > 1:
        given = _parsed(args[1]) if isinstance(args[1], str) else args[1]
        named, others = _named(given)
        _collect_members(spec, named, found)
        _collect(others, found, secret=False)
    if len(args) > 2 and signing.read(args[2]) is None:
        _collect(args[2], found, secret=True)


def _named(given: Json) -> tuple[dict[str, Json], Json]:
    """A job's arguments by name, in whichever of their forms: an object, pairs, objects of one key; and what is none.

    They are looked at together: one may say what another is, as `option` of `value`.
    """
    if isinstance(given, dict):
        return given, None
    if not isinstance(given, list) or (given and isinstance(given[0], str)):
        return {}, given
    named: dict[str, Json] = {}
    others: list[Json] = []
    for one in given:
        pair = _pair(one)
        if pair is None or pair[0] in named:
            others.append(one)
        else:
            named[pair[0]] = pair[1]
    return named, others


def _pair(one: Json) -> tuple[str, Json] | None:
    match one:
        case [str(name), value]:
            return name, value
        case dict() if len(one) == 1:
            return next(iter(one.items()))
        case _:
            return None


def _args(args: list[Json], spec: CommandSpec | None, hide: Hide, mask: _Mask) -> list[Json]:
    # The second is looked at below.
    shown = [None if place == 1 else _nested(item, mask) for place, item in enumerate(args)]
    if args:
        shown[0] = _first(args[0], hide, mask)
    if len(args) > 1:
        parsed = _parsed(args[1]) if isinstance(args[1], str) else args[1]
        is_broken = parsed is None and isinstance(args[1], str)
        shown[1] = MASK if is_broken else _given(parsed, spec, mask)
    if len(args) > 2 and signing.read(args[2]) is None:
        shown[2] = MASK
    return shown


def _given(given: Json, spec: CommandSpec | None, mask: _Mask) -> Json:
    """A job's arguments in the form that they have."""
    named, others = _named(given)
    shown = _arguments(spec, named, mask)
    if isinstance(given, dict):
        return shown
    if not named or not isinstance(given, list):
        return _nested(others, mask)
    return [_entry(one, shown, spec, mask) for one in given]


def _entry(one: Json, shown: dict[str, Json], spec: CommandSpec | None, mask: _Mask) -> Json:
    pair = _pair(one)
    # Each once: a name that comes twice is refused.
    if pair is None or pair[0] not in shown:
        return _nested(one, mask) if pair is None or not _is_secret(spec, pair[0]) else MASK
    value = shown.pop(pair[0])
    return {pair[0]: value} if isinstance(one, dict) else [pair[0], value]


def _first(first: Json, hide: Hide, mask: _Mask) -> Json:
    """What stands in the endpoint's place, where a job in a wrong shape may have all its arguments."""
    inner = _in_json(first)
    shown = inner if isinstance(endpoint.check(first), str) else _nested(inner, mask)
    if not isinstance(shown, str):
        shown = hiding.everywhere(shown, hide, EXCERPT_LIMIT)
        return rubyjson.dumps(shown).decode() if isinstance(first, str) else shown
    return hide(_QUERY_ITEM.sub(_query_item, shown), EXCERPT_LIMIT)


def _in_json(first: Json) -> Json:
    """What a text of JSON holds; anything else as it is."""
    parsed = _parsed(first) if isinstance(first, str) and first.lstrip()[:1] in ("{", "[", '"') else None
    return first if parsed is None else parsed


def _query_item(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}={MASK}" if names.is_secret(found[2]) else found[0]
