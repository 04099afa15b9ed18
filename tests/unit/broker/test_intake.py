"""The intake of one pool, with a stand-in for Redis: what it asks for and when, and what it makes of the answers."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from restbroker.broker.breaker import Breaker
from restbroker.broker.health import Lease, StoreHealth, boot_time_s
from restbroker.broker.identity import Identity
from restbroker.broker.intake import HELD_BYTES, Intake, look_after
from restbroker.broker.job_in_progress import JobInProgress, RecentlySettled, Reservations
from restbroker.broker.ready_buffer import BatchSize, ReadyBuffer
from restbroker.broker.standing import Take
from restbroker.broker.target_plan import TargetPlan
from restbroker.config.target import Target, Url
from restbroker.errors import ConnectionEnded, StoreRefused, StoreUnavailable
from restbroker.job.order import Order
from restbroker.job.outcome import Probe, Reason
from restbroker.store.in_progress import FetchedJob
from restbroker.store.jobs import (
    FetchAnswer,
    FetchRequest,
    FetchResult,
    IdentityUnknown,
    LimitReached,
    Limits,
    QueueCounts,
    TargetPaused,
    UnknownTickets,
)
from restbroker.telemetry.events import Event, OperatorWarning, StoreBack, StoreLost

NONE: frozenset[str] = frozenset()
NOTHING = FetchResult((), NONE, NONE)
AWAY = StoreUnavailable("Redis is away.")
REFUSED = StoreRefused("NOPERM", None)
DOWN = Reason("TargetUnwell", "It is down.")
RATE, SHARE = Limits(emission_us=1000), Limits(in_flight=10)


def taken(*numbers: int, more: bool = False) -> FetchResult:
    jobs = tuple(FetchedJob(f"{number}:1", number, "rest", b"{}") for number in numbers)
    return FetchResult(jobs, NONE, NONE, more)


@attrs.define(eq=False)
class Standing:
    """Fetches that stand for two seconds, and bring nothing. `asked`: what they would ask for."""

    steps: list[str]
    asked: list[FetchRequest | None] = attrs.field(factory=list)
    over: trio.Event = attrs.field(factory=trio.Event)
    until_s: float = 0.0
    is_awaited: bool = False
    bug: None = None
    make_request: Callable[[], FetchRequest | None] = lambda: None
    take: Take = lambda _fetch, _answer, _at_s: False

    @property
    def is_well(self) -> bool:
        return trio.current_time() < self.until_s

    def serve(self, make_request: Callable[[], FetchRequest | None], take: Take) -> None:
        self.make_request, self.take = make_request, take

    async def begin(self, _queues: object) -> bool:
        self.steps.append("waits")
        self.asked.append(self.make_request())
        await trio.lowlevel.checkpoint()
        self.over, self.until_s = trio.Event(), trio.current_time() + 2
        return True

    def take_early(self) -> None:
        """None came too early."""

    def close(self) -> bool:
        """They took nothing."""
        self.over.set()
        return False


@attrs.define(eq=False)
class Pool:
    """All around an intake. Redis' answers are used up one by one, then its queues are empty; each takes a second.

    `steps`: what the intake did, in order: it "asks", "compares" what Redis lists, or "waits" while fetches stand.
    """

    limits: Limits = attrs.field(factory=Limits)
    answers: list[FetchAnswer | Exception] = attrs.field(factory=list)
    listed: list[Exception] = attrs.field(factory=list)
    before: Callable[[], None] = lambda: None
    """What happens while a fetch waits for its turn."""
    is_busy: bool = False
    is_taking_next: bool = False
    refused: list[JobInProgress] = attrs.field(factory=list)
    recently_settled: RecentlySettled = attrs.field(factory=RecentlySettled)
    counts: dict[str, int] = attrs.field(factory=dict)
    turns: int = 0
    """How often it was a fetch's turn, made or given up."""
    steps: list[str] = attrs.field(factory=list)
    requests: list[FetchRequest] = attrs.field(factory=list)
    requested_at_s: list[float] = attrs.field(factory=list)
    events: list[Event] = attrs.field(factory=list)
    quiet: trio.Event = attrs.field(factory=trio.Event)
    successor: trio.Event = attrs.field(factory=trio.Event)
    reservations: Reservations = attrs.field(factory=Reservations)
    ready: ReadyBuffer = attrs.field(factory=lambda: ReadyBuffer(3, BatchSize()))
    order: Order | None = None
    standing: Standing = attrs.field(init=False)
    health: StoreHealth = attrs.field(init=False)
    identity: Identity = attrs.field(init=False)
    breaker: Breaker = attrs.field(init=False)
    intake: Intake = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.standing = Standing(self.steps)
        self.health = StoreHealth(self.events.append)
        self.identity = Identity("me", self.events.append)
        self.breaker = Breaker("t", self.events.append, demand=self.ready.demand)
        self.breaker.record_probe(Probe(ok=True, denied=False, version=None, detail="fine"))
        self.events.clear()
        lease = Lease()
        lease.confirm(boot_time_s())
        unused, here = cast("Any", None), cast("Any", self)
        target = Target("t", "scripted", Url("http", "127.0.0.1", 1), ("rest", "slow"), order_by=self.order)
        self.intake = Intake(
            plan=TargetPlan(target, unused, unused, unused, unused, self.limits),
            identity=self.identity,
            store=unused,
            health=self.health,
            lease=lease,
            quiet=self.quiet,
            breaker=self.breaker,
            reservations=self.reservations,
            ready=self.ready,
            acker=here,
            standing=cast("Any", self.standing),
            reconcile=self.reconcile,
        )

    async def settle_and_fetch(
        self, make_request: Callable[[], FetchRequest | None]
    ) -> tuple[FetchRequest, FetchAnswer] | None:
        self.turns += 1
        await trio.sleep(0.01)
        self.before()
        request = make_request()
        if request is None:
            return None
        self.steps.append("asks")
        self.requests.append(request)
        self.requested_at_s.append(trio.current_time())
        await trio.sleep(1)
        answer = self.answers.pop(0) if self.answers else NOTHING
        if isinstance(answer, Exception):
            raise answer
        return request, attrs.evolve(answer, base=request.base) if isinstance(answer, FetchResult) else answer

    def serve(self, places: int) -> None:
        """The number of free places; a job that takes one keeps it."""
        self.ready.places = places
        self.ready.serve(lambda _job: None)

    async def reconcile(self) -> list[JobInProgress]:
        self.steps.append("compares")
        await trio.sleep(0.01)
        if self.listed:
            raise self.listed.pop(0)
        return []

    def hold(self, *numbers: int, granted: bool = True) -> None:
        """These jobs are reserved here and wait for a worker."""
        jobs = [JobInProgress(f"{number}:1", number, "rest", b"{}") for number in numbers]
        self.reservations.add(jobs)
        self.ready.send_nowait(jobs)
        if granted:
            self.ready.allow(numbers[-1])

    async def run(self, for_s: float = 5.0, after_s: float = 0.0) -> bool:
        """Let the intake run; return whether it ended by itself."""
        await trio.sleep(after_s)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look_after, [self.intake])
            with trio.move_on_after(for_s) as scope:
                await self.intake.run()
            nursery.cancel_scope.cancel()
        return not scope.cancelled_caught

    def outages(self) -> list[type]:
        return [type(event) for event in self.events if isinstance(event, StoreLost | StoreBack)]

    def hindrance(self) -> str | None:
        return self.intake.limited

    def warned(self) -> list[str]:
        return [event.code for event in self.events if isinstance(event, OperatorWarning)]


async def test_nothing_is_asked_before_the_first_heartbeat_confirmed(autojump_clock: MockClock) -> None:
    pool = Pool()
    pool.intake.lease = Lease()
    await pool.run()
    assert pool.steps == []


async def test_outage_met_by_a_fetch_is_reported_and_ended_by_the_next(autojump_clock: MockClock) -> None:
    pool = Pool(answers=[NOTHING, AWAY])
    await trio.sleep(1)
    pool.health.record_outage(AWAY)
    await pool.run(20)
    assert pool.outages() == [StoreLost, StoreBack] * 2


async def test_outage_beginning_during_a_comparison_is_reported(autojump_clock: MockClock) -> None:
    pool = Pool(listed=[AWAY])
    await trio.sleep(1)
    pool.health.record_outage(AWAY)
    pool.health.record_write()
    await pool.run(after_s=1)
    assert pool.outages() == [StoreLost, StoreBack] * 2


@pytest.mark.parametrize("known", [False, True])
async def test_lost_answer_compares_jobs_once_before_taking_more(autojump_clock: MockClock, known: bool) -> None:
    pool = Pool(answers=[AWAY, NOTHING])
    if known:
        pool.health.record_outage(AWAY)
    await pool.run()
    assert pool.steps[:5] == [*["compares"] * known, "asks", "compares", "asks", "waits", "asks"][:5]


async def test_outage_met_by_others_compares_jobs_before_taking_more(
    autojump_clock: MockClock,
) -> None:
    pool = Pool()

    def meet() -> None:
        if not pool.health.outages:
            pool.health.record_outage(ConnectionEnded("It was idle."))

    pool.before = meet
    await pool.run()
    assert pool.steps[:2] == ["compares", "asks"]


async def test_tickets_that_redis_issued_unheard_have_jobs_compared(autojump_clock: MockClock) -> None:
    pool = Pool(answers=[UnknownTickets(1)])
    await pool.run()
    assert pool.steps[:3] == ["asks", "compares", "asks"]


STOOD = FetchRequest("me", "t", ("rest", "slow"), 0, 5, 5, follows=True)


async def test_lost_answer_of_a_standing_fetch_has_jobs_compared(autojump_clock: MockClock) -> None:
    pool = Pool()
    pool.serve(3)
    assert pool.standing.make_request() is not None
    assert not pool.standing.take(STOOD, None, 0.0)
    assert pool.standing.make_request() is None
    await pool.run()
    assert pool.steps[:2] == ["compares", "asks"]


@pytest.mark.parametrize(
    "answer", [TargetPaused(500), attrs.evolve(NOTHING, base=0, counts=(QueueCounts("rest", 0, 0),))]
)
async def test_standing_answer_is_dealt_with_before_more_is_taken(
    autojump_clock: MockClock, answer: FetchAnswer
) -> None:
    pool = Pool()
    pool.serve(3)
    assert pool.standing.make_request() is not None
    assert not pool.standing.take(STOOD, answer, 0.0)
    assert pool.standing.make_request() is None
    await pool.run(0.4)
    assert pool.steps == ([] if isinstance(answer, TargetPaused) else ["waits"])
    await pool.run(5)
    assert "asks" in pool.steps
    assert pool.standing.make_request() is not None


async def test_while_redis_refuses_to_settle_nothing_is_taken(autojump_clock: MockClock) -> None:
    pool = Pool(refused=[JobInProgress("1:1", 1, "rest", b"{}")])
    await pool.run()
    assert pool.steps == []
    pool.refused.clear()
    await pool.run()
    assert pool.steps[0] == "asks"


@pytest.mark.parametrize("how", ["down", "quiet", "full", "stopping"])
async def test_changes_while_a_fetch_waits_for_its_turn_stop_it(autojump_clock: MockClock, how: str) -> None:
    pool = Pool()

    def happen() -> None:
        if how == "down":
            pool.breaker.trip(DOWN)
        elif how == "quiet":
            pool.quiet.set()
        elif how == "stopping":
            pool.ready.close()
        else:
            pool.reservations.memory_bytes = HELD_BYTES

    pool.before = happen
    await pool.run()
    assert pool.requests == []


@pytest.mark.parametrize("answer", [NOTHING, TargetPaused(10), LimitReached("dead", 10)])
async def test_redis_learns_which_waiting_jobs_may_start(autojump_clock: MockClock, answer: FetchAnswer) -> None:
    """It learns so even when no more may be taken."""
    pool = Pool(limits=Limits(in_flight=1), answers=[answer])
    pool.hold(1, granted=False)
    pool.serve(1)
    await pool.run()
    assert [(request.count, request.hwm >= 1) for request in pool.requests] == [(0, True)]
    assert pool.steps == ["asks"], "no queue is waited for: nothing was asked of it"


async def test_only_a_fetch_that_asks_for_jobs_reports_old_keys(autojump_clock: MockClock) -> None:
    """One that asks for none looks at no key. The jobs that came before may be of keys of another `OrderBy`."""
    pool = Pool(limits=Limits(in_flight=1))
    pool.hold(1, granted=False)
    pool.serve(1)
    await pool.run()
    assert ([request.count for request in pool.requests], pool.reservations.has_old_keys) == ([0], True)
    pool.reservations.release("1:1")
    pool.ready.release()
    await pool.run()
    assert (pool.requests[-1].count, pool.reservations.old_keys_until) == (1, 1)


async def test_a_pause_is_waited_for_but_no_longer_than_a_second(autojump_clock: MockClock) -> None:
    pool = Pool(answers=[TargetPaused(500), TargetPaused(60_000), NOTHING])
    await pool.run()
    first_s, second_s, third_s = pool.requested_at_s[:3]
    assert (second_s - first_s, third_s - second_s) == pytest.approx((1.5, 2.0), abs=0.1)
    assert pool.warned() == []


async def test_target_that_is_down_hinders_a_pool_and_no_limit_does(autojump_clock: MockClock) -> None:
    pool = Pool(answers=[LimitReached("rate", 1000)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run)
        await trio.sleep(1.5)
        assert pool.hindrance() == "rate"
        pool.breaker.trip(DOWN)
        await trio.sleep(1)
        assert pool.hindrance() is None
    assert pool.steps == ["asks"]


async def test_dead_target_has_jobs_compared_only_after_an_outage(autojump_clock: MockClock) -> None:
    pool = Pool()
    pool.breaker.trip(DOWN)
    await pool.run()
    assert pool.steps == []
    pool.health.record_outage(AWAY)
    await pool.run()
    assert pool.steps == ["compares"]


async def test_pool_unknown_to_redis_is_fenced_and_asks_nothing_more(autojump_clock: MockClock) -> None:
    pool = Pool(answers=[IdentityUnknown()])
    await pool.run()
    assert pool.identity.fenced.is_set()
    assert pool.steps == ["asks"]


@pytest.mark.parametrize("how", ["stopped", "stopped while down"])
async def test_intake_ends_with_its_pool(autojump_clock: MockClock, how: str) -> None:
    pool = Pool(answers=[taken(1)])
    if how == "stopped while down":
        pool.breaker.trip(DOWN)
    pool.breaker.stop()
    assert await pool.run()
    assert pool.requests == []


async def test_quiet_process_compares_jobs_and_releases_waiting_ones(
    autojump_clock: MockClock,
) -> None:
    """It tells Redis which may start."""
    pool = Pool()
    pool.quiet.set()
    assert not await pool.run()
    assert pool.steps == []
    pool.health.record_outage(ConnectionEnded("It was idle."))
    await pool.run()
    assert pool.steps == ["compares"]
    pool.hold(1, granted=False)
    pool.serve(1)
    await pool.run()
    assert [(request.count, request.hwm >= 1) for request in pool.requests] == [(0, True)]


async def test_refusal_hinders_the_pool_and_is_retried_a_second_later(autojump_clock: MockClock) -> None:
    pool = Pool(answers=[REFUSED] * 6)
    await pool.run(1.5)
    assert (pool.hindrance(), pool.warned()) == ("refused", ["FetchRefused"])
    await pool.run(10)
    assert len(pool.requests) == 1 + 5


async def test_while_enough_jobs_are_ready_the_intake_waits_for_demand(autojump_clock: MockClock) -> None:
    pool = Pool()
    pool.hold(*range(1, 5))
    await pool.run()
    assert pool.turns == 0
    pool.serve(2)
    await pool.run()
    assert pool.requests[0].count == 2


@pytest.mark.parametrize(("limits", "counts"), [(Limits(), [4]), (RATE, []), (SHARE, [])])
async def test_full_pool_takes_jobs_only_where_no_limit_is_shared(
    autojump_clock: MockClock, limits: Limits, counts: list[int]
) -> None:
    pool = Pool(limits=limits)
    await pool.run(1.5)
    assert [request.count for request in pool.requests] == counts


@pytest.mark.parametrize(("limits", "count"), [(Limits(), 4), (RATE, 2), (Limits(in_flight=1), 1)])
async def test_each_of_two_standing_fetches_asks_for_half(
    autojump_clock: MockClock, limits: Limits, count: int
) -> None:
    """Of the free places, and of what is kept ready where no limit is shared."""
    pool = Pool(limits=limits)
    pool.serve(3)
    await pool.run(1.5)
    assert [(request.count, request.follows) for request in pool.standing.asked if request] == [(count, True)]


@pytest.mark.parametrize("at_s", [0.5, 1.5])
async def test_key_that_came_free_is_asked_for_at_once(autojump_clock: MockClock, at_s: float) -> None:
    """During a fetch, and while others stand: these run only when a queue has a job."""
    pool = Pool(order=Order())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run, 2.8)
        await trio.sleep(at_s)
        pool.successor.set()
    assert pool.steps[:4] == ["asks", "waits", "asks", "waits"]


async def test_fetch_asks_for_no_more_than_a_limit_leaves(autojump_clock: MockClock) -> None:
    pool = Pool(limits=Limits(in_flight=2))
    pool.reservations.add([JobInProgress("1:1", 1, "rest", b"{}")])
    pool.serve(3)
    await pool.run(1.5)
    assert [request.count for request in pool.requests] == [1]


async def test_jobs_waiting_for_room_at_the_target_replace_others(
    autojump_clock: MockClock,
) -> None:
    pool, turns = Pool(), [lambda: None for _ in range(2)]
    for turn in turns:
        pool.breaker.semaphore.line.append(turn)
    await pool.run(1.5)
    for turn in turns:
        pool.breaker.semaphore.line.remove(turn)
    await pool.run(1.5)
    assert [request.count for request in pool.requests] == [2, 4]


@pytest.mark.parametrize(
    ("numbers", "granted", "is_busy", "waits"),
    [((1, 2, 3), False, True, True), ((1, 2), False, True, False), ((1, 2), True, True, False)],
)
async def test_jobs_the_next_settlement_starts_need_no_fetch(
    autojump_clock: MockClock,
    numbers: tuple[int, ...],
    granted: bool,
    is_busy: bool,
    waits: bool,
) -> None:
    pool = Pool(is_busy=is_busy)
    pool.hold(*numbers, granted=granted)
    pool.serve(1)
    await pool.run(1.5)
    assert (pool.requests == []) == waits
    pool.is_busy = False
    await pool.run(1.5)
    assert pool.requests


async def test_no_fetch_is_made_beside_a_settlement_that_brings_jobs(autojump_clock: MockClock) -> None:
    pool = Pool(is_taking_next=True)
    pool.serve(1)
    await pool.run(1.5)
    assert not pool.requests
    pool.is_taking_next = False
    await pool.run(1.5)
    assert pool.requests


MANY = Limits(in_flight=2)


@pytest.mark.parametrize(
    ("limits", "answer", "then"),
    [
        (Limits(), NOTHING, ["waits"]),
        (MANY, NOTHING, ["waits"]),
        (Limits(), taken(1), ["waits"]),
        (MANY, taken(1), ["asks"]),
        (Limits(), taken(1, more=True), ["asks"]),
        (Limits(), taken(1, 2, 3, 4, 5, 6, 7), []),
    ],
)
async def test_fetch_that_emptied_the_queues_is_followed_by_a_wait(
    autojump_clock: MockClock, limits: Limits, answer: FetchResult, then: list[str]
) -> None:
    pool = Pool(limits=limits, answers=[answer])
    pool.ready.allow(100)
    pool.serve(3)
    await pool.run(3)
    assert pool.steps[1:2] == then


async def test_jobs_not_startable_yet_are_asked_for_without_a_wait(autojump_clock: MockClock) -> None:
    pool = Pool(answers=[taken(1)])
    pool.serve(1)
    pool.ready.places = pool.ready.demand.places = 0
    await pool.run(3)
    assert pool.steps[:2] == ["asks", "asks"]


async def test_a_job_pays_for_its_start_when_it_is_taken(autojump_clock: MockClock) -> None:
    pool = Pool(limits=RATE, answers=[taken(1)])
    pool.serve(1)
    await pool.run(1.5)
    (job,) = pool.reservations.jobs.values()
    assert 0 <= boot_time_s() - job.granted_at_s < 60


async def test_unreadable_queue_is_reported_and_hinders_no_other(autojump_clock: MockClock) -> None:
    pool = Pool(answers=[FetchResult((), NONE, frozenset({"slow"}))])
    await pool.run(1.5)
    assert (pool.hindrance(), pool.warned()) == (None, ["BadQueue"])


async def test_absent_redis_is_asked_ever_less_and_soon_when_back(
    autojump_clock: MockClock,
) -> None:
    pool = Pool(answers=[*[AWAY] * 8, NOTHING, AWAY])
    await pool.run(40)
    # From one question to the next: its second, the comparison, and the wait.
    waits_s = [round(after_s - before_s - 1.02, 2) for before_s, after_s in pairwise(pool.requested_at_s)]
    assert waits_s[:7] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    assert waits_s[9] == pytest.approx(0.05)
