"""Whole brokers on the reference instead of Redis, and on Trio's mock clock: days pass in seconds.

A `World` is one Redis, one target and the processes on them. Always holds: nothing here uses a thread or a real clock,
so the mock clock may jump.
"""

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, cast

import attrs
import pytest
import trio
from trio._core import _run

from restbroker.broker import broker, generation, signals
from restbroker.broker.plan import BrokerPlan
from restbroker.broker.signals import Control
from restbroker.broker.status.status import Status
from restbroker.broker.target_plan import TargetPlan
from restbroker.broker.tokens import Tokens
from restbroker.config.secret import Secret
from restbroker.config.target import Target, Url
from restbroker.config.tokens import Token
from restbroker.job import signing
from restbroker.job.arguments import Submission
from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.command import Command
from restbroker.job.policy import Policy
from restbroker.store import (
    claims,
    heartbeats,
    identities,
    in_progress,
    jobs,
    large,
    limits,
    order,
    pauses,
    probing,
    queues,
    records,
    rewrite,
    server,
    sets,
    unadmitted,
)
from restbroker.store.connection import Connection
from restbroker.store.probing import ProbeGranted
from restbroker.store.rewrite import AppendOnlyFile
from restbroker.store.server import ServerInfo
from restbroker.store.waiter import Waiter
from restbroker.telemetry.events import Event
from restbroker.transport.message import Transport
from tests.model.link import SimulatedConnection, SimulatedWaiter, Way
from tests.model.reference import Reference
from tests.model.target import SimulatedTarget
from tests.support import ways
from tests.support.single_events import single_events

BEGAN_AT_S = 1_800_000_000.0
OPERATIONS = {
    jobs: ("register", "mark", "retire"),
    in_progress: ("read_jobs",),
    order: ("free_lost",),
    large: ("delete_unnamed",),
    heartbeats: ("write_heartbeats", "fence", "recover"),
    server: ("time_s",),
    identities: ("live_identities", "fenced_identities", "all_identities", "read"),
    sets: ("due", "with_due", "place"),
    queues: ("empty_hands",),
    limits: ("pause", "resume", "pauses"),
    pauses: ("end_due", "are_noted"),
    claims: ("stored_for_s",),
}
OWNER: ContextVar["Process | None"] = ContextVar("OWNER", default=None)
"""The process whose task runs."""
FACTS = ServerInfo("r", "master", "7.0.15", False, 0, 0, "noeviction", True, "always", False, "", True, 0, {})


def now_s() -> float:
    """The clock on every wall of this world, epoch seconds."""
    return BEGAN_AT_S + trio.current_time()


@attrs.define(eq=False)
class World:
    """`reference` stands for Redis; `processes` in the order of their starts."""

    target: SimulatedTarget
    nursery: trio.Nursery
    reference: Reference = attrs.field(factory=lambda: Reference(now_s))
    processes: list["Process"] = attrs.field(factory=list)
    waiting: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    signs: bool = False
    open_transport: Callable[[Target], Transport] | None = None
    """Makes the transport of a process; None: the target is the transport."""
    pushed: list[bytes] = attrs.field(factory=list)

    def start(self, **plan: Any) -> "Process":
        """One more process."""
        process = Process(self, **plan)
        self.processes.append(process)
        self.nursery.start_soon(process.run)
        return process

    def push(self, *jids: str, command: str = "safe", **fields: Any) -> None:
        """Pushes a job for each jid."""
        for jid in jids:
            token = signed(jid, command) if self.signs else "t"
            job = {"class": "A", "jid": jid, "queue": "rest", "args": [command, {"jid": jid}, token], **fields}
            self.pushed.append(json.dumps(job).encode())
            self.reference.data.lists["queue:rest"].insert(0, self.pushed[-1])
        self.waiting.unpark_all()

    def push_raw(self, payload: bytes) -> None:
        """Pushes any bytes."""
        self.reference.data.lists["queue:rest"].insert(0, payload)
        self.waiting.unpark_all()

    def in_progress(self) -> dict[str, list[str]]:
        """The jids of what each identity has in progress, where there is any."""
        held = self.reference.data.held.items()
        return {identity: [jid_of(raw) for raw in own.jobs.values()] for identity, own in held if own.jobs}

    def places(self) -> Counter[str]:
        """In how many places each jid lies."""
        data = self.reference.data
        found = [raw for lists in (data.lists, data.hands) for jobs_there in lists.values() for raw in jobs_there]
        found += [raw for own in data.held.values() for raw in own.jobs.values()]
        found += [raw for members in data.sets.values() for raw in members]
        return Counter(jid_of(raw) for raw in found)

    def lying(self, key: str) -> set[str]:
        """The jids in a list or a sorted set."""
        data = self.reference.data
        return {jid_of(raw) for raw in (data.sets[key] if key in data.sets else data.lists[key])}

    @property
    def alive(self) -> list["Process"]:
        """The processes that were not killed."""
        return [process for process in self.processes if not process.scope.cancel_called]

    @property
    def known(self) -> set[str]:
        """Every identity that Redis knows, alive or not."""
        data = self.reference.data
        return data.alive.keys() | data.fenced.keys() | data.infos.keys()

    def known_is_without(self, identities: set[str]) -> bool:
        """Whether Redis has forgotten these."""
        return self.known.isdisjoint(identities)

    def of(self, kind: type) -> list[Any]:
        """The events of this kind from all processes."""
        return [event for process in self.processes for event in process.events if isinstance(event, kind)]


@attrs.define(eq=False)
class Process:
    """One broker. `way` leads to Redis. `delivers`: the way in which it does, if the target knows all;
    `planned` counts the jobs that were delivered as planned.

    `frozen`: those of its tasks that would run if it were not frozen; None if it is not. `cleanly`: whether it ended
    with no job left in progress.
    """

    world: World
    concurrency: int = 3
    at_most_once: tuple[str, ...] = ()
    events: deque[Event] = attrs.field(factory=lambda: deque(maxlen=1000))
    control: Control = attrs.field(factory=Control)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    done: trio.Event = attrs.field(factory=trio.Event)
    status: Status = attrs.field(factory=Status)
    delivers: ways.Way = "plan"
    planned: Counter[str] = attrs.field(factory=Counter)
    frozen: deque[trio.lowlevel.Task] | None = None
    cleanly: bool = False
    way: Way = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.way = Way(self.world.reference, self.world.waiting)

    @property
    def identities(self) -> set[str]:
        """What it calls itself now."""
        return {pool.identity.name for pool in self.status.pools}

    async def run(self) -> None:
        """Until stopped or killed."""
        OWNER.set(self)
        with self.scope:
            self.cleanly = (await broker.run(self.plan(), self.control)).clean
        self.done.set()

    def stop(self) -> None:
        """SIGTERM."""
        self.control.why = "SIGTERM"
        self.control.stop.set()

    def kill(self) -> None:
        """SIGKILL: nothing that it does from now on reaches Redis."""
        self.way.cut = True
        self.scope.cancel()
        self.thaw()

    def freeze(self) -> None:
        """SIGSTOP: none of its tasks runs, while time passes and what is sent to it waits."""
        self.frozen = self.frozen or deque()

    def thaw(self) -> None:
        """SIGCONT."""
        frozen, self.frozen = self.frozen, None
        if frozen:
            _run.GLOBAL_RUN_CONTEXT.runner.runq.extend(frozen)

    def plan(self) -> BrokerPlan:
        """The real broker's parts; only Redis and the target are simulated."""
        simulated = self.world.target
        target = Target(
            "t",
            "simulated",
            Url("http", "127.0.0.1", 1),
            ("rest",),
            concurrency=self.concurrency,
            at_most_once=self.at_most_once,
        )
        open_transport, tokens = self.world.open_transport, Tokens([Token("default", (Secret("t"),))])
        transport = simulated if open_transport is None else open_transport(target)
        connector, policy = ways.by(simulated, self.delivers, self.planned), Policy(SidekiqBackoff())
        return BrokerPlan(
            targets=[TargetPlan(target, connector, transport, tokens, policy)],
            services=[],
            open_connection=self._connection,
            open_control=self._connection,
            open_waiter=lambda: cast("Waiter", SimulatedWaiter(self.way)),
            report=lambda event: self.events.extend(single_events(event)),
            snapshot=_no_snapshot,
            status=self.status,
        )

    def _connection(self) -> Connection:
        return cast("Connection", SimulatedConnection(self.way))


def simulate(patch: pytest.MonkeyPatch) -> None:
    """Puts the reference behind the store's functions, and the simulated time behind every clock."""
    for module, names in OPERATIONS.items():
        for name in names:
            patch.setattr(module, name, _through(name))
    patch.setattr(server, "server", lambda _reference, **_: FACTS)
    patch.setattr(generation, "require_supported", lambda _reference: None)
    patch.setattr(generation, "require_none", lambda _reference, _targets: None)
    patch.setattr(generation, "time_s", lambda _reference: now_s())
    patch.setattr(records, "write_token_uses", lambda _reference, _used: None)
    patch.setattr(rewrite, "append_only_file", lambda _reference: AppendOnlyFile("r", False, True, False, False))
    patch.setattr(unadmitted, "pause_flooded", lambda _reference, _dead_limit: ())
    # Every process probes by itself here, as where Redis does not let it ask the others.
    patch.setattr(probing, "claim", lambda *_: ProbeGranted())
    patch.setattr(probing, "publish", lambda *_: True)
    patch.setattr(signals, "watch", _no_signals)
    patch.setattr(time, "time", now_s)
    patch.setattr(time, "clock_gettime", lambda _clock: trio.current_time())
    patch.setattr(_run.Runner, "reschedule", _unless_frozen(_run.Runner.reschedule))


def _unless_frozen(reschedule: Callable[..., None]) -> Callable[..., None]:
    def hold(runner: _run.Runner, task: trio.lowlevel.Task, *send: Any) -> None:
        reschedule(runner, task, *send)
        owner = task.context.get(OWNER)
        if owner is not None and owner.frozen is not None:
            owner.frozen.append(runner.runq.pop())

    return hold


def jid_of(raw: bytes) -> str:
    """A payload's jid."""
    return str(json.loads(raw)["jid"])


def signed(jid: str, command: str) -> str:
    """The third argument of such a job, if it is signed."""
    submission = Submission(Command(command, {"jid": jid}), None, None)
    return signing.sign("t", "default", int(now_s()), jid, submission, "rest")


def _through(name: str) -> Callable[..., Any]:
    def call(reference: Reference, *args: Any, **kwargs: Any) -> Any:
        return getattr(reference, name)(*args, **kwargs)

    return call


async def _no_signals(
    _control: Control, _report: object, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    task_status.started()
    await trio.sleep_forever()


def _no_snapshot(_pool: object) -> Mapping[str, Any]:
    return {}
