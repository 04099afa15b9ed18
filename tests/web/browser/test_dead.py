"""The page of dead jobs in a browser: its first action by a few keys, and causes that are longer than their lines."""

import re
import time
from typing import Final

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.web.browser.stage import Stage
from tests.web.browser.visitor import Visitor

MOST_TABS: Final = 5
LONG: Final = f"400 The server says: {'The stanza has one more element. ' * 14}"
ACTION: Final = re.compile(r"(Edit|Retry|Delete) \d+")


def press(visitor: Visitor, *keys: str) -> str:
    """Presses these keys; what has the focus then."""
    ActionChains(visitor.driver).send_keys(*keys).perform()
    # In one step: live causes may be drawn anew between two.
    return str(visitor.driver.execute_script("return document.activeElement.innerText"))


def tabs_to_an_action(visitor: Visitor) -> int:
    """Presses Tab until a cause's first action has the focus; how often that was."""
    for times in range(1, 30):
        if ACTION.fullmatch(press(visitor, Keys.TAB)):
            return times
    raise AssertionError("Tab leads to no action.")


@pytest.mark.slow
def test_the_first_action_is_five_tabs_away_and_what_is_open_stays(stage: Stage, visitor: Visitor) -> None:
    """From the top by the link that skips what stands above, or after `g d`; live causes close nothing."""

    def lay(user: str) -> None:
        stage.lay("dead", user, time.time(), error_class="BadArgument", error_message=LONG)

    lay("u1")
    visitor.open("/dead")
    assert press(visitor, Keys.TAB) == "Skip to the content"
    press(visitor, Keys.ENTER)
    assert 1 + tabs_to_an_action(visitor) <= MOST_TABS

    visitor.open("/")
    press(visitor, "g", "d")
    visitor.until(lambda: visitor.path == "/dead#causes" and visitor.has("#causes:focus"), "the causes have the focus")
    assert tabs_to_an_action(visitor) <= MOST_TABS

    visitor.resize(1280)
    height = "document.querySelector('.brief').clientHeight"
    lines = f"return {height} / parseFloat(getComputedStyle(document.body).lineHeight)"
    assert 3 <= visitor.driver.execute_script(lines) < 4
    visitor.driver.find_element("css selector", ".more").send_keys(Keys.ENTER)
    visitor.until(lambda: visitor.driver.execute_script(lines) > 4, "it is open")
    press(visitor, Keys.SHIFT, Keys.TAB)
    visitor.driver.execute_script("document.activeElement.blur()")
    lay("u2")
    visitor.until(lambda: visitor.text("#causes tbody th").startswith("2"), "the new job is counted")
    assert visitor.driver.execute_script(lines) > 4
    assert visitor.text(".more") == "Less"
