"""All jobs that Redis lists as those of one worker pool, fetched or in progress: {ticket: job}.

The poller adds them, the acker releases them once Redis has settled them; everyone else reads. Always holds: what Redis
lists is in `jobs`, or is about to be adopted by a reconcile.
"""

from collections.abc import Iterable

import attrs
import trio

from restbroker.broker.job_in_progress import JobInProgress


@attrs.define(eq=False)
class Reservations:
    """The jobs of one pool. `last_number` is the highest ticket number issued, `memory_bytes` what all of them take."""

    jobs: dict[str, JobInProgress] = attrs.field(factory=dict)
    last_number: int = 0
    memory_bytes: int = 0
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    def add(self, jobs: Iterable[JobInProgress]) -> None:
        """Add jobs that Redis lists."""
        for job in jobs:
            self.jobs[job.ticket] = job
            self.memory_bytes += job.memory_bytes
            self.last_number = max(self.last_number, job.number)

    def skip_to(self, number: int) -> None:
        """Issue no ticket number up to this one any more."""
        self.last_number = max(self.last_number, number)

    def release(self, *tickets: str) -> None:
        """Remove jobs that are no longer in progress here, and wake the tasks in `wait_for_release`."""
        for ticket in tickets:
            job = self.jobs.pop(ticket, None)
            if job is not None:
                self.memory_bytes -= job.memory_bytes
        self._changed.unpark_all()

    async def wait_for_release(self) -> None:
        """Wait until a job is no longer in progress here."""
        await self._changed.park()
