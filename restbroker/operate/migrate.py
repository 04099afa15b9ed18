"""Takes over what the Go original left in Redis: the jobs that it had in progress, and those that it would try again.

Called by `restbroker migrate`. Always holds: jobs of other queues than the configured ones stay where they are; what
cannot be read becomes dead or is left to the broker, never dropped; what Redis refuses ends it, and doing it again
moves the rest and nothing twice; the audit log says first that it begins. What goes to `retry` is shown by Sidekiq Web
and survives Ruby's poller. What go-workers writes there does neither: its `failed_at` and `retried_at` are dates as
text ("2006-01-02 15:04:05 UTC", measured), which end the pages of Sidekiq Web with an error, and its `queue` begins
with the namespace.
"""

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, TypeAlias

from restbroker.errors import RestbrokerError, StoreRefused
from restbroker.job import job, rubyjson
from restbroker.job.outcome import Reason
from restbroker.job.repair import repair, seconds
from restbroker.job.retry import stamp, wrap_unreadable
from restbroker.operate.audit import AuditedAction, AuditEntry
from restbroker.store import migration
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Clash, Refused
from restbroker.store.server import time_s
from restbroker.store.sets import Placement, place

Destination: TypeAlias = Literal["queue", "retry", "dead", "stays"]
Lists: TypeAlias = Mapping[str, str | None]
"""The lists of jobs in progress, each with its queue.

The queue is None if the process id has a colon, so that the list may belong to another queue: its jobs stay.
"""
Parts: TypeAlias = Counter[tuple[str, str | None, Destination]]
"""How many jobs: by the key that has them, by their queue if something names it, and by where they go."""


def lists_in_progress(client: Client, queues: Sequence[str], process_ids: Collection[str] = ()) -> tuple[Lists, bool]:
    """Return the lists of these queues and of `process_ids`; if it is empty, of all processes found in Redis.

    False: Redis has too many keys to look at all of them. Raise `StoreUnavailable` or `StoreRefused`.
    """
    lists: dict[str, str | None] = {}
    complete = True
    for queue in queues:
        found, is_all = (process_ids, True) if process_ids else migration.process_ids(client, queue)
        complete = complete and is_all
        for process_id in found:
            key = client.keys.go_in_progress(queue, process_id)
            lists[key] = queue if process_ids or ":" not in process_id else lists.get(key)
    return lists, complete


def require_stopped(client: Client, lists: Lists, watch_s: float) -> None:
    """Raise `RestbrokerError` if something takes jobs as the original does, or if a list changes within `watch_s`.

    The original writes no heartbeat to Redis: there are no other signs. Raise `StoreUnavailable`, or `StoreRefused` if
    CLIENT LIST is not allowed, too.
    """
    before = migration.states(client, [*lists])
    time.sleep(watch_s)
    signs = [f"a client at {fetcher} takes jobs with BRPOPLPUSH" for fetcher in migration.fetchers(client)]
    after = migration.states(client, [*lists])
    signs += [f"{key} changes" for key, old, new in zip(lists, before, after, strict=True) if old != new]
    if signs:
        raise RestbrokerError(
            f"ejabberd-restbroker seems to be running: {'; '.join(signs)}. Its jobs in progress would run twice."
            " Nothing was moved.",
            "Stop ejabberd-restbroker, then try again. If it is another program, add --force.",
        )


def preview(client: Client, queues: Sequence[str], lists: Lists) -> Parts:
    """Return what `move` would do; change nothing. Raise `StoreUnavailable` or `StoreRefused`."""
    return _take_over(client, queues, lists, Parts(), dry_run=True)


def move(client: Client, queues: Sequence[str], lists: Lists, who: str) -> Parts:
    """Move the original's jobs to the places where restbroker keeps them, and return what was moved.

    Raise `StoreUnavailable` or `StoreRefused`, perhaps halfway: call it again. If the audit log takes no entry, nothing
    is moved.
    """
    moved = Parts()
    entry = AuditEntry(who=who, action="migrate", place="the original's keys", where=", ".join(queues))
    with AuditedAction(client, entry) as note:
        try:
            _take_over(client, queues, lists, moved, dry_run=False)
            note.state = "ended"
        finally:
            note.done = jobs_to_move(moved)
    return moved


def jobs_to_move(parts: Parts) -> int:
    """Return how many jobs do not stay where they are."""
    return sum(jobs for (_, _, goes_to), jobs in parts.items() if goes_to != "stays")


def _take_over(client: Client, queues: Sequence[str], lists: Lists, moved: Parts, *, dry_run: bool) -> Parts:
    for (key, queue), (size, _) in zip(lists.items(), migration.states(client, [*lists]), strict=True):
        if size and queue is None:
            moved[key, None, "stays"] = size
        elif size and queue is not None:
            moved[key, queue, "queue"] = size if dry_run else migration.give_back(client, key, queue)
    now_s, source, skip = time_s(client), client.keys.go_retry, 0
    while page := migration.retries(client, skip):
        for number, raw in enumerate(page):
            # A time of its own for each: Sidekiq Web takes out all entries of one score to act on one of them.
            goes_to, queue, placement = _plan(raw, queues, client.keys.namespace, now_s + number / 1e6)
            skip += dry_run or placement is None
            if dry_run or placement is None or _is_placed(client, placement):
                moved[source, queue, goes_to] += 1
    return moved


def _is_placed(client: Client, placement: Placement) -> bool:
    """Move a member of the original's retry set, and tell whether it was still there; raise `StoreRefused`."""
    (code,) = place(client, "goretry", [placement])
    if isinstance(code, Refused | Clash):
        why = code.text if isinstance(code, Refused) else "an identical job is there already"
        hint = "Fix that, then run the command again: it moves the rest."
        raise StoreRefused(f"Redis refused to move a job: {why}", hint)
    return isinstance(code, Applied)


def _plan(
    raw: bytes, queues: Sequence[str], namespace: str, now_s: float
) -> tuple[Destination, str | None, Placement | None]:
    """Return where a member of the original's retry set goes, its queue, and the move; None if it stays.

    It stays if its queue is not ours, as another go-workers program may share the set. What is not a job goes to the
    dead set, wrapped.
    """
    spare = job.digest(raw)[:24]
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
        # Within its second, so that an equal job that was moved earlier is another one.
        unique = 0 if failed_at is None else round(now_s * 1e6) % 1_000_000
        failed_at = stamp(round(now_s if failed_at is None else failed_at, 6), unique)
        fields = {**repair(read.fields, queue), "jid": read.jid, "failed_at": failed_at}
        return "retry", queue, Placement(raw, zset="retry", new=rubyjson.dumps(fields))
    wrapped = wrap_unreadable(raw, queues[0], spare, reason_code=reason.code, message=reason.text, now_s=now_s)
    return "dead", None, Placement(raw, zset="dead", new=rubyjson.dumps(wrapped), score=now_s)
