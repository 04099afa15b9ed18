"""The warnings about order per key: a job's death stopped its key, or a job asks for what its target alone decides.

The former is for whoever finds the job dead: the broker that had it, or the reaper. Always holds: it names the target,
so that it is counted for it.
"""

from typing import Final

from restbroker.job.order import ON_DEAD_FIELD
from restbroker.telemetry.events import ORDER_STOPPED, OperatorWarning

ON_DEAD_IGNORED: Final = OperatorWarning(
    "OrderOnDeadIgnored",
    f'A job has "{ON_DEAD_FIELD}", which has no effect: what its death does to others is for its target to say.',
    'Write "OnDead": "stop" into the target, if it should stop its key, and leave the member out.',
)


def stopped_warning(target: str, queue: str, jid: str) -> OperatorWarning:
    """Return the warning for a job of `queue` whose death stopped its key."""
    return OperatorWarning(
        ORDER_STOPPED,
        f"The job {jid} of the queue {queue!r} died, and the jobs behind it with the same key wait (OnDead).",
        "`restbroker keys` shows the key; `keys retry` retries the job, `keys skip` goes on without it.",
        target=target,
    )
