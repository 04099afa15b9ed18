"""What a job passes before it is sent: the slot of its command, calls of Redis that many jobs share, and its time.

Its life leads each job through them (`life.py`), and no task waits: a job stands in a list until it is called. A
*gate* is such a list for one call of Redis. Always holds: a job is in a slot, in its waiting room, or in neither, and
both are bounded, so that slow commands do not take all places; a job is a replay only if Redis lists it as done, so
that a recovered, requeued or retried job is none; a share of the rate limit is valid for a quarter of a second only, or
a process that was stalled would start a burst; a job under `AtMostOnce` is sent only once Redis lists it as marked, so
that a crash makes it dead instead of running it again; and what is a duplicate is never marked, since jobs are marked
in a call behind the one that claims.
"""

import heapq
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Generic, TypeVar

import trio

from restbroker.broker.health import StoreHealth, boot_time_s
from restbroker.broker.identity import Identity
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.target_plan import TargetPlan
from restbroker.errors import StoreRefused
from restbroker.job import claim_changes
from restbroker.job.settlement import Fingerprint
from restbroker.light import define, field
from restbroker.store import claims as store_claims
from restbroker.store import jobs
from restbroker.store.claims import ClaimAnswer, ClaimRequest, OtherHolder, UnreadableClaim
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.store.limits import charge

T = TypeVar("T")
A = TypeVar("A")

ASK_AGAIN_S = 1.0
_SHARE_S = 0.25
_ROOM_PER_PLACE = 4
_LEAST_ROOM = 20
"""For a place of a slot so many jobs may wait, and for the slot at least so many."""


@define(eq=False)
class Question(Generic[T, A]):
    """One job's question at a gate. `then` is called with the answer, or with the bug over which there is none."""

    what: T
    then: Callable[[A | Exception], object]

    def withdraw(self) -> None:
        """End a wait. Redis may have been asked; its answer is dropped then."""
        self.then = _drop


@define(eq=False)
class Gate(Generic[T, A]):
    """A list in which jobs wait for an answer of Redis: all that came before a call share it.

    `_call` puts a list of questions, and returns the answer to each.
    """

    _call: Callable[[list[T]], Awaitable[Sequence[A]]]
    _waiting: list[Question[T, A]] = field(factory=list)
    _lot: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    def put(self, what: T, then: Callable[[A | Exception], object]) -> Question[T, A]:
        """Have `then` called with the answer, once, unless it is withdrawn before; it must raise nothing."""
        question: Question[T, A] = Question(what, then)
        self._waiting.append(question)
        self._lot.unpark_all()
        return question

    async def ask(self, what: T) -> A:
        """Return the answer. Safe to cancel: Redis may have been asked then."""
        answers, has_come = list[A | Exception](), trio.Event()

        def then(answer: A | Exception) -> None:
            answers.append(answer)
            has_come.set()

        question = self.put(what, then)
        try:
            await has_come.wait()
        finally:
            question.withdraw()
        (answer,) = answers
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def run(self) -> None:
        """Ask for those that wait, one call after the other, until cancelled."""
        while True:
            while not self._waiting:
                await self._lot.park()
            awaited = [question for question in self._waiting if question.then is not _drop]
            self._waiting = []
            answers: Sequence[A | Exception]
            try:
                answers = await self._call([question.what for question in awaited]) if awaited else []
            except Exception as error:  # noqa: BLE001 - a bug: it costs these jobs alone
                answers = [error] * len(awaited)
            for question, answer in zip(awaited, answers, strict=True):
                question.then(answer)


def _drop(_answer: object) -> None:
    """Take the answer to a question that was withdrawn."""


@define(eq=False)
class RedisGates:
    """The gates of one pool. A job in one waits while Redis is away, and at `claims` and `marks` also while it refuses.

    What each answers: `replays`: for how many seconds a copy of a signed job may be let in, as `claims.stored_for_s`
    says; 0 too if Redis refuses the call. `shares`: the seconds until the job may start by the rate limit; 0: it may,
    and was charged. `claims`: True if the job has its key; else the job that has it; False if this one is not ours any
    more. If the key has another type, the job is sent. `marks`: False if the job of this ticket is not ours any more.
    """

    plan: TargetPlan
    identity: Identity
    store: Connection
    health: StoreHealth
    has_rate: bool = field(init=False)
    """Whether the target has a rate limit."""
    replays: Gate[Fingerprint, float] = field(init=False)
    shares: Gate[JobInProgress, float] = field(init=False)
    claims: Gate[ClaimRequest, bool | OtherHolder] = field(init=False)
    marks: Gate[str, bool] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Find out once what does not change."""
        self.has_rate = bool(self.plan.limits.emission_us)
        self.replays, self.shares = Gate(self._look_up), Gate(self._charge_all)
        self.claims, self.marks = Gate(self._claim), Gate(self._mark)

    async def run(self) -> None:
        """Ask Redis until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.replays.run)
            nursery.start_soon(self.shares.run)
            nursery.start_soon(self.claims.run)
            nursery.start_soon(self.marks.run)

    def is_charged(self, job: JobInProgress) -> bool:
        """Tell whether the rate limit was charged for a start of `job` a moment ago, or there is none."""
        return not self.has_rate or boot_time_s() - job.granted_at_s <= _SHARE_S

    def claim_request(self, job: JobInProgress) -> ClaimRequest | None:
        """Return what `claims` is to be asked for before `job` is sent; None: nothing."""
        # Of a job that is done in part, the rest is sent without.
        if job.claims is None or job.effected:
            return None
        changes = claim_changes.before_sending(job.claims, job.ticket, self.identity.name)
        return ClaimRequest(job.ticket, job.claims.jid, changes) if changes else None

    async def _look_up(self, fingerprints: list[Fingerprint]) -> list[float]:
        try:
            return await self.health.call_until_up(self.store, store_claims.stored_for_s, fingerprints)
        except StoreRefused as error:
            self.identity.warn_once("StoreRefused", error.message, error.hint)
            return [0.0] * len(fingerprints)

    async def _charge_all(self, waiting: list[JobInProgress]) -> list[float]:
        waits_s = [0.0] * len(waiting)

        async def ask(place: int) -> None:
            waits_s[place] = await self._charge(waiting[place])

        async with trio.open_nursery() as nursery:
            for place in range(len(waiting)):
                nursery.start_soon(ask, place)
        return waits_s

    async def _charge(self, job: JobInProgress) -> float:
        try:
            wait_ms = await self.health.call_until_up(self.store, charge, self.plan.target.name, self.plan.limits)
        except StoreRefused as error:
            self.identity.warn_once("ChargeRefused", error.message, error.hint)
            return ASK_AGAIN_S
        if not wait_ms:
            job.grant(boot_time_s())
        return wait_ms / 1000

    # Why: docs/design.md#done-once
    async def _claim(self, requests: list[ClaimRequest]) -> list[bool | OtherHolder]:
        answers = await self._insist("ClaimRefused", store_claims.claim, requests)
        return [self._read_claim(answer) for answer in answers]

    def _read_claim(self, answer: ClaimAnswer) -> bool | OtherHolder:
        if isinstance(answer, OtherHolder):
            return answer
        if isinstance(answer, UnreadableClaim):
            self.identity.warn_once("ClaimRefused", _UNREADABLE, "Find out who writes these keys, and delete them.")
        return answer is not False

    # Why: docs/design.md#marks
    async def _mark(self, tickets: list[str]) -> Sequence[bool]:
        self.identity.has_marked = True
        return await self._insist("MarkRefused", jobs.mark, tickets)

    async def _insist(
        self, refused: str, do: Callable[[Client, str, list[T]], Sequence[A] | jobs.IdentityUnknown], what: list[T]
    ) -> Sequence[A | bool]:
        """Return what `do` answers for our identity, once Redis does not refuse it; False for each if it knows us not.

        `refused`: the code of the warning meanwhile.
        """
        while True:
            try:
                answers = await self.health.call_until_up(self.store, do, self.identity.name, what)
            except StoreRefused as error:
                self.identity.warn_once(refused, error.message, error.hint)
                await trio.sleep(ASK_AGAIN_S)
                continue
            if not isinstance(answers, jobs.IdentityUnknown):
                return answers
            self.identity.fence()
            return [False] * len(what)


@define(eq=False)
class Slot:
    """The jobs of one pattern of commands: `limit` of them may be in delivery at once, and `in_use` are."""

    limit: int
    in_use: int = 0
    waiting: deque[Callable[[], None]] = field(factory=deque)
    """What is to be called for each job that waits, once it has a place."""
    _admitted: deque[Callable[[], None]] = field(factory=deque)
    """What is being called, and what follows it."""

    @property
    def is_full(self) -> bool:
        """Whether no other job may wait for a place."""
        return len(self.waiting) >= max(_LEAST_ROOM, _ROOM_PER_PLACE * self.limit)

    def try_enter(self) -> bool:
        """Give a job a place if there is one; tell whether there was."""
        is_free = self.in_use < self.limit
        self.in_use += is_free
        return is_free

    def leave(self) -> bool:
        """Free a place, and give it to the job that waited longest; return False if there is none.

        If that one leaves at once, the next has its turn behind it, not within: many in a row are no recursion.
        """
        if not self.waiting:
            self.in_use -= 1
            return False
        self._admitted.append(self.waiting.popleft())
        if len(self._admitted) == 1:
            while self._admitted:
                self._admitted[0]()
                self._admitted.popleft()
        return True


@define(eq=False)
class Slots:
    """The slots of one pool. `_limits`: {pattern of commands: jobs at once}; the first pattern that matches counts."""

    _limits: Mapping[str, int]
    _slots: dict[str, Slot] = field(factory=dict)

    def find(self, command: str) -> Slot | None:
        """Return the slot of this command; None if nothing limits it."""
        pattern = next((pattern for pattern in self._limits if fnmatchcase(command, pattern)), None)
        if pattern is None:
            return None
        return self._slots.setdefault(pattern, Slot(self._limits[pattern]))


_UNREADABLE = (
    "A key restbroker:once:… is not a string, so restbroker cannot tell whether another job did the same. "
    "It sent the job."
)


_MANY = 100


@define(eq=False)
class Timer:
    """One moment. `then` is called when it has come, and must raise nothing; None: it was cancelled."""

    then: Callable[[], object] | None

    def drop(self) -> Callable[[], object] | None:
        """Return what it would call, and keep it no longer."""
        then, self.then = self.then, None
        return then


@define(eq=False)
class Timers:
    """The moments to come, on Trio's clock. `_heap`: (time due, order in which they were set, timer)."""

    _heap: list[tuple[float, int, Timer]] = field(factory=list)
    _count: int = 0
    _cancelled: int = 0
    _earlier: trio.Event = field(factory=trio.Event)

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, due_s: float, then: Callable[[], object]) -> Timer:
        """Have `then` called at this time, after all that were set for the same time before."""
        timer = Timer(then)
        self._count += 1
        heapq.heappush(self._heap, (due_s, self._count, timer))
        if self._heap[0][2] is timer:
            self._earlier.set()
        return timer

    def cancel(self, timer: Timer) -> None:
        """Have nothing called; what it would have called is kept by nobody."""
        if timer.drop() is not None:
            self._cancelled += 1
            if self._cancelled > _MANY and self._cancelled > len(self._heap) // 2:
                self._heap = [entry for entry in self._heap if entry[2].then is not None]
                heapq.heapify(self._heap)
                self._cancelled = 0

    async def run(self) -> None:
        """Call what is due, until cancelled."""
        while True:
            self._earlier = trio.Event()
            with trio.move_on_at(self._heap[0][0] if self._heap else math.inf):
                await self._earlier.wait()
            while self._heap and self._heap[0][0] <= trio.current_time():
                then = heapq.heappop(self._heap)[2].drop()
                if then is not None:
                    then()
                else:
                    self._cancelled -= 1
