"""The rule that groups failed jobs by cause: target, command, code, and the message without the values of one job.

Called by `operate.job` for each job of the retry and dead sets. Always holds: pure; the same texts give the same
group in each process and version of Python.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Final

_MOST_CHARACTERS: Final = 500
"""So many characters of a message tell its cause, once the values are out; foreign ones may hold a stack trace."""
_MOST_LOOKED_AT: Final = 2000
_ID_DIGITS: Final = 10
_QUOTES: Final = frozenset("\"'`“«")
_QUOTED: Final = re.compile(
    r"""(?<!\w)(?:"[^"\n]{0,100}"|'[^'\n]{0,100}'(?!\w)|`[^`'\n]{0,100}[`'])|[“«][^”»\n]{0,100}[”»]"""
)
_BEFORE: Final = "(<{"
_BEHIND: Final = ")>}.,;:!?"
_HOST: Final = re.compile(
    r"(?:[\w-]{1,63}\.){1,8}[a-z][\w-]{0,62}(?::\d+)?|\d+(?:\.\d+){3}(?::\d+)?|\[[0-9a-f:.]+\](?::\d+)?", re.IGNORECASE
)
_HEX: Final = re.compile(r"(?:0x)?(?=[a-f-]*\d)[0-9a-f-]{8,}", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d+(?:[.,:]\d+)*")
_DURATION: Final = re.compile(r"<number> (?:ms|s|min|h|d)\b(?: <number> (?:min|s|h)\b)?")
_STATUS: Final = re.compile(r"[1-5]\d\d[.,:;]?")
_BEFORE_STATUS: Final = frozenset(("", "status"))
_SHORTEST: Final = 2
_IN_WORDS: Final = frozenset("_.-")
_WORDS_KEPT: Final = 10_000
_GROUPS_KEPT: Final = 1000


@lru_cache(_GROUPS_KEPT)
def group_id(target: str | None, command: str | None, code: str | None, cause: str) -> str:
    """Return the id of the group of failed jobs with these facts: ten hexadecimal digits.

    `cause` is the job's message, generalised. `target` is None for queues that no target serves. `code` is the job's
    `error_class`.
    """
    name = "\0".join((target or "", command or "", code or "", cause)).encode("utf-8", "surrogatepass")
    return hashlib.sha1(name, usedforsecurity=False).hexdigest()[:_ID_DIGITS]


def generalise(message: str, values: Iterable[str] = ()) -> str:
    """Return the message with `<text>`, `<JID>`, `<host>`, `<number>` and `<duration>` in the place of such values.

    `values` are texts of the job's own, such as its user. Single letters are left, since too many messages have them as
    words. At most 500 characters are returned, and the first 2000 of the message are read.
    """
    text = message[:_MOST_LOOKED_AT]
    found = [value for value in values if value in text and len(value) >= _SHORTEST]
    if len(found) > 1:
        found.sort(key=len, reverse=True)
    for value in found:
        text = _remove_value(text, value)
    return _generalise_text(text)[:_MOST_CHARACTERS]


def _remove_value(text: str, value: str) -> str:
    """Return the text without a value that stands there as words of its own: `ann` is no part of `announce`."""
    first, *rest = text.split(value)
    whole = first
    for part in rest:
        is_part = _is_in_word(whole[-1:]) or (_is_in_word(part[:1]) and part[0] != ".")
        whole += (value if is_part else "<text>") + part
    return whole


def _is_in_word(character: str) -> bool:
    """Tell whether a word goes on with this character: a letter, a digit, an underscore, a dot or a hyphen."""
    return character.isalnum() or character in _IN_WORDS


@lru_cache(_GROUPS_KEPT)
def _generalise_text(text: str) -> str:
    """Return the text with the general kinds of values in their places.

    It is cached, since most messages are equal once the values of their jobs are out of them.
    """
    if not _QUOTES.isdisjoint(text):
        text = _QUOTED.sub("<text>", text)
    words = text.split()
    general = " ".join(
        # A status of HTTP, with which our own messages begin, is a cause, and no value of a job.
        word if before in _BEFORE_STATUS and _STATUS.fullmatch(word) else _generalise_word(word)
        for before, word in pairwise(["", *words])
    )
    return _DURATION.sub("<duration>", general)


@lru_cache(_WORDS_KEPT)
def _generalise_word(word: str) -> str:
    """Return the kind of value that a word is in its place, or the word itself.

    It is cached, since most words of messages come again and again.
    """
    if word.isalpha() or word == "<text>":
        return word
    # The user and the host of a JID may have been put in already.
    whole = word.replace("<text>", "x") if "@" in word else word
    begun = whole.lstrip(_BEFORE)
    core = begun.rstrip(_BEHIND)
    before, behind = whole.removesuffix(begun), begun.removeprefix(core)
    if "@" in core:
        return f"{before}<JID>{behind}"
    if _HOST.fullmatch(core) is not None:
        return f"{before}<host>{behind}"
    return before + ("<number>" if _HEX.fullmatch(core) is not None else _NUMBER.sub("<number>", core)) + behind
