"""Calls of Redis before a job is sent: is it a replay, may it start by the rate limit, claim its key, and mark it.

The processor makes the first two, the link the others. Always holds: a job is a replay only if Redis lists it as done,
so that a recovered, requeued or retried job is none; a share is valid for a quarter of a second only, or a process that
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
from restbroker.job import claims
from restbroker.job.claims import JobClaims
from restbroker.job.settlement import Fingerprint
from restbroker.store import claims as store_claims
from restbroker.store import done_jobs, jobs
from restbroker.store.claims import ClaimAnswer, ClaimRequest, OtherHolder, UnreadableClaim
from restbroker.store.connection import Connection
from restbroker.store.limits import charge

T = TypeVar("T")
A = TypeVar("A")

ASK_AGAIN_S = 1.0
_SHARE_S = 0.25


@attrs.define(eq=False)
class _Question(Generic[T, A]):
    what: T
    answer: A | None = None


@attrs.define(eq=False)
class _SharedCalls(Generic[T, A]):
    """Questions of one kind. `_call` puts a list of them, and returns the answer to each, which is never None."""

    _call: Callable[[list[T]], Awaitable[Sequence[A]]]
    _waiting: list[_Question[T, A]] = attrs.field(factory=list)
    _lock: trio.Lock = attrs.field(factory=trio.Lock)

    async def ask(self, what: T) -> A:
        """Return the answer to one question; raise what `_call` raises. Safe to cancel."""
        question = _Question[T, A](what)
        self._waiting.append(question)
        try:
            async with self._lock:
                if question.answer is None:
                    await self._ask_all()
        finally:
            if question in self._waiting:
                self._waiting.remove(question)
        assert question.answer is not None  # noqa: S101 - it was among all that were asked
        return question.answer

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
    _marks: _SharedCalls[str, bool] = attrs.field(init=False)
    _replays: _SharedCalls[Fingerprint, float] = attrs.field(init=False)
    _claims: _SharedCalls[ClaimRequest, ClaimAnswer] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Find out once what does not change."""
        self.has_rate = bool(self.plan.limits.emission_us)
        self._marks, self._replays = _SharedCalls(self._mark), _SharedCalls(self._look_up)
        self._claims = _SharedCalls(self._claim)

    async def stored_for_s(self, fingerprint: Fingerprint) -> float:
        """Return what `done_jobs.stored_for_s` does of a signed job; 0 too if Redis refuses the call."""
        try:
            return await self._replays.ask(fingerprint)
        except StoreRefused as error:
            self.identity.warn_once("StoreRefused", error.message, error.hint)
            return 0.0

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

    async def claim(self, ticket: str, claimed: JobClaims) -> bool | OtherHolder:
        """Claim what this job alone must do; return False if it must not be sent, as it is not ours any more.

        Return the job that has the claim instead, if there is one. Wait also while Redis refuses to say. A
        key of another type tells nothing: then the job is sent.
        """
        request = ClaimRequest(ticket, claimed.jid, claims.before_sending(claimed, ticket, self.identity.name))
        if not request.changes:
            return True
        while True:
            try:
                answer = await self._claims.ask(request)
            except StoreRefused as error:
                self.identity.warn_once("ClaimRefused", error.message, error.hint)
                await trio.sleep(ASK_AGAIN_S)
                continue
            if isinstance(answer, OtherHolder):
                return answer
            if isinstance(answer, UnreadableClaim):
                self.identity.warn_once("ClaimRefused", _UNREADABLE, "Find out who writes these keys, and delete them.")
            return answer is not False

    async def _claim(self, requests: list[ClaimRequest]) -> list[ClaimAnswer]:
        answer = await self.health.call_until_up(self.store, store_claims.claim, self.identity.name, requests)
        if isinstance(answer, jobs.IdentityUnknown):
            self.identity.fence()
            return [False] * len(requests)
        return answer

    async def _mark(self, tickets: list[str]) -> list[bool]:
        answer = await self.health.call_until_up(self.store, jobs.mark, self.identity.name, tickets)
        if isinstance(answer, jobs.IdentityUnknown):
            self.identity.fence()
            return [False] * len(tickets)
        return answer

    async def _look_up(self, fingerprints: list[Fingerprint]) -> list[float]:
        return await self.health.call_until_up(self.store, done_jobs.stored_for_s, fingerprints)


_UNREADABLE = "A key restbroker:once:… is not a string; whether another job did the same is unknown. The job was sent."
