"""The Markdown pages of the repository, and what can be taken out of them: for what makes some, and for tests."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])

_FENCED = re.compile(r'^([ ]*)```(\w+)(?: title="[^"\n]+")?\n(.*?)^[ ]*```$', re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    """The page's path below the repository's root."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of this language, without the indentation of their list."""
    found = _FENCED.finditer(page.read_text("utf-8"))
    return [re.sub(f"^{match[1]}", "", match[3], flags=re.MULTILINE) for match in found if match[2] == language]


def anchor(heading: str) -> str:
    """What a link names after `#`, made of a heading as GitHub does it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
