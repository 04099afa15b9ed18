"""A broker whose configuration is loaded again: a new generation takes over, and the older one finishes what it has."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio

from restbroker.broker import broker, phases
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.settler import Settler
from restbroker.broker.signals import Control
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.job.outcome import Delivered
from restbroker.job.reason import Reason
from restbroker.store import identities, jobs
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.store.jobs import FetchAnswer, FetchRequest
from restbroker.telemetry.events import (
    BrokerStarted,
    BrokerStopped,
    Event,
    JobFinished,
    StoreBack,
    StoreLost,
    TargetDown,
)
from restbroker.transport.message import NotSent, Request, Response
from tests.broker.conftest import Harness, Held, Scripted, ok
from tests.support.redis_server import RedisServer


@attrs.define
class LateFetch:
    """The one fetch of an older generation: Redis has it only when it is cancelled, and before those of the newer."""

    is_sent: trio.Event = attrs.field(factory=trio.Event)
    is_answered: trio.Event = attrs.field(factory=trio.Event)

    def older(self, settings: StoreSettings) -> Connection:
        late = self

        class Older(Connection):
            async def fetch(self, request: FetchRequest) -> FetchAnswer:
                late.is_sent.set()
                with suppress(trio.Cancelled):
                    await trio.sleep_forever()
                # As on a connection: what is on its way is waited for.
                with trio.CancelScope(shield=True):
                    got = await super().fetch(request)
                late.is_answered.set()
                return got

        return Older(open_client(settings))

    def newer(self, settings: StoreSettings) -> Connection:
        late = self

        class Newer(Connection):
            async def fetch(self, request: FetchRequest) -> FetchAnswer:
                await late.is_answered.wait()
                return await super().fetch(request)

        return Newer(open_client(settings))


async def taken_over(harness: Harness, by: Scripted) -> None:
    """Reloads; returns when the new generation serves, with `by` as its target."""
    harness.target = by
    harness.next_plan = harness.plan()
    times = len(harness.of(BrokerStarted)) + 1
    harness.control.reload.set()
    await harness.until(lambda: len(harness.of(BrokerStarted)) == times, "the new generation serves")


@pytest.mark.promise("Security: who can push to the queues", "more than their token allows")
async def test_a_token_that_allows_less_since_a_reload_lets_less_in(harness: Harness) -> None:
    """Though its jobs were let in before, from the same queue."""
    app = Token("app", (Secret("s"),))
    harness.more_tokens = (app,)
    async with harness.broker():
        harness.push(count=3, args=["safe", {}, "s"])
        await harness.until_ended(3)
        harness.more_tokens = (attrs.evolve(app, allow=("once",)),)
        await taken_over(harness, Scripted(ok))
        harness.push(first=3, args=["safe", {}, "s"])
        await harness.until_ended(4)
    assert [event.code for event in harness.of(JobFinished)] == [None, None, None, "CommandNotAllowed"]


async def test_old_generation_finishes_sent_jobs_while_new_one_works(harness: Harness) -> None:
    held = Held()
    old, new = Scripted(held), Scripted(ok)
    harness.target = old
    harness.push("once", count=20)
    async with harness.broker():
        await harness.until(lambda: len(old.calls) == 3, "three are on their way")
        await taken_over(harness, new)
        await harness.until(lambda: len(new.calls) == 17, "the others are the new generation's")
        await harness.until_ended(17)
        assert len(identities.live_identities(harness.client)) == 2
        assert not old.closed
        assert not old.keeps, "its server may take no more connections than the old generation has"
        held.let.set()
        await harness.until(lambda: old.closed, "the old generation ends")
        assert len(identities.live_identities(harness.client)) == 1
    sent = [call.command.arguments["n"] for call in (*old.calls, *new.calls)]
    assert sorted(map(str, sent)) == sorted(map(str, range(20)))
    assert {event.outcome for event in harness.of(JobFinished)} == {"delivered"}
    assert new.closed
    assert harness.client.command("KEYS", "restbroker:i*") == []


async def test_pages_show_new_pools_and_what_old_ones_still_do(harness: Harness) -> None:
    held = Held()
    old, new = Scripted(held), Scripted(ok)
    harness.target = old
    harness.push(count=2)
    status = harness.status
    async with harness.broker():
        await harness.until(lambda: len(old.calls) == 2, "two are on their way")
        assert status.view().finishing == 0
        await taken_over(harness, new)
        await harness.until(lambda: status.view().finishing == 2, "they run under the old configuration")
        assert status.view().unready is None
        assert [running.queue for running in status.running_jobs()] == ["rest", "rest"]
        held.let.set()
        await harness.until(lambda: status.view().finishing == 0, "they are done")
        assert status.view().phase == "serving"


async def test_a_stop_bounds_old_and_new_generations_together(harness: Harness) -> None:
    old, new = Scripted(Held()), Scripted(Held())
    harness.target = old
    harness.shutdown_timeout_s = 0.2
    harness.push("once", count=3)
    async with harness.broker():
        await harness.until(lambda: len(old.calls) == 3, "three are on their way")
        await taken_over(harness, new)
        harness.push("once", count=3, first=3)
        await harness.until(lambda: len(new.calls) == 3, "three more are on their way")
    assert [job["error_class"] for job in harness.members("retry")] == ["CutOff"] * 6
    stopped = harness.of(BrokerStopped)[0]
    assert (stopped.clean, stopped.uncertain, stopped.requeued) == (True, 6, 0)
    assert old.closed
    assert new.closed


async def test_dead_target_hands_its_jobs_to_its_successor(harness: Harness) -> None:
    async def refuse(_request: Request) -> Response:
        old.probe_answer = NotSent("refused")
        raise NotSent("refused")

    old, new = Scripted(refuse), Scripted(ok)
    harness.target = old
    harness.push(count=10)
    async with harness.broker():
        await harness.until(lambda: harness.of(TargetDown), "the breaker trips")
        await taken_over(harness, new)
        await harness.until_ended(10)
        await harness.until(lambda: old.closed, "the old generation ends")
    assert harness.size("retry") == 0
    assert len(new.calls) == 10


async def test_bug_over_a_job_requeued_by_a_reload_costs_it_alone(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    requeue = Settler.requeue

    def failing(settler: Settler, job: JobInProgress) -> None:
        if b"jid-safe-1" in job.raw:
            raise ZeroDivisionError
        requeue(settler, job)

    async def refuse_for_good(_request: Request) -> Response:
        harness.status.pools[0].breaker.trip_for_good(Reason("TargetUnwell", "It is down."))
        raise NotSent("refused")

    monkeypatch.setattr(Settler, "requeue", failing)
    held = Held()
    harness.target, harness.others = Scripted(refuse_for_good), {"u": Scripted(held)}
    harness.push(count=3)
    harness.push("once", into="u")
    async with harness.broker():
        await harness.until(lambda: harness.of(TargetDown) and harness.others["u"].sent, "one target is down, one busy")
        harness.others = {}
        await taken_over(harness, Scripted(ok))
        await harness.until_ended(3)
        held.let.set()
    assert sorted(event.fate for event in harness.of(JobFinished)) == ["ack", "ack", "ack", "dead"]


async def test_a_stop_wins_over_a_reload_that_hangs(harness: Harness) -> None:
    reloads = trio.Event()

    async def hang() -> None:
        reloads.set()
        await trio.sleep_forever()

    control = Control()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(broker.run, harness.plan(), control, hang)
            await harness.until(lambda: harness.of(BrokerStarted), "the broker serves")
            control.reload.set()
            await reloads.wait()
            control.stop.set()
    assert [event.clean for event in harness.of(BrokerStopped)] == [True]


@pytest.mark.promise("At least once, and seldom more", "a reload cuts nothing off")
async def test_replaced_generation_waits_for_redis_with_its_answers(
    make_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    # So short that an ordinary end would have given up long before Redis is back.
    monkeypatch.setattr(phases, "_END_S", 0.05)
    redis = make_redis(appendonly="yes", appendfsync="always")
    held = Held()
    old, new = Scripted(held, judge=lambda *_: Delivered("0", 0, 200)), Scripted(ok)
    harness = Harness(redis, open_client(StoreSettings(redis.url)), old)
    harness.push("once", count=3)
    async with harness.broker():
        await harness.until(lambda: len(old.calls) == 3, "three are on their way")
        await taken_over(harness, new)
        harness.client.close()
        redis.kill()
        held.let.set()
        await harness.until(lambda: harness.of(StoreLost), "Redis is missed")
        # Longer than both bounds of an ordinary end together.
        await trio.sleep(0.5)
        assert not old.closed
        redis.start()
        await harness.until(lambda: harness.of(StoreBack), "Redis is back")
        await harness.until(lambda: old.closed, "the old generation ends")
        assert len(identities.live_identities(harness.client)) == 1
        assert len(harness.of(JobFinished)) == 3
    assert new.calls == []
    assert harness.size("retry") == harness.size("queue:rest") == 0
    harness.client.close()


async def test_job_pushed_after_a_reload_is_run_by_the_new_generation(harness: Harness) -> None:
    old, new, fetch = harness.target, Scripted(ok), LateFetch()

    def report(event: Event) -> None:
        harness.events.append(event)
        if isinstance(event, BrokerStarted):
            harness.push(count=3)

    harness.connect = fetch.older
    async with harness.broker():
        await harness.until(lambda: harness.of(BrokerStarted), "it serves")
        await fetch.is_sent.wait()
        harness.connect, harness.report = fetch.newer, report
        await taken_over(harness, new)
        await harness.until(lambda: harness.client.command("GET", "stat:processed") == b"3", "all are done")
    assert (len(old.calls), len(new.calls)) == (0, 3)


async def test_generation_that_ends_while_registering_leaves_nothing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = jobs.register

    def stop_at_the_second_target(client: Client, identity: str, *args: Any, **more: Any) -> bool:
        done = register(client, identity, *args, **more)
        if identity.endswith(":u"):
            trio.from_thread.run_sync(harness.control.stop.set)
        return done

    monkeypatch.setattr(jobs, "register", stop_at_the_second_target)
    async with harness.broker():
        await harness.until(lambda: harness.of(BrokerStarted), "it serves")
        harness.others = {"u": Scripted(ok)}
        harness.next_plan = harness.plan()
        harness.control.reload.set()
        await harness.control.stop.wait()
    assert harness.of(BrokerStopped)[0].clean
    assert harness.client.command("KEYS", "restbroker:[bi]*") == []


class Failing(Scripted):
    """Its connection works, and its connector's background work, which is begun after that, does not."""

    begun: int = 0

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self.begun += 1
        if self.begun == 2:
            raise ZeroDivisionError
        await super().run(task_status=task_status)


async def test_generation_starting_with_target_down_says_so(harness: Harness) -> None:
    async with harness.broker():
        await harness.until(lambda: harness.of(BrokerStarted), "it serves")
        await taken_over(harness, Failing(ok))
    events = [event for event in harness.events if isinstance(event, BrokerStarted | TargetDown)]
    assert [type(event) for event in events] == [BrokerStarted, TargetDown, BrokerStarted]
    assert [event.down for event in harness.of(BrokerStarted)] == [(), ("t",)]
