"""From the workers to the acker: jobs with their settlements in, groups out.

A worker calls `add` for each job that has its settlement, and takes its next job at once. The acker calls `take` for
all jobs in the buffer, unless a fetch settles them in its own round trip (`Acker.settle_and_fetch`). While more jobs
can be started, the acker waits a moment for a larger group, since a call of Redis costs about as much for fifty jobs as
for one; when none can, it settles at once, without the acker's task if that is possible. Always holds: each job in the
buffer is in `Reservations.jobs` too until Redis confirms its settlement, so nothing is lost with the buffer; and it
never holds more jobs than were fetched.
"""

from collections.abc import Callable, Iterable

import attrs
import trio

from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.store.tickets import MAX_BATCH

GATHER_S = 0.003
GROUP_ENOUGH = 50
"""How many jobs are worth a call of their own: no more are waited for."""
GROUP_LIMIT = MAX_BATCH
"""The most jobs in one group: a thousand workers finish more than this while one is written."""


def group_size(jobs: list[JobInProgress]) -> int:
    """Return how many jobs from the front of `jobs` one call of Redis settles: `GROUP_LIMIT` at most.

    A group ends with its first oversized job, since Redis takes long to settle that.
    """
    group = jobs[:GROUP_LIMIT]
    return next((place for place, job in enumerate(group, 1) if job.size_bytes), len(group))


@attrs.define(eq=False)
class AckBuffer:
    """The jobs of one pool that have a settlement and wait for the acker, oldest first.

    It is a list and no memory channel, which would wake the acker once per job.
    """

    ready: ReadyBuffer
    settle_now: Callable[[], bool] = lambda: False
    """Sends what waits here in this step, or once what it sent before is answered; False: the acker's task has to."""
    _jobs: list[JobInProgress] = attrs.field(factory=list)
    _acker: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    _more: bool = False
    _gathers: bool = False
    _closed: bool = False

    @property
    def is_busy(self) -> bool:
        """Whether a group is being settled, or is about to be, so that a call of Redis is made anyway."""
        return bool(self._jobs) or not self._acker

    def add(self, job: JobInProgress) -> None:
        """Add a job with its settlement. If others can be started, more will follow soon."""
        self.add_all((job,))

    def add_all(self, jobs: Iterable[JobInProgress]) -> None:
        """Add jobs as `add` does."""
        self._jobs += jobs
        self._more = more = self.ready.is_ready
        if (not self._gathers or not more or len(self._jobs) >= GROUP_ENOUGH) and self._acker:
            if not (more or self._gathers) and self.settle_now():
                return
            self._acker.unpark_all()

    def __len__(self) -> int:
        return len(self._jobs)

    def wake(self) -> None:
        """Have the acker's task settle what waits here."""
        self._acker.unpark_all()

    def put_back(self, jobs: list[JobInProgress]) -> None:
        """Put jobs that were taken and could not be settled back in front of all others, in this order."""
        if jobs:
            self._jobs[:0] = jobs
            self._acker.unpark_all()

    def take(self) -> list[JobInProgress]:
        """Remove and return the next group, the oldest job first (see `group_size`); an empty list if none waits."""
        count = group_size(self._jobs)
        jobs = self._jobs[:count]
        del self._jobs[:count]
        return jobs

    async def wait_for_group(self) -> bool:
        """Wait until `take` has jobs to return; return False once the buffer is closed and empty. Safe to cancel."""
        while True:
            while not self._jobs and not self._closed:
                await self._acker.park()
            if self._more and not self._closed and len(self._jobs) < GROUP_ENOUGH:
                self._gathers = True
                try:
                    with trio.move_on_after(GATHER_S):
                        await self._acker.park()
                finally:
                    self._gathers = False
            # A fetch may have taken them along meanwhile.
            if self._jobs or self._closed:
                return bool(self._jobs)

    def close(self) -> None:
        """Note that no more jobs will be added; to be called when the last worker has ended."""
        self._closed = True
        self._acker.unpark_all()
