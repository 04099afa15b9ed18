"""The jobs that wait in a queue, in its lines and in its list, as `queues peek`, `find`, `explain` and pages read them.

Always holds: it changes nothing; jobs of lines come first, in the order in which they would be handed out, then those
of the list, the next one to be taken first.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import attrs

from restbroker.store import line_jobs, queues
from restbroker.store.client import Client
from restbroker.store.keys import QueueName
from restbroker.store.line_jobs import Cost, Line

PAGE: Final = 20
"""Jobs read at once: each may have a megabyte, and a page must arrive within the connection's time-out."""


@attrs.frozen
class LinePlace:
    """A job's place in the line of its `key` ("": of the jobs without one).

    `number` 1 is the next of the line's `jobs`, and `keys` wait at all.
    """

    key: str
    number: int
    jobs: int
    keys: int


def lines_of(client: Client, queue: QueueName) -> tuple[Line, ...]:
    """Return the lines of a queue; none, after one quick question, if it has none.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    return line_jobs.read_lines(client, queue) if line_jobs.has_lines(client, queue) else ()


def pieces(
    client: Client, queue: QueueName, cost: Cost, *, skip: int = 0, most: int = PAGE, limit: int | None = None
) -> Iterator[Sequence[bytes]]:
    """Yield a queue's jobs after the first `skip`, at most `most` at once and `limit` in all; None: without a limit.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    lines = lines_of(client, queue)
    seen, left = sum(line.jobs for line in lines), limit
    if skip < seen:
        size = most if left is None else max(1, min(most, left))
        places = islice(line_jobs.by_finish_time(lines, cost), skip, None)
        for piece in line_jobs.pieces(client, queue, places, limit=size):
            raws = [raw for _, _, raw in piece][:left]
            yield raws
            left = None if left is None else left - len(raws)
            if left == 0:
                return
    start = max(0, skip - seen)
    while left != 0 and (listed := queues.peek(client, queue, start, most if left is None else min(most, left))):
        yield listed
        start += len(listed)
        left = None if left is None else left - len(listed)


def place_in(lines: Sequence[Line], line: Line, number: int) -> LinePlace:
    """Return the place of the job of this number in its line."""
    return LinePlace(line.name, number - line.head + 1, line.jobs, len(lines))
