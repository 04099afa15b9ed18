"""The lines of a queue that is served fairly, as an operator sees and changes them: keys, their jobs, and their return.

Called by `restbroker fair` and the pages. Always holds: dropped jobs are gone for good, and counted; jobs return to the
list only while their queue is paused, and those of one key keep their order.
"""

import shlex
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final

import attrs

from restbroker.errors import UsageError
from restbroker.job import hiding
from restbroker.job.fairness import BETWEEN, fold
from restbroker.operate import find
from restbroker.operate.audit import AuditedAction, AuditEntry
from restbroker.operate.context import ConfigContext
from restbroker.operate.entry import Entry
from restbroker.operate.names import exact, suggestion
from restbroker.operate.queues import BATCH, ClearProgress, place_of
from restbroker.operate.waiting_jobs import lines_of
from restbroker.store import line_jobs, lines
from restbroker.store import queues as queue_store
from restbroker.store.client import Client
from restbroker.store.line_jobs import Line
from restbroker.store.server import time_s

_HEADS: Final = 200
"""Of so many keys, those with the most jobs, the age of the first job is read."""
_SHOWN_BETWEEN: Final = " | "
NO_KEY: Final = "(none)"
"""How the line of the jobs is called that have no key."""


@attrs.frozen
class FairKey:
    """A key whose jobs wait in a line: how many, its weight, and its share of what is handed out while all these wait.

    `latency_s`: for how long the first of its jobs has been waiting; None: unknown, or not read. `is_named` False: its
    jobs have no key.
    """

    name: str
    jobs: int
    weight: int
    share: float
    latency_s: float | None
    is_named: bool = True


@attrs.frozen
class FairQueue:
    """A queue with its lines: how many jobs wait in its list and in lines; the `count` of keys, and the largest."""

    name: str
    in_list: int | None
    in_lines: int
    keys: tuple[FairKey, ...]
    count: int


def fair_queue(client: Client, queue: str, known: ConfigContext, most: int | None = None) -> FairQueue:
    """Return a queue with its keys, at most `most` of them. Raise `StoreUnavailable` or `StoreRefused`."""
    own = exact(client, queue)
    size = queue_store.waiting_of(client, {queue: client.keys.queue_of(own)})[queue]
    found = sorted(lines_of(client, own), key=lambda line: (-line.jobs, line.key))
    target = known.targets.get(queue)
    fairness = None if target is None else target.fairness
    weights = [1 if fairness is None else fairness.weight(line.name) for line in found]
    whole = sum(weights)
    shown = found[:most]
    waits = _waits(client, queue, shown[:_HEADS])
    keys = tuple(
        FairKey(
            display_name(line, known),
            line.jobs,
            weight=weight,
            share=weight / whole,
            latency_s=waits.get(line.key),
            is_named=bool(line.key),
        )
        for line, weight in zip(shown, weights, strict=False)
    )
    in_list = None if size is None else size.in_list
    return FairQueue(queue, in_list, in_lines=sum(line.jobs for line in found), keys=keys, count=len(found))


def jobs_of(client: Client, queue: str, key: str, known: ConfigContext, limit: int) -> Iterator[Entry]:
    """Yield at most `limit` jobs of a key, the next one first. Raise `UsageError` if none of this key wait."""
    own = exact(client, queue)
    line = _line_of(client, queue, key, known)
    places = line_jobs.by_finish_time([line], known.cost(queue))
    for piece in line_jobs.pieces(client, own, places, limit=min(limit, _HEADS)):
        for _, _, raw in piece[:limit]:
            yield find.view_of_waiting(raw, queue, known).entry()
        limit -= len(piece)
        if limit <= 0:
            return


def count_jobs(client: Client, queue: str, key: str, known: ConfigContext) -> int:
    """Return how many jobs of a key wait in its line. Raise `UsageError` if none do."""
    return _line_of(client, queue, key, known).jobs


def drop(
    client: Client,
    queue: str,
    key: str,
    *,
    known: ConfigContext,
    who: str,
    why: str,
    release: Callable[[list[bytes]], object],
) -> Generator[ClearProgress, None, None]:
    """Delete the jobs of a key that wait in its line now; yield the progress after each batch.

    It stops when the caller stops iterating. `release` as in `queues.clear_in_steps`. Raise `UsageError` if none of
    this key wait; raise `StoreUnavailable` or `StoreRefused`: the batches before are deleted, and perhaps one more.
    """
    own, line = exact(client, queue), _line_of(client, queue, key, known)
    so_far, left = ClearProgress(line.jobs), 1
    where = f"the key {display_name(line, known)}"
    with AuditedAction(client, AuditEntry(who=who, action="drop", place=place_of(queue), where=where, why=why)) as note:
        while left:
            deleted, left, held = queue_store.clear(client, own, b"", BATCH, lines=[(line.key, line.after)])
            release(held)
            so_far = attrs.evolve(so_far, done=so_far.done + deleted)
            note.done = so_far.done
            yield so_far
        note.state = "ended"
    yield attrs.evolve(so_far, ended=True)


def give_back(
    client: Client, queue: str, known: ConfigContext, who: str, why: str
) -> Generator[ClearProgress, None, None]:
    """Move the jobs of a queue's lines to the front of its list; yield the progress after each batch.

    Raise `UsageError` if the queue is not paused: running processes would move them into lines again. Raise
    `StoreUnavailable` or `StoreRefused`: the same call again goes on.
    """
    own = exact(client, queue)
    found = lines_of(client, own)
    so_far, is_healed, left = ClearProgress(sum(line.jobs for line in found)), False, 1
    target = known.targets.get(queue)
    fairness = None if target is None else target.fairness
    entry = AuditEntry(who=who, action="return", place=place_of(queue), where="lines", why=why)
    with AuditedAction(client, entry) as note:
        while left:
            moved = lines.give_back(client, queue)
            if moved is None:
                raise UsageError(
                    f"The queue {queue} is not paused.", f"Pause it first: restbroker queues pause {shlex.quote(queue)}"
                )
            count, left = moved
            so_far = attrs.evolve(so_far, done=so_far.done + count)
            note.done = so_far.done
            yield so_far
            if left and not count and is_healed:
                return
            if left and not count:
                # Someone deleted records by hand.
                lines.heal(client, queue, "{}" if fairness is None else fairness.text)
                is_healed = True
        note.state = "ended"
    yield attrs.evolve(so_far, ended=True)


def display_name(line: Line, known: ConfigContext) -> str:
    """Return the name of a key for people, with secrets masked."""
    return hiding.mask_secrets(line.name.replace(BETWEEN, _SHOWN_BETWEEN), known.secrets) or NO_KEY


def _line_of(client: Client, queue: str, key: str, known: ConfigContext) -> Line:
    """Return the line of a key, which may be written as it is shown. Raise `UsageError` if it has none."""
    found = {display_name(line, known): line for line in lines_of(client, exact(client, queue))}
    by_name = {line.name: line for line in found.values()}
    line = by_name.get(fold(key)) or found.get(fold(key)) or found.get(key)
    if line is None:
        near = suggestion(key, list(found)[:1000]) if found else "No job of this queue is in a line."
        raise UsageError(f"No job of the key {key} waits in a line of the queue {queue}.", near)
    return line


def _waits(client: Client, queue: str, found: Sequence[Line]) -> dict[bytes, float | None]:
    """Return for how long the first job of each of these lines has been waiting."""
    if not found:
        return {}
    now_s = time_s(client)
    heads = line_jobs.read_jobs(client, queue, [(line, line.head) for line in found])
    return {
        line.key: queue_store.latency_s(head, now_s) if head else None for line, head in zip(found, heads, strict=False)
    }
