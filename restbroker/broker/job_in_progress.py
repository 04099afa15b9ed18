"""A job that Redis lists as ours: how far its delivery is, how far its settling is, and what happened to it before.

Beside it stands what a pool knows of all its jobs: those that Redis lists (`Reservations`), and those that it settled
lately, in case Redis forgets that (`RecentlySettled`).

The intake makes a job, the worker takes it through its delivery, the acker through its settling. Always holds: its two
states change along the arrows below only; `SENDING` is set before the first byte of the effect can leave, and a
settlement before the job reaches the acker, so that at a stop each job shows by itself what must become of it. Fields
about earlier runs (`forgotten`, `effected`, …) are no states: they never set a job back.

    delivery   FETCHED ──► ADMITTED ──► MARKED ──► SENDING ──► ANSWERED
                              ▲ └─────────────────►┘ │ │
                              └──── not sent ─────────┘ (MARKED ──► ADMITTED as well)

    settling   NONE ──► DECIDED ──► REQUESTED ──► CONFIRMED      REQUESTED: Redis was asked, and did not answer
                          └─────────► REFUSED ───────►┘          REFUSED: in every form; it is tried again and again
"""

import math
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from enum import IntEnum
from typing import TypeAlias

import attrs
import trio

from restbroker.broker.tokens import Proof
from restbroker.job.claims import JobClaims
from restbroker.job.job import EFFECTED_FIELD, WEIGHED_FROM_BYTES, Job, memory_bytes
from restbroker.job.policy import Context
from restbroker.job.settlement import Ack, Drop, Fingerprint, Requeue, Schedule, Settlement, is_unchanged_requeue
from restbroker.light import define, field
from restbroker.telemetry.events import JobFinished

ReplyId: TypeAlias = str | int | float | None
"""Where a job's answer goes, as its producer wrote it; None: nowhere."""
KEPT_S = 10.0
KEPT_BYTES = 32 * 1024 * 1024
LOSS_S = 60.0
_OVERHEAD_BYTES = 400
_PLAIN = Ack()


class DeliveryState(IntEnum):
    """How far the delivery of a job is; `delivery.Delivery` has the rest of it. From `SENDING` on it may have run."""

    FETCHED = 0
    ADMITTED = 1
    MARKED = 2
    SENDING = 3
    ANSWERED = 4


class SettlingState(IntEnum):
    """How far the settling of a job is. Its delivery does not change any more once it is `DECIDED`."""

    NONE = 0
    DECIDED = 1
    REQUESTED = 2
    REFUSED = 3
    CONFIRMED = 4


# Enum members by short names: each job compares them some ten times.
FETCHED, ADMITTED, MARKED, SENDING, ANSWERED = DeliveryState
NONE, DECIDED, REQUESTED, REFUSED, CONFIRMED = SettlingState


class IllegalTransition(Exception):
    """A bug: a job was to change to a state that does not follow from those that it has. The job stays as it is."""


@define(eq=False)
class JobInProgress:
    """One job under its ticket. `number` is the ticket's first part; it rises and is never used again by an identity.

    `started_at_s` (epoch seconds) is when a worker took it up; None until then. It is shown, and a generation that is
    replaced requeues what no worker took up.
    """

    ticket: str
    number: int
    queue: str
    raw: bytes
    size_bytes: int = 0
    """The size of a job that is too large, whose bytes are in Redis alone: `raw` is empty. 0 for every other job."""
    granted_at_s: float = 0.0
    """When it was taken (boot time in seconds), or later paid for a start: the rate limit was charged for it then."""
    delivery: DeliveryState = FETCHED
    settling: SettlingState = NONE
    settlement: Settlement | None = None
    """What becomes of it; None until that is decided."""
    forgotten: bool = False
    """Whether Redis has it again although it was sent or settled before, so that it counts as having run."""
    started_at_s: float | None = None
    payload: Job | None = None
    command: str = ""
    reply_id: ReplyId = None
    proof: Proof | None = None
    """The token, secret and signature that it was let in by; None until it is let in."""
    fingerprint: Fingerprint | None = None
    """What is remembered of it once it is done, if it is signed; else None."""
    admitted: bool = False
    at_most_once: bool = False
    expires_at_s: float | None = None
    """When it must not be begun any more (epoch seconds, our clock); None: it never expires."""
    claims: JobClaims | None = None
    """What it claims, if it must not be done twice; else None."""
    effected: bool = False
    """Whether a part of it is done and the rest is not; never False again."""
    context: Context | None = None
    status: int | None = None
    """The status of the server's answer, if the job was delivered and only `took_s` is reported of it; else None.

    `took_s` is how many seconds the delivery took.
    """
    took_s: float = 0.0
    round_ended_s: float = 0.0
    """When its last round ended, with or without an answer (seconds of the performance counter); 0: none did."""
    event: JobFinished | None = None
    """What is reported of it otherwise; None if nothing is, or not yet."""
    memory_bytes: int = 0
    """About how many bytes of memory it takes while it is in progress, since it is in `Reservations`."""

    @property
    def was_sent(self) -> bool:
        """Whether its command may have run, or a part of it."""
        return self.delivery >= SENDING or self.effected

    @property
    def is_at_work(self) -> bool:
        """Whether the target may be running it: it was sent, and nothing is decided yet."""
        return self.delivery >= SENDING and self.settlement is None

    @property
    def is_uncertain(self) -> bool:
        """Whether it must not simply be requeued: it may have run, or it is at-most-once and a part of it is done."""
        return self.delivery >= SENDING or (self.effected and self.at_most_once)

    def remaining_s(self, now_s: float) -> float:
        """Return for how many seconds from `now_s` (epoch seconds) on it may be sent: none or less if it expired.

        It has to begin before it expires: if a part of it is done, here or before a stop, the rest may always be sent.
        """
        payload = self.payload
        if self.expires_at_s is None or self.effected:
            return math.inf
        if payload is not None and payload.fields.get(EFFECTED_FIELD) is True:
            return math.inf
        return self.expires_at_s - now_s

    def is_expired(self, now_s: float) -> bool:
        """Tell whether it must not be sent any more at `now_s` (epoch seconds)."""
        return self.expires_at_s is not None and self.remaining_s(now_s) <= 0

    def grant(self, at_s: float) -> None:
        """Note that the rate limit was charged for its start (boot time in seconds)."""
        self.granted_at_s = at_s

    def identify(self, payload: Job | None, started_at_s: float | None) -> None:
        """Keep the job that was parsed from its bytes (None if they hold none), and when a worker took it.

        `started_at_s` is in epoch seconds, None if no worker has it.
        """
        self.payload, self.started_at_s = payload, started_at_s

    def address(self, command: str, reply_id: ReplyId) -> None:
        """Keep the endpoint of its command, and its reply id, which is None if its producer does not know the token."""
        self.command, self.reply_id = command, reply_id

    def prove(self, payload: Job, proof: Proof, fingerprint: Fingerprint | None) -> None:
        """Keep the payload, and the proof that its token or signature is valid, of a job that may still be refused."""
        self.payload, self.proof, self.fingerprint = payload, proof, fingerprint

    def limit_copy(self, stored_for_s: float) -> None:
        """Note for how long a copy of a signed job, which waits for another try, may be let in: it must not be then."""
        if self.fingerprint is not None and stored_for_s > self.fingerprint.keep_s:
            self.fingerprint = attrs.evolve(self.fingerprint, keep_s=stored_for_s, is_stored=True)

    def admit(
        self,
        payload: Job,
        proof: Proof,
        command: str,
        reply_id: ReplyId,
        *,
        once: bool,
        expires_at_s: float | None = None,
        claims: JobClaims | None = None,
    ) -> None:
        """Note that it is admitted, once more if it waited for its slot; one that is signed was `prove`d.

        `command` and `reply_id` are as in `address`. `once`: it must run at most once. `expires_at_s` (epoch seconds):
        from then on it must not be sent; None: it never expires. `claims`: what it claims; None: nothing. Raise
        `IllegalTransition` if it is marked or sent already, or its settlement is decided.
        """
        if self.delivery > ADMITTED or self.settling:
            raise self._illegal(ADMITTED)
        self.payload, self.proof, self.command, self.reply_id = payload, proof, command, reply_id
        self.delivery, self.admitted, self.at_most_once, self.expires_at_s = ADMITTED, True, once, expires_at_s
        self.claims = claims

    def mark(self) -> None:
        """Note that Redis marked it as about to be sent. Raise `IllegalTransition` if not admitted, or answered."""
        if not 0 < self.delivery < ANSWERED or self.settling:
            raise self._illegal(MARKED)
        self.delivery = max(self.delivery, MARKED)

    def start_sending(self) -> None:
        """Note that its first byte may leave from now on. Raise `IllegalTransition` if it is not admitted."""
        if not 0 < self.delivery < ANSWERED or self.settling:
            raise self._illegal(SENDING)
        self.delivery = SENDING

    def hold(self, *, effected: bool = False) -> None:
        """Note that nothing of it was sent, or is to be sent again. `effected`: a part of it is done, and the rest not.

        Raise `IllegalTransition` if it is answered or its settlement is decided.
        """
        if self.delivery is ANSWERED or self.settling:
            raise self._illegal(ADMITTED)
        self.delivery, self.effected = min(self.delivery, ADMITTED), self.effected or effected

    def answer(self) -> None:
        """Note that the target answered; do nothing if nothing was sent.

        Raise `IllegalTransition` if a settlement is decided.
        """
        if self.settling:
            raise self._illegal(ANSWERED)
        if self.delivery is SENDING:
            self.delivery = ANSWERED

    def decide(self, settlement: Settlement, event: JobFinished | None = None, context: Context | None = None) -> None:
        """Keep its settlement, and the event to report once Redis has settled it.

        Raise `IllegalTransition` if a settlement was decided before.
        """
        if self.settling:
            raise self._illegal(DECIDED)
        self.settlement, self.event, self.context, self.settling = settlement, event, context, DECIDED

    def decide_delivered(self, settlement: Settlement, status: int, took_s: float, context: Context | None) -> None:
        """Note as `answer` does, and keep the settlement of a delivered job.

        Of that only status and duration (`took_s`, seconds) are reported. Raise `IllegalTransition` if a settlement was
        decided before.
        """
        if self.settling:
            raise self._illegal(DECIDED)
        if self.delivery is SENDING:
            self.delivery = ANSWERED
        self.settlement, self.context, self.settling = settlement, context, DECIDED
        self.status, self.took_s = status, took_s

    def revise(self, settlement: Settlement, event: JobFinished | None = None) -> None:
        """Replace its settlement, which Redis refused, and its event; None keeps the event.

        Raise `IllegalTransition` if no settlement is decided yet, or Redis has confirmed it.
        """
        if not 0 < self.settling < CONFIRMED:
            raise self._illegal(DECIDED)
        self.settlement, self.event = settlement, event or self.event

    def request(self) -> None:
        """Note that Redis was asked to settle it and did not answer: if it is gone the next time, it was settled."""
        if not 0 < self.settling < CONFIRMED:
            raise self._illegal(REQUESTED)
        self.settling = REQUESTED

    def refuse(self) -> None:
        """Note that Redis refuses to settle it in every form."""
        if not 0 < self.settling < CONFIRMED:
            raise self._illegal(REFUSED)
        self.settling = REFUSED

    def confirm(self) -> None:
        """Note that Redis has settled it, or gave it to another process: it is not in progress here any more.

        Raise `IllegalTransition` if no settlement is decided, or it is confirmed already.
        """
        if not 0 < self.settling < CONFIRMED:
            raise self._illegal(CONFIRMED)
        self.settling = CONFIRMED

    def _illegal(self, state: DeliveryState | SettlingState) -> IllegalTransition:
        return IllegalTransition(f"{self.delivery.name}, {self.settling.name} -> {state.name}")


@define(eq=False)
class Reservations:
    """All jobs that Redis lists as those of one worker pool, fetched or in progress: {ticket: job}.

    The intake adds them, the acker releases them once Redis has settled them. A job that Redis lists and `jobs` lacks
    is added by the next reconcile. `last_number` is the highest ticket number issued, `memory_bytes` about how much
    memory all jobs take.
    """

    jobs: dict[str, JobInProgress] = field(factory=dict)
    last_number: int = 0
    memory_bytes: int = 0
    old_keys_until: float = math.inf
    """The highest ticket number of a job that may have been handed out under a key of another `OrderBy`."""
    _changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    def add(self, jobs: Sequence[JobInProgress]) -> None:
        """Add jobs that Redis lists, in the order of their tickets."""
        if jobs:
            for job in jobs:
                raw = job.raw
                job.memory_bytes = len(raw) if len(raw) < WEIGHED_FROM_BYTES else memory_bytes(raw)
                self.memory_bytes += job.memory_bytes
                self.jobs[job.ticket] = job
            self.last_number = max(self.last_number, jobs[-1].number)

    @property
    def has_old_keys(self) -> bool:
        """Whether Redis may hand out jobs under keys of another `OrderBy`; it may until a fetch has said that not."""
        return math.isinf(self.old_keys_until)

    def record_keys(self, base: int, *, has_old_keys: bool) -> None:
        """Note whether keys of another `OrderBy` are left in Redis; `base`: the highest ticket number issued before."""
        self.old_keys_until = math.inf if has_old_keys else min(self.old_keys_until, base)

    def skip_to(self, number: int) -> None:
        """Issue only ticket numbers above this one from now on."""
        self.last_number = max(self.last_number, number)

    def has(self, job: JobInProgress) -> bool:
        """Tell whether this very job is ours; a Redis that went back may have listed its ticket anew, for another."""
        return self.jobs.get(job.ticket) is job

    def release(self, *tickets: str) -> None:
        """Remove jobs that are no longer in progress here, and wake the tasks in `wait_for_release`."""
        for ticket in tickets:
            job = self.jobs.pop(ticket, None)
            if job is not None:
                self.memory_bytes -= job.memory_bytes
        self._changed.unpark_all()

    async def wait_for_release(self) -> None:
        """Wait until a job is no longer in progress here."""
        await self._changed.park()


@define(eq=False)
class _SettledBatch:
    """What was settled together: by ticket the hash of each job's bytes, and how, unless `Ack.is_plain`."""

    at_s: float
    size_bytes: int
    jobs: dict[str, int]
    others: dict[str, Settlement]


@define(eq=False)
class RecentlySettled:
    """The settlements of the last seconds of one pool, in case Redis forgets them; bounded by time and size.

    A Redis that restarts without its last second, or a replica that takes over, may list jobs as in progress that were
    settled: they are settled again, and not run. Or it may have them in their queue, as if they had never been taken:
    then they run again, as jobs that may have run. `now_s` is the time by any rising clock, the same for all methods.
    """

    _batches: deque[_SettledBatch] = field(factory=deque)
    _size_bytes: int = 0
    lost: set[int] = field(factory=set)
    """The hashes of the jobs of which `may_have_run` may be true."""
    _lost_until_s: float = float("-inf")

    def add(self, settled: Collection[JobInProgress], now_s: float) -> None:
        """Keep the settlements of these jobs, which Redis confirmed."""
        size_bytes, jobs, others = _OVERHEAD_BYTES * len(settled), dict[str, int](), dict[str, Settlement]()
        for job in settled:
            jobs[job.ticket], how = hash(job.raw), job.settlement
            if how is not None and not (isinstance(how, Ack) and how.is_plain):
                others[job.ticket] = how
                size_bytes += _size(how)
        self._batches.append(_SettledBatch(now_s, size_bytes, jobs, others))
        self._size_bytes += size_bytes
        self.forget(now_s)

    def get(self, ticket: str) -> Settlement | None:
        """Return the settlement of this ticket; None if it is not kept, or not any more."""
        return next((batch.others.get(ticket, _PLAIN) for batch in self._batches if ticket in batch.jobs), None)

    def forget(self, now_s: float) -> None:
        """Drop settlements older than `KEPT_S` seconds, and beyond `KEPT_BYTES` the oldest, but not the last batch.

        To be called now and then, so that an idle pool keeps none.
        """
        batches = self._batches
        while batches and (now_s - batches[0].at_s > KEPT_S or (self._size_bytes > KEPT_BYTES and len(batches) > 1)):
            self._size_bytes -= batches.popleft().size_bytes

    def record_loss(self, jobs: Iterable[bytes], now_s: float) -> None:
        """Note that Redis may have lost its last writes: for `LOSS_S` seconds `may_have_run` is true of some jobs.

        These are `jobs` (their bytes) and all whose settlement is kept: they may be fetched again under new tickets.
        """
        kept = ((job, batch.others.get(ticket)) for batch in self._batches for ticket, job in batch.jobs.items())
        settled = {job for job, settlement in kept if not is_unchanged_requeue(settlement)}
        earlier = self.lost if now_s < self._lost_until_s else set()
        self.lost = earlier | settled | {hash(job) for job in jobs}
        self._lost_until_s = now_s + LOSS_S

    def may_have_run(self, job: bytes, now_s: float) -> bool:
        """Tell whether a fetched job (its bytes) is one of those that `record_loss` noted.

        Each is reported once, since a second job with equal bytes is a new job.
        """
        if hash(job) not in self.lost:
            return False
        self.lost.remove(hash(job))
        return now_s < self._lost_until_s


def _size(settlement: Settlement) -> int:
    size_bytes = 0 if isinstance(settlement, Ack | Drop) else len(settlement.payload)
    if not isinstance(settlement, Schedule | Requeue):
        for reply in settlement.replies:
            size_bytes += len(reply.payload)
    return size_bytes
