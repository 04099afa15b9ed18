"""What every code means that occurs in a job, the log, a check or an exit; used by `explain` and completion.

The tables are in `restbroker/codes.toml`, those of the log's lines in `telemetry.log_events`; docs/codes.md is made
from them (`dev.tools.codes_page`). Always holds: it needs no configuration, no Redis and no network, nor attrs (20 ms).
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from posixpath import join, normpath
from typing import Final, NotRequired, TypedDict

from restbroker.console.exits import MEANINGS, Exit
from restbroker.telemetry.log_events import HINTS, LOG_EVENTS, LogEvent

_FILE: Final = Path(__file__).parents[1] / "codes.toml"
_TABLE: Final = "[[table]]\n"
_EXIT_HINTS: Final[Mapping[int, str]] = {
    Exit.OK: "Nothing.",
    Exit.WAITING: "`restbroker explain JID` shows what happened to the job.",
}
_EXITS: Final = "docs/cli.md#exit-codes"
_LINK: Final = r"\[([^\[\]]*)\]\(([^()\s]*)\)"


class CodeTable(TypedDict):
    """A table of codes: `what` they are codes of, and the `heading` under which docs/codes.md shows it.

    `rows` has by a code, or by several as `A, B`: what it means; what to do, as its message says, too; perhaps what no
    message says; and perhaps the first step. Markdown, with links as from `docs`. If `messages_say_all`, the page has
    only the names.
    """

    what: str
    heading: str
    rows: Mapping[str, Sequence[str]]
    messages_say_all: NotRequired[bool]


def tables(word: str = "") -> Iterator[CodeTable]:
    """Yield the tables of the file, in the order of the pages; only those that have this word somewhere."""
    # One by one: to read all takes 4 ms of CPU.
    for text in _FILE.read_text("utf-8").split(_TABLE)[1:]:
        if word in text.casefold():
            yield from tomllib.loads(_TABLE + text)["table"]


class Explanation(TypedDict):
    """One explanation: `what` it is a code of, its `meaning`, what to do (`hint`), and the `page` with more."""

    code: str
    what: str
    meaning: str
    hint: str
    page: str


def every() -> list[Explanation]:
    """Return all explanations, in the order of the pages; a code that occurs in several places has one for each."""
    return list(_explanations(None))


def names() -> list[str]:
    """Return each code once, in alphabetical order."""
    of_tables = {name for table in tables() for names in table["rows"] for name in names.split(", ")}
    every = {*of_tables, *LOG_EVENTS, *(f"{code:d}" for code in MEANINGS)}
    return sorted(every, key=lambda name: (name.casefold(), name))


def explanations_of(code: str) -> list[Explanation]:
    """Return the explanations of this code, ignoring case; none if it is not known."""
    return list(_explanations(code.casefold()))


def first_step(code: str) -> str:
    """Return what to do first with jobs that ended by this code: "edit", "delete", or "retry"."""
    rows = (table["rows"] for table in tables(code.casefold()) if " job" in table["what"])
    steps = (texts[3:] for row in rows for names, texts in row.items() if code in names.split(", "))
    return next((step for found in steps for step in found), "retry")


def _explanations(wanted: str | None) -> Iterator[Explanation]:
    for table in tables(wanted or ""):
        for codes, texts in table["rows"].items():
            for code in codes.split(", "):
                if wanted in (None, code.casefold()):
                    yield _row(code, table["what"], *texts[:3])
    for name, event in LOG_EVENTS.items():
        if wanted in (None, name):
            yield _explain_log_event(event)
    for number, meaning in MEANINGS.items():
        if wanted in (None, f"{number:d}"):
            hint = _EXIT_HINTS.get(number, "stderr says why.")
            yield Explanation(code=f"{number:d}", what="an exit code", meaning=meaning, hint=hint, page=_EXITS)


def _explain_log_event(event: LogEvent) -> Explanation:
    hints = (hint for names, hint in HINTS.items() if event.name in names.split(", "))
    hint, levels = next(hints, "Nothing: it is only for information."), ", ".join(event.levels)
    return _row(event.name, f"a line of the log ({levels})", event.meaning, hint)


def _row(code: str, what: str, *texts: str) -> Explanation:
    meaning, *hints = (sentence(re.sub(_LINK, _link_text, text)) for text in texts if text)
    return Explanation(code=code, what=what, meaning=meaning, hint=" ".join(hints), page=f"docs/codes.md#{code}")


def sentence(text: str) -> str:
    """Return the text with a capital letter, except of a program's name, and a full stop."""
    text = text.removesuffix(":")
    begin = text if text.startswith(("ejabberd", "restbroker")) else text[:1].upper() + text[1:]
    return begin if begin.endswith((".", "!", "?")) else f"{begin}."


def _link_text(link: re.Match[str]) -> str:
    """Return a link as words, such as `signed jobs (docs/tokens.md)`; the page alone if that is the link's text."""
    words, path = link[1], link[2].partition("#")[0]
    if not path:
        return words
    page = normpath(join("docs", path))
    return page if words.endswith(".md") else f"{words} ({page})"
