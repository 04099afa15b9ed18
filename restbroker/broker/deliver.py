"""One job's way to the target: sent, sent again when nothing had left, or given up because the pool stops.

The worker calls `deliver`. Always holds: the breaker knows each outcome that the target had a part in before anything
else is sent; a job that was not sent stays here until the target works again, the pool stops or the job is not ours any
more; and no exception of a connector gets out.
"""

import random
import time
from typing import assert_never

import attrs
import trio

from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.lease import boot_time_s
from restbroker.broker.link import JobLink, NotNow, NotOurs, probe, unanswered, unreachable
from restbroker.broker.worker_pool import WorkerPool
from restbroker.config.hidden import spellings_of, without_secrets
from restbroker.errors import StoreRefused
from restbroker.job import hiding, redact
from restbroker.job.command import Call, CommandSpec
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Reason, Rejected, Uncertain, Unsent
from restbroker.job.settle import Final, reason_of
from restbroker.light import light
from restbroker.store.limits import charge
from restbroker.transport.errors import MaybeSent, NotSent

_UNSENT_LIMIT = 3
"""How often one job may stay unsent while others succeed; then it counts as a failed try."""
_DENIAL_LIMIT = 3
"""How often one job may meet a 401 or a wrong page while the probe is let in; a server that just came up does that."""
_FORBIDDEN = 403
"""The status of the one denial that may concern a single command."""
_GRANT_S = 0.25
"""Seconds for which the rate limit's grant at the fetch counts; if it lasted, a stalled process would start a burst."""
_AGAIN_S = 0.2
_ASK_AGAIN_S = 1.0


@light
class Done:
    """An outcome to settle, and the seconds that the last sending took."""

    outcome: Final
    duration_s: float


async def deliver(pool: WorkerPool, item: JobInProgress, call: Call, spec: CommandSpec | None) -> Done | None:
    """Deliver until there is an outcome to settle. None: the pool stops first, or Redis does not list the job as ours.

    When cancelled, `item.sending` says whether it may have left. The reason of an outcome has no token and no argument
    that `spec` (None outside the catalogue) or its name says to be secret; and no text of what is not delivered has a
    secret of the target, no matter what the connector made of it.
    """
    unsent, denials, answers = 0, 0, pool.breaker.answers
    may_start = _may_start_now(pool, item)
    while may_start or await _may_start(pool, item):
        may_start, link = False, JobLink(pool, item)
        began_s = time.perf_counter()
        try:
            outcome = await pool.plan.connector.deliver(_once_more(call, item), link)
        except (NotOurs, NotNow) as why:
            if (held := _kept(pool, item, why)) is not None:
                return Done(held, time.perf_counter() - began_s)
            continue
        except Exception as error:  # noqa: BLE001 - a connector's bug must not end the worker
            outcome = _failed(pool, item, error, spec)
        finally:
            _leave(pool, item)
        duration_s = time.perf_counter() - began_s
        outcome = _redacted(pool, outcome, call, spec)
        _observe(pool, item, outcome, duration_s, is_retry=call.attempt > 1)
        outcome = _halted(item, outcome, link)
        match outcome:
            case Delivered() | Rejected() | Deferred() | Uncertain():
                return Done(outcome, duration_s)
            case Denied():
                denials += 1
                rejected = await _after_denial(pool, outcome, denials)
                if rejected is not None:
                    return Done(rejected, duration_s)
            case Unsent(reason):
                unsent, answers = unsent + (pool.breaker.answers > answers), pool.breaker.answers
                if unsent >= _UNSENT_LIMIT:
                    return Done(Deferred(reason), duration_s)
                await _pause(pool, _AGAIN_S)
            case _:
                assert_never(outcome)
    return None


def _may_start_now(pool: WorkerPool, item: JobInProgress) -> bool:
    """Enter the breaker if nothing has to be waited for; tell whether the request may start. The link checks the rest.

    False: perhaps something has to be waited for (`_may_start`).
    """
    return not (item.in_slot or pool.plan.limits.emission_us) and pool.breaker.enter_now()


async def _may_start(pool: WorkerPool, item: JobInProgress) -> bool:
    """Wait until a request may be started: then the breaker was entered, unless the job is in a slot.

    Return False if the pool stops, or the job is not ours any more.
    """
    while item.ticket in pool.in_hand and await (
        pool.breaker.wait_to_admit() if item.in_slot else pool.breaker.enter()
    ):
        wait_s = _ASK_AGAIN_S
        try:
            wait_s = await _share_in_s(pool, item) if pool.plan.limits.emission_us else 0.0
            if not wait_s and pool.lease.is_fresh:
                return True
            wait_s = wait_s or _ASK_AGAIN_S
        finally:
            if wait_s:
                _leave(pool, item)
        await _pause(pool, wait_s)
    return False


def _observe(pool: WorkerPool, item: JobInProgress, outcome: Outcome, duration_s: float, *, is_retry: bool) -> None:
    if item.sending or not _is_ours(outcome):
        pool.breaker.observe(outcome, item.command, duration_s, in_slot=item.in_slot, is_retry=is_retry)


def _is_ours(outcome: Outcome) -> bool:
    """Tell whether a connector that sent nothing did or refused the job by itself: that is no answer of the target."""
    match outcome:
        case Delivered():
            return outcome.by_us
        case Deferred():
            return not outcome.pause_target
        case _:
            return isinstance(outcome, Rejected)


def _leave(pool: WorkerPool, item: JobInProgress) -> None:
    if not item.in_slot:
        pool.breaker.leave()


async def _share_in_s(pool: WorkerPool, item: JobInProgress) -> float:
    """Return the seconds until the job may try for its share of the rate limit, 0 if it has it now."""
    if boot_time_s() - item.granted_at_s <= _GRANT_S:
        return 0.0
    limits = pool.plan.limits
    try:
        wait_ms = await pool.health.insist(pool.store, charge, pool.plan.target.name, limits)
    except StoreRefused as error:
        pool.complain("ChargeRefused", error.message, error.cure)
        return _ASK_AGAIN_S
    if not wait_ms:
        item.granted_at_s = boot_time_s()
    return wait_ms / 1000


def _once_more(call: Call, item: JobInProgress) -> Call:
    """Return the call as it is to be judged now: it may have run if a part was done in an earlier round."""
    return attrs.evolve(call, maybe_run=True) if item.effected else call


def _kept(pool: WorkerPool, item: JobInProgress, why: NotOurs | NotNow) -> Uncertain | None:
    """Note that the job was not sent, and let it go if it is not ours; `Uncertain` if it must not be begun again.

    None: it waits to be sent, unless it was let go.
    """
    item.sending = False
    if isinstance(why, NotOurs):
        pool.let_go(item.ticket)
        return None
    return Uncertain(_BEGUN) if item.is_uncertain else None


def _halted(item: JobInProgress, outcome: Outcome, link: JobLink) -> Outcome:
    """Return the outcome; `Uncertain` instead of one that has the job wait, if it must not be begun again."""
    if not isinstance(outcome, Denied | Unsent):
        return outcome
    item.sending, item.effected = False, item.effected or link.went_on
    return Uncertain(_BEGUN) if item.is_uncertain else outcome


_BEGUN = Reason(
    "Uncertain",
    "A part of the command ran and the rest could not be sent; AtMostOnce forbids sending it again.",
    "Check on the server what was done. A retry sends the whole command again.",
)


def _failed(pool: WorkerPool, item: JobInProgress, problem: Exception, spec: CommandSpec | None) -> Outcome:
    """Return what follows from an exception that the connector raised."""
    match problem:
        case NotSent(by_request=True):
            return Rejected(
                Reason("UnsendableRequest", problem.message, "The job's values would make an invalid request.")
            )
        case NotSent():
            return Unsent(unreachable(problem))
        case MaybeSent() if not item.sending:
            return Unsent(unreachable(problem))
        case MaybeSent():
            return Uncertain(reason_of(spec, unanswered(problem)))
        case _:
            reason = pool.plan.bug("The connector", problem)
            return Uncertain(reason) if item.sending else Deferred(reason, max_attempts=3)


async def _after_denial(pool: WorkerPool, denied: Denied, times: int) -> Rejected | None:
    """Return `Rejected` if it concerns this job alone; None if it is to be sent again once the breaker admits it.

    `times`: how often the job was denied.
    """
    if not await _is_well(pool, denied.reason):
        return None
    if denied.reason.status == _FORBIDDEN or times >= _DENIAL_LIMIT:
        return Rejected(denied.reason, denied.text)
    await _pause(pool, _ASK_AGAIN_S)
    return None


async def _is_well(pool: WorkerPool, reason: Reason) -> bool:
    """Tell, by a probe, whether the target lets the broker in otherwise; if not, trip the breaker."""
    try:
        found = await probe(pool.plan)
    except (NotSent, MaybeSent) as problem:
        pool.breaker.trip(unreachable(problem))
        return False
    if found.denied:
        pool.breaker.deny(reason)
    elif not found.ok:
        pool.breaker.trip(Reason("TargetUnwell", found.detail))
    return found.ok


def _redacted(pool: WorkerPool, outcome: Outcome, call: Call, spec: CommandSpec | None) -> Outcome:
    if isinstance(outcome, Delivered):
        return outcome
    secrets = redact.secret_values(spec, call.command.arguments) | frozenset(pool.plan.tokens.values)
    own = spellings_of(pool.plan.target.all_secrets)
    outcome = attrs.evolve(outcome, reason=outcome.reason.hidden(hiding.hiding(secrets, own), hiding.EXCERPT_LIMIT))
    if isinstance(outcome, Uncertain | Unsent):
        return outcome
    return attrs.evolve(outcome, text=without_secrets(outcome.text, pool.plan.target))


async def _pause(pool: WorkerPool, seconds: float) -> None:
    with trio.move_on_after(seconds * random.uniform(0.75, 1.25)):  # noqa: S311 - spreads load, protects nothing
        await pool.stopping.wait()
