"""What others may do to our keys while a broker runs: other types, and entries that are no jobs."""

from datetime import UTC, datetime
from typing import Literal

import pytest

from restbroker.job.json_types import Json
from restbroker.store import identities
from tests.support.bench import CONCURRENCY, Bench, job_id, payload
from tests.support.counting_proxy import refusal
from tests.support.redis_line import Line
from tests.support.shared import TOKEN
from tests.support.wait import until

NEIGHBOURS = 16
"""With one more job, fewer than the workers: all are taken at once."""
VICTIM = 1000
MALFORMED = 10_000


def neighbours(first: int, count: int = NEIGHBOURS) -> list[bytes]:
    return [payload(number, "check_account", user="u") for number in range(first, first + count)]


def spoil(bench: Bench, key: str) -> None:
    """Makes a key one of a type that nobody expects there."""
    bench.client.transaction([("DEL", key), ("XADD", key, "*", "not", "ours")])


def victim(bench: Bench, goes_to: str) -> bytes:
    """A job that is settled into one of Sidekiq's sets, once."""
    job = payload(VICTIM, "check_account", user="u")
    match goes_to:
        case "retry":
            bench.proxy.instead[job_id(VICTIM)] = [refusal(500, "internal_error")]
        case "schedule":
            bench.proxy.instead[job_id(VICTIM)] = [refusal(429)]
        case "dead":
            return job.replace(TOKEN.encode(), b"a wrong one")
    return job


@pytest.mark.promise("No command is lost", "a key is of another type")
@pytest.mark.parametrize("key", ["retry", pytest.param("schedule", marks=pytest.mark.nightly)])
@pytest.mark.slow  # a job is tried again after ten seconds
def test_set_of_wrong_type_holds_one_job_up_until_mended(line: Line, key: str) -> None:
    bench = line.bench
    spoil(bench, key)
    broker = bench.start()
    until(lambda: line.ready() == 200, "it is ready")
    bench.push([*neighbours(0), victim(bench, key)])
    until(lambda: list(bench.in_progress().values()) == [[job_id(VICTIM)]], "only the one job is in progress")
    assert bench.done() == {job_id(number) for number in range(NEIGHBOURS)}
    broker.wait_for(rf"WARN.*StoreRefused.*\b{key}\b")
    until(lambda: limited(bench) == "refused", "`stats` says so")
    until(lambda: line.ready() == 503, "/readyz says that no jobs are taken")
    bench.push(neighbours(NEIGHBOURS))
    bench.client.command("DEL", key)
    until(lambda: bench.unfinished() == 0, "it goes on")
    until(lambda: line.ready() == 200, "/readyz says so")
    assert bench.members("dead") == []
    assert bench.done() == {job_id(number) for number in [*range(2 * NEIGHBOURS), VICTIM]}
    assert all(len(sent) == (2 if job == job_id(VICTIM) else 1) for job, sent in bench.proxy.of_jobs().items())
    line.assert_outages(0)


def limited(bench: Bench) -> Json:
    """What holds the one pool back, by the last beat that `stats` shows."""
    (identity,) = identities.live_identities(bench.client)
    known = identities.read(bench.client, identity)
    return None if known is None else known.facts.get("limited")


def today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


DISPLAYED = ["stat:processed", "stat:failed", "stat:processed:DAY", "restbroker:parked"]
"""Nobody's job rests on them."""


@pytest.mark.promise("No command is lost", "a key is of another type")
@pytest.mark.nightly
def test_keys_only_for_display_may_have_any_type(line: Line) -> None:
    bench = line.bench
    for key in DISPLAYED:
        name = key.replace("DAY", today())
        bench.client.command("DEL", name)
        bench.client.command("RPUSH", name, "not ours")
    bench.push([*neighbours(0), victim(bench, "dead")])
    bench.start()
    bench.wait_until_finished()
    assert bench.done() == {job_id(number) for number in range(NEIGHBOURS)}
    assert [job["jid"] for job in bench.members("dead")] == [job_id(VICTIM)]
    assert line.ready() == 200
    line.assert_outages(0)


LOOKED_AT = ["restbroker:pause:ejabberd", "restbroker:inflight:ejabberd", "restbroker:rate:ejabberd", "dead"]


@pytest.mark.promise("No command is lost", "a key is of another type")
@pytest.mark.promise("A good citizen", "/readyz tells of a Redis that refuses every fetch")
@pytest.mark.promise(
    "Security: who can write to Redis beyond the queues", "to break it with other types or entries that are no jobs"
)
@pytest.mark.nightly
def test_key_of_wrong_type_read_by_a_fetch_stops_it_until_mended(line: Line) -> None:
    bench = line.bench
    line.configure(MaxInFlight=CONCURRENCY, RateLimit="1000/s")
    broker = bench.start()
    broker.wait_for(r"target\.found")
    for number, key in enumerate(LOOKED_AT):
        spoil(bench, key)
        bench.push(neighbours(number * NEIGHBOURS))
        broker.wait_for(rf"WARN.*FetchRefused.*WRONGTYPE.*restbroker check.*\b{key}\b")
        until(lambda: limited(bench) == "refused", "`stats` says so")
        until(lambda: line.ready() == 503, "/readyz says that nothing is taken")
        bench.client.command("DEL", key)
        bench.wait_until_finished()
        until(lambda: line.ready() == 200, "/readyz says that jobs are taken")
    assert bench.done() == {job_id(number) for number in range(len(LOOKED_AT) * NEIGHBOURS)}
    assert all(len(sent) == 1 for sent in bench.proxy.of_jobs().values())
    line.assert_outages(0)


@pytest.mark.promise("A good citizen", "entries that are no jobs hold no due job up")
@pytest.mark.promise(
    "Security: who can write to Redis beyond the queues", "to break it with other types or entries that are no jobs"
)
@pytest.mark.nightly
@pytest.mark.parametrize("zset", ["retry", "schedule"])
def test_ten_thousand_entries_that_are_no_jobs_delay_nothing(bench: Bench, zset: Literal["retry", "schedule"]) -> None:
    for start in range(0, MALFORMED, 500):
        members = [part for n in range(start, start + 500) for part in (n, f'{{"no job": {n}')]
        bench.client.command("ZADD", zset, *members)
    good = payload(VICTIM, "check_account", user="u")
    bench.client.command("ZADD", zset, MALFORMED + 1, good)
    broker = bench.start()
    # With one page of them a second it would be 100 s.
    until(lambda: job_id(VICTIM) in bench.done(), "the good one runs")
    assert bench.client.command("ZCARD", "dead") == MALFORMED
    assert bench.client.command("ZCARD", zset) == 0
    assert broker.process.poll() is None
    assert "Traceback" not in broker.output()
