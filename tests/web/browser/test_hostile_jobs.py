"""What strangers write into Redis, in a real browser: it is shown as text, runs nothing and asks for nothing."""

import json
import re
import time
from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import pytest
from selenium.webdriver.common.by import By

from restbroker.operate import audit
from tests.support.shared import TOKEN
from tests.support.wait import until
from tests.web.browser import looks
from tests.web.browser.stage import Stage
from tests.web.browser.visitor import Visitor

SHOWN: Final = "<script>window.ran = 1</script>"
HTML: Final = (
    f"{SHOWN}<img src=//evil.example/x onerror='window.ran = 2'>\"'><svg onload='window.ran = 3'><a href=javascript:x>"
)
CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\u200b\u2028\u202e]")
UNSEEN: Final = "\x00\x07\x1b[31m\u202egnp.exe\u2028\u200b"
LONG: Final = "w" * 180
LARGE: Final = 1024 * 1024
FAR_S: Final = 1_000_000
SHOWN_ON: Final = (
    *("/jobs", "/processes", "/retries", "/scheduled", "/dead", "/in-progress", "/activity"),
    f"/queue?{urlencode({'name': HTML})}",
    f"/steer?{urlencode({'do': 'pause-queue', 'name': HTML})}",
    f"/job?{urlencode({'jid': HTML})}",
    f"/find?{urlencode({'q': HTML})}",
)
PAGES: Final = (
    *("/", "/targets", f"/{quote(HTML, safe='')}", *SHOWN_ON),
    f"/dead?{urlencode({'where': f'user = {HTML}'})}",
    f"/dead?{urlencode({'where': f'{HTML} ~~ {UNSEEN}'})}",
)


def payloads() -> list[bytes]:
    """Jobs with something evil in each field, and what is none."""
    tries = [{"at": 1_700_000_000.5, **dict.fromkeys(("outcome", "code", "status", "ms", "excerpt"), HTML)}]
    return [
        written(HTML, restbroker_attempts=tries, tags=[HTML], display_class=HTML, wrapped=HTML),
        written(UNSEEN),
        written(LONG),
        written("large", args=["check_account", {"user": "x" * LARGE}, TOKEN]),
        json.dumps([HTML]).encode(),
        b"\xff\xfe" + HTML.encode(),
        HTML.encode("utf-16"),
    ]


def written(text: str, **more: Any) -> bytes:
    names = ("class", "jid", "error_class", "error_message", "retry_queue", "retried_at", "created_at")
    args = [text, {text: text, "user": text, "list": [text]}, TOKEN]
    fields = {**dict.fromkeys(names, text), "queue": "rest", "args": args, "retry_count": 1, "failed_at": 1.7e9}
    return json.dumps({**fields, **more}).encode()


@pytest.fixture(scope="module")
def stage(stage: Stage) -> Stage:
    client = stage.citizen.client
    for number, payload in enumerate(payloads()):
        client.command("ZADD", "dead", time.time() + number, payload)
        for zset in ("retry", "schedule"):
            client.command("ZADD", zset, time.time() + FAR_S + number, payload)
    for queue in (HTML, UNSEEN, LONG):
        client.command("SADD", "queues", queue)
        client.command("LPUSH", f"queue:{queue}", *payloads())
    client.command("SADD", "processes", HTML)
    info = {"hostname": HTML, "pid": 7, "tag": HTML, "version": HTML, "queues": [HTML], "started_at": 1.7e9}
    client.command("HSET", HTML, "info", json.dumps(info), "busy", 1, "beat", time.time(), "quiet", HTML)
    work = {
        "queue": HTML,
        "payload": json.dumps({"class": HTML, "jid": HTML, "args": [HTML]}),
        "run_at": int(time.time()),
    }
    client.command("HSET", f"{HTML}:work", "a", json.dumps(work))
    audit.write(client, audit.AuditEntry(who=HTML, action="retry", place="dead", where=HTML, why=HTML))
    return stage


def is_harmless(visitor: Visitor, stage: Stage) -> None:
    """Nothing of what strangers wrote has become a part of the page."""
    assert visitor.driver.execute_script("return window.ran === undefined")
    drawn = "main svg:not([role=img], [role=img] svg)"
    assert not visitor.has(f"main img, main script, main iframe, {drawn}, [href^=javascript]")
    assert CONTROL.search(visitor.driver.execute_script("return document.body.innerText")) is None
    assert visitor.hosts() == {urlsplit(stage.site).netloc}


@pytest.mark.slow
def test_a_live_page_shows_hostile_names_as_text_and_obeys(stage: Stage, visitor: Visitor) -> None:
    """All that only a browser can say of the pages, once: script, stream, policy, form; the rest is for the night."""
    visitor.open("/jobs")
    visitor.until(lambda: visitor.text("#live-state") == "live", "the page is live")
    visitor.mark()
    stage.citizen.push(b"{}", queue=f"novelty{HTML}")
    visitor.until(lambda: SHOWN in visitor.row("novelty"), "the new queue comes by the stream")
    assert visitor.is_marked()
    is_harmless(visitor, stage)
    visitor.follow("Pause queue rest")
    visitor.press("Pause the queue")
    visitor.until(lambda: "paused" in visitor.row("rest"), "the page says that the queue is paused")
    until(lambda: stage.citizen.client.command("SMEMBERS", "paused") == [b"rest"], "the queue is paused")


@pytest.mark.nightly
def test_hostile_text_is_text_on_each_page(stage: Stage, visitor: Visitor) -> None:
    def is_there(page: str) -> bool:
        visitor.open(page)
        return SHOWN in visitor.sees("restbroker") or page not in SHOWN_ON

    for page in PAGES:
        # What pages count, as queues, they count every few seconds.
        visitor.until(partial(is_there, page), f"what strangers wrote is on {page}")
        is_harmless(visitor, stage)


def all_dead(visitor: Visitor) -> list[str]:
    """Opens the dead set, until all are on its first page, which ends sooner on a busy machine; their addresses."""

    def links() -> list[str]:
        visitor.open("/dead")
        found = visitor.driver.find_elements(By.CSS_SELECTOR, "main form td a")
        return [str(link.get_attribute("href")) for link in found] if len(found) == len(payloads()) else []

    return visitor.until(links, "all jobs are on one page")


@pytest.mark.nightly
def test_hostile_text_is_text_on_the_page_of_its_job(stage: Stage, visitor: Visitor) -> None:
    for link in all_dead(visitor):
        visitor.open(link.removeprefix(stage.site))
        visitor.sees("First failure")
        is_harmless(visitor, stage)
        assert len(visitor.driver.page_source) < 50_000


@pytest.mark.nightly
def test_words_without_an_end_make_no_page_wider_than_a_phone(visitor: Visitor) -> None:
    for path in (
        "/jobs",
        f"/queue?name={LONG}",
        f"/steer?do=pause-queue&name={LONG}",
        f"/dead?where={LONG}+%3D+x",
        f"/{LONG}",
        "/dead",
    ):
        visitor.open(path)
        looks.fits(visitor)
    all_dead(visitor)
    visitor.follow(LONG)
    visitor.sees("First failure")
    looks.fits(visitor)
