"""One job's way to the target: sent, sent again when nothing had left, or given up because the lane stops.

The worker calls `deliver`. Always holds: the gate knows each outcome that the target had a part in before anything else
is sent; a job that was not sent stays here until the target works again, the lane stops or the job is not ours any
more; and no exception of a connector gets out.
"""

import random
import time
from typing import assert_never

import attrs
import trio

from restbroker.broker.delivery.link import NotNow, NotOurs, WorkerLink, probe, unanswered, unreachable
from restbroker.broker.item import Item
from restbroker.broker.lane import Lane
from restbroker.broker.lease import boot_time_s
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


async def deliver(lane: Lane, item: Item, call: Call, spec: CommandSpec | None) -> Done | None:
    """Deliver until there is an outcome to settle. None: the lane stops first, or Redis does not list the job as ours.

    When cancelled, `item.sending` says whether it may have left. The reason of an outcome has no token and no argument
    that `spec` (None outside the catalogue) or its name says to be secret; and no text of what is not delivered has a
    secret of the target, no matter what the connector made of it.
    """
    unsent, denials, answers = 0, 0, lane.gate.answers
    may_start = _may_start_now(lane, item)
    while may_start or await _may_start(lane, item):
        may_start, link = False, WorkerLink(lane, item)
        began_s = time.perf_counter()
        try:
            outcome = await lane.plan.connector.deliver(_once_more(call, item), link)
        except (NotOurs, NotNow) as why:
            if (held := _kept(lane, item, why)) is not None:
                return Done(held, time.perf_counter() - began_s)
            continue
        except Exception as error:  # noqa: BLE001 - a connector's bug must not end the worker
            outcome = _failed(lane, item, error, spec)
        finally:
            _leave(lane, item)
        duration_s = time.perf_counter() - began_s
        outcome = _redacted(lane, outcome, call, spec)
        _observe(lane, item, outcome, duration_s, is_retry=call.attempt > 1)
        outcome = _halted(item, outcome, link)
        match outcome:
            case Delivered() | Rejected() | Deferred() | Uncertain():
                return Done(outcome, duration_s)
            case Denied():
                denials += 1
                rejected = await _after_denial(lane, outcome, denials)
                if rejected is not None:
                    return Done(rejected, duration_s)
            case Unsent(reason):
                unsent, answers = unsent + (lane.gate.answers > answers), lane.gate.answers
                if unsent >= _UNSENT_LIMIT:
                    return Done(Deferred(reason), duration_s)
                await _pause(lane, _AGAIN_S)
            case _:
                assert_never(outcome)
    return None


def _may_start_now(lane: Lane, item: Item) -> bool:
    """Enter the gate if nothing has to be waited for, and tell whether the request may start; the link checks the rest.

    False: perhaps something has to be waited for (`_may_start`).
    """
    return not (item.in_slot or lane.plan.limits.emission_us) and lane.gate.enter_now()


async def _may_start(lane: Lane, item: Item) -> bool:
    """Wait until a request may be started: then the gate was entered, unless the job is in a slot.

    Return False if the lane stops, or the job is not ours any more.
    """
    while item.ticket in lane.in_hand and await (lane.gate.opened() if item.in_slot else lane.gate.enter()):
        wait_s = _ASK_AGAIN_S
        try:
            wait_s = await _share_in_s(lane, item) if lane.plan.limits.emission_us else 0.0
            if not wait_s and lane.lease.is_fresh:
                return True
            wait_s = wait_s or _ASK_AGAIN_S
        finally:
            if wait_s:
                _leave(lane, item)
        await _pause(lane, wait_s)
    return False


def _observe(lane: Lane, item: Item, outcome: Outcome, duration_s: float, *, is_retry: bool) -> None:
    if item.sending or not _is_ours(outcome):
        lane.gate.observe(outcome, item.command, duration_s, in_slot=item.in_slot, is_retry=is_retry)


def _is_ours(outcome: Outcome) -> bool:
    """Tell whether a connector that sent nothing did or refused the job by itself: that is no answer of the target."""
    match outcome:
        case Delivered():
            return outcome.by_us
        case Deferred():
            return not outcome.pause_target
        case _:
            return isinstance(outcome, Rejected)


def _leave(lane: Lane, item: Item) -> None:
    if not item.in_slot:
        lane.gate.leave()


async def _share_in_s(lane: Lane, item: Item) -> float:
    """Return the seconds until the job may try for its share of the rate limit, 0 if it has it now."""
    if boot_time_s() - item.granted_at_s <= _GRANT_S:
        return 0.0
    limits = lane.plan.limits
    try:
        wait_ms = await lane.health.insist(lane.store, charge, lane.plan.target.name, limits)
    except StoreRefused as error:
        lane.complain("ChargeRefused", error.message, error.cure)
        return _ASK_AGAIN_S
    if not wait_ms:
        item.granted_at_s = boot_time_s()
    return wait_ms / 1000


def _once_more(call: Call, item: Item) -> Call:
    """Return the call as it is to be judged now: it may have run if a part was done in an earlier round."""
    return attrs.evolve(call, maybe_run=True) if item.effected else call


def _kept(lane: Lane, item: Item, why: NotOurs | NotNow) -> Uncertain | None:
    """Note that the job was not sent, and let it go if it is not ours; `Uncertain` if it must not be begun again.

    None: it waits to be sent, unless it was let go.
    """
    item.sending = False
    if isinstance(why, NotOurs):
        lane.let_go(item.ticket)
        return None
    return Uncertain(_BEGUN) if item.is_uncertain else None


def _halted(item: Item, outcome: Outcome, link: WorkerLink) -> Outcome:
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


def _failed(lane: Lane, item: Item, problem: Exception, spec: CommandSpec | None) -> Outcome:
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
            reason = lane.plan.bug("The connector", problem)
            return Uncertain(reason) if item.sending else Deferred(reason, max_attempts=3)


async def _after_denial(lane: Lane, denied: Denied, times: int) -> Rejected | None:
    """Return `Rejected` if it concerns this job alone; None if it is to be sent again when the gate is open.

    `times`: how often the job was denied.
    """
    if not await _is_well(lane, denied.reason):
        return None
    if denied.reason.status == _FORBIDDEN or times >= _DENIAL_LIMIT:
        return Rejected(denied.reason, denied.text)
    await _pause(lane, _ASK_AGAIN_S)
    return None


async def _is_well(lane: Lane, reason: Reason) -> bool:
    """Tell, by a probe, whether the target lets the broker in otherwise; if not, close the gate."""
    try:
        found = await probe(lane.plan)
    except (NotSent, MaybeSent) as problem:
        lane.gate.close(unreachable(problem))
        return False
    if found.denied:
        lane.gate.deny(reason)
    elif not found.ok:
        lane.gate.close(Reason("TargetUnwell", found.detail))
    return found.ok


def _redacted(lane: Lane, outcome: Outcome, call: Call, spec: CommandSpec | None) -> Outcome:
    if isinstance(outcome, Delivered):
        return outcome
    secrets = redact.secret_values(spec, call.command.arguments) | frozenset(lane.plan.tokens.values)
    own = spellings_of(lane.plan.target.all_secrets)
    outcome = attrs.evolve(outcome, reason=outcome.reason.hidden(hiding.hiding(secrets, own), hiding.EXCERPT_LIMIT))
    if isinstance(outcome, Uncertain | Unsent):
        return outcome
    return attrs.evolve(outcome, text=without_secrets(outcome.text, lane.plan.target))


async def _pause(lane: Lane, seconds: float) -> None:
    with trio.move_on_after(seconds * random.uniform(0.75, 1.25)):  # noqa: S311 - spreads load, protects nothing
        await lane.stopping.wait()
