"""The pictures of the manual: their texts fit. test_generated.py compares them with the script that draws them."""

from pathlib import Path
from typing import Final

from selenium.webdriver.chrome.webdriver import WebDriver

from dev.tools import drawings

_LAID_OVER: Final = (Path(__file__).parent / "laid_over.js").read_text("utf-8")


def test_each_text_of_a_picture_has_its_room(driver: WebDriver) -> None:
    """A text of a box stays within it; any other touches no box, no arrow and no text, and stays on the picture."""
    found = {}
    for name in drawings.drawings():
        driver.get((drawings.FOLDER / name).as_uri())
        found[name] = driver.execute_script(_LAID_OVER)
    assert found == {name: [] for name in drawings.drawings()}


def test_each_picture_says_what_it_shows_and_follows_the_theme() -> None:
    for name, text in drawings.drawings().items():
        assert 'aria-label="' in text, name
        assert "<title>" in text, name
        assert "prefers-color-scheme:dark" in text, name
