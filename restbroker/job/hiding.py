"""Takes secrets that are known out of texts, in whichever spelling servers echo them.

Called by connectors and the broker for messages and excerpts, by `job.redact` and `job.display` for jobs. Always
holds: no secret of six characters or more leaves here (plain, in base64, escaped as URLs, JSON, XML and bytes are), nor
six characters of one that a server cut (before or behind `...`), and no text that is hidden for people can start a new
line in a log.

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
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from html import escape
from itertools import chain
from typing import TypeAlias
from urllib.parse import quote, quote_plus

from restbroker.job import escapes
from restbroker.job.json_types import Json

MASK = "***"
EXCERPT_LIMIT = 500

# A job of a megabyte could have so many that looking for them held up all others for ten seconds.
MOST_SECRETS = 200
_MOST_CHARACTERS = 20_000
_MOST_LOOKS = 1_000_000
"""So often a spelling is looked for in the texts of one job or answer: that takes a tenth of a second."""
_SHORTEST_ANYWHERE = 6
_SHORTEST_BASE64 = 4
SECRET_NAME = re.compile(r"pass|pwd|secret|token|credential|(api|private)[_-]?key|authorization|cookie|stream_?id")
"""What is called so is secret, in arguments and headers."""
# Line breaks of every kind, other control characters, and what turns the direction of writing.
_UNSEEMLY = re.compile("[\\s\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CREDENTIALS = re.compile(r"(?i)\b(basic|bearer)\s+[a-z0-9+/=._~-]{4,}|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
# Parts of a header's value: in quotes, or between blanks and the like; and the name of a pair ("=" at the end pads).
_QUOTED = re.compile(r"""(["'])(.*?)\1""")
_BETWEEN = re.compile(r"[\s;,]+")
_PAIR = re.compile(r"\A[^=]++=(?!=*\Z)")
# A header's value, which is more than a secret alone: with its scheme, or in pairs, as of a cookie.
_HEADER = re.compile(r"(?i)(?:basic|bearer|token|digest|apikey) +\S|[\w.-]++=\S")
# Where somebody cut a text: PHP and Python, JavaScript behind the quotes, Jackson.
_CUT_MARK = re.compile(r"""["']?\[?(?:\.{3,}+|\u2026)\]?|["']?\[truncated""")
# What servers write as numbers in JSON beside what it asks for (Go and Rails, Flask, Gson, others), and in HTML (Rails
# and Java, PHP, Jinja and Go, Go's templates, ASP.NET).
_JSON = [{ord(one): f"\\u{ord(one):04x}" for one in written} for written in ("<>&", "<>&'", "<>&'=", "<>&'+")]
_ASP_JSON = {ord(one): f"\\u{ord(one):04X}" for one in "<>&'+`"}
_HTML = [
    {ord('"'): quotation, ord("'"): apostrophe, ord("+"): plus}
    for quotation, apostrophe, plus in (
        ("&quot;", "&#39;", "+"),
        ("&quot;", "&#039;", "+"),
        ("&#34;", "&#39;", "+"),
        ("&#34;", "&#39;", "&#43;"),
        ("&quot;", "&#x27;", "&#x2B;"),
    )
]
# What is left as it is in a URL, by those who encode all, but slashes, as browsers' scripts do, and as paths need.
_LEFT = ("", "/", "!'()*", "!$&'()*+,;=:@")
_DELIMITERS = re.compile(r"[/!$&'()*+,;=:@]")
# A word begins behind an escape as well, though that ends with a letter or digit.
_WORD = r"(?:(?<!\w)|(?<=%[0-9A-Fa-f]{{2}})|(?<=%25[0-9A-Fa-f]{{2}})|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{{4}})){}(?!\w)"
_MOST_ROUNDS = 4
"""Escaped so often, one within the other, a secret is found."""
_MOST_DECODED = 65_536
"""Of a longer text no escapes are read but those that are known: it takes long where it is made for that."""
_CUT = 1024
_Spelling: TypeAlias = tuple[str, str]
"""How a secret may be written, and the pattern that finds it where it is to be masked."""
Spelled: TypeAlias = frozenset[_Spelling]
_ANYTHING: Spelled = frozenset({("", "(?s:.+)")})
Hide: TypeAlias = Callable[[str, int], str]
"""Takes secrets out of a text, and cuts it to so many characters."""


def text(message: str, secrets: Iterable[str], limit: int = EXCERPT_LIMIT) -> str:
    """The message on one line without the secrets, at most `limit` characters, "…" at the end where it was cut.

    `Basic` and `Bearer` credentials and passwords in URLs go as well.
    """
    return hiding(secrets)(message, limit)


def spelled(secrets: Iterable[str]) -> Spelled:
    """All spellings of these secrets, for `hiding`: each takes 0.2 ms. Of very many: anything at all."""
    sought = frozenset(secrets)
    if len(sought) > MOST_SECRETS or sum(map(len, sought)) > _MOST_CHARACTERS:
        return _ANYTHING
    return frozenset(spelling for secret in sought for spelling in _spellings(secret))


def said(pairs: Iterable[tuple[str, str]], also: frozenset[str] = frozenset()) -> Spelled:
    """The login in a request's headers and query, which its answer may repeat.

    In `also`: more names that are secret, in lower case.
    """
    named = ((name.lower(), value) for name, value in pairs)
    logins = (_login(value) for name, value in named if name in also or SECRET_NAME.search(name))
    return frozenset[_Spelling]().union(*logins)


def without(message: str, known: Spelled, rounds: int = _MOST_ROUNDS) -> str:
    """The whole message as it came, but for what is known and for credentials. `rounds`: so often escapes are read."""
    return _without(message, _longest_first(known), rounds)


def taken_out(message: str, known: Spelled) -> str:
    """The whole message as it came, but for what is known. What only looks like a credential stays."""
    return _masked(message, _longest_first(known), _MOST_ROUNDS)


def beginning(text: str, known: Spelled) -> str:
    """A masked text that was cut, without its end: the beginning of a secret may be left there."""
    longest = max((len(spelling) for spelling, _ in known), default=0)
    # Eight characters may stand for one; a secret that is long, as a ticket, has few of which this is so.
    return text[: max(0, len(text) - max(longest, min(8 * longest, _CUT)))]


def hiding(secrets: Iterable[str], known: Spelled = frozenset()) -> Hide:
    """What `text` does, for the texts of one job or answer: their spellings are made once, or `known` already.

    Of very many texts with very many secrets the last are hidden as a whole.
    """
    hidden = _longest_first(known | spelled(secrets))
    shortest = len(hidden[-1][0]) if hidden else 0
    looks = 0

    def hide(message: str, limit: int) -> str:
        nonlocal looks
        # A large job may have 200,000 texts, nearly all too short.
        sought = hidden if len(message) >= shortest or _CUT_MARK.search(message) else []
        looks += len(sought) + (4 * len(message) if sought else 0)
        if looks > _MOST_LOOKS:
            return MASK
        line = _without(_SURROGATE.sub("\ufffd", message), sought, _MOST_ROUNDS)
        # Once more, since a secret with blanks in it may only come about now.
        line = _without(_UNSEEMLY.sub(" ", line).strip(), sought, 0)
        return line if len(line) <= limit else line[: max(limit - 1, 0)] + "…"

    return hide


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


def _without(line: str, hidden: list[_Spelling], rounds: int) -> str:
    return _masked(_CREDENTIALS.sub(MASK, line), hidden, rounds)


def _masked(line: str, hidden: list[_Spelling], rounds: int) -> str:
    shown, end = [], 0
    most = rounds if len(line) <= _MOST_DECODED else 0
    for start, after in sorted(_spans(line, hidden, most)) if hidden else ():
        if start >= end:
            shown += [line[end:start], MASK]
        end = max(end, after)
    return "".join([*shown, line[end:]])


def _spans(line: str, hidden: list[_Spelling], rounds: int) -> list[tuple[int, int]]:
    """Where in the line a secret is, as it stands there or as somebody escaped it."""
    present = [pattern for spelling, pattern in hidden if spelling in line]
    found = [one.span() for one in re.finditer("|".join(present), line)] if present else []
    found += [span for span in _cut_off(line, hidden) if span[0] < span[1]]
    if rounds and escapes.ESCAPED.search(line):
        decoded, places = escapes.decoded(line)
        found += [escapes.place_of(span, places) for span in _spans(decoded, hidden, rounds - 1)]
    return found


def _cut_off(line: str, hidden: list[_Spelling]) -> Iterator[tuple[int, int]]:
    """Where somebody left a beginning of a secret, or an end: `sesame-47...`, `...same-4711`."""
    edges = [0, *chain.from_iterable(mark.span() for mark in _CUT_MARK.finditer(line)), len(line)]
    if len(edges) == 2:
        return
    spellings = sorted(spelling for spelling, _ in hidden)
    backwards = sorted(spelling[::-1] for spelling in spellings)
    first, last = ({one[:_SHORTEST_ANYWHERE] for one in each} for each in (spellings, backwards))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end < len(line):
            yield end - _begun(line[max(start, end - _CUT) : end], spellings, first), end
        if start:
            yield start, start + _begun(line[start : min(start + _CUT, end)][::-1], backwards, last)


def _begun(text: str, spellings: list[str], first: set[str]) -> int:
    """How much of the text's end begins a spelling; `first` has the first characters of each."""
    for at in range(len(text) - _SHORTEST_ANYWHERE + 1):
        if text[at : at + _SHORTEST_ANYWHERE] in first:
            place = bisect_left(spellings, text[at:])
            if place < len(spellings) and spellings[place].startswith(text[at:]):
                return len(text) - at
    return 0


def _longest_first(hidden: Spelled) -> list[_Spelling]:
    """Masking a short one first would leave the rest of a longer one that contains it."""
    return sorted(hidden, key=lambda one: len(one[0]), reverse=True)


@lru_cache(maxsize=64)  # a target has one or two, at most some dozen
def _login(header: str) -> Spelled:
    alone = _alone(header)
    # Each for itself: together a ticket of many kilobytes would be too many characters.
    return spelled(alone) if header[:6].lower() == "basic " else spelled([header]) | spelled(alone)


def parts_of(secret: str) -> set[str]:
    """What a server may repeat alone of a secret that is a header's value; nothing of any other."""
    return _alone(secret) if _HEADER.match(secret) else set()


def _alone(header: str) -> set[str]:
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        behind = credentials.strip() if scheme.isalpha() else header
        return {behind} | {part for part in _parts(behind) if len(part) >= _SHORTEST_ANYWHERE}
    # Not so in a header that somebody wrote by hand.
    with contextlib.suppress(ValueError):
        return {credentials.strip(), escapes.text_of(base64.b64decode(credentials)).partition(":")[2]}
    return {credentials.strip()}


def _parts(value: str) -> Iterator[str]:
    """What a server takes out of a header's value: `X` of `name=X`, `name="X"` and `X; Y`."""
    yield from (quoted for _, quoted in _QUOTED.findall(value))
    for one in _BETWEEN.split(value):
        yield _PAIR.sub("", one, count=1).strip("\"'")


def _spellings(secret: str) -> Iterator[_Spelling]:
    whole = "{}" if len(secret) >= _SHORTEST_ANYWHERE else _WORD
    for spelling in _escaped(secret):
        yield spelling, whole.format(re.escape(spelling))
    forms = {" ".join(secret.split())} - {secret, ""}
    if not secret.isascii():
        forms |= _forms(secret)
    for form in forms:
        yield form, whole.format(re.escape(form))
    # Of a text of JSON, as which it came, too.
    escaped = (json.dumps(secret, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False))
    coded = {form.encode("utf-8", "replace") for form in (secret, *forms, *escaped)}
    with contextlib.suppress(UnicodeError):
        coded.add(unicodedata.normalize("NFC", secret).encode("latin-1"))
    for spelling in (one for raw in coded for one in _base64(raw)):
        yield spelling, re.escape(spelling)


def _forms(secret: str) -> set[str]:
    """The same text as other programs have it: in other code points, and with what they could not read or write."""
    composed = unicodedata.normalize("NFC", secret)
    found = {composed, *(unicodedata.normalize(form, secret) for form in ("NFD", "NFKC", "NFKD"))}
    for coding in ("latin-1", "ascii"):
        lossy = composed.encode(coding, "replace").decode("utf-8", "replace")
        # Of a text without Latin letters nothing is left to find.
        found |= {lossy} if any(one.isalnum() for one in lossy) else set()
    return found | {one.replace(" ", "+") for one in found}


def _escaped(secret: str) -> set[str]:
    if not secret.strip():
        return set()
    if secret.isascii() and secret.isalnum():
        return {secret}
    raw = secret.encode("utf-8", "replace")
    ascii_json = json.dumps(secret)[1:-1]
    upper_json = re.sub(r"\\u[0-9a-f]{4}", lambda found: "\\u" + found[0][2:].upper(), ascii_json)
    plain_json = json.dumps(secret, ensure_ascii=False)[1:-1]
    html = escape(secret, quote=False)
    variants = {
        secret,
        ascii_json,
        ascii_json.replace("/", "\\/"),
        upper_json,
        plain_json,
        plain_json.replace("/", "\\/"),
        *(quoted.translate(table) for quoted in (ascii_json, plain_json) for table in _JSON),
        upper_json.translate(_ASP_JSON).replace('\\"', "\\u0022"),
        json.dumps(ascii_json)[1:-1],  # of a server that quotes in its own JSON what it was sent
        escape(secret),
        html,
        *(html.translate(table) for table in _HTML),
        *(once := _percent_encoded(raw)),
        # Of a server that encodes its own URL once more, as to return there after a login.
        *(twice for one in once for twice in _encoded_again(one)),
    }
    # What lone surrogates became in the text, too.
    return {_SURROGATE.sub("\ufffd", variant) for variant in variants} if _SURROGATE.search(secret) else variants


def _percent_encoded(raw: bytes) -> set[str]:
    found = {quote_plus(raw), *(quote(raw, safe=safe) for safe in _LEFT)}
    return found | {re.sub("%..", lambda one: one[0].lower(), variant) for variant in found}


def _encoded_again(once: str) -> set[str]:
    twice = once.replace("%", "%25")
    present = set(_DELIMITERS.findall(once))
    found = {twice}
    for left in _LEFT if present else ():
        for form in ("02X", "02x"):
            again = twice
            for one in present.difference(left):
                again = again.replace(one, f"%{ord(one):{form}}")
            found.add(again)
    return found


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
