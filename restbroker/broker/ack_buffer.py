"""From the workers to the acker: jobs with their settlements in, groups out.

A worker `add`s each job that has its settlement, and goes on at once; the acker `take`s all that is there, unless a
fetch takes it along. While more jobs can be started it gathers for a moment, since a call of
Redis costs about as much for fifty jobs as for one; when none can, it settles at once, so that a single job is answered
at once. Always holds: what is added is in `Reservations.jobs` too until Redis confirmed it, so nothing is lost with
what waits here; and it is bounded by what was fetched.
"""

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
    """Return how many of the first jobs are settled in one call: none behind one that is too large.

    Redis takes a while for that one.
    """
    group = jobs[:GROUP_LIMIT]
    return next((place for place, job in enumerate(group, 1) if job.size_bytes), len(group))


@attrs.define(eq=False)
class AckBuffer:
    """The jobs of one pool that are to be settled. A list: a memory channel wakes its reader once per job."""

    ready: ReadyBuffer
    _jobs: list[JobInProgress] = attrs.field(factory=list)
    _acker: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    _more: bool = False
    _gathers: bool = False
    _closed: bool = False

    @property
    def is_busy(self) -> bool:
        """Whether a group is being settled, or about to be, so that Redis hears from us anyway."""
        return bool(self._jobs) or not self._acker

    def add(self, job: JobInProgress) -> None:
        """Add a job with its settlement. If others can be started, more will follow soon."""
        self._jobs.append(job)
        self._more = more = self.ready.is_ready
        if (not self._gathers or not more or len(self._jobs) >= GROUP_ENOUGH) and self._acker:
            self._acker.unpark_all()

    def put_back(self, jobs: list[JobInProgress]) -> None:
        """Put back in front what was taken and not settled."""
        if jobs:
            self._jobs[:0] = jobs
            self._acker.unpark_all()

    def take(self) -> list[JobInProgress]:
        """Remove and return what is there now, the oldest first, as far as it fits into a group."""
        count = group_size(self._jobs)
        jobs = self._jobs[:count]
        del self._jobs[:count]
        return jobs

    async def wait_for_group(self) -> bool:
        """Wait until the next group is there, without taking it; return False once closed and all was taken."""
        while True:
            while not self._jobs and not self._closed:
                await self._acker.park()
            await self._gather()
            # A fetch may have taken them along meanwhile.
            if self._jobs or self._closed:
                return bool(self._jobs)

    def close(self) -> None:
        """Note that no more will come; to be called when the last worker is gone."""
        self._closed = True
        self._acker.unpark_all()

    async def _gather(self) -> None:
        if not self._more or self._closed or len(self._jobs) >= GROUP_ENOUGH:
            return
        self._gathers = True
        try:
            with trio.move_on_after(GATHER_S):
                await self._acker.park()
        finally:
            self._gathers = False
