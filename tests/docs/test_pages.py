"""What holds for all pages: each is found from README, what it names is there, and pages say the same of one thing."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import PAGES, ROOT, name_of
from tests.support.every_key import made

DECISIONS: Final = sorted((ROOT / "docs" / "decisions").glob("*.md"))
FILE: Final = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|lua|rb|lock))(?:::\w+)?`")
MAKE: Final = re.compile(r"(?:`|^ {4}|\$ )make ([a-z][a-z-]*)", re.MULTILINE)
LINK: Final = re.compile(r"\]\(([^)#\s]+\.md)")
SERVERS: Final = ("ejabberd", "mongooseim", "openfire", "prosody")
HEADINGS: Final = (
    "Set-up there",
    "Set-up here",
    "Commands",
    "Outcomes",
    "Limits",
    "Events",
    "What is not known",
)
# The text as it stands in the table, and what it stands for.
STANDS_FOR: Final = {
    "stat:*": r"stat:.+",
    "…:workers": "HOST:PID:NONCE:workers",
    r"j\|…": r"j\|\d+\|.+",
    r"h\|…": r"h\|COMMAND-.+",
    "COMMAND-DD-H:MM": r"COMMAND-\d\d-\d\d:\d+",
    "restbroker:recovered:DAY": r"restbroker:recovered:\d{8}",
}


def test_the_page_of_keys_has_each_key_of_the_store_and_no_other() -> None:
    rows = re.findall(r"^\| (`.*?) \| ", (ROOT / "docs" / "keys.md").read_text("utf-8"), re.MULTILINE)
    shown = {text for row in rows for text in re.findall(r"`([^`]+)`", row)}
    patterns = {text: re.compile(STANDS_FOR.get(text) or re.escape(text)) for text in shown}
    keys = set(made())
    assert {key for key in keys if not any(pattern.fullmatch(key) for pattern in patterns.values())} == set()
    assert {text for text, pattern in patterns.items() if not any(map(pattern.fullmatch, keys))} == set()


def test_each_page_is_found_from_the_readme() -> None:
    found, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in found:
            found.add(page)
            links = LINK.findall(page.read_text("utf-8"))
            ahead += [(page.parent / link).resolve() for link in links if "://" not in link]
    # README leads to the folder of the decisions.
    assert {name_of(page) for page in PAGES if page not in found and page not in DECISIONS} == set()


def test_decisions_are_numbered_one_by_one_and_carry_their_number() -> None:
    numbers = [int(page.name[:4]) for page in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [page.name for page in DECISIONS if not page.read_text("utf-8").startswith(f"# {page.name[:4]} ")] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    rooms = [ROOT, ROOT / "restbroker", ROOT / "restbroker" / "broker"]
    assert [file for file in FILE.findall(text) if not any((room / file).exists() for room in rooms)] == []
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert [word for word in MAKE.findall(text) if not re.search(rf"^{word}:", makefile, re.MULTILINE)] == []


@pytest.mark.parametrize("server", SERVERS)
def test_the_page_of_each_server_has_the_same_headings(server: str) -> None:
    page = ROOT / "docs" / "servers" / f"{server}.md"
    assert tuple(re.findall(r"^## (.*)$", page.read_text("utf-8"), re.MULTILINE)) == HEADINGS


def test_the_readme_gives_the_figures_of_the_page_about_performance() -> None:
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    page = (ROOT / "docs" / "performance.md").read_text("utf-8")
    row = re.search(r"^\| restbroker \| ([\d,]+) .*?\| (\d+) \(.*\| (\d+) \|$", page, re.MULTILINE)
    summary = re.search(r"restbroker does ([\d.]+)\stimes the jobs/s of BullMQ.*?; ([\d.]+)\stimes", page, re.DOTALL)
    assert row is not None
    assert summary is not None
    jobs = round(int(row[1].replace(",", "")), -2)
    assert f"one process does {jobs:,} jobs a second against a server that answers at once" in readme
    assert f"{summary[1]} times as many as BullMQ with undici and {summary[2]} times as many as Sidekiq" in readme
    assert f"at {row[2]} µs of CPU a job and {row[3]} MiB" in readme
