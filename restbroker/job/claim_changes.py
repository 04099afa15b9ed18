"""What becomes of a job's locks and claims (`job.claims`): before it is sent, with its settlement, and after it. Pure.

Asked by the gates and the settler, and where people take jobs away. Always holds: no job gives up what it does not
hold, and one that is tried again keeps what it holds until then.
"""

from typing import Final

from restbroker.job.claims import JobClaims, Lock, at_work_value, done_value, waiting_value
from restbroker.job.outcome import Delivered, Duplicate
from restbroker.job.settlement import Ack, ClaimChange, Dead, Drop, Requeue, Retry, Schedule, Settlement

_CRASHED_S: Final = 600.0
"""A job whose process died begins its next try within this time, unless the queue is longer (`job.crashes`)."""


def before_sending(claims: JobClaims, ticket: str, identity: str) -> tuple[ClaimChange, ...]:
    """Return what is claimed in the instant before a job is sent; if its process dies, it lasts until the next try."""
    if claims.once is None:
        return ()
    mine = at_work_value(claims.jid, ticket, identity, claims.mark)
    own = (waiting_value(claims.jid, claims.mark), mine)
    return (ClaimChange("once", claims.once, own, becomes=mine, keep_s=max(claims.keep_s, _CRASHED_S)),)


def give_up_all(claims: JobClaims) -> tuple[ClaimChange, ...]:
    """Return all that a job may hold, as changes that give it up."""
    changes: tuple[ClaimChange, ...] = ()
    if claims.once is not None:
        changes = (ClaimChange("once", claims.once, ()),)
    if claims.lock is not None:
        changes = (*changes, _released(claims.jid, claims.lock))
    return changes


def at_settlement(
    claims: JobClaims, settlement: Settlement, outcome: object, *, ticket: str, identity: str
) -> tuple[ClaimChange, ...]:
    """Return what becomes of a job's claims with this settlement, which followed from `outcome` (None: from nothing).

    What is tried again keeps them for as long as a new one would be kept, from that try on.
    """
    until_then_s = settlement.delay_s if isinstance(settlement, Retry | Schedule) else 0.0
    mine = at_work_value(claims.jid, ticket, identity, claims.mark)
    changes = (
        _once_then(claims, settlement, outcome, mine=mine, until_then_s=until_then_s),
        _lock_then(claims, settlement, outcome, until_then_s),
    )
    return tuple(change for change in changes if change is not None)


def _once_then(
    claims: JobClaims, settlement: Settlement, outcome: object, *, mine: str, until_then_s: float
) -> ClaimChange | None:
    if claims.once is None or isinstance(outcome, Duplicate):
        return None
    jid, keep_s, waiting = claims.jid, claims.keep_s, waiting_value(claims.jid, claims.mark)
    own = (waiting, mine)
    if isinstance(outcome, Delivered):
        # It is done, even if it dies of an answer that Redis refuses: then a person's retry does it once more.
        becomes = done_value(jid, claims.mark, outcome) if isinstance(settlement, Ack) else waiting
        return ClaimChange("once", claims.once, own, becomes=becomes, keep_s=keep_s)
    if isinstance(settlement, Retry | Schedule | Requeue):
        keep_s += until_then_s
        return ClaimChange("once", claims.once, own, becomes=waiting, keep_s=keep_s, later_s=until_then_s)
    return ClaimChange("once", claims.once, own)


def _lock_then(claims: JobClaims, settlement: Settlement, outcome: object, until_then_s: float) -> ClaimChange | None:
    lock = claims.lock
    if lock is None or (isinstance(outcome, Duplicate) and outcome.jid == claims.jid):
        return None
    if isinstance(settlement, Ack | Dead | Drop):
        return _released(claims.jid, lock)
    # With a new moment, by which who looks for the job learns that it moved.
    keep_s = lock.keep_s + until_then_s
    return ClaimChange("unique", lock.name, (claims.jid,), becomes=claims.jid, keep_s=keep_s, later_s=0.0)


def _released(jid: str, lock: Lock) -> ClaimChange:
    return ClaimChange("unique", lock.name, (jid,))
