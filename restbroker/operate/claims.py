"""Gives up the locks and claims of jobs that a person deleted or killed, and tells which other job has a job's claim.

Called by `operate.act` and those who clear a queue, after the jobs have left, and by `operate.explain`. Always holds:
what another job holds by now stays; what is left by a crash in between ends by its time.
"""

from collections.abc import Iterable

import attrs

from restbroker.job import claims, hiding
from restbroker.light import frozen
from restbroker.operate.context import ConfigContext
from restbroker.operate.job import StoredJob
from restbroker.store.client import Client


def release(client: Client, jobs: Iterable[StoredJob]) -> None:
    """Release the locks and claims of these jobs. Raise `StoreUnavailable` or `StoreRefused`: some may be released."""
    # Both load what decides what becomes of a job; a timeline needs that only where a job has a key.
    from restbroker.job.claim_changes import give_up_all
    from restbroker.store import claims as claim_store

    held = (job.context.claims(job.queue, job.fields or {}) for job in jobs)
    claim_store.release(client, [(of_job.jid, give_up_all(of_job)) for of_job in held if of_job is not None])


def release_cleared(client: Client, queue: str, raws: Iterable[bytes], context: ConfigContext) -> None:
    """Release those of jobs that were deleted from this queue; `raws` are their bytes. Raises as `release`."""
    release(client, (StoredJob(raw, 0.0, context, queue) for raw in raws))


@frozen
class Twin:
    """Another job with the same idempotency key, which has the claim; `is_done`: it was delivered."""

    jid: str
    is_done: bool

    @property
    def text(self) -> str:
        """What that means for the job, in one sentence."""
        if self.is_done:
            return f"The job {self.jid} was done with the same idempotency key: this one will not be sent."
        return f"The job {self.jid} has the same idempotency key: this one will not be sent unless that one dies first."


def twin(client: Client, view: StoredJob) -> Twin | None:
    """Return the other job that has this job's claim, so that this one would end as a duplicate; None: none has it.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    own = view.context.claims(view.queue, view.fields or {})
    if own is None or own.once is None:
        return None
    from restbroker.job.claim_changes import give_up_all
    from restbroker.store import claims as claim_store

    (value,) = claim_store.read(client, give_up_all(attrs.evolve(own, lock=None)))
    held = None if value is None else claims.holder(value)
    if held is None or held.jid == own.jid:
        return None
    return Twin(hiding.mask_secrets(held.jid, view.context.secrets), held.is_done)
