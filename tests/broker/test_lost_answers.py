"""Answers of Redis that never arrive: what was done all the same is found again, and done once."""

import re
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from restbroker.broker import settler
from restbroker.broker.standing import Standing
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store import identities, jobs
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.codes import Code
from restbroker.store.connection import Connection
from restbroker.store.in_progress import read_jobs
from restbroker.store.settling import FinishRequest
from restbroker.telemetry.events import (
    IdentityFenced,
    JobFinished,
    OperatorWarning,
    StoreBack,
    StoreLost,
    TargetDown,
)
from restbroker.transport.message import NotSent
from tests.broker.conftest import FINE, Harness, Held, ok, refuse
from tests.support.redis_server import RedisServer

Both = tuple[list[Code] | StoreRefused, jobs.FetchAnswer | StoreRefused]


class Lossy(Connection):
    """Loses the answers of one function, once for each of `losses`; Redis has done what was asked.

    Settling and taking in one go is both of them.
    """

    losses: list[Callable[..., Any]]

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = await super().call(function, *args, **kwargs)
        self._lose({function: result})
        return result

    async def fetch(self, request: jobs.FetchRequest) -> jobs.FetchAnswer:
        result = await super().fetch(request)
        self._lose({Connection.fetch: result})
        return result

    def send_finish(self, *_args: Any, **_kwargs: Any) -> bool:
        return False  # the acker's task settles, by `finish`

    async def finish(self, request: FinishRequest, now_s: float) -> Any:
        result = await super().finish(request, now_s)
        self._lose({Connection.finish: result[0]})
        return result

    async def finish_and_fetch(self, finished: FinishRequest, now_s: float, wanted: jobs.FetchRequest) -> Both:
        result = await super().finish_and_fetch(finished, now_s, wanted)
        self._lose({Connection.finish_and_fetch: result, Connection.finish: result[0], Connection.fetch: result[1]})
        return result

    def _lose(self, answers: dict[Callable[..., Any], Any]) -> None:
        for call, answer in answers.items():
            if call in self.losses and not (isinstance(answer, jobs.FetchResult) and not answer.jobs):
                self.losses.remove(call)
                raise StoreUnavailable("the answer was lost")


def lose(harness: Harness, *losses: Callable[..., Any]) -> list[Callable[..., Any]]:
    left = list(losses)

    def connect(settings: StoreSettings) -> Connection:
        connection = Lossy(open_client(settings))
        connection.losses = left
        return connection

    harness.connect = connect
    return left


@pytest.mark.promise("No command is lost", "an answer of Redis is lost")
async def test_jobs_of_fetch_with_lost_answer_are_adopted_and_run_once(harness: Harness) -> None:
    left = lose(harness, Connection.fetch, Connection.fetch)
    harness.push(count=30)
    await harness.serve_until(lambda: harness.client.command("GET", "stat:processed") == b"30", "all are settled")
    assert left == []
    assert sorted(call.command.arguments["n"] for call in harness.target.calls) == list(range(30))  # type: ignore[type-var]
    assert len(harness.of(StoreLost)) == len(harness.of(StoreBack)) >= 1


@pytest.mark.promise("No command is lost", "an answer of Redis is lost")
async def test_a_settlement_whose_answer_is_lost_is_not_applied_twice(harness: Harness) -> None:
    left = lose(harness, Connection.finish)
    harness.push(args=["safe", {}, "t", "id-1"])
    async with harness.broker():
        await harness.until(lambda: harness.size("queue:replies"), "the reply is there")
        await harness.until(lambda: harness.client.command("KEYS", "restbroker:ip:*") is not None, "it goes on")
    assert left == []
    assert len(harness.of(JobFinished)) == 1
    assert harness.size("queue:replies") == 1
    assert harness.client.command("GET", "stat:processed") == b"1"
    assert len(harness.target.calls) == 1


async def test_job_of_a_fenced_process_is_reported_by_its_new_owner(harness: Harness) -> None:
    is_cut_off = True

    class CutOff(Connection):
        def send_finish(self, *_args: Any, **_kwargs: Any) -> bool:
            return False

        async def finish(self, request: FinishRequest, now_s: float) -> Any:
            if is_cut_off:
                raise StoreUnavailable("nothing arrives")
            return await super().finish(request, now_s)

        async def finish_and_fetch(self, finished: FinishRequest, now_s: float, wanted: jobs.FetchRequest) -> Both:
            if is_cut_off:
                raise StoreUnavailable("nothing arrives")
            return await super().finish_and_fetch(finished, now_s, wanted)

    harness.connect = lambda settings: CutOff(open_client(settings))
    harness.target.answer = held = Held()
    harness.push()
    async with harness.broker():
        await harness.until(lambda: harness.target.sent, "it is sent")
        held.let.set()
        await harness.until(lambda: harness.of(StoreLost), "it cannot be settled")
        await harness.crash()
        await harness.until(lambda: harness.of(IdentityFenced), "the process knows")
        is_cut_off = False
        await harness.until(lambda: harness.client.command("GET", "stat:processed") == b"1", "the next one settles it")
    assert (len(harness.target.sent), len(harness.of(JobFinished))) == (2, 1)


async def test_lost_answer_of_settle_and_fetch_repeats_neither(
    harness: Harness,
) -> None:
    left = lose(harness, *[Connection.finish_and_fetch] * 3)
    harness.concurrency = 5
    harness.push(count=600)
    async with harness.broker():
        await harness.until(lambda: harness.size("queue:rest") == 0, "all are taken")
        await harness.until(lambda: harness.client.command("GET", "stat:processed") == b"600", "all are settled")
    assert left == []
    assert sorted(call.command.arguments["n"] for call in harness.target.calls) == list(range(600))  # type: ignore[type-var]
    assert len({event.jid for event in harness.of(JobFinished)}) == len(harness.of(JobFinished)) == 600
    assert harness.client.command("KEYS", "restbroker:ip:*") == []


@pytest.mark.parametrize("half", ["finish", "fetch"])
async def test_refused_half_of_settle_and_fetch_is_reported_and_redone(
    harness: Harness, half: str, hurry: MockClock
) -> None:
    refusals = 3

    class Refusing(Connection):
        async def finish_and_fetch(self, finished: FinishRequest, now_s: float, wanted: jobs.FetchRequest) -> Both:
            nonlocal refusals
            if not refusals:
                return await super().finish_and_fetch(finished, now_s, wanted)
            refusals -= 1
            if half == "finish":
                return StoreRefused("no"), await self.fetch(wanted)
            return (await self.finish(finished, now_s))[0], StoreRefused("no")

    harness.connect = lambda settings: Refusing(open_client(settings, harness.patience_s))
    harness.concurrency = 5
    pushed = 0

    def are_reported() -> bool:
        return len(harness.of(JobFinished)) >= pushed

    async with harness.broker():
        # How often both halves go together is a matter of time.
        while refusals:
            harness.push(count=300)
            pushed += 300
            await harness.until(are_reported, "all are reported")
    assert harness.client.command("GET", "stat:processed") == b"%d" % pushed
    assert len(harness.target.calls) == len(harness.of(JobFinished)) == pushed
    assert harness.warnings == (["FetchRefused"] if half == "fetch" else [])


async def test_registration_with_lost_answer_takes_another_identity(harness: Harness) -> None:
    left = lose(harness, jobs.register)
    harness.push()
    await harness.serve()
    assert left == []


@pytest.mark.promise("At least once, and seldom more", "results are kept while Redis is away")
async def test_settlements_forgotten_by_redis_are_rewritten_unrepeated(
    harness: Harness, make_redis: Callable[..., RedisServer], hurry: MockClock
) -> None:
    redis = harness.on(make_redis())
    harness.target.answer = answer = Held()
    async with harness.broker():
        harness.push("once", count=3)
        await harness.until(lambda: len(harness.target.sent) == 3, "three are on their way")
        redis.command("SAVE")
        answer.let.set()
        await harness.until_ended(3)
        redis.kill()
        redis.start()
        await harness.until(lambda: held(harness) == 0, "settled again")
    assert len(harness.target.calls) == 3
    assert harness.client.command("GET", "stat:processed") == b"3"
    assert (harness.size("queue:rest"), harness.size("retry"), harness.size("dead")) == (0, 0, 0)


async def test_settled_jobs_that_reappear_in_queue_count_as_run(
    harness: Harness, make_redis: Callable[..., RedisServer], hurry: MockClock
) -> None:
    redis = harness.on(make_redis())
    async with harness.broker():
        await harness.until(lambda: harness.target.probes, "it serves")
        harness.client.command("SADD", "paused", "rest")
        harness.push("create", count=3)
        redis.command("SAVE")
        harness.client.command("SREM", "paused", "rest")
        await harness.until_ended(3)
        redis.kill()
        harness.client.close()
        redis.start()
        harness.client.command("SREM", "paused", "rest")
        await harness.until_ended(6)
    assert [call.maybe_run for call in harness.target.calls] == [False] * 3 + [True] * 3


async def test_held_job_that_reappears_in_queue_runs_once(
    harness: Harness, make_redis: Callable[..., RedisServer], hurry: MockClock
) -> None:
    redis = harness.on(make_redis())
    harness.target.answer = refuse
    async with harness.broker():
        await harness.until(lambda: harness.target.probes, "it serves")
        harness.client.command("SADD", "paused", "rest")
        harness.push("once", count=3)
        redis.command("SAVE")
        harness.target.probe_answer = NotSent("refused")
        harness.client.command("SREM", "paused", "rest")
        await harness.until(lambda: harness.of(TargetDown), "workers hold them")
        redis.kill()
        harness.client.close()
        redis.start()
        harness.client.command("SREM", "paused", "rest")
        await harness.until(lambda: not harness.status.running_jobs(), "they are let go")
        harness.target.sent.clear()
        harness.target.answer, harness.target.probe_answer = ok, FINE
        await harness.until(lambda: harness.client.command("GET", "stat:processed") == b"3", "all are settled")
    assert len(harness.target.sent) == 3


def held(harness: Harness) -> int:
    """How many jobs Redis lists as in progress; -1 while it cannot be asked. It answers from the snapshot at first."""
    try:
        return sum(
            len(read_jobs(harness.client, identity).jobs) for identity in identities.live_identities(harness.client)
        )
    except StoreUnavailable:
        return -1


async def test_redis_that_only_reads_is_one_outage_and_no_hot_loop(harness: Harness, hurry: MockClock) -> None:
    async with harness.broker():
        await harness.until(lambda: harness.target.probes, "it serves")
        harness.client.command("CONFIG", "SET", "min-replicas-to-write", "1")
        try:
            await harness.until(lambda: harness.of(StoreLost), "the outage is noticed")
            before = commands(harness)
            await trio.sleep(5)
            assert commands(harness) - before < 300
            # An answer that a busy machine delayed is an outage too.
            assert len([event for event in harness.of(StoreLost) if "refuses" in event.message]) == 1
            assert len(harness.of(StoreBack)) < len(harness.of(StoreLost))
        finally:
            harness.client.command("CONFIG", "SET", "min-replicas-to-write", "0")
        harness.push()
        await harness.until_ended()
    assert len(harness.of(StoreBack)) == len(harness.of(StoreLost))


def commands(harness: Harness) -> int:
    """How many commands Redis has processed."""
    info = bytes(harness.client.command("INFO", "stats")).decode()  # type: ignore[arg-type]
    return int(re.search(r"total_commands_processed:(\d+)", info)[1])  # type: ignore[index]


async def test_refused_settlements_stop_intake_and_are_written_later(harness: Harness, hurry: MockClock) -> None:
    harness.client.command("SET", "dead", "a text")
    harness.push(count=300, args=["safe", {}, "wrong"])
    async with harness.broker():
        await harness.until(lambda: harness.of(OperatorWarning), "it is reported")
        await trio.sleep(8)
        assert harness.size("queue:rest") > 150, "no more are taken"
        harness.client.command("DEL", "dead")
        await harness.until(lambda: harness.size("dead") == 300, "all are dead")
    assert [event.code for event in harness.of(OperatorWarning)] == ["StoreRefused"]


async def _stand_not(*_how: object) -> bool:
    await trio.lowlevel.checkpoint()
    return False


async def test_recovered_job_of_lost_fetch_still_counts_as_perhaps_run(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Standing, "begin", _stand_not)
    harness.push("create", count=3)
    harness.crashed(3)
    left = lose(harness, Connection.fetch, Connection.fetch)
    await harness.serve(3)
    assert len(left) < 2, "the answer with these jobs was lost"
    assert [call.maybe_run for call in harness.target.calls] == [True] * 3


async def test_equal_jobs_killed_by_two_processes_at_once_both_die(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = time.time()
    monkeypatch.setattr(settler, "time", SimpleNamespace(time=lambda: now_s))
    for count in (1, 2):
        harness.push(args=["safe", {}, "wrong"])
        await harness.serve_until(lambda: harness.size("dead") == count, "it is dead")  # noqa: B023 - awaited here


async def test_stop_before_recovered_job_is_sent_keeps_its_run_count(harness: Harness) -> None:
    harness.push("create")
    harness.crashed()
    harness.target.connected = trio.sleep_forever
    harness.shutdown_timeout_s = 0.1
    await harness.serve_until(lambda: harness.target.calls, "it waits for a connection")
    (entry,) = harness.entries("queue:rest")
    assert (entry["jid"], entry["restbroker_crashes"]) == ("jid-create-0", 1)
