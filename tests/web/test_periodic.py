"""The page of periodic commands, over real HTTP: next and last times, Run now, pauses, and what metrics say of them."""

import re

from restbroker.operate import audit
from restbroker.store import periodic
from restbroker.store.server import time_s
from tests.broker.conftest import Harness
from tests.web.conftest import Open
from tests.web.test_looking import asked
from tests.web.test_sets import form_of, page, send

KEY = "restbroker:periodic"


async def test_the_page_says_when_each_is_due_and_run_now_queues_its_job(harness: Harness, site: Open) -> None:
    harness.client.command("HSET", KEY, "nightly", "ab 5", "nightly missed", 3, "nightly tick", "missed j")
    async with site() as running:
        before = await page(running, "/periodic")
        question = await asked(running, before.links_to("/steer?do=run-periodic")[0])
        await harness.until(lambda: harness.target.calls, "the job is delivered")
        after = await page(running, "/periodic")
    assert re.search(r"\d\d\d\d-\d\d-\d\d 04:30 \+0[12]00", before.text)
    assert "At 04:30 every day" in before.text
    assert "missed: no process ran in time" in before.text
    assert "status of ejabberd: At 04:30 every day (Europe/Berlin)." in question.text
    assert harness.target.calls[0].command.endpoint == "status"
    (written,) = audit.entries(harness.client, 10)
    assert (written.note.action, written.note.place) == ("run", "periodic:nightly")
    state = periodic.read(harness.client)[1]["nightly"]
    assert (state.mark_s, state.jid) == (5, written.note.jids[0])
    assert after.links_to(f"/job?jid={state.jid}")


async def test_what_is_paused_says_by_whom_until_it_is_resumed(harness: Harness, site: Open) -> None:
    async with site() as running:
        question = await page(running, "/steer?do=pause-periodic&name=nightly")
        form = {**form_of(question.html, "/steer").hidden, "for": "2h", "why": "the server is moved"}
        answer = await send(running, "/steer", form)
        paused = await page(running, "/periodic")
        resumed = await asked(running, paused.links_to("/steer?do=resume-periodic")[0])
        after = await page(running, "/periodic")
    assert answer.status_code == 303
    assert "nightly is paused by web@127.0.0.1 (web) for 2 h more" in paused.text
    assert "the server is moved" in paused.text
    assert "What was skipped stays skipped." in resumed.text
    assert "paused" not in after.text


async def test_metrics_say_when_each_ran_and_whether_one_is_overdue(harness: Harness, site: Open) -> None:
    now_s = int(time_s(harness.client))
    harness.client.command("HSET", KEY, "nightly", f"ab {now_s - 200_000}", "nightly push", f"{now_s - 200_000} j")
    harness.client.command("HSET", KEY, "nightly missed", 3, "nightly skipped", 2)
    async with site() as running:
        text = (await running.get_metrics()).text
    found = dict(re.findall(r"^restbroker_periodic_(\w+)\{name=\"nightly\"\} (\S+)$", text, re.MULTILINE))
    assert float(found["last_timestamp_seconds"]) == now_s - 200_000
    assert float(found["next_timestamp_seconds"]) < now_s - 100_000, "no process dealt with it"
    assert (float(found["missed_total"]), float(found["skipped_total"])) == (3, 2)
    of_strict = re.findall(r"^restbroker_periodic_(\w+)\{name=\"strict\"\}", text, re.MULTILINE)
    assert sorted(of_strict) == ["missed_total", "next_timestamp_seconds", "skipped_total"]
