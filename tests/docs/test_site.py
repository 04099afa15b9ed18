"""The site that `make docs` builds: every page is on it, every link leads somewhere, nothing is from elsewhere."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By

from dev.tools.pages import PAGES, ROOT
from tests.web.browser import looks
from tests.web.browser.visitor import Visitor, visiting

ALL: Final = "all.html"
READ: Final = ("index.html", "docs/index.html", "docs/jobs.html")
"""README, where the manual begins, and a page with a picture, notes, tables and blocks."""
COPIED: Final = "article:last-of-type pre .md-code__button"
"""The button beside the last page's blocks."""
_ARTICLE: Final = re.compile(r"(?<=<article).*(?=</article>)", re.DOTALL)


@pytest.mark.slow
def test_the_site_has_all_pages_and_fetches_nothing(driver: WebDriver, tmp_path: Path) -> None:
    """`--strict` fails at a link or an anchor that leads nowhere, and at a page that the menu lacks (mkdocs.yml).

    What a page fetches is what a browser asks for: scripts of the theme fetch more where a page has, say, a diagram.
    """
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    built = [tmp_path / _built(page) for page in PAGES]
    assert [page for page in built if "<h1" not in page.read_text("utf-8")] == []
    _write_one_of_all(tmp_path, built)
    with _served(tmp_path) as site, visiting(driver, site) as visitor:
        for page in READ:
            visitor.open(f"/{page}")
            looks.fits(visitor)
            for scheme in ("light", "dark"):
                visitor.prefer(scheme)
                visitor.until(lambda: not _faint(visitor), f"each text of {page} stands out in the {scheme}")
        assert "breaker" in _searched(visitor, "breaker")
        visitor.open(f"/{ALL}")
        visitor.until(partial(visitor.has, COPIED), "the theme's scripts have gone through the page")
        assert visitor.hosts() == {site.removeprefix("http://")}


def _built(page: Path) -> Path:
    name = page.with_name("index.md") if page.name == "README.md" else page
    return name.relative_to(ROOT).with_suffix(".html")


def _write_one_of_all(folder: Path, pages: list[Path]) -> None:
    """Write one page with what all have: to open each takes a minute."""
    found = [_ARTICLE.search(page.read_text("utf-8")) for page in pages]
    articles = "".join(f"<article{match[0]}</article>" for match in found if match)
    first = (folder / READ[0]).read_text("utf-8")
    (folder / ALL).write_text(_ARTICLE.sub(lambda _: f">{articles}", first), "utf-8")


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _faint(visitor: Visitor) -> list[str]:
    """Return the texts that do not stand out from their ground, as long as the theme changes colours too."""
    found: list[tuple[float, str]] = visitor.ask("contrasts()")
    return [text for ratio, text in found if ratio < looks.LEAST_CONTRAST]


def _searched(visitor: Visitor, word: str) -> str:
    """Return the first that the search finds."""
    visitor.resize(1280)
    visitor.driver.find_element(By.CSS_SELECTOR, ".md-search__input").send_keys(word)
    return visitor.until(lambda: visitor.driver.find_element(By.CSS_SELECTOR, ".md-search-result__item").text, "found")
