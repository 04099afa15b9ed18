"""Report a job that is nowhere: what was searched, and what to do next; called by `restbroker explain`.

Always holds: the places that were searched are data, on stdout; where the job may be goes to stderr.
"""

import shlex
from collections.abc import Iterator

from restbroker.config.values import duration_text
from restbroker.console import output
from restbroker.console.times import local
from restbroker.operate.explain import Timeline
from restbroker.operate.not_found import HistoryExtent, NotFound, UnservedQueue


def print_not_found(timeline: Timeline, found: NotFound) -> None:
    """Print the places that were searched, and where the job may be; `timeline` has neither a place nor an end."""
    rows = [(one.label, "cannot be read" if one.jobs is None else str(one.jobs)) for one in found.searched]
    output.table(("SEARCHED", "JOBS"), rows)
    for line in _lines(timeline, found):
        output.say(line)


def _lines(timeline: Timeline, found: NotFound) -> Iterator[str]:
    if timeline.unseen:
        yield f"The job {timeline.jid} was not found. Not every place was searched to the end: it may still be in one."
    elif not timeline.refused:
        yield (
            f"The job {timeline.jid} is in none of these places: it was delivered or deleted, it expired, it was a"
            ' duplicate, it failed and its own "dead": false discarded it, or it was never pushed here.'
        )
    yield from (line for queue in found.unserved for line in _unserved_text(queue))
    if found.namespaces:
        names = ", ".join(name or "none" for name in found.namespaces)
        yield f"Other namespaces on this Redis have queues ({names}): RedisNamespace chooses the one that is searched."
    if found.copies.left_dead_set:
        yield (
            "Copies of dead jobs that have left the dead set (retried, deleted, or trimmed by Sidekiq): "
            f"{found.copies.left_dead_set} of the newest {found.copies.looked_at}. None of the copies is of this job."
        )
    yield from _history_text(found.history)
    yield (
        "The log of the broker (LogLevel info, the default) has a line job.failed for each accepted job that died,"
        " and with LogLevel debug one for each delivered job. Refused jobs (for their form or token) are counted there:"
        " only the first with its code in ten seconds has a line."
    )


def _unserved_text(queue: UnservedQueue) -> Iterator[str]:
    name = shlex.quote(queue.name)
    meant = "" if queue.similar is None else f" Did its producer mean {queue.similar}?"
    wait = "waits" if queue.jobs == 1 else "wait"
    yield f"No process serves the queue {queue.name}, and {output.jobs(queue.jobs)} {wait} there.{meant}"
    yield f"To list them: restbroker queues peek {name}"


def _history_text(kept: HistoryExtent) -> Iterator[str]:
    if kept.for_s is None:
        yield 'restbroker does not record how jobs end; with "History": "24h" in env.json it does, for a day.'
    elif kept.since_s is None:
        yield "History is on, but nothing has been recorded yet."
    else:
        oldest = f"the oldest of {kept.ends:,} is of {local(kept.since_s)}"
        yield f"Finished jobs are recorded for {duration_text(kept.for_s)}; {oldest}."
