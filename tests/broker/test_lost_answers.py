"""Answers of Redis that never arrive: what was done all the same is found again, and done once."""

from collections.abc import Callable
from typing import Any

from restbroker.errors import StoreUnavailable
from restbroker.store import jobs
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import JobFinished, StoreBack, StoreLost
from tests.broker.conftest import Harness


class Lossy(Connection):
    """Loses the answers of one function, once for each of `losses`; Redis has done what was asked."""

    losses: list[Callable[..., Any]]

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = await super().call(function, *args, **kwargs)
        if function in self.losses and not (isinstance(result, jobs.Fetched) and not result.jobs):
            self.losses.remove(function)
            raise StoreUnavailable("the answer was lost")
        return result


def lose(harness: Harness, *losses: Callable[..., Any]) -> list[Callable[..., Any]]:
    left = list(losses)

    def connect(settings: StoreSettings) -> Connection:
        connection = Lossy(open_client(settings))
        connection.losses = left
        return connection

    harness.connect = connect
    return left


async def test_jobs_of_a_fetch_whose_answer_is_lost_are_adopted_and_delivered_once(harness: Harness) -> None:
    left = lose(harness, jobs.fetch, jobs.fetch)
    harness.push(count=30)
    async with harness.broker():
        await harness.until(lambda: len(harness.of(JobFinished)) == 30, "all are delivered")
    assert left == []
    assert sorted(call.command.arguments["n"] for call in harness.target.calls) == list(range(30))  # type: ignore[type-var]
    assert len(harness.of(StoreLost)) == len(harness.of(StoreBack)) >= 1


async def test_a_settlement_whose_answer_is_lost_is_not_applied_twice(harness: Harness) -> None:
    left = lose(harness, jobs.finish)
    harness.push(args=["safe", {}, "t", "id-1"])
    async with harness.broker():
        await harness.until(lambda: harness.size("queue:replies"), "the reply is there")
        await harness.until(lambda: harness.client.command("KEYS", "restbroker:ip:*") is not None, "it goes on")
    assert left == []
    assert harness.size("queue:replies") == 1
    assert harness.client.command("GET", "stat:processed") == b"1"
    assert len(harness.target.calls) == 1


async def test_a_registration_whose_answer_is_lost_is_made_under_another_identity(harness: Harness) -> None:
    left = lose(harness, jobs.register)
    harness.push()
    async with harness.broker():
        await harness.until(lambda: harness.of(JobFinished), "the job is delivered")
    assert left == []
