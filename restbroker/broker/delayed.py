"""Jobs that their connector wants to send only after some seconds, which they wait without a worker.

The processor adds a job whose connector raised `NotYet`; `run` puts it in front of the ready buffer again. Always
holds: such a job stays reserved and has no settlement, so that a stop requeues it with the rest; how many may wait is
bounded by the memory that a pool's jobs may take.
"""

import heapq
import math
from collections.abc import Container

import attrs
import trio

from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.ready_buffer import ReadyBuffer


@attrs.define(eq=False)
class DelayedJobs:
    """The delayed jobs of one pool; they return to `_ready`. `_heap`: (time due on Trio's clock, ticket, job)."""

    _ready: ReadyBuffer
    _heap: list[tuple[float, str, JobInProgress]] = attrs.field(factory=list)
    _changed: trio.Event = attrs.field(factory=trio.Event)

    def add(self, job: JobInProgress, wait_s: float) -> None:
        """Keep a job for so many seconds."""
        heapq.heappush(self._heap, (trio.current_time() + wait_s, job.ticket, job))
        if self._heap[0][2] is job:
            self._changed.set()

    def waiting_tickets(self) -> frozenset[str]:
        """Return the tickets of the jobs that wait here."""
        return frozenset(ticket for _, ticket, _ in self._heap)

    def drop_unless(self, known: Container[str]) -> None:
        """Drop the jobs whose tickets are not in `known`."""
        self._heap = [entry for entry in self._heap if entry[1] in known]
        heapq.heapify(self._heap)

    async def run(self) -> None:
        """Put each job back into the ready buffer when it is due, until cancelled."""
        while True:
            self._changed = trio.Event()
            with trio.move_on_at(self._heap[0][0] if self._heap else math.inf):
                await self._changed.wait()
            due: list[JobInProgress] = []
            while self._heap and self._heap[0][0] <= trio.current_time():
                due.append(heapq.heappop(self._heap)[2])
            self._ready.put_back(*due)
