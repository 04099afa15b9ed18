"""The login, in a browser: who gets in, where to, and how one gets out."""

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver

from tests.web.browser import looks
from tests.web.browser.conftest import with_and_without_scripts
from tests.web.browser.visitor import Visitor

PASSWORD = "sesame-4711"


@pytest.fixture(scope="module")
def keys() -> dict[str, object]:
    return {"StatsUser": "ops", "StatsPass": PASSWORD}


def log_in(visitor: Visitor, password: str = PASSWORD, user: str = "ops") -> None:
    visitor.fill("User", user)
    visitor.fill("Password", password)
    visitor.press("Log in")


@with_and_without_scripts
def test_who_mistypes_a_password_is_told_and_comes_to_the_page_that_was_asked_for_with_the_right_one(
    visitor: Visitor,
) -> None:
    visitor.open("/dead?where=user+%3D+iris")
    visitor.sees("Password")
    log_in(visitor, "sesame-4712")
    visitor.sees("User or password is wrong.")
    assert not visitor.has(f'input[value="{PASSWORD}"], input[value="sesame-4712"]')
    log_in(visitor)
    visitor.sees("Shown: 0 of")
    assert visitor.path == "/dead?where=user+%3D+iris"


@with_and_without_scripts
def test_who_logs_out_is_out_on_every_page(visitor: Visitor) -> None:
    visitor.open("/queues")
    log_in(visitor)
    visitor.sees("Queues")
    visitor.press("Log out")
    visitor.sees("Password")
    for path in ("/", "/dead", "/steer?do=pause-queue&name=rest"):
        visitor.open(path)
        visitor.sees("Password")


def test_a_page_that_is_open_when_its_visitor_logs_out_elsewhere_goes_to_the_login(
    visitor: Visitor, driver: WebDriver
) -> None:
    visitor.open("/queues")
    log_in(visitor)
    visitor.until(lambda: visitor.text("#live-state") == "live", "the page is live")
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")
    visitor.open("/dead")
    visitor.press("Log out")
    visitor.sees("Password")
    driver.close()
    driver.switch_to.window(first)
    visitor.sees("Password")


def test_the_form_is_for_everybody_and_complains_of_nothing(visitor: Visitor) -> None:
    visitor.open("/login")
    looks.speaks_to_screen_readers(visitor)
    looks.has_contrast(visitor)
    looks.goes_by_keyboard(visitor)
    looks.fits(visitor)
    assert visitor.complaints() == []
