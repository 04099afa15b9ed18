"""A worker: takes one job at a time from the hand-over, reads it, has it delivered, and decides what becomes of it.

A lane runs `LanePlan.workers` of them: `Concurrency`, and one for each place in a slot. Always holds: every item that
goes on to the committer has a settlement. One that does not was not sent, or is being sent while the lane is cut off
(`Item.sending` tells), or is not ours any more.
"""

import random
import time
from typing import assert_never

import attrs

from restbroker.broker import news
from restbroker.broker.admission import Admitted, admit, stored
from restbroker.broker.commands import Known
from restbroker.broker.delivery import deliver
from restbroker.broker.item import Item
from restbroker.broker.lane import Lane
from restbroker.rules import arguments, settle
from restbroker.rules.command import Call, CommandSpec
from restbroker.rules.job import Job, NotAJob, digest, read, spare_jid
from restbroker.rules.outcome import Deferred, Delivered, Reason, Rejected, Uncertain
from restbroker.rules.policy import Context
from restbroker.rules.settle import Final
from restbroker.rules.settlement import Ack, Settlement


async def run(lane: Lane) -> None:
    """Works until the hand-over is closed. When cancelled, the item in hand keeps what is known of it."""
    while (item := await lane.handover.take()) is not None:
        lane.handed = max(lane.handed, item.number)
        if await _settled(lane, item):
            lane.finished.add(item, more=lane.handover.is_ready)


def read_job(lane: Lane, item: Item) -> Job | NotAJob:
    """Reads the item's payload, and keeps the job in it if there is one."""
    name = digest(item.raw) if lane.recovered else ""
    recovered = lane.recovered.get(name, 0)
    item.recovered = name if recovered else None
    entry = read(item.raw, item.queue, "", recovered + item.forgotten)
    if not entry.jid:
        entry = attrs.evolve(entry, jid=spare_jid(lane.identity, item.ticket))
    item.job = entry if isinstance(entry, Job) else None
    return entry


def cut_off(lane: Lane, item: Item) -> None:
    """Settles an item whose request was sent and not answered when the lane had to stop."""
    if item.job is not None:
        item.reply_id = arguments.addressed(item.job.fields.get("args"))[1]
        _settle(lane, item, item.job, lane.plan.connector.spec(item.command), Uncertain(_CUT_OFF))


async def _settled(lane: Lane, item: Item) -> bool:
    """Whether the item is settled. False: the lane stops before it could be sent, it waits for a place in its slot, or
    it is not in our hands any more.

    A job that no rule foresaw is parked as it is: it must cost itself alone, not process after process. It would be the
    first one taken at each start, and by no means a crash of which it is suspected.
    """
    try:
        admitted = _admitted(lane, item)
        return admitted is None or await _deliver(lane, item, admitted)
    except Exception as error:  # noqa: BLE001 - whatever it is; its text may hold secrets
        may = "; the command may have run" if item.sending else ""
        reason = Reason(
            "Bug", f"restbroker failed with {type(error).__name__} over this job{may}.", "Please report this."
        )
        context = _context(lane, item, 0.0)
        entry = NotAJob(item.raw, spare_jid(lane.identity, item.ticket), item.queue, reason)
        item.job, item.command = None, ""
        _conclude(lane, item, settle.settle_unreadable(entry, context), context, Rejected(reason))
        return True


def _admitted(lane: Lane, item: Item) -> Admitted | None:
    """What the item asks for; None if it is not let in, and is settled so."""
    item.started_at_s = time.time()
    entry = read_job(lane, item)
    if isinstance(entry, NotAJob):
        context = _context(lane, item, 0.0)
        _conclude(lane, item, settle.settle_unreadable(entry, context), context, Rejected(entry.reason))
        return None
    admitted = admit(lane, item, entry)
    if isinstance(admitted, Reason):
        _settle(lane, item, item.job or entry, None, Rejected(admitted))
        return None
    return admitted


async def _deliver(lane: Lane, item: Item, admitted: Admitted) -> bool:
    job, known = admitted.job, admitted.known
    item.at_most_once = known.at_most_once
    job = _unmarked(lane, item, job) if item.at_most_once else job
    uncertain_retries = 0 if item.at_most_once else lane.plan.policy.uncertain_retries
    if not settle.may_send(job, known.spec, uncertain_retries, at_most_once=item.at_most_once):
        _settle(lane, item, job, known.spec, Uncertain(_TOO_OFTEN))
        return True
    if known.slot is not None:
        match lane.slots.enter(known.slot, item):
            case "in":
                item.in_slot = True
            case "waiting":
                return False
            case "full":
                context = _context(lane, item, 0.0)
                put_off = settle.crowded(stored(lane, item, job), context)
                _conclude(lane, item, put_off, context, Deferred(_CROWDED, counts=False))
                return True
            case other:
                assert_never(other)
    try:
        done = await deliver(lane, item, _call(lane, job, admitted), known.spec)
    finally:
        _leave_slot(lane, item, known)
    if done is None:
        return False
    _settle(lane, item, job, known.spec, done.outcome, done.duration_s)
    return True


def _leave_slot(lane: Lane, item: Item, known: Known) -> None:
    if item.in_slot and known.slot is not None:
        item.in_slot = False
        if (following := lane.slots.leave(known.slot)) is not None:
            lane.handover.put_first(following)


def _unmarked(lane: Lane, item: Item, job: Job) -> Job:
    """The job without its crashes: had it been about to be sent, its mark would have parked it."""
    if item.recovered is None or f"!{item.recovered}" in lane.recovered:
        return job
    return attrs.evolve(job, maybe_run=job.maybe_run - lane.recovered.get(item.recovered, 0))


def _call(lane: Lane, job: Job, admitted: Admitted) -> Call:
    traceparent = job.traceparent
    return Call(
        admitted.submission.command,
        job.attempt,
        job.may_have_run,
        lane.plan.target.default_host,
        admitted.known.timeout_s,
        job.ok_if_exists,
        () if traceparent is None else (("traceparent", traceparent),),
    )


def _settle(
    lane: Lane, item: Item, job: Job, spec: CommandSpec | None, outcome: Final, duration_s: float = 0.0
) -> None:
    if isinstance(outcome, Delivered):
        done = settle.unanswered(job, item.reply_id)
        if done is not None:
            _note(lane, item, done, outcome, duration_s)
            return
    else:
        job = stored(lane, item, job)
    context = _context(lane, item, duration_s)
    _conclude(lane, item, settle.settle(job, spec, outcome, context), context, outcome)


def _conclude(lane: Lane, item: Item, settlement: Settlement, context: Context, outcome: Final) -> None:
    item.context = context
    _note(lane, item, settlement, outcome, context.duration_s)


def _note(lane: Lane, item: Item, settlement: Settlement, outcome: Final, duration_s: float) -> None:
    item.settlement = settlement
    if isinstance(outcome, Delivered) and isinstance(settlement, Ack) and outcome.note is None:
        item.status, item.took_s = outcome.status, duration_s
    else:
        item.event = news.finished(lane, item, settlement, outcome, duration_s)


def _context(lane: Lane, item: Item, duration_s: float) -> Context:
    reply_jid = "" if item.reply_id is None else spare_jid(lane.identity, item.ticket)
    jitter = random.random()  # noqa: S311 - spreads retries, protects nothing
    return Context(
        lane.plan.policy,
        time.time(),
        jitter,
        item.number % 1000,
        reply_jid,
        duration_s,
        item.command,
        item.reply_id,
        item.at_most_once,
    )


_CUT_OFF = Reason(
    "CutOff", "The broker had to stop before the server answered; the command may have run.", "Look at the server."
)
_CROWDED = Reason("SlotsFull", "As many of this command as Slots allows are on their way, and many wait.")
_TOO_OFTEN = Reason(
    "Uncertain",
    "The command was sent several times without an answer and may have run each time; it is not repeat-safe.",
    "Look at the server whether it was done. A retry sends it again.",
)
