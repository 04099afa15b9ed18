"""Reads the lines of a queue: the jobs of each key that wait, in the order in which they come next.

The jobs of one key (`job.fairness`, `job.order`) are a line, a list of its own in Redis. Used by `operate`.
Brokers take from lines and add to them meanwhile. Always holds: it changes nothing but how long no process moves jobs
into lines; a job that is in a line all the while is met by who reads the newest first (`newest_first`).
"""

from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heapreplace
from math import inf
from typing import Final

from restbroker.job.fairness import BEFORE_ORDER, WHOLE_COST
from restbroker.light import frozen
from restbroker.store.client import Client, Reply, integer, items, pair, raw, text
from restbroker.store.keys import QueueName
from restbroker.store.queues import jobs_at, key_queue_of

_AT_ONCE: Final = 1000
_JOBS: Final = 200
_HOLD_MS: Final = 1000
_CLEAR_MS: Final = 2000
Cost = Callable[[str], int]


@frozen
class KeyQueue:
    """The jobs of one key that wait in a queue. `time`: the virtual time of the first one; infinite if it is held.

    `key` may be no UTF-8; `name` is how it is shown.
    """

    key: bytes
    jobs: int
    time: float = inf

    @property
    def name(self) -> str:
        """The key as text."""
        return text(self.key)

    @property
    def fair_key(self) -> str:
        """Its part by which it takes turns with others."""
        return self.name.partition(BEFORE_ORDER)[0]


def equal_cost(_key: str) -> int:
    """Return what a job of any key costs where no weights are known."""
    return WHOLE_COST


def read_key_queues(client: Client, queue: QueueName, target: str | None) -> tuple[KeyQueue, ...]:
    """Return the lines of a queue, the one whose turn is next first, then those that are held; none without lines.

    `target`: the one that serves the queue; None: unknown, so that those that are held are not found. Raise
    `StoreUnavailable`, or `StoreRefused` if a type is wrong.
    """
    keys, name = client.keys, name_of(queue)
    if not has_key_queues(client, queue):
        return ()
    turns = _scores(client, keys.ready_keys(name))
    busy = {} if target is None else _scores(client, keys.busy_keys(target))
    times = dict.fromkeys(busy, inf) | {key: time for key, time in turns.items() if key not in busy}
    sizes = count_each(client, queue, tuple(times))
    found = (KeyQueue(key, size, time) for (key, time), size in zip(times.items(), sizes, strict=True) if size)
    return tuple(sorted(found, key=lambda key_queue: (key_queue.time, busy.get(key_queue.key, 0.0), key_queue.key)))


def pages(client: Client, key: str) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yield the members of a sorted set, some at a time, with their scores as Redis has them; one may come twice."""
    cursor = b"0"
    while True:
        position, page = pair(client.command("ZSCAN", key, cursor, "COUNT", _AT_ONCE))
        yield scored(page)
        cursor = raw(position)
        if cursor == b"0":
            return


def scored(reply: Reply) -> list[tuple[bytes, bytes]]:
    """Return the members of a sorted set with their scores as Redis has them."""
    page = [raw(part) for part in items(reply)]
    return list(zip(page[::2], page[1::2], strict=True))


def _scores(client: Client, key: str) -> dict[bytes, float]:
    return {member: float(score) for page in pages(client, key) for member, score in page}


def has_key_queues(client: Client, queue: QueueName) -> bool:
    """Tell whether any job of a queue is in a line. Raise `StoreUnavailable` or `StoreRefused`."""
    return client.command("EXISTS", client.keys.key_queue(name_of(queue))) == 1


def count_each(client: Client, queue: QueueName, job_keys: Sequence[bytes]) -> list[int]:
    """Return how many jobs of each of these keys wait. Raise `StoreUnavailable` or `StoreRefused`."""
    counts: list[int] = []
    for start in range(0, len(job_keys), _AT_ONCE):
        commands = [
            ("LLEN", key_queue_of(client.keys, name_of(queue), key)) for key in job_keys[start : start + _AT_ONCE]
        ]
        counts += map(integer, client.commands(commands))
    return counts


def by_turn(key_queues: Sequence[KeyQueue], cost: Cost) -> Iterator[tuple[KeyQueue, int]]:
    """Yield each job of these lines in the order in which they would be handed out: its line, and its place there.

    A place counts from the newest job of the line, which is 0.
    """
    waiting = [(key_queue.time, key_queue.key, 0, key_queue) for key_queue in key_queues if key_queue.jobs]
    heapify(waiting)
    while waiting:
        time, key, number, key_queue = waiting[0]
        yield key_queue, key_queue.jobs - 1 - number
        if number + 1 < key_queue.jobs:
            heapreplace(waiting, (time + cost(key_queue.fair_key), key, number + 1, key_queue))
        else:
            heappop(waiting)


def newest_first(key_queues: Sequence[KeyQueue]) -> Iterator[tuple[KeyQueue, int]]:
    """Yield each job of these lines, as its line and its place: the last one of each line, then those before these."""
    for place in range(max((key_queue.jobs for key_queue in key_queues), default=0)):
        yield from ((key_queue, place) for key_queue in key_queues if place < key_queue.jobs)


def count_before(key_queues: Sequence[KeyQueue], key_queue: KeyQueue, place: int, cost: Cost) -> int:
    """Return how many jobs of these lines would be handed out before the one at this place, if none came."""
    number = key_queue.jobs - 1 - place
    if key_queue.time == inf:
        return number + sum(other.jobs for other in key_queues if other.time < inf)
    time = key_queue.time + number * cost(key_queue.fair_key)
    before = 0
    for other in key_queues:
        # Of equal times that of the smaller key is first.
        if other.key == key_queue.key:
            before += number
        elif other.time <= time:
            whole, rest = divmod(time - other.time, cost(other.fair_key))
            before += min(other.jobs, int(whole) + (1 if rest or other.key < key_queue.key else 0))
    return before


def pieces(
    client: Client, queue: QueueName, places: Iterator[tuple[KeyQueue, int]], limit: int = _JOBS
) -> Iterator[list[tuple[KeyQueue, int, bytes]]]:
    """Yield the jobs at these places, in pieces of at most `limit`; b"" for one that is too large to be read.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    wanted: list[tuple[KeyQueue, int]] = []
    while True:
        wanted += [place for place, _ in zip(places, range(limit - len(wanted)), strict=False)]
        if not wanted:
            return
        shown = name_of(queue)
        found = jobs_at(
            client, [(key_queue_of(client.keys, shown, key_queue.key), place) for key_queue, place in wanted]
        )
        # What there was no room for behind others comes with the next piece.
        count = next((n for n, job in enumerate(found) if n and job == b""), len(found))
        yield [(*at, raw(job)) for at, job in zip(wanted, found[:count], strict=False) if job is not None]
        del wanted[:count]


def hold(client: Client, queue: QueueName, *, to_clear: bool = False) -> None:
    """Let no classifier move jobs of a queue into lines for a second; fetches still move some.

    `to_clear`: let fetches move none either, until the queue is cleared, or for two seconds. Raise `StoreUnavailable`
    or `StoreRefused`.
    """
    what, for_ms = ("clear", _CLEAR_MS) if to_clear else ("1", _HOLD_MS)
    client.run_when_full([("SET", client.keys.pace(name_of(queue)), what, "PX", for_ms)])


def count_keys(client: Client, queues: Sequence[str]) -> dict[str, int]:
    """Return how many keys of each queue have their turn. Raise `StoreUnavailable` or `StoreRefused`."""
    counts = client.commands([("ZCARD", client.keys.ready_keys(queue)) for queue in queues])
    return {queue: integer(count) for queue, count in zip(queues, counts, strict=True)}


def name_of(queue: QueueName) -> str:
    """Return a queue's name as text: one that is no UTF-8 has no lines, since no target can name it."""
    return queue if isinstance(queue, str) else text(queue)
