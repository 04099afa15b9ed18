"""The jobs that wait in a queue's list or in one of its lines at one moment: reads them in pieces, takes some out.

Used by `operate`. Brokers take from the one end meanwhile, and producers push at the other. Always holds: after reading
all ranks, a caller has seen each job that waited at that moment and was not taken by others; what was pushed since is
not among them; a job is in its queue or at its new place, never both, never neither, and those that stay keep their
order.
"""

import secrets
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from restbroker.job.job import digest
from restbroker.job.settlement import Reply as Answer
from restbroker.light import define, field, frozen
from restbroker.store.client import Argument, Client, as_score, integer, items, raw, unexpected_reply
from restbroker.store.codes import Code, Gone, as_code
from restbroker.store.key_queues import name_of, read_key_queues
from restbroker.store.keys import QueueName
from restbroker.store.queues import key_queue_of
from restbroker.store.sets import Placement
from restbroker.store.settling import Destinations
from restbroker.store.tickets import MAX_BYTES

MOST_TAKEN: Final = 150
"""The most that are taken at once: out of the middle of a million jobs in about 40 ms, most of it for the first."""
_MARKS: Final = 5
_AT_ONCE: Final = 500
_LOOKS: Final = 3
"""How often jobs are looked for again that are not near their ranks."""


@define(eq=False)
class QueueSnapshot:
    """The jobs of one list that waited at one moment: the queue's own, or the line of `job_key`, which `target` serves.

    `pushed_since`: how many were pushed, as far as is known. A job is named by its rank, which stays: 0 is the one that
    was pushed last, and the highest is taken first. `newest` is the job of rank 0, and `marks` are digests of the
    newest few, by which the jobs are found again in the list.
    """

    queue: QueueName
    key: QueueName
    size: int
    newest: bytes = field(repr=False)
    marks: tuple[str, ...]
    pushed_since: int = 0
    job_key: bytes | None = None
    target: str | None = None


@frozen
class SnapshotPiece:
    """Some jobs of a snapshot, the oldest first: `rank` is that of the first, and falls by one for each."""

    rank: int
    jobs: tuple[bytes, ...]

    @property
    def with_ranks(self) -> Iterator[tuple[int, bytes]]:
        """Each job with its rank; b"" in place of one that is too large to be read."""
        return ((self.rank - place, job) for place, job in enumerate(self.jobs))


@frozen
class TakeRequest:
    """A job of a snapshot, as it was read, and where it goes: to the dead set, or nowhere (deleted).

    `rank`: its place in the snapshot, as `Piece.with_ranks` counts. `answers` are pushed in the same step.
    """

    rank: int
    placement: Placement
    answers: tuple[Answer, ...] = ()


def take_snapshot(client: Client, queue: QueueName) -> QueueSnapshot:
    """Return a snapshot of the jobs that wait in the queue's list. Raise `StoreUnavailable` or `StoreRefused`."""
    return _snapshots(client, queue, None, [None])[0]


def take_snapshots(
    client: Client, queue: QueueName, target: str | None, only: Sequence[bytes] | None = None
) -> tuple[QueueSnapshot, ...]:
    """Return snapshots of the queue's lines, the one whose turn is next first, then of its list.

    `target` as in `read_key_queues`. `only`: those of these keys. Raise `StoreUnavailable` or `StoreRefused`.
    """
    job_keys = [*(line.key for line in read_key_queues(client, queue, target)), None] if only is None else only
    return tuple(_snapshots(client, queue, target, job_keys))


def _snapshots(
    client: Client, queue: QueueName, target: str | None, job_keys: Sequence[bytes | None]
) -> list[QueueSnapshot]:
    found: list[QueueSnapshot] = []
    own, name = client.keys.queue_of(queue), name_of(queue)
    for start in range(0, len(job_keys), _AT_ONCE):
        some = job_keys[start : start + _AT_ONCE]
        places = [own if job_key is None else key_queue_of(client.keys, name, job_key) for job_key in some]
        commands = [command for key in places for command in (("LLEN", key), ("LRANGE", key, 0, _MARKS - 1))]
        replies = client.run_when_full(commands)
        for job_key, key, size, jobs in zip(some, places, replies[::2], replies[1::2], strict=True):
            newest = [raw(job) for job in items(jobs)]
            first, marks = newest[0] if newest else b"", tuple(map(digest, newest))
            found.append(QueueSnapshot(queue, key, integer(size), first, marks, job_key=job_key, target=target))
    return found


def piece(client: Client, meant: QueueSnapshot, rank: int, limit: int) -> SnapshotPiece | None:
    """Return up to `limit` jobs of the snapshot `meant`, from this rank down, fewer if they are large.

    The next piece begins at its `rank - len(jobs)`. None: none of this or a lower rank is left, since others took them.
    Raise `StoreUnavailable` or `StoreRefused`.
    """
    found = _read(client, meant, rank, limit) if rank >= 0 and meant.size else None
    return found if found is not None and found.jobs else None


def take(client: Client, meant: QueueSnapshot, takings: Sequence[TakeRequest]) -> list[Code]:
    """Take each job by itself, at most `MOST_TAKEN`; return one code each. `Gone`: it is there no more.

    Raise `StoreUnavailable`: any of them may have been taken; or `StoreRefused`.
    """
    codes = _read_taken(client, meant, takings)
    for _ in range(_LOOKS):
        missing = {n: takings[n].rank for n, code in enumerate(codes) if isinstance(code, Gone)}
        shift = _shift(client, meant, [(rank, takings[n].placement.old) for n, rank in missing.items()])
        if not shift:
            break
        again = [attrs.evolve(takings[n], rank=rank + shift) for n, rank in missing.items()]
        for n, code in zip(missing, _read_taken(client, meant, again), strict=True):
            codes[n] = code
    return codes


def _shift(client: Client, meant: QueueSnapshot, missing: Sequence[tuple[int, bytes]]) -> int:
    """Return by how much ranks are off where these jobs stand: others took many out between them and the newest.

    0: they are not there. To look through a list of a million costs Redis some 15 ms.
    """
    for rank, job in dict.fromkeys((missing[0], missing[-1]) if missing else ()):
        place = client.command("LPOS", meant.key, job, "RANK", -1)
        # What was pushed since is not meant, though it may be equal.
        if place is not None and integer(place) >= meant.pushed_since:
            return integer(place) - meant.pushed_since - rank
    return 0


def _read_taken(client: Client, meant: QueueSnapshot, takings: Sequence[TakeRequest]) -> list[Code]:
    _read(client, meant, 0, 0)
    keys, shown = client.keys, name_of(meant.queue)
    destinations = Destinations(keys)
    # No job's bytes: no one can know it.
    job_key = b"" if meant.job_key is None else b"=" + meant.job_key
    arguments: list[Argument] = [job_key, meant.pushed_since, f"taken-{secrets.token_hex(16)}"]
    for taking in takings:
        placing = taking.placement
        score = "" if placing.score is None else as_score(placing.score)
        arguments += [taking.rank, placing.old, "x" if placing.zset is None else "zd", placing.new or b"", score]
        arguments += destinations.make(taking.answers)
    of_keys = [keys.ready_keys(shown), keys.key_queue(shown), keys.busy_keys(meant.target or "")]
    fixed = [meant.key, *of_keys, keys.sorted_set("dead"), keys.queues, keys.dead_copies]
    found = items(client.run("take", [*fixed, *destinations.lists], arguments))
    if len(found) != len(takings):
        raise unexpected_reply(f"a list of {len(takings)}", found)
    return [as_code(code) for code in found]


def _read(client: Client, meant: QueueSnapshot, rank: int, limit: int) -> SnapshotPiece | None:
    """Return what `waiting.lua` answers, and update in `meant` how many jobs were pushed since; None: all are gone."""
    found = _answer(client, meant, rank, limit=limit, marks=meant.marks)
    if found is None:
        # Some of the newest may have been taken alone, or very many were pushed at once.
        place = client.command("LPOS", meant.key, meant.newest)
        if place is None:
            return None
        meant.pushed_since = integer(place)
        found = _answer(client, meant, rank, limit=limit, marks=meant.marks[:1])
    return found


def _answer(client: Client, meant: QueueSnapshot, rank: int, limit: int, marks: Sequence[str]) -> SnapshotPiece | None:
    arguments: list[Argument] = [meant.pushed_since, rank, limit, MAX_BYTES, *marks]
    reply = items(client.run("waiting", [meant.key], arguments))
    if not reply:
        return None
    pushed_since, first, *jobs = items(reply, 2)
    meant.pushed_since = integer(pushed_since)
    return SnapshotPiece(integer(first), tuple(map(raw, jobs)))
