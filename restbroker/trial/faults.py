"""The faults of a run, their order, and how many jobs may run twice because of them. Used by `verify`.

Always holds: the same seed gives the same order; each fault counts the jobs in progress of the process that it breaks
before another can take them over, so the bound on duplicates is never too low.
"""

import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias, assert_never

import attrs
import trio

from restbroker.trial.brokers import Broker, Fleet
from restbroker.trial.stand_in import StandIn

Fault: TypeAlias = Literal["kill", "freeze", "cut", "reset", "restart"]

_KILLS_PER_OTHER = 3
_KILLS_PER_FREEZE = 20
_RESETS = 10
_REQUEUE_TIMEOUT_S = 60.0
_POLL_S = 0.05


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


@attrs.define(eq=False)
class Breaker:
    """Makes the faults happen, one after the other.

    `bound`: how many jobs may have run twice because of faults; requests that the stand-in cut are not counted.
    `requeued_s`: for each killed or frozen process that held jobs, the seconds until they were back.
    """

    fleet: Fleet
    stand_in: StandIn
    nursery: trio.Nursery
    rng: random.Random
    processes: int
    bound: int = 0
    happened: Counter[Fault] = attrs.field(factory=Counter)
    requeued_s: dict[Fault, list[float]] = attrs.field(factory=lambda: {"kill": [], "freeze": []})
    _frozen: Broker | None = None
    _bystander: Broker | None = None
    _thawed: trio.Event = attrs.field(factory=trio.Event)

    async def do(self, fault: Fault) -> None:
        """Make one fault happen, and return when the broken part works again; for a freeze, when it has begun."""
        match fault:
            case "kill":
                await self._kill()
            case "freeze":
                await self._freeze()
            case "cut":
                if not self.fleet.has_wires:
                    return
                self._cut_connections()
            case "reset":
                self.stand_in.resets += _RESETS  # the stand-in counts those that came to it
            case "restart":
                await self.stand_in.go_down()
                await trio.sleep(self.rng.uniform(0.2, 1.0))
                await self.stand_in.come_up()
            case _:
                assert_never(fault)
        self.happened[fault] += 1

    async def finish(self) -> None:
        """Wait until no broker is frozen any more."""
        if self._frozen is not None:
            await self._thawed.wait()

    async def _kill(self) -> None:
        victim = self.rng.choice([one for one in self.fleet.brokers if one not in (self._frozen, self._bystander)])
        identities = await self._count(victim)
        self.fleet.brokers.remove(victim)
        victim.process.kill()
        since_s = time.monotonic()
        await victim.process.wait()
        await self.fleet.start()
        await self._note_requeued("kill", identities, since_s)

    async def _freeze(self) -> None:
        """Suspend a process until another one has fenced it; others do its work meanwhile."""
        await self.finish()
        while len(self.fleet.brokers) < max(3, self.processes + 1):
            await self.fleet.start()
        # Only a process whose own connection is healthy all the time may declare another dead: one is left in peace.
        self._bystander, self._frozen = self.fleet.brokers[-1], self.fleet.brokers[0]
        self._thawed = trio.Event()
        identities = await self._count(self._frozen)
        self.nursery.start_soon(self._thaw, self._frozen, identities, time.monotonic())

    async def _thaw(self, frozen: Broker, identities: Sequence[str], since_s: float) -> None:
        await self._note_requeued("freeze", identities, since_s)
        frozen.process.send_signal(signal.SIGCONT)
        await self.fleet.wait_for_heartbeat(frozen)
        self._frozen = self._bystander = None
        self._thawed.set()

    def _cut_connections(self) -> None:
        for broker in self.fleet.brokers:
            if broker.wire is not None and broker is not self._bystander:
                broker.wire.cut()

    async def _count(self, victim: Broker) -> list[str]:
        """Suspend a process, add what it holds to `bound`, and return its identities that hold jobs.

        A suspended process holds its jobs until it is fenced, 20 s later.
        """
        victim.process.send_signal(signal.SIGSTOP)
        held = await self.fleet.witness.ask(self.fleet.witness.jobs_in_progress, victim.process.pid)
        self.bound += sum(map(len, held.values()))
        return [identity for identity, jobs in held.items() if jobs]

    async def _note_requeued(self, fault: Fault, identities: Sequence[str], since_s: float) -> None:
        if not identities:
            return
        with trio.move_on_after(_REQUEUE_TIMEOUT_S):
            while not await self.fleet.witness.ask(self.fleet.witness.is_requeued, identities):  # noqa: ASYNC110  Redis tells no one
                await trio.sleep(_POLL_S)
            self.requeued_s[fault].append(time.monotonic() - since_s)
