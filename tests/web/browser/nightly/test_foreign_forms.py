"""Forms that no page of ours made, sent by a real browser of somebody who may: none is obeyed."""

from html import escape

from selenium.webdriver.common.by import By

from tests.support.receiver import Answer, Receiver
from tests.web.browser.stage import Stage
from tests.web.browser.visitor import Visitor

QUESTION = "/steer?do=pause-queue&name=rest"
PRESS = "<!doctype html><title>win</title><form method=post action='{}/steer'>{}<button>Press here</button></form>"


def marked(visitor: Visitor) -> str:
    """The mark that this visitor's forms carry."""
    visitor.open(QUESTION)
    return visitor.driver.find_element(By.NAME, "mark").get_attribute("value") or ""


def is_paused(stage: Stage) -> bool:
    return stage.citizen.client.command("SMEMBERS", "paused") != []


def test_a_form_of_another_site_is_refused_even_with_the_right_mark(stage: Stage, visitor: Visitor) -> None:
    fields = {"mark": marked(visitor), "do": "pause-queue", "name": "rest"}
    hidden = "".join(f'<input type=hidden name={name} value="{escape(value)}">' for name, value in fields.items())
    page = PRESS.format(stage.site, hidden).encode()
    with Receiver(lambda _: Answer(200, page, {"Content-Type": "text/html"})) as other:
        visitor.driver.get(other.url)
        visitor.press("Press here")
        visitor.sees("This request came from a page of another site")
    assert not is_paused(stage)


def test_a_page_of_another_site_can_neither_read_nor_frame_the_pages(stage: Stage, visitor: Visitor) -> None:
    page = f"<!doctype html><title>win</title><iframe src='{stage.site}/'></iframe>".encode()
    read = "return fetch(arguments[0], {credentials: 'include'}).then(() => 'read', (error) => error.name)"
    complaints: list[str] = []

    def is_not_framed() -> bool:
        complaints.extend(visitor.complaints())
        return any("frame-ancestors" in one for one in complaints)

    with Receiver(lambda _: Answer(200, page, {"Content-Type": "text/html"})) as other:
        visitor.driver.get(other.url)
        assert visitor.driver.execute_script(read, f"{stage.site}/stats") == "TypeError"
        visitor.until(is_not_framed, "the browser says that it shows no frame")
