"""Decodes escaped characters in a text (of JSON, URLs, XML, bytes), with the position of each escape.

Used by `job.hiding` and `job.finder`. Always holds: nothing here raises, and the time grows with the length alone.
"""

import contextlib
import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import TypeAlias

MOST_ROUNDS = 4
"""How many levels of escapes, one within the other, are read."""
MOST_CHARACTERS = 65_536
"""In a longer text no escapes are read: that takes long if the text is made for it."""
EscapeSpans: TypeAlias = list[tuple[int, int, int, int]]
"""Of each escape: its begin and end in the decoded line, then its begin and end in the line."""
# What someone wrote in place of characters: bytes (of a URL, of Python, Lua or Erlang, and Erlang's lists of them), in
# JSON, Ruby, Erlang, XML and HTML; and UTF-8 that was read as Latin-1.
_ESCAPED = re.compile(
    r"""(?P<bytes>(?:%[0-9A-Fa-f]{2})+|(?:\\x[0-9A-Fa-f]{2})+|(?:\\[0-9]{1,3})+)"""
    r"""|(?P<list><<[0-9]{1,3}(?:,[\s+]*+[0-9]{1,3})*+(?:,[\s+]*+\.\.\.)?>>)"""
    r"""|(?P<units>(?:\\u[0-9A-Fa-f]{4})+)|\\[ux]\{(?P<point>[0-9A-Fa-f]{1,6})\}|\\(?P<plain>["'/\\bfnrt])"""
    # Its semicolon may be escaped itself: what is read next.
    r"""|(?P<entity>&(?:\#0{0,20}[0-9]{1,7}+|\#[xX]0{0,20}[0-9A-Fa-f]{1,6}+|[A-Za-z][A-Za-z0-9]{1,31}+)"""
    r"""(?:;|(?!%[0-9A-Fa-f]{2}|\\[ux0-9])))"""
    r"""|(?P<misread>[\xc2-\xf4][\x80-\xbf]{1,3})"""
)
_NUMBER = re.compile(r"\\[0-9]")
_PLAIN = dict(zip("\"'/\\bfnrt", "\"'/\\\b\f\n\r\t", strict=True))


def decode(line: str, base: int = 8) -> tuple[str, EscapeSpans]:
    """Return the line without escapes, and the place of each escape in both (see `EscapeSpans`).

    `base` is the base of escaped bytes that may be octal: 8 or 10.
    """
    parts: list[str] = []
    places = []
    end = size = 0
    for found in _ESCAPED.finditer(line):
        meaning = _meaning(found, base)
        if meaning == found[0]:  # it was none
            continue
        parts += [line[end : found.start()], meaning]
        size += found.start() - end + len(meaning)
        end = found.end()
        places.append((size - len(meaning), size, found.start(), end))
    return "".join([*parts, line[end:]]), places


def forms(text: str) -> Iterator[str]:
    """Yield the text, then the text with its escapes decoded, up to four levels deep; a long text only as it is."""
    yield text
    if len(text) <= MOST_CHARACTERS and _ESCAPED.search(text):
        octal = list(_read(text, 8))
        yield from octal
        if any(map(_NUMBER.search, (text, *octal))):
            yield from _read(text, 10)


def _read(text: str, base: int) -> Iterator[str]:
    for _ in range(MOST_ROUNDS):
        text, places = decode(text, base)
        if not places:
            return
        yield text


def _meaning(found: re.Match[str], base: int) -> str:
    text = found[0]
    with contextlib.suppress(ValueError):  # then it is none
        match found.lastgroup:
            case "bytes":
                return text_of(_bytes(text, base))
            case "list":
                numbers, mark, _ = text[2:-2].partition("...")  # Erlang's mark of a cut
                each = numbers.replace("+", " ").split(",")  # in a form "+" is a blank
                return text_of(bytes(int(one) for one in each if one.strip())) + mark
            case "units":
                return str(json.loads(f'"{text}"'))
            case "plain":
                return _PLAIN[text[1]]
            case "point":
                return chr(int(found["point"], 16))
            case "entity":
                from html import unescape  # its table of names is large

                return unescape(text)
            case _:
                return text.encode("latin-1").decode()
    return text


def _bytes(text: str, base: int) -> bytes:
    if text[:2] == "\\x" or text[0] == "%":
        return bytes.fromhex(text.replace("\\x", "").replace("%", ""))
    # Lua's are decimal, all others octal; with these digits they are Lua's.
    numbers = text.split("\\")[1:]
    return bytes(int(one, 10 if set(text) & set("89") else base) for one in numbers)


def text_of(raw: bytes) -> str:
    """Return the bytes as text: as UTF-8, else as Latin-1."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def place_of(span: tuple[int, int], places: EscapeSpans) -> tuple[int, int]:
    """Return the span (start, end) in the escaped line for a span in the decoded one; each escape counts as a whole.

    `places` is what `decode` returned.
    """
    start, last = span[0], span[1] - 1
    ends = []
    for at, is_end in ((start, False), (last, True)):
        number = bisect_right(places, at, key=lambda one: one[0]) - 1
        first, after, began, ended = places[number] if number >= 0 else (0, 0, 0, 0)
        ends.append((ended if is_end else began) if first <= at < after else ended + at - after + is_end)
    return ends[0], ends[1]
