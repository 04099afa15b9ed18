"""Takes known secrets out of texts, in all spellings in which servers echo them.

Called by connectors and the broker for messages and excerpts, by `job.redact` and `job.display` for jobs. Always holds:
no secret of six characters or more leaves here in a form that docs/appendix/security.md lists (plain, in base64,
escaped, in part at the mark of a cut), nor six characters in a row of a text that names a secret, but for names of
XMPP (`job.markup`), nor sixteen of a message text that is hidden; what is cut was masked before; and no text that is
hidden for people can start a new line in a log.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain, islice, takewhile
from typing import TypeAlias, assert_never

import attrs

from restbroker.job import escapes, headers, markup
from restbroker.job.escapes import MOST_CHARACTERS, MOST_ROUNDS
from restbroker.job.json_types import Json
from restbroker.job.names import is_secret
from restbroker.job.spellings import (
    FLOAT,
    SHORTEST_ANYWHERE,
    SURROGATE,
    Spelling,
    base64_spellings,
    pattern_form,
    spellings,
    unescaped_spellings,
)

MASK = "***"
EXCERPT_LIMIT = 500
START_LIMIT = 16_384
"""So many characters are read of a text whose beginning is shown: more of a hostile one would hold up all targets."""

# A job of a megabyte could have so many that looking for them held up all others for ten seconds.
MOST_SECRETS = 200
_MOST_CHARACTERS = 20_000
_MOST_LOOKS = 1_000_000
"""How often spellings are searched for in the texts of one job or answer: that takes a tenth of a second."""
# Line breaks of every kind, other control characters, and what turns the direction of writing.
_UNSEEMLY = re.compile("[\\s\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
# Behind the scheme a word of prose is none: "Basic training is over".
_CREDENTIALS = re.compile(
    r"\b(?i:basic|bearer)\s+(?!(?:[A-Z]+|[A-Za-z]?[a-z]{0,19})(?![A-Za-z0-9+/=_~]|[.-][A-Za-z0-9]))[A-Za-z0-9+/=._~-]{4,}"
    r"|(?i:authorization)\W{1,4}((?i:basic|bearer)\s+[^\s\"']+)"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
# Where someone cut a text, also behind its quotes or in brackets, and with how much is missing: `...`, `"(...)`,
# `[truncated 9 chars]`, `... (9 more chars)`, `[9 chars truncated]`. In a form "+" is a blank.
_CUT_MARK = re.compile(
    r"""["']?\s?[\[({<]?(?:\.{2,}+|[\u2025\u2026]|(?:[0-9]{1,9} [a-z]{1,10} )?(?i:truncated))"""
    r"""(?:[\s+(]{0,2}\+?[0-9][0-9,]{0,10}[ +](?:more[ +])?[a-z]{1,10}+)?[\])}>]?["']?\s?["']?"""
)
_MOST_PIECES = 200
"""In a text with more marks of a cut, all that lies between two of them may be of a secret."""
_MAY_BE_ESCAPED = re.compile(r"[\\%&]")
_LONGEST_ESCAPED = 8192
Spellings: TypeAlias = frozenset[Spelling]
_IN_PIECES = ""
_IN_RUNS = "(?!!)"
_SHOWN = "(?!)"
_SHOWN_IN_RUNS = "(?!!!)"
"""Four marks in the place of a spelling's pattern.

`_IN_PIECES`: any six characters of the text in a row are masked. `_SHOWN`: it is shown where it stands as a word.
`_IN_RUNS`: any sixteen characters in a row are masked, but those that are in a text that is `_SHOWN_IN_RUNS`.
"""
_OF_TEXTS = (_IN_PIECES, _IN_RUNS, _SHOWN, _SHOWN_IN_RUNS)
_PIECE = 8
"""The length of the pieces by which runs are found. Shorter runs are in common with any error by chance."""
_SHORTEST_RUN = 2 * _PIECE
_END = 100
"""So many characters at each end of a message text are also masked as a secret is: in a short one, or before a cut."""
_SHORTEST = 3
_SHORT = re.compile(r"(?<!\w)(?=\w*\d)\w{3,5}(?!\w)")
"""Shorter words with a digit, as a PIN is, are masked where they stand alone, and so are short lines."""
_WORD = re.compile(r"(?<!\w)\w{1,5}(?!\w)")
_EDGE = re.compile(r"(?<!\w)|(?!\w)")
"""Matches at any place that is not within a word."""
_CODED = re.compile(r"(?i)(?<!\w)(?:basic|apikey) +[a-z0-9+/=]{8,}")
_NAMES = frozenset(
    name[start:end]
    for name in ("passwords", "secrets", "cookies", "credentials", "authorization")
    for start in range(len(name))
    for end in range(start + SHORTEST_ANYWHERE, len(name) + 1)
)
"""Parts of these words are no secrets where they stand alone, so that errors may name them."""
_AROUND = " '\"<>:@/"
"""What may stand beside a word that is shown: blanks, quotes, brackets, and what separates parts of a JID."""
_BETWEEN = re.compile("[@/]")
_APART = "|"
_LONGEST_LEFT = 2000
_MAY_CHANGE = (
    *("basic", "bearer", "authorization", "://"),  # credentials
    *("..", "truncated"),  # what is cut
    *("\\", "%", "&", "<<"),  # what is escaped
    *(f" {_APART}", f"{_APART} "),  # blanks at an end of a text
)
"""Where none of these is in lower-case texts of ASCII, masking has nothing to find in them but spellings."""
_ANYTHING: Spellings = frozenset({("", "(?s:.+)")})
Hide: TypeAlias = Callable[[str, int], str]
"""A function that takes secrets out of a text and cuts it to a number of characters."""


@attrs.frozen
class Text:
    """Texts of a job, one on each line, that name a secret; at which place of them it stands is unknown.

    `visible`: the job's other texts, which are shown, one on each line.
    """

    text: str
    visible: str = ""

    def __len__(self) -> int:
        return len(self.text)


@attrs.frozen
class Bodies:
    """Message texts of a job. `visible`: the job's other texts, which are shown, one on each line."""

    texts: frozenset[str]
    visible: str = ""

    def __len__(self) -> int:
        return sum(min(len(one), 2 * _END) for one in self.texts)


Secret: TypeAlias = str | Text | Bodies


@attrs.frozen
class _MaskPatterns:
    """What is masked, and what stays shown.

    `spellings` are masked, the longest first, and `pieces` of six characters of texts. `visible` has short words, and
    each piece that is shown: between two line breaks, behind one if a word begins so, before one if a word ends so.
    `runs` has the pieces of message texts, one behind the other, each with what stands before and behind it.
    """

    spellings: list[Spelling]
    pieces: frozenset[str]
    visible: frozenset[str]
    runs: Mapping[str, tuple[str, str]] = {}
    shown: str = ""


_NOTHING = _MaskPatterns([], frozenset(), frozenset())


def text(message: str, secrets: Iterable[Secret], limit: int = EXCERPT_LIMIT) -> str:
    """Return the message on one line without the secrets, at most `limit` characters, with "…" at the end if cut.

    `Basic` and `Bearer` credentials and passwords in URLs go as well.
    """
    return make_hide(secrets)(message, limit)


def spellings_of(secrets: Iterable[Secret]) -> Spellings:
    """Return all spellings of these secrets, and of each `Text` its pieces. One secret takes 0.2 ms.

    If the secrets are too many or too long, return a pattern that masks everything.
    """
    sought = frozenset(secrets)
    if len(sought) > MOST_SECRETS or sum(map(len, sought)) > _MOST_CHARACTERS:
        return _ANYTHING
    return frozenset(chain.from_iterable(map(_spellings_of, sought)))


def login_spellings(pairs: Iterable[tuple[str, str]], also: frozenset[str] = frozenset()) -> Spellings:
    """Return the spellings of the login in a request's headers and query, which its answer may repeat.

    `pairs` are names and values. `also`: more names that are secret, in lower case.
    """
    logins = [_login(value) for name, value in pairs if is_secret(name) or name.lower() in also]
    return logins[0] if len(logins) == 1 else frozenset[Spelling]().union(*logins)


def mask_secrets(message: str, known: Spellings, rounds: int = MOST_ROUNDS) -> str:
    """Return the whole message with a mask for each known secret, and for credentials and passwords in URLs.

    `rounds`: how many levels of escapes are read.
    """
    return _mask_secrets(message, _mask_patterns(known), rounds)


def beginning(text: str, known: Spellings, limit: int = START_LIMIT) -> str:
    """Return the first `limit` characters of a text, with the masks of `mask_secrets`.

    If the text is longer, the last of them are left out: they may be the beginning of a secret that was cut.
    """
    is_clean = len(text) <= limit and leaves_unchanged([text], (), known)
    return text if is_clean else _beginning(text, _mask_patterns(known), limit)


def make_hide(secrets: Iterable[Secret], known: Spellings = frozenset()) -> Hide:
    """Return a function (message, limit) that does what `text` does, for the texts of one job or answer.

    The spellings of `secrets` are made once; `known` are spellings that exist already. With very many texts and
    secrets, the last texts are masked as a whole.
    """
    sought = frozenset(secrets)
    hidden = _mask_patterns(known | spellings_of(sought) if sought else known)
    shortest = min(
        map(len, chain((one for one, _ in hidden.spellings[-1:]), islice(hidden.pieces, 1), islice(hidden.runs, 1))),
        default=0,
    )
    looks = 0

    def hide(message: str, limit: int) -> str:
        nonlocal looks
        most = START_LIMIT if limit <= EXCERPT_LIMIT else len(message)
        is_cut, message = len(message) > most, message[: most + 1]
        # A large job may have 200,000 texts, nearly all too short.
        may_be_part = len(message) >= SHORTEST_ANYWHERE and (
            _CUT_MARK.search(message) is not None or _MAY_BE_ESCAPED.search(message) is not None
        )
        sought = hidden if len(message) >= shortest or may_be_part else _NOTHING
        looks += len(sought.spellings) + (4 * len(message) if sought is hidden else 0)
        if looks > _MOST_LOOKS:
            return MASK
        line = _beginning(SURROGATE.sub("\ufffd", message), sought, most)
        # Once more, since a secret with blanks in it may only come about now.
        line = _mask_secrets(_UNSEEMLY.sub(" ", line).strip(), sought, 0)
        return line[: max(limit - 1, 0)] + "…" if is_cut or len(line) > limit else line

    return hide


def leaves_unchanged(texts: Iterable[str], secrets: Collection[Secret], known: Spellings) -> bool:
    """Tell whether it is certain that `make_hide` leaves all of these texts as they are. It is cheaper than hiding.

    Of a `Text` among the secrets nothing is certain.
    """
    line = _APART.join(("", *texts, ""))
    if len(line) > _LONGEST_LEFT or len(secrets) > MOST_SECRETS or sum(map(len, secrets)) > _MOST_CHARACTERS:
        return False
    small = line.casefold()
    if not line.isascii() or any(sign in small for sign in _MAY_CHANGE) or _UNSEEMLY.sub(" ", line) != line:
        return False
    named = [one for one in secrets if isinstance(one, str)]
    bodies = [one for one in secrets if isinstance(one, Bodies)]
    if len(named) + len(bodies) < len(secrets):
        return False
    # Others have escapes, and there are none.
    each = chain(known, chain.from_iterable(map(unescaped_spellings, named)))
    if any(spelling in line and re.search(pattern, line) for spelling, pattern in each):
        return False
    return not any(_spans(line, _mask_patterns(frozenset(_of_bodies(one))), 0) for one in bodies)


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
            text = str(value)
            return value if hide(text, len(text)) == text else MASK
        case _:
            return value


def _beginning(text: str, hidden: _MaskPatterns, limit: int) -> str:
    masked = _mask_secrets(text[:limit], hidden, MOST_ROUNDS)
    if len(text) <= limit:
        return masked
    longest = len(hidden.spellings[0][0]) if hidden.spellings else 0
    # So many characters may stand for one (`&amp;amp;amp;#101;`). Half of a refusal is left for what its server says; a
    # secret that is long, as a ticket, has few characters that anybody escapes.
    return masked[: max(0, len(masked) - max(longest, min(20 * longest, _LONGEST_ESCAPED)))]


def _mask_secrets(line: str, hidden: _MaskPatterns, rounds: int) -> str:
    # Both in the text as it came: either may end within the other, and would leave its rest.
    found = [one.span(one.lastindex or 0) for one in _CREDENTIALS.finditer(line)]
    return _mask_spans(line, found + _find_secrets(line, hidden, rounds))


def _mask_spans(line: str, spans: list[tuple[int, int]]) -> str:
    """Return the line with a mask for each span, one where they overlap."""
    shown, end = [], 0
    for start, after in sorted(spans):
        if start >= end:
            shown += [line[end:start], MASK]
        end = max(end, after)
    return "".join([*shown, line[end:]])


def _find_secrets(line: str, hidden: _MaskPatterns, rounds: int) -> list[tuple[int, int]]:
    return _spans(line, hidden, rounds if len(line) <= MOST_CHARACTERS else 0) if hidden != _NOTHING else []


def _spans(line: str, hidden: _MaskPatterns, rounds: int) -> list[tuple[int, int]]:
    """Return where in the line a secret is, as it stands there or escaped."""
    present = [pattern for spelling, pattern in hidden.spellings if spelling in line]
    # Each for itself: two may overlap.
    found = [one.span() for pattern in present for one in re.finditer(pattern, line)]
    found += [span for span in _cut_spans(line, hidden) if span[0] < span[1]]
    if hidden.pieces:
        found += _find_pieces(line, hidden)
    if hidden.runs:
        found += _find_runs(line, hidden)
    decoded, places = escapes.decode(line) if rounds else (line, [])
    if places:
        found += [escapes.place_of(span, places) for span in _spans(decoded, hidden, rounds - 1)]
    return found


def _cut_spans(line: str, hidden: _MaskPatterns) -> Iterator[tuple[int, int]]:
    """Yield where a beginning, an end or a piece of a secret is: `sesame-47...`, `...same-4711`, `...same-4...`."""
    edges = [0, *chain.from_iterable(mark.span() for mark in _CUT_MARK.finditer(line)), len(line)]
    if len(edges) == 2 or not hidden.spellings:
        return
    spellings = sorted(spelling for spelling, _ in hidden.spellings)
    backwards = sorted(spelling[::-1] for spelling in spellings)
    first, last = ({one[:SHORTEST_ANYWHERE] for one in each} for each in (spellings, backwards))
    longest, whole = len(hidden.spellings[0][0]), "\n".join(spellings)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        # In a form a "+" beside the mark is a blank, and else the secret's own.
        for before in (end, end - 1 if line[start:end].endswith("+") else end) if end < len(line) else ():
            yield before - _unfinished_length(line[max(start, before - longest) : before], spellings, first), before
        for behind in (start, start + 1 if line[start:end].startswith("+") else start) if start else ():
            yield behind, behind + _unfinished_length(line[behind : min(behind + longest, end)][::-1], backwards, last)
        is_between = start and end < len(line) and SHORTEST_ANYWHERE <= end - start <= longest
        if is_between and (len(edges) > 2 * _MOST_PIECES or line[start:end] in whole):
            yield start, end


def _unfinished_length(text: str, spellings: list[str], first: set[str]) -> int:
    """Return how much of the text's end begins a spelling; `first` has the first characters of each."""
    for at in range(len(text) - SHORTEST_ANYWHERE + 1):
        if text[at : at + SHORTEST_ANYWHERE] in first:
            place = bisect_left(spellings, text[at:])
            if place < len(spellings) and spellings[place].startswith(text[at:]):
                return len(text) - at
    return 0


def _find_pieces(line: str, hidden: _MaskPatterns) -> Iterator[tuple[int, int]]:
    """Yield where six characters in a row or more are of texts that name a secret, but for words that are shown."""
    marks = bytearray(len(line))
    places = [at for at, piece in enumerate(_pieces(line)) if piece in hidden.pieces]
    for at in places:
        marks[at : at + SHORTEST_ANYWHERE] = b"x" * SHORTEST_ANYWHERE
    for start, end in _visible_words(line, places, hidden.visible):
        marks[start:end] = bytes(end - start)
    for found in re.finditer(b"x+", marks):
        start, end = found.span()
        word = line[start:end].strip(_AROUND)
        is_shown = word.lower() in _NAMES or all(part in hidden.visible for part in _BETWEEN.split(word))
        # Fewer signs without a word are what is left beside one.
        if not is_shown and (word or end - start >= SHORTEST_ANYWHERE):
            yield start, end


def _visible_words(line: str, places: list[int], shown: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Yield where whole words are that are whole words of what is shown: "bobsmith", and not in "bobsmith99"."""
    marks = bytearray(len(line))
    for at in places:
        marks[at] = f"\n{line[at : at + SHORTEST_ANYWHERE]}\n" in shown
    for run in re.finditer(b"\1+", marks):
        pieces = [(at, line[at : at + SHORTEST_ANYWHERE]) for at in range(*run.span())]
        start = next((at for at, piece in pieces if _EDGE.match(line, at) and f"\n{piece}" in shown), len(line))
        ends = ((at + SHORTEST_ANYWHERE, piece) for at, piece in reversed(pieces))
        end = next((at for at, piece in ends if _EDGE.match(line, at) and f"{piece}\n" in shown), 0)
        if end - start >= SHORTEST_ANYWHERE:
            yield start, end


def _find_runs(line: str, hidden: _MaskPatterns) -> Iterator[tuple[int, int]]:
    """Yield where sixteen characters in a row or more are of message texts, but for what is shown elsewhere."""
    marks = bytearray(len(line))
    for at, piece in enumerate(_pieces(line, _PIECE)):
        if piece in hidden.runs:
            before, behind = hidden.runs[piece]
            end = at + _PIECE
            start = at - _common_length(reversed(line[max(0, at - len(before)) : at]), reversed(before))
            end += _common_length(line[end : end + _PIECE], behind)
            marks[start:end] = b"x" * (end - start)
    for found in re.finditer(b"x{%d,}" % _SHORTEST_RUN, marks):
        if line[slice(*found.span())].strip(_AROUND) not in hidden.shown:
            yield found.span()


def _common_length(one: Iterable[str], other: Iterable[str]) -> int:
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))


def _spellings_of(secret: Secret) -> Iterator[Spelling]:
    match secret:
        case str():
            return spellings(secret)
        case Text():
            return _of_text(secret)
        case Bodies():
            return _of_bodies(secret)
        case _:
            assert_never(secret)


def _of_bodies(secret: Bodies) -> Iterator[Spelling]:
    """Yield what is masked of message texts; what is escaped is decoded first."""
    for form in chain.from_iterable(map(escapes.forms, secret.texts)):
        coded = base64_spellings(form.encode("utf-8", "replace")) if len(form) <= MOST_CHARACTERS else set[str]()
        yield from ((each, re.escape(each)) for each in coded if len(each) <= 2 * _END)
        plain = {form, " ".join(form.split()), form.replace(" ", "+")}  # in a form "+" is a blank
        yield from ((each, _IN_RUNS) for each in plain | coded)
        for end in {end for one in plain for end in (one[:_END], one[-_END:]) if len(one.strip()) >= _SHORTEST}:
            yield end, pattern_form(end).format(re.escape(end))
    yield secret.visible, _SHOWN_IN_RUNS


def _of_text(secret: Text) -> Iterator[Spelling]:
    """Yield what is masked of texts that name a secret: where in them it stands is unknown."""
    short: set[str] = set()
    shown = {line for line in secret.visible.split("\n") if len(line) < SHORTEST_ANYWHERE}
    shown_words = set(_WORD.findall(secret.visible))
    for form in chain(*map(escapes.forms, {secret.text, SURROGATE.sub("\ufffd", secret.text)})):
        short.update(_SHORT.findall(form))
        lines = form.split("\n")
        short.update(line for line in lines if _SHORTEST <= len(line) < SHORTEST_ANYWHERE or FLOAT.fullmatch(line))
        short.update(chain.from_iterable(headers.repeatable_parts(header) for header in _CODED.findall(form)))
        shown.update(shown_words.intersection(_WORD.findall(form)))
        yield from ((whole, _IN_PIECES) for whole in _with_plus(markup.without_names(form)))
        coded = chain.from_iterable(base64_spellings(one.encode("utf-8", "replace")) for one in _with_plus(form))
        yield from ((one, _IN_PIECES) for one in coded)
    if len(short - shown) > MOST_SECRETS:
        yield from _ANYTHING
        return
    yield from chain.from_iterable(map(spellings, short - shown))
    yield from ((text, _SHOWN) for text in {secret.visible, *shown} if text)


def _with_plus(form: str) -> set[str]:
    """Return what may stand for this: in a form "+" is a blank."""
    return {form, form.replace("+", " "), form.replace(" ", "+")}


@lru_cache(maxsize=8)  # asked two or three times about the same answer
def _mask_patterns(known: Spellings) -> _MaskPatterns:
    # Masking a short one first would leave the rest of a longer one that contains it.
    whole = sorted((one for one in known if one[1] not in _OF_TEXTS), key=lambda one: -len(one[0]))
    pieces = frozenset(chain.from_iterable(_pieces(text) for text, pattern in known if pattern == _IN_PIECES))
    texts = [text for text, pattern in known if pattern == _SHOWN]
    visible = frozenset(texts).union(*(_visible_pieces(text, pieces) for text in texts))
    runs = {
        text[at : at + _PIECE]: (text[max(0, at - _PIECE) : at], text[at + _PIECE : at + 2 * _PIECE])
        for text, pattern in known
        if pattern == _IN_RUNS
        for at in range(0, len(text) - _PIECE + 1, _PIECE)
    }
    shown = "\n".join(text for text, pattern in known if pattern == _SHOWN_IN_RUNS)
    return _MaskPatterns(whole, pieces, visible, runs=runs, shown=shown)


def _visible_pieces(text: str, pieces: frozenset[str]) -> Iterator[str]:
    for at, piece in enumerate(_pieces(text)):
        if piece in pieces:
            yield f"\n{piece}\n"
            if _EDGE.match(text, at):
                yield f"\n{piece}"
            if _EDGE.match(text, at + SHORTEST_ANYWHERE):
                yield f"{piece}\n"


def _pieces(text: str, size: int = SHORTEST_ANYWHERE) -> Iterator[str]:
    return (text[at : at + size] for at in range(len(text) - size + 1))


@lru_cache(maxsize=64)  # a target has one or two, at most some dozen
def _login(header: str) -> Spellings:
    alone = headers.repeatable_parts(header)
    # Each for itself: together a ticket of many kilobytes would be too many characters.
    return spellings_of(alone) if header[:6].lower() == "basic " else spellings_of([header]) | spellings_of(alone)
