"""Takes the tables of codes out of the pages, for `restbroker explain-error`. `make reference` writes them.

Always holds: a row is told as the page has it, without Markdown's links.
"""

import json
import re
from collections.abc import Iterator, Mapping
from posixpath import join, normpath
from typing import Final

from restbroker.console.codes import FILE
from tools.pages import ROOT

_NAME: Final = re.compile(r"`([A-Za-z][\w.]*)`")
_LINK: Final = re.compile(r"\[([^\]]*)\]\(([^)\s]*)\)")
_CELLS: Final = re.compile(r"(?<!\\)\|")
_JOBS: Final = {
    "### Parked at once": "a job that was parked",
    "### Tried again, parked when the tries are used up": "a job that is tried again",
    "### Put off without using up a try": "a job that was put off",
    "### Why a target gets no jobs": "a target that gets no jobs",
}
_FINDINGS: Final = {
    "**config**": "`check` or the log, of the configuration",
    "**redis**": "`check`, of Redis",
    "**Roster, Events**": "`check`, of what others reach restbroker by",
    "**a target**": "`check`, of a target",
}


def rows() -> Iterator[dict[str, str]]:
    """Each row of each table, once for each code in it."""
    for heading, what in _JOBS.items():
        yield from _explained("docs/producers.md", heading, what)
    yield from _explained("docs/operations.md", "## Warnings in the log", "a warning in the log")
    for heading, what in _FINDINGS.items():
        yield from _explained("docs/check.md", heading, what)
    yield from _lines()


def written() -> str:
    """The file's text: one row a line, so that a change shows."""
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows()) + "\n]\n"


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table behind the heading, without its own heading."""
    text = (ROOT / page).read_text("utf-8")
    behind = text[text.index(f"\n{heading}") :]
    below = behind.split("\n|---|", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip() for cell in _CELLS.split(row.strip()[1:-1])] for row in below]


def _explained(page: str, heading: str, what: str) -> Iterator[dict[str, str]]:
    for names, meaning, *cure in table(page, heading):
        for code in _NAME.findall(names):
            yield _row(code, what, meaning, cure[0] if cure else "", page)


def _lines() -> Iterator[dict[str, str]]:
    cures = {name: cell[1] for cell in table("docs/operations.md", "## The log") for name in _NAME.findall(cell[0])}
    for name, level, _, when in table("docs/telemetry.md", "## Log events"):
        (event,) = _NAME.findall(name)
        said = cures.get(event, "Nothing: it only tells.")
        yield _row(event, f"a line of the log ({level})", when, said, "docs/telemetry.md")


def _row(code: str, what: str, meaning: str, cure: str, page: str) -> dict[str, str]:
    texts: Mapping[str, str] = {"meaning": meaning, "cure": cure}
    plain = {name: _sentence(_plain(text)) for name, text in texts.items()}
    return {"code": code, "what": what, **plain, "page": page}


def _plain(text: str) -> str:
    return _LINK.sub(_named, text).replace(r"\|", "|")


def _named(link: re.Match[str]) -> str:
    """A link as words: `signed jobs (docs/tokens.md)`; the page alone where that is the link's own text."""
    words, path = link[1], link[2].partition("#")[0]
    if not path:
        return words
    page = normpath(join("docs", path))
    return page if words.endswith(".md") else f"{words} ({page})"


def _sentence(text: str) -> str:
    """With a capital letter and a full stop, as text of its own."""
    text = text.strip().removesuffix(":")
    begin = text if text.startswith("ejabberd") else text[:1].upper() + text[1:]
    return begin if not begin or begin.endswith((".", "!", "?")) else f"{begin}."


if __name__ == "__main__":
    FILE.write_text(written(), encoding="utf-8")
