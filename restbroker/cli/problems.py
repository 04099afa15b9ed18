"""The problems that the stats show, in words, grave ones first: the top of the live screen.

Always holds: a pure function of the stats. Queues that belong to others (Ruby's workers on the same Redis) are never a
problem here, in any state.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

import attrs

from restbroker.cli import target_text
from restbroker.config.values import duration_text
from restbroker.console.output import jobs
from restbroker.job.json_types import Json
from restbroker.operate.overview import SystemStats
from restbroker.operate.processes import SILENT_S
from restbroker.operate.snapshot import takes_jobs

LONG_WAIT_S = 60.0
"""A job that waits this many seconds is reported."""

STOPPED_HINT = "`restbroker keys` shows them; `keys retry` retries the dead job, `keys skip` goes on without it."
"""What to do about keys that a death stopped."""


@attrs.frozen
class Problem:
    """A problem; `grave`: jobs stand still, or will. If not, it is only worth knowing."""

    grave: bool
    text: str
    hint: str | None = None

    @property
    def line(self) -> str:
        """It in one line, with its gravity and what to do."""
        text = f"{'!!' if self.grave else '!'} {self.text}"
        text = text if text.endswith((".", "!", "?")) else f"{text}."
        return text if self.hint is None else f"{text} {self.hint}"


def problems(
    seen: SystemStats, wanted: Collection[str], stopped: Mapping[str, str] = MappingProxyType({})
) -> list[Problem]:
    """Return all problems, grave ones first; `wanted` are the queues of this configuration, served or not.

    `stopped` has what `stopped_counts` returns.
    """
    found = [Problem(bool(row["grave"]), str(row["message"]), str(row["hint"])) for row in seen["redis"]]
    found += [*_of_targets(seen), *_of_processes(seen), *_of_pauses(seen), *_of_queues(seen, wanted)]
    found += _of_sources(seen)
    found += [Problem(True, stopped_text(target, count), STOPPED_HINT) for target, count in stopped.items()]
    return sorted(found, key=lambda one: not one.grave)


def stopped_text(target: str, count: str) -> str:
    """Return that a death stopped `count` keys of a target."""
    return f"{target} has stopped keys ({count}): jobs behind a dead one wait"


def own_queues(seen: SystemStats, wanted: Collection[str]) -> frozenset[str]:
    """Return the queues that belong to restbroker: those of the configuration, and those that a process serves."""
    return frozenset(wanted).union(*(_queues_of(pool) for pool in seen["targets"]))


def _of_targets(seen: SystemStats) -> Iterator[Problem]:
    alive = [pool for pool in seen["targets"] if not pool["dying"]]
    of_target = Counter(pool["target"] for pool in alive)
    shut = [pool for pool in alive if pool["state"] not in (None, "up")]
    same = Counter((pool["target"], pool["state"], pool["reason"]) for pool in shut)
    for (target, state, reason), number in same.items():
        # Processes that say the same have one line.
        part = "" if number == of_target[target] else f" in {number} of {of_target[target]} processes"
        hint = next((pool["hint"] for pool in shut if (pool["target"], pool["state"]) == (target, state)), None)
        why = "" if reason is None else f": {reason}"
        does = "refuses the login" if state == "denied" else f"is {target_text.text(state)}"
        yield Problem(
            True,
            f"{target_text.text(target)} {does}{part}{why}",
            None if hint is None else str(hint),
        )
    held = Counter(
        (pool["target"], words) for pool in alive for words in target_text.fetch_limits(pool) if _is_grave(pool)
    )
    for target, words in held:
        yield Problem(True, f"{target_text.text(target)}: {words}")


def _is_grave(pool: Mapping[str, Json]) -> bool:
    return pool["limited"] in ("refused", "dead")


def _of_processes(seen: SystemStats) -> Iterator[Problem]:
    if not seen["targets"]:
        yield Problem(True, "No restbroker runs on this Redis")
    gone: Counter[str] = Counter()
    silent: dict[str, float] = {}
    for pool in seen["targets"]:
        age_s, in_hand = pool["heartbeat_age_s"], pool["in_progress"]
        if pool["dying"]:
            gone[target_text.name(pool)] += in_hand if isinstance(in_hand, int) else 0
        elif isinstance(age_s, float) and age_s >= SILENT_S:
            silent[target_text.name(pool)] = age_s
    for name, age_s in silent.items():
        yield Problem(True, f"{name} has sent no heartbeat for {duration_text(age_s)}")
    for name, in_hand in gone.items():
        yield Problem(False, f"{name} is gone; the {jobs(in_hand)} it had in progress return to their queues")


def _of_pauses(seen: SystemStats) -> Iterator[Problem]:
    for target, reason in sorted(
        {(target_text.text(pool["target"]), why) for pool in seen["targets"] for why in _pauses(pool)}
    ):
        yield Problem(False, f"{target}{reason}")


def _pauses(pool: Mapping[str, Json]) -> list[str]:
    return [] if pool["dying"] else list(target_text.pauses(pool, " is paused: ", ": "))


def _of_queues(seen: SystemStats, wanted: Collection[str]) -> Iterator[Problem]:
    taken = {queue for pool in seen["targets"] if not pool["dying"] and takes_jobs(pool) for queue in _queues_of(pool)}
    own = own_queues(seen, wanted)
    for queue in seen["queues"]:
        name, size, latency_s = str(queue["name"]), queue["size"], queue["latency_s"]
        if name not in own:
            continue
        if not isinstance(size, int):
            yield Problem(True, f"Queue {name}: its key is not a list, so no job is taken from it")
        elif size and name not in taken:
            yield Problem(True, f"Queue {name}: {_waiting(size)}, and no process takes them")
        elif size and queue["paused"]:
            yield Problem(False, f"Queue {name} is paused{_about(queue)}, {_waiting(size)}")
        elif size and isinstance(latency_s, float) and latency_s >= LONG_WAIT_S:
            yield Problem(
                False, f"Queue {name}: the oldest of {jobs(size)} has been waiting for {duration_text(latency_s)}"
            )


def _of_sources(seen: SystemStats) -> Iterator[Problem]:
    unread = {(str(row["source"]), str(row["code"])): row for row in reversed(seen["sources"]) if row["code"]}
    for (source, code), row in unread.items():
        yield Problem(True, f"Source {source}: {row['message']} ({code})", str(row["hint"]))


def _waiting(count: int) -> str:
    return f"{jobs(count)} wait{'s' if count == 1 else ''}"


def _about(queue: Mapping[str, Json]) -> str:
    pause = queue["pause"]
    about = target_text.about(pause) if isinstance(pause, dict) else ""
    return f" {about}" if about else ""


def _queues_of(pool: Mapping[str, Json]) -> list[str]:
    queues = pool["queues"]
    return [str(queue) for queue in queues] if isinstance(queues, list) else []
