"""The pages below a path, as a reverse proxy offers them: a browser finds all of it there."""

from collections.abc import Iterator
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver

from tests.web.browser.stage import Stage
from tests.web.browser.visitor import Visitor, visiting

PREFIX: Final = "/ops/broker"
PAGES: Final = ("Targets", "Queues", "Processes", "Retries", "Scheduled", "Dead", "Overview")


@pytest.fixture(scope="module")
def keys() -> dict[str, object]:
    return {"StatsPrefix": PREFIX, "StatsUser": "ops", "StatsPass": "sesame-4711"}


@pytest.fixture
def visitor(driver: WebDriver, stage: Stage) -> Iterator[Visitor]:
    with visiting(driver, f"{stage.site}{PREFIX}") as visitor:
        yield visitor


def is_titled(visitor: Visitor, title: str) -> bool:
    return visitor.text("h1") == title


def test_whatever_the_pages_lead_to_load_and_send_stays_below_their_prefix(stage: Stage, visitor: Visitor) -> None:
    visitor.open("/queues")
    visitor.fill("User", "ops")
    visitor.fill("Password", "sesame-4711")
    visitor.press("Log in")
    visitor.follow("Pause queue rest")
    visitor.press("Pause the queue")
    visitor.follow("Resume queue rest")
    visitor.press("Resume the queue")
    visitor.until(lambda: visitor.has("[aria-label='Pause queue rest']"), "it is resumed")
    for title in PAGES:
        visitor.follow(title)
        visitor.until(partial(is_titled, visitor, title), f"{title} is open")
    visitor.fill("Find jobs", "mina")
    visitor.press("Find")
    assert is_titled(visitor, "Find jobs")
    visitor.follow("Overview")
    visitor.until(lambda: visitor.text("#live-state") == "live", "the page is live")
    before = visitor.total("Processed")
    stage.push("below")
    visitor.until(lambda: visitor.total("Processed") > before, "the stream goes on")
    strays = [address for address in visitor.asked() if not urlsplit(address).path.startswith(f"{PREFIX}/")]
    assert strays == []
    assert [cookie["path"] for cookie in visitor.driver.get_cookies()] == [f"{PREFIX}/"]
    assert visitor.complaints() == []
