"""Which entries of Sidekiq's sets wait for a queue that this configuration does not serve.

The scheduler leaves them where they are, `check` counts them, and commands ask a person before they push there. Always
holds: only entries that restbroker wrote count; those of other programs, which share the sets, are left to these.
"""

from collections.abc import Collection, Mapping
from typing import Final

from restbroker.job import retry
from restbroker.job.json_types import Json
from restbroker.job.settle import DEFERRED_FIELD

OVERDUE_S: Final = 60.0
"""Nothing is said of an entry that is overdue by fewer seconds: another restbroker may be about to move it."""
_WRITTEN: Final = (retry.ATTEMPTS_FIELD, DEFERRED_FIELD, retry.DEFERRED_AT_FIELD)
_NAMED: Final = 5
_NAME_LIMIT: Final = 100


def unserved_queue(fields: Mapping[str, Json], served: Collection[str]) -> str | None:
    """Return the queue of an entry if restbroker wrote it and the queue is not among `served`; else None."""
    queue = fields.get("queue")
    if not isinstance(queue, str) or queue in served or not any(name in fields for name in _WRITTEN):
        return None
    return queue


def counts_text(jobs: Mapping[str, int]) -> str:
    """Return a text of queues and their numbers of jobs, the most first, at most five: "'default' (10), 'mail' (2)"."""
    most = sorted(jobs, key=lambda queue: (-jobs[queue], queue))
    named = ", ".join(f"{queue[:_NAME_LIMIT]!r} ({jobs[queue]})" for queue in most[:_NAMED])
    more = len(most) - _NAMED
    return f"{named} and {more} more" if more > 0 else named
