"""What of a job is secret, and the job as it may be shown. What is known to be secret is hidden by `job.hiding`.

Called by connectors for the secrets of a call, by `job.display`, the stats page and the command line for jobs. Always
holds: what the catalogue or an argument's name says to be secret is masked wherever it stands, and so are message texts
unless they are asked for.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice

import attrs

from restbroker.job import endpoint, headers, hiding, names, rubyjson, signing
from restbroker.job.command import CommandSpec
from restbroker.job.hiding import EXCERPT_LIMIT, MASK, Hide, Secret, Spelled
from restbroker.job.json_types import Json
from restbroker.job.names import BODY_NAMES, NAMING, PRIVATE, VALUES, bare
from restbroker.job.outcome import Reason
from restbroker.job.retry import ATTEMPTS_FIELD, UNREADABLE_CLASS

_VARIABLES = "variables"
_OWN = ("class", "jid", "queue", "retry_queue", "display_class", "error_class", "error_message")
"""Sidekiq's fields of a job that are texts, and no producer's."""
_NAME = re.compile(r"[\w.\[\]-]{1,80}")
_WORD = re.compile(r"[^\s@/]+(?:[@/]\S+)?")
_SHORTEST_WORD = 3
_MOST_WORDS = 100


@attrs.define(eq=False)
class _Found:
    """What was found in a job's arguments: `secrets`, `texts` that name one, and the `words` of what is shown."""

    secrets: set[str] = attrs.field(factory=set)
    texts: set[str] = attrs.field(factory=set)
    words: set[str] = attrs.field(factory=set)

    def all(self) -> frozenset[Secret]:
        """The secrets, and the texts with the words that are shown anyway: errors speak of them."""
        shown = frozenset(self.words)
        return frozenset(chain(self.secrets, (hiding.Text(text, shown) for text in self.texts)))

    def add(self, text: str) -> None:
        """A text that is not secret by its own name."""
        if names.names_a_secret(text):
            self.texts.add(text)
        elif len(self.words) < _MOST_WORDS:
            found = (word[0] for word in islice(_WORD.finditer(text), _MOST_WORDS - len(self.words)))
            self.words.update(word for word in found if len(word) >= _SHORTEST_WORD)


def arguments(
    spec: CommandSpec | None, values: Mapping[str, Json], *, show_bodies: bool, also: frozenset[str] = frozenset()
) -> dict[str, Json]:
    """The arguments as they may be shown: secrets masked, message texts too unless `show_bodies`.

    What is secret is said by the catalogue (`spec`) and by names (`pass*`, `newpass`, `secret`, `token`, …, and those
    in `also`), at any depth: in objects and lists, in pairs and fields of forms. Of a text that names a secret, in
    whichever notation, nothing is shown.
    """
    shown = _arguments(spec, values, also, show_bodies=show_bodies)
    return {_open_name(name): value for name, value in shown.items()}


def _arguments(
    spec: CommandSpec | None, values: Mapping[str, Json], also: frozenset[str] = frozenset(), *, show_bodies: bool
) -> dict[str, Json]:
    """The same by the names as they are."""
    return {
        name: MASK
        if is_secret or (name.lower() in BODY_NAMES and not show_bodies)
        else _nested(value, show_bodies=show_bodies)
        for name, value, is_secret in _members(spec, values, also)
    }


def _open_name(name: str) -> str:
    """But for one that holds more than a name."""
    return MASK if names.names_a_secret(name) else name


def secret_values(spec: CommandSpec | None, values: Mapping[str, Json]) -> frozenset[Secret]:
    """Every secret in the arguments, to be taken out of whatever the server answers; of a text that names one, all."""
    found = _Found()
    _collect_members(spec, values, found)
    return found.all()


def job(
    fields: Mapping[str, Json],
    spec: CommandSpec | None = None,
    *,
    show_bodies: bool = False,
    hides: tuple[Hide, Hide] | None = None,
) -> dict[str, Json]:
    """A payload as it may be shown: token and secret arguments masked, whatever form its `args` have.

    `spec`: what the catalogue says of its command, where that is known. The secrets are taken out of its error message
    and attempts too, by the first of `hides` if they are given, and by the second out of its endpoint. A wrapped
    unreadable payload shows no args. A signature in the token's place is shown: it says whose the job is, and is of no
    use for any other.
    """
    own = {name: value for name, value in fields.items() if name in _OWN and isinstance(value, str)}
    shown = arguments(None, {**fields, **dict.fromkeys(own), "args": None}, show_bodies=show_bodies) | own
    listed = _listed(fields.get("args"))
    hide, hide_words = hides or hides_of(secrets_of(fields, spec))
    if listed is None or fields.get("class") == UNREADABLE_CLASS:
        shown["args"] = [MASK]
    else:
        shown["args"] = _args(listed, spec, hide_words, show_bodies=show_bodies)
    for name in ("error_message", ATTEMPTS_FIELD):
        if name in shown:
            shown[name] = hiding.everywhere(shown[name], hide, EXCERPT_LIMIT)
    return shown


def hides_of(secrets: frozenset[Secret], known: Spelled = frozenset()) -> tuple[Hide, Hide]:
    """What hides them in answers, and in what else is shown of their job: a piece of a text is there by chance."""
    return hiding.hiding(secrets, known), hiding.hiding((one for one in secrets if isinstance(one, str)), known)


def secrets_of(fields: Mapping[str, Json], spec: CommandSpec | None = None) -> frozenset[Secret]:
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
    return _NAME.fullmatch(text) is not None and names.has_a_name(text)


def _members(
    spec: CommandSpec | None, values: Mapping[str, Json], also: frozenset[str] = frozenset()
) -> Iterator[tuple[str, Json, bool]]:
    """Each, and whether it is secret: by its name, as the value of a field that another member names, or as the
    variables of a document that names a secret.
    """
    attributes = (inner for name, inner in values.items() if names.holds_attributes(name) and isinstance(inner, dict))
    told = list(chain(values.items(), *(inner.items() for inner in attributes)))
    is_field = any(_names_its_value(name, value) for name, value in told)
    is_bound = _VARIABLES in values and any(isinstance(one, str) and names.has_a_name(one) for _, one in told)
    for name, value in values.items():
        is_value = (is_field and bare(name) in VALUES) or (is_bound and name == _VARIABLES)
        yield name, value, is_value or name in also or _is_secret(spec, name)


def _names_its_value(name: str, value: Json) -> bool:
    """Whether a member says that its field is secret."""
    # Programs that make JSON of XML make a list of an element that could come twice.
    text = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(text, str):
        return False
    return (bare(name) == "type" and text == PRIVATE) or (bare(name) in NAMING and names.has_a_name(text))


def _nested(value: Json, *, show_bodies: bool) -> Json:
    match value:
        case dict():
            return arguments(None, value, show_bodies=show_bodies)
        case [str(name), _] if _is_a_name(name):
            return [_nested(name, show_bodies=show_bodies), MASK]
        case [str(name), inner] if not isinstance(inner, list | dict) and name.lower() in BODY_NAMES:
            # May be a pair of name and value.
            return [name, _nested(inner, show_bodies=show_bodies) if show_bodies else MASK]
        case list():
            return [_nested(item, show_bodies=show_bodies) for item in value]
        case str() if names.names_a_secret(value):
            return MASK
        case _:
            return value


def _collect_members(spec: CommandSpec | None, values: Mapping[str, Json], found: _Found) -> None:
    for name, value, is_secret in _members(spec, values):
        found.add(name)
        words = set(found.words)
        _collect(value, found, secret=is_secret)
        if name.lower() in BODY_NAMES:
            found.words = words  # It is not shown.


def _collect(value: Json, found: _Found, *, secret: bool) -> None:
    match value:
        case dict() if secret:
            for inner in value.values():
                _collect(inner, found, secret=True)
        case dict():
            _collect_members(None, value, found)
        case [str(name), inner] if not secret and _is_a_name(name):
            found.add(name)
            _collect(inner, found, secret=True)
        case list():
            for inner in value:
                _collect(inner, found, secret=secret)
        case str() if secret:
            _collect_secret(value, found)
        case int() | float() if secret and not isinstance(value, bool):
            found.secrets.add(str(value))
        case str():
            found.add(value)
        case _:
            pass


def _collect_secret(text: str, found: _Found) -> None:
    found.secrets.add(text)
    found.secrets.update(headers.parts_of(text))
    if names.names_a_secret(text):
        # A server may quote a secret within it alone: the password in a document of GraphQL.
        found.texts.add(text)
    inner = _in_json(text)
    if isinstance(inner, dict | list):
        with contextlib.suppress(
            RecursionError
        ):  # Texts of JSON within each other, of which each is as deep as may be.
            _collect(inner, found, secret=True)


def _listed(args: Json) -> list[Json] | None:
    parsed = _parsed(args) if isinstance(args, str) else args
    return parsed if isinstance(parsed, list) else None


def _parsed(raw: str) -> Json:
    try:
        return rubyjson.loads(raw.encode())
    except ValueError:
        return None


def _secrets_of(args: list[Json], spec: CommandSpec | None) -> frozenset[Secret]:
    found = _Found()
    _collect_behind(args, spec, found)
    if args and isinstance(endpoint.check(args[0]), Reason):
        first = _in_json(args[0])
        _collect(args[0], found, secret=False)
        _collect(first, found, secret=False)
        if isinstance(first, list):
            _collect_behind(first, spec, found)
    return found.all()


def _collect_behind(args: list[Json], spec: CommandSpec | None, found: _Found) -> None:
    """What is secret behind the endpoint."""
    if len(args) > 1:
        given = _parsed(args[1]) if isinstance(args[1], str) else args[1]
        named, others = _named(given)
        if given is None and isinstance(args[1], str):
            found.add(args[1])
        _collect_members(spec, named, found)
        _collect(others, found, secret=False)
    if len(args) > 2 and signing.read(args[2]) is None:
        _collect(args[2], found, secret=True)
    _collect(args[3:], found, secret=False)


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


def _args(args: list[Json], spec: CommandSpec | None, hide: Hide, *, show_bodies: bool) -> list[Json]:
    # The second is looked at below.
    shown = [None if place == 1 else _nested(item, show_bodies=show_bodies) for place, item in enumerate(args)]
    if args:
        shown[0] = _first(args[0], hide, show_bodies=show_bodies)
    if len(args) > 1:
        parsed = _parsed(args[1]) if isinstance(args[1], str) else args[1]
        is_broken = parsed is None and isinstance(args[1], str)
        shown[1] = MASK if is_broken else _given(parsed, spec, show_bodies=show_bodies)
    if len(args) > 2 and signing.read(args[2]) is None:
        shown[2] = MASK
    return shown


def _given(given: Json, spec: CommandSpec | None, *, show_bodies: bool) -> Json:
    """A job's arguments in the form that they have."""
    named, others = _named(given)
    if isinstance(given, dict):
        return arguments(spec, named, show_bodies=show_bodies)
    shown = _arguments(spec, named, show_bodies=show_bodies)
    if not named or not isinstance(given, list):
        return _nested(others, show_bodies=show_bodies)
    return [_entry(one, shown, spec, show_bodies=show_bodies) for one in given]


def _entry(one: Json, shown: dict[str, Json], spec: CommandSpec | None, *, show_bodies: bool) -> Json:
    pair = _pair(one)
    # Each once: a name that comes twice is refused.
    if pair is None or pair[0] not in shown:
        return _nested(one, show_bodies=show_bodies) if pair is None or not _is_secret(spec, pair[0]) else MASK
    value = shown.pop(pair[0])
    name = _open_name(pair[0])
    return {name: value} if isinstance(one, dict) else [name, value]


def _first(first: Json, hide: Hide, *, show_bodies: bool) -> Json:
    """What stands in the endpoint's place, where a job in a wrong shape may have all its arguments."""
    if isinstance(endpoint.check(first), str):
        return hide(str(first), EXCERPT_LIMIT)
    inner = _in_json(first)
    shown = hiding.everywhere(_nested(inner, show_bodies=show_bodies), hide, EXCERPT_LIMIT)
    return shown if isinstance(shown, str) or not isinstance(first, str) else rubyjson.dumps(shown).decode()


def _in_json(text: Json) -> Json:
    """What a text of JSON holds; anything else as it is."""
    parsed = _parsed(text) if isinstance(text, str) and text.lstrip()[:1] in ("{", "[", '"') else None
    return text if parsed is None else parsed
