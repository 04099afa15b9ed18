"""Order per key: which keys of a target are held and why, what a person makes of them.

Used by brokers, by `operate`, and by pages and metrics. Always holds: whatever is done here, the jobs of one key keep
their order; each change is for a key in a certain state alone; jobs return to a queue's list only while it is paused.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, Literal, TypeAlias

import attrs

from restbroker.job.fairness import BEFORE_ORDER
from restbroker.light import frozen
from restbroker.store import identities, in_progress
from restbroker.store.client import Argument, Client, integer, items, raw, text
from restbroker.store.key_queues import count_each, pages, scored
from restbroker.store.queues import IN_PROGRESS, STOPPED, key_queue_of, longest_wait_s, next_jobs
from restbroker.store.server import time_s
from restbroker.store.survey import literal, scan_raw
from restbroker.store.tickets import MAX_BYTES, ticket_key

State: TypeAlias = Literal["in_progress", "ready", "due", "stopped"]
KeyAction: TypeAlias = Literal["free", "skip", "retry"]
AT_ONCE: Final = 100
RETURNED_AT_ONCE: Final = 200
_DUE: Final = ("-inf", f"({STOPPED:.0f}")
_STOPPED: Final = (f"{STOPPED:.0f}", f"({IN_PROGRESS:.0f}")
_IN_PROGRESS: Final = (f"{IN_PROGRESS:.0f}", "+inf")
_PAGE: Final = 1000
_BETWEEN: Final = BEFORE_ORDER.encode()


@frozen
class BusyKey:
    """A key of a target that is not free: its next job may not start, or could start now and waits for a worker.

    `at_s` (epoch seconds): when it is due, or since when it is stopped or in progress; 0 if it is ready. `score` is
    that as Redis has it. `jid`: of the job that died, if it is stopped; "" if unknown.
    """

    key: bytes
    state: State
    at_s: float = 0.0
    score: bytes = b""
    jid: str = ""

    @property
    def name(self) -> str:
        """The key for people."""
        return self.key.decode("utf-8", "backslashreplace")


def read_keys(client: Client, target: str, queues: Sequence[str]) -> Iterator[Sequence[BusyKey]]:
    """Yield the ordered keys of a target that are held, or ready in these queues, some at a time; one may come twice.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    for page in pages(client, client.keys.busy_keys(target)):
        yield _with_jids(client, {target: [_busy_key(job_key, score) for job_key, score in page]})[target]
    for queue in queues:
        for page in pages(client, client.keys.ready_keys(queue)):
            yield [BusyKey(job_key, "ready") for job_key, _ in page if _BETWEEN in job_key]


def _busy_key(job_key: bytes, score: bytes) -> BusyKey:
    at_s = float(score)
    if at_s < STOPPED:
        return BusyKey(job_key, "due", at_s, score)
    if at_s < IN_PROGRESS:
        return BusyKey(job_key, "stopped", at_s - STOPPED, score)
    return BusyKey(job_key, "in_progress", at_s - IN_PROGRESS, score)


def _with_jids(client: Client, found: Mapping[str, Sequence[BusyKey]]) -> dict[str, list[BusyKey]]:
    """Return the held keys of each target, the stopped ones with what they stopped at."""
    stopped = [(target, key.key) for target, busy in found.items() for key in busy if key.state == "stopped"]
    if not stopped:
        return {target: list(busy) for target, busy in found.items()}
    jids = client.commands([("HGET", client.keys.stopped(target), job_key) for target, job_key in stopped])
    known = {place: "" if jid is None else text(jid) for place, jid in zip(stopped, jids, strict=True)}
    return {
        target: [attrs.evolve(key, jid=known.get((target, key.key), "")) for key in busy]
        for target, busy in found.items()
    }


def read_key(client: Client, target: str, queues: Sequence[str], job_key: bytes) -> BusyKey | None:
    """Return the state of a key; None if it is free. Raise `StoreUnavailable` or `StoreRefused`."""
    keys = client.keys
    commands = [
        ("ZSCORE", keys.busy_keys(target), job_key),
        *(("ZSCORE", keys.ready_keys(queue), job_key) for queue in queues),
    ]
    score, *turns = client.commands(commands)
    if score is not None:
        return _with_jids(client, {target: [_busy_key(job_key, raw(score))]})[target][0]
    return BusyKey(job_key, "ready") if any(turn is not None for turn in turns) else None


def made_by(client: Client, target: str) -> str | None:
    """Return by what the keys of a target were made (`Target.key_rules`). Raise as `read_key` does."""
    found = client.command("GET", client.keys.keys_made_by(target))
    return None if found is None else text(found)


def waiting_of(client: Client, queues: Sequence[str], job_keys: Sequence[bytes]) -> list[int]:
    """Return how many jobs wait of each of these keys, in all these queues. Raise as `read_key` does."""
    total = [0] * len(job_keys)
    for queue in queues if job_keys else ():
        total = [so_far + more for so_far, more in zip(total, count_each(client, queue, job_keys), strict=True)]
    return total


def steer(client: Client, target: str, queues: Sequence[str], what: KeyAction, busy: Sequence[BusyKey]) -> list[bool]:
    """Let keys go on which are in this very state still; tell for each whether that was done.

    `what`: "free" one in progress whose job is nowhere; "skip" a stopped one; "retry" one that is due later, now. Raise
    `StoreUnavailable`: the same call again is right; or `StoreRefused`.
    """
    keys, done = client.keys, list[bool]()
    of_queues = [of(queue) for of in (keys.ready_keys, keys.key_queue, keys.fair) for queue in queues]
    places = [keys.busy_keys(target), *of_queues, keys.stopped(target)]
    for start in range(0, len(busy), AT_ONCE):
        arguments: list[Argument] = [len(queues), what]
        for key in busy[start : start + AT_ONCE]:
            arguments += [key.key, key.score]
        done += [code == 1 for code in items(client.run("steer_keys", places, arguments))]
    return done


def free_lost(client: Client, target: str, queues: Sequence[str], longest_s: float) -> int:
    """Let keys go on that have been in progress for longer, and stand in no ticket; return how many.

    A torn append-only file leaves such. Raise `StoreUnavailable`: the same call again is right; or `StoreRefused`.
    """
    until = f"{IN_PROGRESS + time_s(client) - longest_s:.3f}"
    found = client.command("ZRANGEBYSCORE", client.keys.busy_keys(target), f"{IN_PROGRESS:.0f}", until, "WITHSCORES")
    lost = dict(scored(found))
    if not lost:
        return 0
    for identity in {*identities.live_identities(client), *identities.fenced_identities(client)}:
        for ticket in in_progress.read_tickets(client, identity).tickets:
            lost.pop(ticket_key(ticket).encode(), None)
    return sum(steer(client, target, queues, "free", [_busy_key(job_key, score) for job_key, score in lost.items()]))


def give_back(client: Client, queue: str, target: str, job_keys: Sequence[bytes]) -> tuple[int, int] | None:
    """Move jobs of a paused queue's keys to its list, all but those of stopped ones.

    Return how many, and with how many of these keys it is done. None: the queue is not paused, and nothing was moved.
    Raise `StoreUnavailable`: the same call again is right; or `StoreRefused`.
    """
    keys = client.keys
    places = [keys.paused_queues, keys.queue(queue), keys.ready_keys(queue), keys.key_queue(queue), keys.fair(queue)]
    places += [keys.busy_keys(target), keys.hand(queue)]
    arguments: list[Argument] = [queue, RETURNED_AT_ONCE, MAX_BYTES, *job_keys[:RETURNED_AT_ONCE]]
    moved, ended = map(integer, items(client.run("return_keys", places, arguments), 2))
    return None if moved < 0 else (moved, ended)


def all_keys(client: Client, queue: str) -> list[bytes]:
    """Return the keys of all lists that a queue has, also of those that nothing else names any more.

    This reads the names of all keys. Raise `StoreUnavailable` or `StoreRefused`.
    """
    prefix = key_queue_of(client.keys, queue, b"")
    keys, _ = scan_raw(client, f"{literal(prefix.decode())}*", "list")
    return sorted(key.removeprefix(prefix) for key in keys)


@frozen
class OrderCounts:
    """How many keys of a target are in which state, and how many jobs are in its lines.

    `oldest_wait_s`: how long the oldest has been waiting of the jobs that come next, as far as these are looked at; 0
    if none waits, None if none of them says since when.
    """

    states: Counter[State]
    waiting: int = 0
    oldest_wait_s: float | None = None


def count(client: Client, targets: Mapping[str, Sequence[str]]) -> dict[str, OrderCounts]:
    """Return what is held of each target, and what waits in the lines of these queues of it.

    Raise as `read_key` does.
    """
    if not targets:
        return {}
    keys, now_s, found = client.keys, time_s(client), dict[str, OrderCounts]()
    commands: list[tuple[Argument, ...]] = []
    for target, queues in targets.items():
        commands += [("ZCOUNT", keys.busy_keys(target), *span) for span in (_DUE, _STOPPED, _IN_PROGRESS)]
        commands += [
            (command, of(queue))
            for command, of in (("ZCARD", keys.ready_keys), ("GET", keys.key_queue))
            for queue in queues
        ]
    numbers = iter([integer(number or 0) for number in client.commands(commands)])
    target_of = {queue: target for target, queues in targets.items() for queue in queues}
    jobs = next_jobs(client, {queue: keys.queue(queue) for queue in target_of}, target_of)
    for target, queues in targets.items():
        due, stopped, in_progress = islice(numbers, 3)
        ready, waiting = sum(islice(numbers, len(queues))), sum(islice(numbers, len(queues)))
        heads = [job for queue in queues for job in jobs[queue][1:]]
        states: dict[State, int] = {"in_progress": in_progress, "ready": ready, "due": due, "stopped": stopped}
        found[target] = OrderCounts(+Counter(states), waiting, longest_wait_s(heads, now_s) if heads else 0.0)
    return found


@frozen
class StoppedKeys:
    """The stopped keys of a target: how many there are, and the first of them, in the order in which they stopped."""

    keys: Sequence[BusyKey]
    count: int

    @property
    def since_s(self) -> float:
        """Since when the first of them has been stopped (epoch seconds)."""
        return self.keys[0].at_s

    @property
    def count_text(self) -> str:
        """How many they are, for people."""
        return "1 key" if self.count == 1 else f"{self.count:,} keys"


def read_stopped(client: Client, targets: Sequence[str], most: int = _PAGE) -> dict[str, StoppedKeys]:
    """Return the first `most` stopped keys of those targets that have some; -1: all. Raise as `read_key` does."""
    commands: list[tuple[Argument, ...]] = []
    for key in map(client.keys.busy_keys, targets):
        commands += [("ZCOUNT", key, *_STOPPED), ("ZRANGEBYSCORE", key, *_STOPPED, "WITHSCORES", "LIMIT", 0, most)]
    replies = client.commands(commands) if commands else []
    sizes = {target: integer(size) for target, size in zip(targets, replies[::2], strict=True)}
    pages = {
        target: [_busy_key(job_key, score) for job_key, score in scored(page)]
        for target, page in zip(targets, replies[1::2], strict=True)
        if sizes[target]
    }
    return {target: StoppedKeys(busy, sizes[target]) for target, busy in _with_jids(client, pages).items()}
