"""Finds the secrets in a job, and masks it for display. `job.hiding` takes the secrets found here out of texts.

Called by connectors for the secrets of a call, by `job.display`, the stats page and the command line for jobs. Always
holds: what the catalogue or an argument's name says to be secret is masked wherever it stands, of an argument that
names a secret otherwise nothing is shown, and message texts are masked unless they are requested. Where a command lacks
a secret that it takes, or has an empty one, its name may be misspelt: then every argument that the command does not
have is masked. So is a list of arguments without names, where the command takes a secret.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import Final

import attrs

from restbroker.job import endpoint, headers, hiding, rubyjson, signing
from restbroker.job.command import ArgumentSpec, CommandSpec
from restbroker.job.escapes import MOST_CHARACTERS
from restbroker.job.finder import Finder
from restbroker.job.format import is_large_key
from restbroker.job.hiding import EXCERPT_LIMIT, MASK, MOST_SECRETS, Hide, Secret, Spellings
from restbroker.job.json_types import Json
from restbroker.job.names import BODY_NAMES, VALUES, is_secret
from restbroker.job.reason import Reason
from restbroker.job.retry import ATTEMPTS_FIELD, UNREADABLE_CLASS

_OWN = ("class", "jid", "queue", "retry_queue", "display_class", "error_class", "error_message")
"""The fields of a job that are texts and Sidekiq's own, not a producer's."""
_MOST_KEPT = 1000
"""Of names with more characters in all it is not cached which of them are secret."""
_HOST, _USER = ("host",), ("user",)
"""Arguments that some commands take although they do not list them."""
_FINDER, _QUICK_FINDER = Finder(reads_escapes=True), Finder(reads_escapes=False)
_EMPTY: Final[tuple[Json, ...]] = (None, "", [], {})
"""Values that are no secret, under any name."""


@attrs.frozen
class _Names:
    """Names of arguments in their order, as they may be `shown`, and which of them have secret values.

    Secret are the values of those in `by_name`, for any command, and in `secret`, for this one; those in `held` are if
    another argument names a secret.
    """

    by_name: frozenset[str]
    secret: frozenset[str]
    held: frozenset[str]
    shown: tuple[str, ...]

    def secret_among(self, finder: Finder, values: Mapping[str, Json]) -> frozenset[str]:
        """Return the names of what is secret among the arguments of these names."""
        if not self.held:
            return self.secret
        others: list[Json] = [value for name, value in values.items() if name not in self.by_name]
        return self.secret | self.held if _names_a_secret(finder, [others]) else self.secret


@attrs.frozen
class _View:
    """Masks what is secret in arguments. `spec` is what the catalogue says of their command."""

    finder: Finder
    spec: CommandSpec | None
    show_bodies: bool

    def arguments(self, values: Mapping[str, Json], also: frozenset[str] = frozenset()) -> list[tuple[str, Json]]:
        """Return each argument with its name, in order, masked as needed."""
        names = _names_of(self.finder, self.spec, values, also)
        secret = names.secret_among(self.finder, values)
        return [
            (shown, MASK if name in secret or self._is_hidden(name) else self.argument(value))
            for shown, (name, value) in zip(names.shown, values.items(), strict=True)
        ]

    def argument(self, value: Json) -> Json:
        """Return an argument that is not secret by its name, masked as needed."""
        return MASK if _names_a_secret(self.finder, value) else self._mask_nested(value)

    def by_name(self, members: Mapping[str, Json]) -> dict[str, Json]:
        """Return the members of an object, masked as needed."""
        return {
            _name(self.finder, name): MASK
            if _is_secret_member(self.finder, members, name) or self._is_hidden(name)
            else self._mask_nested(value)
            for name, value in members.items()
        }

    def args(self, args: list[Json], hide: Hide) -> list[Json]:
        """Return a job's `args` as they may be shown, the endpoint as `hide` shows it."""
        shown = [self.argument(one) for one in args[3:]]
        if len(args) > 2:
            shown.insert(0, MASK if signing.read(args[2]) is None else args[2])
        if len(args) > 1:
            shown.insert(0, self._mask_form(args[1]))
        return [self._first(args[0], hide), *shown] if args else []

    def _is_hidden(self, name: str) -> bool:
        return not self.show_bodies and name.lower() in BODY_NAMES

    def _mask_nested(self, value: Json) -> Json:
        match value:
            case str():
                return MASK if self.finder.names_a_secret(value) else value
            case dict():
                return self.by_name(value)
            case [str(name), inner] if not isinstance(inner, list | dict) and self._is_hidden(name):
                # May be a pair of name and value.
                return [name, MASK]
            case list():
                return [self._mask_nested(item) for item in value]
            case _:
                return value

    def _mask_form(self, raw: Json) -> Json:
        """Return a job's arguments, masked, in the form that they have."""
        given = _parse_json(raw) if isinstance(raw, str) else raw
        named = _as_object(given)
        if (given is None and raw is not None) or _is_odd(given) or _may_have_a_secret(self.spec, given):
            return MASK
        if named is None:
            return self.argument(given)
        shown = self.arguments(named)
        if not isinstance(given, list):
            return dict(shown)
        return [dict([pair]) if isinstance(one, dict) else [*pair] for one, pair in zip(given, shown, strict=True)]

    def _first(self, first: Json, hide: Hide) -> Json:
        """Return what stands in the endpoint's place: an event, or all arguments of a job in a wrong shape."""
        if isinstance(endpoint.check(first), str):
            return hide(str(first), EXCERPT_LIMIT)
        inner = _in_json(first)
        masked = dict(self.arguments(inner)) if isinstance(inner, dict) else self.argument(inner)
        shown = hiding.hide_everywhere(masked, hide, EXCERPT_LIMIT)
        return shown if isinstance(shown, str) or not isinstance(first, str) else rubyjson.dumps(shown).decode()


@attrs.define(eq=False)
class _Collection:
    """Collects what is to be taken out of answers: `secrets`, and `texts` that name one.

    With very many nothing is shown (`hiding`): no more are collected then.
    """

    finder: Finder
    spec: CommandSpec | None
    secrets: set[str] = attrs.field(factory=set)
    texts: set[str] = attrs.field(factory=set)

    def all(self, shown: Callable[[], Json]) -> frozenset[Secret]:
        """Return the secrets, and the texts that name one.

        If they are few, the texts come with what is `shown` anyway: errors speak of it.
        """
        if not self.texts or len(self.texts) > MOST_SECRETS:
            return frozenset(chain(self.secrets, map(hiding.Text, self.texts)))
        # To go through a large job once more would take as long as all the rest.
        words = "\n".join(_texts(shown(), with_names=True)) if self.finder.reads_escapes else ""
        return frozenset({*self.secrets, hiding.Text("\n".join(self.texts), words)})

    def arguments(self, values: Mapping[str, Json]) -> None:
        secret = _names_of(self.finder, self.spec, values).secret_among(self.finder, values)
        for name, value in values.items():
            self._text(name)
            if name in secret:
                self._value(value, secret=True)
            else:
                self.argument(value)

    def argument(self, value: Json) -> None:
        """Collect from an argument that is not secret by its name."""
        self._value(value, secret=False)
        if len(self.texts) <= MOST_SECRETS and _names_a_secret(self.finder, value):
            self._whole(value)

    def collect_arguments(self, args: list[Json]) -> None:
        """Collect what is secret behind the endpoint."""
        if len(args) > 1:
            self._collect(args[1])
        if len(args) > 2 and signing.read(args[2]) is None:
            self._value(args[2], secret=True)
        for one in args[3:]:
            self.argument(one)

    def _collect(self, raw: Json) -> None:
        given = _in_json(raw)
        named = _as_object(given)
        if named is not None:
            self.arguments(named)
            return
        self.argument(given)
        if _is_odd(given) or _may_have_a_secret(self.spec, given):
            self._whole(given)

    def _value(self, value: Json, *, secret: bool) -> None:
        match value:
            case dict():
                for name, inner in value.items():
                    self._text(name)
                    self._value(inner, secret=secret or _is_secret_member(self.finder, value, name))
            case list():
                for inner in value:
                    self._value(inner, secret=secret)
            case str() if secret:
                self._secret(value)
            case int() | float() if secret and not isinstance(value, bool):
                self.secrets.add(str(value))
            case str():
                self._text(value)
            case _:
                pass

    def _secret(self, text: str) -> None:
        if len(self.secrets) > MOST_SECRETS:
            return
        self.secrets.add(text)
        self.secrets.update(headers.parts_of(text))
        # A server may quote a secret within it alone: the password in a document of GraphQL.
        self._text(text)
        inner = _in_json(text)
        if isinstance(inner, dict | list):
            # Texts of JSON within each other may each be as deep as any may be.
            with contextlib.suppress(RecursionError):
                self._value(inner, secret=True)

    def _whole(self, value: Json) -> None:
        """Add all of an object or list: its texts, and on one line its names.

        Short names are words of any error, so they are no lines of their own.
        """
        names = "\0".join(("", *dict.fromkeys(_names(value))))
        self.texts.add("\n".join((*_texts(value), names) if names else _texts(value)))

    def _text(self, text: str) -> None:
        """Add a text that is not secret by its own name, if it names a secret."""
        if len(self.texts) <= MOST_SECRETS and self.finder.names_a_secret(text):
            self.texts.add(text)


def arguments(
    spec: CommandSpec | None, values: Mapping[str, Json], *, show_bodies: bool, also: frozenset[str] = frozenset()
) -> dict[str, Json]:
    """Return the arguments as they may be shown: secrets masked, message texts too unless `show_bodies`.

    The catalogue (`spec`) and names (`pass*`, `newpass`, `secret`, `token`, …, and those in `also`) decide what is
    secret, for members at any depth. Of an argument that names a secret otherwise, in any notation, nothing is
    shown.
    """
    return dict(_View(_finder(values), spec, show_bodies).arguments(values, also))


def secret_values(
    spec: CommandSpec | None, values: Mapping[str, Json], *, with_texts: bool = True
) -> frozenset[Secret]:
    """Return the secrets in the arguments, to be taken out of the server's answers.

    An argument that names a secret counts as a whole, but only `with_texts`: in an answer that is its producer's,
    pieces of a text are there by chance.
    """
    found = _Collection(_finder(values), spec)
    found.arguments(values)
    if not with_texts:
        return frozenset(found.secrets)
    return found.all(lambda: dict(_View(found.finder, spec, show_bodies=False).arguments(values)))


def job(
    fields: Mapping[str, Json],
    spec: CommandSpec | None = None,
    *,
    show_bodies: bool = False,
    hides: tuple[Hide, Hide] | None = None,
) -> dict[str, Json]:
    """Return a payload as it may be shown: token and secret arguments masked, for any form of its `args`.

    `spec`: what the catalogue says of its command, where that is known. The secrets are taken out of its error message
    and attempts too, by the first of `hides` if there are any, and by the second out of its endpoint. An
    unreadable payload shows no args but the key that has its bytes. A signature in the token's place is shown: it says
    whose the job is, and is of no use for any other.
    """
    own = {name: value for name, value in fields.items() if name in _OWN and isinstance(value, str)}
    others = {**fields, **dict.fromkeys(own), "args": None}
    shown = _View(_finder(others), spec, show_bodies).by_name(others) | own
    listed = _as_list(fields.get("args"))
    # By the arguments alone, as in `secrets_of`: nothing beside them says how they are read.
    view = _View(_finder(listed), spec, show_bodies)
    hide, hide_words = hides or hides_of_job(fields, spec, show_bodies=show_bodies)
    is_open = listed is not None and (fields.get("class") != UNREADABLE_CLASS or is_large_key(listed[:1] and listed[0]))
    shown["args"] = view.args(listed or [], hide_words) if is_open else [MASK]
    for name in ("error_message", ATTEMPTS_FIELD):
        if name in shown:
            shown[name] = hiding.hide_everywhere(shown[name], hide, EXCERPT_LIMIT)
    return shown


def mask_by_names(
    fields: Mapping[str, Json],
    spec: CommandSpec | None,
    *,
    show_bodies: bool,
    size_bytes: int,
    known: Spellings = frozenset(),
) -> list[Json] | None:
    """Return a payload's `args` as they are shown, if masking by names certainly is enough; None if it may not be.

    It is enough if nothing else is to be hidden in them and in the payload's texts: that is so for most jobs, and it
    takes a tenth of the time of looking for their secrets. The payload has `size_bytes` of JSON. How long it takes does
    not depend on what is searched for.
    """
    args = fields.get("args")
    # No number or text is eight times as long as in JSON.
    if size_bytes * 8 > MOST_CHARACTERS or fields.get("class") == UNREADABLE_CLASS:
        return None
    match args:
        case list() if len(args) > 2 and isinstance(args[1], dict) and isinstance(endpoint.check(args[0]), str):
            pass
        case _:
            return None
    finder = _FINDER
    found = _Collection(finder, spec)
    found.collect_arguments(args)
    shown = _View(finder, spec, show_bodies).args(args, _keep_text)
    own = [text for name in _OWN if isinstance(text := fields.get(name), str)]
    texts = chain(own, _texts(shown, with_names=True))
    secrets = found.secrets if show_bodies or "error_message" not in fields else found.secrets | bodies_of(args)
    return shown if not found.texts and hiding.leaves_unchanged(texts, secrets, known) else None


def hides_of(secrets: frozenset[Secret], known: Spellings = frozenset()) -> tuple[Hide, Hide]:
    """Return two functions that hide these secrets: one for a server's answers, one for all else that a job shows.

    The second ignores each `Text` and all `Bodies`: a piece of them stands in a command or an argument by chance.
    """
    return hiding.make_hide(secrets, known), hiding.make_hide((one for one in secrets if isinstance(one, str)), known)


def hides_of_job(
    fields: Mapping[str, Json],
    spec: CommandSpec | None = None,
    known: Spellings = frozenset(),
    *,
    show_bodies: bool = False,
) -> tuple[Hide, Hide]:
    """Return the functions of `hides_of` for the secrets of a payload and, unless shown, its message texts."""
    bodies = frozenset() if show_bodies else bodies_of(fields.get("args"))
    return hides_of(secrets_of(fields, spec) | bodies, known)


def bodies_of(args: Json | Mapping[str, Json]) -> frozenset[Secret]:
    """Return the message texts in arguments, in any form of these, to be taken out of the server's refusals."""
    bodies, others = set[str](), list[str]()
    left: list[tuple[object, bool]] = [(args, False)]
    while left:
        value, is_body = left.pop()
        match value:
            case dict():
                left.extend((inner, is_body or name.lower() in BODY_NAMES) for name, inner in value.items())
            case [str(name), inner] if name.lower() in BODY_NAMES:  # may be a pair of name and value
                left.append((inner, True))
            case list():
                left.extend((inner, is_body) for inner in value)
            case str():
                inner = _in_json(value)
                if inner != value:
                    left.append((inner, is_body))
                if is_body:
                    bodies.add(value)
                elif inner == value:
                    others.append(value)
            case _ if is_body and value is not None:
                bodies.add(str(value))
            case _:
                pass
    return frozenset({hiding.Bodies(frozenset(bodies), "\n".join(others))}) if bodies else frozenset()


def secrets_of(fields: Mapping[str, Json], spec: CommandSpec | None = None) -> frozenset[Secret]:
    """Return the secrets in a payload's `args`, in any form of these.

    They are the token, and arguments that are secret by their names or by what the catalogue says of its command
    (`spec`).
    """
    if fields.get("class") == UNREADABLE_CLASS:
        return frozenset()
    listed = _as_list(fields.get("args"))
    args = [fields.get("args")] if listed is None else listed
    found = _Collection(_finder(args), spec)
    found.collect_arguments(args)
    if args and isinstance(endpoint.check(args[0]), Reason):
        first = _in_json(args[0])
        if isinstance(first, dict):
            found.arguments(first)
        else:
            found.argument(first)
        if isinstance(first, list):
            found.collect_arguments(first)
    view = _View(found.finder, spec, show_bodies=False)
    return found.all(lambda: view.args([None, *args[1:]], _keep_text))


def _keep_text(text: str, _limit: int) -> str:
    return text


def _finder(value: Json | Mapping[str, Json]) -> Finder:
    """Return what finds names of secrets in the value.

    It does not read escapes of long texts: that takes long where they are made for it.
    """
    size = 0
    for text in _texts(value, with_names=True):
        size += len(text)
        if size > MOST_CHARACTERS:
            return _QUICK_FINDER
    return _FINDER


def _texts(value: Json | Mapping[str, Json], *, with_names: bool = False) -> Iterator[str]:
    """Yield all texts and numbers in a value, at any depth."""
    left: list[object] = [value]
    while left:
        match left.pop():
            case str() as text:
                yield text
            case dict() as one:
                left.extend(one.values())
                if with_names:
                    left.extend(one)
            case list() as one:
                left.extend(one)
            case int() | float() as number if not isinstance(number, bool):
                yield str(number)
            case _:
                pass


def _names(value: Json) -> Iterator[str]:
    """Yield the names of all members in a value, at any depth."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield from one
        left.extend(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())


def _names_a_secret(finder: Finder, value: Json) -> bool:
    """Tell whether a secret's name stands in an object or list otherwise than as the name of a member.

    That is in a pair, a field, a document, XML as JSON. Texts of one list say nothing of each other, but for words.
    """
    if not isinstance(value, dict | list):
        return False
    texts = list(_texts(value))
    is_flat = isinstance(value, list) and all(isinstance(one, str) for one in value)
    named = filter(finder.has_a_name, texts) if finder.has_a_name("\n".join(texts)) else ()
    return any(finder.is_a_name(text) or (not is_flat and finder.names_a_secret(text)) for text in named)


def _names_of(
    finder: Finder, spec: CommandSpec | None, values: Mapping[str, Json], also: frozenset[str] = frozenset()
) -> _Names:
    names = tuple(values)
    empty = frozenset([name for name, value in values.items() if value in _EMPTY])
    is_kept = sum(map(len, names)) <= _MOST_KEPT
    return (_select_names if is_kept else _select_names.__wrapped__)(finder, spec, names, also, empty)


# Most jobs of a million have the names of the one before.
@lru_cache(maxsize=1000)
def _select_names(
    finder: Finder, spec: CommandSpec | None, names: tuple[str, ...], also: frozenset[str], empty: frozenset[str]
) -> _Names:
    secret = {name for name in names if name in also or finder.is_secret(name)}
    by_name = frozenset(secret)
    held = {name for name in names if name.lower() in VALUES}
    if spec is not None:
        unknown = _unknown_arguments(spec, names)
        secret |= {name for name in names if (one := spec.argument(name)) and one.secret}
        secret |= unknown if _lacks_a_secret(spec, set(names) - empty) else set()
        held |= unknown if any(one.name.lower() in VALUES for one in spec.arguments) else set()
    return _Names(by_name, frozenset(secret), frozenset(held - secret), tuple(_name(finder, name) for name in names))


def _name(finder: Finder, name: str) -> str:
    """Return the name, or a mask for one that holds more than a name."""
    return MASK if finder.names_a_secret(name) else name


def _unknown_arguments(spec: CommandSpec, names: tuple[str, ...]) -> set[str]:
    """Return the arguments that the command does not have: the name of one may be misspelt."""
    if spec.takes_more:
        return set()
    filled = {*(_HOST if spec.fills_host else ()), *(_USER if spec.fills_user else ())}
    return {name for name in names if spec.argument(name) is None} - filled


def _lacks_a_secret(spec: CommandSpec, filled: Collection[str]) -> bool:
    """Tell whether the command takes a secret that none of these arguments is."""
    return any(_is_secret(one) and not {one.name, *one.aliases}.intersection(filled) for one in spec.arguments)


def _is_secret_member(finder: Finder, members: Mapping[str, Json], name: str) -> bool:
    """Tell whether this member is secret by its name; of a notification (the event `push`) all options are."""
    return finder.is_secret(name) or (name == "options" and members.get("kind") == "push")


def _is_secret(one: ArgumentSpec) -> bool:
    return one.secret or is_secret(one.name)


def _may_have_a_secret(spec: CommandSpec | None, given: Json) -> bool:
    """Tell whether this is a list without names for a command that takes a secret: any entry may be that one."""
    takes = spec is not None and any(map(_is_secret, spec.arguments))
    return takes and isinstance(given, list) and bool(given) and _as_object(given) is None


def _as_list(args: Json) -> list[Json] | None:
    parsed = _parse_json(args) if isinstance(args, str) else args
    return parsed if isinstance(parsed, list) else None


def _as_object(given: Json) -> dict[str, Json] | None:
    """Return a job's arguments by name, if they are an object, pairs, or objects of one key, none of them twice."""
    if isinstance(given, dict):
        return given
    pairs = [_pair(one) for one in given] if isinstance(given, list) else []
    named = dict(pair for pair in pairs if pair is not None)
    return named if named and len(named) == len(pairs) else None


def _is_odd(given: Json) -> bool:
    """Tell whether this is a list in no form of arguments, so that it is unknown what is a name in it."""
    return isinstance(given, list) and not all(isinstance(one, str) for one in given) and _as_object(given) is None


def _pair(one: Json) -> tuple[str, Json] | None:
    match one:
        case [str(name), value]:
            return name, value
        case dict() if len(one) == 1:
            return next(iter(one.items()))
        case _:
            return None


def _parse_json(raw: str) -> Json:
    try:
        return rubyjson.loads(raw.encode())
    except ValueError:
        return None


def _in_json(text: Json) -> Json:
    """Return what a text of JSON holds; anything else as it is."""
    parsed = _parse_json(text) if isinstance(text, str) and text.lstrip()[:1] in ("{", "[", '"') else None
    return text if parsed is None else parsed
