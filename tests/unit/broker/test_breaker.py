"""The breaker: an outage is a wait with a probe a second or two, and one line at each end of it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

import attrs
import pytest
import trio
import trio.testing

from restbroker.broker.breaker import Breaker
from restbroker.broker.health import StoreHealth
from restbroker.broker.identity import Identity
from restbroker.broker.prober import Prober, ProbeSharing
from restbroker.job.outcome import Deferred, Delivered, Outcome, Probe, Reason, Rejected, Uncertain
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Event, TargetDown, TargetUp, VersionReported
from restbroker.transport.message import NotSent
from tests.support.places import enter
from tests.support.probing import DENIED, FINE, UNSENT, Target


def no_sharing() -> ProbeSharing:
    """Those with whom a prober shares while Redis is away."""
    health = StoreHealth(lambda _event: None)
    health.is_up = False
    return ProbeSharing(cast("Connection", None), health, "t", Identity("p", health.report))


@asynccontextmanager
async def probed(breaker: Breaker, target: Target) -> AsyncIterator[trio.Nursery]:
    """The target is probed, from when jobs may be sent until the end of the block."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Prober(breaker, target.ask, no_sharing()).run)
        await breaker.wait_to_admit()
        yield nursery
        nursery.cancel_scope.cancel()


def made(events: list[Event]) -> Breaker:
    return Breaker("t", events.append)


def watched() -> tuple[Breaker, list[Event]]:
    events: list[Event] = []
    return made(events), events


def well() -> Breaker:
    breaker = made([])
    breaker.record_probe(FINE)
    return breaker


def kinds(events: Sequence[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


async def test_five_unsent_in_a_row_trip_it_and_a_probe_resets_it(autojump_clock: trio.testing.MockClock) -> None:
    breaker, events = watched()
    target = Target([FINE])
    async with probed(breaker, target):
        for _ in range(5):
            assert breaker.admits
            breaker.observe(UNSENT)
        assert not breaker.admits
        closed_at_s = trio.current_time()
        assert await breaker.wait_to_admit()
        assert 1 <= trio.current_time() - closed_at_s <= 2
    assert kinds(events) == ["VersionReported", "TargetDown", "TargetUp"]
    assert events[0] == VersionReported("t", "24.12", "ejabberd 24.12")


async def test_an_hour_of_outage_costs_a_probe_a_second_and_two_lines(autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.jump(10_000)
    breaker, events = watched()
    target = Target([NotSent("refused")])
    with trio.move_on_after(3600):
        await Prober(breaker, target.ask, no_sharing()).run()
    assert 1800 <= len(target.probed_at_s) <= 3600
    assert kinds(events) == ["TargetDown"]


async def test_advice_of_the_probe_is_reported(autojump_clock: trio.testing.MockClock) -> None:
    for denied in (True, False):
        breaker, events = watched()
        target = Target([Probe(ok=False, denied=denied, version=None, detail="no", hint="mend it"), FINE])
        async with probed(breaker, target):
            pass
        assert [event.hint for event in events if isinstance(event, TargetDown)] == ["mend it"]


async def test_denied_broker_is_reported_once_and_admitted_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    breaker, events = watched()
    target = Target([FINE, DENIED, DENIED, DENIED, FINE])
    async with probed(breaker, target):
        breaker.deny(Reason("TargetDenied", "401"))
        await breaker.wait_to_admit()
    closed = [event for event in events if isinstance(event, TargetDown)]
    assert [event.denied for event in closed] == [True]
    assert isinstance(events[-1], TargetUp)


async def test_abandoned_breaker_stays_tripped_and_spares_its_target(
    autojump_clock: trio.testing.MockClock,
) -> None:
    events: list[Event] = []
    breaker, target = made(events), Target([FINE])
    async with probed(breaker, target):
        breaker.trip_for_good(Reason("Bug", "Its background work failed."))
        await trio.sleep(600)
    breaker.record_probe(FINE)  # of a probe that was under way
    assert (breaker.admits, breaker.reason, len(target.probed_at_s)) == (
        False,
        Reason("Bug", "Its background work failed."),
        1,
    )
    assert kinds(events) == ["VersionReported", "TargetDown"]


async def test_a_stop_ends_the_wait_for_a_tripped_breaker(autojump_clock: trio.testing.MockClock) -> None:
    breaker = made([])
    results: list[bool] = []

    async def waiter() -> None:
        results.append(await breaker.wait_to_admit())

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter)
            await trio.testing.wait_all_tasks_blocked()
            breaker.stop()
    assert results == [False]
    assert not breaker.semaphore.try_enter()


async def test_trip_beside_a_probe_is_probed_a_second_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    breaker = well()
    await trio.sleep(60)
    breaker.trip(Reason("TargetUnreachable", "refused"))
    assert breaker.probe_in_s(0.0) == 1


async def test_answers_that_are_about_jobs_alone_never_trip_it() -> None:
    breaker = made([])
    away = Deferred(Reason("StanzaPutOff", "the addressee is away", status=200), of_job=True)
    for _ in range(100):
        breaker.observe(away, "message")
    assert breaker.rules.permits
    for _ in range(100):
        breaker.observe(attrs.evolve(away, of_job=False), "message")
    assert not breaker.rules.permits


async def test_a_slow_first_job_does_not_hold_the_others_back_for_long(autojump_clock: trio.testing.MockClock) -> None:
    breaker = Breaker("t", lambda _event: None, concurrency=8)
    target = Target([FINE])
    async with probed(breaker, target):
        breaker.trip(Reason("TargetUnreachable", "refused"))
        began_s = trio.current_time()
        with trio.fail_after(60):
            for _ in range(4):
                await enter(breaker.semaphore)
        assert trio.current_time() - began_s <= 7


@pytest.mark.promise("A good citizen", "one command that fails does not stop the others")
async def test_one_sick_command_neither_trips_nor_lowers_the_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    events: list[Event] = []
    breaker = Breaker("t", events.append, concurrency=20)
    target = Target([FINE])

    async def worker(number: int) -> None:
        while True:
            await enter(breaker.semaphore)
            await trio.sleep(0.1 + number / 1000)
            if number % 2:
                breaker.observe(Delivered("0", 0, 200), "well")
            else:
                breaker.observe(Uncertain(Reason("TimedOut", "no answer")), "sick")
            breaker.semaphore.leave()

    async with probed(breaker, target) as nursery:
        for number in range(20):
            nursery.start_soon(worker, number)
        await trio.sleep(60)
        assert breaker.semaphore.limit == 20
        assert kinds(events) == ["VersionReported"], "it never closed"


async def test_time_out_of_an_unwell_target_trips_the_breaker_at_once() -> None:
    breaker = Breaker("t", lambda _event: None)
    breaker.record_probe(FINE)
    breaker.observe(Uncertain(Reason("TimedOut", "no answer")), "c")
    assert breaker.admits
    breaker.observe(Uncertain(Reason("DatabaseAway", "no answer"), pause_target=True), "c")
    assert breaker.reason == Reason("DatabaseAway", "no answer")


async def test_only_refusals_and_time_outs_lower_the_limit() -> None:
    for outcome, lower in (
        (Deferred(Reason("ServerBusy", "503", status=503)), True),
        (Deferred(Reason("ServerBusy", "429", status=429)), True),
        (Uncertain(Reason("TimedOut", "no answer")), True),
        (Deferred(Reason("ServerError", "500", status=500)), False),
        (Rejected(Reason("BadArgument", "400", status=400)), False),
        (UNSENT, False),
    ):
        breaker = Breaker("t", lambda _event: None, concurrency=20)
        breaker.observe(outcome, "c")
        assert (breaker.semaphore.limit < 20) is lower, outcome
        beside = Breaker("t", lambda _event: None, concurrency=20)
        beside.observe(outcome, "c", in_slot=True)
        assert beside.semaphore.limit == 20


async def test_slow_job_delays_no_other_when_the_limit_falls_to_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    breaker = Breaker("t", lambda _event: None, 3)
    busy = Deferred(Reason("Busy", "429", None, 429), counts=False)
    async with probed(breaker, Target([FINE])):
        for _ in range(3):
            await enter(breaker.semaphore)
        breaker.observe(Delivered("0", 0, 200), "quick")
        breaker.semaphore.leave()
        await trio.sleep(0.1)
        breaker.observe(busy, "sick")
        breaker.semaphore.leave()
        assert (breaker.semaphore.limit, breaker.semaphore.capacity) == (1, 0)
        with trio.fail_after(15):
            await enter(breaker.semaphore)


async def test_one_command_s_503s_trip_it_once_and_not_at_each_reset(autojump_clock: trio.testing.MockClock) -> None:
    breaker, events = watched()
    busy = Deferred(Reason("ServerBusy", "503", None, 503), counts=False, pause_target=True)
    async with probed(breaker, Target([FINE])):
        for _ in range(8):
            await breaker.wait_to_admit()
            breaker.observe(busy, "sick")
            await trio.sleep(2)
        assert kinds(events).count("TargetDown") == 1
        breaker.observe(Delivered("0", 0, 200), "sick")
        await trio.sleep(2)
        breaker.observe(busy, "sick")
        assert kinds(events).count("TargetDown") == 2, "it had worked in between"


async def test_jobs_that_failed_before_and_fail_again_do_not_trip_it() -> None:
    for is_retry, counts, closes in ((False, True, True), (True, True, False), (True, False, True)):
        breaker, events = watched()
        breaker.record_probe(FINE)
        boom = Deferred(Reason("ServerError", "500", None, 500), counts=counts)
        for number in range(100):
            breaker.observe(boom, f"command{number % 7}", is_retry=is_retry)
        assert ("TargetDown" in kinds(events)) is closes


def delivered_alone(breaker: Breaker) -> None:
    breaker.observe(Delivered("0", 0, 200), "c")
    breaker.semaphore.leave()


def delivered_together(breaker: Breaker) -> None:
    breaker.record_delivered({"c": 1})


@pytest.mark.parametrize("deliver", [delivered_alone, delivered_together])
async def test_delivery_is_a_sign_that_the_target_is_well(
    autojump_clock: trio.testing.MockClock, deliver: Callable[[Breaker], None]
) -> None:
    busy = Deferred(Reason("ServerBusy", "503", None, 503), counts=False, pause_target=True)
    breaker = Breaker("t", lambda _event: None, concurrency=8)
    breaker.record_probe(FINE)
    for _ in range(2):
        for _ in range(4):
            breaker.observe(UNSENT)
        assert breaker.semaphore.try_enter()
        deliver(breaker)
    assert breaker.admits, "it ended the row of those that were not sent"
    breaker.observe(busy, "other")
    assert breaker.admits, "it has just worked"
    await trio.sleep(1.5)
    lowered = breaker.semaphore.limit
    assert breaker.semaphore.try_enter()
    deliver(breaker)
    assert breaker.semaphore.limit > lowered
    for _ in range(2):
        await trio.sleep(1.5)
        breaker.observe(busy, "c")
        assert breaker.reason is not None, "it trips once more, since it had worked in between"
        breaker.record_probe(FINE)
        assert breaker.semaphore.try_enter()
        deliver(breaker)
    assert breaker.answers == 5


class Line:
    """Jobs that ask the breaker for a place, by name; `began` are those that got one, in that order."""

    def __init__(self, concurrency: int) -> None:
        self.breaker = Breaker("t", lambda _event: None, concurrency)
        self.breaker.record_probe(FINE)
        self.began: list[str] = []

    def job(self, name: str, *, takes: bool = True) -> Callable[[], None]:
        """A job, which gives the place back at once if it is gone meanwhile. Returns its turn."""

        def turn() -> None:
            self.began.append(name if takes else f"not {name}")
            if not takes:
                self.breaker.semaphore.leave()

        if self.breaker.semaphore.try_enter():
            turn()
        else:
            self.breaker.semaphore.line.append(turn)
        return turn

    def ask(self, *names: str) -> None:
        """One after the other; `!name` is gone when its turn comes."""
        for name in names:
            self.job(name.lstrip("!"), takes=name[0] != "!")

    def deliver(self) -> None:
        """One of those in delivery."""
        self.breaker.observe(Delivered("0", 0, 200), "c")
        self.breaker.semaphore.leave()


async def test_places_come_to_jobs_in_the_order_of_requests() -> None:
    line = Line(concurrency=2)
    line.ask("a", "b", "c", "d", "e", "!f", "g", "h", "i")
    assert line.began == ["a", "b"]
    assert len(line.breaker.semaphore.line) == 7
    for _ in range(3):
        line.deliver()
    assert line.began == ["a", "b", "c", "d", "e"]
    for _ in range(2):
        line.deliver()
    assert line.began == ["a", "b", "c", "d", "e", "not f", "g", "h"]
    line.breaker.record_delivered({"c": 2})
    line.job("j")
    assert line.began[8:] == ["i", "j"]
    assert (len(line.breaker.semaphore.line), line.breaker.semaphore.capacity) == (0, 0)


async def test_a_thousand_that_leave_in_their_turn_are_no_recursion() -> None:
    line, left = Line(concurrency=1), list[int]()

    def turn() -> None:
        left.append(len(line.breaker.semaphore.line))
        line.breaker.semaphore.leave()

    line.ask("a")
    for _ in range(1000):
        line.breaker.semaphore.line.append(turn)
    line.deliver()
    assert left == [*range(999, -1, -1)]
    assert line.breaker.semaphore.capacity == 1


@pytest.mark.promise("A good citizen", "after an outage the first job goes alone")
async def test_first_waiter_is_tried_alone_and_others_follow_in_order() -> None:
    """This is after an outage."""
    line, beside = Line(concurrency=4), list[str]()

    def take_slot() -> None:
        beside.append("in a slot")

    breaker = line.breaker
    breaker.trip(Reason("TargetUnreachable", "refused"))
    line.ask("a", "b", "c", "d", "e")
    breaker.semaphore.beside.append(take_slot)
    assert line.began == beside == []
    breaker.record_probe(FINE)
    line.ask("f", "g")
    assert line.began == ["a"], "newcomers do not take the place of the one that is tried"
    assert beside == ["in a slot"], "it needs no place"
    breaker.trip(Reason("TargetUnreachable", "refused"))
    breaker.semaphore.beside.append(take_slot)
    breaker.semaphore.beside.remove(take_slot)
    breaker.semaphore.leave()
    line.ask("h")
    assert line.began == ["a"]
    breaker.record_probe(FINE)
    assert line.began == ["a", "b"]
    for limit, began in ((2, "abcd"), (3, "abcdef"), (4, "abcdefgh")):
        line.deliver()
        assert (breaker.semaphore.limit, line.began) == (limit, list(began))
    assert beside == ["in a slot"]


async def test_abandoned_wait_takes_no_place_and_the_next_gets_it() -> None:
    line = Line(concurrency=1)
    line.ask("a")
    gone = line.job("b")
    line.ask("c")
    line.breaker.semaphore.line.remove(gone)
    assert len(line.breaker.semaphore.line) == 1
    line.deliver()
    assert line.began == ["a", "c"]
    line.deliver()
    assert (len(line.breaker.semaphore.line), line.breaker.semaphore.capacity) == (0, 1)


async def test_once_the_pool_stops_no_one_gets_a_place() -> None:
    line = Line(concurrency=1)
    line.ask("a", "b")
    line.breaker.stop()
    line.breaker.semaphore.leave()
    line.ask("c")
    assert line.began == ["a"]


async def test_denial_in_an_outage_is_reported_and_ends_when_unwell() -> None:
    breaker, events = watched()
    breaker.record_probe(FINE)
    breaker.trip(Reason("TargetUnreachable", "refused"))
    breaker.record_probe(DENIED)
    assert [event.denied for event in events if isinstance(event, TargetDown)] == [False, True]
    breaker.record_probe(Probe(ok=False, denied=False, version=None, detail="500"))
    assert breaker.denied is None


async def test_first_of_many_tripping_commands_may_trip_it_again() -> None:
    busy = Deferred(Reason("ServerBusy", "503", None, 503), counts=False, pause_target=True)
    breaker = well()
    for number in range(32):
        breaker.observe(busy, f"c{number}")
        assert not breaker.admits
        breaker.record_probe(FINE)
    breaker.observe(busy, "c0")
    assert breaker.admits, "it tripped it before, and the probe found the target well"
    breaker.observe(busy, "c32")
    breaker.record_probe(FINE)
    breaker.observe(busy, "c0")
    assert not breaker.admits


@pytest.mark.parametrize("of_job", [Rejected(Reason("No", "")), Deferred(Reason("Later", ""), of_job=True)])
async def test_answer_about_one_job_ends_a_row_of_unsent_jobs(of_job: Outcome) -> None:
    breaker = well()
    for _ in range(2):
        for _ in range(4):
            breaker.observe(UNSENT)
        breaker.observe(of_job)
    assert breaker.admits
    assert breaker.answers == 2


async def test_delivery_in_a_slot_does_not_raise_the_limit_beside_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    breaker = well()
    breaker.observe(Deferred(Reason("ServerBusy", "429", None, 429), counts=False), "c")
    lowered = breaker.semaphore.limit
    for in_slot, raised in ((True, False), (False, True)):
        await trio.sleep(1.5)
        breaker.observe(Delivered("0", 0, 200), "c", in_slot=in_slot)
        assert (breaker.semaphore.limit > lowered) is raised


LOST = Uncertain(Reason("ServerError", "502", None, 502), by_gateway=True)
PAGE_503 = Deferred(Reason("ServerBusy", "503", None, 503), counts=False, ran="unlikely")


async def test_five_gateway_answers_in_a_row_trip_it_at_once() -> None:
    """Two commands by turns excuse each other no more, nor does what was delivered a moment ago."""
    for commands in (("a",), ("a", "b"), ("a", "b", "c", "d", "e")):
        breaker = well()
        breaker.record_delivered({"a": 10_000})
        breaker.record_delivered({"b": 10_000})
        for number in range(4):
            breaker.observe(LOST, commands[number % len(commands)], is_retry=number % 2 == 0)
        assert breaker.admits
        breaker.observe(LOST, commands[4 % len(commands)])
        assert not breaker.admits, commands


async def test_at_most_once_503_counts_as_lost_and_others_end_no_row() -> None:
    breaker = well()
    breaker.record_delivered({"once": 10_000})
    for _ in range(5):
        assert breaker.admits
        breaker.observe(PAGE_503, "other")
        breaker.observe(PAGE_503, "once", once=True)
    assert not breaker.admits


async def test_answer_of_the_target_ends_a_row_of_gateway_answers() -> None:
    own = Deferred(Reason("ServerError", "500", None, 500), ran="maybe")
    for answer in (own, Delivered("0", 0, 200), Rejected(Reason("NotFound", "404", None, 404))):
        breaker = well()
        breaker.record_delivered({"b": 10_000})
        for number in range(40):
            breaker.observe(answer if number % 5 == 4 else LOST, "a" if number % 2 else "b")
        assert breaker.admits, answer


async def test_commands_that_a_gateway_alone_refuses_trip_it_once(autojump_clock: trio.testing.MockClock) -> None:
    """The probe finds the target well: until one of them is delivered, it is they that fail."""
    breaker, events = watched()
    async with probed(breaker, Target([FINE])):
        for number in range(40):
            await breaker.wait_to_admit()
            breaker.observe(LOST, "ab"[number % 2])
            await trio.sleep(1)
        assert kinds(events).count("TargetDown") == 1
        breaker.observe(Delivered("0", 0, 200), "a")
        for number in range(10):
            breaker.observe(LOST, "ab"[number % 2])
        assert not breaker.admits, "only a counts again"
