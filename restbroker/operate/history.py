"""The last hours, minute by minute, for the charts of the pages: what their looks at the system found, summed up.

Called by the web pages. Always holds: Redis is asked once a minute; what someone else put in the place of a record is
left out; a minute that nobody looked at is unknown.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from heapq import nlargest
from itertools import islice
from typing import Final
from zlib import crc32

import attrs
import orjson
from cattrs import Converter

from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.light import define, field, frozen
from restbroker.operate.processes import Process
from restbroker.operate.system import Snapshot, TargetState, target_state
from restbroker.store import records
from restbroker.store.client import Client

MINUTE_S: Final = 60
_MINUTES: Final = 182
"""Three hours, the minute before, from which the first one's counts are reckoned, and the one that has just begun."""
ALL: Final = ""
"""The subject of the numbers of all targets together."""
TIMES: Final = ("p50_ms", "p95_ms", "p99_ms")
_TOTALS: Final = ("processed", "failed")
_MOST: Final = 100
"""So many targets, and so much trouble, are noted in a minute."""
_WORST_FIRST: Final = ("denied", "down", "paused", "retry_after", "start")
_LARGEST: Final = 1e15


def window(now_s: float) -> range:
    """Return the beginnings of the minutes that are kept (epoch seconds), the current one last."""
    newest_s = int(now_s) // MINUTE_S * MINUTE_S
    return range(newest_s - (_MINUTES - 1) * MINUTE_S, newest_s + 1, MINUTE_S)


@frozen
class Seen:
    """What was seen within a minute, and how things stood at its end.

    `numbers`, of each target and of `ALL`: tries processed and failed since some beginning, and the times of the
    slowest process; of a target also whose totals they are (`of`), of `ALL` also how many jobs were waiting, for a
    retry (`retry`) and in_progress. `troubles`: the
    worst state of each target that was not up, `paused` for "queue NAME", and `start` for a process that began.
    """

    numbers: Mapping[str, Mapping[str, float | None]]
    troubles: Mapping[str, str]


@define(eq=False)
class Recorder:
    """Sums up what each look at the system finds, minute by minute, and has Redis keep it. Use one for a process."""

    _kept: Mapping[int, Seen] = field(factory=dict)
    _newest_s: int = 0
    _troubles: dict[str, str] = field(factory=dict)

    def add(
        self, client: Client, seen: Snapshot, targets: Sequence[TargetState], processes: Iterable[Process], now_s: float
    ) -> Mapping[int, Seen]:
        """Add a look, and return what is known of the last minutes that are over."""
        wanted = window(now_s)
        if wanted[-1] != self._newest_s:
            last = Seen(_numbers(seen, targets), dict(islice(self._troubles.items(), _MOST)))
            # This process shows what it saw itself, even if Redis is full, or may not be written to.
            others: Mapping[int, bytes] = {}
            with suppress(StoreRefused, StoreUnavailable):
                others = records.keep_minute(client, wanted[-2], orjson.dumps(attrs.asdict(last)), wanted[0])
            found = {at_s: _read(record) for at_s, record in others.items() if at_s not in self._kept}
            known = {**self._kept, wanted[-2]: last, **{at_s: seen for at_s, seen in found.items() if seen is not None}}
            self._kept = {at_s: seen for at_s, seen in known.items() if at_s in wanted}
            self._newest_s, self._troubles = wanted[-1], {}
        for subject, state in _troubles(seen, targets, processes, self._newest_s):
            self._troubles[subject] = min(state, self._troubles.get(subject, state), key=_WORST_FIRST.index)
        return self._kept


def _numbers(seen: Snapshot, targets: Sequence[TargetState]) -> Mapping[str, Mapping[str, float | None]]:
    totals = {name: seen.totals.get(name, 0) for name in (*_TOTALS, "retry")}
    counts = {"waiting": seen.waiting, "in_progress": seen.in_progress}
    numbers: dict[str, Mapping[str, float | None]] = {ALL: {**totals, **counts, **slowest(targets)}}
    for target in nlargest(_MOST, targets, key=lambda one: one.in_progress):
        counts = {"processed": target.delivered + target.failed, "failed": target.failed, "of": _who(target)}
        numbers[target.name] = {**counts, **slowest([target])}
    return numbers


def _who(target: TargetState) -> int:
    """Return a number that changes with the processes that the target's totals are of."""
    counting = sorted(pool.identity for pool in target.per_process if pool.finishing is not True)
    return crc32(" ".join(counting).encode())


def slowest(targets: Iterable[TargetState]) -> Mapping[str, float | None]:
    """Return the `TIMES` of the slowest of these targets."""
    found = [*targets]
    times = {name: [value for target in found if (value := getattr(target, name)) is not None] for name in TIMES}
    return {name: max(values, default=None) for name, values in times.items()}


def _troubles(
    seen: Snapshot, targets: Iterable[TargetState], processes: Iterable[Process], minute_s: int
) -> Iterator[tuple[str, str]]:
    yield from ((target.name, state) for target in targets if (state := target_state(target)) in _WORST_FIRST)
    yield from ((f"queue {queue.name}", "paused") for queue in seen.queues if queue.paused)
    yield from ((f"{known.host}:{known.pid}", "start") for known in processes if (known.started_at_s or 0) >= minute_s)


def values(found: Mapping[int, Seen], subject: str, name: str, times: Sequence[int]) -> Sequence[float | None]:
    """Return a number of a target, or of `ALL`, at each of these times; of totals, by how much they rose in the minute.

    That is unknown if other processes count now, or someone has reset the total.
    """
    rows = {at_s: seen.numbers.get(subject, {}) for at_s, seen in found.items()}
    if name not in _TOTALS:
        return [rows.get(at_s, {}).get(name) for at_s in times]

    def rise(at_s: int) -> float | None:
        before, now = rows.get(at_s - MINUTE_S, {}), rows.get(at_s, {})
        first, last = before.get(name), now.get(name)
        if first is None or last is None or last < first or before.get("of") != now.get("of"):
            return None
        return last - first

    return [rise(at_s) for at_s in times]


def incidents(found: Mapping[int, Seen]) -> Sequence[tuple[str, str, int, int | None]]:
    """Return the troubles of these minutes, the latest first: subject, state, from when, until when (epoch seconds).

    It has no end if it goes on. What is not seen for a minute goes on meanwhile.
    """
    newest_s = max(found, default=0)
    spans: dict[tuple[str, str], list[list[int]]] = {}
    for at_s, seen in sorted(found.items()):
        for what in seen.troubles.items():
            own = spans.setdefault(what, [])
            if not own or at_s - own[-1][1] > MINUTE_S:
                own.append([at_s, at_s])
            own[-1][1] = at_s + MINUTE_S
    over = [
        (subject, state, first_s, None if end_s > newest_s and state != "start" else end_s)
        for (subject, state), own in spans.items()
        for first_s, end_s in own
    ]
    return sorted(over, key=lambda one: (one[3] is None, one[2]), reverse=True)


def _read(record: bytes) -> Seen | None:
    """Return what a process wrote; None if it is nothing of the kind."""
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        return _CONVERTER.structure(orjson.loads(record), Seen)
    return None


def _number(value: object, _kind: object) -> float:
    if isinstance(value, int | float) and 0 <= value < _LARGEST:
        return value
    raise ValueError("It is no number that a chart can show.")


_CONVERTER: Final = Converter(detailed_validation=False)
_CONVERTER.register_structure_hook(float, _number)
