"""The site that `make site` builds: every page, under the links that a forge follows, and nothing from elsewhere."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tools.pages import PAGES, ROOT

FETCHED: Final = re.compile(
    r"<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=\"?(?:https?:)?//|url\(['\"]?(?:https?:)?//"
)


def test_every_page_is_on_the_site_which_fetches_nothing_and_searches_no_decisions(
    tmp_path: Path,
) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for page in PAGES:
        name = page.with_name("index.md") if page.name == "README.md" else page
        assert "<h1" in (tmp_path / name.relative_to(ROOT)).with_suffix(".html").read_text("utf-8"), page
    index = json.loads((tmp_path / "search/search_index.json").read_text("utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert "docs/guarantees.html" in found
    assert [place for place in found if place.startswith(("docs/decisions/", "docs/appendix/", "CHANGELOG"))] == []
    shown = [file for end in ("html", "css") for file in tmp_path.rglob(f"*.{end}")]
    assert [file for file in shown if FETCHED.search(file.read_text("utf-8"))] == []
