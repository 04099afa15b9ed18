"""Batches of `enqueue --bulk` in Redis: pushes rows, and keeps their progress and results. Used by `bulk.push`.

Always holds: a row and the record that it is pushed are written in one step, so that it is pushed once however often
the batch is restarted; an answer is counted and removed in one step; a batch is removed after 30 days without a change.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from restbroker.errors import StoreRefused
from restbroker.job.claims import Lock
from restbroker.job.reply import BATCH_PREFIX
from restbroker.store.client import Client
from restbroker.store.replies import Argument, as_score, integer, items, mapping, raw, text

REMEMBERED_S: Final = 30 * 86_400
_FAILED: Final = "x:"
_FIXED_KEYS: Final = 3
MAY_HAVE_RUN: Final = "?"
"""The prefix of the code of a row that was not done as far as is known, and may have run."""


@attrs.frozen
class BatchRecord:
    """The record of a batch: the last row that was pushed, and the results of the rows.

    `pushed`: how many rows were pushed (bad ones are left out), `done`: how many of these are done. Of the others, how
    many ended with which code: in `failed` those that did not run, in `uncertain` those that may have.
    `queued_before`: how many were not pushed, since another job of their key was queued.
    """

    row: int = 0
    pushed: int = 0
    done: int = 0
    failed: Mapping[str, int] = attrs.field(factory=dict)
    uncertain: Mapping[str, int] = attrs.field(factory=dict)
    notes: Mapping[str, str] = attrs.field(factory=dict)
    queued_before: int = 0

    @property
    def ended_rows(self) -> int:
        """How many rows have ended."""
        return self.done + sum(self.failed.values()) + sum(self.uncertain.values())


def read_batch(client: Client, batch: str) -> BatchRecord | None:
    """Return the record of this batch; None if there is none (any more). Raise `StoreUnavailable` or `StoreRefused`."""
    fields = mapping(client.command("HGETALL", client.keys.bulk(batch)))
    if not fields:
        return None
    counts = {name: integer(value) for name, value in fields.items() if not name.startswith("n:")}
    codes = {name.removeprefix(_FAILED): count for name, count in counts.items() if name.startswith(_FAILED) and count}
    failed = {code: count for code, count in codes.items() if not code.startswith(MAY_HAVE_RUN)}
    uncertain = {code.removeprefix(MAY_HAVE_RUN): codes[code] for code in codes if code not in failed}
    notes = {name.removeprefix("n:"): text(value) for name, value in fields.items() if name.startswith("n:")}
    row, pushed, done, queued_before = (counts.get(name, 0) for name in ("row", "pushed", "done", "queued_before"))
    return BatchRecord(row, pushed, done, failed=failed, uncertain=uncertain, notes=notes, queued_before=queued_before)


def write_notes(client: Client, batch: str, notes: Mapping[str, str]) -> None:
    """Write notes about the batch. Raise `StoreUnavailable` or `StoreRefused`."""
    key = client.keys.bulk(batch)
    fields = [word for name, value in notes.items() for word in (f"n:{name}", value)]
    client.transaction([("HSET", key, *fields), ("EXPIRE", key, REMEMBERED_S)])


@attrs.frozen
class JobLock:
    """The lock of a job of this id, which is the one at `rank` (from 1 on) of those of its queue."""

    queue: str
    rank: int
    jid: str
    lock: Lock


def push(
    client: Client,
    batch: str,
    before: int,
    last: int,
    jobs: Mapping[str, Sequence[bytes]],
    at_s: float | None,
    locks: Sequence[JobLock] = (),
) -> int:
    """Push (or schedule) the jobs of the rows after `before` up to `last`; return the last row that is pushed now.

    `jobs` has them by their queues; one is left out whose lock another job holds. Another row than `last`: nothing was
    done, since another process has pushed. May be called again with the same arguments after `StoreUnavailable`. Raise
    `StoreRefused` if Redis refuses a queue's key; nothing was pushed.
    """
    keys = client.keys
    arguments: list[Argument] = [before, last, REMEMBERED_S, "" if at_s is None else as_score(at_s)]
    for queue, payloads in jobs.items():
        arguments += [queue, len(payloads), *payloads]
    lists = [keys.queue(queue) for queue in jobs]
    held: dict[str, int] = {}
    if locks:
        places = {queue: n for n, queue in enumerate(jobs, start=1)}
        arguments += ["", len(locks)]
        for one in locks:
            number = held.setdefault(keys.lock(one.lock.name), _FIXED_KEYS + len(jobs) + len(held) + 1)
            arguments += [places[one.queue], one.rank, number, one.jid, round(one.lock.keep_s * 1000)]
    fixed = [keys.bulk(batch), keys.queues, keys.sorted_set("schedule")]
    reply = client.run("bulk_push", [*fixed, *lists, *held], arguments)
    if isinstance(reply, bytes):
        raise StoreRefused(
            f"Redis refuses to push these rows: {text(reply)}", "Check that key, and find out who wrote it."
        )
    return integer(reply)


def answers(client: Client, batch: str, most: int) -> list[bytes]:
    """Return at most `most` answers, the oldest first; each stays in Redis until `count` takes it away.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    found = items(client.command("LRANGE", client.keys.reply(reply_to(batch)), -most, -1))
    return [raw(answer) for answer in reversed(found)]


def count(client: Client, batch: str, replies: Sequence[bytes], codes: Sequence[tuple[int, str]]) -> bool:
    """Count rows by their codes, and remove the answers with these codes. Return False if another process did both.

    `replies`: these answers, the oldest first, as `answers` returned them. `codes`: pairs of a row's number and its
    code, for those answers that count. A code is "" for a row that is done, and begins with `MAY_HAVE_RUN` for one that
    may have run. Raise `StoreUnavailable` or `StoreRefused`.
    """
    if not replies:
        return True
    keys = client.keys
    names = [keys.bulk(batch), keys.bulk_done(batch), keys.bulk_failed(batch), keys.reply(reply_to(batch))]
    flat = [word for row, code in codes for word in (row, code)]
    return client.run("bulk_hear", names, [replies[0], len(replies), REMEMBERED_S, *flat]) == 1


def reply_to(batch: str) -> str:
    """Return the key that the answers to all rows of the batch go to."""
    return f"{BATCH_PREFIX}{batch}"
