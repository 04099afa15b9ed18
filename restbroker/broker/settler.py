"""Turns the outcome of a job into its settlement, and into the event that is reported about it.

A life calls it for a job that was delivered or refused, recovery for jobs that a stop cut off. The rules are in
`job.settle`, pure; this file gives them their arguments. Always holds: a job that is stored again holds no token that
it need not hold, says whether a part of it is done, and never names a queue that its target does not serve.
"""

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from secrets import randbelow

import attrs

from restbroker.broker import acceptance
from restbroker.broker.acceptance import CLOCKS_DIFFER
from restbroker.broker.health import StoreHealth
from restbroker.broker.identity import Identity
from restbroker.broker.job_in_progress import SENDING, JobInProgress
from restbroker.broker.target_plan import TargetPlan
from restbroker.config.values import duration_text
from restbroker.job import arguments, claims, display, hiding, retry, rubyjson, sealing, settle, signing, unmet
from restbroker.job.claim_changes import at_settlement
from restbroker.job.claims import JobClaims
from restbroker.job.command import CommandSpec
from restbroker.job.job import EFFECTED_FIELD, Job, NotAJob, spare_jid
from restbroker.job.json_types import Json
from restbroker.job.order import KEY_UNCLEAR, is_ordered
from restbroker.job.outcome import Deferred, Delivered, Duplicate, Expired, Reason, Rejected, Uncertain
from restbroker.job.policy import Context
from restbroker.job.repair import seconds
from restbroker.job.retry import ATTEMPTS_FIELD, ATTEMPTS_KEPT, BY_PEOPLE
from restbroker.job.settle import Final
from restbroker.job.settlement import Ack, Dead, Drop, Requeue, Retry, Settlement
from restbroker.light import define, field, frozen_plain
from restbroker.store import history
from restbroker.store.claims import OtherHolder
from restbroker.store.history import JobEnd, JobTimes, Records
from restbroker.store.tickets import ticket_key
from restbroker.telemetry.events import ORDER_STOPPED, JobFinished, JobsDelivered, OperatorWarning


@define(eq=False)
class Reports:
    """Reports the settled jobs of one pool: one event with the durations of a batch, and one for each unusual job.

    The acker calls `records` for a batch that it settles, to be kept in Redis, and `send` once Redis has confirmed it.
    No token is in an event or record, no matter where a producer put it.
    """

    plan: TargetPlan
    identity: Identity
    _shown: dict[str, str] = field(factory=dict, repr=False)
    """By command as `mask` has it, for these secrets: to look for them in each takes long."""
    _secrets: Sequence[str] = field(default=(), repr=False)

    def of_end(
        self, job: JobInProgress, settlement: Settlement, outcome: Final, duration_s: float = 0.0
    ) -> JobFinished:
        """Return the event of a job that ends with this settlement and outcome, after `duration_s` seconds."""
        what = self._what(job, type(outcome).__name__.lower(), type(settlement).__name__.lower(), duration_s)
        if isinstance(outcome, Delivered):
            return JobFinished(*what, outcome.status, note=outcome.note, admitted=job.admitted)
        reason = outcome.reason
        return JobFinished(*what, reason.status, reason.code, reason.message, reason.hint, admitted=job.admitted)

    def of_replay(self, job: JobInProgress) -> JobFinished:
        """Return the event of a signed job that was done before, and was not sent."""
        return JobFinished(*self._what(job, "duplicate", "ack", 0.0))

    def make(self, job: JobInProgress) -> JobFinished | None:
        """Return the event of a job; None for one that was reported before, and is settled again as Redis lost that."""
        if job.event is None and job.status is not None:
            return JobFinished(*self._what(job, "delivered", "ack", job.took_s), job.status, admitted=job.admitted)
        return job.event

    def records(self, jobs: Iterable[JobInProgress], keep_s: float) -> Records:
        """Return the records of these jobs, one for each that has a settlement, to be kept for `keep_s` seconds.

        The record of a job that does not end with its settlement is empty.
        """
        clocks = _Clocks(time.time(), time.perf_counter())
        return Records(round(keep_s * 1000), [self._record(job, clocks) for job in jobs if job.settlement is not None])

    def send(self, jobs: Iterable[JobInProgress]) -> None:
        """Report these jobs, which Redis has just settled."""
        delivered: list[JobInProgress] = []
        took_s: dict[str, list[float]] = {}
        if self._secrets is not self.plan.tokens.values or len(self._shown) > _MOST_SHOWN:
            self._shown, self._secrets = {}, self.plan.tokens.values
        for job in jobs:
            if job.event is not None:
                self.identity.report(job.event)
            elif job.status is not None:
                delivered.append(job)
                command = self._shown.get(job.command)
                if command is None:
                    command = self._shown[job.command] = self.mask(job.command)
                took_s.setdefault(command, []).append(job.took_s)
        if delivered:
            self.identity.report(JobsDelivered(self.plan.target.name, took_s, partial(self._each, delivered)))

    def _each(self, jobs: Sequence[JobInProgress]) -> list[JobFinished]:
        return [event for job in jobs if (event := self.make(job)) is not None]

    def _record(self, job: JobInProgress, clocks: "_Clocks") -> bytes:
        """Return a job's record, or b"" for one that has not ended, or lies in a set, where its entry has it all."""
        event = self.make(job) if isinstance(job.settlement, _ENDS) else None
        if event is None:
            return b""
        took_ms, payload = event.duration_s * 1000, job.payload
        in_vain = () if payload is None else self.plan.unmet(payload, job.reply_id, job.expires_at_s)
        return history.to_record(
            JobEnd(
                jid=event.jid,
                target=event.target,
                command=event.command,
                outcome=event.outcome,
                status=event.status,
                took_ms=took_ms,
                code=event.code,
                unmet="; ".join(found.what for found in in_vain) or None if in_vain else None,
                times=clocks.times(job),
                arguments={} if payload is None or not self.plan.history_arguments else self._arguments(job, payload),
            )
        )

    def _arguments(self, job: JobInProgress, payload: Job) -> Mapping[str, str]:
        """Return the arguments that the record keeps, as they may be shown."""
        if len(payload.raw) > _LARGE_BYTES:
            return {}
        secrets, spec = hiding.spellings_of(self.plan.tokens.values), self.plan.connector.spec(job.command)
        return display.some_arguments(payload.fields, self.plan.history_arguments, secrets, spec)

    def _what(
        self, job: JobInProgress, outcome: str, fate: str, duration_s: float
    ) -> tuple[str, str, str, str, str, str, int, float]:
        payload = job.payload
        if payload is None:
            jid, attempt = spare_jid(self.identity.name, job.ticket), 1
        else:
            jid, attempt = payload.jid, payload.attempt
        command, jid = self.mask(job.command or "?"), self.mask(jid)
        return self.plan.target.name, job.queue, command, jid, outcome, fate, attempt, duration_s

    def mask(self, text: str) -> str:
        """Return a producer's own text, or a mask if they put the token into the wrong place."""
        for token in self.plan.tokens.values:
            if token in text:
                return hiding.MASK
        return text


@frozen_plain
class _Clocks:
    """One moment by the two clocks that jobs have times of: epoch, and performance counter, in seconds."""

    now_s: float
    counter_s: float

    def times(self, job: JobInProgress) -> JobTimes:
        """Return when things happened to a job that is settled at this moment."""
        ended_s, payload = job.round_ended_s, job.payload
        fetched_ms = self._before_ms(job.started_at_s)
        answered_ms = int((self.counter_s - ended_s) * 1000) if ended_s and job.delivery >= SENDING else None
        if payload is None:
            return JobTimes(None, fetched_ms, answered_ms)
        # One that is tried again was put into its queue again.
        pushed_ms = self._before_ms(payload.fields.get("created_at") or payload.fields.get("enqueued_at"))
        failed_ms: tuple[int, ...] = ()
        if isinstance(attempts := payload.fields.get(ATTEMPTS_FIELD), list):
            known = [one for one in attempts[-ATTEMPTS_KEPT:] if isinstance(one, dict)]
            ends = [self._before_ms(one.get("at")) for one in known if one.get("outcome") not in BY_PEOPLE]
            failed_ms = tuple([end for end in ends if end is not None])
        return JobTimes(pushed_ms, fetched_ms, answered_ms, payload.attempt, failed_ms)

    def _before_ms(self, at: Json) -> int | None:
        """Return how long ago a time was, as a job has it; None if it is none, or to come."""
        at_s = at if type(at) is float and 0 < at <= self.now_s else seconds(at)
        return None if at_s is None or at_s > self.now_s else int((self.now_s - at_s) * 1000)


@define(eq=False)
class Settler:
    """Decides the settlements of one pool's jobs."""

    plan: TargetPlan
    identity: Identity
    reports: Reports
    health: StoreHealth

    def settle(
        self, job: JobInProgress, payload: Job, spec: CommandSpec | None, outcome: Final, duration_s: float = 0.0
    ) -> None:
        """Decide the settlement and the event of a job with this outcome.

        `payload` is stored if the job is retried, deferred or dead. `spec`: None for a command outside the catalogue.
        `duration_s`: how many seconds the delivery took.
        """
        if isinstance(outcome, Delivered):
            answers = None
            done: Settlement = settle.ACK
            if job.reply_id is not None or payload.reply_to is not None:
                answers = self._context(job, duration_s)
                done = settle.settle(payload, spec, outcome, answers)
            if job.claims is not None or job.fingerprint is not None:
                done = self._with_claims(job, done, outcome)
            if outcome.note is None:
                job.decide_delivered(done, outcome.status, duration_s, answers)
            else:
                job.decide(done, self.reports.of_end(job, done, outcome, duration_s), answers)
            return
        payload = self.to_store(job, payload)
        context = self._context(job, duration_s)
        settlement = settle.settle(payload, spec, outcome, context)
        if (expired := settle.expire_before(settlement, outcome, job.expires_at_s, context.now_s)) is not None:
            outcome, settlement = expired, settle.settle(payload, spec, expired, context)
        self._conclude(job, settlement, outcome, context, duration_s=duration_s)

    def refuse(self, job: JobInProgress, entry: NotAJob) -> None:
        """Decide that `job`, whose bytes are no job, becomes dead, for the reason in `entry`."""
        context = self._context(job)
        self._conclude(job, settle.settle_unreadable(entry, context), Rejected(entry.reason), context)

    def postpone(self, job: JobInProgress, payload: Job, reason: Reason, due_in_s: float | None = None) -> None:
        """Defer a job that cannot begin yet for this reason; no try is used up. `due_in_s`: as in `defer_behind`."""
        context, outcome = self._context(job), Deferred(reason, counts=False)
        if reason.code == CLOCKS_DIFFER.code:
            self.identity.warn_once(reason.code, reason.message, reason.hint)
        stored = self.to_store(job, payload)
        settlement = settle.postpone(stored, context)
        if due_in_s is not None:
            settlement = settle.defer_behind(stored, due_in_s, context)
        if (expired := settle.expire_before(settlement, outcome, job.expires_at_s, context.now_s)) is not None:
            self.settle(job, payload, None, expired)
        else:
            self._conclude(job, settlement, outcome, context)

    def expire(self, job: JobInProgress, payload: Job) -> None:
        """Settle a job that expired before it could be sent."""
        late_s = time.time() - (job.expires_at_s or 0.0)
        message = f"It had expired {duration_text(late_s)} before it could be sent."
        self.settle(job, payload, None, Expired(Reason(settle.EXPIRED, message, _WHEN_EXPIRED)))

    def end_duplicate(self, job: JobInProgress, payload: Job, other: OtherHolder) -> None:
        """Settle a job whose idempotency key `other` has: it is not sent.

        If that job waits to be tried again, this one waits for what becomes of it, and uses up no try. If it is another
        command, this one is refused. Else it counts as processed; a copy of a signed job is not answered.
        """
        held, shown = other.job, self.reports.mask(other.job.jid)
        # An at-most-once job dies with its process, and comes no more.
        waits_s = None if held.ticket and job.at_most_once else other.due_in_s
        if job.claims is not None and held.is_of_other_command(job.claims):
            message = f"The job {shown} of another command or with other arguments has the same idempotency key."
            self.settle(job, payload, None, Rejected(Reason(_KEY_REUSED, message, _WHEN_REUSED)))
        elif waits_s is not None and held.jid != payload.jid:
            why = Reason("KeyInUse", f"The job {shown} of the same idempotency key is tried again first.")
            self.postpone(job, payload, why, waits_s)
        elif job.fingerprint is not None and held.jid == payload.jid:
            self.end_replay(job)
        else:
            message = f"The job {shown} has the same idempotency key: it is done, or will be."
            reason = Reason(settle.DUPLICATE, message, _WHEN_DUPLICATE)
            self.settle(job, payload, None, Duplicate(reason, held.jid, (shown, *held.result) if held.result else ()))

    def end_replay(self, job: JobInProgress) -> None:
        """Acknowledge a signed job that was done before, without a second answer, and report that."""
        signed = job.fingerprint
        # Its mark may be newer than the one that was done, and be good for longer.
        known = (signed,) if signed is not None and signed.is_stored else ()
        job.decide(Ack(claims=known), self.reports.of_replay(job))
        message = f"A signed job of the queue {job.queue!r} had been done before and was not done again."
        self.identity.report(OperatorWarning("JobReplayed", message, _WHEN_REPLAYED))

    def settle_bug(self, job: JobInProgress, error: Exception) -> None:
        """Settle a job as dead after an error in the worker itself.

        Otherwise every process would take it again at its start. Such an error is no crash, and is not counted as one.
        If its outcome was already decided, only report the error.
        """
        reason = _bug(job, error)
        if job.settling:
            self.identity.warn_once(reason.code, f"{reason.message} It was settled before.", reason.hint)
            return
        context = self._context(job)
        self._conclude(job, self._end_by(reason, job, context), Rejected(reason), context)

    def _end_by(self, reason: Reason, job: JobInProgress, context: Context) -> Settlement:
        """Return the settlement of a job over which restbroker failed: dead, with its bytes as they were."""
        fields = rubyjson.object_of(job.raw) if job.effected else None
        raw = job.raw if fields is None else rubyjson.dumps({**fields, EFFECTED_FIELD: True})
        entry = NotAJob(
            raw=raw,
            jid=spare_jid(self.identity.name, job.ticket),
            queue=job.queue,
            reason=reason,
            size_bytes=job.size_bytes,
        )
        job.identify(None, job.started_at_s)
        job.address("", job.reply_id)
        return settle.settle_unreadable(entry, context)

    def cancel(self, job: JobInProgress, payload: Job) -> None:
        """Settle a job that a person cancelled, as dead."""
        was_sent, context = job.was_sent, self._context(job)
        reason = _CANCELLED_SENT if was_sent else _CANCELLED
        settlement = settle.settle_cancelled(self.to_store(job, payload), reason, context, was_sent=was_sent)
        self._conclude(job, settlement, Uncertain(reason) if was_sent else Rejected(reason), context)

    def cut_off(self, job: JobInProgress, *, by_order: bool) -> None:
        """Settle a job whose request was sent and not answered when its pool had to stop.

        `by_order`: the process was ordered to stop. If it stops because of an error, this job may be its cause, and
        uses up a try. Do nothing if its bytes were not read as a job.
        """
        payload = job.payload
        if payload is None:
            return
        job.address(job.command, arguments.token_and_reply_id(payload.fields.get("args"))[1])
        spec = self.plan.connector.spec(job.command)
        outcome = Uncertain(settle.reason_of(spec, _CUT_OFF))
        if not by_order:
            self.settle(job, payload, spec, outcome)
            return
        context = self._context(job)
        settlement = settle.settle_cut_off(self.to_store(job, payload), spec, outcome.reason, context)
        self._conclude(job, settlement, outcome, context)

    def requeue(self, job: JobInProgress) -> None:
        """Decide that a job, not sent or sent in part, goes back to its queue, with a note if a part of it is done."""
        payload = job.payload if job.effected else None
        settlement = Requeue() if payload is None else settle.requeue(self.to_store(job, payload))
        job.decide(self._with_claims(job, settlement, None) if job.claims or job.fingerprint else settlement)

    def drop_reply(self, job: JobInProgress, why: str) -> bool:
        """Remove the reply, which Redis refuses with the error `why`, from a job's settlement; False: it has none.

        After an error in here the job becomes dead, as in `settle_bug`.
        """
        settlement, payload = job.settlement, job.payload
        if not isinstance(settlement, Ack | Retry | Dead | Drop) or not settlement.replies:
            return False
        if payload is None or job.context is None:
            return False
        try:
            event = self.reports.make(job)
            was_sent = event is None or event.outcome not in _UNSENT
            revised = settle.drop_reply(self.to_store(job, payload), settlement, why, job.context, was_done=was_sent)
            if isinstance(settlement, Ack) and was_sent:
                if settlement.claims:
                    revised = self._with_claims(job, revised, _WAS_DONE)
                revised = self._with_effect(job, revised, _WAS_DONE)
            elif isinstance(settlement, Ack) and isinstance(revised, Dead):
                revised = attrs.evolve(revised, claims=settlement.claims, effect="refused")
            job.revise(revised, event and attrs.evolve(event, code="ReplyRefused", message=why, fate="dead"))
        except Exception as error:  # noqa: BLE001 - whatever it is; its text may hold secrets
            reason = _bug(job, error)
            revised = attrs.evolve(self._end_by(reason, job, job.context), claims=settlement.claims)
            revised = self._with_effect(job, revised, Rejected(reason))
            job.revise(revised, self.reports.of_end(job, revised, Rejected(reason)))
        return True

    def to_store(self, job: JobInProgress, payload: Job) -> Job:
        """Return `payload` as it is stored: with its command's name for Sidekiq Web and a note if a part of it is done.

        Its token is replaced by a signature where that can be (`job.sealing`). Report a `retry_queue` that its target
        does not serve.
        """
        secrets = self.plan.tokens.values
        name = job.command or display.command_of(payload.fields)
        shown = [secret for secret in secrets if name is not None and secret in name]
        if name is not None and shown and hiding.text(name, shown) != name:
            name = None
        if retry.names_foreign_queue(payload.fields, self.plan.target.queues):
            self.identity.report(unserved_warning(job.queue))
        proof = job.proof
        # Why: docs/design.md#sealed-tokens
        if proof is not None and proof.signature is None and not proof.token.flat:
            number, now_s = randbelow(signing.ORDERS), time.time() + self.health.clock_ahead_s
            payload = sealing.seal(payload, proof.secret, proof.token.name, number, now_s=now_s)
        fields = display.with_command_name(payload.fields, name)
        return attrs.evolve(payload, fields={**fields, EFFECTED_FIELD: True} if job.effected else fields)

    def _conclude(
        self,
        job: JobInProgress,
        settlement: Settlement,
        outcome: Final,
        context: Context | None,
        duration_s: float = 0.0,
    ) -> None:
        settlement = self._with_effect(job, self._with_claims(job, settlement, outcome), outcome)
        job.decide(settlement, self.reports.of_end(job, settlement, outcome, duration_s), context)

    def _with_effect(self, job: JobInProgress, settlement: Settlement, outcome: Final) -> Settlement:
        """Return the settlement, which says what becomes of the job's key if it dies.

        A job that was not admitted, was never to be sent, or expired neither stops its key nor opens it, if it is
        stopped. One that is dropped stops none either.
        """
        if not is_ordered(ticket_key(job.ticket)) or not isinstance(settlement, Ack | Dead | Drop):
            return settlement
        if isinstance(settlement, Ack) and not isinstance(outcome, Expired):
            return settlement
        code = "" if isinstance(outcome, Delivered) else outcome.reason.code
        if not job.admitted or isinstance(outcome, Expired | Duplicate) or code in _NEVER_SENT:
            return attrs.evolve(settlement, effect="refused")
        if isinstance(settlement, Ack | Drop):
            return settlement  # the job said that its loss does not matter
        payload, order = job.payload, self.plan.order
        if order is None or order.on_dead == "go":
            return settlement
        # A bug left no payload.
        jid = "?" if payload is None else self.reports.mask(payload.jid)
        self.identity.report(stopped_warning(self.plan.target.name, job.queue, jid))
        return attrs.evolve(settlement, effect="stop")

    def _with_claims(self, job: JobInProgress, settlement: Settlement, outcome: Final | None) -> Settlement:
        """Return the settlement, with what becomes of the job's locks and claims, and is recorded of its signature.

        What is not let in claims nothing, and gives up the lock that it took when it was pushed, if its token is known.
        """
        claimed, payload, signed = job.claims, job.payload, job.fingerprint
        if claimed is None and payload is not None and job.proof is not None and claims.LOCK_FIELD in payload.fields:
            lock = claims.own_lock(payload.fields, self.plan.target.name, job.proof.token.name)
            claimed = JobClaims(payload.jid, lock=lock)
        if claimed is None and signed is None:
            return settlement
        changes = settlement.claims
        if claimed is not None:
            changes = at_settlement(claimed, settlement, outcome, ticket=job.ticket, identity=self.identity.name)
        if signed is not None and (record := acceptance.record_of(signed, settlement, outcome)) is not None:
            changes = (*changes, record)
        return settlement if changes == settlement.claims else attrs.evolve(settlement, claims=changes)

    def _context(self, job: JobInProgress, duration_s: float = 0.0) -> Context:
        reply_jid = "" if job.reply_id is None else spare_jid(self.identity.name, job.ticket)
        jitter = random.random()  # noqa: S311 - spreads retries, protects nothing
        return Context(
            policy=self.plan.policy,
            now_s=time.time(),
            jitter=jitter,
            unique=job.number % 1000,
            reply_jid=reply_jid,
            duration_s=duration_s,
            command=job.command,
            reply_id=job.reply_id,
            at_most_once=job.at_most_once,
            queues=self.plan.target.queues,
            unadmitted_in=job.queue if job.proof is None or job.command in self.plan.event_commands else "",
        )


def _bug(job: JobInProgress, error: Exception) -> Reason:
    may = "; the command may have run" if job.was_sent else ""
    return Reason("Bug", f"restbroker failed with {type(error).__name__} on this job{may}.", "Please report this.")


_CUT_OFF = Reason(
    "CutOff",
    "The broker had to stop before the server answered. The command may have run.",
    "Check on the server whether it was done.",
)
_CANCELLED = Reason("Cancelled", "Someone cancelled it before it was sent.", "A retry sends it.")
_CANCELLED_SENT = Reason(
    "Cancelled",
    "Someone cancelled it after it was sent and before the server answered. The command may have run.",
    "Check on the server whether it was done. A retry sends it again.",
)
_MOST_SHOWN = 500
_ENDS = (Ack, Drop)  # a union would be made anew for each job
_KEY_REUSED = "KeyReused"
# As for what Sidekiq Web shows: a larger one takes long to look through for secrets.
_LARGE_BYTES = 64 * 1024
_WHEN_REUSED = "Push it with a key of its own."
_NEVER_SENT = (_KEY_REUSED, KEY_UNCLEAR.code)
_WHEN_EXPIRED = "If it should be done all the same, push it again with a later expiry."
_WHEN_REPLAYED = "A producer may repeat a push whose answer was lost. If none does, check who can write to Redis."
_WHEN_DUPLICATE = "Nothing: to have it done once more, push it with another idempotency_key."
_UNSENT = ("expired", "duplicate")
_WAS_DONE = Delivered("", None, 0)
"""The outcome of a job that is done and dies of its answer, as far as its claims are concerned."""
SLOTS_FULL = Reason("SlotsFull", "As many jobs of this command as Slots allows are in progress, and many wait.")


def unserved_warning(queue: str) -> OperatorWarning:
    """Return the warning for a job of `queue` whose `retry_queue` does not count, since its target does not serve it.

    No text of a producer is in it: the words are the same for all jobs of a queue, so that the log sums them up.
    """
    found = unmet.found("RetryQueueIgnored")
    return OperatorWarning(found.code, f"A job of the queue {queue!r} {found.what}.", found.hint)


def stopped_warning(target: str, queue: str, jid: str) -> OperatorWarning:
    """Return the warning for a job of `queue` whose death stopped its key."""
    return OperatorWarning(
        ORDER_STOPPED,
        f"The job {jid} of the queue {queue!r} died, and the jobs behind it with the same key wait (OnDead).",
        "`restbroker keys` shows the key; `keys retry` retries the job, `keys skip` goes on without it.",
        target=target,
    )
