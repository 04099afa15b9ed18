"""Retrying, deleting, killing, rescheduling and moving jobs: one, several, all; stopped, tried out."""

import json
import time
from collections import Counter
from collections.abc import Generator
from typing import Any, cast

import attrs
import pytest

from restbroker.errors import StoreUnavailable, UsageError
from restbroker.operate import audit, find
from restbroker.operate.act import VERBS, Action, Progress, Verb, perform
from restbroker.operate.act_set import BATCH, SetJobs, moment_of
from restbroker.operate.context import ConfigContext
from restbroker.operate.find import FoundJob
from restbroker.operate.where import read
from restbroker.store import paging, sets
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet
from restbroker.store.server import time_s
from tests.operate.conftest import NOW_S, Put, fields_of, job

ALL = SetJobs("dead")
RETRY = Action("retry", "ann@web1")


@attrs.frozen
class Jobs:
    """The jobs in Redis, what is known of them, and the actions on them."""

    client: Client
    known: ConfigContext
    put: Put

    def act(self, zset: SortedSet, action: Action, chosen: SetJobs, **how: Any) -> Progress:
        *_, last = perform(self.client, attrs.evolve(chosen, zset=zset), action, self.known, **how)
        assert last.ended
        return last


@pytest.fixture
def jobs(client: Client, configured: ConfigContext, put: Put) -> Jobs:
    return Jobs(client, configured, put)


def where(*typed: str) -> SetJobs:
    return SetJobs("dead", where=read(typed, NOW_S))


def queued(client: Client, queue: str = "rest") -> list[dict[str, Any]]:
    found = client.command("LRANGE", f"ns:queue:{queue}", 0, -1)
    assert isinstance(found, list)
    return [fields_of(raw) for raw in found]


def members(client: Client, zset: str) -> list[bytes]:
    found = client.command("ZRANGE", f"ns:{zset}", 0, -1)
    assert isinstance(found, list)
    return [raw for raw in found if isinstance(raw, bytes)]


def test_jobs_are_put_next_in_line_and_no_more_than_the_limit(jobs: Jobs) -> None:
    """What a retry refuses stays, and does not count; the audit log says where and how many."""
    jobs.put("dead", NOW_S, "waits")
    jobs.act("dead", RETRY, ALL)
    for n in range(250):
        jobs.put("dead", NOW_S + n, f"j{n}")
    jobs.put("dead", NOW_S + 999, "unsure", command="send_message", restbroker_may_have_run=True)
    first, few = attrs.evolve(RETRY, first=True), SetJobs("dead", limit=120)
    preview = jobs.act("dead", first, few, dry_run=True)
    last = jobs.act("dead", first, attrs.evolve(few, inventory=preview.met))
    assert preview.done == last.done == 120
    assert [entry["jid"] for entry in queued(jobs.client)] == ["waits", *(f"j{n}" for n in range(249, 129, -1))]
    assert next(iter(audit.entries(jobs.client, 1))).note.where == "all (at most 120) (next in line)"
    assert jobs.act("dead", RETRY, SetJobs("dead", ("j0", "j1", "j2"), limit=2)).done == 2
    assert jobs.act("dead", RETRY, SetJobs("dead", where=read(["jid = j3"], NOW_S), limit=2)).done == 1
    assert jobs.act("dead", RETRY, SetJobs("dead", ("gone", "j4", "j5"), limit=1)).done == 1


@pytest.mark.parametrize("first", [False, True])
def test_dead_jobs_are_redone_in_the_order_of_their_deaths(jobs: Jobs, *, first: bool) -> None:
    """More than one batch of them: those of one key would be done in reverse."""
    for n in range(BATCH + 20):
        jobs.put("dead", NOW_S + n, f"j{n}")
    jobs.act("dead", attrs.evolve(RETRY, first=first), ALL)
    assert [entry["jid"] for entry in reversed(queued(jobs.client))] == [f"j{n}" for n in range(BATCH + 20)]


def test_a_retried_job_is_in_its_queue_as_sidekiq_would_push_it(jobs: Jobs) -> None:
    raw = jobs.put("dead", NOW_S, "j1", retry_count=4, at=5)
    before_s = time_s(jobs.client)
    found = jobs.act("dead", RETRY, SetJobs("dead", ("j1",)))
    assert (found.done, found.matched, found.missing) == (1, 1, ())
    (pushed,) = queued(jobs.client)
    assert before_s <= pushed.pop("enqueued_at") <= time_s(jobs.client)
    was = fields_of(raw)
    del was["enqueued_at"], was["at"]
    assert pushed == {**was, "retry_count": 3}
    assert jobs.client.command("SMEMBERS", "ns:queues") == [b"rest"]
    assert members(jobs.client, "dead") == []


def test_a_manual_retry_costs_no_try(jobs: Jobs) -> None:
    rows: list[tuple[SortedSet, Any, Any]] = [
        ("retry", 0, -1),
        ("retry", -1, -1),
        ("dead", 5, 4),
        ("schedule", 2, 2),
        ("retry", None, None),
        ("dead", "3", 2),
    ]
    for zset, before, after in rows:
        jobs.client.command("FLUSHALL")
        jobs.put(zset, NOW_S, "j1", retry_count=before)
        jobs.act(zset, RETRY, ALL)
        assert queued(jobs.client)[0].get("retry_count") == after


def test_a_retry_of_a_dead_job_lifts_an_expiry_that_has_passed(jobs: Jobs) -> None:
    ahead_s = time_s(jobs.client) + 3600
    rows: list[tuple[SortedSet, float, float | None]] = [
        ("dead", NOW_S, None),
        ("dead", ahead_s, ahead_s),
        ("retry", NOW_S, NOW_S),
    ]
    for zset, before_s, after_s in rows:
        jobs.client.command("FLUSHALL")
        jobs.put(zset, NOW_S, "j1", expiry=before_s)
        jobs.act(zset, RETRY, ALL)
        assert queued(jobs.client)[0]["expiry"] == after_s
    jobs.client.command("FLUSHALL")
    jobs.put("dead", NOW_S, "j1", expiry=ahead_s - 60)
    jobs.act("dead", Action("reschedule", "ann@web1", at_s=ahead_s), ALL)
    assert fields_of(members(jobs.client, "retry")[0])["expiry"] is None
    jobs.client.command("FLUSHALL")
    targets = {name: attrs.evolve(target, expire_s={"*": 60.0}) for name, target in jobs.known.targets.items()}
    jobs.put("dead", NOW_S, "j1", created_at=NOW_S)
    Jobs(jobs.client, attrs.evolve(jobs.known, targets=targets), jobs.put).act("dead", RETRY, ALL)
    assert queued(jobs.client)[0]["expiry"] is None


def test_all_that_match_are_done_in_batches_and_the_others_stay(jobs: Jobs) -> None:
    for n in range(250):
        jobs.put("dead", NOW_S + n // 50, f"j{n}", error_class="BadToken" if n % 2 else "ServerError")
    steps = list(perform(jobs.client, where("error = BadToken"), RETRY, jobs.known))
    assert len(steps) == 4
    assert steps[-1].done == 125
    assert steps[-1].looked_at == 250
    assert len(members(jobs.client, "dead")) == 125
    assert Counter(job["error_class"] for job in queued(jobs.client)) == {"BadToken": 125}


def test_a_dry_run_counts_and_changes_nothing(jobs: Jobs) -> None:
    for n in range(12):
        jobs.put(
            "dead", NOW_S + n, f"j{n}", command="send_message" if n == 3 else "register", restbroker_may_have_run=True
        )
    found = jobs.act("dead", RETRY, ALL, dry_run=True)
    assert (found.done, sum(found.refused.values()), len(found.examples)) == (11, 1, 5)
    assert len(members(jobs.client, "dead")) == 12
    assert list(audit.entries(jobs.client, 10)) == []
    assert queued(jobs.client) == []


def test_perhaps_run_job_is_repeated_only_if_safe_or_requested(jobs: Jobs) -> None:
    jobs.put("dead", 1, "message", command="send_message", restbroker_may_have_run=True)
    jobs.put("dead", 2, "register", restbroker_may_have_run=True)
    jobs.put("dead", 3, "foreign", queue="foreign", restbroker_may_have_run=True)
    jobs.put("dead", 4, "failed", command="send_message")
    found = jobs.act("dead", attrs.evolve(RETRY, foreign_queues=True), ALL)
    assert (found.done, found.matched) == (2, 4)
    ((why, count),) = found.refused.items()
    assert (count, "may have run" in why) == (2, True)
    assert {job["jid"] for job in queued(jobs.client)} == {"register", "failed"}
    later = Action("reschedule", "ann", at_s=NOW_S, repeat_unsafe=False, foreign_queues=True)
    assert jobs.act("dead", later, ALL).done == 0
    anyway = Action("retry", "ann", repeat_unsafe=True, foreign_queues=True)
    assert jobs.act("dead", anyway, ALL).done == 2
    assert queued(jobs.client, "foreign")[0]["restbroker_may_have_run"] is True


@pytest.mark.promise("Security: who can push to the queues", "to reach another queue through retry_queue")
def test_no_job_goes_to_a_foreign_queue_unless_requested(jobs: Jobs) -> None:
    rows_of_verb: list[Verb] = ["retry", "reschedule", "move"]
    rows_of_zset: list[SortedSet] = ["dead", "retry", "schedule"]
    for verb in rows_of_verb:
        for zset in rows_of_zset:
            jobs.client.command("FLUSHALL")
            before = [
                jobs.put(zset, NOW_S + n, f"j{n}", queue="rest" if verb == "move" else "foreign") for n in range(3)
            ]
            ours = jobs.put(zset, NOW_S + 9, "ours")
            action = Action(verb, "ann", at_s=NOW_S + 60, queue="foreign")
            left = jobs.act(zset, action, SetJobs("dead", ("j0", "j1", "j2")))
            assert (left.done, left.foreign_queues, list(left.refused.values())) == (0, {"foreign": 3}, [3])
            assert sorted(members(jobs.client, zset)) == sorted([*before, ours])
            counted = jobs.act(zset, attrs.evolve(action, foreign_queues=True), ALL, dry_run=True)
            assert (counted.done, counted.foreign_queues) == (4, {"foreign": 4 if verb == "move" else 3})
            went = jobs.act(zset, attrs.evolve(action, foreign_queues=True), ALL)
            assert (went.done, went.foreign_queues, went.refused) == (4, counted.foreign_queues, {})
            assert len(queued(jobs.client, "foreign")) == (3 if verb == "retry" else 0)


def test_a_retry_restarts_the_count_of_uncertain_tries(jobs: Jobs) -> None:
    jobs.put("retry", 1, "j1", restbroker_uncertain=2)
    jobs.act("retry", RETRY, ALL)
    (pushed,) = queued(jobs.client)
    assert "restbroker_uncertain" not in pushed
    assert pushed["restbroker_may_have_run"] is True


@pytest.mark.parametrize("zset", ["schedule", "retry"])
def test_a_retry_begins_the_count_of_crashes_again(jobs: Jobs, zset: SortedSet) -> None:
    jobs.put(zset, 1, "j1", restbroker_crashes=3)
    jobs.act(zset, RETRY, ALL)
    (pushed,) = queued(jobs.client)
    assert "restbroker_crashes" not in pushed
    assert (pushed["restbroker_may_have_run"], "restbroker_uncertain" in pushed) == (True, False)


def test_a_crashed_job_that_is_not_safe_to_repeat_is_not_retried(jobs: Jobs) -> None:
    jobs.put("schedule", 1, "j1", command="send_message", restbroker_crashes=1)
    assert list(jobs.act("schedule", RETRY, ALL).refused.values()) == [1]
    assert jobs.act("schedule", attrs.evolve(RETRY, repeat_unsafe=True), ALL).done == 1


def test_entry_that_is_no_job_can_only_be_deleted(jobs: Jobs) -> None:
    rows_of_verb: list[Any] = ["retry", "kill", "reschedule", "move", "delete"]
    rows_of_raw: list[bytes] = [b"5", b"\xff", b'{"class":"Restbroker::Unreadable","args":["x"],"queue":"rest"}']
    for verb in rows_of_verb:
        for raw in rows_of_raw:
            jobs.client.command("FLUSHALL")
            jobs.client.command("ZADD", "ns:retry", 1, raw)
            found = jobs.act("retry", Action(verb, "ann", at_s=9.0, queue="rest"), ALL)
            assert members(jobs.client, "retry") == ([] if verb == "delete" else [raw])
            assert found.done == (verb == "delete")
            assert sum(found.refused.values()) == (verb != "delete")


def test_killed_job_is_dead_with_actor_reason_and_copy(jobs: Jobs) -> None:
    jobs.put("retry", NOW_S, "failed", restbroker_uncertain=1)
    jobs.put("schedule", NOW_S, "fresh", error_class=None, error_message=None, failed_at=None, retry_count=None)
    kill = Action("kill", "ann@web1", why="the server is gone")
    for zset in ("retry", "schedule"):
        assert jobs.act(zset, kill, ALL).done == 1
    dead = {field["jid"]: field for field in map(fields_of, members(jobs.client, "dead"))}
    assert dead["failed"]["error_class"] == "ServerError"
    assert dead["failed"]["restbroker_may_have_run"] is True
    assert dead["fresh"]["error_class"] == "Killed"
    assert dead["fresh"]["error_message"] == "ann@web1 killed it: the server is gone"
    assert isinstance(dead["fresh"]["failed_at"], float)
    for fields in dead.values():
        assert fields["restbroker_attempts"][-1]["excerpt"] == "ann@web1 killed it: the server is gone"
    assert jobs.client.command("XLEN", "ns:restbroker:parked") == 2


def test_equal_jobs_that_are_killed_stay_two(jobs: Jobs) -> None:
    raw = job("twin")
    jobs.client.command("ZADD", "ns:retry", 1, raw)
    jobs.client.command("ZADD", "ns:schedule", 1, raw)
    for zset in ("retry", "schedule"):
        jobs.act(zset, Action("kill", "ann"), ALL)
    assert len(members(jobs.client, "dead")) == 2


def test_rescheduled_jobs_keep_their_bytes_and_get_a_score_each(jobs: Jobs) -> None:
    raws = {jobs.put("schedule", NOW_S + n, f"j{n}") for n in range(150)}
    found = jobs.act("schedule", Action("reschedule", "ann", at_s=NOW_S + 75.5), ALL)
    listed = paging.piece(jobs.client, "schedule", None, 200, newest_first=False).members
    assert {raw for raw, _ in listed} == raws
    assert len({score for _, score in listed}) == 150
    assert all(NOW_S + 75.5 <= score < NOW_S + 75.6 for _, score in listed)
    assert found.done == 150


def test_a_dead_job_that_gets_a_time_waits_in_the_retry_set(jobs: Jobs) -> None:
    jobs.put("dead", NOW_S, "j1", retry_count=3)
    jobs.act("dead", Action("reschedule", "ann", at_s=NOW_S + 60), ALL)
    ((raw, score),) = paging.piece(jobs.client, "retry", None, 5, newest_first=False).members
    assert fields_of(raw)["retry_count"] == 2
    assert round(score - NOW_S) == 60
    assert members(jobs.client, "dead") == []


def test_a_job_signed_for_its_queue_moves_within_its_target_only(jobs: Jobs) -> None:
    rows: list[tuple[str | None, str | None]] = [
        (None, "no broker has accepted it yet"),
        (f"{'0' * 64}:rest", "Its signature is for the queue rest"),
        (f"{'0' * 64}:other", None),
    ]
    for accepted, why in rows:
        jobs.client.command("FLUSHALL")
        token = f"v1q:app:{NOW_S:.0f}:{'0' * 64}"
        jobs.put("dead", NOW_S, "j1", args=["register", {}, token], restbroker_accepted=accepted)
        found = jobs.act("dead", Action("move", "ann", queue="other"), ALL)
        (moved,) = (fields_of(raw) for raw in members(jobs.client, "dead"))
        assert (found.done, moved["queue"]) == ((1, "other") if why is None else (0, "rest"))
        assert why is None or any(why in text for text in found.refused)


def test_a_moved_job_stays_in_its_set_under_another_queue(jobs: Jobs) -> None:
    jobs.put("dead", NOW_S, "j1")
    jobs.put("dead", NOW_S, "j2", queue="other")
    move = Action("move", "ann", queue="other")
    found = jobs.act("dead", move, ALL)
    assert (found.done, found.matched, found.refused) == (1, 1, {})
    assert {(field["jid"], field["queue"]) for field in map(fields_of, members(jobs.client, "dead"))} == {
        ("j1", "other"), ("j2", "other"),
    }  # fmt: skip
    moved = paging.piece(jobs.client, "dead", None, 5, newest_first=False).members
    assert [score for _, score in moved] == [NOW_S, NOW_S]


def test_no_job_is_moved_to_where_a_hidden_value_would_be_shown(jobs: Jobs) -> None:
    jobs.put("dead", NOW_S, "misspelt", arguments={"user": "a", "host": "b", "pw": "hush-hush"})
    jobs.put("dead", NOW_S, "listed", arguments=["a", "b", "hush-hush"])
    jobs.put("dead", NOW_S, "right", arguments={"user": "a", "host": "b", "password": "hush-hush"})
    for queue in ("openfire", "foreign"):
        found = jobs.act("dead", Action("move", "ann", queue=queue, foreign_queues=True), ALL)
        assert [(why.partition(",")[0], count) for why, count in found.refused.items()] == [
            ("One of its arguments is hidden", 2)
        ]
        queues = {field["jid"]: field["queue"] for field in map(fields_of, members(jobs.client, "dead"))}
        assert queues == {"misspelt": "rest", "listed": "rest", "right": queue}


def test_stopping_between_batches_allows_to_go_on_later(jobs: Jobs) -> None:
    for n in range(3 * BATCH):
        jobs.put("dead", NOW_S + n, f"j{n}")
    going = perform(jobs.client, SetJobs("dead"), RETRY, jobs.known)
    assert next(going).done == BATCH
    going.close()  # type: ignore[attr-defined]
    assert len(members(jobs.client, "dead")) == 2 * BATCH
    assert next(iter(audit.entries(jobs.client, 1))).note.state == "interrupted"
    assert jobs.act("dead", RETRY, ALL).done == 2 * BATCH
    assert len({job["jid"] for job in queued(jobs.client)}) == 3 * BATCH


def test_who_waits_is_told_how_far_the_reading_is(jobs: Jobs) -> None:
    for n in range(600):
        jobs.put("dead", NOW_S + n, f"j{n}")
    told: list[tuple[int, int | None]] = []
    jobs.client.tell = lambda done, total, _words: told.append((done, total))
    assert jobs.act("dead", Action("delete", "ann@web1"), ALL).done == 600
    assert told[:3] == [(250, 600), (500, 600), (600, 600)]


def test_job_failing_meanwhile_is_left_alone(jobs: Jobs) -> None:
    rows: list[Verb] = ["retry", "delete", "kill"]
    for verb in rows:
        jobs.client.command("FLUSHALL")
        for n in range(2 * BATCH):
            jobs.put("retry", NOW_S + n, f"j{n}")
        going = perform(jobs.client, SetJobs("retry"), Action(verb, "ann@web1"), jobs.known)
        next(going)
        now_s = time_s(jobs.client)
        jobs.put("retry", NOW_S + 150.5, "j0", retried_at=now_s + 1)
        *_, last = going
        assert (last.done, last.looked_at) == (2 * BATCH, 2 * BATCH)
        assert len(members(jobs.client, "retry")) == 1
        assert fields_of(members(jobs.client, "retry")[0])["jid"] == "j0"


def test_jobs_added_during_the_prompt_are_not_touched(jobs: Jobs) -> None:
    rows: list[tuple[SortedSet, Verb]] = [
        (zset, verb) for zset, verbs in VERBS.items() for verb in verbs if verb != "edit"
    ]
    for zset, verb in rows:
        jobs.client.command("FLUSHALL")
        first, moved = jobs.put(zset, NOW_S + 1, "first"), jobs.put(zset, NOW_S + 2, "moved")
        action = Action(verb, "ann", at_s=NOW_S + 60, queue="other")
        preview = jobs.act(zset, action, ALL, dry_run=True)
        jobs.client.command("ZADD", f"ns:{zset}", 7.5, moved)
        late = jobs.put(zset, NOW_S + 1.5, "late", failed_at=5.5, retried_at=None, enqueued_at=5.5, created_at=5.5)
        last = jobs.act(zset, action, attrs.evolve(ALL, inventory=preview.met))
        assert (last.done, {moved, late} <= set(members(jobs.client, zset))) == (1, True), (zset, verb)
        assert verb == "reschedule" or first not in members(jobs.client, zset)


def test_nothing_is_meant_of_a_set_that_was_empty_at_the_prompt(jobs: Jobs) -> None:
    delete = Action("delete", "ann")
    preview = jobs.act("dead", delete, where("user = *"), dry_run=True)
    jobs.put("dead", NOW_S, "late")
    assert jobs.act("dead", delete, attrs.evolve(ALL, inventory=preview.met)).done == 0


def test_a_job_with_a_failure_in_the_future_is_meant_too(jobs: Jobs) -> None:
    jobs.put("retry", NOW_S, "j0", failed_at=time.time() + 86400)
    assert jobs.act("retry", Action("delete", "ann"), ALL).done == 1


@pytest.mark.parametrize(("zset", "late_s"), [("dead", NOW_S + 9), ("retry", NOW_S + 2), ("schedule", NOW_S + 2)])
def test_only_jobs_that_a_set_had_at_a_moment_are_meant(jobs: Jobs, zset: SortedSet, late_s: float) -> None:
    jobs.put(zset, NOW_S, "first")
    jobs.put(zset, NOW_S + 4, "last")
    moment = moment_of(jobs.client, zset)
    jobs.put(zset, late_s, "late", failed_at=moment.at_s + 1)
    found = jobs.act(zset, Action("delete", "ann"), SetJobs("dead", seen=moment))
    assert (found.done, [fields_of(raw)["jid"] for raw in members(jobs.client, zset)]) == (2, ["late"])


def test_job_without_time_is_not_taken_for_the_shown_one(jobs: Jobs) -> None:
    jobs.put("schedule", NOW_S + 9, "first")
    moment = moment_of(jobs.client, "schedule")
    late = {"class": "Add", "jid": "late", "queue": "rest", "args": ["status", {}, "t"]}
    jobs.client.command("ZADD", "ns:schedule", NOW_S, json.dumps(late))
    found = jobs.act("schedule", Action("delete", "ann"), SetJobs("schedule", seen=moment))
    assert (found.done, list(found.refused.values())) == (1, [1])
    assert [fields_of(raw)["jid"] for raw in members(jobs.client, "schedule")] == ["late"]


def test_an_action_may_be_audited_before_jobs_are_looked_for(jobs: Jobs) -> None:
    steps = perform(jobs.client, SetJobs("dead"), Action("delete", "ann", begins_at_once=True), jobs.known)
    run = next(steps).run
    assert [entry.note.state for entry in audit.of_run(jobs.client, run)] == ["begun"]
    cast("Generator[Progress]", steps).close()
    assert [entry.note.state for entry in audit.of_run(jobs.client, run)] == ["begun", "interrupted"]
    audit.request_stop(jobs.client, run, "bob")
    assert (audit.stopped_by(jobs.client, run), audit.stopped_by(jobs.client, "1-1")) == ("bob", None)


def test_the_last_entry_says_why_jobs_stayed(jobs: Jobs) -> None:
    jobs.put("dead", NOW_S, "j1", restbroker_may_have_run=True, args=["send_message", {}, "t"])
    jobs.put("dead", NOW_S + 1, "j2")
    jobs.act("dead", RETRY, ALL)
    (last,) = audit.entries(jobs.client, 1)
    assert (last.note.state, last.note.done, last.note.refused) == ("ended", 1, 1)
    assert last.note.left.startswith("1: It may have run")


def test_a_rate_is_kept_by_pauses_between_small_batches(jobs: Jobs) -> None:
    for n in range(25):
        jobs.put("dead", NOW_S + n, f"j{n}")
    steps = [*perform(jobs.client, SetJobs("dead", rate_per_s=10.0), RETRY, jobs.known)]
    assert (steps[-1].done, [step.rest_s for step in steps]) == (25, [1.0, 1.0, 0.5, 0.0])


def test_a_job_that_was_not_found_in_time_is_not_called_gone(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "locate", lambda *_: FoundJob(None, complete=False))
    found = jobs.act("dead", RETRY, SetJobs("dead", ("j1",)))
    assert (found.missing, found.done) == ((), 0)
    ((why, count),) = found.refused.items()
    assert (count, "not found within ten seconds" in why) == (1, True)


def test_every_action_leaves_a_trace_that_begins_before_it(jobs: Jobs) -> None:
    for n in range(BATCH + 1):
        jobs.put("dead", NOW_S + n, f"j{n}")
    jobs.put("dead", 1, "secret", error_message="no right-token")
    jobs.act("dead", Action("delete", "ann@web1", why="old"), where("message != no right-token here"))
    notes = list(audit.entries(jobs.client, 10))[::-1]
    assert [written.note.state for written in notes] == ["begun", "going on", "going on", "ended"]
    assert {written.note.run for written in notes[1:]} == {notes[0].name}
    assert [written.note.done for written in notes] == [0, BATCH, BATCH + 2, BATCH + 2]
    assert (notes[1].note.who, notes[1].note.action, notes[1].note.place) == ("ann@web1", "delete", "dead")
    assert len(notes[1].note.jids) == BATCH
    assert notes[0].note.where == "message != no *** here", "the token is not written down"


def test_an_outage_in_the_middle_keeps_what_is_done_and_a_trace(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(2 * BATCH):
        jobs.put("dead", NOW_S + n, f"j{n}")
    going = perform(jobs.client, SetJobs("dead"), RETRY, jobs.known)
    next(going)

    def cut(*_: object) -> None:
        raise StoreUnavailable("Redis is gone.")

    monkeypatch.setattr(sets, "place", cut)
    with pytest.raises(StoreUnavailable):
        next(going)
    assert len(members(jobs.client, "dead")) == BATCH
    assert next(iter(audit.entries(jobs.client, 1))).note.state == "interrupted"


def test_value_no_job_can_hold_is_refused_before_any_change(jobs: Jobs) -> None:
    rows: list[Action] = [Action("move", "ann", queue="a\udcff"), Action("kill", "ann", why="\udcff")]
    for action in rows:
        jobs.client.command("FLUSHALL")
        jobs.put("retry", NOW_S, "j1")
        with pytest.raises(UsageError, match="not UTF-8"):
            list(perform(jobs.client, SetJobs("retry"), action, jobs.known))
        assert list(audit.entries(jobs.client, 10)) == []
        assert sets.size(jobs.client, "retry") == 1


def test_a_job_named_by_its_key_is_audited_with_its_id(jobs: Jobs) -> None:
    for name in ("j1", "j2"):
        jobs.put("dead", NOW_S, name)
    key = find.page(jobs.client, "dead", (), jobs.known).entries[0].key
    nowhere = f"1.0-{'0' * 40}"
    found = jobs.act("dead", Action("delete", "ann"), SetJobs("dead", (key, nowhere)))
    assert (found.done, found.missing) == (1, (nowhere,))
    notes = [written.note for written in audit.entries(jobs.client, 10)]
    (jid,) = {jid for note in notes for jid in note.jids}
    assert jid in ("j1", "j2")
    assert {note.where for note in notes} == {f"{jid} {nowhere}"}


def test_a_queue_that_is_no_list_keeps_its_jobs_where_they_are(jobs: Jobs) -> None:
    jobs.client.command("SET", "ns:queue:rest", "x")
    jobs.put("dead", NOW_S, "j1")
    found = jobs.act("dead", RETRY, ALL)
    assert (found.done, len(members(jobs.client, "dead"))) == (0, 1)
    assert "Redis refused" in next(iter(found.refused))
