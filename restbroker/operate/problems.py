"""The table of what is wrong now, in words, grave things first, over the state that processes report.

The first line of `stats`, its live screen, the banner of the pages, what `check` says of the present, and the metric
`restbroker_problems` are made of it alone: where it is empty, nothing needs anybody. Always holds: pure; each row has a
code; a queue that others take from (Ruby's workers on the same Redis) is no grave problem.
"""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import combinations
from typing import TYPE_CHECKING, Final, Literal

from restbroker.config.values import duration_text
from restbroker.job.json_types import Json
from restbroker.light import frozen
from restbroker.operate import words
from restbroker.operate.names import nearest
from restbroker.operate.system import PoolState, Queue, Snapshot, TargetStoppedKeys
from restbroker.servers.findings import Cause, Finding, Level
from restbroker.store.identities import SILENT_S
from restbroker.store.pauses import OPERATOR, Pause
from restbroker.store.processes import ProcessRecord
from restbroker.store.sources import SourceState

if TYPE_CHECKING:  # slow to load
    from restbroker.config.core import Config

LONG_WAIT_S: Final = 60.0
"""A job that waits this many seconds is reported."""
OTHERS_WAIT_S: Final = 900.0
"""The same for queues of events and answers, which an application may read without a word, and not all the time."""
START: Final = "`restbroker run` starts one."
_DOWN: Final = (
    "restbroker loses no job, uses up no try while it waits, and continues by itself. "
    "`restbroker check --target {target}` tests it."
)
_SILENT: Final = "If it does not run any more, start `restbroker run`, which takes over the jobs in progress."
_UNTAKEN: Final = (
    "Start what takes them, or correct its name or the producers'. If a program takes them that Redis does not list, "
    "name the queue in TakenElsewhere."
)
_TAKEN: Final = (
    "Its workers fail each. Remove the queue from that process (sidekiq.yml), or take another for restbroker."
)
_MIXED: Final = (
    "Give all processes the same Token, Tokens and secret files (`restbroker config show`), and restart them."
)
_CAUSES: Final[Mapping[str, Cause]] = {"TargetDenied": "refused", "TargetDown": "target"}
_UNREAD: Final = (
    "Start `restbroker run` with this configuration, restart one that began with another, or check its log."
)
_UNFIT: Final = (
    "Its jobs die. Write it as that version takes it (`restbroker commands NAME` lists what each version takes), and "
    "{} restbroker."
)
_LATE: Final = "Restart it when convenient: restbroker reads this only at its start."
_UNTOLD: Final = "`restbroker check --tell` tries the way; once that works, this is over."
_STOPPED: Final = "`restbroker keys` shows them; `keys retry` retries the dead job, `keys skip` goes on without it."


@frozen
class Alarm:
    """A problem, to be shown, of its `subject`. `grave`: jobs stand still, or will; if not, it is only worth knowing.

    `code` is stable, for machines. `page` shows more of it, or the page of the queue `queue`.
    """

    code: str
    subject: str
    grave: bool
    text: str
    hint: str | None = None
    page: Literal["targets", "processes", "jobs", "events"] | None = None
    queue: str | None = None

    @property
    def sentence(self) -> str:
        """Its text, with a full stop."""
        return self.text if self.text.endswith((".", "!", "?", '"')) else f"{self.text}."

    @property
    def line(self) -> str:
        """It in one line, with its gravity and what to do."""
        return f"{self.gravity} {self.sentence}" + ("" if self.hint is None else f" {self.hint}")

    @property
    def gravity(self) -> str:
        """Whether jobs stand still (`!!`) or it is only worth knowing (`!`)."""
        return "!!" if self.grave else "!"

    @property
    def finding(self) -> Finding:
        """It as a finding, which decides the exit code."""
        area = {"targets": self.subject, "events": "Events"}.get(self.page or "", "redis")
        level: Level = "problem" if self.grave else "warning"
        cause = _CAUSES.get(self.code, "other")
        return Finding(level, area, self.code, self.sentence, hint=self.hint, cause=cause)


def problems(seen: Snapshot, config: "Config", stopped: Iterable[TargetStoppedKeys], now_s: float) -> list[Alarm]:
    """Return all problems, grave ones first. `stopped` has what `system.stopped_keys` returns."""
    found = [*target_problems(seen, [target.name for target in config.targets])]
    found += [*_of_tokens(seen), *_of_queues(seen, config), *_of_sources(seen, config, now_s)]
    found += (stopped_problem(keys, now_s) for keys in stopped)
    if seen.tell_fails:
        found.append(Alarm("TellFails", "Tell", False, f"What is told does not arrive ({seen.tell_fails})", _UNTOLD))
    if all(pool.dying for pool in seen.targets):
        found.insert(0, Alarm("NotRunning", "Redis", True, "No restbroker runs on this Redis", START, "processes"))
    return sorted(found, key=lambda one: not one.grave)


def target_problems(seen: Snapshot, named: Iterable[str] = ()) -> Iterator[Alarm]:
    """Yield the problems of Redis, of these targets and of their processes; and the pauses of those `named`."""
    for problem in seen.redis:
        yield Alarm(problem.code, "Redis", problem.grave, f"{problem.message} {problem.why}", problem.hint)
    alive = [pool for pool in seen.targets if not pool.dying]
    yield from _of_states(alive, {queue.name: queue.size or 0 for queue in seen.queues})
    held = dict.fromkeys((pool.target, limit) for pool in alive if (limit := pool.limited) in ("refused", "dead"))
    for target, limit in held:
        code = "Refused" if limit == "refused" else "DeadSetFull"
        yield Alarm(code, str(target), True, f"{target}: {words.LIMITS[limit]}", words.LIMIT_HINTS[limit], "targets")
    yield from _of_commands(seen)
    yield from _of_processes(seen)
    shown = {(pool.target, pool.state) for pool in alive}
    paused = {name: seen.pauses.get(name, ()) for name in named} | {str(pool.target): pool.pauses for pool in alive}
    for name, pause in ((name, pause) for name, pauses in paused.items() for pause in pauses):
        if (name, pause.reason) not in shown:
            text = words.pause_sentence(name, pause).removesuffix(".")
            yield Alarm("TargetPaused", name, False, text, _resume("targets", name, pause), "targets")


def _of_states(alive: Sequence[PoolState], waiting: Mapping[str, int]) -> Iterator[Alarm]:
    """Yield a problem for each state of a target that gets no jobs; processes that say the same have one."""
    of_target = Counter(pool.target for pool in alive)
    same: dict[tuple[str | None, ...], list[PoolState]] = {}
    for pool in alive:
        # Each start is told so until its first probe is answered.
        starts = pool.code == "Starting" and (pool.down_for_s or 0.0) <= SILENT_S
        if pool.state not in (None, "up") and not starts:
            same.setdefault((pool.target, pool.state, pool.reason), []).append(pool)
    for (name, state, reason), pools in same.items():
        target = str(name or "-")
        does = "refuses the login" if state == "denied" else f"is {state}"
        part = "" if len(pools) == of_target[name] else f" in {len(pools)} of {of_target[name]} processes"
        count = sum(waiting.get(queue, 0) for queue in {queue for pool in pools for queue in pool.queues})
        # What a process has fetched waits there.
        count += sum(max(0, pool.in_progress - int(pool.busy or 0)) for pool in pools)
        down_for_s = max(pool.down_for_s or 0.0 for pool in pools)
        told = [f"for {duration_text(down_for_s)}"] if down_for_s else []
        told += [waiting_text(count)] if count else []
        about = f" ({', '.join(told)})" if told else ""
        why = "" if reason is None else f": {reason}"
        hint = f"{pools[0].hint or ''} {_DOWN.format(target=target)}".lstrip() if state == "down" else pools[0].hint
        code = "TargetDenied" if state == "denied" else "TargetDown"
        yield Alarm(code, target, True, f"{target} {does}{part}{about}{why}", hint, "targets")


def _of_commands(seen: Snapshot) -> Iterator[Alarm]:
    """Yield a problem for each command of a configuration that its server does not take, as processes say.

    Where they know several versions of one server, nothing is known of what it takes.
    """
    unfit: dict[str, dict[str, Json]] = {}
    for pool, found in _said(seen, "unfit_commands"):
        unfit.setdefault(str(pool.target), {}).update(found if isinstance(found, dict) else {})
    for target, places in unfit.items():
        if len(server_versions(seen, target)) == 1:
            yield from (unfit_command(target, place, why) for place, why in places.items())


def _said(seen: Snapshot, name: str) -> Iterator[tuple[PoolState, Json]]:
    """Yield what each pool that takes jobs says under this name in its heartbeat."""
    for pool in seen.targets:
        # One that only ends what it has was perhaps started with another configuration, as in each rolling restart.
        if pool.takes_jobs and not pool.is_gone and pool.identity in seen.registrations:
            yield pool, seen.registrations[pool.identity].facts.get(name)


def unfit_command(target: str, place: str, why: Json) -> Alarm:
    """Return the problem of the command at this place of a configuration, which the target's server does not take."""
    hint = _UNFIT.format("restart" if place.startswith("Events") else "reload")
    return Alarm("CommandUnfit", target, True, f"{place}: {why}", hint, "targets")


def server_versions(seen: Snapshot, target: str) -> set[str]:
    """Return the versions of the target's server that living processes know."""
    pools = (pool for pool in seen.targets if pool.target == target and not pool.is_gone)
    return {pool.server_version for pool in pools if pool.server_version is not None}


def _of_processes(seen: Snapshot) -> Iterator[Alarm]:
    gone: Counter[str] = Counter()
    silent: dict[str, float] = {}
    for pool in seen.targets:
        if pool.dying:
            gone[pool.name] += pool.in_progress
        elif (pool.heartbeat_age_s or 0.0) > SILENT_S:
            silent[pool.name] = pool.heartbeat_age_s or 0.0
    for name, age_s in silent.items():
        text = f"{name} has sent no heartbeat for {duration_text(age_s)}"
        yield Alarm("ProcessSilent", name, True, text, _SILENT, "processes")
    for name, keys in {pool.name: late for pool, late in _said(seen, "needs_restart")}.items():
        if isinstance(keys, list) and keys:
            text = f"{name} needs a restart for {', '.join(map(str, keys))}"
            yield Alarm("NeedsRestart", name, False, text, _LATE, "processes")
    for name, count in gone.items():
        text = f"{name} is gone; the {_jobs(count)} it had in progress return to their queues"
        yield Alarm("ProcessGone", name, False, text, page="processes")


def _of_tokens(seen: Snapshot) -> Iterator[Alarm]:
    """Yield a problem for each queue that two processes serve with tokens that are not alike, as both publish them."""
    from restbroker.broker.tokens import unlike  # slow to load

    of_queues: dict[str, dict[str, tuple[str, Json]]] = {}
    for pool, tokens in _said(seen, "tokens"):
        for queue, digests in tokens.items() if isinstance(tokens, dict) else ():
            # Most processes say the same.
            of_queues.setdefault(queue, {}).setdefault(repr(digests), (pool.name, digests))
    for queue, said in of_queues.items():
        for (name, mine), (other, theirs) in combinations(said.values(), 2):
            if unlike({queue: mine}, {"tokens": {queue: theirs}}):
                text = f"Queue {queue}: {name} and {other} serve it with different tokens, so that good jobs die"
                yield Alarm("TokensMixed", queue, True, text, _MIXED, "processes")
                break


def _of_queues(seen: Snapshot, config: "Config") -> Iterator[Alarm]:
    taken = {queue for pool in seen.targets if not pool.dying and pool.takes_jobs for queue in pool.queues}
    own = frozenset(config.queues).union(*(pool.queues for pool in seen.targets))
    others, asked = taken.union(*(record.queues for record in seen.records)), 0
    ruby = {queue: record.name for record in seen.records if not record.is_restbroker for queue in record.queues}
    for queue in seen.queues:
        name, size, latency_s = queue.name, queue.size, queue.latency_s
        code, grave, text, hint = "QueueWaits", False, None, None
        if name in ruby and name in own:
            taker = f"Queue {name}: Sidekiq's {ruby[name]} takes jobs from it, too, and knows none of their classes"
            yield Alarm("QueueTaken", name, True, taker, _TAKEN, "processes")
        if size is None:
            code, grave = "WrongType", name in own
            text = f"Queue {name}: its key is not a list, so no job is taken from it"
        elif queue.pause is not None:
            text = f"Queue {name} is {words.pause_text(queue.pause)}" + (f"; {waiting_text(size)}" if size else "")
            code, hint = "QueuePaused", _resume("queues", name, queue.pause)
        elif not size:
            continue
        elif name not in taken and (name in own or _is_untaken(queue, seen, config)):
            asked += 1
            # Each takes milliseconds where there are many names.
            meant = None if name in own or asked > 20 else nearest(name, others)
            code, grave, hint = "QueueUnserved", True, None if name in own else _UNTAKEN
            text = f"Queue {name}: {waiting_text(size)}, and no process takes them"
            text += "" if meant is None else f'. Processes take from "{meant}": did you mean that?'
        elif name in own and latency_s is not None and latency_s >= LONG_WAIT_S and queue.target_state is None:
            text = f"Queue {name}: the oldest of {_jobs(size)} has been waiting for {duration_text(latency_s)}"
        if text is not None:
            yield Alarm(code, name, grave, text, hint, "jobs")


def _is_untaken(queue: Queue, seen: Snapshot, config: "Config") -> bool:
    """Tell whether a queue that no process says it takes has had the same oldest job for too long."""
    if any(fnmatchcase(queue.name, pattern) for pattern in config.taken_elsewhere):
        return False
    longest_s = OTHERS_WAIT_S if queue.name in config.queues_for_others else LONG_WAIT_S
    # Lines are read by restbroker alone, so that nobody else takes what is in them.
    stays_s = seen.stays_s.get(queue.name, longest_s if queue.in_lines else 0.0)
    # Where the queue was empty when it was looked at last, a minute ago at most, what the job says is nearer the truth.
    waits_s = queue.latency_s if queue.latency_s is not None else longest_s
    return stays_s >= longest_s and (waits_s >= longest_s or stays_s >= longest_s + LONG_WAIT_S)


def _of_sources(seen: Snapshot, config: "Config", now_s: float) -> Iterator[Alarm]:
    """Yield a problem for each source that cannot be read from; if several users have the same one, one for all.

    Likewise for each of the configuration that no process takes, once one of its processes had time to.
    """
    configured = set() if config.events is None else {source.name for source in config.events.sources}
    if any(_is_settled(record, config, now_s) for record in seen.records):
        for name in sorted(configured - {state.source for state in seen.sources}):
            yield Alarm("SourceUnread", name, True, f"Source {name}: no process takes its events", _UNREAD, "events")
    same: dict[tuple[str, str], list[SourceState]] = {}
    for state in seen.sources:
        if state.code:
            same.setdefault((state.source, state.code), []).append(state)
    for (source, code), states in same.items():
        since_s = min(now_s, *(state.since_s or now_s for state in states))
        more = f"; the same applies to {len(states) - 1:,} more" if len(states) > 1 else ""
        about = f"{code}, for {duration_text(now_s - since_s)}{more}"
        text = f"Source {source}: {states[0].message} ({about})"
        yield Alarm("SourceUnread", source, True, text, states[0].hint, "events")


def _is_settled(record: ProcessRecord, config: "Config", now_s: float) -> bool:
    """Tell whether this is a process of the configuration, by its queues, that has been running for a while."""
    started_s = record.info.get("started_at")
    is_own = record.is_restbroker and not set(config.queues).isdisjoint(record.queues)
    return is_own and isinstance(started_s, int | float) and started_s <= now_s - LONG_WAIT_S


def stopped_problem(one: TargetStoppedKeys, now_s: float) -> Alarm:
    """Return the problem of a target's stopped keys."""
    ago = "" if one.since_s is None else f", for up to {duration_text(max(0.0, now_s - one.since_s))}"
    text = f"{one.target} has stopped keys ({one.count}{ago}): their jobs wait behind a dead one"
    return Alarm("OrderStopped", one.target, True, text, _STOPPED, queue=one.queue)


def _resume(noun: str, name: str, pause: Pause) -> str | None:
    """Return what ends a person's pause; None if the pause is the server's own."""
    return f"End it with `restbroker {noun} resume {shlex.quote(name)}`." if pause.reason == OPERATOR else None


def waiting_text(count: int) -> str:
    """Return how many jobs wait, as `1 job waits` or `1,234 jobs wait`."""
    return f"{_jobs(count)} wait{'s' if count == 1 else ''}"


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count:,} jobs"
