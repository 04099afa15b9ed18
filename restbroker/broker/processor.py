"""A worker: takes one job at a time from the hand-over, reads it, has it delivered, and decides what becomes of it.

A pool runs `TargetPlan.workers` of them: `Concurrency`, and one for each place in a slot. Always holds: every item that
goes on to the committer has a settlement. An item that has none was not sent, or is being sent while the pool is cut
off (`JobInProgress.sending` says so), or is not ours any more.
"""

import random
import time
from collections.abc import Coroutine
from typing import Any, assert_never

import attrs

from restbroker.broker import reports
from restbroker.broker.admission import Admitted, admit, stored
from restbroker.broker.deliver import Done, deliver
from restbroker.broker.job_in_progress import JobInProgress, Worker
from restbroker.broker.slots import Slot
from restbroker.broker.worker_pool import WorkerPool
from restbroker.errors import StoreRefused
from restbroker.job import arguments, rubyjson, settle
from restbroker.job.command import Call, CommandSpec
from restbroker.job.job import EFFECTED_FIELD, Job, NotAJob, digest, read, spare_jid, too_large
from restbroker.job.outcome import Deferred, Delivered, Reason, Rejected, Uncertain
from restbroker.job.policy import Context
from restbroker.job.settle import Final
from restbroker.job.settlement import Ack, Back, Fingerprint, Settlement
from restbroker.telemetry.events import Warned


async def run(pool: WorkerPool) -> None:
    """Work until the hand-over is closed. When cancelled, the item in progress keeps what is known of it.

    An item without a settlement stays: the pool stops before it could be sent, it waits for a place in its slot, or it
    is not in our hands any more. When a person cancels the job in progress, it is parked and the worker goes on.
    """
    ready = pool.ready
    while True:
        hand = Worker()
        pool.hands.add(hand)
        # Not one for each job: that would cost each a microsecond. Once cancelled it takes no other job: `take` asks.
        with hand.scope:
            while (item := await ready.take()) is not None:
                hand.item = item
                pool.handed = max(pool.handed, item.number)
                try:
                    admitted = _admitted(pool, item)
                    if admitted is not None and not (
                        item.fingerprint and await _is_replay(pool, item, item.fingerprint)
                    ):
                        done = await _delivery(pool, item, admitted)
                        if done is not None:
                            _settle(pool, item, admitted.job, admitted.known.spec, done.outcome, done.duration_s)
                except Exception as error:  # noqa: BLE001 - whatever it is; its text may hold secrets
                    _park(pool, item, error)
                if item.settlement is not None:
                    pool.finished.add(item, more=ready.is_ready)
                # Else each worker that waits keeps its last job, which may take a hundred times its bytes.
                hand.item = item = admitted = done = None
            return
        pool.hands.discard(hand)
        _cancelled(pool, hand)


def read_job(pool: WorkerPool, item: JobInProgress) -> Job | NotAJob:
    """Read the item's payload, and return the job in it, which `item.job` keeps, or what it is instead."""
    item.recovered, recovered = _recovered(pool, item) if pool.recovered else (None, 0)
    if item.size_bytes:
        return too_large(item.size_bytes, item.queue, spare_jid(pool.identity, item.ticket))
    entry = read(item.raw, item.queue, "", recovered + item.forgotten)
    if not entry.jid:
        entry = attrs.evolve(entry, jid=spare_jid(pool.identity, item.ticket))
    item.job = entry if isinstance(entry, Job) else None
    return entry


def _recovered(pool: WorkerPool, item: JobInProgress) -> tuple[str | None, int]:
    """Return the name under which the item's runs before a crash are counted (None: there are none), and the count."""
    name = digest(item.raw)
    recovered = pool.recovered.get(name, 0)
    return (name if recovered else None), recovered


def cut_off(pool: WorkerPool, item: JobInProgress, *, told: bool) -> None:
    """Settle an item whose request was sent and not answered when the pool had to stop.

    `told`: the process got the order to stop. If it fails instead, this job may be why, and uses up a try. An item that
    holds no job is left as it is.
    """
    if item.job is None:
        return
    item.reply_id = arguments.token_and_reply_id(item.job.fields.get("args"))[1]
    spec = pool.plan.connector.spec(item.command)
    outcome = Uncertain(settle.reason_of(spec, _CUT_OFF))
    if not told:
        _settle(pool, item, item.job, spec, outcome)
        return
    context = _context(pool, item, 0.0)
    settlement = settle.cut_off(stored(pool, item, item.job), spec, outcome.reason, context)
    _conclude(pool, item, settlement, context, outcome)


def put_back(pool: WorkerPool, item: JobInProgress) -> None:
    """Settle an item that was not sent, or only in part: back to its queue, with a note if a part of it was done."""
    job = item.job if item.effected else None
    item.settlement = Back() if job is None else settle.requeue_begun(stored(pool, item, job))


def _cancelled(pool: WorkerPool, hand: Worker) -> None:
    """Park the job that a person cancelled in this hand, unless it was settled in the last moment."""
    item = hand.cancelled
    if item is None or item is not hand.item or item.settlement is not None or item.ticket not in pool.in_hand:
        return
    if item.job is None or item.ticket in pool.slots.waiting():
        return
    context = _context(pool, item, 0.0)
    was_sent = item.sending or item.effected
    reason = _CANCELLED_SENT if was_sent else _CANCELLED
    settlement = settle.settle_cancelled(stored(pool, item, item.job), reason, context, was_sent=was_sent)
    _conclude(pool, item, settlement, context, Uncertain(reason) if was_sent else Rejected(reason))
    pool.finished.add(item, more=pool.ready.is_ready)


def _park(pool: WorkerPool, item: JobInProgress, error: Exception) -> None:
    """Settle a job on which the worker itself failed: parked as it is (or begun), it costs itself alone.

    Otherwise it would be the first one taken at each start, in process after process, and it is by no means a crash of
    which the job is suspected.
    """
    may = "; the command may have run" if item.sending or item.effected else ""
    reason = Reason("Bug", f"restbroker failed with {type(error).__name__} on this job{may}.", "Please report this.")
    context = _context(pool, item, 0.0)
    fields = rubyjson.object_of(item.raw) if item.effected else None
    raw = item.raw if fields is None else rubyjson.dumps({**fields, EFFECTED_FIELD: True})
    entry = NotAJob(raw, spare_jid(pool.identity, item.ticket), item.queue, reason, item.size_bytes > 0)
    item.job, item.command = None, ""
    _conclude(pool, item, settle.settle_unreadable(entry, context), context, Rejected(reason))


def _admitted(pool: WorkerPool, item: JobInProgress) -> Admitted | None:
    """Return what the item's job asks for; None if it is not let in, or may not be sent again, and is settled so."""
    item.started_at_s = time.time()
    entry = read_job(pool, item)
    if isinstance(entry, NotAJob):
        context = _context(pool, item, 0.0)
        _conclude(pool, item, settle.settle_unreadable(entry, context), context, Rejected(entry.reason))
        return None
    admitted = admit(pool, item, entry)
    if isinstance(admitted, Reason):
        _settle(pool, item, item.job or entry, None, Rejected(admitted))
        return None
    item.admitted, item.at_most_once = True, admitted.known.at_most_once
    return _again(pool, item, admitted) if admitted.job.maybe_run else admitted


async def _is_replay(pool: WorkerPool, item: JobInProgress, fingerprint: Fingerprint) -> bool:
    """Tell whether a signed job was done before; then it is settled as that, and no second answer is pushed.

    False also if Redis refuses to say.
    """
    try:
        if not await pool.replays.is_replay(fingerprint):
            return False
    except StoreRefused as error:
        pool.complain("StoreRefused", error.message, error.cure)
        return False
    item.settlement, item.event = Ack(), reports.repeated(pool, item)
    pool.report(_replayed(item.queue))
    return True


def _again(pool: WorkerPool, item: JobInProgress, admitted: Admitted) -> Admitted | None:
    """Return `admitted`, for a job that may have run already; None if it may not be sent again, and is settled so."""
    job, spec, uncertain_retries = admitted.job, admitted.known.spec, pool.plan.policy.uncertain_retries
    if item.at_most_once:
        job, uncertain_retries = _unmarked(pool, item, job), 0
    if not settle.may_send(job, spec, uncertain_retries, at_most_once=item.at_most_once):
        _settle(pool, item, job, spec, Uncertain(settle.reason_of(spec, _TOO_OFTEN)))
        return None
    return attrs.evolve(admitted, job=job)


def _delivery(pool: WorkerPool, item: JobInProgress, admitted: Admitted) -> Coroutine[Any, Any, Done | None]:
    """Return the delivery of the job, to be awaited at once.

    It has no coroutine of its own: each is one more to pass at every wake-up.
    """
    job, known = admitted.job, admitted.known
    traceparent = job.traceparent
    call = Call(
        admitted.submission.command,
        job.attempt,
        job.may_have_run,
        pool.plan.target.default_host,
        known.timeout_s,
        job.ok_if_exists,
        () if traceparent is None else (("traceparent", traceparent),),
        job.identity,
    )
    if known.slot is None:
        return deliver(pool, item, call, known.spec)
    return _deliver_in_slot(pool, item, call, job, known.spec, known.slot)


async def _deliver_in_slot(
    pool: WorkerPool, item: JobInProgress, call: Call, job: Job, spec: CommandSpec | None, slot: Slot
) -> Done | None:
    """Deliver the job within its slot, and return what `deliver` does.

    None also if it waits for a place in its slot, or is deferred since too many wait already.
    """
    match pool.slots.enter(slot, item):
        case "in":
            item.in_slot = True
        case "waiting":
            return None
        case "full":
            context = _context(pool, item, 0.0)
            put_off = settle.defer_crowded(stored(pool, item, job), context)
            _conclude(pool, item, put_off, context, Deferred(_CROWDED, counts=False))
            return None
        case other:
            assert_never(other)
    try:
        return await deliver(pool, item, call, spec)
    finally:
        item.in_slot = False
        if (following := pool.slots.leave(slot)) is not None:
            pool.ready.put_first(following)


def _unmarked(pool: WorkerPool, item: JobInProgress, job: Job) -> Job:
    """Return the job without its runs before crashes: had it been about to be sent, its mark would have parked it.

    Those of a program that wrote no marks stay.
    """
    if item.recovered is None or f"!{item.recovered}" in pool.recovered:
        return job
    return attrs.evolve(job, maybe_run=job.maybe_run - pool.recovered.get(item.recovered, 0))


def _settle(
    pool: WorkerPool, item: JobInProgress, job: Job, spec: CommandSpec | None, outcome: Final, duration_s: float = 0.0
) -> None:
    if isinstance(outcome, Delivered):
        done = settle.acknowledge(job, item.reply_id)
        if done is not None:
            _note(
                pool, item, done if item.fingerprint is None else Ack(fingerprint=item.fingerprint), outcome, duration_s
            )
            return
    else:
        job = stored(pool, item, job)
    context = _context(pool, item, duration_s)
    settlement = settle.settle(job, spec, outcome, context)
    if isinstance(settlement, Ack) and item.fingerprint is not None:
        settlement = Ack(settlement.replies, item.fingerprint)
    _conclude(pool, item, settlement, context, outcome)


def _conclude(pool: WorkerPool, item: JobInProgress, settlement: Settlement, context: Context, outcome: Final) -> None:
    item.context = context
    _note(pool, item, settlement, outcome, context.duration_s)


def _note(pool: WorkerPool, item: JobInProgress, settlement: Settlement, outcome: Final, duration_s: float) -> None:
    item.settlement = settlement
    if isinstance(outcome, Delivered) and isinstance(settlement, Ack) and outcome.note is None:
        item.status, item.took_s = outcome.status, duration_s
    else:
        item.event = reports.finished(pool, item, settlement, outcome, duration_s)


def _context(pool: WorkerPool, item: JobInProgress, duration_s: float) -> Context:
    reply_jid = "" if item.reply_id is None else spare_jid(pool.identity, item.ticket)
    jitter = random.random()  # noqa: S311 - spreads retries, protects nothing
    return Context(
        pool.plan.policy,
        time.time(),
        jitter,
        item.number % 1000,
        reply_jid,
        duration_s,
        item.command,
        item.reply_id,
        item.at_most_once,
        pool.plan.target.queues,
    )


def _replayed(queue: str) -> Warned:
    return Warned(
        "JobReplayed",
        f"A signed job of the queue {queue!r} had been done before and was not done again.",
        "A producer may repeat a push whose answer was lost. If none does, check who can write to Redis.",
    )


_CUT_OFF = Reason(
    "CutOff", "The broker had to stop before the server answered; the command may have run.", "Look at the server."
)
_CANCELLED = Reason("Cancelled", "Someone cancelled it before it was sent.", "A retry sends it.")
_CANCELLED_SENT = Reason(
    "Cancelled",
    "Someone cancelled it after it was sent and before the server answered; the command may have run.",
    "Check on the server whether it was done. A retry sends it again.",
)
_CROWDED = Reason("SlotsFull", "As many jobs of this command as Slots allows are in progress, and many wait.")
_TOO_OFTEN = Reason(
    "Uncertain",
    "The command was sent several times without an answer and may have run each time; it is not safe to repeat.",
    "Check on the server whether it was done. A retry sends it again.",
)
