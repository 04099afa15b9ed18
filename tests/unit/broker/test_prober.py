"""The prober: one probe for all processes, and what a process believes of another's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import attrs
import pytest
import trio
import trio.testing

from restbroker.broker.breaker import Breaker
from restbroker.broker.health import StoreHealth
from restbroker.broker.identity import Identity
from restbroker.broker.prober import Prober, ProbeSharing, decode, encode
from restbroker.job.outcome import Deferred, Probe, Reason
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.store.probing import ProbeBusy, ProbeClaim, ProbeGranted, ProbeResult
from restbroker.telemetry.events import Event, StoreLost
from restbroker.transport.message import NotSent
from tests.support.ports import free_port
from tests.support.probing import DENIED, FINE, UNSENT, Target

NEWER = attrs.evolve(FINE, version="25.03")
UNWELL = Probe(ok=False, denied=False, version=None, detail="503")


@attrs.define(eq=False)
class Board:
    """What processes share, without Redis; for one process each `as_seen_by` is a view of it."""

    holder: str | None = None
    held_until_s: float = 0.0
    text: bytes | None = None
    published_at_s: float = 0.0
    counts_until_s: float = 0.0
    pauses: list[tuple[str, float]] = attrs.field(factory=list)
    resumed: list[str] = attrs.field(factory=list)
    left_s: float | None = None
    """For how long a Retry-After pauses all, as Redis has it."""

    def publish(self, text: bytes, counts_s: float) -> None:
        now_s = trio.current_time()
        self.text, self.published_at_s, self.counts_until_s, self.holder = text, now_s, now_s + counts_s, None


class View(ProbeSharing):
    def __init__(self, board: Board, owner: str) -> None:
        self.board, self.name = board, owner

    async def claim(self) -> ProbeClaim:
        board, now_s = self.board, trio.current_time()
        if board.text is not None and now_s < board.counts_until_s:
            return ProbeResult(board.text, round((now_s - board.published_at_s) * 1000))
        if board.holder not in {None, self.name} and now_s < board.held_until_s:
            return ProbeBusy()
        board.holder, board.held_until_s = self.name, now_s + 15
        return ProbeGranted()

    async def publish(self, text: bytes, counts_s: float) -> None:
        if self.board.holder == self.name:
            self.board.publish(text, counts_s)

    async def pause(self, why: str, for_s: float) -> None:
        self.board.pauses.append((why, for_s))

    async def resume(self, why: str) -> None:
        self.board.resumed.append(why)

    async def paused_for_s(self) -> float | None:
        return self.board.left_s


def started(nursery: trio.Nursery, target: Target, others: ProbeSharing) -> Breaker:
    breaker = Breaker("t", lambda _event: None)
    nursery.start_soon(Prober(breaker, target.ask, others).run)
    return breaker


@asynccontextmanager
async def serving(board: Board, target: Target) -> AsyncIterator[Breaker]:
    """One process, from when it may send until the end of the block."""
    async with trio.open_nursery() as nursery:
        breaker = started(nursery, target, View(board, "p"))
        await breaker.wait_to_admit()
        yield breaker
        nursery.cancel_scope.cancel()


async def shut(breaker: Breaker) -> None:
    """Waits until it is open, then closes it as five jobs do that could not be sent."""
    await breaker.wait_to_admit()
    for _ in range(5):
        breaker.observe(UNSENT)
    assert not breaker.admits


async def test_dead_target_sees_a_probe_a_second_for_all_processes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    board, target = Board(), Target([NotSent("refused")])
    began_s = trio.current_time()
    with trio.move_on_after(600):
        async with trio.open_nursery() as nursery:
            for number in range(10):
                started(nursery, target, View(board, f"p{number}"))
    shared = [at_s for at_s in target.probed_at_s if at_s > began_s]
    assert len(target.probed_at_s) - len(shared) == 10, "each asks once by itself when it starts"
    assert 250 <= len(shared) <= 600
    assert min(after - before for before, after in pairwise(shared)) >= 1.0


async def test_all_open_with_one_probe(autojump_clock: trio.testing.MockClock) -> None:
    board, target = Board(), Target()
    async with trio.open_nursery() as nursery:
        breakers = [started(nursery, target, View(board, f"p{number}")) for number in range(5)]
        for breaker in breakers:
            await breaker.wait_to_admit()
        target.probed_at_s.clear()
        for breaker in breakers:
            await shut(breaker)
        closed_at_s = trio.current_time()
        for breaker in breakers:
            await breaker.wait_to_admit()
        assert len(target.probed_at_s) == 1
        assert trio.current_time() - closed_at_s <= 2.5
        nursery.cancel_scope.cancel()


async def test_result_from_before_the_trip_does_not_reset_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    board, target = Board(), Target()
    async with serving(board, target) as breaker:
        await trio.sleep(10)
        board.publish(encode(FINE), 30.0)
        await trio.sleep(0.5)
        await shut(breaker)
        closed_at_s = trio.current_time()
        await breaker.wait_to_admit()
        assert trio.current_time() - closed_at_s >= 29, "only when the older result counts no more"
        assert len(target.probed_at_s) == 2


@pytest.mark.parametrize("result", [NEWER, DENIED])
async def test_foreign_version_and_denial_are_checked_by_oneself(
    autojump_clock: trio.testing.MockClock, result: Probe
) -> None:
    board, target = Board(), Target()
    async with serving(board, target) as breaker:
        target.answers = [NEWER]
        await shut(breaker)
        await trio.sleep(0.5)
        board.publish(encode(result), 30.0)
        await breaker.wait_to_admit()
        assert len(target.probed_at_s) == 2
        assert breaker.server_version == NEWER.version


async def test_denied_process_does_not_trust_an_admitted_one(autojump_clock: trio.testing.MockClock) -> None:
    board, target = Board(), Target()
    async with serving(board, target) as breaker:
        target.answers = [DENIED]
        breaker.deny(Reason("TargetDenied", "401"))
        for _ in range(5):
            board.publish(encode(FINE), 10.0)
            await trio.sleep(10)
        assert not breaker.admits
        assert len(target.probed_at_s) > 5


async def test_a_prober_that_died_does_not_keep_its_turn(autojump_clock: trio.testing.MockClock) -> None:
    board, target = Board(), Target()
    async with serving(board, target) as breaker:
        board.holder, board.held_until_s = "a dead process", trio.current_time() + 15
        await shut(breaker)
        closed_at_s = trio.current_time()
        await breaker.wait_to_admit()
        assert 14 <= trio.current_time() - closed_at_s <= 16


async def test_denial_pauses_the_target_a_minute_until_admitted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    board, target = Board(), Target()
    async with serving(board, target) as breaker:
        target.answers = [DENIED]
        await trio.sleep(10)
        breaker.deny(Reason("TargetDenied", "401"))
        await trio.sleep(300)
        assert set(board.pauses) == {("denied", 15.0)}
        assert 10 <= len(board.pauses) <= 16
        target.answers = [FINE]
        await breaker.wait_to_admit()
        await trio.testing.wait_all_tasks_blocked()
        assert board.resumed == ["denied", "denied"], "at the start, and when it is let in again"


async def test_process_that_was_never_admitted_pauses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    board, target = Board(), Target([DENIED])
    async with trio.open_nursery() as nursery:
        breaker = started(nursery, target, View(board, "p"))
        await trio.sleep(60)
        assert breaker.denied is not None
        assert board.pauses == []
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("found", [FINE, DENIED, UNWELL, Reason("TargetUnreachable", "refused", "Start it.", 7)])
def test_written_result_is_read_back(found: Probe | Reason) -> None:
    assert decode(encode(found)) == found


def test_whatever_a_server_says_fits() -> None:
    found = Probe(ok=False, denied=False, version="\ud800" * 9999, detail="\x00" * 9999, hint="\U0001f4a9" * 9999)
    assert len(encode(found)) <= 4096
    assert isinstance(decode(encode(found)), Probe)


@pytest.mark.parametrize("text", [b"", b"1", b"null", b"{", b"[]", b'{"ok": true}', b'{"code": 1, "colour": 2}'])
def test_result_of_another_version_is_not_misread(text: bytes) -> None:
    assert decode(text) is None


async def test_processes_probe_alone_without_redis_and_report_it_once() -> None:
    events: list[Event] = []
    store = Connection(open_client(StoreSettings(f"redis://127.0.0.1:{free_port()}/0")))
    others = ProbeSharing(store, StoreHealth(events.append), "t", Identity("p", events.append))
    for _ in range(2):
        assert await others.claim() == ProbeGranted()
        await others.publish(encode(FINE), 1.0)
        await others.pause("denied", 1.0)
        await others.resume("denied")
    assert [type(event) for event in events] == [StoreLost]
    await store.aclose()


async def test_a_retry_after_pauses_the_target_for_all(autojump_clock: trio.testing.MockClock) -> None:
    board, target = Board(), Target()
    async with serving(board, target) as breaker:
        breaker.observe(Deferred(Reason("Busy", "429"), retry_after_s=60, counts=False, pause_target=True))
        await breaker.wait_to_admit()
        assert board.pauses == [("retry_after", 60.0)]
        assert set(board.resumed) == {"denied"}, "at the start; what the target asked for is kept"


DAY = Deferred(Reason("Busy", "503"), retry_after_s=86400, counts=False, pause_target=True)


async def test_good_probe_ends_a_days_pause_after_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    board, target = Board(left_s=9.0), Target()
    async with serving(board, target) as breaker:
        began_s = trio.current_time()
        breaker.observe(DAY)
        assert "(Retry-After)" in (breaker.reason or UNSENT.reason).message
        await breaker.wait_to_admit()
        assert 60 <= target.probed_at_s[1] - began_s < 63
        assert board.pauses == [("retry_after", 75.0)]
        assert board.resumed == ["denied", "retry_after"]


async def test_a_pause_lasts_fifteen_minutes_at_most(autojump_clock: trio.testing.MockClock) -> None:
    board, target = Board(left_s=9.0), Target()
    async with serving(board, target) as breaker:
        target.answers = [UNWELL]
        began_s = trio.current_time()
        breaker.observe(DAY)
        await trio.sleep(3600)
        assert board.pauses[0] == ("retry_after", 75.0)
        assert len(board.pauses) == 2, "once for the first minute, once for the rest"
        assert max(for_s for _, for_s in board.pauses) <= 840
        target.answers = [FINE]
        await breaker.wait_to_admit()
        assert trio.current_time() - began_s < 3660


async def test_resuming_the_target_ends_its_pause_at_once(autojump_clock: trio.testing.MockClock) -> None:
    board, target = Board(left_s=9.0), Target()
    async with serving(board, target) as breaker:
        breaker.observe(DAY)
        await trio.sleep(10)
        assert not breaker.admits
        board.left_s = 0.0
        began_s = trio.current_time()
        await breaker.wait_to_admit()
        assert trio.current_time() - began_s <= 4
        assert len(board.pauses) == 1


async def test_a_pause_that_a_dead_process_left_ends_at_a_start(autojump_clock: trio.testing.MockClock) -> None:
    for left_s, ends in ((800.0, True), (60.0, False), (0.0, False)):
        board = Board(left_s=left_s)
        async with serving(board, Target()):
            await trio.sleep(1)
            assert ("retry_after" in board.resumed) is ends, left_s
