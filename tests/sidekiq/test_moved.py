"""Due jobs that the other side moves: Ruby's poller takes ours, restbroker's scheduler takes Ruby's.

Ruby's poller parses and writes each again, with a new `enqueued_at`; restbroker's moves bytes.
"""

import json
import time
from typing import Any, Literal

import pytest

from restbroker.job import rubyjson
from restbroker.job.crashes import Counted, count_crash
from restbroker.job.json_types import Json
from restbroker.job.settlement import OrphanedJob
from restbroker.store import queues
from tests.support.beside_ruby import TOKENS, Beside, ours, rubys
from tests.support.shared import TOKEN
from tests.support.sidekiq_process import SLOW_POLL_S, executions, how_many
from tests.support.wait import until

OURS, RUBYS = "rest", "default"
NOT_SOON = "sidekiq"
"""15 s and more."""
ODD: dict[str, list[Json]] = {
    "floats": [1.0e15, 1e16, 1.5e300, 1e-05, 5e-324, 0.1, 2.0, -0.0, 123456789012345.6],
    "integers": [2**63, -(2**64), 10**40, 0],
    "texts": ["größe", "☃", "😀", "\u2028", "</a>", 'quote " and \\', "\x7f\x85\t", ""],
    "nested empties": [[], {}, [[]], [{}], {"": []}, {"a": {"b": [{}, [], None]}}, [[], [[], [{}]]]],
    "words": [True, False, None],
}


@pytest.fixture(autouse=True)
def _configured(beside: Beside) -> None:
    beside.configure(OURS, Backoff=NOT_SOON)


def make_due(beside: Beside, zset: Literal["retry", "schedule"]) -> None:
    for number, member in enumerate(members(beside, zset)):
        beside.client.command("ZADD", zset, "XX", time.time() - 100 + number, member)


def members(beside: Beside, zset: Literal["retry", "schedule"]) -> list[bytes]:
    return [rubyjson.dumps(fields) for fields in beside.members(zset)]


def let_ruby_move(beside: Beside, zset: Literal["retry", "schedule"], count: int) -> list[bytes]:
    """What is in our queue when a Ruby process moved so many due jobs there and ended; restbroker does not run."""
    ruby = beside.ruby(RUBYS, poll_s=0.1)
    until(lambda: len(beside.queued(OURS)) == count, "Ruby moves what is due")
    assert beside.members(zset) == []
    assert ruby.running.stop() == 0
    return beside.queued(OURS)


def one_of_each() -> dict[str, bytes]:
    """A job for each kind of odd value, as Ruby writes it, and one with all of them as Python does."""
    jobs = {name: ours(name, OURS, 2, odd=list(values)) for name, values in ODD.items()}
    everything = json.loads(ours("as python", OURS, 2, odd=[*ODD.values()]))
    return {**jobs, "as python": json.dumps(everything).encode()}


def wait_until_failed(beside: Beside, count: int) -> dict[str, Any]:
    until(lambda: len(beside.members("retry")) == count, "each failed and waits")
    return {job["jid"]: job for job in beside.members("retry")}


def without(job: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in job.items() if name not in names}


@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "every poller moves everybody's due jobs")
@pytest.mark.parametrize(
    "tokens",
    [pytest.param(TOKENS, id="signed instead"), pytest.param({}, id="with its token", marks=pytest.mark.nightly)],
)
@pytest.mark.slow  # Ruby starts for each step
def test_retry_of_ours_moved_by_ruby_keeps_its_history(beside: Beside, tokens: dict[str, object]) -> None:
    """It keeps its count, its attempts and its first failure."""
    beside.configure(OURS, Backoff=NOT_SOON, **tokens)
    jobs = one_of_each()
    broker = beside.broker()
    beside.push(OURS, *jobs.values())
    first = wait_until_failed(beside, len(jobs))
    assert broker.stop() == 0
    make_due(beside, "retry")
    moved = let_ruby_move(beside, "retry", len(jobs))
    for raw in moved:
        fields = json.loads(raw)
        assert (fields["args"][2] == TOKEN) == (not tokens)
        before = first[fields["jid"]]
        assert raw == rubyjson.dumps({**before, "enqueued_at": fields["enqueued_at"]})
        assert fields["enqueued_at"] > before["failed_at"]

    broker = beside.broker()
    second = wait_until_failed(beside, len(jobs))
    for jid, job in second.items():
        changed = ("enqueued_at", "retried_at", "retry_count", "restbroker_attempts")
        assert without(job, *changed) == without(first[jid], *changed)
        assert (job["retry_count"], len(job["restbroker_attempts"])) == (1, 2)
        assert job["restbroker_attempts"][:1] == first[jid]["restbroker_attempts"]
        assert job["retried_at"] > job["enqueued_at"] > job["failed_at"]
    make_due(beside, "retry")
    beside.wait_until_finished()
    assert beside.server.executions() == dict.fromkeys(jobs, 3)
    assert arguments(beside) == {jid: repr(json.loads(raw)["args"][1]) for jid, raw in jobs.items()}
    assert broker.stop() == 0


def arguments(beside: Beside) -> dict[str, str]:
    """The exact arguments of each job, which must have been the same each time."""
    came = {(arrival.arguments["user"], repr(arrival.arguments)) for arrival in beside.server.http.arrivals}
    assert len(came) == len({user for user, _ in came})
    return dict(came)


@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "every poller moves everybody's due jobs")
@pytest.mark.nightly
@pytest.mark.parametrize("awake", ["restbroker asleep", "restbroker awake"])
def test_scheduled_job_of_ours_arrives_once_by_either_poller(beside: Beside, awake: str) -> None:
    jobs = {name: ours(name, OURS, odd=list(values)) for name, values in ODD.items()}
    if awake == "restbroker awake":
        beside.broker()
        beside.ruby(RUBYS, poll_s=0.1)
    for raw in jobs.values():
        beside.schedule(raw, 1.0)
    if awake == "restbroker asleep":
        for raw in let_ruby_move(beside, "schedule", len(jobs)):
            pushed = json.loads(jobs[json.loads(raw)["jid"]])
            now = json.loads(raw)
            assert raw == rubyjson.dumps(now)
            assert repr(without(now, "enqueued_at")) == repr(without(pushed, "enqueued_at"))
        beside.broker()
    until(lambda: beside.server.executions().total() >= len(jobs), "all arrive")
    beside.wait_until_finished()
    assert beside.server.executions() == dict.fromkeys(jobs, 1)
    assert arguments(beside) == {jid: repr(json.loads(raw)["args"][1]) for jid, raw in jobs.items()}


@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "every poller moves everybody's due jobs")
@pytest.mark.slow  # Ruby starts
def test_job_waiting_after_crashes_keeps_its_count_moved_by_ruby(beside: Beside) -> None:
    """The next crash counts on, wherever Ruby puts the field, and a second one of its name gives no tries."""
    pushed = json.loads(ours("crashed", OURS))
    raw = rubyjson.dumps({name: pushed[name] for name in ("class", "args", "jid")})
    waiting = crash(crash(raw).raw)
    assert (waiting.crashes, waiting.waits_s) == (2, 20.0)
    beside.client.command("ZADD", "schedule", 1, waiting.raw)
    (moved,) = let_ruby_move(beside, "schedule", 1)
    assert moved == rubyjson.dumps(json.loads(moved))
    assert without(json.loads(moved), "enqueued_at", "created_at") == {"retry": True, **json.loads(waiting.raw)}
    again = crash(moved)
    assert (again.crashes, again.raw.count(b"restbroker_crashes")) == (3, 1)
    assert again.raw.startswith(b'{"restbroker_crashes":3,')
    broker = beside.broker()
    beside.wait_until_finished()
    assert beside.server.executions() == {"crashed": 1}
    assert broker.stop() == 0


def crash(raw: bytes) -> Counted:
    return count_crash(OrphanedJob("i", "7:1", OURS, raw), time.time(), in_order=False, unique=7, jitter=1.0)


FOREIGN = [
    rubys("as ruby", RUBYS),
    b'{ "class" : "Errand", "queue": "default", "jid": "spaces", "args": [ {"failures": 0} ] }',
    b'{"queue":"default","args":[{"failures":0,"odd":[1e15,1.0E-5,1.0e+15,-0.0,1.50]}],"jid":"numbers","class":"Errand"}',
    b'{"class":"Errand","queue":"default","jid":"escapes","args":[{"failures":0,"odd":"\\u00e9\\/\\ud83d\\ude00"}]}',
    b'{"class":"Errand","class":"Errand","queue":"default","jid":"twice","args":[{"failures":0}],"jid":"twice"}',
    b'{"class":"Errand","queue":"default","jid":"ms","created_at":1700000000000,"args":[{"failures":0}]}',
    f'{{"class":"Errand","queue":"default","jid":"big","args":[{{"failures":0,"odd":{10**40}}}]}}'.encode(),
]


@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "client middleware runs over our due jobs")
@pytest.mark.nightly
def test_due_job_of_ours_dropped_by_ruby_middleware_is_lost(beside: Beside) -> None:
    fields = json.loads(ours("unwanted", OURS))
    beside.schedule(rubyjson.dumps({**fields, "unwanted": True}), -2)
    beside.schedule(ours("wanted", OURS), -1)
    [queued] = let_ruby_move(beside, "schedule", 1)
    assert json.loads(queued)["jid"] == json.loads(ours("wanted", OURS))["jid"]
    assert beside.members("dead") == []


@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "every poller moves everybody's due jobs")
@pytest.mark.nightly
@pytest.mark.parametrize("zset", ["retry", "schedule"])
def test_due_ruby_jobs_are_moved_unchanged_and_run_by_ruby(beside: Beside, zset: Literal["retry", "schedule"]) -> None:
    for number, raw in enumerate(FOREIGN):
        beside.client.command("ZADD", zset, number + 1, raw)
    beside.broker()
    until(lambda: beside.members(zset) == [], "they are moved")
    assert queues.peek(beside.client, RUBYS, 0, 100) == FOREIGN
    beside.ruby(RUBYS, poll_s=SLOW_POLL_S)
    until(lambda: how_many(beside.witness) == len(FOREIGN), "Ruby executes them")
    assert {job["jid"] for job in executions(beside.witness)} == {json.loads(raw)["jid"] for raw in FOREIGN}
    beside.wait_until_finished()
    assert not beside.server.executions()
