"""Reads the lines of a queue that is served fairly, in the order in which their jobs come next.

Used by `operate`. Brokers take from lines and add to them meanwhile. Always holds: it changes nothing but how long no
process moves jobs into lines; a job that is in a line all the while is in what was read, exactly once.
"""

from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heapreplace
from math import inf
from typing import Final

import attrs

from restbroker.job.fairness import WHOLE_COST
from restbroker.store.client import Client, integer, items, raw, text
from restbroker.store.keys import QueueName
from restbroker.store.settling import line_keys
from restbroker.store.tickets import MAX_BYTES

_RECORDS: Final = 1000
_JOBS: Final = 200
_COUNTED: Final = 10_000
_COUNTED_AT_ONCE: Final = 1000
_HOLD_MS: Final = 1000
_CLEAR_MS: Final = 2000
Cost = Callable[[str], int]


@attrs.frozen
class Line:
    """The jobs of one key: the numbers from `head` up to `after`. `finish_time`: the virtual one of the first job.

    `key` may be no UTF-8; `name` is how it is shown. `finish_time` is infinite if someone deleted it by hand.
    """

    key: bytes
    head: int
    after: int
    finish_time: float

    @property
    def jobs(self) -> int:
        """How many jobs it should have: fewer if some were taken out of its middle, or are of other queues' numbers."""
        return self.after - self.head

    @property
    def name(self) -> str:
        """The key as text."""
        return text(self.key)

    def field(self, number: int) -> bytes:
        """Return the name under which the job of this number is stored."""
        return b"%d:%b" % (number, self.key)


def equal_cost(_key: str) -> int:
    """Return what a job of any key costs where no weights are known."""
    return WHOLE_COST


def read_lines(client: Client, queue: QueueName) -> tuple[Line, ...]:
    """Return the lines of a queue, the one whose turn is next first; none for a queue that has none.

    Raise `StoreUnavailable`, or `StoreRefused` if a type is wrong.
    """
    _, records, turns = line_keys(client.keys, (name_of(queue),))
    found: dict[bytes, Line] = {}
    cursor = b"0"
    while True:
        answer = items(client.run("line_records", [records, turns], [cursor, _RECORDS]), 1)
        for place in range(1, len(answer), 4):
            key, head, after, turn = map(raw, answer[place : place + 4])
            found[key] = Line(key, int(head), int(after), float(turn) if turn else inf)
        cursor = raw(answer[0])
        if cursor == b"0":
            return tuple(sorted(found.values(), key=lambda line: (line.finish_time, line.key)))


def has_lines(client: Client, queue: QueueName) -> bool:
    """Tell whether any job of a queue is in a line. Raise `StoreUnavailable` or `StoreRefused`."""
    return client.command("EXISTS", client.keys.lines(name_of(queue))) == 1


def count_jobs(client: Client, queue: QueueName) -> int:
    """Return how many jobs are in lines of a queue. Raise `StoreUnavailable` or `StoreRefused`."""
    return integer(client.command("HLEN", client.keys.lines(name_of(queue))))


def count_each(client: Client, queue: QueueName, lines: Sequence[Line]) -> list[int]:
    """Return how many jobs each of these lines has, also where some were taken out of its middle.

    Of a long one, or behind many: at most how many, by its numbers and by what waits. Raise `StoreUnavailable` or
    `StoreRefused`.
    """
    counts, fields, places = [line.jobs for line in lines], list[bytes](), list[int]()
    for place, line in sorted(enumerate(lines), key=lambda one: one[1].jobs):
        if 1 < line.jobs <= _COUNTED - len(fields):
            counts[place] = 0
            fields += map(line.field, range(line.head, line.after))
            places += [place] * line.jobs
    key = client.keys.lines(name_of(queue))
    for start in range(0, len(fields), _COUNTED_AT_ONCE):
        found = client.commands([("HEXISTS", key, field) for field in fields[start : start + _COUNTED_AT_ONCE]])
        for place, reply in zip(places[start : start + _COUNTED_AT_ONCE], found, strict=True):
            counts[place] += integer(reply)
    most = count_jobs(client, queue) if lines else 0
    return [min(count, most) for count in counts]


def by_finish_time(lines: Sequence[Line], cost: Cost) -> Iterator[tuple[Line, int]]:
    """Yield each job of these lines, as its line and its number, in the order in which they would be handed out."""
    waiting = [(line.finish_time, line.key, line.head, line) for line in lines if line.jobs]
    heapify(waiting)
    while waiting:
        time, key, number, line = waiting[0]
        yield line, number
        if number + 1 < line.after:
            heapreplace(waiting, (time + cost(line.name), key, number + 1, line))
        else:
            heappop(waiting)


def count_before(lines: Sequence[Line], line: Line, number: int, cost: Cost) -> int:
    """Return how many jobs of these lines would be handed out before this one, if none came."""
    if line.finish_time == inf:
        return sum(one.jobs for one in lines if one.finish_time < inf)
    time = line.finish_time + (number - line.head) * cost(line.name)
    before = 0
    for one in lines:
        # Of equal times that of the smaller key is first.
        if one.key == line.key:
            before += number - line.head
        elif one.finish_time <= time:
            whole, rest = divmod(time - one.finish_time, cost(one.name))
            before += min(one.jobs, int(whole) + (1 if rest or one.key < line.key else 0))
    return before


def read_jobs(client: Client, queue: QueueName, places: Sequence[tuple[Line, int]]) -> list[bytes | None]:
    """Return the jobs at these places (a line and a number), None for one that is not there any more.

    There are fewer if they are large, and b"" in place of one that is too large to be read. Raise `StoreUnavailable` or
    `StoreRefused`.
    """
    fields = [line.field(number) for line, number in places]
    found = items(client.run("line_jobs", [client.keys.lines(name_of(queue))], [MAX_BYTES, *fields]))
    return [None if job is None else raw(job) for job in found]


def newest_first(lines: Sequence[Line]) -> Iterator[tuple[Line, int]]:
    """Yield each job of these lines, as its line and its number: the last one of each line, then those before these."""
    for back in range(1, max((line.jobs for line in lines), default=0) + 1):
        yield from ((line, line.after - back) for line in lines if back <= line.jobs)


def pieces(
    client: Client, queue: QueueName, places: Iterator[tuple[Line, int]], limit: int = _JOBS
) -> Iterator[list[tuple[Line, int, bytes]]]:
    """Yield the jobs at these places (a line and a number), in pieces of at most `limit`.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    wanted: list[tuple[Line, int]] = []
    while True:
        wanted += [one for one, _ in zip(places, range(limit - len(wanted)), strict=False)]
        if not wanted:
            return
        found = read_jobs(client, queue, wanted)
        yield [(line, number, job) for (line, number), job in zip(wanted, found, strict=False) if job is not None]
        del wanted[: len(found)]


def hold(client: Client, queue: QueueName) -> None:
    """Let no classifier move jobs of a queue into lines for a second; fetches still move some.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    client.even_full([("SET", client.keys.classify_lock(name_of(queue)), "1", "PX", _HOLD_MS)])


def hold_for_clear(client: Client, queue: QueueName) -> None:
    """Let no process move jobs of a queue into lines, fetches neither, until it is cleared, or for two seconds.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    client.even_full([("SET", client.keys.classify_lock(name_of(queue)), "clear", "PX", _CLEAR_MS)])


def count_keys(client: Client, queues: Sequence[str]) -> dict[str, int]:
    """Return how many keys of each queue have their turn. Raise `StoreUnavailable` or `StoreRefused`."""
    counts = client.commands([("ZCARD", client.keys.line_finish_times(queue)) for queue in queues])
    return {queue: integer(count) for queue, count in zip(queues, counts, strict=True)}


def name_of(queue: QueueName) -> str:
    """Return a queue's name as text: one that is no UTF-8 has no lines, since no target can be told of it."""
    return queue if isinstance(queue, str) else text(queue)
