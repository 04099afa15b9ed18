"""The rule by which failed jobs that have one cause are put together: target, command, code, and what the message says
whoever it is about.

Called by `operate.entry` for each job of the retry and dead sets. Always holds: pure; the same texts give the same
group in each process and version of Python.
"""

import hashlib
import re
from functools import lru_cache
from typing import Final

import attrs

_MOST_CHARACTERS: Final = 500
"""Of a message so many tell its cause; foreign ones may hold a stack trace."""
_ID_DIGITS: Final = 10
_QUOTES: Final = frozenset("\"'`“«")
_QUOTED: Final = re.compile(
    r"""(?<!\w)["'`](?:[^"\n]{0,100}"|[^'\n]{0,100}'(?!\w)|[^`\n]{0,100}`)|[“«][^”»\n]{0,100}[”»]"""
)
_WORD: Final = re.compile(r"([(<{]*)(.*?)([)>}.,;:!?]*)", re.DOTALL)
_HOST: Final = re.compile(
    r"(?:[\w-]{1,63}\.){1,8}[a-z][\w-]{0,62}(?::\d+)?|\d+(?:\.\d+){3}(?::\d+)?|\[[0-9a-f:.]+\](?::\d+)?", re.IGNORECASE
)
_HEX: Final = re.compile(r"(?:0x)?(?=[a-f-]*\d)[0-9a-f-]{8,}", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d+(?:[.,:]\d+)*")
_WORDS_KEPT: Final = 10_000


@attrs.frozen
class FailureGroup:
    """What jobs have in common that failed for one cause. `id` names it: ten hexadecimal digits.

    `target`: None for queues that no target serves. `message`: values in it are replaced by what they are: `<JID>`.
    """

    id: str
    target: str | None
    command: str | None
    code: str | None
    message: str


def group_of(target: str | None, command: str | None, code: str | None, message: str | None) -> FailureGroup:
    """Return the group of a job that failed so. `code`: its `error_class`, `message`: its `error_message`."""
    general = generalised(message or "")
    name = "\0".join((target or "", command or "", code or "", general)).encode("utf-8", "surrogatepass")
    digest = hashlib.sha1(name, usedforsecurity=False).hexdigest()
    return FailureGroup(digest[:_ID_DIGITS], target, command, code, general)


def generalised(message: str) -> str:
    """Return the message with `<text>`, `<JID>`, `<host>` and `<number>` in the place of such values."""
    text = message[:_MOST_CHARACTERS]
    if not _QUOTES.isdisjoint(text):
        text = _QUOTED.sub("<text>", text)
    return " ".join(map(_general, text.split()))


@lru_cache(_WORDS_KEPT)
def _general(word: str) -> str:
    """Most words of messages come again and again."""
    if word.isalpha() or word == "<text>":
        return word
    found = _WORD.fullmatch(word)
    assert found is not None  # noqa: S101 - each part may be empty
    before, core, behind = found.groups()
    if "@" in core:
        return f"{before}<JID>{behind}"
    if _HOST.fullmatch(core) is not None:
        return f"{before}<host>{behind}"
    return before + ("<number>" if _HEX.fullmatch(core) is not None else _NUMBER.sub("<number>", core)) + behind
