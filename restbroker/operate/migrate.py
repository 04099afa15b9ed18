"""Takes over what the Go original left in Redis: the jobs that it had in progress, and those that it would try again.

Called by `restbroker migrate`. Always holds: jobs of other queues than the configured ones stay where they are; what
cannot be read becomes dead or is left to the broker, never dropped; doing it again moves the rest and nothing twice;
the audit log says first that it begins. What goes to `retry` is shown by Sidekiq Web and survives Ruby's poller. What
go-workers writes there does neither: its `failed_at` and `retried_at` are dates as text ("2006-01-02 15:04:05 UTC",
measured), which end the pages of Sidekiq Web with an error, and its `queue` begins with the namespace.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Literal, TypeAlias, get_args

import attrs

from restbroker.errors import StoreRefused
from restbroker.job import job, rubyjson
from restbroker.job.outcome import Reason
from restbroker.job.repair import repair, seconds
from restbroker.job.retry import stamp, wrap_unreadable
from restbroker.operate.audit import AuditedAction, AuditEntry
from restbroker.store import migration
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Clash, Code, Refused
from restbroker.store.server import time_s
from restbroker.store.sets import Placement, place

DEFAULT_PROCESS_ID = "1"
"""The original's own default; most installations never changed it (its README wants a text, and shows none)."""
_WATCH_EVERY_S = 0.1

Destination: TypeAlias = Literal["queue", "retry", "dead", "stays"]
Part: TypeAlias = tuple[str, str | None, Destination]
"""The key that has the jobs, their queue if something names it, and where they go."""


@attrs.frozen
class Sources:
    """Where to look: the configured queues, and the lists of jobs in progress, each with its queue.

    `ambiguous`: keys that may belong to another queue; they are left alone. `complete`: there were few enough keys to
    read them all.
    """

    queues: tuple[str, ...]
    lists: dict[str, str]
    ambiguous: tuple[str, ...] = ()
    complete: bool = True


@attrs.frozen
class Takeover:
    """How many jobs of each part are to move, or were moved. `refused`: Redis' error → how many stay because of it."""

    parts: Counter[Part] = attrs.field(factory=Counter)
    refused: Counter[str] = attrs.field(factory=Counter)

    @property
    def jobs_to_move(self) -> int:
        """How many jobs are moved."""
        return sum(jobs for (_, _, goes_to), jobs in self.parts.items() if goes_to != "stays")

    def rows(self) -> list[tuple[str, str | None, Destination, int]]:
        """Return the parts with their numbers of jobs, by destination."""
        order = get_args(Destination)
        parts = sorted(self.parts, key=lambda part: (order.index(part[2]), part[0], part[1] or ""))
        return [(*part, self.parts[part]) for part in parts]


def sources(client: Client, queues: Sequence[str], process_ids: Collection[str]) -> Sources:
    """Return the lists of jobs in progress of `process_ids`; if it is empty, of all processes found in Redis.

    `queues`: the queues to take over. Raise `StoreUnavailable` or `StoreRefused`.
    """
    lists: dict[str, str] = {}
    unclear: list[str] = []
    complete = True
    for queue in queues:
        found: Collection[str] = process_ids
        if not process_ids:
            found, is_all = migration.process_ids(client, queue)
            complete = complete and is_all
        for process_id in sorted({*found, *(() if process_ids else (DEFAULT_PROCESS_ID,))}):
            key = client.keys.go_in_progress(queue, process_id)
            if process_ids or ":" not in process_id:
                lists[key] = queue
            else:
                unclear.append(key)
    return Sources(tuple(queues), lists, tuple(key for key in unclear if key not in lists), complete)


def signs_of_original(
    client: Client, where: Sources, watch_s: float, pause: Callable[[float], None] = time.sleep
) -> list[str] | None:
    """Return the signs that the original still runs, after at most `watch_s` seconds; None if Redis shows no clients.

    It writes no heartbeat to Redis. Its only signs are jobs that it takes and lists that change. `pause` sleeps. Raise
    `StoreUnavailable` or `StoreRefused`.
    """
    lists = list(where.lists)
    before = migration.states(client, lists)
    deadline_s = time.monotonic() + watch_s
    while True:
        found = migration.fetchers(client)
        signs = [f"a client at {one} takes jobs with BRPOPLPUSH" for one in found or ()]
        after = migration.states(client, lists)
        signs += [f"{key} changes" for key, old, new in zip(lists, before, after, strict=True) if old != new]
        if signs or time.monotonic() >= deadline_s:
            return signs if signs or found is not None else None
        pause(_WATCH_EVERY_S)


def preview(client: Client, where: Sources) -> Takeover:
    """Return what `move` would do; change nothing. Raise `StoreUnavailable`."""
    return _take_over(client, where, Takeover(), dry_run=True)


def move(client: Client, where: Sources, who: str) -> Takeover:
    """Move the original's jobs to the places where restbroker keeps them, and return what was moved.

    What Redis refuses to move is in `Takeover.refused`. Raise `StoreUnavailable`, perhaps halfway: call it again; or
    `StoreRefused` if the audit log takes no entry: nothing is moved then.
    """
    moved = Takeover()
    entry = AuditEntry(who=who, action="migrate", place="the original's keys", where=", ".join(where.queues))
    with AuditedAction(client, entry) as note:
        try:
            _take_over(client, where, moved, dry_run=False)
            note.state = "ended"
        finally:
            note.done = moved.jobs_to_move
    return moved


def _take_over(client: Client, where: Sources, moved: Takeover, *, dry_run: bool) -> Takeover:
    for (key, served), (size, _) in zip(where.lists.items(), migration.states(client, list(where.lists)), strict=True):
        staying = 0 if dry_run else _give_back(client, key, size, queue=served, refused=moved.refused)
        if size > staying:
            moved.parts[key, served, "queue"] = size - staying
    source, now_s, skip = client.keys.go_retry, time_s(client), 0
    while page := migration.retries(client, skip):
        # A time of its own for each: Sidekiq Web takes out all entries of one score to act on one of them.
        plans = [_plan(raw, where.queues, client.keys.namespace, now_s + n / 1e6) for n, raw in enumerate(page)]
        moves = [move for _, _, move in plans if move is not None]
        codes: Iterator[Code] = iter([Applied()] * len(moves) if dry_run else place(client, "goretry", moves))
        staying = 0
        for goes_to, queue, move in plans:
            match Applied() if move is None else next(codes):
                case Applied():
                    moved.parts[source, queue, goes_to] += 1
                    staying += move is None or dry_run
                case Clash():
                    moved.refused["an identical job is there already"] += 1
                    staying += 1
                case Refused(why):
                    moved.refused[why] += 1
                    staying += 1
                case _:  # Gone: someone else has moved it
                    pass
        skip += staying
    return moved


def _give_back(client: Client, key: str, size: int, queue: str, refused: Counter[str]) -> int:
    """Give these jobs in progress back to their queue; return how many Redis refuses, after adding why."""
    for left in range(size, 0, -migration.MOVE_BATCH):
        try:
            migration.give_back(client, key, queue, min(left, migration.MOVE_BATCH))
        except StoreRefused as error:
            ((staying, _),) = migration.states(client, [key])
            refused[error.message] += staying
            return staying
    return 0


def _plan(
    raw: bytes, queues: Sequence[str], namespace: str, now_s: float
) -> tuple[Destination, str | None, Placement | None]:
    """Return where a member of the original's retry set goes, its queue, and the move; None if it stays.

    It stays if its queue is not ours, as another go-workers program may share the set. What is not a job goes to the
    dead set, wrapped.
    """
    spare = hashlib.sha1(raw, usedforsecurity=False).hexdigest()[:24]
    read = job.read(raw, queues[0], spare)
    if isinstance(read, job.NotAJob):
        return "dead", None, _kill(raw, queues[0], spare, read.reason, now_s)
    named = read.fields.get("queue")
    if not isinstance(named, str) or not named:
        reason = Reason("UnreadablePayload", "An entry of the retry set names no usable queue.")
        return "dead", None, _kill(raw, queues[0], spare, reason, now_s)
    queue = named.removeprefix(f"{namespace}:") if namespace else named
    if queue not in queues:
        return "stays", queue, None
    failed_at = seconds(read.fields.get("failed_at"))
    # Within a millisecond, so that an equal job that was moved earlier is another one.
    failed_at = stamp(round(now_s if failed_at is None else failed_at, 6), round(now_s * 1e6) % 1000)
    fields = {**repair(read.fields, queue), "jid": read.jid, "failed_at": failed_at}
    return "retry", queue, Placement(raw, zset="retry", new=rubyjson.dumps(fields))


def _kill(raw: bytes, queue: str, jid: str, reason: Reason, now_s: float) -> Placement:
    wrapped = wrap_unreadable(raw, queue, jid, reason_code=reason.code, message=reason.text, now_s=now_s)
    return Placement(raw, zset="dead", new=rubyjson.dumps(wrapped), score=now_s)
