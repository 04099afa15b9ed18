"""Serves one target in one generation: a worker, and the agents (intake, acker, prober, …) that work with it.

The generation makes a pool for each target and runs its tasks; pages and metrics read it. Always holds: a pool only
puts its agents together; each of them owns its state and has, besides what all share (`agent`), only those others that
its constructor names.
"""

from collections.abc import Mapping

import trio

from restbroker.broker import same_host
from restbroker.broker.acker import AckBuffer, Acker
from restbroker.broker.admission import Admission, Endpoints
from restbroker.broker.breaker import Breaker
from restbroker.broker.delivery import SendChecks
from restbroker.broker.gates import RedisGates, Slots
from restbroker.broker.health import Lease, StoreHealth
from restbroker.broker.identity import Identity, new_name
from restbroker.broker.intake import Intake
from restbroker.broker.job_in_progress import Reservations
from restbroker.broker.life import Life
from restbroker.broker.prober import Prober, ProbeSharing, probe
from restbroker.broker.ready_buffer import SPAN_S, BatchSize, ReadyBuffer, stretch
from restbroker.broker.recovery import Recovery
from restbroker.broker.settler import Reports, Settler
from restbroker.broker.standing import Standing
from restbroker.broker.target_plan import TargetPlan
from restbroker.broker.worker import Worker
from restbroker.light import define, field
from restbroker.store import jobs
from restbroker.store.connection import Connection
from restbroker.store.waiter import Waiter
from restbroker.telemetry.events import Report
from restbroker.transport.readiness import Upkeep


@define(eq=False)
class WorkerPool:
    """The worker of a target in one generation, with its agents. `quiet`: it takes no more jobs.

    `waiters`: one for each queue, where fetches stand; all other calls of Redis go to `store`. `upkeep` listens for
    answers that no task awaits. `report_of_breaker` gets the breaker's events. `pools`: how many pools the process has,
    this one included.
    """

    plan: TargetPlan
    identity: Identity
    lease: Lease
    quiet: trio.Event
    _store: Connection
    _health: StoreHealth
    _waiters: Mapping[str, Waiter]
    _upkeep: Upkeep
    _report_of_breaker: Report
    _pools: int
    stopping: trio.Event = field(factory=trio.Event)
    reservations: Reservations = field(factory=Reservations)
    breaker: Breaker = field(init=False)
    ready: ReadyBuffer = field(init=False)
    acker: Acker = field(init=False)
    recovery: Recovery = field(init=False)
    worker: Worker = field(init=False)
    intake: Intake = field(init=False)
    prober: Prober = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Put the agents together."""
        plan, identity, store, health = self.plan, self.identity, self._store, self._health
        target = plan.target
        self.ready = ReadyBuffer(plan.places, BatchSize(stretch(self._pools) * SPAN_S))
        self.breaker = Breaker(target.name, self._report_of_breaker, target.concurrency, self.ready.demand)
        shared = plan, identity, store, health, self.reservations, self.ready
        acks = AckBuffer(self.ready)
        settler = Settler(plan, identity, Reports(plan, identity), health)
        endpoints = Endpoints(target, plan.connector, Slots(target.slots))
        admission = Admission(plan=plan, identity=identity, endpoints=endpoints, health=health)
        self.acker = acker = Acker(*shared, buffer=acks, settler=settler, upkeep=self._upkeep, lease=self.lease)
        sharing = ProbeSharing(store, health, target.name, identity)
        self.prober = Prober(self.breaker, lambda: probe(plan), sharing, lambda: self.intake.wait_to_compare())  # noqa: PLW0108 - it is made last
        self.worker = Worker(self._new_life(admission, settler, acks))
        drop_lost = self.worker.drop_lost
        self.recovery = Recovery(*shared, drop_lost=drop_lost, admission=admission, settler=settler, acker=acker)
        self.intake = Intake(
            *shared,
            lease=self.lease,
            quiet=self.quiet,
            breaker=self.breaker,
            acker=acker,
            standing=Standing(self._waiters, self._upkeep.readiness, self.reservations),
            reconcile=self.recovery.reconcile,
        )

    def _new_life(self, admission: Admission, settler: Settler, acks: AckBuffer) -> Life:
        gates = RedisGates(self.plan, self.identity, self._store, self._health)
        return Life(
            plan=self.plan,
            reservations=self.reservations,
            ready=self.ready,
            admission=admission,
            gates=gates,
            breaker=self.breaker,
            checks=SendChecks(self.plan.transport, self.reservations, self.breaker, self.lease, gates),
            settler=settler,
            acks=acks,
            stopping=self.stopping,
            probe_after_denial=self.prober.probe_after_denial,
        )

    @property
    def hindrance(self) -> str | None:
        """Why it gets no jobs although it could run some, as a word of `Intake.limited`; None if nothing hinders it."""
        return "refused" if self.acker.refused else self.intake.limited

    async def register(self) -> None:
        """Register its identity in Redis, under a new name if its name is taken. Wait while Redis is away."""
        target, responses = self.plan.target, self.plan.policy.responses
        facts = same_host.this_process(target.name)
        while not await self._health.call_until_up(
            self._store,
            jobs.register,
            self.identity.name,
            facts,
            queues=target.queues,
            responses=responses,
            key_rules=self.plan.key_rules,
            time_outs_s={} if self.plan.order is None else self.plan.time_outs_s,
        ):
            self.identity.rename(f"{new_name()}:{target.name}")

    def stop(self) -> None:
        """End the waits of jobs that were not sent, and take no more jobs."""
        self.stopping.set()
        self.ready.close()
        self.breaker.stop()
