"""What became of jobs that a person sent again: where each is met, how it ended, and what is not known of it."""

from collections.abc import Iterator

import pytest

from restbroker.broker.tokens import Tokens
from restbroker.operate import follow as following
from restbroker.operate.act import Action, perform
from restbroker.operate.act_set import SetJobs
from restbroker.operate.context import ConfigContext
from restbroker.operate.edit import Edit
from restbroker.operate.find import SearchLimits
from restbroker.operate.follow import SENT, ActionResult, follow
from restbroker.operate.walk import Match, Walk
from restbroker.store import history, queues
from restbroker.store.client import Client
from tests.operate.conftest import NOW_S, Put, job
from tests.operate.pools import take


def became(client: Client, known: ConfigContext, *jids: str, bounds: SearchLimits | None = None) -> ActionResult:
    return follow(client, jids, known, bounds or SearchLimits())


def test_each_job_counts_where_it_is_and_failed_ones_by_cause(
    client: Client, configured: ConfigContext, put: Put
) -> None:
    take(client, "held")
    queues.push(client, "rest", [job("waits"), job("another's")])
    put("schedule", NOW_S, "put-off")
    for n in range(3):
        put("dead", NOW_S + n, f"dead{n}", error_class="BadArgument", error_message=f"'user{n}' is wrong.")
    put("retry", NOW_S, "again")
    put("retry", NOW_S, "another's")
    jids = ("held", "waits", "put-off", "dead0", "dead1", "dead2", "again", "nowhere")
    found = became(client, configured, *jids)
    assert (found.jobs, found.waiting, found.in_progress, found.done) == (8, 2, 1, 1)
    assert (found.unknown, found.failed_jobs) == (0, 4)
    assert [(count.zset, count.code, count.jobs) for count in found.failed] == [
        ("dead", "BadArgument", 3),
        ("retry", "ServerError", 1),
    ]
    assert not found.is_over
    assert became(client, configured, "dead0", "nowhere").is_over


def test_a_job_beyond_the_search_limits_is_not_called_done(client: Client, configured: ConfigContext, put: Put) -> None:
    for n in range(20):
        put("dead", NOW_S + n, f"j{n}")
    found = became(client, configured, "j0", bounds=SearchLimits(jobs=10))
    assert (found.unknown, found.done, found.is_over) == (1, 0, False)
    assert "the dead set" in found.unseen[0]


def test_a_place_that_redis_refuses_to_show_leaves_jobs_unknown(client: Client, configured: ConfigContext) -> None:
    client.command("SET", "ns:dead", "no set")
    found = became(client, configured, "j0")
    assert (found.unknown, found.done) == (1, 0)
    assert found.refused


def test_job_requeued_behind_the_scan_is_found_in_its_queue(
    client: Client, configured: ConfigContext, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = put("retry", NOW_S, "j0")
    sorted_sets = Walk.sorted_sets

    def passed(walk: Walk) -> Iterator[Match]:
        # As the retry scheduler does, between two places.
        if client.command("ZREM", "ns:retry", raw):
            queues.push(client, "rest", [raw])
        return sorted_sets(walk)

    monkeypatch.setattr(Walk, "sorted_sets", passed)
    found = became(client, configured, "j0")
    assert (found.waiting, found.done) == (1, 0)


def test_the_job_id_may_be_written_in_any_way_that_json_has(client: Client, configured: ConfigContext) -> None:
    queues.push(client, "rest", [job("j\u00e9").replace("j\u00e9".encode(), b"j\\u00e9"), job("plain")])
    assert became(client, configured, "j\u00e9").waiting == 1
    assert became(client, configured, "plain").waiting == 1


def test_an_action_is_followed_by_what_the_audit_says_of_it(
    client: Client, configured: ConfigContext, put: Put
) -> None:
    for n in range(250):
        put("dead", NOW_S + n, f"j{n}")
    action = Action("retry", "ann@web1", why="the server is back")
    steps = perform(client, SetJobs("dead"), action, configured)
    step = next(steps)
    list(perform(client, SetJobs("dead", ("j249",)), Action("delete", "bob"), configured))
    *_, last = steps
    assert (last.run, last.done) == (step.run, 249)
    run = following.run(client, last.run)
    assert run is not None
    assert (run.note.state, run.note.done, len(run.jids)) == ("ended", 249, 249)
    assert (run.note.action in SENT, run.note.why) == (True, "the server is back")
    assert became(client, configured, *run.jids).waiting == 249
    assert following.run(client, "1-1") is None


def test_edited_job_that_stays_is_not_on_its_way() -> None:
    edits = [Edit(tokens=Tokens(()), unset=("x",), retry=retry) for retry in (True, False)]
    assert [Action("edit", "ann", edit=edit).name in SENT for edit in edits] == [True, False]


def test_jobs_behind_a_backlog_are_found_at_its_end(client: Client, configured: ConfigContext, put: Put) -> None:
    """A night: what was retried waits behind all others, or next in line, and newer jobs come behind it."""
    queues.push(client, "rest", [job(f"w{n}") for n in range(12_000)])
    for n in range(45):
        put("dead", NOW_S + n, f"j{n}")
    chosen = SetJobs("dead", tuple(f"j{n}" for n in range(40)))
    *_, last = perform(client, chosen, Action("retry", "ann"), configured)
    assert last.done == 40
    *_, last = perform(client, SetJobs("dead", limit=3), Action("retry", "ann", first=True), configured)
    assert last.done == 3
    queues.push(client, "rest", [job(f"z{n}") for n in range(300)])
    found = became(client, configured, *(f"j{n}" for n in range(45)), bounds=SearchLimits(seconds=60, jobs=6000))
    assert (found.waiting, found.failed_jobs, found.unknown, found.unseen) == (43, 2, 0, ())
    lost = became(client, configured, "j1", "gone", bounds=SearchLimits(seconds=60, jobs=6000))
    assert (lost.waiting, lost.unknown, lost.unseen) == (1, 1, ("the queue rest, after 6,000 jobs",))
    assert became(client, configured, "w6000", "gone", bounds=SearchLimits(seconds=60, jobs=20_000)).waiting == 1


def test_job_in_the_history_needs_no_search_of_the_backlog(client: Client, configured: ConfigContext, put: Put) -> None:
    queues.push(client, "rest", [job(f"w{n}") for n in range(12_000)])
    put("dead", NOW_S, "again")
    put("retry", NOW_S, "failed")
    *_, last = perform(client, SetJobs("dead"), Action("retry", "ann"), configured)
    for jid, code in (("done", None), ("failed", "ServerError"), ("dropped", "Expired")):
        end = history.JobEnd(jid, "ejabberd", "register", "delivered", 200, 0.0, code)
        client.command("XADD", "ns:restbroker:history", "*", "end", history.to_record(end))
    bounds = SearchLimits(seconds=60, jobs=6000)
    found = follow(client, ("again", "done", "failed"), configured, bounds, last.began_s)
    assert (found.waiting, found.done, found.failed_jobs, found.unknown, found.unseen) == (1, 1, 1, 0, ())
    assert follow(client, ("dropped",), configured, bounds, last.began_s).unknown == 1
    assert follow(client, ("done",), configured, bounds, last.began_s + 1e6).unknown == 1
