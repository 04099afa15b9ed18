"""The page of dead jobs: its causes come first, at once and then counted on, and jobs only on request."""

import html
import re
import time

import pytest
import trio

from restbroker.operate.summary import HOUR_S, Cause, Summary
from restbroker.web import causes
from restbroker.web.causes import CauseTable
from restbroker.web.charts import bars
from tests.broker.conftest import Harness
from tests.support.wait import NEVER_S
from tests.web.conftest import Open
from tests.web.test_actions import job, page, put_jobs

FILL = """
for n = 1, ARGV[1] do
  redis.call('ZADD', KEYS[1], ARGV[2] - n, (ARGV[3]:gsub('NUMBER', n)))
end
"""


def fill(harness: Harness, count: int, zset: str = "dead", name: str = "j") -> None:
    """Puts so many jobs of one cause into a set, one for each second."""
    failed = job(f"{name}NUMBER", error_class="ServerError", error_message="It answered 500.")
    harness.client.command("EVAL", FILL, 1, zset, count, int(time.time()), failed)


async def test_many_jobs_are_listed_only_on_request(harness: Harness, site: Open) -> None:
    put_jobs(harness, 11)
    async with site() as running:
        first, listed = await page(running, "/dead"), await page(running, "/dead?jobs=all")
        one = await page(running, first.links_to("/dead?where=")[0])
        await running.post("/dead/act", {"verb": "delete", "where": "user = j1", "all": "yes", "confirmed": "yes"})
        retries = await page(running, "/retries")
    assert len(first.rows) == 1
    assert first.rows[0][0].startswith("ServerError safe")
    assert [row[-1] for row in listed.last] == [row[-1] for row in one.last] == [f"j{n}" for n in range(10, -1, -1)]
    assert "No jobs." in retries.text


async def test_a_few_jobs_stand_below_their_causes(harness: Harness, site: Open) -> None:
    put_jobs(harness, 10)
    async with site() as running:
        assert len((await page(running, "/dead")).last) == 10


async def test_the_servers_own_words_are_told_apart_from_ours(harness: Harness, site: Open) -> None:
    """Where they end, the last try that has them tells, if it has all: it keeps 200 characters, and other brackets."""
    wrong, hint = "Bad value of 'to' in tag <message/>", "Correct the arguments."
    cases = (
        ("send_stanza", f"400 The server says: {wrong}. {hint}", f"The server says: {wrong}"),
        ("get_vcard", f"Status 502: Bad gateway. It may have run. {hint}", "Status 502: Bad gateway. It may have run."),
        ("set_vcard", f"400 The server says: {'long ' * 60}{hint}", f"The server says: {'long ' * 60}"[:200]),
        ("register", f"The token does not allow it. {hint}", "The token does not allow it."),
    )
    for number, (command, message, said) in enumerate(cases):
        tries = [{"outcome": "rejected", "excerpt": said.replace("<", "‹").replace(">", "›")}, {"outcome": "edited"}]
        failed = job("j", command, error_message=message, restbroker_attempts=tries)
        harness.client.command("ZADD", "dead", number + 1, failed)
    async with site() as running:
        with trio.fail_after(NEVER_S):
            while "<progress" in (shown := await page(running, "/dead")).html:
                pass  # a busy machine counts them on with the next page
    assert re.findall("<q>(.*?)</q>", shown.html) == ["Bad gateway.", html.escape(wrong).replace("&#x27;", "&#39;")]
    assert all(message.replace(f"{wrong}.", wrong) in shown.text for _, message, _ in cases)


async def test_causes_are_counted_on_behind_an_open_page(
    harness: Harness, site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(harness, 5000)
    async with site() as running:
        with monkeypatch.context() as patched:
            patched.setattr(causes, "_PIECE_S", 0.0)
            first = await running.get("/dead")
        with trio.fail_after(NEVER_S):
            while "counted, the newest first" in (shown := await running.get("/dead")).text:  # noqa: ASYNC110
                await trio.sleep(0.05)
    assert "of 5,000 jobs counted, the newest first" in first.text
    assert '<meta http-equiv="refresh" content="5">' in first.text
    assert 'data-fragment="/dead"' in first.text
    assert ">5,000</a>" in shown.text


async def test_a_stop_does_not_wait_for_the_count(
    harness: Harness, site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causes, "_PIECE_S", 0.0)
    fill(harness, 5000)
    with trio.fail_after(NEVER_S):
        async with site() as running:
            assert "jobs counted, the newest first" in (await running.get("/dead")).text


def test_a_chart_spans_the_time_in_which_all_failed() -> None:
    def table(*ages_h: float) -> CauseTable:
        cause = Cause("g", "k", None, None, command="c", code=None, message=None)
        for age_h in ages_h:
            at_s = now_s - age_h * HOUR_S
            cause.add(1, at_s, at_s, {int(at_s // HOUR_S): 1})
        return CauseTable(Summary((cause,), 1, 1, 1), [cause], is_one=False, at_s=now_s)

    now_s = time.time()
    assert [table(age_h).span[1] for age_h in (0, 23, 25, 200, 5000)] == [
        "24 hours", "24 hours", "7 days", "30 days", "30 days",
    ]  # fmt: skip
    last = table(0.001)
    assert last.bars(last.rows[0]).count("M") == 1
    assert last.bars(last.rows[0]).startswith("M575 100v-100")


def test_highest_bar_reaches_the_top_and_none_is_invisible() -> None:
    assert bars([0, 1000, 1]) == "M200 100v-100h160v100zM400 100v-8h160v8z"
    assert bars([0, 0]) == ""
