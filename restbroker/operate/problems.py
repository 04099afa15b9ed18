"""What is wrong now, in words, grave things first: for `stats`, its live screen, and the pages.

Always holds: pure; no queue that belongs to others (Ruby's workers on the same Redis) is a grave problem.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, Literal

import attrs

from restbroker.config.values import duration_text
from restbroker.job.json_types import Json
from restbroker.operate import words
from restbroker.operate.overview import SystemStats
from restbroker.operate.snapshot import takes_jobs

LONG_WAIT_S: Final = 60.0
"""A job that waits this many seconds is reported."""
_LARGEST: Final = 1e15
START: Final = "`restbroker run` starts one."
_STOPPED: Final = "`restbroker keys` shows them; `keys retry` retries the dead job, `keys skip` goes on without it."
Row = Mapping[str, Json]


@attrs.frozen
class Alarm:
    """A problem, to be shown, of its `subject`. `grave`: jobs stand still, or will; if not, it is only worth knowing.

    `page` shows more of it, or the page of the queue `queue`.
    """

    subject: str
    grave: bool
    text: str
    hint: str | None = None
    page: Literal["targets", "processes", "queues", "sources"] | None = None
    queue: str | None = None

    @property
    def line(self) -> str:
        """It in one line, with its gravity and what to do."""
        text = f"{'!!' if self.grave else '!'} {self.text}"
        text = text if text.endswith((".", "!", "?", '"')) else f"{text}."
        return text if self.hint is None else f"{text} {self.hint}"


def problems(seen: SystemStats, wanted: Collection[str], stopped: Sequence[Row], now_s: float) -> list[Alarm]:
    """Return all problems, grave ones first.

    `wanted` are the queues of this configuration, served or not; `stopped` has what `overview.stopped_keys` returns.
    """
    found = [*target_problems(seen), *_of_queues(seen, wanted), *_of_sources(seen, now_s)]
    found += (_stopped(row, now_s) for row in stopped)
    if all(row["dying"] for row in seen["targets"]):
        found.insert(0, Alarm("Redis", True, "No restbroker runs on this Redis", START, "processes"))
    return sorted(found, key=lambda one: not one.grave)


def target_problems(seen: SystemStats) -> Iterator[Alarm]:
    """Yield the problems of Redis, of these targets and of their processes."""
    for row in seen["redis"]:
        yield Alarm("Redis", bool(row["grave"]), f"{row['message']} {row['why']}", str(row["hint"]))
    alive = [row for row in seen["targets"] if not row["dying"]]
    yield from _of_states(alive, {str(row["name"]): row["size"] for row in seen["queues"]})
    held = dict.fromkeys((row["target"], limit) for row in alive if (limit := row["limited"]) in ("refused", "dead"))
    for target, limit in held:
        yield Alarm(str(target), True, f"{target}: {words.LIMITS[limit]}", words.LIMIT_HINTS[limit], "targets")
    yield from _of_processes(seen["targets"])
    paused = dict.fromkeys((str(row["target"]), text) for row in alive for text in words.pauses_of(row))
    yield from (Alarm(target, False, f"{target} is {text}", page="targets") for target, text in paused)


def _of_states(alive: Sequence[Row], waiting: Mapping[str, Json]) -> Iterator[Alarm]:
    """Yield a problem for each state of a target that gets no jobs; processes that say the same have one."""
    of_target = Counter(row["target"] for row in alive)
    same: dict[tuple[Json, ...], list[Row]] = {}
    for row in alive:
        if row["state"] not in (None, "up"):
            same.setdefault((row["target"], row["state"], row["reason"]), []).append(row)
    for (name, state, reason), rows in same.items():
        target, hint = str(name or "-"), rows[0]["hint"]
        does = "refuses the login" if state == "denied" else f"is {state}"
        part = "" if len(rows) == of_target[name] else f" in {len(rows)} of {of_target[name]} processes"
        queues = {queue for row in rows for queue in queues_of(row)}
        count = sum(size for queue in queues if isinstance(size := waiting.get(queue), int))
        down_for_s = max((_number(row["down_for_s"]) or 0 for row in rows), default=0)
        told = [f"for {duration_text(down_for_s)}"] if down_for_s else []
        told += [waiting_text(count)] if count else []
        about = f" ({', '.join(told)})" if told else ""
        why = "" if reason is None else f": {reason}"
        text = f"{target} {does}{part}{about}{why}"
        yield Alarm(target, True, text, None if hint is None else str(hint), "targets")


def _of_processes(rows: Sequence[Row]) -> Iterator[Alarm]:
    gone: Counter[str] = Counter()
    silent: dict[str, float] = {}
    for row in rows:
        if row["dying"]:
            in_progress = row["in_progress"]
            gone[words.process_name(row)] += in_progress if isinstance(in_progress, int) else 0
        elif (age_s := _number(row["heartbeat_age_s"])) is not None and age_s > words.SILENT_S:
            silent[words.process_name(row)] = age_s
    for name, age_s in silent.items():
        yield Alarm(name, True, f"{name} has sent no heartbeat for {duration_text(age_s)}", page="processes")
    for name, count in gone.items():
        text = f"{name} is gone; the {_jobs(count)} it had in progress return to their queues"
        yield Alarm(name, False, text, page="processes")


def _of_queues(seen: SystemStats, wanted: Collection[str]) -> Iterator[Alarm]:
    alive = [row for row in seen["targets"] if not row["dying"]]
    taken = {queue for row in alive if takes_jobs(row) for queue in queues_of(row)}
    own = frozenset(wanted).union(*(queues_of(row) for row in seen["targets"]))
    for row in seen["queues"]:
        name, size, latency_s, pause = str(row["name"]), row["size"], row["latency_s"], row["pause"]
        grave, text = False, None
        if not isinstance(size, int):
            grave, text = name in own, f"Queue {name}: its key is not a list, so no job is taken from it"
        elif isinstance(pause, dict):
            text = f"Queue {name} is {words.pause_text(pause)}" + (f"; {waiting_text(size)}" if size else "")
        elif not size or name not in own:
            continue
        elif name not in taken:
            grave, text = True, f"Queue {name}: {waiting_text(size)}, and no process takes them"
        elif isinstance(latency_s, float) and latency_s >= LONG_WAIT_S:
            text = f"Queue {name}: the oldest of {_jobs(size)} has been waiting for {duration_text(latency_s)}"
        if text is not None:
            yield Alarm(name, grave, text, page="queues")


def _of_sources(seen: SystemStats, now_s: float) -> Iterator[Alarm]:
    """Yield a problem for each source that cannot be read from; if several users have the same one, one for all."""
    same: dict[tuple[str, str], list[Row]] = {}
    for row in seen["sources"]:
        if row["code"]:
            same.setdefault((str(row["source"]), str(row["code"])), []).append(row)
    for (source, code), rows in same.items():
        since_s = min(now_s, *(_number(row["since_s"]) or now_s for row in rows))
        more = f"; the same applies to {len(rows) - 1:,} more" if len(rows) > 1 else ""
        about = f"{code}, for {duration_text(now_s - since_s)}{more}"
        text = f"Source {source}: {rows[0]['message']} ({about})"
        yield Alarm(source, True, text, str(rows[0]["hint"]), "sources")


def _stopped(row: Row, now_s: float) -> Alarm:
    target, queue, since_s = str(row["target"]), str(row["queue"]), row["since_s"]
    ago = f", for up to {duration_text(max(0.0, now_s - since_s))}" if isinstance(since_s, float) else ""
    text = f"{target} has stopped keys ({row['count']}{ago}): jobs behind a dead one wait"
    return Alarm(target, True, text, _STOPPED, queue=queue)


def _number(value: Json) -> float | None:
    """Return a number that may be a time; another version, or another hand, may have written anything."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
        return float(value)
    return None


def waiting_text(count: int) -> str:
    """Return how many jobs wait, as `1 job waits` or `1,234 jobs wait`."""
    return f"{_jobs(count)} wait{'s' if count == 1 else ''}"


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count:,} jobs"


def queues_of(row: Row) -> list[str]:
    """Return the queues of a row of targets."""
    queues = row["queues"]
    return [queue for queue in queues if isinstance(queue, str)] if isinstance(queues, list | tuple) else []
