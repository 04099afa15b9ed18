"""One run of `restbroker verify`: prepare, push, break, wait, judge, remove. Called by `cli.verify`.

Always holds: however it ends (an error, Ctrl-C, SIGTERM), its processes are gone first and then its keys. The same seed
gives the same order of faults; each fault counts the jobs in progress of the process that it breaks before another can
take them over, so the bound on duplicates is never too low.
"""

import random
import secrets
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, assert_never

import attrs
import trio

from restbroker.errors import StoreUnavailable, UsageError
from restbroker.light import define, field, frozen
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.server import NEWER_REDIS, TOO_OLD, server
from restbroker.trial.brokers import Broker, Fleet, open_fleet
from restbroker.trial.result import TrialResult, verdict_of
from restbroker.trial.witness import PREFIX, QUEUE, job_id, new_namespace, payload

Fault: TypeAlias = Literal["kill", "freeze", "cut", "reset", "restart"]

_KILLS_PER_OTHER = 3
_KILLS_PER_FREEZE = 20
_RESETS = 10
_REQUEUE_TIMEOUT_S = 60.0
_COPIES = 4
"""How often a job may be in Redis: as pushed, taken, dead, and in what its broker says of it."""
_PUSH_BATCH = 100
_STALLED_AFTER_S = 300.0
"""For so long nothing may move: a job that was in progress in five crashes waits up to four minutes."""
_POLL_S = 0.1
_LOOK_S = 0.05


@frozen
class RunPlan:
    """What to run: numbers of jobs, of kills and of broker processes. The same `seed` breaks in the same order."""

    jobs: int
    kills: int
    processes: int
    seed: int


ProgressCallback = Callable[[int, int, str], None]
"""Shows how many jobs of how many are done, and in words how many faults there were."""
"""A function that gets the progress of the run as a text, again and again."""


def run(settings: StoreSettings, wanted: RunPlan, tell: ProgressCallback) -> TrialResult | None:
    """Run to the end and return the result; None if it was interrupted.

    `settings` name the Redis; their namespace is not used. Raise `UsageError` for a Redis that is not fit,
    `StoreUnavailable` if it does not answer, and a group of `RestbrokerError` when a part fails.
    """
    namespace = new_namespace()
    settings = attrs.evolve(settings, namespace=namespace, client_name=namespace)
    client = open_client(settings)
    try:
        _require_usable(client, wanted.jobs * len(payload(wanted.jobs, "0" * 32)) * _COPIES, wanted.jobs)
    finally:
        client.close()
    return trio.run(_main, settings, wanted, tell)


def _require_usable(client: Client, needed_bytes: int, jobs: int) -> None:
    """Raise `UsageError` if Redis is unfit for a run: too old, a replica, part of a cluster, or short of memory.

    Raise `StoreUnavailable` if it does not answer.
    """
    facts = server(client)
    where = f"{facts.product} at {client.address}"
    if not facts.is_supported:
        raise UsageError(f"{where} is too old. {TOO_OLD}", NEWER_REDIS)
    if facts.role != "master":
        raise UsageError(f"{where} is a replica, which takes no writes.", "Name its master.")
    if facts.cluster_enabled:
        raise UsageError(f"{where} is part of a cluster, which cannot hold Sidekiq queues.", "Name a single Redis.")
    free = facts.maxmemory_bytes - facts.used_memory_bytes
    if facts.maxmemory_bytes and free < needed_bytes:
        raise UsageError(
            f"{where} has {max(0, free)} bytes left of maxmemory, and {jobs} jobs may need {needed_bytes}.",
            "Use fewer --jobs, raise maxmemory, or name another Redis.",
        )


async def _main(settings: StoreSettings, wanted: RunPlan, tell: ProgressCallback) -> TrialResult | None:
    result = None
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals,
        tempfile.TemporaryDirectory(prefix=PREFIX) as folder,
    ):
        run = open_fleet(settings, Path(folder), secrets.token_hex(16), signals, seed=wanted.seed)
        async with run as fleet:
            result = await _Run(fleet, FaultMaker(fleet, wanted.processes), wanted, tell).execute()
    return result


def plan(kills: int, rng: random.Random) -> list[Fault]:
    """Return the faults of a run, in order: all the kills, and of every other kind at least one; none without kills.

    A freeze comes first: the others happen while it lasts.
    """
    if kills == 0:
        return []
    others: Sequence[Fault] = ("cut", "reset", "restart")
    found: list[Fault] = ["kill"] * kills
    found += [fault for fault in others for _ in range(max(1, kills // _KILLS_PER_OTHER))]
    found += ["freeze"] * (kills // _KILLS_PER_FREEZE)
    rng.shuffle(found)
    return ["freeze", *found]


@define(eq=False)
class FaultMaker:
    """Makes the faults happen, one after the other.

    `bound`: how many jobs may have run twice because of faults; requests that the stand-in cut are not counted.
    `requeued_s`: for each killed or frozen process that held jobs, the seconds until they were back.
    """

    fleet: Fleet
    processes: int
    bound: int = 0
    happened: Counter[Fault] = field(factory=Counter)
    requeued_s: dict[Fault, list[float]] = field(factory=lambda: {"kill": [], "freeze": []})
    _frozen: Broker | None = None
    _bystander: Broker | None = None
    _thawed: trio.Event = field(factory=trio.Event)

    async def do(self, fault: Fault) -> None:
        """Make one fault happen, and return when the broken part works again; for a freeze, when it has begun."""
        match fault:
            case "kill":
                await self._kill()
            case "freeze":
                await self._freeze()
            case "cut":
                wires = [
                    broker.wire
                    for broker in self.fleet.brokers
                    if broker is not self._bystander and broker.wire is not None
                ]
                if not wires:
                    return
                for wire in wires:
                    wire.cut()
            case "reset":
                self.fleet.stand_in.resets += _RESETS  # the stand-in counts those that came to it
            case "restart":
                await self.fleet.stand_in.go_down()
                await trio.sleep(self.fleet.stand_in.rng.uniform(0.2, 1.0))
                await self.fleet.stand_in.come_up()
            case _:
                assert_never(fault)
        self.happened[fault] += 1

    async def finish(self) -> None:
        """Wait until no broker is frozen any more."""
        if self._frozen is not None:
            await self._thawed.wait()

    async def _kill(self) -> None:
        victim = self.fleet.stand_in.rng.choice(
            [broker for broker in self.fleet.brokers if broker not in (self._frozen, self._bystander)]
        )
        identities = await self._count(victim)
        self.fleet.brokers.remove(victim)
        victim.process.kill()
        since_s = time.monotonic()
        await victim.process.wait()
        await self.fleet.start()
        await self._measure_requeue("kill", identities, since_s)

    async def _freeze(self) -> None:
        """Suspend a process until another one has fenced it; others do its work meanwhile."""
        await self.finish()
        while len(self.fleet.brokers) < max(3, self.processes + 1):
            await self.fleet.start()
        # Only a process whose own connection is healthy all the time may declare another dead: one is left in peace.
        self._bystander, self._frozen = self.fleet.brokers[-1], self.fleet.brokers[0]
        self._thawed = trio.Event()
        identities = await self._count(self._frozen)
        self.fleet.nursery.start_soon(self._thaw, self._frozen, identities, time.monotonic())

    async def _thaw(self, frozen: Broker, identities: Sequence[str], since_s: float) -> None:
        await self._measure_requeue("freeze", identities, since_s)
        frozen.process.send_signal(signal.SIGCONT)
        await self.fleet.wait_for_heartbeat(frozen)
        self._frozen = self._bystander = None
        self._thawed.set()

    async def _count(self, victim: Broker) -> list[str]:
        """Suspend a process, add what it holds to `bound`, and return its identities that hold jobs.

        A suspended process holds its jobs until it is fenced, 20 s later.
        """
        victim.process.send_signal(signal.SIGSTOP)
        held = await self.fleet.witness.ask(self.fleet.witness.jobs_in_progress, victim.process.pid)
        self.bound += sum(map(len, held.values()))
        return [identity for identity, jobs in held.items() if jobs]

    async def _measure_requeue(self, fault: Fault, identities: Sequence[str], since_s: float) -> None:
        if not identities:
            return
        with trio.move_on_after(_REQUEUE_TIMEOUT_S):
            while not await self.fleet.witness.ask(self.fleet.witness.is_requeued, identities):  # noqa: ASYNC110  Redis tells no one
                await trio.sleep(_LOOK_S)
            self.requeued_s[fault].append(time.monotonic() - since_s)


@define(eq=False)
class _Run:
    fleet: Fleet
    breaker: FaultMaker
    plan: RunPlan
    tell: ProgressCallback
    acknowledged: list[str] = field(factory=list)
    pushed: trio.Event = field(factory=trio.Event)

    async def execute(self) -> TrialResult:
        """Do everything but the removal, and return what was found."""
        began_s = time.monotonic()
        fleet = self.fleet
        # A machine that starts processes slowly would have done all jobs before the first fault.
        fleet.stand_in.slow = self.plan.kills > 0
        fleet.nursery.start_soon(self._push)
        for _ in range(self.plan.processes):
            await fleet.start()
        fleet.stand_in.slow = False
        await self._break()
        await self._finish()
        await fleet.stop()
        return await self._verdict(began_s)

    async def _push(self) -> None:
        """Push all jobs; what Redis did not acknowledge is not pushed again, as it may be there."""
        witness, token = self.fleet.witness, self.fleet.stand_in.password
        for start in range(0, self.plan.jobs, _PUSH_BATCH):
            numbers = range(start, min(start + _PUSH_BATCH, self.plan.jobs))
            try:
                await witness.ask(witness.push, QUEUE, [payload(number, token) for number in numbers])
            except StoreUnavailable:
                continue
            self.acknowledged += [job_id(number) for number in numbers]
        self.pushed.set()

    async def _break(self) -> None:
        """Do each fault at its share of the work, a random moment after the answers became slow and brokers busy."""
        faults = plan(self.plan.kills, self.fleet.stand_in.rng)
        for number, fault in enumerate(faults):
            await self._until(len(faults), (number + 1) * self.plan.jobs // (len(faults) + 2))
            self.fleet.stand_in.slow = True
            await trio.sleep(self.fleet.stand_in.rng.uniform(0.05, 0.4))
            await self.breaker.do(fault)
            self.fleet.stand_in.slow = False

    async def _finish(self) -> None:
        await self.pushed.wait()
        planned = sum(self.breaker.happened.values())
        await self._until(planned, None)
        await self.breaker.finish()
        await self._until(planned, None)

    async def _until(self, planned: int, done: int | None) -> None:
        """Wait until `done` jobs are done, or nothing is left to do, or nothing has moved for too long.

        `done` None: wait until nothing is left, seen twice in a row, or nothing has moved for too long.
        """
        stand_in, witness = self.fleet.stand_in, self.fleet.witness
        seen, moved_s, quiet = -1, time.monotonic(), 0
        while done is None or len(stand_in.done) < done:
            self.fleet.require_alive()
            faults = f"{sum(self.breaker.happened.values())} of {planned} faults"
            self.tell(len(stand_in.done), self.plan.jobs, faults)
            left = await witness.ask(witness.count_unfinished, QUEUE)
            quiet = quiet + 1 if left == 0 and self.pushed.is_set() else 0
            if quiet == 2:
                return
            if (now := left + sum(map(len, stand_in.jobs.values()))) != seen:
                seen, moved_s = now, time.monotonic()
            if time.monotonic() - moved_s > _STALLED_AFTER_S:
                return
            await trio.sleep(_POLL_S)

    async def _verdict(self, began_s: float) -> TrialResult:
        stand_in, witness = self.fleet.stand_in, self.fleet.witness
        places = await witness.ask(witness.count_locations, QUEUE)
        dead = await witness.ask(witness.dead_jobs)
        attempted = [job_id(number) for number in range(self.plan.jobs)]
        statuses = {job: [request.status for request in sent] for job, sent in stand_in.jobs.items()}
        bound = self.breaker.bound + stand_in.cut
        return TrialResult(
            verdict_of(attempted, self.acknowledged, statuses, places=places, dead=dead, bound=bound),
            dead_by_code=Counter(dead.values()),
            faults={str(name): count for name, count in self.breaker.happened.items()},
            requeued_s={str(name): times_s for name, times_s in self.breaker.requeued_s.items()},
            took_s=time.monotonic() - began_s,
            seed=self.plan.seed,
        )
