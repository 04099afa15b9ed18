"""Due entries that restbroker wrote for a queue which this configuration does not serve: they stay, and cost little."""

import itertools
import json
import time
from typing import Any, Literal

import pytest
from trio.testing import MockClock

from restbroker.store import sets
from restbroker.store.client import Client
from restbroker.telemetry.events import JobFinished, OperatorWarning
from tests.broker.conftest import Harness

MANY = 3_000
_FILL = """
for n = 1, ARGV[1] do
  redis.call('ZADD', KEYS[1], n, '{"queue":"theirs","restbroker_attempts":[],"jid":"' .. n .. '"}')
end
"""


def fill(harness: Harness, count: int = MANY, zset: str = "retry") -> None:
    """Entries of nobody here, whose scores are the numbers from 1 on."""
    harness.client.command("EVAL", _FILL, 1, zset, count)


def due(harness: Harness, score: float, zset: str = "retry", **fields: Any) -> bytes:
    payload = json.dumps({"queue": "rest", "args": ["safe", {}, "t"], "restbroker_attempts": [], **fields}).encode()
    harness.client.command("ZADD", zset, score, payload)
    return payload


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sets that were looked at for what is due, one after the other."""
    zsets: list[str] = []
    look, ask = sets.due, sets.with_due

    def asked(client: Client, by_s: float) -> Any:
        zsets.append("a poll")
        return ask(client, by_s)

    def noted(client: Client, zset: Literal["retry", "schedule"], *more: Any) -> sets.Due:
        zsets.append(zset)
        return look(client, zset, *more)

    monkeypatch.setattr(sets, "due", noted)
    monkeypatch.setattr(sets, "with_due", asked)
    return zsets


def polls(looks: list[str]) -> list[int]:
    """How often a set was looked at in each poll but the last, which may go on."""
    ends = [n for n, zset in enumerate(looks) if zset == "a poll"]
    return [end - start - 1 for start, end in itertools.pairwise(ends)]


@pytest.mark.promise("Security: who can push to the queues", "to reach another queue through retry_queue")
async def test_unserved_jobs_stay_and_one_page_is_read_in_a_poll(
    harness: Harness, looks: list[str], hurry: MockClock
) -> None:
    fill(harness)
    due(harness, MANY + 1, jid="behind")
    async with harness.broker():
        await harness.until_ended()
        begun = len(polls(looks))
        await harness.until(lambda: len(polls(looks)) > begun + 3, "it polls on", 60)
        due(harness, MANY + 2, jid="later")
        await harness.until_ended(2)
    assert sum(polls(looks)) >= MANY / 100, "each was looked at once"
    assert max(polls(looks)[begun + 1 :]) <= 2, "one page of what stays, and what is behind it"
    assert (harness.size("retry"), harness.size("queue:theirs")) == (MANY, 0)


async def test_each_queue_of_them_is_named_once_with_their_number(
    harness: Harness, looks: list[str], hurry: MockClock
) -> None:
    fill(harness, 150)
    due(harness, 5, queue="default")
    due(harness, 5, queue="default", jid="second")
    await harness.serve_until(lambda: len(polls(looks)) > 3, "it has polled some times", 60)
    (event,) = harness.of(OperatorWarning)
    assert event.code == "QueueNotServed"
    assert event.message.startswith("152 due jobs that restbroker wrote stay in 'retry'")
    assert event.message.endswith("'theirs' (150), 'default' (2).")


async def test_job_movable_by_another_configuration_is_not_reported(
    harness: Harness, looks: list[str], hurry: MockClock
) -> None:
    due(harness, time.time() - 1, queue="theirs")
    await harness.serve_until(lambda: len(polls(looks)) > 2, "it has polled some times", 60)
    assert (harness.of(OperatorWarning), harness.size("retry")) == ([], 1)


async def test_new_entry_among_unserved_ones_is_found(harness: Harness, looks: list[str], hurry: MockClock) -> None:
    fill(harness, 250)
    async with harness.broker():
        await harness.until(lambda: len(polls(looks)) > 1, "it knows what stays", 60)
        due(harness, 120.5, jid="among")
        await harness.until(lambda: harness.of(JobFinished), "it is delivered", 60)
    assert harness.size("retry") == 250


async def test_all_of_one_moment_are_passed_over_as_well(harness: Harness, looks: list[str], hurry: MockClock) -> None:
    for number in range(250):
        due(harness, 7, queue="theirs", jid=str(number))
    due(harness, 8, jid="behind")
    async with harness.broker():
        await harness.until_ended()
        await harness.until(lambda: len(polls(looks)) > 4, "it polls on", 60)
        harness.client.command("ZREMRANGEBYSCORE", "retry", 7, 7)
        due(harness, 9, jid="later")
        due(harness, 7, jid="again")
        await harness.until(lambda: len(harness.of(JobFinished)) == 3, "whatever comes is delivered", 60)
    assert max(polls(looks)[2:5]) <= 2
