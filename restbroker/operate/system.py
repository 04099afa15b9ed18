"""`Snapshot`: the one typed view of the system, for the stats, all lists, the checks, the live screen and the pages.

Always holds: what a process reported may be another version's, or another hand's: each field is checked once, here,
and one of a wrong type is None, as one that is missing; what other programs put in the place of our keys is left out.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, Literal, TypeAlias, TypeVar

import attrs

from restbroker.config.target import Target as TargetConfig
from restbroker.errors import StoreRefused
from restbroker.job.json_types import Json, as_text
from restbroker.light import frozen
from restbroker.store import pauses as pause_store
from restbroker.store import processes
from restbroker.store.client import Client, text
from restbroker.store.identities import SILENT_S, Registration
from restbroker.store.pauses import Pause
from restbroker.store.processes import ProcessRecord
from restbroker.store.server import RedisProblem, redis_problems, server
from restbroker.store.sources import SourceState, read_states, shown
from restbroker.store.stats import IdentityView, Overview, overview

T = TypeVar("T")
S = TypeVar("S")
_LARGEST: Final = 1e15
_STATES: Final = {"open": "up", "closed": "down"}
"""How a heartbeat names the state of a target → how it is shown; `denied` is the same in both."""
_WORST_FIRST: Final = ("denied", "down", "up")
_BLOCKED: Final = frozenset({"down", "denied", "paused", "retry_after"})


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST:
        return value
    return None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _members(value: object) -> Mapping[str, Json] | None:
    return value if isinstance(value, dict) else None


# Nobody compares these, and each method that attrs makes costs `restbroker stats` time at its start.
@frozen(eq=False, repr=False)
class PoolState:
    """One target in one process.

    `in_progress` is what Redis counts, not what the process said last; `busy`: as many were sent to the server and are
    not answered yet, at most as many as there are `workers` (Concurrency and the places of Slots). `dying`: its jobs
    return to their queues. `pauses`: why its target is paused; `paused` has the reasons, and for how many seconds more
    (None: until someone resumes it). `state`: `up`, `down`, or the login was `denied`.

    `ahead`: jobs that wait in the process. `limit`: how many jobs the target gets at once now, `limits` that and what
    is configured. `limited`: what held the last fetch back (rate, in_flight, dead, paused, old_order;
    refused: by Redis, or settling is). `outcomes`: how many jobs had each. `finishing`: it only ends what it
    has, since the process took a new configuration or stops.
    """

    identity: str
    process: str | None
    target: str | None
    queues: tuple[str, ...]
    heartbeat_age_s: float | None
    dying: bool
    in_progress: int
    busy: float | None = attrs.field(converter=_number, default=None)
    paused: Mapping[str, float | None] = attrs.field(factory=dict)
    pauses: tuple[Pause, ...] = ()
    state: str | None = attrs.field(converter=as_text, default=None)
    code: str | None = attrs.field(converter=as_text, default=None)
    reason: str | None = attrs.field(converter=as_text, default=None)
    hint: str | None = attrs.field(converter=as_text, default=None)
    down_for_s: float | None = attrs.field(converter=_number, default=None)
    kind: str | None = attrs.field(converter=as_text, default=None)
    ahead: float | None = attrs.field(converter=_number, default=None)
    workers: float | None = attrs.field(converter=_number, default=None)
    concurrency: float | None = attrs.field(converter=_number, default=None)
    limit: float | None = attrs.field(converter=_number, default=None)
    limits: Mapping[str, Json] | None = attrs.field(converter=_members, default=None)
    limited: str | None = attrs.field(converter=as_text, default=None)
    rate_per_s: float | None = attrs.field(converter=_number, default=None)
    p50_ms: float | None = attrs.field(converter=_number, default=None)
    p95_ms: float | None = attrs.field(converter=_number, default=None)
    p99_ms: float | None = attrs.field(converter=_number, default=None)
    delivered: float | None = attrs.field(converter=_number, default=None)
    failed: float | None = attrs.field(converter=_number, default=None)
    outcomes: Mapping[str, Json] | None = attrs.field(converter=_members, default=None)
    server_version: str | None = attrs.field(converter=as_text, default=None)
    quiet: bool | None = attrs.field(converter=_flag, default=None)
    finishing: bool | None = attrs.field(converter=_flag, default=None)

    @property
    def name(self) -> str:
        """The process as people know it, or its identity if it reported nothing else."""
        return self.process or self.identity

    @property
    def takes_jobs(self) -> bool:
        """Whether it takes jobs; its target may be down even so."""
        return self.quiet is not True and self.finishing is not True

    @property
    def is_gone(self) -> bool:
        """Whether it counts no more: it is fenced, or has been silent for so long that it will be within seconds."""
        return self.dying or self.heartbeat_age_s is None or self.heartbeat_age_s > SILENT_S


_OTHER_NAMES: Final = {
    "busy": "at_work",
    "code": "gate_code",
    "reason": "gate_reason",
    "hint": "gate_cure",
    "down_for_s": "closed_for_s",
}
REPORTED: Final = {
    field.name: _OTHER_NAMES.get(field.name, field.name)
    for field in attrs.fields(PoolState)
    if field.converter is not None and field.name != "state"
}
"""The fields that a process reports → their names in its heartbeat."""


Outlook: TypeAlias = Literal[
    "empty", "paused", "blocked", "unserved", "stopped", "unknown", "draining", "steady", "growing"
]
"""What is to be expected of a queue.

`blocked`: none of its targets takes jobs. `unserved`: no process takes jobs from it. `stopped`: some of its jobs wait
behind stopped keys, and what comes behind these has a part in its rate. `unknown`: its lengths are not
known for long enough, as after a start, or its key is no list.
"""
LONGEST_S: Final = 30 * 86_400
"""What takes longer than this many seconds at the present rate is called steady."""


@frozen
class Queue:
    """A queue: how many jobs wait (None: its key is not a list), and for how many seconds the next one has.

    `expired_s`: for how many seconds one of the next jobs has been past its `expiry`; None: none is. `targets` and
    `processes` (`host:pid`, Ruby's too) serve it now. `in_lines`: how many of the jobs are in lines (`FairBy`).
    `target_state`: why none of the targets takes jobs (`target_state`); None: one does, as far as is known, or none
    serves it. `change_per_s`: how fast it grew lately (negative: it got shorter), None if that is unknown.
    `behind_stopped`: how many of its jobs wait behind stopped keys; None: behind too many to count them. `outlook`:
    what is to be expected; `empty_in_s`: in how many seconds it will be empty, if it gets shorter.
    """

    name: str
    size: int | None
    latency_s: float | None
    paused: bool = False
    expired_s: float | None = None
    pause: Pause | None = None
    targets: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    in_lines: int = 0
    target_state: str | None = None
    change_per_s: float | None = None
    behind_stopped: int | None = 0
    outlook: Outlook = "unknown"
    empty_in_s: float | None = None


def outlook(
    waiting: int | None, change_per_s: float | None, held_back: Outlook | None = None
) -> tuple[Outlook, float | None]:
    """Return what is to be expected of a queue, and if it gets shorter, in how many seconds it will be empty.

    `change_per_s`: how fast it grew lately, negative if it got shorter; None: unknown. One that grows, stands still, is
    held back or is not known well enough has no time, which is never negative, and at most `LONGEST_S`.
    """
    if waiting == 0:
        return "empty", 0.0
    if waiting is None or held_back is not None or change_per_s is None:
        return held_back or "unknown", None
    if change_per_s < 0 and waiting < -change_per_s * LONGEST_S:
        return "draining", round(waiting / -change_per_s, 1)
    return "growing" if change_per_s > 0 else "steady", None


@frozen(eq=False, repr=False)
class TargetState:
    """A target over all its processes.

    `state` (up, down, denied), `reason`, `hint` and `down_for_s` are those of the worst process; None: no process
    serves the target, or none reports. `down_in`: in how many processes it is not up. `pauses`: the pauses that hold
    for all processes. `concurrency`, `limit` (jobs at once now), `busy`, `ahead`, `in_progress`, `rate_per_s`,
    `delivered` and `failed` (since each process started) are sums. `p50_ms` to `p99_ms` are those of the slowest
    process in the last minute. `rate_limit_per_s` and `max_in_flight` hold for all processes together. `limited`: what
    limited the processes' last fetches. `outcomes`: {outcome: how many tries}, if processes report them.
    `per_process` has each live process.
    """

    name: str
    kind: str | None
    state: str | None
    down_in: int
    reason: str | None
    hint: str | None
    down_for_s: float | None
    pauses: tuple[Pause, ...]
    concurrency: int
    limit: int
    rate_limit_per_s: float | None
    max_in_flight: int | None
    limited: tuple[str, ...]
    busy: int
    ahead: int
    in_progress: int
    rate_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    delivered: int
    failed: int
    outcomes: Mapping[str, int]
    versions: tuple[str, ...]
    queues: tuple[str, ...]
    processes: tuple[str, ...]
    per_process: tuple[PoolState, ...]


@frozen
class TargetStoppedKeys:
    """How many keys of a target a death stopped (`OnDead`), since when, and the queue whose page lists them.

    The keys' names are not here: they may hold secrets.
    """

    target: str
    queue: str
    count: str
    since_s: float | None


@frozen
class Snapshot:
    """The system at one moment. `totals`: processed, failed, retry, schedule, dead.

    `redis`: each reason why Redis refuses writes, or may soon; none where INFO is not allowed. `targets`: each target
    in each process. `sources`: each event source in each process that reads it; a stream of a user has one a user.

    Not shown as it is: `now_s`, Redis' clock; `listed`, the queues that a client put on Redis' list, that are served or
    have a key; `unread`, how many queues there are besides these; what each process wrote of itself, at its start
    (`registrations`, by identity) and for Sidekiq Web (`records`); `stays_s`, for how many seconds the oldest job of a
    queue that no process takes, nor anyone paused, has been the same; `pauses`, by target, of those without one, too;
    `tell_fails`, why what is told does not arrive.
    """

    redis: tuple[RedisProblem, ...] = ()
    totals: Mapping[str, int] = attrs.field(factory=dict)
    queues: tuple[Queue, ...] = ()
    targets: tuple[PoolState, ...] = ()
    sources: tuple[SourceState, ...] = ()
    now_s: float = 0.0
    listed: frozenset[str] = frozenset()
    unread: int = 0
    registrations: Mapping[str, Registration] = attrs.field(factory=dict)
    records: tuple[ProcessRecord, ...] = ()
    stays_s: Mapping[str, float] = attrs.field(factory=dict)
    pauses: Mapping[str, tuple[Pause, ...]] = attrs.field(factory=dict)
    tell_fails: str = ""

    @property
    def waiting(self) -> int:
        """How many jobs wait in queues."""
        return sum(queue.size or 0 for queue in self.queues)

    @property
    def in_progress(self) -> int:
        """How many jobs all processes have in progress."""
        return sum(pool.in_progress for pool in self.targets)

    def as_json(self) -> dict[str, Json]:
        """Return it ready for JSON. Times are seconds unless their names say ms."""
        return {
            "redis": [attrs.asdict(problem) for problem in self.redis],
            "totals": dict(self.totals),
            "queues": [attrs.asdict(queue) for queue in self.queues],
            "targets": [attrs.asdict(target) for target in self.targets],
            "sources": [shown(source) for source in self.sources],
        }


def system(client: Client, wanted: Collection[str] = (), most_queues: int | None = None) -> Snapshot:
    """Return the system, with the queues `wanted` even if neither a process nor Redis knows them.

    `most_queues`: if there are more, those that nobody wants, serves or paused are only counted. Raise
    `StoreUnavailable` or `StoreRefused`.
    """
    records = unless_refused(lambda: processes.read_all(client, with_work=False), ())
    paused = pause_store.paused_queues(client)
    named = {*wanted, *paused, *(queue for record in records for queue in record.queues)}
    seen = overview(client, named, most_queues)
    known = {pool.identity: pool.registration for pool in seen.identities if pool.registration is not None}
    pauses = pause_store.paused_targets(client, {record.process.target for record in known.values()})
    found = tuple(_pool(pool, pauses) for pool in seen.identities)
    queues = tuple(_queues(seen, paused, found, records, _behind_stopped(client, seen, found)))
    untaken = [queue.name for queue in queues if queue.size and queue.outlook == "unserved"]
    return Snapshot(
        redis=tuple(unless_refused(lambda: redis_problems(server(client)), ())),
        totals={name: getattr(seen, name) for name in ("processed", "failed", "retry", "schedule", "dead")},
        queues=queues,
        targets=found,
        sources=tuple(unless_refused(lambda: read_states(client), ())),
        now_s=seen.now_s,
        listed=frozenset(queue.name for queue in seen.queues if queue.is_listed),
        unread=seen.unread,
        registrations=known,
        records=tuple(records),
        stays_s=unless_refused(lambda: processes.stays_s(client, untaken, seen.now_s), {}),
        pauses=pauses,
        tell_fails=text(unless_refused(lambda: client.command("HGET", client.keys.tell, "fails"), None) or b""),
    )


def targets(client: Client, found: Iterable[PoolState], wanted: Collection[str] = ()) -> list[TargetState]:
    """Return these targets over all their processes, those that a person paused, and those `wanted`, by name.

    Raise `StoreUnavailable`.
    """
    by_name: dict[str, list[PoolState]] = {name: [] for name in wanted}
    for pool in found:
        if pool.target is not None:
            by_name.setdefault(pool.target, []).append(pool)
    paused = pause_store.paused_targets(client, by_name)
    return [_target(name, by_name.get(name, ()), paused.get(name, ())) for name in sorted(by_name.keys() | paused)]


def read_targets(client: Client, wanted: Collection[str] = ()) -> list[TargetState]:
    """Return all targets that a process serves, that a person paused, or that are `wanted`.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    return targets(client, system(client).targets, wanted)


def target_state(one: PoolState | TargetState) -> str | None:
    """Return the state of a target, in one process or over all, from its `state` and `pauses`: the gravest one.

    It is `denied`, `down`, `paused` (by a person), `retry_after` (the server asked for it), `up`, or None if unknown.
    """
    reasons = {pause.reason for pause in one.pauses}
    if "denied" in (one.state, *reasons):
        return "denied"
    if one.state == "down" or not reasons:
        return one.state
    return "retry_after" if reasons == {"retry_after"} else "paused"


def stopped_keys(client: Client, found: Sequence[TargetConfig]) -> list[TargetStoppedKeys]:
    """Return each of these targets with keys that a death stopped, also if it has no OrderBy any more.

    Raise `StoreUnavailable`.
    """
    queues = {target.name: target.queues[0] for target in found}
    if not queues or unless_refused(lambda: client.command("EXISTS", *map(client.keys.busy_keys, queues)), 0) == 0:
        return []
    from restbroker.store.order import read_stopped  # slow to load, and of use to few

    stopped = unless_refused(lambda: read_stopped(client, tuple(queues), most=1).items(), ())
    return [TargetStoppedKeys(name, queues[name], keys.count_text, keys.since_s) for name, keys in stopped]


def _behind_stopped(client: Client, seen: Overview, pools: Sequence[PoolState]) -> Mapping[str, int | None]:
    """Return how many jobs of each queue wait behind stopped keys; None: behind too many keys to count them."""
    lines = {view.name for view in seen.queues if view.in_lines}
    targets = {queue: pool.target for pool in pools if pool.target for queue in pool.queues if queue in lines}
    if not targets:
        return {}
    from restbroker.store.key_queues import count_each  # slow to load, and of use to few
    from restbroker.store.order import read_stopped

    found = read_stopped(client, sorted(set(targets.values())))
    behind = {queue: found[target] for queue, target in targets.items() if target in found}
    return {
        queue: sum(count_each(client, queue, [key.key for key in held.keys])) if len(held.keys) == held.count else None
        for queue, held in behind.items()
    }


def unless_refused(ask: Callable[[], T], instead: S) -> T | S:
    """Return what `ask` returns, or `instead` if Redis refuses it: the rest is shown, and `check` names the key."""
    with suppress(StoreRefused):
        return ask()
    return instead


def _queues(
    seen: Overview,
    paused: Mapping[str, Pause],
    pools: Sequence[PoolState],
    records: Sequence[ProcessRecord],
    behind_stopped: Mapping[str, int | None],
) -> Iterator[Queue]:
    serving: dict[str, list[PoolState]] = defaultdict(list)
    names: dict[str, set[str]] = defaultdict(set)
    changes: dict[str, float | None] = {}
    taken: set[str] = set()
    for pool in pools:
        taken.update(pool.queues if pool.takes_jobs and not pool.is_gone else ())
        for queue in () if pool.dying else pool.queues:
            serving[queue].append(pool)
            names[queue].add(pool.name)
    for record in records:
        for queue in record.queues:
            names[queue].add(record.short_name)
        taken.update(() if record.is_restbroker or record.quiet else record.queues)
        if (record.heartbeat_at_s or 0.0) > seen.now_s - SILENT_S:
            changes |= {queue: _number(per_s) for queue, per_s in record.changes_per_s.items()}
    for view in seen.queues:
        states = [target_state(pool) for pool in serving[view.name]]
        blocked = bool(states) and _BLOCKED.issuperset(states)
        stopped = behind_stopped.get(view.name, 0)
        held: Outlook | None = None if stopped == 0 else "stopped"
        held = "unserved" if view.name not in taken else "blocked" if blocked else held
        held = "paused" if view.paused else held
        expected, empty_in_s = outlook(view.size, changes.get(view.name), held)
        yield Queue(
            view.name,
            view.size,
            latency_s=None if view.latency_s is None else round(view.latency_s, 3),
            paused=view.paused,
            expired_s=None if view.expired_s is None else round(view.expired_s, 3),
            pause=paused.get(view.name),
            targets=_texts(pool.target for pool in serving[view.name]),
            processes=tuple(sorted(names[view.name])),
            in_lines=view.in_lines,
            target_state=states[0] if blocked else None,
            change_per_s=changes.get(view.name),
            behind_stopped=stopped,
            outlook=expected,
            empty_in_s=empty_in_s,
        )


def _pool(one: IdentityView, paused: Mapping[str, tuple[Pause, ...]]) -> PoolState:
    known = one.registration
    snapshot = {} if known is None else known.facts
    state = as_text(snapshot.get("gate"))
    pauses = () if known is None else paused.get(known.process.target, ())
    return PoolState(
        identity=one.identity,
        process=None if known is None else known.name,
        target=None if known is None else known.process.target,
        queues=() if known is None else known.queues,
        heartbeat_age_s=one.age_s,
        dying=one.is_fenced,
        in_progress=one.in_progress,
        paused={pause.reason: pause.remaining_s for pause in pauses},
        pauses=pauses,
        state=None if state is None else _STATES.get(state, state),
        **{name: snapshot.get(reported) for name, reported in REPORTED.items()},
    )


def _target(name: str, all_pools: Sequence[PoolState], paused: tuple[Pause, ...]) -> TargetState:
    alive = [pool for pool in all_pools if not pool.dying]
    # One that only finishes what it has tells nothing of the target, but its jobs count.
    telling = [pool for pool in alive if pool.state in _WORST_FIRST and pool.finishing is not True]
    worst = min(telling, key=lambda pool: _WORST_FIRST.index(str(pool.state)), default=None)
    limits = [pool.limits or {} for pool in telling]
    outcomes = [pool.outcomes or {} for pool in telling]
    return TargetState(
        name=name,
        kind=next((pool.kind for pool in telling if pool.kind is not None), None),
        state=None if worst is None else worst.state,
        down_in=sum(pool.state != "up" for pool in telling),
        reason=None if worst is None else worst.reason,
        hint=None if worst is None else worst.hint,
        down_for_s=None if worst is None else worst.down_for_s,
        pauses=paused,
        concurrency=int(_sum(pool.concurrency for pool in telling)),
        limit=int(_sum(pool.limit for pool in telling)),
        rate_limit_per_s=min(_known(_number(limit.get("rate_per_s")) for limit in limits), default=None),
        max_in_flight=min(map(int, _known(_number(limit.get("in_flight")) for limit in limits)), default=None),
        limited=_texts(pool.limited for pool in telling),
        busy=int(_sum(pool.busy for pool in alive)),
        ahead=int(_sum(pool.ahead for pool in alive)),
        # Also what died in hand: it is about to go back.
        in_progress=sum(pool.in_progress for pool in all_pools),
        rate_per_s=_sum(pool.rate_per_s for pool in telling),
        p50_ms=max(_known(pool.p50_ms for pool in telling), default=None),
        p95_ms=max(_known(pool.p95_ms for pool in telling), default=None),
        p99_ms=max(_known(pool.p99_ms for pool in telling), default=None),
        delivered=int(_sum(pool.delivered for pool in telling)),
        failed=int(_sum(pool.failed for pool in telling)),
        outcomes={
            name: int(_sum(_number(outcome.get(name)) for outcome in outcomes))
            for name in sorted({name for outcome in outcomes for name in outcome})
        },
        versions=_texts(pool.server_version for pool in telling),
        queues=_texts(queue for pool in alive for queue in pool.queues),
        processes=_texts(pool.process for pool in alive),
        per_process=tuple(alive),
    )


def _known(found: Iterable[float | None]) -> list[float]:
    return [value for value in found if value is not None]


def _sum(found: Iterable[float | None]) -> float:
    return sum(_known(found))


def _texts(found: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({text for text in found if text is not None}))
