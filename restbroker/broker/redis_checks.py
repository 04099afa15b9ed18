"""What Redis is asked before a job is sent: whether it was done before, for its share of the rate limit, for its mark.

The processor asks the first two, the link the last. Always holds: only what Redis says was done is a replay, so that a
job that was recovered, requeued or retried is none; a share counts for a quarter of a second only, or a process that
was stalled would start a burst; nothing is sent under `AtMostOnce` that Redis does not list as marked, so that a crash
makes it dead instead of running it again. Questions that come while one of their kind is under way share the next call.
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
        """Tell whether the signed job of this fingerprint was done; False also if Redis refuses to say."""
        try:
            return await self._replays.ask(fingerprint)
        except StoreRefused as error:
            self.identity.warn_once("StoreRefused", error.message, error.hint)
            return False

    async def share_in_s(self, job: JobInProgress) -> float:
        """Return the seconds until the job may try for its share of the rate limit, 0 if it has it, or needs none."""
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
        """Record that the job is about to be sent; return False if it must not be, as it is not ours any more.

        Wait also while Redis refuses it.
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
