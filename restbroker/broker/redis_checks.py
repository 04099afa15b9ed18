"""Three calls of Redis before a job is sent: is it a replay, may it start by the rate limit, and mark it as sent soon.

The processor makes the first two, the link the last. Always holds: a job is a replay only if Redis lists it as done, so
that a recovered, requeued or retried job is none; a share is valid for a quarter of a second only, or a process that
was stalled would start a burst; a command under `AtMostOnce` is sent only once Redis lists it as marked, so that a
crash makes it dead instead of running it again. Checks that come while one of their kind is under way share one call.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import attrs
import trio

from restbroker.broker.health import StoreHealth
from restbroker.broker.identity import Identity
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.lease import boot_time_s
from restbroker.broker.target_plan import TargetPlan
from restbroker.errors import StoreRefused
from restbroker.job.settlement import Fingerprint
from restbroker.store import done_jobs, jobs
from restbroker.store.connection import Connection
from restbroker.store.limits import charge

T = TypeVar("T")

ASK_AGAIN_S = 1.0
_SHARE_S = 0.25


@attrs.define(eq=False)
class _Question(Generic[T]):
    what: T
    answer: bool | None = None


@attrs.define(eq=False)
class _SharedCalls(Generic[T]):
    """Questions of one kind. `_call` puts a list of them, and returns the answer to each."""

    _call: Callable[[list[T]], Awaitable[Sequence[bool]]]
    _waiting: list[_Question[T]] = attrs.field(factory=list)
    _lock: trio.Lock = attrs.field(factory=trio.Lock)

    async def ask(self, what: T) -> bool:
        """Return the answer to one question; raise what `_call` raises. Safe to cancel."""
        question = _Question(what)
        self._waiting.append(question)
        try:
            async with self._lock:
                if question.answer is None:
                    await self._ask_all()
        finally:
            if question in self._waiting:
                self._waiting.remove(question)
        return question.answer is True

    async def _ask_all(self) -> None:
        questions = list(self._waiting)
        answers = await self._call([question.what for question in questions])
        for question, answer in zip(questions, answers, strict=True):
            question.answer = answer
        self._waiting = [question for question in self._waiting if question.answer is None]


@attrs.define(eq=False)
class RedisChecks:
    """The checks of one pool. Each method waits while Redis is away, and is safe to cancel."""

    plan: TargetPlan
    identity: Identity
    store: Connection
    health: StoreHealth
    has_rate: bool = attrs.field(init=False)
    """Whether the target has a rate limit."""
    _marks: _SharedCalls[str] = attrs.field(init=False)
    _replays: _SharedCalls[Fingerprint] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Find out once what does not change."""
        self.has_rate = bool(self.plan.limits.emission_us)
        self._marks, self._replays = _SharedCalls(self._mark), _SharedCalls(self._look_up)

    async def is_replay(self, fingerprint: Fingerprint) -> bool:
        """Tell whether Redis lists the signed job of this fingerprint as done; False too if Redis refuses the call."""
        try:
            return await self._replays.ask(fingerprint)
        except StoreRefused as error:
            self.identity.warn_once("StoreRefused", error.message, error.hint)
            return False

    async def share_in_s(self, job: JobInProgress) -> float:
        """Charge the rate limit for a start of `job`; return 0 if it may start, else the seconds until to try again.

        Return 0 at once if its target has no rate limit or the job was charged within a quarter of a second.
        """
        if not self.has_rate or boot_time_s() - job.granted_at_s <= _SHARE_S:
            return 0.0
        try:
            wait_ms = await self.health.call_until_up(self.store, charge, self.plan.target.name, self.plan.limits)
        except StoreRefused as error:
            self.identity.warn_once("ChargeRefused", error.message, error.hint)
            return ASK_AGAIN_S
        if not wait_ms:
            job.grant(boot_time_s())
        return wait_ms / 1000

    async def mark(self, ticket: str) -> bool:
        """Record in Redis that the job of this ticket is about to be sent; return False if it is not ours any more.

        Wait too while Redis refuses the call.
        """
        while True:
            try:
                return await self._marks.ask(ticket)
            except StoreRefused as error:
                self.identity.warn_once("MarkRefused", error.message, error.hint)
                await trio.sleep(ASK_AGAIN_S)

    async def _mark(self, tickets: list[str]) -> list[bool]:
        answer = await self.health.call_until_up(self.store, jobs.mark, self.identity.name, tickets)
        if isinstance(answer, jobs.IdentityUnknown):
            self.identity.fence()
            return [False] * len(tickets)
        return answer

    async def _look_up(self, fingerprints: list[Fingerprint]) -> list[bool]:
        return await self.health.call_until_up(self.store, done_jobs.are_done, fingerprints)
