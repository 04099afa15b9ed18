"""The warning about jobs whose `retry_queue` does not count, since their target does not serve it.

Called by `broker.settler` and `broker.reaper`, which report it for each such job that is stored. Always holds: the
words are the same for all jobs of a queue, so that the log sums them up, and no text of a producer is among them.
"""

from restbroker.telemetry.events import OperatorWarning


def unserved_warning(queue: str) -> OperatorWarning:
    """Return the warning for a job of `queue` whose `retry_queue` is ignored."""
    return OperatorWarning(
        "RetryQueueIgnored",
        f"A job of the queue {queue!r} names a retry_queue that its target does not serve: it is retried from "
        f"{queue!r}.",
        "If that queue is intended, let the same target serve it (RestQueue, or Queues of the target). If not, "
        "someone may be trying to reach it through restbroker: find out who pushes there.",
    )
