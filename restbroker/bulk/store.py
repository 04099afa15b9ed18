"""Batches of `enqueue --bulk` in Redis: pushes rows, and keeps their progress and results. Used by `bulk.batch`.

Always holds: a row and the record that it is pushed are written in one step, so that it is pushed once however often
the batch is restarted; an answer is counted and removed in one step; a batch is removed after 30 days without a change.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job import rubyjson
from restbroker.job.claims import Lock
from restbroker.job.json_types import Json
from restbroker.job.reply import BATCH_PREFIX
from restbroker.light import define, field, frozen
from restbroker.operate.enqueue import JobRequest
from restbroker.store.client import Argument, Client, as_score, integer, items, mapping, raw, text

BATCH_DIGITS: Final = 16
_ROW_DIGITS: Final = 8
REMEMBERED_S: Final = 30 * 86_400
_FAILED: Final = "x:"
_FIXED_KEYS: Final = 3
MAY_HAVE_RUN: Final = "?"
"""The prefix of the code of a row that was not done as far as is known, and may have run."""
NEGATIVE: Final = "negative"
"""The code of a server's "no" to a question."""
_PATIENCE_S: Final = 10.0
"""How many seconds Redis may be away in the middle of a batch, as in a restart or a failover."""
_PAUSE_S: Final = 0.5
_ANSWERS: Final = 500


def jid_of(batch: str, row: int) -> str:
    """Return the id of a row's job: 24 hex digits, as Sidekiq's are."""
    return f"{batch}{row:08x}"


def row_of(batch: str, jid: Json) -> int | None:
    """Return the row whose job has this id; None if the id is not of this batch."""
    if not isinstance(jid, str) or len(jid) != BATCH_DIGITS + _ROW_DIGITS or not jid.startswith(batch):
        return None
    try:
        return int(jid[BATCH_DIGITS:], 16)
    except ValueError:
        return None


@frozen
class BatchRecord:
    """The record of a batch: the last row that was pushed, and the results of the rows.

    `pushed`: how many rows were pushed (bad ones are left out), `done`: how many of these are done. Of the others, how
    many ended with which code: in `failed` those that did not run, in `uncertain` those that may have.
    `queued_before`: how many were not pushed, since another job of their key was queued.
    """

    row: int = 0
    pushed: int = 0
    done: int = 0
    failed: Mapping[str, int] = field(factory=dict)
    uncertain: Mapping[str, int] = field(factory=dict)
    notes: Mapping[str, str] = field(factory=dict)
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


@frozen
class JobLock:
    """The lock of a job of this id, which is the one at `rank` (from 1 on) of those of its queue."""

    queue: str
    rank: int
    jid: str
    lock: Lock


@define
class Chunk:
    """Rows to be pushed with one call, by their queues."""

    last: int = 0
    jobs: dict[str, list[bytes]] = field(factory=dict)
    locks: list[JobLock] = field(factory=list)
    rows: int = 0
    size: int = 0

    def add(self, request: JobRequest, raw: bytes, jid: str, now_s: float) -> None:
        """Add one more job, with the lock that it takes: that lasts from when the job is due."""
        jobs = self.jobs.setdefault(request.queue, [])
        jobs.append(raw)
        if (lock := request.lock_at(now_s)) is not None:
            self.locks.append(JobLock(request.queue, len(jobs), jid, lock))
        self.size += len(raw)


def push(client: Client, batch: str, chunk: Chunk, before: int, at_s: float | None) -> int:
    """Push (or schedule) the jobs of a chunk, the rows after `before`; return the last row that is pushed now.

    A job is left out whose lock another one holds. Another row than the chunk's last: nothing was done, since another
    process has pushed. May be called again with the same arguments after `StoreUnavailable`. Raise `StoreRefused` if
    Redis refuses a queue's key; nothing was pushed.
    """
    keys = client.keys
    arguments: list[Argument] = [before, chunk.last, REMEMBERED_S, "" if at_s is None else as_score(at_s)]
    for queue, payloads in chunk.jobs.items():
        arguments += [queue, len(payloads), *payloads]
    places = {queue: n for n, queue in enumerate(chunk.jobs, start=1)}
    held: dict[str, int] = {}
    if chunk.locks:
        arguments += ["", len(chunk.locks)]
    for lock in chunk.locks:
        number = held.setdefault(keys.lock(lock.lock.name), _FIXED_KEYS + len(places) + len(held) + 1)
        arguments += [places[lock.queue], lock.rank, number, lock.jid, round(lock.lock.keep_s * 1000)]
    names = [keys.bulk(batch), keys.queues, keys.sorted_set("schedule"), *map(keys.queue, places), *held]
    reply = client.run("bulk_push", names, arguments)
    if isinstance(reply, bytes):
        raise StoreRefused(
            f"Redis refuses to push these rows: {text(reply)}", "Check that key, and find out who wrote it."
        )
    return integer(reply)


def push_chunk(client: Client, batch: str, chunk: Chunk, before: int, at_s: float | None) -> None:
    """Push the rows of a chunk that lie behind `before`, the last row pushed so far (0: none).

    `at_s`: when their jobs are due (epoch seconds); None: now. Wait up to ten seconds while Redis is away. Raise
    `StoreUnavailable`: all or none of them are pushed, as `read_batch` will say. Raise `StoreRefused` if
    Redis refuses a queue's key or has lost rows, or if another process pushes the same batch.
    """
    began_s, found = time.monotonic(), None
    while found is None:
        try:
            found = push(client, batch, chunk, before, at_s)
        except StoreUnavailable:
            if time.monotonic() - began_s > _PATIENCE_S:
                raise
            time.sleep(_PAUSE_S)
    if found < before:
        message = f"Redis has lost rows of this batch: only {found} of {before} are left."
        raise StoreRefused(message, "The same command pushes them again, under the same job ids.")
    if found != chunk.last:
        raise StoreRefused("Another process is pushing the rows of this batch.", "Run only one of the two.")


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
    return client.run("bulk_count", names, [replies[0], len(replies), REMEMBERED_S, *flat]) == 1


def reply_to(batch: str) -> str:
    """Return the key that the answers to all rows of the batch go to."""
    return f"{BATCH_PREFIX}{batch}"


def read_replies(client: Client, batch: str) -> tuple[int, list[str]]:
    """Count the answers that have come into the batch's record; return how many, and what to say of rows not done.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    replies = answers(client, batch, _ANSWERS)
    ended: list[str] = []
    codes: list[tuple[int, str]] = []
    for answer in replies:
        details = rubyjson.object_of(answer) or {}
        row = row_of(batch, details.get("jid"))
        if row is None:
            continue
        code, why = _end(details)
        codes.append((row, code))
        if code:
            ended.append(f"row {row}: {why}")
    return (len(replies), ended) if count(client, batch, replies, codes) else (0, [])


def _end(details: Mapping[str, Json]) -> tuple[str, str]:
    """Return the code that counts for an answer, as `count` takes it, and how the job ended, for people."""
    outcome, jid, error = details.get("outcome"), details.get("jid"), details.get("error")
    if outcome == "delivered":
        return "", ""
    if outcome == "negative":
        return NEGATIVE, f'{NEGATIVE}: The server answered "no". (job {jid})'
    found = error if isinstance(error, Mapping) else {}
    code, message = str(found.get("code") or outcome), str(found.get("message") or "")
    if outcome == "uncertain" or details.get("may_have_run") is True:
        return f"{MAY_HAVE_RUN}{code}", f"{code}: {message} (job {jid}; it may have run)"
    return code, f"{code}: {message} (job {jid})"
