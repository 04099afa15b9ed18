"""Finds the secrets in a job, and masks it for display. `job.hiding` takes the secrets found here out of texts.

Called by connectors for the secrets of a call, by `job.display`, the stats page and the command line for jobs. Always
holds: what the catalogue or an argument's name says to be secret is masked wherever it stands; of an argument that
names a secret otherwise (a stanza, a form, a pair) nothing is shown, and nothing of what a server says of its job; and
message texts are masked unless they are requested. Of a job with too much to look through nothing is shown: a failing
one holds all targets up meanwhile. Where a command lacks a secret that it takes, or has an empty one,
its name may be misspelt: then every argument that the command does not have is masked. So is a list of arguments
without names, where the command takes a secret.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import Final

from restbroker.job import endpoint, hiding, rubyjson, signing
from restbroker.job.arguments import from_list
from restbroker.job.command import ArgumentSpec, CommandSpec
from restbroker.job.format import is_large_key
from restbroker.job.hiding import (
    EVERYTHING,
    EXCERPT_LIMIT,
    MASK,
    MOST_SECRETS,
    TOO_MUCH,
    Bodies,
    Hide,
    Secret,
    Spellings,
)
from restbroker.job.json_types import Json, are_texts
from restbroker.job.names import BODY_NAMES, NODE, VALUES, has_a_name, has_a_sign, is_a_word, is_secret
from restbroker.job.repair import without_tags
from restbroker.job.retry import ATTEMPTS_FIELD, ATTEMPTS_KEPT, TRY_FIELDS, UNREADABLE_CLASS
from restbroker.light import define, field

# The fields of a job that are texts and Sidekiq's own, not a producer's.
_OWN: Final = ("class", "jid", "queue", "retry_queue", "display_class", "error_class", "error_message")
# Arguments that some commands take although they do not list them.
_HOST, _USER = {"host"}, {"user"}
_LONGEST_NAMES: Final = 1000
# So many values of a job are looked at, and in its texts so many escapes are read, in some 2 µs: that takes 50 ms.
_MOST_VALUES: Final = 20_000
_MOST_READ: Final = 10_000
# Values that are no secret, under any name.
_EMPTY: Final[tuple[Json, ...]] = (None, "", [], {})


@define(eq=False)
class _Masking:
    """Returns arguments masked, and adds to `found` what is secret in them: `EVERYTHING` if one names a secret.

    `spec` is what the catalogue says of their command. Message texts are masked, and in `bodies`, unless `show_bodies`.
    With more values in them than are looked at, `TOO_MUCH` is found; texts with escapes that are not read are taken to
    name a secret.
    """

    spec: CommandSpec | None
    show_bodies: bool
    found: set[Secret] = field(factory=set)
    bodies: set[str] = field(factory=set)
    values_left: int = _MOST_VALUES
    readings_left: int = _MOST_READ

    def secrets(self, shown: Json) -> frozenset[Secret]:
        """Return what was found; `shown` are the masked arguments, whose words are no secrets."""
        bodies = {Bodies(frozenset(self.bodies), "\n".join(_texts(shown)))} if self.bodies else set[Secret]()
        return frozenset(self.found | bodies)

    def arguments(self, values: Mapping[str, Json], also: frozenset[str] = frozenset()) -> list[tuple[str, Json]]:
        """Return each argument with its name, in order, masked as needed. `also`: names that are secret besides."""
        if self._is_too_much(values):
            return [(MASK, MASK)] * len(values)
        also |= {NODE} if values.get("type") == "push" else set()
        return self._members(values, _secret_names(self.spec, values, also), self.argument)

    def argument(self, value: Json, *, is_secret: bool = False) -> Json:
        """Return an argument, masked as needed."""
        shown = self._value(value, is_secret=is_secret)
        if is_secret or not isinstance(value, dict | list):
            return shown
        is_unread = self.readings_left < 0 or self.values_left < 0
        return self._hidden() if is_unread or _names_a_secret(value) else shown

    def by_name(self, members: Mapping[str, Json], *, is_secret: bool = False) -> dict[str, Json]:
        """Return the members of an object, masked as needed; of a notification (event `push`) node and options are."""
        if self._is_too_much(members):
            return {MASK: MASK}
        secret = {name for name in members if is_secret or _is_secret_name(name)}
        secret |= {NODE, "options"} if members.get("kind") == "push" else set()
        return dict(self._members(members, secret, self._value))

    def args(self, args: list[Json]) -> list[Json]:
        """Return a job's `args` as they may be shown, but for secrets within the endpoint."""
        if self._is_too_much(args):
            return [MASK] * len(args)
        shown = [arg if isinstance(endpoint.check(arg), str) else self._form(arg) for arg in args[:1]]
        shown += map(self._form, args[1:2])
        # A signature says whose the job is, and is of no use for any other.
        shown += (self._value(arg, is_secret=True) if signing.read(arg) is None else arg for arg in args[2:3])
        return [*shown, *map(self.argument, args[3:])]

    def _form(self, raw: Json) -> Json:
        """Return a job's arguments, masked, in the form that they have."""
        given = _in_json(raw)
        named = _as_object(given)
        if named is not None:
            pairs = self.arguments(named)
            if not isinstance(given, list):
                return dict(pairs)
            return [dict([pair]) if isinstance(was, dict) else [*pair] for was, pair in zip(given, pairs, strict=True)]
        shown = self.argument(given)
        if isinstance(given, list) and given and (_takes_a_secret(self.spec) or not are_texts(given)):
            # It is unknown what is a name in it: any text may be the secret.
            return self._hidden()
        return MASK if isinstance(given, str) else shown

    def _members(
        self, members: Mapping[str, Json], secret: Collection[str], show: Callable[..., Json]
    ) -> list[tuple[str, Json]]:
        return [
            (self._name(name), self._member(name, value, show(value, is_secret=name in secret)))
            for name, value in members.items()
        ]

    def _value(self, value: Json, *, is_secret: bool = False) -> Json:
        shown = value
        match value:
            case dict():
                shown = self.by_name(value, is_secret=is_secret)
            case list() if self._is_too_much(value):
                shown = MASK
            case [str(name), inner] if not isinstance(inner, list | dict):  # may be a pair of name and value
                first, second = (self._value(item, is_secret=is_secret) for item in value)
                shown = [first, self._member(name, inner, second)]
            case list():
                shown = [self._value(item, is_secret=is_secret) for item in value]
            case str() if is_secret:
                self._secret(value)
            case str() if self._is_naming(value):
                shown = self._hidden()
            case int() | float() if is_secret and not isinstance(value, bool):
                self.found.add(str(value))
            case _:
                pass
        return MASK if is_secret else shown

    def _secret(self, text: str) -> None:
        if len(self.found) > MOST_SECRETS:  # then nothing is shown
            return
        if len(text) >= len(TOO_MUCH):
            self.found.add(TOO_MUCH)
            return
        self.found |= {text, *hiding.parts_of(text)}
        # A server may quote a secret within it alone: the password in a document of GraphQL.
        if self._is_naming(text):
            self._hidden()
        inner = _in_json(text)
        if isinstance(inner, dict | list):
            # Texts of JSON within each other may each be as deep as any may be.
            with contextlib.suppress(RecursionError):
                self._value(inner, is_secret=True)

    def _name(self, name: str) -> str:
        """Return the name of a member, or a mask for one that holds more than a name."""
        return self._hidden() if self._is_naming(name) else name

    def _member(self, name: str, value: Json, shown: Json) -> Json:
        if self.show_bodies or name.lower() not in BODY_NAMES:
            return shown
        texts = [*islice(chain(_texts(value), _texts(_in_json(value))), _MOST_VALUES + 1)]
        if not self._is_too_much(texts):
            self.bodies.update(texts)
        return MASK

    def _is_too_much(self, values: Mapping[str, Json] | Sequence[Json]) -> bool:
        """Tell whether these are more values than are left to look at; then nothing is shown."""
        self.values_left -= len(values)
        if isinstance(values, Mapping) and not all(map(str.isidentifier, values)):
            self.values_left -= sum(map(_cost, values))
        if self.values_left < 0:
            self.found.add(TOO_MUCH)
        return self.values_left < 0

    def _is_naming(self, text: str) -> bool:
        """Tell whether a text has a secret's name and a sign (`password=x`), so that it may hold the secret itself.

        So may one with escapes, once too many were read.
        """
        if text.isidentifier() or not has_a_sign(text):
            return False
        if (cost := _cost(text)) == 0:
            return has_a_name(text)
        self.readings_left -= cost
        return self.readings_left < 0 or _has_a_name(text)

    def _hidden(self) -> str:
        self.found.add(EVERYTHING)
        return MASK


def arguments(
    spec: CommandSpec | None, values: Mapping[str, Json], *, show_bodies: bool, also: frozenset[str] = frozenset()
) -> dict[str, Json]:
    """Return the arguments as they may be shown: secrets masked, message texts too unless `show_bodies`.

    The catalogue (`spec`) and names (`pass*`, `newpass`, `secret`, `token`, …, and those in `also`) decide what is
    secret, for members at any depth. Of an argument that names a secret otherwise, in any notation, nothing is
    shown.
    """
    return dict(_Masking(spec, show_bodies).arguments(values, also))


def secret_values(
    spec: CommandSpec | None, values: Mapping[str, Json], *, with_texts: bool = True, show_bodies: bool = True
) -> frozenset[Secret]:
    """Return the secrets in the arguments, and unless shown the message texts, to be taken out of server's answers.

    If one names a secret otherwise, that is `EVERYTHING`, but only `with_texts`: an answer that is its producer's is
    not hidden for a text's sake.
    """
    walk = _Masking(spec, show_bodies)
    found = walk.secrets(dict(walk.arguments(values)))
    return found if with_texts else found - {EVERYTHING}


def look(
    fields: Mapping[str, Json], spec: CommandSpec | None = None, *, show_bodies: bool = False
) -> tuple[list[Json], frozenset[Secret]]:
    """Return a payload's `args`, in any form of these, as they may be shown, and what is secret in them.

    Secrets are the token, and arguments that are so by their names or by what the catalogue says of the command
    (`spec`). The command itself is as it came. An unreadable payload shows no args but the key that has its bytes.
    """
    given = _in_json(fields.get("args"))
    if fields.get("class") == UNREADABLE_CLASS:
        match given:
            case [key, *rest] if is_large_key(key):
                return [key, *(item for item in rest if isinstance(item, int))], frozenset()
            case _:
                return [MASK], frozenset()
    walk = _Masking(spec, show_bodies)
    shown = walk.args(given if isinstance(given, list) else [given])
    return shown if isinstance(given, list) else [MASK], walk.secrets([*shown])


def job(
    fields: Mapping[str, Json],
    spec: CommandSpec | None = None,
    *,
    show_bodies: bool = False,
    hides: tuple[Hide, Hide] | None = None,
) -> dict[str, Json]:
    """Return a payload as it may be shown: token and secret arguments masked, for any form of its `args`.

    `spec`: what the catalogue says of its command, where that is known. The secrets are taken out of its error message
    and attempts too, by the first of `hides` if there are any, and by the second out of its endpoint.
    """
    own: dict[str, Json] = {name: value for name, value in fields.items() if name in _OWN and isinstance(value, str)}
    own |= {ATTEMPTS_FIELD: [*_tries(fields)]} if ATTEMPTS_FIELD in fields else {}
    shown = _Masking(None, show_bodies).by_name({**fields, **dict.fromkeys(own), "args": None}) | own
    args, secrets = look(fields, spec, show_bodies=show_bodies)
    hide, hide_words = hides or hides_of(fields, secrets)
    shown["args"] = [*(hiding.hide_everywhere(arg, hide_words, EXCERPT_LIMIT) for arg in args[:1]), *args[1:]]
    for name in ("error_message", ATTEMPTS_FIELD):
        if name in shown:
            shown[name] = hiding.hide_everywhere(shown[name], hide, EXCERPT_LIMIT)
    return shown


def hides_of(
    fields: Mapping[str, Json], secrets: frozenset[Secret], known: Spellings = frozenset()
) -> tuple[Hide, Hide]:
    """Return two functions that hide a payload's secrets: one for its error message, one for all else that it shows.

    In the message, its message texts are hidden, too. If an argument names a secret, the whole message is, but not one
    that restbroker wrote: that was without a secret when it was stored.
    """
    known |= hiding.spellings_of(text for text in secrets if isinstance(text, str))
    of_message = {text for text in secrets if isinstance(text, Bodies) or (text == EVERYTHING and not _is_ours(fields))}
    return hiding.make_hide(of_message, known), hiding.make_hide((), known)


def _is_ours(fields: Mapping[str, Json]) -> bool:
    """Tell whether restbroker wrote the error message: then one of the job's tries has it, too."""
    message = fields.get("error_message")
    said = [attempt.get("excerpt") for attempt in _tries(fields)] if isinstance(message, str) else []
    return any(isinstance(excerpt, str) and excerpt and excerpt in without_tags(str(message)) for excerpt in said)


def _tries(fields: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Return a job's last tries, without what else a producer may have put there."""
    tries = fields.get(ATTEMPTS_FIELD)
    kept = tries[-ATTEMPTS_KEPT:] if isinstance(tries, list) else []
    listed = [attempt for attempt in kept if isinstance(attempt, dict)]
    return [{name: attempt[name] for name in TRY_FIELDS if name in attempt} for attempt in listed]


def _secret_names(spec: CommandSpec | None, values: Mapping[str, Json], also: frozenset[str]) -> frozenset[str]:
    """Return the names of what is secret among the arguments."""
    given = frozenset(name for name, value in values.items() if value not in _EMPTY)
    find = _by_names if sum(map(len, values)) <= _LONGEST_NAMES else _by_names.__wrapped__
    by_name, secret, held = find(spec, tuple(values), given, also)
    if held - secret and _names_a_secret([[value for name, value in values.items() if name not in by_name]]):
        secret |= held
    return secret


# Each command has few forms, and is asked for twice with each failure.
@lru_cache(maxsize=256)
def _by_names(
    spec: CommandSpec | None, names: tuple[str, ...], given: frozenset[str], also: frozenset[str]
) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Return what is secret by its own name, by that and the catalogue, and what holds the value of another argument.

    `given`: those that have a value.
    """
    by_name = {name for name in names if name in also or _is_secret_name(name)}
    secret, held = set(by_name), {name for name in names if name.lower() in VALUES}
    if spec is not None:
        secret |= {name for name in names if (one := spec.argument(name)) and one.secret}
        # The name of one that the command does not have may be misspelt.
        filled = (_HOST if spec.fills_host else set()) | (_USER if spec.fills_user else set())
        unknown = set() if spec.takes_more else {name for name in names if spec.argument(name) is None} - filled
        if unknown and any(_is_secret(arg) and given.isdisjoint((arg.name, *arg.aliases)) for arg in spec.arguments):
            secret |= unknown
        held |= unknown if any(arg.name.lower() in VALUES for arg in spec.arguments) else set()
    return frozenset(by_name), frozenset(secret), frozenset(held)


def _cost(text: str) -> int:
    """Return how long it takes to read the escapes in a text, compared with a look at one value."""
    return 8 + len(text) // 16 if hiding.has_escapes(text) else 0


@lru_cache(maxsize=8)  # the texts of a failing job are asked for twice, at least
def _has_a_name(text: str) -> bool:
    """Tell whether a secret's name is in a text, also with escapes."""
    return any(map(has_a_name, hiding.readings(text)))


def _names_a_secret(value: dict[str, Json] | list[Json]) -> bool:
    """Tell whether a secret's name stands in an object or list otherwise than as the name of a member.

    That is in a pair, a field, a document, XML as JSON. Texts of one list say nothing of each other, but for words.
    With too much in it, it may.
    """
    texts = [*islice(_texts(value), _MOST_VALUES + 1)]
    if len(texts) > _MOST_VALUES or sum(map(_cost, texts)) > _MOST_READ:
        return True
    is_flat = are_texts(value)
    named = filter(_has_a_name, texts)
    return any((not is_flat and has_a_sign(text)) or any(map(is_a_word, hiding.readings(text))) for text in named)


def _is_secret_name(name: str) -> bool:
    return is_secret(name) if name.isidentifier() else any(map(is_secret, hiding.readings(name)))


def _is_secret(one: ArgumentSpec) -> bool:
    return one.secret or is_secret(one.name)


def _takes_a_secret(spec: CommandSpec | None) -> bool:
    return spec is not None and any(map(_is_secret, spec.arguments))


def _texts(value: Json) -> Iterator[str]:
    """Yield all texts and numbers in a value, at any depth."""
    match value:
        case str():
            yield value
        case dict() | list():
            for item in value.values() if isinstance(value, dict) else value:
                yield from _texts(item)
        case int() | float() if not isinstance(value, bool):
            yield str(value)
        case _:
            pass


def _as_object(given: Json) -> dict[str, Json] | None:
    """Return a job's arguments by name, if they are an object, pairs, or objects of one key, none of them twice."""
    named = from_list(given) if isinstance(given, list) and given else given
    return named if isinstance(named, dict) else None


def _in_json(text: Json) -> Json:
    """Return what a text of JSON holds; anything else as it is."""
    if not isinstance(text, str) or text.lstrip()[:1] not in ("{", "[", '"'):
        return text
    try:
        return rubyjson.loads(text.encode())
    except ValueError:
        return text
