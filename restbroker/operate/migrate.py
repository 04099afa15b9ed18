"""Takes over what the Go original left in Redis: the jobs that it had in progress, and those that it would try again.

Called by `restbroker migrate`. Always holds: jobs of other queues than the configured ones stay where they are; what
cannot be read becomes dead or is left to the broker, never dropped; what Redis refuses ends it, and doing it again
moves the rest and nothing twice; the audit log says first that it begins. What goes to `retry` is shown by Sidekiq Web
and survives Ruby's poller. What go-workers writes there does neither: its `failed_at` and `retried_at` are dates as
text ("2006-01-02 15:04:05 UTC", measured), which end the pages of Sidekiq Web with an error, and its `queue` begins
with the namespace.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, TypeAlias

import attrs

from restbroker.errors import StoreRefused
from restbroker.job import job, rubyjson
from restbroker.job.outcome import Reason
from restbroker.job.repair import repair, seconds
from restbroker.job.retry import stamp, wrap_unreadable
from restbroker.operate.audit import AuditedAction, AuditEntry
from restbroker.store import migration
from restbroker.store.client import Client
from restbroker.store.codes import APPLIED, Applied, Clash, Refused
from restbroker.store.server import time_s
from restbroker.store.sets import Placement, place

_WATCH_EVERY_S = 0.1

Destination: TypeAlias = Literal["queue", "retry", "dead", "stays"]
Parts: TypeAlias = Counter[tuple[str, str | None, Destination]]
"""How many jobs: by the key that has them, by their queue if something names it, and by where they go."""


@attrs.frozen
class Sources:
    """Where to look: the configured queues, and the lists of jobs in progress, each with its queue.

    The queue is None if the process id has a colon, so that the list may belong to another queue: its jobs stay.
    `complete`: there were few enough keys to read them all.
    """

    queues: tuple[str, ...]
    lists: Mapping[str, str | None]
    complete: bool = True


def sources(client: Client, queues: Sequence[str], process_ids: Collection[str] = ()) -> Sources:
    """Return the lists of jobs in progress of `process_ids`; if it is empty, of all processes found in Redis.

    `queues`: the queues to take over. Raise `StoreUnavailable` or `StoreRefused`.
    """
    lists: dict[str, str | None] = {}
    complete = True
    for queue in queues:
        found, is_all = (process_ids, True) if process_ids else migration.process_ids(client, queue)
        complete = complete and is_all
        for process_id in found:
            key = client.keys.go_in_progress(queue, process_id)
            lists[key] = queue if process_ids or ":" not in process_id else lists.get(key)
    return Sources(tuple(queues), lists, complete)


def signs_of_original(
    client: Client, where: Sources, watch_s: float, pause: Callable[[float], None] = time.sleep
) -> list[str]:
    """Return the signs that the original still runs, after at most `watch_s` seconds.

    It writes no heartbeat to Redis. Its only signs are jobs that it takes and lists that change. `pause` sleeps. Raise
    `StoreUnavailable`, or `StoreRefused` if CLIENT LIST is not allowed, too.
    """
    lists = list(where.lists)
    before = migration.states(client, lists)
    deadline_s = time.monotonic() + watch_s
    while True:
        signs = [f"a client at {one} takes jobs with BRPOPLPUSH" for one in migration.fetchers(client)]
        after = migration.states(client, lists)
        signs += [f"{key} changes" for key, old, new in zip(lists, before, after, strict=True) if old != new]
        if signs or time.monotonic() >= deadline_s:
            return signs
        pause(_WATCH_EVERY_S)


def preview(client: Client, where: Sources) -> Parts:
    """Return what `move` would do; change nothing. Raise `StoreUnavailable` or `StoreRefused`."""
    parts = Parts()
    _take_over(client, where, parts, dry_run=True)
    return parts


def move(client: Client, where: Sources, who: str) -> Parts:
    """Move the original's jobs to the places where restbroker keeps them, and return what was moved.

    Raise `StoreUnavailable` or `StoreRefused`, perhaps halfway: call it again. If the audit log takes no entry, nothing
    is moved.
    """
    moved = Parts()
    entry = AuditEntry(who=who, action="migrate", place="the original's keys", where=", ".join(where.queues))
    with AuditedAction(client, entry) as note:
        try:
            _take_over(client, where, moved, dry_run=False)
            note.state = "ended"
        finally:
            note.done = jobs_to_move(moved)
    return moved


def jobs_to_move(parts: Parts) -> int:
    """Return how many jobs do not stay where they are."""
    return sum(jobs for (_, _, goes_to), jobs in parts.items() if goes_to != "stays")


def _take_over(client: Client, where: Sources, moved: Parts, *, dry_run: bool) -> None:
    for (key, queue), (size, _) in zip(where.lists.items(), migration.states(client, list(where.lists)), strict=True):
        if size and queue is None:
            moved[key, None, "stays"] = size
        elif size and queue is not None:
            moved[key, queue, "queue"] = size if dry_run else migration.give_back(client, key, queue)
    now_s, skip = time_s(client), 0
    while page := migration.retries(client, skip):
        # A time of its own for each: Sidekiq Web takes out all entries of one score to act on one of them.
        plans = [_plan(raw, where.queues, client.keys.namespace, now_s + n / 1e6) for n, raw in enumerate(page)]
        moves = [(goes_to, queue, one) for goes_to, queue, one in plans if one is not None]
        codes = [APPLIED for _ in moves] if dry_run else place(client, "goretry", [one for _, _, one in moves])
        staying = [(goes_to, queue) for goes_to, queue, one in plans if one is None]
        done = [plan[:2] for plan, code in zip(moves, codes, strict=True) if isinstance(code, Applied)]
        moved.update((client.keys.go_retry, queue, goes_to) for goes_to, queue in staying + done)
        for code in codes:
            if isinstance(code, Refused | Clash):
                why = code.text if isinstance(code, Refused) else "an identical job is there already"
                raise StoreRefused(
                    f"Redis refused to move a job: {why}", "Fix that, then run the command again: it moves the rest."
                )
        skip += len(page) if dry_run else len(staying)


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
        reason = read.reason
    elif not isinstance(named := read.fields.get("queue"), str) or not named:
        reason = Reason("UnreadablePayload", "An entry of the retry set names no usable queue.")
    else:
        queue = named.removeprefix(f"{namespace}:") if namespace else named
        if queue not in queues:
            return "stays", queue, None
        failed_at = seconds(read.fields.get("failed_at"))
        # Within a millisecond, so that an equal job that was moved earlier is another one.
        failed_at = stamp(round(now_s if failed_at is None else failed_at, 6), round(now_s * 1e6) % 1000)
        fields = {**repair(read.fields, queue), "jid": read.jid, "failed_at": failed_at}
        return "retry", queue, Placement(raw, zset="retry", new=rubyjson.dumps(fields))
    wrapped = wrap_unreadable(raw, queues[0], spare, reason_code=reason.code, message=reason.text, now_s=now_s)
    return "dead", None, Placement(raw, zset="dead", new=rubyjson.dumps(wrapped), score=now_s)
