"""The warning that a job's death stopped its key, whoever finds it dead: the broker that had it, or the reaper.

Called by `broker.settler` and `broker.reaper`. Always holds: it names the target, so that it is counted for it.
"""

from restbroker.telemetry.events import ORDER_STOPPED, OperatorWarning


def stopped_warning(target: str, queue: str, jid: str) -> OperatorWarning:
    """Return the warning for a job of `queue` whose death stopped its key."""
    return OperatorWarning(
        ORDER_STOPPED,
        f"The job {jid} of the queue {queue!r} died, and the jobs behind it with the same key wait (OnDead).",
        "`restbroker order` shows the key; `order resume` retries the job, `order skip` goes on without it.",
        target=target,
    )
