"""The page of an action: what a person did, and where the jobs are now, for whoever loads or links it again."""

import time

import attrs
import pytest

from restbroker.operate import audit
from restbroker.operate.audit import AuditEntry
from tests.broker.conftest import Harness
from tests.support.html_page import parse
from tests.web.conftest import Open
from tests.web.test_looking import HOSTILE
from tests.web.test_sets import page, park, question_of, send


async def test_what_was_retried_has_a_page_of_its_own_that_goes_on_until_none_is_on_its_way(
    harness: Harness, site: Open
) -> None:
    park(harness, 5)
    # No poller takes from a paused queue.
    harness.client.command("SADD", "paused", "rest")
    async with site() as running:
        form = {**await question_of(running, "dead", verb="retry"), "why": "the server is back"}
        answer = await send(running, "/dead/act", form, "/dead")
        (link,) = parse("", answer.text).links_to("/audit/")
        waiting = await running.get(link)
        park(harness, 2, error_message=HOSTILE, failed_at=time.time())
        harness.client.command("DEL", "queue:rest")
        ended = await running.get(link)
        listed = await page(running, "/audit")
    assert link in listed.links_to("/audit/")
    found = parse(link, waiting.text)
    assert "retry dead" in found.text
    assert "the server is back" in found.text
    assert "5 jobs; ended" in found.text
    assert "Waiting 5" in found.text
    assert 'http-equiv="refresh"' in waiting.text
    found = parse(link, ended.text)
    assert "Done 3 3 of them without a record" in found.text
    assert "Failed again 2" in found.text
    assert found.row("ServerError")[:2] == ["2", "dead"]
    assert len(found.links_to("/dead?where=failure_group")) == 1
    assert 'http-equiv="refresh"' not in ended.text
    assert "<script>alert(1)" not in ended.text


async def test_the_page_of_an_action_that_goes_on_is_loaded_again_though_all_sent_so_far_have_ended(
    harness: Harness, site: Open
) -> None:
    begun = AuditEntry(who="ann@web1", action="retry", place="dead", state="begun")
    run = audit.write(harness.client, begun)
    audit.write(harness.client, attrs.evolve(begun, state="interrupted", run=run, done=1, jids=("j1",)))
    async with site() as running:
        going = await running.get(f"/audit/{run}")
        audit.write(harness.client, attrs.evolve(begun, state="ended", run=run, done=1))
        ended = await running.get(f"/audit/{run}")
    assert ['http-equiv="refresh"' in answer.text for answer in (going, ended)] == [True, False]


async def test_an_action_that_sends_nothing_has_a_page_without_what_became_of_the_jobs(
    harness: Harness, site: Open
) -> None:
    run = audit.write(harness.client, AuditEntry(who="ann@web1", action="pause", place="queue:rest", why=HOSTILE))
    async with site() as running:
        answer = await running.get(f"/audit/{run}")
    assert answer.status_code == 200
    assert "Where these jobs are now" not in answer.text
    assert "<script>alert(1)" not in answer.text


@pytest.mark.parametrize(("name", "status"), [("1-1", 404), ("9" * 15 + "-0", 404), ("x", 400), ("1-1 + -", 400)])
async def test_an_action_that_is_not_kept_or_cannot_be_one_is_told_as_such(site: Open, name: str, status: int) -> None:
    async with site() as running:
        assert (await running.get(f"/audit/{name}")).status_code == status


async def test_what_another_program_took_is_not_shown_as_done(harness: Harness, site: Open) -> None:
    park(harness, 2, queue="mailers")
    async with site() as running:
        form = {**await question_of(running, "dead", verb="retry"), "foreign_queues": "yes"}
        answer = await send(running, "/dead/act", form, "/dead")
        (link,) = parse("", answer.text).links_to("/audit/")
        harness.client.command("RPOP", "queue:mailers")
        found = await page(running, link)
    assert "Done 0" in found.text
    assert "Taken by another program 1" in found.text
    assert "Waiting 1" in found.text


async def test_an_action_of_many_entries_is_one_row_of_the_audit_log(harness: Harness, site: Open) -> None:
    begun = AuditEntry(who="ann@web1", action="retry", place="dead", state="begun", where="all")
    run = audit.write(harness.client, begun)
    for number in range(1, 47):
        audit.write(harness.client, attrs.evolve(begun, state="going on", run=run, done=number, jids=(f"j{number}",)))
        audit.write(harness.client, AuditEntry(who="bob", action="pause", place=f"queue:q{number}"))
    audit.write(harness.client, attrs.evolve(begun, state="ended", run=run, done=46))
    for number in range(30):
        audit.write(harness.client, AuditEntry(who="bob", action="resume", place=f"queue:r{number}"))
    async with site() as running:
        first = await page(running, "/audit")
        second = await page(running, first.links_to("/audit?")[0])
        about = await page(running, "/audit?about=j7")
    assert [one.text.count("retry dead") for one in (first, second, about)] == [1, 0, 1]
    assert "retry dead ended all 46" in first.text
    assert [one.text.count("pause queue:") for one in (first, second)] == [19, 27]
