"""The site that `make site` builds: every page, under the links that a forge follows, and nothing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.docs.layout import folders, reindented
from tests.docs.pages import PAGES, ROOT

FETCHED: Final = re.compile(r"<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=\"?((?:https?:)?//[^\" >]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(place)],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place


def test_every_page_is_on_the_site_with_its_own_heading(site: Path) -> None:
    for page in PAGES:
        name = page.with_name("index.md") if page.name == "README.md" else page
        html = (site / name.relative_to(ROOT)).with_suffix(".html").read_text("utf-8")
        assert "<h1" in html, page


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    assert {found for page in pages for found in FETCHED.findall(page.read_text("utf-8"))} == set()
    styles = [style.read_text("utf-8") for style in site.rglob("*.css")]
    assert [style for style in styles if re.search(r"url\(['\"]?(?:https?:)?//", style)] == []


def test_what_belongs_to_an_item_of_a_list_stays_in_it() -> None:
    shown = "Do this:\n1. **First**\n\n       a command\n\n   - one\n     more\n2. Then\nlazily\n\nEnd."
    assert reindented(shown) == (
        "Do this:\n\n1. **First**\n\n        a command\n\n\n    - one\n        more\n2. Then\n    lazily\n\nEnd."
    )


def test_a_list_in_a_block_of_code_is_left_alone() -> None:
    code = "```yaml\nhosts:\n  - example.org\n```\n\n    - no list\n"
    assert reindented(code) == code


def test_a_link_to_a_folder_leads_to_its_list_or_is_plain_text() -> None:
    text = "[why](docs/decisions), [code](restbroker), [page](docs/keys.md)"
    assert folders(text, ROOT) == "[why](docs/decisions/README.md), code, [page](docs/keys.md)"
