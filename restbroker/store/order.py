"""Order per key: which keys of a target are held and why, what a person makes of them.

Used by brokers by `operate` and by pages and metrics. Always holds: whatever is done here, the jobs of one
key keep their order, unless someone deleted the states of keys by hand; each change is for a key in a certain state
alone.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from heapq import nsmallest
from math import inf
from typing import Final, Literal, TypeAlias, get_args
from urllib.parse import unquote_to_bytes

import attrs

from restbroker.store.client import Argument, Client, Reply, integer, items, raw
from restbroker.store.line_jobs import Line, count_each
from restbroker.store.queues import latency_s
from restbroker.store.server import time_s
from restbroker.store.settling import line_keys

State: TypeAlias = Literal["in_progress", "ready", "due", "stopped"]
KeyAction: TypeAlias = Literal["free", "skip", "retry", "drop"]
AT_ONCE: Final = 100
_LOOKED_AT: Final = 200
_LOOKED_THROUGH: Final = 1000
_COUNTED_PAGES: Final = 50
_LOOK_BYTES: Final = 262_144
_OLDEST: Final = 50
_LINE = re.compile(rb"(\d{1,16}) (\d{1,16})")
_RECORD = re.compile(rb"([a-z]) (\d{1,16}) (\d{1,16}) (\d{1,18}) (\S+) ?(.*)", re.DOTALL)
_STATES: Final[Mapping[bytes, State]] = dict(zip((b"h", b"r", b"d", b"s"), get_args(State), strict=True))


@attrs.frozen
class HeldKey:
    """A key of a target that is not free: its next job may not start, or could start now and waits for a worker.

    `number`: of the job in progress, or of the next one. `drops`: jobs of lower numbers are handed out to die. `record`
    is its state as Redis has it. In progress: `identity` has the job under a ticket of the number `ticket`. Stopped:
    since `since_us` (epoch microseconds), as the job `jid` died ("": unknown, or long).
    """

    key: bytes
    state: State
    number: int
    drops: int
    record: bytes
    identity: str = ""
    ticket: int = 0
    since_us: int = 0
    jid: str = ""

    @property
    def name(self) -> str:
        """The key for people."""
        return self.key.decode("utf-8", "backslashreplace")


def read_keys(client: Client, target: str) -> Iterator[Sequence[HeldKey]]:
    """Yield the keys of a target that are held, some at a time; one may come twice.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    cursor = b"0"
    while True:
        cursor, page = _read_page(client.command(*_scan(client.keys.order_hold(target), cursor)))
        yield _read_all(page)
        if cursor == b"0":
            return


def _scan(key: str, cursor: bytes) -> tuple[Argument, ...]:
    return ("HSCAN", key, cursor, "COUNT", _LOOKED_AT)


def _read_page(reply: Reply) -> tuple[bytes, list[bytes]]:
    cursor, fields = items(reply, 2)
    return raw(cursor), [raw(field) for field in items(fields)]


def read_key(client: Client, target: str, key: bytes) -> HeldKey | None:
    """Return the state of a key; None if it is free. Raise `StoreUnavailable` or `StoreRefused`."""
    found = client.command("HGET", client.keys.order_hold(target), key)
    return None if found is None else _read(key, raw(found))


def waiting_of(client: Client, queues: Sequence[str], keys: Sequence[bytes]) -> list[int]:
    """Return how many jobs wait of each of these keys, in all these queues. Raise as `read_key` does."""
    total = [0] * len(keys)
    if keys:
        replies = client.commands([("HMGET", client.keys.line_records(queue), *keys) for queue in queues])
        for queue, reply in zip(queues, replies, strict=True):
            found = enumerate(zip(keys, items(reply, len(keys)), strict=False))
            lines = {place: line for place, (key, record) in found if (line := _line(key, record))}
            for place, jobs in zip(lines, count_each(client, queue, tuple(lines.values())), strict=True):
                total[place] += jobs
    return total


def _line(key: bytes, record: Reply) -> Line | None:
    numbers = b"" if record is None else raw(record)
    match = _LINE.fullmatch(numbers)
    return Line(key, int(match[1]), int(match[2]), inf) if match and int(match[1]) < int(match[2]) else None


def lines_of_key(client: Client, queues: Sequence[str], key: bytes) -> dict[str, Line]:
    """Return the jobs that wait with a key, by the queue; only queues with such a line. Raise as `read_key` does."""
    records = client.commands([("HGET", client.keys.line_records(queue), key) for queue in queues])
    return {queue: line for queue, record in zip(queues, records, strict=True) if (line := _line(key, record))}


def due_of(client: Client, queues: Sequence[str], keys: Sequence[bytes]) -> list[float | None]:
    """Return when the next job of each of these keys is due (epoch seconds); None: it is not put off."""
    due: list[float | None] = [None] * len(keys)
    if keys:
        for reply in client.commands([("ZMSCORE", client.keys.order_due(queue), *keys) for queue in queues]):
            for place, score in enumerate(items(reply, len(keys))):
                if score is not None:
                    due[place] = float(raw(score))
    return due


def steer(
    client: Client, target: str, queues: Sequence[str], what: KeyAction, keys: Sequence[HeldKey | bytes]
) -> list[bool]:
    """Change the states of keys; tell for each whether that was done.

    `what`: "free" a key in progress whose job is nowhere; "skip" a stopped one; "retry" one that is due later, now;
    "drop": all that wait with it now are handed out to die, and a stopped key goes on. A
    `HeldKey` must still be in that very state. Raise `StoreUnavailable`: the same call again is right.
    """
    done: list[bool] = []
    for start in range(0, len(keys), AT_ONCE):
        arguments: list[Argument] = [len(queues), what, _TEXT]
        for key in keys[start : start + AT_ONCE]:
            arguments += [key, b""] if isinstance(key, bytes) else [key.key, key.record]
        done += [
            code == 1 for code in items(client.run("order_steer", _script_keys(client, target, queues), arguments))
        ]
    return done


@attrs.frozen
class OrderCounts:
    """How many keys of a target are in which state, of the first 10,000 or so, and how many jobs are in its lines.

    `oldest_wait_s`: how long the oldest has been waiting of the jobs that come next with the 50 keys that have been
    held for longest, in each queue; 0 if none waits, None if none of them says since when.
    """

    states: Counter[State]
    waiting: int = 0
    oldest_wait_s: float | None = None


def count(client: Client, targets: Mapping[str, Sequence[str]]) -> dict[str, OrderCounts]:
    """Return what is held of each target, and what waits in the lines of these queues of it.

    All are read at once, a page of each in one round trip. Raise as `read_key` does.
    """
    keys = client.keys
    states: dict[str, Counter[State]] = {target: Counter() for target in targets}
    held = _all_pages(client, [keys.order_hold(target) for target in targets])
    for counted, fields in zip(states.values(), held, strict=True):
        counted.update(one.state for one in _read_all(fields))
    queues = [queue for of_target in targets.values() for queue in of_target]
    if not queues:
        return {target: OrderCounts(counted) for target, counted in states.items()}
    sizes = client.commands([("HLEN", keys.lines(queue)) for queue in queues])
    waiting = {queue: integer(size) for queue, size in zip(queues, sizes, strict=True)}
    waits_s = _oldest_waits_s(client, queues)
    return {
        target: OrderCounts(states[target], sum(waiting[queue] for queue in of_target), _longest(waits_s, of_target))
        for target, of_target in targets.items()
    }


def _all_pages(client: Client, places: Sequence[str]) -> list[list[bytes]]:
    """Return the fields of these hashes and their values, of the first 10,000 or so fields of each."""
    found: dict[str, list[bytes]] = {place: [] for place in places}
    cursors = dict.fromkeys(places, b"0")
    for _ in range(_COUNTED_PAGES):
        replies = client.commands([_scan(place, cursor) for place, cursor in cursors.items()])
        pages = dict(zip(cursors, map(_read_page, replies), strict=True))
        for place, (_, page) in pages.items():
            found[place] += page
        cursors = {place: cursor for place, (cursor, _) in pages.items() if cursor != b"0"}
        if not cursors:
            break
    return list(found.values())


def _oldest_waits_s(client: Client, queues: Sequence[str]) -> dict[str, list[float | None]]:
    """Return how long the first jobs of some lines of each queue have been waiting; None for one that does not say.

    A key's jobs have the numbers that follow the time at which it was held first: the lowest are looked at.
    """
    records = _all_pages(client, [client.keys.line_records(queue) for queue in queues])
    calls: list[tuple[Sequence[str], Sequence[Argument]]] = []
    for queue, fields in zip(queues, records, strict=True):
        heads = [
            (int(match[1]), key)
            for key, record in zip(fields[::2], fields[1::2], strict=True)
            if (match := _LINE.fullmatch(record)) and int(match[1]) < int(match[2])
        ]
        first = [b"%d:%b" % head for head in nsmallest(_OLDEST, heads)]
        calls.append(([client.keys.lines(queue)], [_LOOK_BYTES, *first]))
    now_s = time_s(client)
    return {
        queue: [latency_s(job, now_s) for job in items(jobs) if job is not None]
        for queue, jobs in zip(queues, client.run_many("line_jobs", calls), strict=True)
    }


def _longest(waits_s: Mapping[str, Sequence[float | None]], queues: Sequence[str]) -> float | None:
    found = [wait_s for queue in queues for wait_s in waits_s[queue]]
    return max((wait_s for wait_s in found if wait_s is not None), default=None if found or not queues else 0.0)


@attrs.frozen
class StoppedKeys:
    """The stopped keys of a target, the ones stopped first before others; `is_whole`: all held keys were looked at."""

    keys: Sequence[HeldKey]
    is_whole: bool

    @property
    def since_s(self) -> float:
        """Since when the first of them has been stopped (epoch seconds)."""
        return self.keys[0].since_us / 1e6

    @property
    def count_text(self) -> str:
        """How many they are, for people."""
        count = "1 key" if len(self.keys) == 1 else f"{len(self.keys):,} keys"
        return count if self.is_whole else f"at least {count}"


def read_stopped(client: Client, targets: Sequence[str], pages: int = 1) -> dict[str, StoppedKeys]:
    """Return the stopped keys of those targets that have some, of the first 1,000 or so held ones of each for a page.

    A page of all is read in one round trip; without targets there is none. Raise as `read_key` does.
    """
    found: dict[str, dict[bytes, HeldKey]] = {target: {} for target in targets}
    cursors = dict.fromkeys(targets, b"0")
    for _ in range(pages):
        if not cursors:
            break
        asked = [("HSCAN", client.keys.order_hold(one), at, "COUNT", _LOOKED_THROUGH) for one, at in cursors.items()]
        for target, reply in zip(tuple(cursors), client.commands(asked), strict=True):
            cursor, fields = items(reply, 2)
            held = _read_all([raw(field) for field in items(fields)])
            found[target] |= {one.key: one for one in held if one.state == "stopped"}
            cursors[target] = raw(cursor)
        cursors = {target: cursor for target, cursor in cursors.items() if cursor != b"0"}
    return {
        target: StoppedKeys(sorted(keys.values(), key=lambda one: (one.since_us, one.key)), target not in cursors)
        for target, keys in found.items()
        if keys
    }


def _script_keys(client: Client, target: str, queues: Sequence[str]) -> list[str]:
    keys, names = client.keys, tuple(queues)
    return [keys.order_hold(target), *line_keys(keys, names), *map(keys.order_due, names)]


def _read_all(fields: Sequence[bytes]) -> list[HeldKey]:
    found = (_read(key, record) for key, record in zip(fields[::2], fields[1::2], strict=True))
    return [one for one in found if one is not None]


def _read(key: bytes, record: bytes) -> HeldKey | None:
    match = _RECORD.fullmatch(record)
    if match is None or match[1] not in _STATES:
        return None
    state, mark = _STATES[match[1]], int(match[4])
    name = match[5].partition(b",")[0]
    is_known = name != b"-" and not name.startswith(b"#")
    jid = unquote_to_bytes(name).decode("utf-8", "backslashreplace") if is_known else ""
    held = HeldKey(key, state, int(match[2]), int(match[3]), record=record, jid=jid)
    if state == "in_progress":
        return attrs.evolve(held, identity=match[6].decode("utf-8", "backslashreplace"), ticket=mark)
    return attrs.evolve(held, since_us=mark) if state == "stopped" else held


_TEXT: Final = '{"order":"go"}'
"""What a script is told that reads no keys in jobs."""
