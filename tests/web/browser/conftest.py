"""Chromium before the pages of a running broker: one browser for each test process, one broker for each file.

Tests of one file share their broker, so each has jobs of its own, and leaves behind what the others can bear.
"""

from collections.abc import Iterator

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver

from tests.web.browser.chromium import chromium
from tests.web.browser.stage import Stage, staged
from tests.web.browser.visitor import Visitor, visiting

REFUSED = "the server responded with a status of"
"""The browser's console message about a page that is an error with a reason."""


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    with chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="module")
def keys() -> dict[str, object]:
    """What env.json has beside; files override it."""
    return {}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, object]) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("stage"), **keys) as stage:
        yield stage


@pytest.fixture
def has_scripts() -> bool:
    """Whether the browser runs the pages' script; tests override it."""
    return True


@pytest.fixture
def visitor(driver: WebDriver, stage: Stage, has_scripts: bool) -> Iterator[Visitor]:
    """A new visitor. No page may have complained of anything in the end, but for refusals."""
    with visiting(driver, stage.site, has_scripts=has_scripts) as visitor:
        yield visitor
        assert [complaint for complaint in visitor.complaints() if REFUSED not in complaint] == []
