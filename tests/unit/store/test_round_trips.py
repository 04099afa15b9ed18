"""Calls of several tasks go to Redis together, and each gets what is its own."""

from collections.abc import Sequence

import attrs
import pytest
import trio
import trio.testing

from restbroker.errors import ConnectionEnded, RestbrokerError, StoreNotNow, StoreRefused, StoreUnavailable
from restbroker.store.client import ScriptCall
from restbroker.store.round_trips import Replies, RoundTrips


@attrs.define(eq=False)
class Wire:
    """Where round trips go: each enters and is answered when a test lets it, with its keys, or the error for one."""

    may_enter: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(0))
    may_answer: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(0))
    sent: list[list[str]] = attrs.field(factory=list)
    refused: dict[str, RestbrokerError] = attrs.field(factory=dict)
    closed: Exception | None = None
    ends: Exception | None = None
    used: int = 0

    async def enter(self) -> None:
        await self.may_enter.acquire()
        if self.closed is not None:
            raise self.closed
        self.used += 1
        assert self.used == 1

    async def send(self, scripts: Sequence[ScriptCall]) -> Replies:
        names = [str(keys[0]) for _, keys, _ in scripts]
        self.sent.append(names)
        with trio.CancelScope(shield=True):
            await self.may_answer.acquire()
        if self.ends is not None:
            raise self.ends
        return [self.refused.get(name, name.encode()) for name in names]

    def leave(self) -> None:
        self.used -= 1


@attrs.define(eq=False)
class Callers:
    """Tasks that run scripts, and what each of them got."""

    trips: RoundTrips
    nursery: trio.Nursery
    got: dict[str, object] = attrs.field(factory=dict)
    scopes: dict[str, trio.CancelScope] = attrs.field(factory=dict)

    async def call(self, *names: str) -> None:
        """Start a task that runs a script for each of these names, and wait until it waits."""
        self.nursery.start_soon(self._run, names)
        await trio.testing.wait_all_tasks_blocked()

    async def _run(self, names: tuple[str, ...]) -> None:
        with trio.CancelScope() as scope:
            self.scopes[names[0]] = scope
            try:
                self.got[names[0]] = await self.trips.run([("fetch", [name], []) for name in names])
            except Exception as error:  # noqa: BLE001 - whatever it got
                self.got[names[0]] = error
        if scope.cancelled_caught:
            self.got[names[0]] = "cancelled"


@pytest.fixture
async def callers(wire: Wire, nursery: trio.Nursery) -> Callers:
    return Callers(RoundTrips(wire.enter, wire.send, wire.leave), nursery)


@pytest.fixture
def wire() -> Wire:
    return Wire()


async def answer(wire: Wire, count: int = 1) -> None:
    """Let so many round trips begin and end."""
    for _ in range(count):
        wire.may_enter.release()
        wire.may_answer.release()
        await trio.testing.wait_all_tasks_blocked()


async def test_waiting_calls_go_together_and_each_gets_its_replies(wire: Wire, callers: Callers) -> None:
    await callers.call("a")
    await answer(wire)
    wire.may_enter.release()
    await callers.call("b")
    for names in (("c", "d"), ("e",), ("f",)):
        await callers.call(*names)
    wire.may_answer.release()
    await trio.testing.wait_all_tasks_blocked()
    await callers.call("g")
    await answer(wire, 2)
    assert wire.sent == [["a"], ["b"], ["c", "d", "e", "f", "g"]]
    assert callers.got == {"a": [b"a"], "b": [b"b"], "c": [b"c", b"d"], "e": [b"e"], "f": [b"f"], "g": [b"g"]}


async def test_no_more_than_32_calls_go_together(wire: Wire, callers: Callers) -> None:
    for number in range(50):
        await callers.call(str(number))
    await answer(wire, 2)
    assert [len(calls) for calls in wire.sent] == [32, 18]
    assert callers.got == {str(number): [str(number).encode()] for number in range(50)}


async def test_refusal_or_deferral_concerns_its_own_caller_alone(wire: Wire, callers: Callers) -> None:
    refused, full = StoreRefused("NOPERM"), StoreNotNow("Redis is full.")
    wire.refused = {"b": refused, "d": full}
    for names in (("a", "b"), ("c", "d"), ("e",)):
        await callers.call(*names)
    await answer(wire)
    assert callers.got == {"a": [b"a", refused], "c": full, "e": [b"e"]}


@pytest.mark.parametrize("is_sent", [False, True])
async def test_outage_reaches_all_waiters_with_an_error_each(wire: Wire, callers: Callers, *, is_sent: bool) -> None:
    error = ConnectionEnded("It ended.", "Try again.")
    wire.closed, wire.ends = (None, error) if is_sent else (error, None)
    for name in ("a", "b", "c"):
        await callers.call(name)
    await answer(wire)
    assert [(type(error), str(error)) for error in callers.got.values()] == [(ConnectionEnded, str(error))] * 3
    assert len({id(error) for error in callers.got.values()}) == 3
    wire.closed = wire.ends = None
    wire.may_answer = trio.Semaphore(0)
    await callers.call("d")
    await answer(wire)
    assert callers.got["d"] == [b"d"]


async def test_waiting_call_can_be_cancelled_and_is_not_sent(wire: Wire, callers: Callers) -> None:
    for name in ("a", "b", "c"):
        await callers.call(name)
    callers.scopes["b"].cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert callers.got == {"b": "cancelled"}
    await answer(wire)
    assert wire.sent == [["a", "c"]]


async def test_sent_call_gets_its_replies_though_it_is_cancelled(wire: Wire, callers: Callers) -> None:
    for name in ("a", "b"):
        await callers.call(name)
    wire.may_enter.release()
    await trio.testing.wait_all_tasks_blocked()
    callers.scopes["a"].cancel()
    callers.scopes["b"].cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert callers.got == {}
    wire.may_answer.release()
    await trio.testing.wait_all_tasks_blocked()
    assert callers.got == {"a": [b"a"], "b": [b"b"]}


async def test_cancelled_first_call_leaves_connecting_to_the_next(wire: Wire, callers: Callers) -> None:
    for name in ("a", "b", "c"):
        await callers.call(name)
    callers.scopes["a"].cancel()
    await answer(wire)
    assert wire.sent == [["b", "c"]]
    assert callers.got == {"a": "cancelled", "b": [b"b"], "c": [b"c"]}


async def test_call_cancelled_in_the_tick_of_its_turn_blocks_no_other(wire: Wire, callers: Callers) -> None:
    await callers.call("a")
    wire.may_enter.release()
    await trio.testing.wait_all_tasks_blocked()
    for name in ("b", "c"):
        await callers.call(name)
    wire.may_answer.release()
    callers.scopes["b"].cancel()
    await trio.testing.wait_all_tasks_blocked()
    await answer(wire)
    assert callers.got == {"a": [b"a"], "b": "cancelled", "c": [b"c"]}


async def test_bug_ends_accompanying_calls_as_perhaps_done(wire: Wire, callers: Callers) -> None:
    wire.ends = bug = ValueError("a secret")
    for name in ("a", "b"):
        await callers.call(name)
    await answer(wire)
    assert callers.got["a"] is bug
    error = callers.got["b"]
    assert isinstance(error, StoreUnavailable)
    assert "secret" not in str(error)
    assert wire.used == 0
