"""The health of a target: shared by its processes, one of which probes it; what a connector does alone says nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import attrs
import pytest
import trio
from trio.testing import MockClock

from restbroker.broker import prober
from restbroker.job.command import Call
from restbroker.job.outcome import Deferred, Delivered, Outcome, Probe, Reason
from restbroker.servers.contract import Link
from restbroker.store import limits
from restbroker.store.client import StoreSettings, open_client
from restbroker.telemetry.events import JobFinished, TargetDown
from restbroker.transport.message import NotSent, Request, Response
from tests.broker.conftest import Harness, Scripted, refuse


@asynccontextmanager
async def two(one: Harness) -> AsyncIterator[None]:
    """This broker, and another one with the same target, once both asked it."""
    other = Harness(one.redis, open_client(StoreSettings(one.redis.url)), one.target, patience_s=one.patience_s)
    async with one.broker(), other.broker():
        await one.until(lambda: one.target.probes >= 2, "both asked the target")
        yield
    other.client.close()


@attrs.define(eq=False)
class Dead(Scripted):
    """Writes down when it is probed, and is never reached."""

    probe_answer: Probe | NotSent | ZeroDivisionError = attrs.field(factory=lambda: NotSent("refused"))
    probed_at_s: list[float] = attrs.field(factory=list)

    async def probe(self, link: Link) -> Probe:
        self.probed_at_s.append(trio.current_time())
        return await Scripted.probe(self, link)


@pytest.mark.promise("A good citizen", "all processes together probe a dead target so")
async def test_dead_target_of_two_processes_sees_one_probe_at_a_time(
    harness: Harness, hurry: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis keeps a result for as long as it counts, and gives the next turn after that, however busy all are."""
    monkeypatch.setattr(prober, "_COUNTS_S", 1.0 / hurry.rate)
    harness.target = dead = Dead(refuse)
    async with two(harness):
        await harness.until(lambda: len(dead.probed_at_s) >= 8, "six probes after those of the start")
    assert min(after - before for before, after in pairwise(dead.probed_at_s[2:])) >= 0.95


@pytest.mark.promise("A good citizen", "a Retry-After to one process is kept by all")
async def test_retry_after_given_to_one_process_is_kept_by_all(harness: Harness, hurry: MockClock) -> None:
    sent_at_s: list[float] = []
    target = harness.target
    busy = Deferred(Reason("ServerBusy", "429", status=429), 2.0, counts=False, pause_target=True)
    async with two(harness):
        target.before = lambda _call: sent_at_s.append(trio.current_time())
        target.judge = lambda _call, _response: busy
        harness.push()
        await harness.until(lambda: "retry_after" in limits.pauses(harness.client, "t"), "it is written down")
        target.judge = lambda _call, _response: Delivered("0", 0, 200)
        harness.push("create", count=10)
        await harness.until(lambda: len(sent_at_s) >= 11, "all are delivered")
        assert sent_at_s[1] - sent_at_s[0] >= 1.9
        assert limits.pauses(harness.client, "t") == {}


@attrs.define(eq=False)
class HalfOurs(Scripted):
    """Does `create` by itself."""

    async def deliver(self, call: Call, link: Link) -> Outcome:
        if call.command.endpoint == "create":
            return Delivered("done", None, 200, by_us=True)
        return await Scripted.deliver(self, call, link)


async def test_dead_server_is_noticed_while_jobs_without_it_succeed(harness: Harness) -> None:
    async def refuse(_request: Request) -> Response:
        done = len(harness.of(JobFinished))
        harness.push("create", first=done)
        await harness.until(lambda: len(harness.of(JobFinished)) > done, "one succeeds meanwhile")
        raise NotSent("Connection refused")

    harness.target = HalfOurs(refuse)
    harness.push("safe")
    await harness.serve_until(lambda: harness.of(TargetDown) or len(harness.of(JobFinished)) > 5, "the breaker trips")
    assert {event.outcome for event in harness.of(JobFinished)} == {"delivered"}
    assert len(harness.of(JobFinished)) == 5
