"""Writes the tables of codes and of HTTP requests into their pages, from what the code has. `make reference` does.

Always holds: of a page only the rows of these tables change.
"""

from collections.abc import Iterable

from restbroker.console.codes import tables
from restbroker.telemetry.log_events import HINTS, LOG_EVENTS
from tools import endpoint_table
from tools.pages import ROOT

HINTED = ("docs/check.md",)
"""Pages on what prints a hint with each code, where the names that it concerns are known: the tables have none."""


def renewed(page: str, text: str) -> str:
    """The page's text, with its tables as they are now."""
    for table in tables():
        if table["page"] == page:
            rows = [
                f"| {_named(codes)} | {_cell(meaning)} |" + ("" if page in HINTED else f" {_cell(hint)} |")
                for codes, (meaning, hint) in table["rows"].items()
            ]
            text = _with(text, table["heading"], rows)
    if page == "docs/operations.md":
        text = _with(
            text, "## The log", [f"| {_named(names)}{_when(names)} | {hint} |" for names, hint in HINTS.items()]
        )
    if page == endpoint_table.PAGE:
        text = _with(text, endpoint_table.HEADING, endpoint_table.rows())
    return text


def pages() -> dict[str, str]:
    """Each page that has such tables, renewed."""
    return {
        page: renewed(page, (ROOT / page).read_text("utf-8"))
        for page in sorted({*(table["page"] for table in tables()), endpoint_table.PAGE})
    }


def _with(text: str, heading: str, rows: Iterable[str]) -> str:
    """With these rows in the first table behind the heading."""
    before, behind = text.split(f"\n{heading}", 1)
    head, rest = behind.split("\n|---|", 1)
    columns = rest.partition("\n")[0]
    return "\n".join([f"{before}\n{heading}{head}\n|---|{columns}", *rows, "", rest.partition("\n\n")[2]])


def _named(codes: str) -> str:
    return ", ".join(f"`{code}`" for code in codes.split(", "))


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _when(names: str) -> str:
    """Some lines ask for nothing unless they are warnings."""
    levels = [{*LOG_EVENTS[name].levels} for name in names.split(", ")]
    return " as a warning" if all("warning" in each and each & {"info", "debug"} for each in levels) else ""


if __name__ == "__main__":
    for name, text in pages().items():
        (ROOT / name).write_text(text, encoding="utf-8")
