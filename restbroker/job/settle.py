"""Makes the settlement of a job from its outcome: all rules for that, as pure functions.

The broker's settler calls `settle` for each outcome, and `drop_reply` if Redis refuses a reply; the acker calls
`perturb` if a set already holds an equal job; the reaper calls `settle_crashed` for at-most-once jobs that a dead
process had in progress. Always holds: every job gets exactly one settlement, and no job vanishes unless it says
`"dead": false` itself, or expired.
"""

from collections.abc import Callable, Mapping
from typing import assert_never

import attrs

from restbroker.job import arguments, claims, display, retry, rubyjson
from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.claim_changes import give_up_all
from restbroker.job.claims import JobClaims
from restbroker.job.command import CommandSpec, repeat_safe
from restbroker.job.format import large_key
from restbroker.job.job import (
    MAY_HAVE_RUN_FIELD,
    UNADMITTED_FIELD,
    UNCERTAIN_FIELD,
    Job,
    NotAJob,
    digest,
    read,
    spare_jid,
)
from restbroker.job.json_types import Json, as_count
from restbroker.job.outcome import (
    Deferred,
    Delivered,
    Denied,
    Duplicate,
    Expired,
    Outcome,
    Reason,
    Rejected,
    Uncertain,
    Unsent,
)
from restbroker.job.policy import Context, Policy
from restbroker.job.repair import repair
from restbroker.job.reply import ReplyContent, failed_answer, make_replies
from restbroker.job.settlement import Ack, Dead, Drop, OrphanedJob, Reply, Requeue, Retry, Schedule, Settlement

DEFERRED_FIELD = "restbroker_deferred"
"""The field that counts how often this job was deferred without using up a try."""
FREE_DEFERRALS = 5
"""So often a job may be deferred for free; then each "not now" is a try, or one sick command would never end."""
CROWDED_FIELD = "restbroker_crowded"
"""The field that counts how often this job could not begin."""
_CROWDED_LIMIT = 20
_CROWDED_LONGEST_S = 60.0
_BEHIND_S = 5.0
_BEHIND_LONGEST_S = 22.0


Final = Delivered | Rejected | Deferred | Uncertain | Expired | Duplicate
"""The outcomes that end a delivery. `Unsent` and `Denied` never do: the worker keeps the job."""
Specs = Callable[[str], CommandSpec | None]
"""A function that returns what a target's catalogue says of the command of a name."""


def settle(job: Job, spec: CommandSpec | None, outcome: Final, context: Context) -> Settlement:
    """Return the settlement of a job with this outcome.

    `spec` is its command in the catalogue; None outside of it: then the command is not repeat-safe.
    """
    match outcome:
        case Delivered():
            return Ack(make_replies(job, _answer_of(outcome), context))
        case Rejected(reason, text):
            return _to_dead(job, reason, text, context)
        case Deferred():
            return _settle_deferred(job, outcome, context)
        case Uncertain(reason, is_final=is_final):
            return _uncertain(job, spec, reason, context, is_final=is_final)
        case Expired():
            return _expire(job, outcome, context)
        case Duplicate(reason, _, first):
            answer = attrs.evolve(failed_answer("duplicate", reason, None), first=first)
            return Ack(make_replies(job, answer, context))
        case _:
            assert_never(outcome)


def before_sending(outcome: Outcome) -> Outcome:
    """Return the outcome of a request before the command's own (a login, a look-up) as one of a command not sent."""
    match outcome:
        case Uncertain(reason, by_gateway=True):
            return Unsent(reason)
        case Uncertain(reason):
            return Deferred(reason)
        case Deferred() | Denied():
            return attrs.evolve(outcome, ran="no")
        case _:
            return outcome


def apply_at_most_once(outcome: Outcome) -> Outcome:
    """Return the outcome of a command that must run at most once: without a proof that it did not run, it may have."""
    match outcome:
        case Deferred(ran="unlikely" | "maybe"):
            return Uncertain(outcome.reason, outcome.pause_target)
        case Denied(ran="unlikely" | "maybe"):
            return Uncertain(outcome.reason, by_gateway=True)
        case _:
            return outcome


def expire_before(settlement: Settlement, outcome: Final, expires_at_s: float | None, now_s: float) -> Expired | None:
    """Return the outcome in place of `outcome` for a job whose next try would come after its expiry; else None.

    `settlement` is that of `outcome`. Times are epoch seconds; None: the job never expires.
    """
    if expires_at_s is None or not isinstance(settlement, Retry | Schedule):
        return None
    if now_s + settlement.delay_s < expires_at_s:
        return None
    assert isinstance(outcome, Deferred | Uncertain)  # noqa: S101 - no other leads to another try
    last = outcome.reason
    reason = Reason(
        EXPIRED,
        f"Its next try would come after its expiry. The last one ended with {last.code}: {last.message}",
        last.hint,
        last.status,
    )
    if isinstance(outcome, Uncertain):
        return Expired(reason, maybe_run=True)
    return Expired(reason, outcome.text, maybe_run=outcome.ran == "maybe")


EXPIRED = "Expired"
"""The code of the reason why a job that expired was not sent (again)."""
DUPLICATE = "Duplicate"
"""The code of the reason why a job was not sent whose idempotency key another one has."""


def reason_of(spec: CommandSpec | None, reason: Reason) -> Reason:
    """Return `reason`, why a command was not answered, with the code and hint of `spec.unanswered` if there are any."""
    if spec is None or spec.unanswered is None:
        return reason
    return attrs.evolve(reason, code=spec.unanswered.code, hint=spec.unanswered.hint)


ACK = Ack()
"""The settlement of each delivered job whose producer wants no answer."""


def settle_cancelled(job: Job, reason: Reason, context: Context, *, was_sent: bool) -> Settlement:
    """Return the settlement of a job that a person cancelled while it was in progress: it dies.

    If it was sent, it dies as one that may have run, so that the person who retries it learns of it.
    """
    if not was_sent:
        return _to_dead(job, reason, None, context, outcome="cancelled")
    return _to_dead(attrs.evolve(job, maybe_run=job.maybe_run + 1), reason, None, context, outcome="uncertain")


def settle_cut_off(job: Job, spec: CommandSpec | None, reason: Reason, context: Context) -> Settlement:
    """Return the settlement of a job that was sent and not answered when its process was ordered to stop.

    If it is safe to repeat, it is requeued and uses up no try, as with Sidekiq, and its payload records that it may
    have run, so that its own effect is not taken for an error. Else it is settled as `Uncertain`.
    """
    if context.at_most_once or not repeat_safe(spec):
        return _uncertain(job, spec, reason, context)
    return requeue(attrs.evolve(job, maybe_run=job.maybe_run + 1))


def requeue(job: Job) -> Requeue:
    """Return the settlement that requeues a job which may have run, or of which a part is done.

    No try is used up, and the payload records `job.maybe_run`.
    """
    fields = {**job.fields, "jid": job.jid}
    if job.maybe_run:
        fields[UNCERTAIN_FIELD] = job.maybe_run
    return Requeue(rubyjson.dumps(fields))


def settle_unreadable(entry: NotAJob, context: Context) -> Settlement:
    """Return the settlement of bytes that are no job: dead, wrapped as one that Sidekiq Web can show.

    Where only the store has them, the entry has the name of the key in which it keeps them, and their length.
    """
    message, key = entry.reason.text, large_key(entry.jid)
    if entry.size_bytes:
        message += f" Its {entry.size_bytes} bytes are in the key {key}."
    fields = retry.wrap_unreadable(
        entry.raw,
        queue=entry.queue,
        jid=entry.jid,
        reason_code=entry.reason.code,
        message=message,
        now_s=context.now_s,
    )
    if entry.size_bytes:
        fields["args"] = [key, entry.size_bytes]
    payload = rubyjson.dumps(_unadmitted(fields, context))
    large = entry.jid if entry.size_bytes else ""
    return Dead(context.now_s, payload, large=large, unadmitted_in=context.unadmitted_in)


def settle_crashed(orphan: OrphanedJob, now_s: float, specs: Specs = lambda _: None) -> Dead:
    """Return the settlement of an at-most-once job that was about to be sent when its process died.

    `specs` returns the `CommandSpec` of an endpoint from its target's catalogue, or None. `now_s`: epoch seconds.
    """
    spare = digest(orphan.raw)[:24]
    entry = read(orphan.raw, orphan.queue, spare)
    if isinstance(entry, NotAJob):
        reason = reason_of(specs(""), _CRASHED)
        fields = retry.wrap_unreadable(
            orphan.raw, queue=orphan.queue, jid=entry.jid, reason_code=reason.code, message=reason.text, now_s=now_s
        )
        return Dead(now_s, rubyjson.dumps(fields))
    command = display.command_of(entry.fields)
    reason = reason_of(specs(command or ""), _CRASHED)
    job = attrs.evolve(entry, fields=display.with_command_name(entry.fields, command), maybe_run=entry.maybe_run + 1)
    context = _job_of_orphan(orphan, job, now_s, command or "")
    replies = make_replies(job, failed_answer("uncertain", reason, None), context)
    # Not its claim, for which its token would have to be known: it may have run.
    locks = give_up_all(JobClaims(job.jid, lock=claims.lock_of(job.fields)))
    payload = rubyjson.dumps(_dead_fields(job, reason, context, outcome="uncertain"))
    return Dead(now_s, payload, replies, claims=locks)


def make_kill_replies(killed: OrphanedJob, now_s: float, reason: Reason) -> tuple[Reply, ...]:
    """Return the answers for a job that a person takes out of its queue into the dead set; none for what is no job.

    Without `killed.responses` nothing goes to the response queue.
    """
    job = read(killed.raw, killed.queue, digest(killed.raw)[:24])
    if isinstance(job, NotAJob):
        return ()
    command = display.command_of(job.fields) or ""
    return make_replies(job, failed_answer("rejected", reason, None), _job_of_orphan(killed, job, now_s, command))


def _job_of_orphan(orphan: OrphanedJob, job: Job, now_s: float, command: str) -> Context:
    policy = Policy(SidekiqBackoff())
    if orphan.responses is not None:
        names = orphan.responses
        policy = attrs.evolve(policy, reply_queue=names.name, reply_details=True, reply_class=names.job_class)
    # Its token was found right: a job whose token is wrong dies before it is marked, and crashes nothing; and a
    # person's command looks at it before it names a response queue.
    reply_id = arguments.token_and_reply_id(job.fields.get("args"))[1]
    reply_jid = spare_jid(orphan.identity, orphan.ticket)
    return Context(
        policy,
        now_s=now_s,
        jitter=0.0,
        unique=0,
        reply_jid=reply_jid,
        command=command,
        reply_id=reply_id,
        queues=orphan.queues,
    )


_CRASHED = Reason(
    "Uncertain",
    "The process died when the command was about to be sent or in flight; it may have run, and AtMostOnce "
    "forbids sending it again.",
    "Check on the server whether it was done. A retry sends it again.",
)


def may_send(job: Job, spec: CommandSpec | None, uncertain_retries: int, *, at_most_once: bool = False) -> bool:
    """Tell whether a job that may have run already may be sent once more."""
    if at_most_once:
        return job.maybe_run == 0
    return job.maybe_run <= uncertain_retries or repeat_safe(spec)


def drop_reply(
    job: Job, settlement: Ack | Retry | Dead | Drop, text: str, context: Context, *, was_done: bool = True
) -> Settlement:
    """Return the settlement without its reply, for a reply that Redis refuses; `text` is Redis' error.

    A delivered job dies, since repeating its push would fail forever and its answer must not vanish silently. So does
    one that expired or is a duplicate: not `was_done`.
    """
    if not isinstance(settlement, Ack):
        return attrs.evolve(settlement, replies=())
    was, again = (
        ("The server did it", " again") if was_done else ("It expired, or is a duplicate, and was not sent", "")
    )
    reason = Reason(
        "ReplyRefused",
        f"{was}, but Redis refused to store the answer: {text}",
        f"Check the key for the answer. A retry sends the command{again}.",
    )
    outcome = "delivered" if was_done else "rejected"
    return Dead(context.now_s, rubyjson.dumps(_dead_fields(job, reason, context, outcome)))


def perturb(settlement: Retry | Dead | Schedule, step: int) -> Settlement:
    """Return the settlement with a time in its payload moved by `step` microseconds: its set holds an equal member."""
    fields = rubyjson.loads(settlement.payload)
    assert isinstance(fields, dict)  # noqa: S101 - our own payload
    for name in (retry.DEFERRED_AT_FIELD, "retried_at", "failed_at"):
        value = fields.get(name)
        if isinstance(value, float):
            fields[name] = retry.stamp(value, step)
            break
    return attrs.evolve(settlement, payload=rubyjson.dumps(fields))


def postpone(job: Job, context: Context) -> Schedule:
    """Return the settlement that defers a job that cannot begin yet, as its slot is full; no try is used up.

    The wait doubles each time, up to a limit, since each round costs Redis work and a share of the rate limit.
    """
    times = min(as_count(job.fields.get(CROWDED_FIELD)), _CROWDED_LIMIT) + 1
    return _reschedule(job, {**job.fields, CROWDED_FIELD: times}, min(2.0**times, _CROWDED_LONGEST_S), context)


def defer_behind(job: Job, due_in_s: float, context: Context) -> Schedule:
    """Return the settlement that defers a job behind another one that is tried again in `due_in_s`; no try is used up.

    What is overdue (negative) may wait in a queue, or be deleted: the longer it is, the longer this one waits. It looks
    again often enough to start, or to end, within 30 seconds of the other one's end, which may come at any time: a
    person can retry or delete that one.
    """
    delay_s = due_in_s + _BEHIND_S if due_in_s > 0 else max(_BEHIND_S, -due_in_s)
    return _reschedule(job, job.fields, min(delay_s, _BEHIND_LONGEST_S), context)


def _answer_of(outcome: Delivered) -> ReplyContent:
    kind = "negative" if outcome.negative else "delivered"
    return ReplyContent(
        outcome=kind, text=outcome.text, body=outcome.body, status=outcome.status, error=None, note=outcome.note
    )


def _to_dead(job: Job, reason: Reason, text: str | None, context: Context, outcome: str = "rejected") -> Settlement:
    replies = make_replies(job, failed_answer(outcome, reason, text), context)
    if not job.rule.to_dead:
        return Drop(replies)
    payload = rubyjson.dumps(_dead_fields(job, reason, context=context, outcome=outcome))
    return Dead(context.now_s, payload, replies, unadmitted_in=context.unadmitted_in)


def _expire(job: Job, outcome: Expired, context: Context) -> Settlement:
    """Drop the job, counted as processed, as Sidekiq Pro does; but not if it may have run, or all are to be kept."""
    job = attrs.evolve(job, maybe_run=job.maybe_run + outcome.maybe_run)
    if job.may_have_run or context.policy.keeps_expired:
        return _to_dead(job, outcome.reason, outcome.text, context, outcome="expired")
    return Ack(make_replies(job, failed_answer("expired", outcome.reason, outcome.text), context))


def _settle_deferred(job: Job, outcome: Deferred, context: Context) -> Settlement:
    reason = outcome.reason
    if outcome.ran == "maybe":
        # Not a count: the server answered, so it does not use up one of the `UncertainRetries`.
        job = attrs.evolve(job, fields={**job.fields, MAY_HAVE_RUN_FIELD: True})
    if not outcome.counts:
        return _defer(job, outcome, context)
    if outcome.max_attempts is not None and job.attempt >= outcome.max_attempts:
        return _to_dead(job, reason, outcome.text, context, outcome="failed")
    return _retry(
        job,
        reason,
        outcome.text,
        context=context,
        retry_after_s=outcome.retry_after_s,
        maybe_run=job.maybe_run,
        outcome="failed",
    )


def _defer(job: Job, outcome: Deferred, context: Context) -> Settlement:
    times = as_count(job.fields.get(DEFERRED_FIELD)) + 1
    if outcome.max_attempts is not None and times >= outcome.max_attempts:
        return _to_dead(job, outcome.reason, outcome.text, context, outcome="failed")
    if times > FREE_DEFERRALS:
        wait_s = outcome.retry_after_s
        return _retry(
            job,
            outcome.reason,
            outcome.text,
            context=context,
            retry_after_s=wait_s,
            maybe_run=job.maybe_run,
            outcome="failed",
        )
    delay_s = outcome.retry_after_s if outcome.retry_after_s is not None else 2.0
    return _reschedule(job, {**job.fields, DEFERRED_FIELD: times}, delay_s, context)


def _reschedule(job: Job, fields: Mapping[str, Json], delay_s: float, context: Context) -> Schedule:
    fixed = repair({**fields, "jid": job.jid}, retry.read_queue(fields, job.queue, context.queues))
    # Also keeps equal jobs apart: a set holds each member once.
    fixed[retry.DEFERRED_AT_FIELD] = retry.stamp(context.now_s, context.unique)
    if job.maybe_run:
        fixed[UNCERTAIN_FIELD] = job.maybe_run
    return Schedule(delay_s + 3.0 * context.jitter, rubyjson.dumps(fixed))


def _uncertain(
    job: Job, spec: CommandSpec | None, reason: Reason, context: Context, *, is_final: bool = False
) -> Settlement:
    times = job.maybe_run + 1
    if is_final or context.at_most_once or (not repeat_safe(spec) and times > context.policy.uncertain_retries):
        return _to_dead(attrs.evolve(job, maybe_run=times), reason, None, context, outcome="uncertain")
    return _retry(job, reason, None, context=context, retry_after_s=None, maybe_run=times, outcome="uncertain")


def _retry(
    job: Job,
    reason: Reason,
    text: str | None,
    context: Context,
    retry_after_s: float | None,
    maybe_run: int,
    outcome: str,
) -> Settlement:
    if maybe_run != job.maybe_run:
        job = attrs.evolve(job, maybe_run=maybe_run)
    failed = _fail(job, reason, context)
    if failed.retry_at_s is None:
        return _to_dead(job, reason, text, context, outcome=outcome)
    delay_s = max(failed.retry_at_s - context.now_s, retry_after_s or 0.0)
    return Retry(delay_s, rubyjson.dumps(_with_history(job, failed.fields, reason, context=context, outcome=outcome)))


def _dead_fields(job: Job, reason: Reason, context: Context, outcome: str) -> dict[str, Json]:
    fields = _with_history(job, _fail(job, reason, context).fields, reason, context=context, outcome=outcome)
    if fields.pop(UNCERTAIN_FIELD, None):
        fields[MAY_HAVE_RUN_FIELD] = True
    return _unadmitted(fields, context)


def _unadmitted(fields: dict[str, Json], context: Context) -> dict[str, Json]:
    """Return the fields of a dead job, of which the last says if it is counted by itself (`store.unadmitted`)."""
    fields.pop(UNADMITTED_FIELD, None)
    return {**fields, UNADMITTED_FIELD: context.unadmitted_in} if context.unadmitted_in else fields


def _fail(job: Job, reason: Reason, context: Context) -> retry.FailedTry:
    return retry.fail(
        {**job.fields, "jid": job.jid},
        job.rule,
        now_s=context.now_s,
        queue=retry.read_queue(job.fields, job.queue, context.queues),
        error_class=reason.code,
        error_message=reason.text,
        jitter=context.jitter,
        backoff=context.policy.backoff,
        unique=context.unique,
    )


def _with_history(job: Job, fields: dict[str, Json], reason: Reason, context: Context, outcome: str) -> dict[str, Json]:
    attempt: dict[str, Json] = {
        "at": round(context.now_s, 3),
        "status": reason.status,
        "outcome": outcome,
        "code": reason.code,
        "ms": round(context.duration_s * 1000, 1),
        "excerpt": reason.message[:200],
    }
    fields["restbroker_attempts"] = retry.attempts(job.fields, attempt)
    if job.maybe_run:
        fields[UNCERTAIN_FIELD] = job.maybe_run
    return fields
