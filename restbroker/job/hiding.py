"""Takes secrets out of texts for people: logs, errors, pages, replies.

Called by connectors and the broker for a server's words, by `job.redact` and `job.display` for jobs. Always holds: a
secret of six characters or more is masked as it is, in JSON, a URL, HTML and base64; a text that repeats one in any
other form that `readings` reads, or the beginning of one where it was cut, is hidden as a whole. A shorter one is
masked where it stands as a word: in a longer word it is mostly by chance, and a mask there would give it away. Nothing
for people can start a new line in a log.

What is shown of a text and `_BEHIND` characters more are searched, and no more: there everything that begins in what is
shown either ends, or has its first 64 bytes, in any spelling, by which it is known; then the whole is hidden. Of a
secret or message text of more than `_LONG` characters few forms are made: what repeats 16 in a row of it, or begins as
one of its forms does, is hidden as a whole. So the time is bounded, whatever a producer or a server sends.
"""

import base64
import contextlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from html import escape, unescape
from itertools import chain
from typing import Final, TypeAlias
from urllib.parse import quote, quote_plus, unquote

from restbroker.job.json_types import Json
from restbroker.job.names import is_secret
from restbroker.light import frozen

MASK: Final = "***"
HIDDEN: Final = "(hidden: it may repeat a secret of the job)"
# In the place of a secret: it may be anything, so that nothing of a text is shown.
EVERYTHING: Final = re.compile(r"(?s).+")
EXCERPT_LIMIT: Final = 500
# So many characters are shown of an answer.
START_LIMIT: Final = 16_384
# Of more secrets and message texts, or longer ones, nothing of a text is shown; in a longer text no escapes are read.
MOST_SECRETS: Final = 200
_MOST_CHARACTERS: Final = 65_536
# Nor if those of which all forms are made have more characters. Longer ones are known by their parts.
_MOST_IN_FORMS: Final = 16_384
_LONG: Final = 2048
# In the place of secrets that were not looked for, since a job has too much in it.
TOO_MUCH: Final = " " * (_MOST_CHARACTERS + 1)
# How often secrets are searched for in the texts of one job or answer: that takes a tenth of a second.
_MOST_LOOKS: Final = 1_000_000
_ROUNDS: Final = 4
_SHORTEST_ANYWHERE: Final = 6
_SHORTEST_BASE64: Final = 4
_SHORTEST_BODY: Final = 3
# So many characters in a row of a message text hide what repeats them; fewer are in any error by chance.
_RUN: Final = 16
# Parts of runs: in each run of 16 there is one of these blocks, if one begins at every ninth character.
_BLOCK: Final = 8
# By so many bytes a longer secret is known. Each may be written in 64 characters: a number of HTML whose characters
# are such numbers themselves (`&#x0026;&#x0023;…`).
_HEAD: Final = 64
_BEHIND: Final = 64 * _HEAD
START_SEARCHED: Final = START_LIMIT + _BEHIND
# Of more forms those are sought whose first characters are in the text at all.
_MANY: Final = 128
# What may stand beside a word that is shown: blanks, quotes, brackets, and what separates parts of a JID.
_AROUND: Final = " '\"<>:@/"
# Line breaks of every kind, other control characters, and what turns the direction of writing.
_UNSEEMLY: Final = re.compile("[\\s\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SCHEMES: Final = ("basic", "bearer", "authorization", "://")
# Behind the scheme a word of prose is none: "Basic training is over".
_CREDENTIALS: Final = re.compile(
    r"\b(?i:basic|bearer)\s+(?!(?:[A-Z]+|[A-Za-z]?[a-z]{0,19})(?![A-Za-z0-9+/=_~]|[.-][A-Za-z0-9]))[A-Za-z0-9+/=._~-]{4,}"
    r"|(?i:authorization)\W{1,4}((?i:basic|bearer)\s+[^\s\"']+)"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
# The marks of someone who cut a text.
_CUT: Final = ("..", "\u2025", "\u2026", "truncated")
_ESCAPE: Final = re.compile("[\\\\%&<\xc2-\xf4]")
# What someone wrote in place of characters: bytes of Python, Lua or Erlang, and Erlang's lists of them; signs of JSON,
# Ruby or Erlang; numbers of XML and HTML. Those of URLs the library reads.
_ESCAPED: Final = re.compile(
    r"(?P<bytes>(?:\\x[0-9A-Fa-f]{2})+|(?:\\[0-9]{1,3})+|<<[0-9]{1,3}(?:,[\s+]*+[0-9]{1,3})*+(?:,[\s+]*+\.\.\.)?>>)"
    r"""|\\[ux]\{(?P<point>[0-9A-Fa-f]{1,6})\}|(?P<json>(?:\\u[0-9A-Fa-f]{4})+|\\["/\\bfnrt])|\\(?P<plain>')"""
    r"|&\#0{0,20}(?P<number>[0-9]{1,7}|[xX]0{0,20}[0-9A-Fa-f]{1,6});?|(?P<name>&[A-Za-z][A-Za-z0-9]{1,31};?)"
)
# A list that was cut, perhaps within an escape.
_CUT_LIST: Final = re.compile(r"<<[0-9]{1,3}(?:,[\s+]*+[0-9]{1,3})*+(?=[^>]{0,20}\Z)")
_NUMBERED: Final = re.compile(r"\\[0-9]")
# UTF-8 that was read as Latin-1.
_MISREAD: Final = re.compile("[\xc2-\xf4][\x80-\xbf]{1,3}")
# A header's value, which is more than a secret alone: with its scheme, or in pairs, as of a cookie.
_HEADER: Final = re.compile(r"(?i)(?:basic|bearer|token|digest|apikey) +\S|[\w.-]++=\S")
# The schemes under which `user:secret` stands in base64.
_CODED: Final = ("basic", "apikey")


@frozen
class Bodies:
    """Message texts of a job. `visible`: the job's texts that are shown, one on each line.

    Runs of characters of them are hidden. Among spellings, a long secret is one, too, and `starts` says how those that
    are long may begin.
    """

    texts: frozenset[str]
    visible: str = ""
    starts: frozenset[str] = frozenset()


# A text, message texts, or what matches one.
Secret: TypeAlias = str | Bodies | re.Pattern[str]
# Secrets, with the forms of each that are searched for as they are.
Spellings: TypeAlias = frozenset[Secret]
# A function that takes secrets out of a text and cuts it to a number of characters.
Hide: TypeAlias = Callable[[str, int], str]


def text(message: str, secrets: Iterable[Secret], limit: int = EXCERPT_LIMIT) -> str:
    """Return the message on one line without the secrets, at most `limit` characters, with "…" at the end if cut.

    `Basic` and `Bearer` credentials and passwords in URLs go as well.
    """
    return make_hide(secrets)(message, limit)


def spellings_of(secrets: Iterable[Secret]) -> Spellings:
    """Return the secrets with the forms in which they are searched for; `EVERYTHING` if they are too many or long."""
    sought = frozenset(secrets)
    passwords = [secret for secret in sought if isinstance(secret, str)]
    others = [secret for secret in sought if not isinstance(secret, str)]
    own = [text for body in others if isinstance(body, Bodies) for text in body.texts if len(text) >= _SHORTEST_BODY]
    texts = {*passwords, *own}
    lengths = [*map(len, texts)]
    in_forms = sum(length for length in lengths if length <= _LONG)
    if len(texts) > MOST_SECRETS or sum(lengths) > _MOST_CHARACTERS or in_forms > _MOST_IN_FORMS:
        return frozenset((EVERYTHING,))
    others += [Bodies(frozenset((text,))) for text in passwords if len(text) > _LONG]
    parts = (_with_starts(secret) if isinstance(secret, Bodies) else secret for secret in others)
    return frozenset[Secret]().union(parts, *map(_forms, texts))


def login_spellings(pairs: Iterable[tuple[str, str]], also: frozenset[str] = frozenset()) -> Spellings:
    """Return the spellings of the login in a request's headers and query, which its answer may repeat.

    `pairs` are names and values. `also`: more names that are secret, in lower case.
    """
    return frozenset[Secret]().union(
        *(_login(value) for name, value in pairs if is_secret(name) or name.lower() in also)
    )


def parts_of(header: str) -> set[str]:
    """Return what a server may repeat of a header's value by itself; an empty set if it is a secret alone.

    That is what stands behind its scheme, of `Basic` the password, and the values of its pairs and quoted texts.
    """
    return _parts(header) if _HEADER.match(header) else set()


def mask_secrets(message: str, known: Spellings) -> str:
    """Return the whole message with a mask for each known secret, and for credentials and passwords in URLs.

    If it repeats a secret in another form, return `HIDDEN`.
    """
    return _mask_start(message, known, len(message), is_cut=False)


def mask_in_place(message: str, known: Spellings) -> str:
    """Return the message with a mask for each known secret as it is, in JSON, a URL and HTML, whatever else it repeats.

    It is for answers that are their producers' own. What may repeat a part of a long secret is hidden.
    """
    masked = _mask(message, _spans(message, _with_escaped(known)) + _credentials(message))
    return HIDDEN if _repeats(masked, frozenset(_split(known).bodies), is_cut=False) else masked


def beginning(text: str, known: Spellings, limit: int = START_LIMIT) -> str:
    """Return the first `limit` characters of a text, with the masks of `mask_secrets`; one a little longer as a whole.

    What begins in them and does not end in what is searched behind them hides the whole.
    """
    searched = text[: limit + _BEHIND]
    if len(searched) == len(text):
        return mask_secrets(text, known)
    # What somebody else cut may have its mark far behind.
    return _mask_start(searched, known, limit, is_cut=_has_a_mark(text[:START_LIMIT]))


def make_hide(secrets: Iterable[Secret], known: Spellings = frozenset()) -> Hide:
    """Return a function (message, limit) that does what `text` does, for the texts of one job or answer.

    `known` are spellings that exist already. With very many texts and secrets, the last texts are masked as a whole.
    """
    sought = known | spellings_of(secrets)
    parts = _split(sought)
    shortest = min(_SHORTEST_ANYWHERE, *map(len, parts.texts)) if parts.texts else 0
    if parts.bodies or parts.patterns:
        shortest = 1
    looks = 0

    def hide(message: str, limit: int) -> str:
        nonlocal looks
        # A large job may have 200,000 texts, nearly all too short.
        of_this = sought if len(message) >= shortest else frozenset[Secret]()
        looks += len(of_this)
        if looks > _MOST_LOOKS:
            return MASK
        shown = beginning(_SURROGATE.sub("\ufffd", message), of_this, limit)
        if (line := _UNSEEMLY.sub(" ", shown).strip()) != shown:
            line = _mask(line, _credentials(line))  # which may only come about now
        is_cut = len(line) > limit or (len(message) > limit + _BEHIND and line != HIDDEN)
        return line[: max(limit - 1, 0)] + "…" if is_cut else line

    return hide


def hide_everywhere(value: Json, hide: Hide, limit: int) -> Json:
    """Return the value without the secrets in any text, name of a member or number.

    Each text is cut to `limit` by `hide`.
    """
    match value:
        case str():
            return hide(value, limit)
        case list():
            return [hide_everywhere(item, hide, limit) for item in value]
        case dict():
            return {hide(key, limit): hide_everywhere(item, hide, limit) for key, item in value.items()}
        case int() | float() if not isinstance(value, bool):
            number = str(value)
            return value if hide(number, len(number)) == number else MASK
        case _:
            return value


def readings(text: str) -> Iterator[str]:
    """Yield the text, then what it means if the escapes in it are read, four times; a long text only as it is.

    Bytes may be octal (Erlang's) or decimal (Lua's), and in a form "+" is a blank.
    """
    yield text
    if "+" in text:
        yield text.replace("+", " ")
    if has_escapes(text):
        octal = [*_read(text, 8)]
        yield from octal
        if any(map(_NUMBERED.search, (text, *octal))):
            yield from _read(text, 10)
        for cut in {found[0] for reading in (text, *octal) if (found := _CUT_LIST.search(reading))}:
            yield from _read(f"{cut}>>", 8)


def has_escapes(text: str) -> bool:
    """Tell whether a text has escapes that `readings` reads."""
    return len(text) <= _MOST_CHARACTERS and _ESCAPE.search(text) is not None


def _read(text: str, base: int) -> Iterator[str]:
    known = dict[str, str]()

    def meaning(found: re.Match[str]) -> str:
        # A text has the same few thousands of times.
        if found[0] not in known:
            known[found[0]] = _meaning(base, found)
        return known[found[0]]

    steps = (_unquote, partial(_ESCAPED.sub, meaning), partial(_MISREAD.sub, _reread))
    for _ in range(_ROUNDS):
        start = text
        for step in steps:
            before, text = text, step(text)
            if text != before:
                yield from (text, text.replace("+", " ")) if "+" in text else (text,)
        if text == start:
            return


def _unquote(text: str) -> str:
    # More often, since the semicolon of an entity may be escaped itself.
    return unquote(unquote(unquote(text)))


def _reread(found: re.Match[str]) -> str:
    return found[0].encode("latin-1").decode("utf-8", "replace")


def _meaning(base: int, found: re.Match[str]) -> str:
    text = found[0]
    with contextlib.suppress(ValueError):  # then it is none
        match found.lastgroup:
            case "bytes":
                numbers, base = re.findall("x..|[0-9]+", text), 10 if text[0] == "<" else base
                raw = bytes(int(number[1:], 16) if number[0] == "x" else int(number, base) for number in numbers)
                return raw.decode("utf-8", "replace") + ("..." if "..." in text else "")
            case "point":
                return chr(int(found["point"], 16))
            case "number":
                number = found["number"]
                return chr(int(number[1:], 16) if number[0] in "xX" else int(number))
            case "name":
                return unescape(text)
            case "json":
                return str(json.loads(f'"{text}"'))
            case _:
                return "'"
    return text


def _forms(secret: str) -> Iterator[Secret]:
    """Yield the forms in which a secret is searched for: as it is, as it may be read, and in base64.

    A long one is not read: `_with_starts` says how the others begin.
    """
    plain = {secret, secret.rstrip("\\")}
    if len(secret) <= _LONG:
        plain.update(readings(secret))
    if len(secret) <= _LONG and not secret.isascii():
        composed = unicodedata.normalize("NFC", secret)
        plain |= {composed, unicodedata.normalize("NFD", secret), _SURROGATE.sub("\ufffd", secret)}
        # With what a program could not read or write; of a text without Latin letters nothing is left to find.
        lossy = (composed.encode(coding, "replace").decode("utf-8", "replace") for coding in ("latin-1", "ascii"))
        plain.update(form for form in lossy if any(map(str.isalnum, form)))
    for form in plain:
        yield from (form for form in (form, _UNSEEMLY.sub(" ", form)) if form.strip())
        # In base64 of "user:secret" it has one of three alignments. The characters at its ends mix with those of its
        # neighbours: what lies between is searched for.
        raw = form.encode("utf-8", "replace")
        for offset in range(3):
            coded = base64.b64encode(b"\0" * offset + raw).decode()
            coded = coded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
            # No word is mistaken for it.
            for text in {coded, coded.replace("+", "-").replace("/", "_")} if len(coded) >= _SHORTEST_BASE64 else ():
                yield text if len(text) >= _SHORTEST_ANYWHERE else re.compile(re.escape(text))


def _with_escaped(known: Spellings) -> Spellings:
    """Return the spellings, and those as they are written in JSON, HTML and URLs, but of long ones."""
    # Base64 is a third longer.
    return known.union(*(_escaped_forms(text) for text in _split(known).texts if len(text) <= 2 * _LONG))


def _escaped_forms(secret: str) -> set[str]:
    """Return how a text is written in JSON, HTML and URLs."""
    raw = secret.encode("utf-8", "replace")
    in_json = {json.dumps(secret, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False)}
    in_json |= {form.replace("/", "\\/") for form in in_json}
    return in_json | {escape(secret), escape(secret, quote=False), quote_plus(raw), quote(raw), quote(raw, safe="")}


@frozen
class _Sought:
    """Spellings by their kinds, and the beginnings (`heads`) that show that one is there."""

    texts: list[str]
    heads: list[str]
    patterns: list[re.Pattern[str]]
    bodies: list[Bodies]


@lru_cache(maxsize=8)  # of the texts of one job
def _split(known: Spellings) -> _Sought:
    sought = _Sought([], [], [], [])
    for item in known:
        if isinstance(item, str):
            sought.texts.append(item)
            sought.heads.append(item if len(item) <= _HEAD // 4 else _head(item))
        elif isinstance(item, Bodies):
            sought.bodies.append(item)
            sought.heads.extend(item.starts)
        else:
            sought.patterns.append(item)
    return sought


def _head(text: str) -> str:
    """Return the beginning of a text that has at most `_HEAD` bytes, whatever its characters are."""
    head = text[: _HEAD if text.isascii() else _HEAD // 4]
    # Blanks show nothing; on a single line there are less of them.
    return head if head.strip() else text


def _with_starts(body: Bodies) -> Bodies:
    """Return message texts with how the long ones of them may begin."""
    if all(len(text) <= _LONG for text in body.texts):
        return body
    forms = [form for text in body.texts if len(text) > _LONG for form in _forms(text[:_LONG])]
    starts = {_head(form) for form in forms if isinstance(form, str)}
    return Bodies(body.texts, body.visible, frozenset(start for start in starts if start not in body.visible))


def _credentials(message: str) -> list[tuple[int, int]]:
    small = message.casefold()
    found = _CREDENTIALS.finditer(message) if any(scheme in small for scheme in _SCHEMES) else ()
    return [match.span(match.lastindex or 0) for match in found]


def _spans(message: str, known: Spellings) -> list[tuple[int, int]]:
    """Return where in the message secrets are as they are."""
    sought = _split(known)
    spans = [span for text in _present(sought.texts, message) for span in _places(message, text)]
    return spans + [match.span() for pattern in sought.patterns for match in pattern.finditer(message)]


def _present(texts: list[str], message: str) -> Iterator[str]:
    """Yield those of the texts that are in the message."""
    if len(texts) > _MANY:
        begins = {*_runs(message, _SHORTEST_ANYWHERE)}
        texts = [text for text in texts if len(text) < _SHORTEST_ANYWHERE or text[:_SHORTEST_ANYWHERE] in begins]
    return (text for text in texts if text in message)


def _mask_start(message: str, known: Spellings, limit: int, *, is_cut: bool) -> str:
    """Return the first `limit` characters with a mask for each known secret in the message, or `HIDDEN`."""
    if EVERYTHING in known:
        return HIDDEN if message else message
    spans = _spans(message, known)
    if _repeats(_mask(message, spans), known, is_cut=is_cut):
        spans = _spans(message, _with_escaped(known))
        if _repeats(_mask(message, spans), known, is_cut=is_cut):
            return HIDDEN
    return _mask(message[:limit], [span for span in spans + _credentials(message) if span[0] < limit])


def _mask(message: str, spans: list[tuple[int, int]]) -> str:
    """Return the message with a mask for each span, one where they overlap."""
    shown, end = list[str](), 0
    for start, after in sorted(spans):
        if start > end or not shown:
            shown += [message[end:start], MASK]
        end = max(end, after)
    return "".join([*shown, message[end:]]) if spans else message


def _places(line: str, form: str) -> Iterator[tuple[int, int]]:
    """Yield where the form is in the line, if it is short as a word alone."""
    start = line.find(form)
    while start >= 0:
        end = start + len(form)
        beside = (line[start - 1 : start], line[end : end + 1])
        if len(form) >= _SHORTEST_ANYWHERE or not any(char.isalnum() or char == "_" for char in beside):
            yield start, end
        start = line.find(form, end)


def _repeats(masked: str, known: Spellings, *, is_cut: bool) -> bool:
    """Tell whether a masked text may repeat a secret in a form that has to be read, or in part.

    `is_cut`: someone cut the text, so that the beginning of one may be all that is left.
    """
    if not known:
        return False
    if len(masked) > _MOST_CHARACTERS and _ESCAPE.search(masked):
        return True
    sought = _split(known)
    read = {*readings(masked)}
    read |= {_UNSEEMLY.sub(" ", reading) for reading in read}  # others may write other blanks
    for reading in read:
        if any(any(_places(reading, head)) for head in _present(sought.heads, reading)):
            return True
        if any(pattern.search(reading) for pattern in sought.patterns):
            return True
    if is_cut or any(map(_has_a_mark, read)):
        begins = [head[:_SHORTEST_ANYWHERE] for head in sought.heads if len(head) > _SHORTEST_ANYWHERE]
        if any(any(_present(begins, reading)) for reading in read):
            return True
    return any(_is_in(body, read) for body in sought.bodies)


def _has_a_mark(text: str) -> bool:
    """Tell whether a text has the mark of someone who cut it."""
    small = text.casefold()
    return any(mark in small for mark in _CUT)


def _is_in(body: Bodies, read: set[str]) -> bool:
    """Tell whether a run of characters of message texts is in what was read, and not in what is shown of the job."""
    read = {reading for reading in read if len(reading) >= _RUN}
    if not read:
        return False
    blocks = {block for reading in read for block in _runs(reading, _BLOCK)}
    behind = _RUN - _BLOCK
    # All runs with such a block in them: few of a long text, and of one that repeats itself few different ones.
    around = {
        text[max(at - behind, 0) : at + _RUN]
        for text in body.texts
        for at in range(0, len(text) - _BLOCK + 1, behind + 1)
        if text[at : at + _BLOCK] in blocks
    }
    runs = {run for part in around for run in _runs(part, _RUN)}
    shared = runs.intersection(chain.from_iterable(_runs(reading, _RUN) for reading in read)) if runs else runs
    return any(run.strip(_AROUND) not in body.visible for run in shared)


def _runs(text: str, size: int) -> Iterator[str]:
    return (text[at : at + size] for at in range(len(text) - size + 1))


@lru_cache(maxsize=64)  # a target has one or two, at most some dozen
def _login(header: str) -> Spellings:
    return spellings_of({header, *_parts(header)})


def _parts(header: str) -> set[str]:
    scheme, _, credentials = header.partition(" ")
    behind = credentials.strip() if scheme.isalpha() else header
    # Not so in a header that someone wrote by hand.
    with contextlib.suppress(ValueError):
        if scheme.lower() in _CODED:
            return {behind, base64.b64decode(behind, validate=True).decode("utf-8", "replace").partition(":")[2]}
    pieces = [*re.split(r"[\s;,]+", behind), *re.findall(r"""["'](.+?)["']""", behind)]
    read = {form for piece in pieces for form in (piece, unquote(piece))}
    found = {part.strip("\"'") for form in read for part in (form, form.partition("=")[2], form.partition(":")[2])}
    return {behind, *(part for part in found if len(part) >= _SHORTEST_ANYWHERE)}
