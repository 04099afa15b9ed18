"""Pushes the rows of a batch in their order, and counts the answers to them.

Called by `bulk.batch`. Always holds: at most one chunk of rows is in memory; a caller that stops iterating stops it
between two chunks, and a later call continues behind the last row that Redis has; a bad row affects no other.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import attrs

from restbroker.bulk import store as bulk
from restbroker.bulk.jobs import COMMAND_KEY, MOST_ROWS, OWN_COLUMNS, Maker, Makers, jid_of, row_of
from restbroker.bulk.rows import Bad, Read, Row
from restbroker.errors import StoreRefused, StoreUnavailable, UsageError
from restbroker.job import rubyjson
from restbroker.job.argument_check import BadRow
from restbroker.job.json_types import Json
from restbroker.operate.enqueue import JobRequest
from restbroker.store.client import Client

_CHUNK_ROWS: Final = 500
_CHUNK_BYTES: Final = 512 * 1024
_CHUNKS_A_SECOND: Final = 10
_PATIENCE_S: Final = 10.0
"""How many seconds Redis may be away in the middle of a batch, as in a restart or a failover."""
_PAUSE_S: Final = 0.5
_ANSWERS: Final = 500
NEGATIVE: Final = "negative"
"""The code of a server's "no" to a question."""


@attrs.define
class Chunk:
    """Rows to be pushed with one call, by their queues."""

    last: int = 0
    jobs: dict[str, list[bytes]] = attrs.field(factory=dict)
    locks: list[bulk.JobLock] = attrs.field(factory=list)
    rows: int = 0
    size: int = 0

    def add(self, order: JobRequest, raw: bytes, jid: str, now_s: float) -> None:
        """Add one more job, with the lock that it takes: that lasts from when the job is due."""
        jobs = self.jobs.setdefault(order.queue, [])
        jobs.append(raw)
        if (lock := order.lock_at(now_s)) is not None:
            self.locks.append(bulk.JobLock(order.queue, len(jobs), jid, lock))
        self.size += len(raw)


@attrs.define(eq=False)
class Reader:
    """Makes jobs of rows. `command` None: each row names its own. `skipped`: rows up to this one are pushed already."""

    batch: str
    rows: Iterator[Read]
    makers: Makers
    command: str | None
    are_cells: bool
    reject: Callable[[Bad], None]
    skipped: int = 0
    rate: float | None = None
    good: int = 0
    bad: int = 0

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows in chunks as they are read; bad ones go to `reject`. Raise `BadFile` if the file is bad."""
        most_rows = _CHUNK_ROWS
        if self.rate is not None:
            most_rows = max(1, int(min(most_rows, self.rate / _CHUNKS_A_SECOND)))
        chunk, now_s = Chunk(), time.time()
        for row in self.rows:
            self._read(row, chunk, now_s)
            if chunk.rows >= most_rows or chunk.size >= _CHUNK_BYTES:
                yield chunk
                chunk, now_s = Chunk(chunk.last), time.time()
        if chunk.rows:
            yield chunk

    def _read(self, row: Read, chunk: Chunk, now_s: float) -> None:
        chunk.rows += 1
        if isinstance(row, Bad):
            self._refuse(row)
        else:
            try:
                self._make(row, chunk, now_s)
            except (BadRow, UsageError) as error:
                why = error.message if isinstance(error, UsageError) else str(error)
                self._refuse(Bad(row.number, row.line, why, row.text))
        chunk.last = row.number

    def _make(self, row: Row, chunk: Chunk, now_s: float) -> None:
        number, values = row.number, row.values
        maker = self._maker(values)
        if number > MOST_ROWS:
            raise BadRow("too many rows in one batch.")
        own: dict[str, Json] = {name: values.pop(name) for name in OWN_COLUMNS if name in values}
        if self.command is not None and COMMAND_KEY in values and maker.checker.takes_no(COMMAND_KEY):
            raise BadRow(f'the row names its command in "{COMMAND_KEY}": leave {self.command} out of the command line.')
        arguments = maker.checker.arguments(values, are_cells=self.are_cells)
        order = maker.order_of(own, arguments)
        # Also of one that is pushed already: it counts as it did then.
        raw = maker.payload(order, arguments, jid := jid_of(self.batch, number), now_s)
        self.good += 1
        if number > self.skipped:
            chunk.add(order, raw, jid, now_s)

    def _maker(self, values: dict[str, Json]) -> Maker:
        """Return the maker for a row with these values. Raise `BadRow` or `UsageError` if it names no known command."""
        command: Json = values.pop(COMMAND_KEY, None) if self.command is None else self.command
        if not isinstance(command, str) or not command:
            raise BadRow(f'the field "{COMMAND_KEY}" names no command.')
        return self.makers(command)

    def _refuse(self, bad: Bad) -> None:
        self.bad += 1
        self.reject(bad)


def push(client: Client, batch: str, chunk: Chunk, before: int, at_s: float | None) -> None:
    """Push the rows of a chunk that lie behind `before`, the last row pushed so far (0: none).

    `at_s`: when their jobs are due (epoch seconds); None: now. Wait up to ten seconds while Redis is away. Raise
    `StoreUnavailable`: all or none of them are pushed, as `bulk.store.read_batch` will say. Raise `StoreRefused` if
    Redis refuses a queue's key or has lost rows, or if another process pushes the same batch.
    """
    began_s = time.monotonic()
    while True:
        try:
            found = bulk.push(client, batch, before, last=chunk.last, jobs=chunk.jobs, at_s=at_s, locks=chunk.locks)
        except StoreUnavailable:
            if time.monotonic() - began_s > _PATIENCE_S:
                raise
            time.sleep(_PAUSE_S)
            continue
        if found == chunk.last:
            return
        if found < before:
            message = f"Redis has lost rows of this batch: only {found} of {before} are left."
            raise StoreRefused(message, "The same command pushes them again, under the same job ids.")
        message = "Another process is pushing the rows of this batch."
        raise StoreRefused(message, "Run only one of the two.")


def read_replies(client: Client, batch: str) -> tuple[int, list[str]]:
    """Count the answers that have come into the batch's record; return how many, and what to say of rows not done.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    replies = bulk.answers(client, batch, _ANSWERS)
    ended: list[str] = []
    codes: list[tuple[int, str]] = []
    for raw in replies:
        details = rubyjson.object_of(raw) or {}
        row = row_of(batch, details.get("jid"))
        if row is None:
            continue
        code, why = _end(details)
        codes.append((row, code))
        if code:
            ended.append(f"row {row}: {why}")
    return (len(replies), ended) if bulk.count(client, batch, replies, codes) else (0, [])


def _end(details: Mapping[str, Json]) -> tuple[str, str]:
    """Return the code that counts for an answer, as `store.count` takes it, and how the job ended, for people."""
    outcome, jid, error = details.get("outcome"), details.get("jid"), details.get("error")
    if outcome == "delivered":
        return "", ""
    if outcome == "negative":
        return NEGATIVE, f'{NEGATIVE}: The server answered "no". (job {jid})'
    found = error if isinstance(error, Mapping) else {}
    code, message = str(found.get("code") or outcome), str(found.get("message") or "")
    if outcome == "uncertain" or details.get("may_have_run") is True:
        return f"{bulk.MAY_HAVE_RUN}{code}", f"{code}: {message} (job {jid}; it may have run)"
    return code, f"{code}: {message} (job {jid})"
