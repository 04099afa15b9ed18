"""A worker: takes one job at a time from the hand-over, has it delivered, and decides what becomes of it.

A lane runs `Concurrency` of them. Always holds: the outcome of a delivery is known to the gate before the next one
starts; a job that was not sent stays with its worker until the target works again or the lane stops; and no
exception of a connector ends the worker (the one `except Exception` of this task).
"""

import random
import time
from typing import assert_never

import attrs
import trio

from restbroker.broker.item import Item
from restbroker.broker.lane import Lane
from restbroker.broker.link import WorkerLink
from restbroker.rules import arguments, redact, settle
from restbroker.rules.arguments import Submission
from restbroker.rules.command import Call, CommandSpec
from restbroker.rules.job import Job, NotAJob, digest, read, spare_jid
from restbroker.rules.outcome import Deferred, Delivered, Denied, Outcome, Reason, Rejected, Uncertain, Unsent
from restbroker.rules.policy import Context
from restbroker.rules.settlement import Settlement
from restbroker.telemetry.events import JobFinished, Warned
from restbroker.transport.errors import MaybeSent, NotSent

_UNSENT_LIMIT = 3
"""So often may one job stay unsent while others succeed; then it counts as a failed try."""


async def run(lane: Lane) -> None:
    """Works until the hand-over is closed. When cancelled, the job in hand keeps what is known of it."""
    async with lane.outcomes.clone() as outcomes:
        while (item := await lane.handover.take()) is not None:
            lane.handed = max(lane.handed, item.number)
            if await _work(lane, item):
                await outcomes.send(item)


async def _work(lane: Lane, item: Item) -> bool:
    """Whether the item is settled; False if the lane stops before it could be sent."""
    recovered = lane.recovered.get(digest(item.raw), 0) if lane.recovered else 0
    entry = read(item.raw, item.queue, spare_jid(lane.identity, item.ticket), recovered)
    if isinstance(entry, NotAJob):
        context = _context(lane, item, 0.0, None)
        _conclude(lane, item, settle.settle_unreadable(entry, context), context, Rejected(entry.reason), None)
        return True
    item.job = entry
    submission = arguments.read(entry.fields.get("args"))
    if isinstance(submission, Submission) and not lane.plan.tokens.allow(submission.token):
        submission = _BAD_TOKEN
    if isinstance(submission, Reason):
        _settle(lane, item, entry, None, None, Rejected(submission), 0.0)
        return True
    item.command = submission.command.endpoint
    spec = lane.plan.connector.spec(item.command)
    _warn_of_lost_reply(lane, submission)
    return await _deliver_and_settle(lane, item, entry, submission, spec)


async def _deliver_and_settle(
    lane: Lane, item: Item, job: Job, submission: Submission, spec: CommandSpec | None
) -> bool:
    if not settle.may_send(job, spec, lane.plan.policy.uncertain_retries):
        _settle(lane, item, job, submission, spec, Uncertain(_TOO_OFTEN), 0.0)
        return True
    item.context = _context(lane, item, 0.0, submission)
    delivered = await _deliver(lane, item, job, submission, spec)
    if delivered is None:
        return False
    outcome, duration_s = delivered
    _settle(lane, item, job, submission, spec, _redacted(lane, spec, submission, outcome), duration_s)
    return True


async def _deliver(
    lane: Lane, item: Item, job: Job, submission: Submission, spec: CommandSpec | None
) -> tuple[settle.Final, float] | None:
    """Delivers until there is an outcome to settle; None if the lane stops first."""
    call = _call(lane, job, submission, spec)
    unsent, successes = 0, lane.gate.successes
    while await lane.gate.opened():
        if not lane.lease.is_fresh:
            await _pause(lane, 0.5)
            continue
        began_s = time.perf_counter()
        outcome = await _attempt(lane, item, call)
        duration_s = time.perf_counter() - began_s
        lane.gate.observe(outcome)
        match outcome:
            case Delivered() | Rejected() | Deferred() | Uncertain():
                return outcome, duration_s
            case Denied():
                decided = await _after_denial(lane, outcome)
                if decided is not None:
                    return decided, duration_s
                item.sending = False
            case Unsent(reason):
                item.sending = False
                item.last_problem = reason
                if lane.gate.successes > successes:
                    unsent, successes = unsent + 1, lane.gate.successes
                if unsent >= _UNSENT_LIMIT:
                    return Deferred(reason), duration_s
                await _pause(lane, 0.2)
            case _:
                assert_never(outcome)
    return None


async def _attempt(lane: Lane, item: Item, call: Call) -> Outcome:
    link = WorkerLink(lane.plan.transport, item)
    try:
        return await lane.plan.connector.deliver(call, link)
    except NotSent as problem:
        reason = Reason("TlsRefused" if problem.tls else "TargetUnreachable", problem.message)
        if problem.by_request:
            return Rejected(Reason("UnsendableRequest", problem.message, "The job's own values make it unsendable."))
        return Unsent(reason)
    except MaybeSent as problem:
        code = "TimedOut" if problem.timed_out else "ConnectionLost"
        reason = Reason(code, problem.message)
        return Uncertain(reason) if item.sending else Unsent(reason)
    except Exception as error:  # noqa: BLE001 - a connector's bug must not end the worker; the type alone is told
        reason = Reason("Bug", f"The connector failed with {type(error).__name__}.", "Please report this.")
        return Uncertain(reason) if item.sending else Deferred(reason, max_attempts=3)


async def _after_denial(lane: Lane, denied: Denied) -> Rejected | None:
    """Rejected if the target lets the broker in otherwise; None (and the gate closed) if it refuses us altogether."""
    try:
        probe = await lane.plan.connector.probe(WorkerLink(lane.plan.transport))
    except (NotSent, MaybeSent) as problem:
        lane.gate.observe(Unsent(Reason("TargetUnreachable", problem.message)))
        await _pause(lane, 0.2)
        return None
    if probe.denied:
        lane.gate.deny(denied.reason)
        return None
    if probe.ok:
        return Rejected(denied.reason, denied.text)
    await _pause(lane, 1.0)
    return None


async def _pause(lane: Lane, seconds: float) -> None:
    with trio.move_on_after(seconds * random.uniform(0.75, 1.25)):  # noqa: S311 - spreads load, protects nothing
        await lane.stopping.wait()


def _call(lane: Lane, job: Job, submission: Submission, spec: CommandSpec | None) -> Call:
    target = lane.plan.target
    return Call(
        command=submission.command,
        attempt=job.attempt,
        maybe_run=job.maybe_run > 0,
        host=target.default_host,
        timeout_s=target.timeout_s if spec is None or spec.timeout_s is None else max(spec.timeout_s, target.timeout_s),
        ok_if_exists=job.ok_if_exists,
        headers=() if job.traceparent is None else (("traceparent", job.traceparent),),
    )


def _settle(
    lane: Lane,
    item: Item,
    job: Job,
    submission: Submission | None,
    spec: CommandSpec | None,
    outcome: settle.Final,
    duration_s: float,
) -> None:
    context = _context(lane, item, duration_s, submission)
    _conclude(lane, item, settle.settle(job, spec, outcome, context), context, outcome, job)


def _conclude(
    lane: Lane, item: Item, settlement: Settlement, context: Context, outcome: settle.Final, job: Job | None
) -> None:
    reason = None if isinstance(outcome, Delivered) else outcome.reason
    item.context = context
    item.settlement = settlement
    item.event = JobFinished(
        target=lane.plan.target.name,
        queue=item.queue,
        command=item.command or "?",
        jid=job.jid if job is not None else spare_jid(lane.identity, item.ticket),
        outcome=type(outcome).__name__.lower(),
        fate=type(settlement).__name__.lower(),
        attempt=job.attempt if job is not None else 1,
        duration_s=context.duration_s,
        status=outcome.status if isinstance(outcome, Delivered) else outcome.reason.status,
        code=None if reason is None else reason.code,
        message=None if reason is None else reason.message,
        cure=None if reason is None else reason.cure,
        note=outcome.note if isinstance(outcome, Delivered) else None,
    )


def _context(lane: Lane, item: Item, duration_s: float, submission: Submission | None) -> Context:
    return Context(
        policy=lane.plan.policy,
        now_s=time.time(),
        jitter=random.random(),  # noqa: S311 - spreads retries, protects nothing
        unique=item.number % 1000,
        reply_jid=spare_jid(lane.identity, item.ticket),
        duration_s=duration_s,
        command=item.command,
        reply_id=None if submission is None else submission.reply_id,
    )


def _redacted(lane: Lane, spec: CommandSpec | None, submission: Submission, outcome: settle.Final) -> settle.Final:
    if isinstance(outcome, Delivered):
        return outcome
    secrets = redact.secret_values(spec, submission.command.arguments) | frozenset(lane.plan.tokens.values)
    message = redact.text(outcome.reason.message, secrets)
    return attrs.evolve(outcome, reason=attrs.evolve(outcome.reason, message=message))


def _warn_of_lost_reply(lane: Lane, submission: Submission) -> None:
    if submission.reply_id is None or lane.plan.policy.reply_queue is not None or "reply" in lane.warned:
        return
    lane.warned.add("reply")
    lane.report(
        Warned(
            "ReplyWithoutQueue",
            "A job asks for a reply, but no ResponseQueue is configured: its answer goes nowhere.",
            'Set "ResponseQueue", or leave the fourth argument out.',
        )
    )


_BAD_TOKEN = Reason(
    "BadToken",
    "The token (third argument) is not one that this broker accepts.",
    'Push with the token of the configuration ("Token" or "TokenFile").',
)
_TOO_OFTEN = Reason(
    "Uncertain",
    "The command was sent several times without an answer and may have run each time; it is not repeat-safe.",
    "Look at the server whether it was done. A retry sends it again.",
)


def cut_off(lane: Lane, item: Item) -> None:
    """Settles an item whose request was sent and not answered when the lane had to stop."""
    if item.job is not None:
        submission = arguments.read(item.job.fields.get("args"))
        given = submission if isinstance(submission, Submission) else None
        _settle(lane, item, item.job, given, lane.plan.connector.spec(item.command), Uncertain(_CUT_OFF), 0.0)


_CUT_OFF = Reason(
    "CutOff", "The broker had to stop before the server answered; the command may have run.", "Look at the server."
)
