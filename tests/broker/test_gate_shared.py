"""Several processes with one target: one of them probes, and what it learns or is told holds for all."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

import attrs
import pytest
import trio

from restbroker.job.command import Call
from restbroker.job.outcome import Deferred, Delivered, Outcome, Probe, Reason
from restbroker.servers.contract import Link
from restbroker.store import limits
from restbroker.store.client import StoreSettings, open_client
from restbroker.transport.errors import NotSent
from restbroker.transport.message import Response
from tests.broker.conftest import FINE, Harness, Scripted, ok, refuse


def busy(retry_after_s: float) -> Callable[[Call, Response], Outcome]:
    """A target that asks to be left alone for a while."""
    reason = Reason("ServerBusy", "429", status=429)
    return lambda _call, _response: Deferred(reason, retry_after_s, counts=False, pause_target=True)


def fine(_call: Call, _response: Response) -> Outcome:
    return Delivered("0", 0, 200)


@attrs.define(eq=False)
class Pair:
    """Two brokers on one Redis; `one` and `two` are harnesses, each with its own target object."""

    one: Harness
    two: Harness

    @property
    def probes(self) -> int:
        return int(self.one.target.probes + self.two.target.probes)

    @property
    def sent(self) -> int:
        return len(self.one.target.calls) + len(self.two.target.calls)

    def answer(self, probe: Probe | NotSent, judge: Callable[[Call, Response], Outcome] = fine) -> None:
        for side in (self.one, self.two):
            side.target.probe_answer, side.target.judge = probe, judge

    def pauses(self) -> dict[str, float | None]:
        return dict(limits.pauses(self.one.client, "t"))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Both, once both were let in."""
        async with AsyncExitStack() as stack:
            for side in (self.one, self.two):
                await stack.enter_async_context(side.broker())
            await self.one.until(lambda: self.probes >= 2, "both asked the target")
            yield


@attrs.define(eq=False)
class Dead(Scripted):
    """Writes down when it is probed, and is never reached."""

    probed_at_s: list[float] = attrs.field(factory=list)

    async def probe(self, _link: Link) -> Probe:
        self.probed_at_s.append(trio.current_time())
        raise NotSent("refused")


@pytest.fixture
def pair(harness: Harness) -> Iterator[Pair]:
    client = open_client(StoreSettings(harness.redis.url))
    yield Pair(harness, Harness(harness.redis, client, Scripted(ok)))
    client.close()
    harness.client.close()


async def test_a_target_that_two_processes_find_dead_sees_one_probe_every_second_or_two(pair: Pair) -> None:
    dead = Dead(refuse)
    pair.one.target = pair.two.target = dead
    async with AsyncExitStack() as stack:
        for side in (pair.one, pair.two):
            await stack.enter_async_context(side.broker())
        await pair.one.until(lambda: len(dead.probed_at_s) >= 5, "three probes after those of the start")
    shared = dead.probed_at_s[2:]
    assert min(after - before for before, after in pairwise(shared)) >= 0.95
    assert shared[-1] - shared[0] <= 2 * 4.0


async def test_a_retry_after_that_one_process_was_given_is_kept_by_the_others_too(pair: Pair) -> None:
    sent_at_s: list[float] = []
    async with pair.running():
        for side in (pair.one, pair.two):
            side.target.before = lambda _call: sent_at_s.append(trio.current_time())
        pair.answer(FINE, busy(2.0))
        pair.one.push()
        await pair.one.until(lambda: "retry_after" in pair.pauses(), "it is written down")
        pair.answer(FINE)
        pair.one.push("create", count=10)
        await pair.one.until(lambda: len(sent_at_s) >= 11, "all are delivered")
        assert sent_at_s[1] - sent_at_s[0] >= 1.9
        assert pair.pauses() == {}
