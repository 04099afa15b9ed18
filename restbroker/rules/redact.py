"""The one place where secrets and message texts are taken out of what people and logs get to see.

Called by connectors, the rules and the broker for messages and excerpts, by `rules.display`, the stats page and the
command line for jobs. Always holds: no secret of six characters or more leaves here, in whichever spelling servers echo
it (plain, as JSON, XML, percent-encoded or base64), and no text can start a new line in a log.

A shorter secret is masked in texts only where it stands as a whole word, with no letter, digit or underscore beside it.
A part of a longer word is mostly there by chance: the password "bob" in "bobby@example.org". A mask there would hide
nothing, and "***by" next to the name would tell the password. As a whole word it is masked even at the risk of such a
guess, since a server that quotes a password quotes it whole. In base64, which nobody takes for a word, four characters
are enough. Where its argument is shown, it is masked in any case.
"""

import base64
import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from html import escape
from typing import TypeAlias
from urllib.parse import quote, quote_plus

from restbroker.rules import rubyjson, signing
from restbroker.rules.command import CommandSpec
from restbroker.rules.json_types import Json
from restbroker.rules.retry import ATTEMPTS_FIELD, UNREADABLE_CLASS

MASK = "***"
EXCERPT_LIMIT = 500

# A job of a megabyte could have so many that looking for them held up all others for ten seconds.
_MOST_SECRETS = 200
_MOST_CHARACTERS = 20_000
_SHORTEST_ANYWHERE = 6
_SHORTEST_BASE64 = 4
_SECRET_NAME = re.compile(r"pass|pwd|secret|token|credential|(api|private)[_-]?key|authorization|cookie|stream_?id")
_BODY_NAMES = frozenset({"body", "subject", "stanza"})
# Line breaks of every kind, other control characters, and what turns the direction of writing.
_UNSEEMLY = re.compile("[\\s\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CREDENTIALS = re.compile(r"(?i)\b(basic|bearer)\s+[a-z0-9+/=._~-]{4,}|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
# A word begins behind an escape as well, though that ends with a letter or digit.
_WORD = r"(?:(?<!\w)|(?<=%[0-9A-Fa-f]{{2}})|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{{4}})){}(?!\w)"
_Spelling: TypeAlias = tuple[str, str]
"""How a secret may be written, and the pattern that finds it where it is to be masked."""
Spelled: TypeAlias = frozenset[_Spelling]
_ANYTHING: Spelled = frozenset({("", "(?s:.+)")})
Hide: TypeAlias = Callable[[str, int], str]
"""Takes secrets out of a text, and cuts it to so many characters."""
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


def text(message: str, secrets: Iterable[str], limit: int = EXCERPT_LIMIT) -> str:
    """The message on one line without the secrets, at most `limit` characters, "…" at the end where it was cut.

    `Basic` and `Bearer` credentials and passwords in URLs go as well.
    """
    return hiding(secrets)(message, limit)


def spelled(secrets: Iterable[str]) -> Spelled:
    """All spellings of these secrets, for `hiding`: each takes 0.2 ms. Of very many: anything at all."""
    sought = frozenset(secrets)
    if len(sought) > _MOST_SECRETS or sum(map(len, sought)) > _MOST_CHARACTERS:
        return _ANYTHING
    return frozenset(spelling for secret in sought for spelling in _spellings(secret))


def said(headers: Iterable[tuple[str, str]]) -> Spelled:
    """The login in a request's headers, which its answer may repeat."""
    logins = (_login(value) for name, value in headers if _SECRET_NAME.search(name.lower()))
    return frozenset[_Spelling]().union(*logins)


def without(message: str, known: Spelled) -> str:
    """The whole message as it came, but for what is known and for credentials."""
    return _without(message, _longest_first(known))


def hiding(secrets: Iterable[str], known: Spelled = frozenset()) -> Hide:
    """What `text` does, for many texts with the same secrets: their spellings are made once, or `known` already."""
    hidden = _longest_first(known | spelled(secrets))
    shortest = len(hidden[-1][0]) if hidden else 0

    def hide(message: str, limit: int) -> str:
        # A large job may have 200,000 texts, nearly all too short.
        sought = hidden if len(message) >= shortest else []
        line = _without(_SURROGATE.sub("\ufffd", message), sought)
        # Once more, since a secret with blanks in it may only come about now.
        line = _without(_UNSEEMLY.sub(" ", line).strip(), sought)
        return line if len(line) <= limit else line[: max(limit - 1, 0)] + "…"

    return hide


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


def everywhere(value: Json, hide: Hide, limit: int) -> Json:
    """The value without the secrets in any text, name of a member or number; each text as `hide` cuts it to `limit`."""
    match value:
        case str():
            return hide(value, limit)
        case list():
            return [everywhere(item, hide, limit) for item in value]
        case dict():
            return {hide(key, limit): everywhere(item, hide, limit) for key, item in value.items()}
        case int() | float() if not isinstance(value, bool):
            text = str(value)
            return value if hide(text, len(text)) == text else MASK
        case _:
            return value


def secrets_of(fields: Mapping[str, Json]) -> frozenset[str]:
    """The secrets in a payload's `args`, whatever form these have: the token, and arguments of secret names."""
    listed = None if fields.get("class") == UNREADABLE_CLASS else _listed(fields.get("args"))
    return frozenset() if listed is None else _secrets_of(listed)


def _is_secret(spec: CommandSpec | None, name: str) -> bool:
    argument = spec.argument(name) if spec else None
    return (argument is not None and argument.secret) or _SECRET_NAME.search(name.lower()) is not None


def _shown(spec: CommandSpec | None, name: str, value: Json, *, show_bodies: bool) -> Json:
    if _is_secret(spec, name) or (name.lower() in _BODY_NAMES and not show_bodies):
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
    return f"{found[1]}{found[2]}={MASK}" if _SECRET_NAME.search(found[2].lower()) else found[0]


def _without(line: str, hidden: list[_Spelling]) -> str:
    line = _CREDENTIALS.sub(MASK, line)
    present = [pattern for spelling, pattern in hidden if spelling in line]
    return re.sub("|".join(present), MASK, line) if present else line


def _longest_first(hidden: Spelled) -> list[_Spelling]:
    """Masking a short one first would leave the rest of a longer one that contains it."""
    return sorted(hidden, key=lambda one: len(one[0]), reverse=True)


@lru_cache(maxsize=16)  # a target has one or two
def _login(header: str) -> Spelled:
    scheme, _, credentials = header.rpartition(" ")
    parts = [credentials]
    if scheme.lower() == "basic":
        # Not so in a header that an operator wrote by hand.
        with contextlib.suppress(ValueError):
            parts.append(base64.b64decode(credentials).decode("utf-8", "replace").partition(":")[2])
    return spelled(parts)


def _spellings(secret: str) -> Iterator[_Spelling]:
    whole = "{}" if len(secret) >= _SHORTEST_ANYWHERE else _WORD
    for spelling in _escaped(secret):
        yield spelling, whole.format(re.escape(spelling))
    for spelling in _base64(secret.encode("utf-8", "replace")):
        yield spelling, re.escape(spelling)


def _escaped(secret: str) -> set[str]:
    if not secret.strip():
        return set()
    if secret.isascii() and secret.isalnum():
        return {secret}
    raw = secret.encode("utf-8", "replace")
    ascii_json = json.dumps(secret)[1:-1]
    variants = {
        secret,
        ascii_json,
        ascii_json.replace("/", "\\/"),
        re.sub(r"\\u[0-9a-f]{4}", lambda found: "\\u" + found[0][2:].upper(), ascii_json),
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1].replace("/", "\\/"),
        json.dumps(ascii_json)[1:-1],  # of a server that quotes in its own JSON what it was sent
        escape(secret),
        escape(secret, quote=False),
        *(re.sub("%..", lambda found: found[0].lower(), variant) for variant in _percent_encoded(raw)),
        *_percent_encoded(raw),
    }
    # What lone surrogates became in the text, too.
    return {_SURROGATE.sub("\ufffd", variant) for variant in variants}


def _percent_encoded(raw: bytes) -> set[str]:
    return {quote(raw), quote(raw, safe=""), quote_plus(raw), quote(raw, safe="!$&'()*+,;=:@")}


def _base64(raw: bytes) -> set[str]:
    # In base64 of "user:secret" the secret has one of three alignments. The characters at its ends mix with those of
    # its neighbours: what lies between is searched for.
    found = set()
    for offset in range(3):
        size = offset + len(raw)
        first = -(-offset * 8 // 6)
        last = size * 8 // 6
        coded = base64.b64encode(b"\0" * offset + raw).decode()[first:last]
        if len(coded) >= _SHORTEST_BASE64:
            found |= {coded, coded.translate(str.maketrans("+/", "-_")), quote(coded, safe="")}
    return found
