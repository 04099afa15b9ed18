"""The site that `make docs` builds: every page is on it, every link leads somewhere, nothing is from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from dev.tools.pages import PAGES, ROOT

FETCHED: Final = re.compile(
    r"<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=\"?(?:https?:)?//|url\(['\"]?(?:https?:)?//"
)


def test_the_site_has_all_pages_and_fetches_nothing(tmp_path: Path) -> None:
    """`--strict` fails at a link or an anchor that leads nowhere, and at a page that the menu lacks (mkdocs.yml)."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    for page in PAGES:
        name = page.with_name("index.md") if page.name == "README.md" else page
        assert "<h1" in (tmp_path / name.relative_to(ROOT)).with_suffix(".html").read_text("utf-8"), page
    shown = [file for end in ("html", "css") for file in tmp_path.rglob(f"*.{end}")]
    assert [file for file in shown if FETCHED.search(file.read_text("utf-8"))] == []
