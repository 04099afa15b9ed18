"""The state of the broker, for the readiness page, the stats page and the process record.

`broker.run` fills it, across all generations; services read it. Always holds: reading it costs no I/O and changes
nothing, and `view` returns a copy; only `cancel`, which the record calls for a person, changes anything.
"""

from collections.abc import Iterator, Sequence

import trio

from restbroker.broker.health import Lease, StoreHealth
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.signals import Control
from restbroker.broker.status.view import Phase, RunningJob, View
from restbroker.broker.target_plan import TargetPlan
from restbroker.broker.worker_pool import WorkerPool
from restbroker.job.job import spare_jid
from restbroker.light import define, field


@define(eq=False)
class Status:
    """How this process is. Empty until `broker.run` begins."""

    served: trio.Event = field(factory=trio.Event)
    """Set once the first generation takes jobs."""
    serving: Sequence[TargetPlan] = ()
    """The targets of the generation that began last, also while it ends and until the next one begins."""
    _control: Control | None = None
    _health: StoreHealth | None = None
    pools: Sequence[WorkerPool] = ()
    """The pools of the newest generation."""
    _lease: Lease = field(factory=Lease)
    _finishing: list[Sequence[WorkerPool]] = field(factory=list)

    def begin(self, control: Control, health: StoreHealth) -> None:
        """Note that the process has begun."""
        self._control, self._health = control, health

    def serve(self, pools: Sequence[WorkerPool], lease: Lease) -> None:
        """Note that the generation of `pools` takes jobs from now on; an earlier one, if any, finishes those it has."""
        if self.pools:
            self._finishing.append(self.pools)
        self.pools, self._lease = pools, lease
        self.serving = [pool.plan for pool in pools]
        self.served.set()

    def remove(self, pools: Sequence[WorkerPool]) -> None:
        """Remove the pools of a generation that has ended."""
        if pools is self.pools:
            self.pools = ()
        self._finishing = [others for others in self._finishing if others is not pools]

    def view(self) -> View:
        """Return the present state of the broker."""
        down_targets = {
            pool.plan.target.name: pool.breaker.reason.code for pool in self.pools if pool.breaker.reason is not None
        }
        store_up = self._health is not None and self._health.is_up
        reason = None if self._health is None else self._health.reason
        finishing = sum(len(pool.reservations.jobs) for pools in self._finishing for pool in pools)
        refused = any(pool.hindrance == "refused" for pool in self.pools)
        return View(
            phase=self._phase(),
            store_up=store_up,
            heartbeat_fresh=self._lease.is_fresh,
            down_targets=down_targets,
            finishing=finishing,
            refused=refused,
            store_reason=reason,
        )

    @property
    def heartbeat_age_s(self) -> float | None:
        """Seconds since the newest generation sent its last confirmed heartbeat; None: none was confirmed yet."""
        return self._lease.age_s

    def running_jobs(self) -> list[RunningJob]:
        """Return the jobs in delivery in this process; in each pool the oldest first."""
        return [running for pools in (*self._finishing, self.pools) for pool in pools for running in _running(pool)]

    def cancel(self, thread: str) -> bool:
        """End the delivery of the job that is shown under this thread's name; return False if there is none now."""
        for pools in (*self._finishing, self.pools):
            for pool in pools:
                for job in list(pool.reservations.jobs.values()):
                    if _thread(pool, job) == thread:
                        return pool.worker.cancel(job)
        return False

    def _phase(self) -> Phase:
        if self._control is not None and self._control.stop.is_set():
            return "stopping"
        if self._control is None or not self.pools:
            return "starting"
        return "quiet" if self._control.quiet.is_set() else "serving"


def _running(pool: WorkerPool) -> Iterator[RunningJob]:
    waiting = pool.worker.waiting_tickets() | pool.ready.waiting_tickets()
    secrets = pool.plan.tokens.values
    for job in pool.reservations.jobs.values():
        payload, at_s = job.payload, job.started_at_s
        if payload is None or at_s is None or job.settlement is not None or job.ticket in waiting:
            continue
        thread, spec = _thread(pool, job), pool.plan.connector.spec(job.command)
        yield RunningJob(
            job=payload,
            queue=job.queue,
            started_at_s=at_s,
            command=job.command,
            thread=thread,
            secrets=secrets,
            spec=spec,
        )


def _thread(pool: WorkerPool, job: JobInProgress) -> str:
    return spare_jid(pool.identity.name, job.ticket)[:10]
