"""Queues: how many jobs wait, and clearing one (`system` has how they are).

Called by `restbroker queues` and the pages. Always holds: cleared jobs are gone for good, and counted; a name that is
not UTF-8 is passed as it is shown, and nothing is done if two are shown alike (`names.exact`).
"""

import time
from collections.abc import Callable, Generator, Iterator
from typing import Final

import attrs

from restbroker.errors import UsageError
from restbroker.light import frozen
from restbroker.operate.act import Progress
from restbroker.operate.audit import AuditedAction, AuditEntry, stopped_by
from restbroker.operate.context import ConfigContext
from restbroker.operate.names import exact
from restbroker.store import queues as queue_store
from restbroker.store import waiting
from restbroker.store.client import Client, text
from restbroker.store.key_queues import hold
from restbroker.store.key_types import MisusedKey, types
from restbroker.store.keys import QueueName

BATCH: Final = 1000
"""How many jobs are deleted between two moments at which clearing a queue can be stopped."""
_NOTE_EVERY_S: Final = 1.0


def count_waiting(client: Client, queue: str) -> int:
    """Return how many jobs wait in a queue. Raise `UsageError` if its key is not a list."""
    return size_of(client, exact(client, queue))


@frozen
class QueueMoment:
    """What waited when a person was asked: how many jobs, and the newest of the list and of each key's line."""

    total: int
    newest: bytes | None
    lines: tuple[tuple[bytes, bytes], ...]


def moment_of(client: Client, queue: str, known: ConfigContext) -> QueueMoment:
    """Return the present moment of a queue. `known` names its target, which holds keys.

    Raise `UsageError` if the key is not a list. Raise `StoreUnavailable` or `StoreRefused`.
    """
    own = exact(client, queue)
    size_of(client, own)
    # From here on no process moves the newest job of the list into a line, for two seconds.
    hold(client, own, to_clear=True)
    total, newest = size_of(client, own), queue_store.newest(client, own)
    return QueueMoment(total, newest, _newest_of_lines(client, queue, own, known))


def _newest_of_lines(
    client: Client, queue: str, own: QueueName, known: ConfigContext
) -> tuple[tuple[bytes, bytes], ...]:
    found = waiting.take_snapshots(client, own, known.target(queue))
    return tuple((part.job_key, part.newest) for part in found if part.job_key is not None and part.newest)


def clear_in_steps(
    client: Client,
    queue: str,
    known: ConfigContext,
    who: str,
    why: str = "",
    release: Callable[[list[bytes]], object] = len,
    seen: QueueMoment | None = None,
) -> Generator[Progress, None, None]:
    """Delete all jobs that wait in a queue now, oldest first; yield the progress as `in_steps` does.

    They are lost: there is no copy. Jobs in progress still run; jobs pushed meanwhile stay, with `seen` (`moment_of`)
    those pushed since. It stops when the caller stops iterating; the same call again deletes the rest. `release` is
    called with those that may hold a lock or claim, to release it (`operate.claims`). Raise `UsageError` if the key is
    not a list. Raise `StoreUnavailable` or `StoreRefused`: the batches before are deleted, and perhaps one more.
    """
    own = exact(client, queue)
    now = seen or moment_of(client, queue, known)

    def batches() -> Iterator[tuple[int, int]]:
        last, lines = now.newest, list(now.lines)
        if last is not None and queue_store.clear(client, own, last, 0)[1]:
            # No process moves jobs from the list into lines now: what is in these is older than the newest of the list.
            lines = [*_newest_of_lines(client, queue, own, known)]
        for n, (job_key, newest) in enumerate((*lines, (None, last or b""))):
            left = 1
            while left:
                count, left, held = queue_store.clear(client, own, newest, BATCH, job_key, known.target(queue))
                release(held)
                yield count, left or len(lines) - n

    yield from in_steps(
        client, AuditEntry(who=who, action="clear", place=place_of(queue), where="all", why=why), now.total, batches()
    )


def in_steps(
    client: Client, entry: AuditEntry, total: int, batches: Iterator[tuple[int, int]]
) -> Generator[Progress, None, None]:
    """Do these batches, once the audit entry is written; yield the progress then, after each, and once more at the end.

    A batch is how many jobs it did, and how many are left, or anything but 0. It stops by itself, without a last
    report, where `audit.request_stop` asks for it.
    """
    with AuditedAction(client, entry) as note:
        so_far, noted_s = Progress(total, run=note.entry.run), time.monotonic()
        yield so_far
        for count, left in batches:
            so_far = attrs.evolve(so_far, done=so_far.done + count)
            note.done = so_far.done
            if not left:
                note.state = "ended"
            elif time.monotonic() >= noted_s + _NOTE_EVERY_S:
                note.write_progress()
                noted_s = time.monotonic()
            yield so_far
            if left and stopped_by(client, so_far.run) is not None:
                return
    if note.state == "ended":
        yield attrs.evolve(so_far, ended=True)


def size_of(client: Client, queue: QueueName) -> int:
    """Return how many jobs wait in a queue. Raise `UsageError` if its key is not a list."""
    size = queue_store.size(client, queue)
    if size is None:
        key = client.keys.queue_of(queue)
        odd = MisusedKey(text(key) if isinstance(key, bytes) else key, "list", types(client, [key]).get(key))
        raise UsageError(f"{odd.message}: no job is in it.", odd.hint)
    return size


def place_of(queue: str) -> str:
    """Return a queue's `place` in the audit log."""
    return f"queue:{queue}"
