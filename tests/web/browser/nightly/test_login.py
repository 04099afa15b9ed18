"""The login in a real browser, which keeps it: pages of other origins can neither act, read nor frame.

Each also where the pages are on http by address, for which browsers leave `Sec-Fetch-Site` out.
"""

from html import escape

import pytest

from tests.support.receiver import Answer, Receiver
from tests.web.browser.chromium import ELSEWHERE
from tests.web.browser.stage import Stage
from tests.web.browser.visitor import Visitor

LOOPBACK = "127.0.0.1"
PRESS = "<!doctype html><title>win</title><form method=post action='{}/steer'>{}<button>Press here</button></form>"
SITES = [LOOPBACK, ELSEWHERE]


@pytest.fixture(scope="module")
def keys() -> dict[str, object]:
    return {"StatsUser": "ops", "StatsPass": "sesame-4711"}


def at(address: str, host: str) -> str:
    return address.replace(LOOPBACK, host)


def log_in(visitor: Visitor, site: str) -> None:
    """As a person does whom the browser asks; it sends the login by itself from then on."""
    visitor.driver.get(site.replace("://", "://ops:sesame-4711@"))
    visitor.driver.get(f"{site}/jobs")
    visitor.sees("Oldest")


def forget_complaints(visitor: Visitor) -> None:
    """On http by address a browser says of each page that it ignores `Cross-Origin-Opener-Policy`."""
    visitor.complaints()


def is_paused(stage: Stage) -> bool:
    return stage.citizen.client.command("SMEMBERS", "paused") != []


@pytest.mark.parametrize("host", SITES)
def test_a_form_of_our_own_is_obeyed(host: str, stage: Stage, visitor: Visitor) -> None:
    log_in(visitor, site := at(stage.site, host))
    for verb in ("Pause", "Resume"):
        visitor.driver.get(f"{site}/steer?do={verb.lower()}-queue&name=rest")
        visitor.press(f"{verb} the queue")
        visitor.sees("Oldest")
        assert is_paused(stage) == (verb == "Pause")
    forget_complaints(visitor)


@pytest.mark.parametrize("site_host", SITES)
@pytest.mark.parametrize("other_host", SITES)
def test_a_form_of_another_origin_is_refused(other_host: str, site_host: str, stage: Stage, visitor: Visitor) -> None:
    """On the same host it is another port."""
    log_in(visitor, site := at(stage.site, site_host))
    fields = {"do": "pause-queue", "name": "rest"}
    hidden = "".join(f'<input type=hidden name={name} value="{escape(value)}">' for name, value in fields.items())
    page = PRESS.format(site, hidden).encode()
    with Receiver(lambda _: Answer(200, page, {"Content-Type": "text/html"})) as other:
        visitor.driver.get(at(other.url, other_host))
        visitor.press("Press here")
        visitor.sees("This request came from a page of another site")
    assert not is_paused(stage)
    forget_complaints(visitor)


@pytest.mark.parametrize("host", SITES)
def test_another_page_can_neither_read_nor_frame_the_pages(host: str, stage: Stage, visitor: Visitor) -> None:
    log_in(visitor, site := at(stage.site, host))
    page = f"<!doctype html><title>win</title><iframe src='{site}/'></iframe>".encode()
    read = "return fetch(arguments[0], {credentials: 'include'}).then(() => 'read', (error) => error.name)"
    complaints: list[str] = []

    def is_not_framed() -> bool:
        complaints.extend(visitor.complaints())
        return any("frame-ancestors" in complaint for complaint in complaints)

    with Receiver(lambda _: Answer(200, page, {"Content-Type": "text/html"})) as other:
        visitor.driver.get(other.url)
        assert visitor.driver.execute_script(read, f"{site}/stats") == "TypeError"
        visitor.until(is_not_framed, "the browser says that it shows no frame")
