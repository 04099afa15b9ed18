"""Open pages go on by themselves: with what happens, through an outage of Redis, through a restart of the broker."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver

from tests.support.ports import free_port
from tests.web.browser.stage import Stage, staged
from tests.web.browser.visitor import Visitor, visiting

PAUSE: Final = '[aria-label="Pause queue rest"]'


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stage]:
    """A broker for one test, which may break it."""
    with staged(tmp_path, StatsPort=free_port()) as stage:
        yield stage


def is_live(visitor: Visitor) -> bool:
    return visitor.text("#live-state") == "live"


def watch(visitor: Visitor, path: str = "/") -> None:
    """Opens a page that is live, and marks it."""
    visitor.open(path)
    visitor.until(lambda: is_live(visitor), "the page is live")
    visitor.mark()


def test_what_somebody_uses_is_not_taken_from_under_his_fingers(stage: Stage, visitor: Visitor) -> None:
    watch(visitor)
    before = visitor.total("Waiting")
    visitor.driver.execute_script(f"window.held = document.querySelector('{PAUSE}'); window.held.focus()")
    stage.citizen.push(b"{}", queue="novelty")
    visitor.until(lambda: visitor.total("Waiting") == before + 1, "the rest of the page goes on")
    assert visitor.row("novelty") == ""
    assert visitor.driver.execute_script("return document.activeElement === window.held")
    visitor.driver.execute_script("window.held.blur()")
    visitor.until(lambda: visitor.row("novelty"), "the new queue is shown once nobody uses the table")
    assert visitor.is_marked()


def test_a_page_that_loses_its_broker_says_so_and_goes_on_with_the_next_one(own: Stage, driver: WebDriver) -> None:
    with visiting(driver, own.site) as visitor:
        watch(visitor)
        assert own.broker.stop() == 0
        visitor.until(lambda: "not connected" in visitor.text("#live-state"), "the page says that it is cut off")
        own.citizen.start()
        visitor.until(lambda: is_live(visitor), "the page is live again")


def test_a_hidden_page_requests_nothing_until_it_is_seen_again(stage: Stage, visitor: Visitor) -> None:
    def hide(*, is_hidden: bool) -> None:
        value = str(is_hidden).lower()
        visitor.driver.execute_script(
            f"Object.defineProperty(document, 'hidden', {{ configurable: true, value: {value} }});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )

    watch(visitor)
    hide(is_hidden=True)
    pause = "setTimeout(arguments[0], 2000)"
    visitor.driver.execute_async_script(pause)
    visitor.asked()
    visitor.driver.execute_async_script(pause)
    assert visitor.asked() == set()
    hide(is_hidden=False)
    visitor.until(lambda: any("/live?" in one for one in visitor.asked()), "the page looks again")
