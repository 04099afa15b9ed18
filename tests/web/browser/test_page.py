"""A page in a real browser: it is live, shows what strangers wrote as text, and its forms are obeyed."""

import re
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.support.wait import until
from tests.web.browser.stage import Stage
from tests.web.browser.visitor import Visitor

SEEN: Final = "<script>window.ran = 1</script>"
HTML: Final = (
    f"{SEEN}<img src=//evil.example/x onerror='window.ran = 2'>\"'><svg onload='window.ran = 3'><a href=javascript:x>"
)
CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\u200b\u2028\u202e]")


def is_harmless(visitor: Visitor, stage: Stage) -> None:
    """Nothing of what strangers wrote has become a part of the page."""
    assert visitor.driver.execute_script("return window.ran === undefined")
    assert not visitor.has("main img, main script, main iframe, main svg:not([role=img]), [href^=javascript]")
    assert CONTROL.search(visitor.driver.execute_script("return document.body.innerText")) is None
    assert visitor.hosts() == {urlsplit(stage.site).netloc}


@pytest.mark.slow
def test_a_live_page_shows_hostile_names_as_text_and_obeys(stage: Stage, visitor: Visitor) -> None:
    """All that only a browser can say of the pages, once: script, stream, policy, form; the rest is for the night."""
    visitor.open("/queues")
    visitor.until(lambda: visitor.text("#live-state") == "live", "the page is live")
    visitor.mark()
    stage.citizen.push(b"{}", queue=HTML)
    visitor.until(lambda: SEEN in visitor.row("evil.example"), "the new queue comes by the stream")
    assert visitor.is_marked()
    is_harmless(visitor, stage)
    visitor.follow("Pause queue rest")
    visitor.press("Pause the queue")
    visitor.until(lambda: "paused" in visitor.row("rest"), "the page says that the queue is paused")
    until(lambda: stage.citizen.client.command("SMEMBERS", "paused") == [b"rest"], "the queue is paused")
