"""Each page as people meet it: by screen reader, by keyboard, in the dark, on a phone, without JavaScript."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import attrs
import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from restbroker.operate import audit, control
from restbroker.operate.audit import AuditEntry
from restbroker.store import sources
from restbroker.store.queues import key_queue_of
from restbroker.store.sources import SourceState
from tests.support.ports import free_port
from tests.support.scripted import jid_of, job
from tests.web.browser import looks
from tests.web.browser.stage import LATER, Stage, populate, staged
from tests.web.browser.visitor import Visitor, visiting
from tests.web.conftest import JOB_PAGES, LIVE_PAGES

NAMED: Final = "chat_newsletters_high"
FOUND: Final = (
    *("/dead?where=user+~+refused", "/dead?where=user+%3D+nobody", f"/queue?name={LATER}", f"/queue?name={NAMED}"),
    *("/job", "/find?q=mina", "/find?q=nobody", f"/job?jid={jid_of('refused-mina')}"),
    "/steer?do=pause-queue&name=rest",
    *("/key?target=ejabberd&key=ann", "/key?target=ejabberd&key=free", "/steer?do=drop-key&target=ejabberd&name=ann"),
)
BEHIND_OTHERS: Final = {"an action": "/activity", "a job": "/dead", "a question": "/dead", "a stop": "/processes"}


@pytest.fixture(scope="module")
def stage(stage: Stage) -> Stage:
    populate(stage)
    control.pause(stage.citizen.client, "queue", "other", "ann", "the server is moved", 3600.0)
    # A name of some length in each table, beside a long reason and many details of a job.
    control.pause(
        stage.citizen.client, "queue", NAMED, "ann", "The database of the server is moved to another machine. " * 5
    )
    stage.citizen.client.command("LPUSH", f"queue:{NAMED}", job("iris", queue=NAMED, arguments={"note": "x" * 400}))
    keys = stage.citizen.client.keys
    stage.citizen.client.command("ZADD", keys.busy_keys("ejabberd"), 1e12 + time.time(), "\x1eann")
    stage.citizen.client.command("HSET", keys.stopped("ejabberd"), "\x1eann", jid_of("refused-omar"))
    line = key_queue_of(keys, "rest", b"\x1eann")
    stage.citizen.client.command("LPUSH", line, *(job(f"behind{number}") for number in range(3)))
    well = SourceState("mongooseim_events", "mongooseim-amqp", "web1.example.org:4711", since_s=time.time() - 7200)
    silent = attrs.evolve(
        well,
        source="mongooseim_presences",
        code="RabbitMQAway",
        message="RabbitMQ answers, but its queue restbroker.mongooseim_presences does not: nothing is read.",
        hint="A quorum queue waits for a majority of its nodes. " * 3,
    )
    sources.write(stage.citizen.client, [well, silent])
    sent = jid_of("iris3")
    audit.write(
        stage.citizen.client, AuditEntry(who="ann", action="retry", place="dead", done=1, where=sent, jids=(sent,))
    )
    for zset in ("dead", "retry", "schedule"):
        stage.lay(zset, "fails-iris", time.time() + 4000, queue=NAMED, error_message="The server is moved. " * 20)
    return stage


def reach(visitor: Visitor, page: str, stage: Stage) -> None:
    """Opens a page, by way of others where it has no address that is known before."""
    visitor.open(BEHIND_OTHERS.get(page, page))
    omar = jid_of("refused-omar")
    match page:
        case "a job":
            visitor.follow(omar)
            visitor.sees("Arguments")
        case "an action":
            visitor.follow("retry")
            visitor.sees("Where these jobs are now")
        case "a question":
            visitor.tick(f"Choose {omar}")
            visitor.press("Delete")
            visitor.sees("They leave the set")
        case "a stop":
            visitor.follow(f"Stop {stage.citizen.identity(stage.broker)}")
            visitor.sees("and exits.")
        case _ if page in LIVE_PAGES and visitor.has_scripts:
            visitor.until(lambda: visitor.text("#live-state") == "live", "it is live")
        case _:
            pass


LOOKS: Final = (
    looks.speaks_to_screen_readers,
    looks.has_contrast,
    looks.fits,
    looks.breaks_no_words,
    looks.goes_by_keyboard,
)


def walk(visitor: Visitor, stage: Stage, look: Callable[[str], None]) -> dict[str, str]:
    """Opens every page and looks at it; what was wrong, by page."""
    wrong = {}
    for page in (*LIVE_PAGES, *JOB_PAGES, *FOUND, *BEHIND_OTHERS):
        try:
            reach(visitor, page, stage)
            look(page)
            assert visitor.complaints() == []
        except AssertionError as error:
            wrong[page] = str(error)
    return wrong


def test_each_page_can_be_used_by_everybody(visitor: Visitor, stage: Stage) -> None:
    def look(_page: str) -> None:
        for has_it in LOOKS:
            has_it(visitor)
        assert visitor.hosts() == {urlsplit(stage.site).netloc}

    wrong = walk(visitor, stage, look)
    assert not wrong


@pytest.mark.parametrize("has_scripts", [False])
def test_each_page_is_whole_without_javascript(visitor: Visitor, stage: Stage) -> None:
    def look(page: str) -> None:
        looks.speaks_to_screen_readers(visitor)
        # Only where no script runs is this an element of the page.
        assert visitor.has("noscript meta[http-equiv=refresh]") == (page in LIVE_PAGES)

    wrong = walk(visitor, stage, look)
    assert not wrong


def test_a_live_page_leaves_what_is_used_and_outlasts_its_broker(tmp_path: Path, driver: WebDriver) -> None:
    with staged(tmp_path, StatsPort=free_port()) as own, visiting(driver, own.site) as visitor:

        def state(words: str) -> None:
            visitor.until(lambda: words in visitor.text("#live-state"), f"the page is {words}")

        visitor.open("/")
        state("live")
        visitor.driver.execute_script("document.querySelector('[aria-label=\"Pause queue rest\"]').focus()")
        own.citizen.push(b"{}", queue="novelty")
        visitor.until(lambda: visitor.total("Waiting") == 1, "the rest of the page goes on")
        assert visitor.row("novelty") == ""
        visitor.driver.execute_script("document.activeElement.blur()")
        visitor.until(lambda: visitor.row("novelty"), "the new queue is shown once nobody uses the table")
        assert own.broker.stop() == 0
        state("not connected")
        own.citizen.start()
        state("live")


def test_keys_search_lead_to_pages_and_list_themselves(visitor: Visitor, stage: Stage) -> None:
    def press(keys: str) -> None:
        ActionChains(visitor.driver).send_keys(keys).perform()

    visitor.open("/jobs")
    press("/")
    assert visitor.driver.switch_to.active_element.get_attribute("id") == "q"
    press("gd")
    assert visitor.path == "/jobs", "letters in a field are letters"
    visitor.driver.execute_script("document.activeElement.blur()")
    press("?")
    visitor.until(lambda: visitor.has("dialog[open]"), "the keys are listed")
    press(Keys.ESCAPE)
    press("gd")
    visitor.until(lambda: visitor.path == "/dead#causes", "g d leads to dead jobs")
    visitor.driver.find_element(By.CSS_SELECTOR, "details.menu summary").click()
    assert visitor.has("details.menu[open]")
    press(Keys.ESCAPE)
    assert not visitor.has("details.menu[open]")
