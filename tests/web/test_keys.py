"""The pages of stopped keys: what holds a key, and what opens it, over real HTTP.

What becomes of a key's jobs is for tests/operate/test_order.py.
"""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs
import httpx
import pytest

from restbroker.config.target import Target
from restbroker.job.order import Order
from restbroker.job.settlement import Dead
from restbroker.operate import audit
from restbroker.operate.context import ConfigContext
from restbroker.store import order, pauses, queues
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.jobs import FetchRequest, FetchResult, register
from restbroker.store.settling import FinishRequest
from restbroker.web.guard import PageSettings
from tests.broker.conftest import Harness
from tests.store.pools import FACTS
from tests.support.answering import AnsweringServer
from tests.support.html_page import parse
from tests.support.process import started
from tests.support.redis_server import RedisServer
from tests.support.store_calls import fetch, finish
from tests.support.wait import until
from tests.web.conftest import Open, Site
from tests.web.test_actions import done_by, form_of, job, page, there
from tests.web.test_process import LISTENING

NAME = "ann | h.org"
KEY = b"\x1eann\x1fh.org"
ANN = urlencode({"target": "ejabberd", "key": NAME})


def of_key(user: str, number: int, **more: Any) -> bytes:
    command = more.pop("command", "check_account")
    arguments = {"user": user, "host": "h.org", "password": "sesame-4711"}
    return job(f"{user}{number}", args=[command, arguments, "t"], enqueued_at=time.time(), **more)


@pytest.fixture
def target(known: ConfigContext) -> Target:
    found = attrs.evolve(known.targets["rest"], order_by=Order(("user", "host")), on_dead="stop")
    known.targets["rest"] = found  # type: ignore[index]
    return found


def put(client: Client, target: Target, *users: str, **more: Any) -> None:
    """The first job of each key dies, and two wait behind it; from then on nobody takes any."""
    name, rules, each = target.name, target.key_rules, users or ("ann",)
    register(client, f"h:1:x:{name}", FACTS, ("rest",), key_rules=rules)
    queues.push(client, "rest", [of_key(user, number) for user in each for number in range(3)])
    request = FetchRequest(f"h:1:x:{name}", name, ("rest",), 0, 50, 50, key_rules=rules)
    taken = fetch(client, request)
    assert isinstance(taken, FetchResult)
    deaths = [Dead(time.time(), of_key(user, 0, **more), effect="stop") for user in each]
    settled = [(found.ticket, dead) for found, dead in zip(taken.jobs, deaths, strict=True)]
    finish(client, FinishRequest(request.identity, name, ("rest",), 0, settled, key_rules=rules), 9)
    pauses.pause_queue(client, "rest", "ann", "", None)


async def question_of(running: Site, verb: str, name: str = NAME) -> tuple[str, dict[str, Any]]:
    asked = await page(running, "/steer?" + urlencode({"do": f"{verb}-key", "target": "ejabberd", "name": name}))
    return asked.text, dict(form_of(asked.html, "/steer").hidden)


def state(client: Client, target: Target) -> str:
    found = order.read_key(client, target.name, ["rest"], KEY)
    return "free" if found is None else found.state


@pytest.mark.parametrize(
    ("verb", "action", "after", "dead", "said"),
    [
        ("retry", ("retry", "keys retry"), "stopped", [], "1 job; ended"),
        ("skip", ("keys skip", ""), "ready", ["ann0"], "1 key; ended"),
        ("drop", ("kill", "keys drop"), "free", ["ann0", "ann1", "ann2"], "2 jobs; ended"),
    ],
)
async def test_a_stopped_key_is_opened_after_a_question(
    verb: str,
    action: tuple[str, str],
    after: str,
    dead: list[str],
    said: str,
    harness: Harness,
    site: Open,
    target: Target,
) -> None:
    put(harness.client, target)
    async with site() as running:
        listed = await page(running, "/queue?name=rest")
        (link,) = listed.links_to(f"/steer?do={verb}-key")
        asked = await page(running, link)
        before = state(harness.client, target), there(harness, "dead")
        done = await done_by(running, "/steer", form_of(asked.html, "/steer").hidden)
        shown = await page(running, done.links_to("/key?")[0])
    assert listed.row(NAME)[2:] == ["2", "ann0", "Retry Skip Drop"]
    assert all(word in asked.text for word in (NAME, "2 jobs wait with it", "It failed for ann0.", "ann1", '"***"'))
    assert before == ("stopped", ["ann0"])
    assert "sesame-4711" not in asked.html + shown.html
    assert said in done.text
    assert (state(harness.client, target), sorted(there(harness, "dead"))) == (after, dead)
    assert "stopped" in shown.text if verb == "retry" else "stopped" not in shown.text
    notes = [entry.note for entry in audit.entries(harness.client, 20)]
    assert (notes[-1].action, notes[-1].why, notes[-1].state) == (*action, "begun")
    assert {note.who for note in notes} == {"web@127.0.0.1 (web)"}


def another_dies(client: Client) -> None:
    client.command("HSET", client.keys.stopped("ejabberd"), KEY, "ann9")


def a_person_skips(client: Client) -> None:
    client.command("ZREM", client.keys.busy_keys("ejabberd"), KEY)


def one_is_deleted_and_one_comes(client: Client) -> None:
    line = queues.key_queue_of(client.keys, "rest", KEY)
    client.command("LREM", line, 1, client.command("LINDEX", line, -1))  # type: ignore[arg-type]
    client.command("LPUSH", line, of_key("ann", 3))


@pytest.mark.promise("Security: who can reach the ports", "to have an operator do what the page does not say")
@pytest.mark.parametrize("verb", ["retry", "skip", "drop"])
@pytest.mark.parametrize("meanwhile", [another_dies, a_person_skips, one_is_deleted_and_one_comes])
async def test_a_key_that_changed_since_the_question_is_left_alone(
    verb: str, meanwhile: Callable[[Client], None], harness: Harness, site: Open, target: Target
) -> None:
    put(harness.client, target)
    async with site() as running:
        _, form = await question_of(running, verb)
        meanwhile(harness.client)
        answers = [await running.post("/steer", form | seen) for seen in ({}, {"seen": ""}, {"seen": "2-0"})]
    assert [answer.status_code for answer in answers] == [400] * 3
    assert all(re.search("has changed|There is no key|Nothing was done", answer.text) for answer in answers)
    assert there(harness, "dead") == ["ann0"]
    assert list(audit.entries(harness.client, 10)) == []


async def test_jobs_that_came_after_the_question_are_not_dropped(harness: Harness, site: Open, target: Target) -> None:
    put(harness.client, target)
    async with site() as running:
        asked, form = await question_of(running, "drop")
        line = queues.key_queue_of(harness.client.keys, "rest", KEY)
        harness.client.command("LPUSH", line, of_key("ann", 3))
        harness.client.command("INCR", harness.client.keys.key_queue("rest"))
        done = await done_by(running, "/steer", form)
    assert "Drop what waits: 2 jobs" in asked
    assert "2 jobs; ended" in done.text
    assert there(harness, "dead") == ["ann0", "ann1", "ann2"]
    assert state(harness.client, target) == "ready"


async def test_a_job_that_may_have_run_is_retried_only_if_ticked(harness: Harness, site: Open, target: Target) -> None:
    unsafe = {"command": "send_message", "restbroker_may_have_run": True, "restbroker_uncertain": True}
    put(harness.client, target, **unsafe)
    async with site() as running:
        asked, form = await question_of(running, "retry")
        refused = await running.post("/steer", form)
        kept = there(harness, "dead")
        await done_by(running, "/steer", {**form, "repeat_unsafe": "yes"})
    assert "I have checked the server." in asked
    assert (refused.status_code, "may have run already" in refused.text, kept) == (400, True, ["ann0"])
    assert there(harness, "dead") == []


@pytest.mark.promise("Security: who can reach the ports", "to change something where pages are read-only")
async def test_pages_that_change_nothing_show_a_key_without_buttons(
    harness: Harness, site: Open, target: Target
) -> None:
    put(harness.client, target)
    link = {"do": "drop-key", "target": "ejabberd", "name": NAME}
    async with site(settings=PageSettings("127.0.0.1", is_read_only=True)) as running:
        shown = [await page(running, path) for path in (f"/key?{ANN}", "/queue?name=rest", "/job?jid=ann2")]
        answers = [await running.get(f"/steer?{urlencode(link)}"), await running.post("/steer", link)]
    assert "It failed for ann0." in shown[0].text
    assert "2nd of 2 of the key ann | h.org" in shown[2].text
    assert shown[2].links_to("/key?")
    assert not [link for found in shown for link in found.links if "/steer" in link or "/edit" in link]
    assert [answer.status_code for answer in answers] == [403] * 2
    assert there(harness, "dead") == ["ann0"]


async def test_spaces_around_the_name_of_a_key_are_part_of_it(harness: Harness, site: Open, target: Target) -> None:
    put(harness.client, target, "ann", " ann")
    async with site() as running:
        (link,) = (await page(running, "/queue?name=rest")).links_to("/key?target=ejabberd&key=%20ann")
        assert "name=%20ann" in (await page(running, link)).links_to("/steer?do=drop-key")[0]


async def test_a_page_of_a_key_shows_no_secret_and_no_markup(harness: Harness, site: Open, target: Target) -> None:
    hostile = "<script>alert(1)</script>\u202e"
    put(harness.client, target, hostile, "a-token-of-4711")
    async with site() as running:
        shown = [await page(running, link) for link in (await page(running, "/queue?name=rest")).links_to("/key?")]
        free = await page(running, f"/key?{ANN}")
        wrong = await running.get("/steer?" + urlencode({"do": "skip-key", "target": "ejabberd", "name": "*** | h.or"}))
        _, form = await question_of(running, "skip", f"{hostile} | h.org")
        await done_by(running, "/steer", form)
    assert "No job of this key waits" in free.text
    assert not re.search("a-token-of|<script>alert|\u202e", "".join(found.html for found in shown) + wrong.text)
    assert (wrong.status_code, "Did you mean *** | h.org" in wrong.text) == (400, True)


def test_a_key_is_opened_on_the_pages_of_a_process(
    configured: Callable[..., Path], tmp_path: Path, redis_server: RedisServer
) -> None:
    """The server refuses the first job, an operator skips it, and the jobs behind it are done."""
    client = open_client(StoreSettings(redis_server.url))
    with AnsweringServer(lambda arrival: 400 if arrival.arguments["n"] == 0 else 200) as server:
        url = f"http://127.0.0.1:{server.port}/api"
        config = configured(StatsPort=0, Stats=True, RestURL=url, OrderBy=["user", "host"], OnDead="stop")
        with started(["run", "--config", str(config)], directory=tmp_path / "run") as broker:
            pages = broker.wait_for(LISTENING)[1]
            broker.wait_for("broker.started")
            for number in range(3):
                args = ["check_account", {"user": "ann", "host": "h.org", "n": number}, "t0ken-4711"]
                client.command("LPUSH", "queue:rest", json.dumps({"class": "Add", "jid": f"ann{number}", "args": args}))
            broker.wait_for("code=OrderStopped")
            with httpx.Client(
                trust_env=False, headers={"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
            ) as visitor:
                overview = parse("/", visitor.get(pages).text)
                queue = parse("", visitor.get(pages + overview.links_to("/queue?name=rest")[0]).text)
                asked = visitor.get(pages + queue.links_to("/steer?do=skip-key")[0]).text
                assert "2 jobs wait with it" in parse("", asked).text
                done = visitor.post(f"{pages}/steer", data=form_of(asked, "/steer").hidden, follow_redirects=True)
            until(
                lambda: not client.command("EXISTS", client.keys.busy_keys("ejabberd")), "the jobs behind it are done"
            )
            assert broker.stop() == 0
    assert "keys skip target:ejabberd" in parse("", done.text).text
    assert client.command("ZCARD", "dead") == 1
