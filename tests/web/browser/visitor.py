"""A person at a browser: opens pages, reads them, fills in their forms and presses their buttons.

Used by the tests of this folder. Always holds: what is used is found as a person finds it, by the
words on it or by its label, so that a page without these fails; nothing is waited for longer than it takes a busy
machine; a window is its test's own, with neither cookies nor settings of the one before.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

import attrs
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
    WebDriverException,
)
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.support.wait import NEVER_S

T = TypeVar("T")
PATIENCE_S: Final = NEVER_S
_PAUSE_S: Final = 0.05
_RELOAD_S: Final = 0.25
_LOOKS: Final = (Path(__file__).parent / "looks.js").read_text("utf-8")
_PASSING: Final = (NoSuchElementException, StaleElementReferenceException)
"""What happens where a page changes while it is read."""
_LEFT: Final = (
    "does not belong to the document",
    "aborted by navigation",
    "document unloaded",
    "no such execution context",
)
"""What the driver says where the browser goes to another page meanwhile."""


@attrs.frozen(eq=False)
class Visitor:
    """`site` is the address of the pages. `has_scripts`: whether the browser runs those of pages. `clicks`: on what."""

    driver: WebDriver
    site: str
    has_scripts: bool = True
    clicks: list[str] = attrs.field(factory=list)

    @property
    def path(self) -> str:
        """Where the visitor is, below the site."""
        return self.driver.current_url.removeprefix(self.site)

    def open(self, path: str) -> None:
        """Goes to a page."""
        self.driver.get(f"{self.site}{path}")

    def text(self, part: str = "body") -> str:
        """What is to be read there; `part` is a CSS selector."""
        return self.until(lambda: [self.driver.find_element(By.CSS_SELECTOR, part).text], f"{part} is there")[0]

    def sees(self, words: str) -> str:
        """The page's text, as soon as these words are in it."""

        def shown() -> str:
            text = self.text()
            return text if words in text else ""

        return self.until(shown, f"{words!r} is to be read")

    def learns(self, question: Callable[[], T], what: str) -> T:
        """The first true answer of the open page, which goes on by itself; without scripts, the visitor reloads it."""

        def answer() -> T | None:
            if found := question():
                return found
            if not self.has_scripts:
                self.driver.refresh()
            return None

        found = self.until(answer, what)
        assert found is not None
        return found

    def until(self, question: Callable[[], T], what: str) -> T:
        """The first true answer; fails with `what` and the page where there is none."""
        pause_s = _PAUSE_S if self.has_scripts else _RELOAD_S
        wait = WebDriverWait(self.driver, PATIENCE_S, pause_s, _PASSING)
        try:
            return wait.until(lambda _: _answer(question))
        except TimeoutException:
            here = f"{self.path} shows:\n{self.text()}"
            raise AssertionError(f"In {PATIENCE_S:g} s this did not happen: {what}. {here}") from None

    def follow(self, words: str) -> None:
        """Follows the link with these words, or with this label; returns once the next page is there."""
        self._leave(f'//a[normalize-space()="{words}" or @aria-label="{words}"]', f"the link {words!r}")

    def press(self, words: str) -> None:
        """Presses the button with these words; returns once the next page is there."""
        self._leave(f'//button[normalize-space()="{words}"]', f"the button {words!r}")

    def tick(self, label: str) -> None:
        """Ticks a box whose label begins so."""
        beginning = f'starts-with(normalize-space(ancestor::label), "{label}")'
        self._click(f'//input[@type="checkbox"][@aria-label="{label}" or {beginning}]', f"the box {label!r}")

    def fill(self, label: str, text: str) -> None:
        """Writes into the field whose label begins so, instead of what is there."""
        path = f'//input[@id=//label[starts-with(normalize-space(), "{label}")]/@for]'
        what = f"the field {label!r}"

        def filled() -> bool:
            field = self._only(path, what)
            field.clear()
            field.send_keys(text)
            return True

        self.until(filled, f"{what} is filled in")

    def ask(self, call: str) -> Any:
        """What a function of `looks.js` says of the page."""
        return self.until(lambda: [self.driver.execute_script(f"{_LOOKS}\nreturn {call};")], f"{call} is reported")[0]

    def row(self, word: str) -> str:
        """The cells of the first row with this word; "" where there is none."""
        rows: list[list[str]] = self.ask("rows()")
        return next((" | ".join(row) for row in rows if any(word in cell for cell in row)), "")

    def total(self, name: str) -> int:
        """One of the large numbers on top of the overview."""
        totals: dict[str, int] = self.ask("totals()")
        return totals[name]

    def has(self, selector: str) -> bool:
        """Whether there is such an element."""
        return self.until(lambda: [bool(self.driver.find_elements(By.CSS_SELECTOR, selector))], "a page is there")[0]

    def mark(self) -> None:
        """Marks the page that is open now, as a load would undo."""
        self.driver.execute_script("window.isMarked = true")

    def is_marked(self) -> bool:
        """Whether the page is still the one that was marked."""
        return self.driver.execute_script("return window.isMarked === true") is True

    def tab_through(self) -> list[tuple[str, bool]]:
        """What Tab leads to from the top of the page: its name, and whether one sees that it has the focus."""
        self.ask("noteVisits()")
        times = len(self.ask("stops()")) + 2
        ActionChains(self.driver).send_keys(*[Keys.TAB] * times).perform()
        visited: list[tuple[str, bool]] = [
            (name, is_plain) for name, is_plain in self.driver.execute_script("return window.visited")
        ]
        return visited

    def resize(self, width: int, height: int = 900) -> None:
        """Makes the window so large."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme: str) -> None:
        """Has pages be `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.cdp("Emulation.setEmulatedMedia", features=features)

    def complaints(self) -> list[str]:
        """What pages have complained of since the last call: errors, refused requests, what their policy forbade."""
        entries = self.driver.execute("getLog", {"type": "browser"})["value"]
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def hosts(self) -> set[str]:
        """The hosts that pages have asked for something since the last call: `host:port`."""
        entries = self.driver.execute("getLog", {"type": "performance"})["value"]
        events = [json.loads(entry["message"])["message"] for entry in entries]
        requests = [event["params"]["request"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return {urlsplit(request["url"]).netloc for request in requests if request["url"].startswith(("http", "ws"))}

    def cdp(self, method: str, **parameters: object) -> Any:
        """Asks Chromium itself, by the protocol of its tools."""
        return self.driver.execute_cdp_cmd(method, parameters)

    def _leave(self, path: str, what: str) -> None:
        before = self.driver.find_element(By.TAG_NAME, "html")
        self._click(path, what)
        self.until(lambda: _is_gone(before), f"{what} leads to another page")
        self.until(lambda: self.driver.execute_script("return document.readyState") == "complete", "it is all there")

    def _click(self, path: str, what: str) -> None:
        def clicked() -> bool:
            self._only(path, what).click()
            return True

        self.until(clicked, f"{what} is pressed")
        self.clicks.append(what)

    def _only(self, path: str, what: str) -> WebElement:
        def found() -> Sequence[WebElement]:
            return self.driver.find_elements(By.XPATH, path)

        elements = self.until(found, f"{what} is there")
        assert len(elements) == 1, f"{self.path} has {what} {len(elements)} times"
        return elements[0]


def _is_gone(element: WebElement) -> bool:
    try:
        element.is_enabled()
    except StaleElementReferenceException:
        return True
    return False


def _answer(question: Callable[[], T]) -> T | Literal[False]:
    """False while the browser is between two pages."""
    try:
        return question()
    except WebDriverException as error:
        if not any(words in str(error) for words in _LEFT):
            raise
        return False


@contextmanager
def visiting(driver: WebDriver, site: str, *, has_scripts: bool = True) -> Iterator[Visitor]:
    """Open a window for a new visitor, and close it."""
    before = driver.current_window_handle
    driver.switch_to.new_window("tab")
    visitor = Visitor(driver, site, has_scripts)
    try:
        visitor.cdp("Network.clearBrowserCookies")
        # The only window that anybody could look at has the focus.
        visitor.cdp("Emulation.setFocusEmulationEnabled", enabled=True)
        visitor.cdp("Emulation.setScriptExecutionDisabled", value=not has_scripts)
        visitor.complaints()
        visitor.hosts()
        yield visitor
    finally:
        driver.close()
        driver.switch_to.window(before)
