"""How jobs ended that are in Redis no more, as a stream: those delivered, and those dropped (`"dead": false`, expired).

Written by `finish.lua` and `done.lua`, together with the settlement, where `History` asks for it; read by
`operate.explain`. Always holds: the stream is bounded by time and by count; it has neither arguments nor a token.
"""

from collections.abc import Iterator, Sequence

import orjson

from restbroker.light import frozen
from restbroker.store.client import Client, Reply, integer, items, mapping, pair, raw, text

_TEXT_LIMIT = 200


@frozen
class JobEnd:
    """How a job ended. `outcome` is what the target said last, `code` why it was not delivered; `status` None: none.

    `unmet`: what it asked for and did not get; None: nothing.
    """

    jid: str
    target: str
    command: str
    outcome: str
    status: int | None
    took_ms: float
    code: str | None = None
    unmet: str | None = None


@frozen
class Records:
    """The records that `finish` is to write about the jobs that it settles: one for each, in their order (b"": none).

    `keep_ms`: how long they are kept, in milliseconds.
    """

    keep_ms: int
    each: Sequence[bytes]


@frozen
class HistoryEntry:
    """A record in the stream. `name` is its id there: milliseconds of Redis' clock, "-", and a number."""

    name: str
    record: bytes

    @property
    def at_s(self) -> float:
        """The time when the job was settled, by Redis' clock (epoch seconds)."""
        return int(self.name.partition("-")[0]) / 1000


def to_record(ending: JobEnd) -> bytes:
    """Return the record for this end of a job, which `read` reads; long texts are cut."""
    words = (_plain(word) for word in (ending.jid, ending.target, ending.command, ending.outcome))
    code = None if ending.code is None else _plain(ending.code)
    more = [] if ending.unmet is None else [_plain(ending.unmet)]
    return orjson.dumps([*words, ending.status, round(ending.took_ms, 1), code, *more])


def read(record: bytes) -> JobEnd | None:
    """Return how a job ended, from its record; None if restbroker did not write it.

    A later version may have added to the end of a record: that is left out.
    """
    try:
        jid, target, command, outcome, status, took_ms, code, *more = orjson.loads(record)
    except (ValueError, TypeError):
        return None
    words = all(isinstance(word, str) for word in (jid, target, command, outcome))
    numbers = isinstance(status, int | None) and isinstance(took_ms, int | float)
    if not words or not numbers or not isinstance(code, str | None):
        return None
    unmet = more[0] if more and isinstance(more[0], str) else None
    return JobEnd(jid, target, command, outcome=outcome, status=status, took_ms=float(took_ms), code=code, unmet=unmet)


def newest(client: Client, count: int, before: str = "") -> list[HistoryEntry]:
    """Return the `count` newest records, newest first; with `before`, only those older than the entry of that name.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    end = f"({before}" if before else "+"
    return list(_entries(client.command("XREVRANGE", client.keys.history, end, "-", "COUNT", count)))


def extent(client: Client) -> tuple[int, HistoryEntry | None]:
    """Return how many records are kept, and the oldest of them (None: there is none).

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    count = integer(client.command("XLEN", client.keys.history))
    return count, next(_entries(client.command("XRANGE", client.keys.history, "-", "+", "COUNT", 1)), None)


def _entries(reply: Reply) -> Iterator[HistoryEntry]:
    for name, fields in map(pair, items(reply)):
        yield HistoryEntry(text(name), raw(mapping(fields).get("end", b"")))


def _plain(word: str) -> str:
    """Cut a text to its limit, and escape half surrogate pairs, which jobs may hold and UTF-8 cannot encode."""
    return word[:_TEXT_LIMIT].encode("utf-8", "backslashreplace").decode()
