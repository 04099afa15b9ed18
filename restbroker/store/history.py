"""How jobs ended that are nowhere any more, as a stream: what was delivered, and what vanished as it asked itself.

Written by `finish.lua`, together with the settlement, where `History` asks for it; read by `operate.explain`. Always
holds: the stream is bounded by time and by count; it has neither arguments nor a token.
"""

from collections.abc import Iterator, Sequence

import attrs
import orjson

from restbroker.store.client import Client
from restbroker.store.replies import Reply, integer, items, mapping, pair, raw, text

_TEXT_LIMIT = 200


@attrs.frozen
class JobEnd:
    """How a job ended. `outcome` is what the target said last, `code` why it was not delivered; `status` None: none."""

    jid: str
    target: str
    command: str
    outcome: str
    status: int | None
    took_ms: float
    code: str | None = None


@attrs.frozen
class Records:
    """What `finish` is to write of the jobs that it settles: one for each, in their order; empty: nothing of this one.

    `keep_ms`: for how long.
    """

    keep_ms: int
    each: Sequence[bytes]


@attrs.frozen
class Entry:
    """A record as it lies there. `name` is its place in the stream: milliseconds of Redis' clock, a number."""

    name: str
    record: bytes

    @property
    def at_s(self) -> float:
        """When the job was settled, by Redis' clock (epoch seconds)."""
        return int(self.name.partition("-")[0]) / 1000


def to_record(ending: JobEnd) -> bytes:
    """The record of it."""
    words = (_plain(word) for word in (ending.jid, ending.target, ending.command, ending.outcome))
    code = None if ending.code is None else _plain(ending.code)
    return orjson.dumps([*words, ending.status, round(ending.took_ms, 1), code])


def read(record: bytes) -> JobEnd | None:
    """What was written; None: somebody else wrote it. A later version may have added to its end."""
    try:
        jid, target, command, outcome, status, took_ms, code, *_ = orjson.loads(record)
    except (ValueError, TypeError):
        return None
    words = all(isinstance(word, str) for word in (jid, target, command, outcome))
    numbers = isinstance(status, int | None) and isinstance(took_ms, int | float)
    if not words or not numbers or not isinstance(code, str | None):
        return None
    return JobEnd(jid, target, command, outcome=outcome, status=status, took_ms=float(took_ms), code=code)


def newest(client: Client, count: int, before: str = "") -> list[Entry]:
    """The `count` newest records, of those older than the entry `before` if one is given; newest first."""
    end = f"({before}" if before else "+"
    return list(_entries(client.command("XREVRANGE", client.keys.history, end, "-", "COUNT", count)))


def extent(client: Client) -> tuple[int, Entry | None]:
    """How many records are kept, and the oldest of them."""
    count = integer(client.command("XLEN", client.keys.history))
    return count, next(_entries(client.command("XRANGE", client.keys.history, "-", "+", "COUNT", 1)), None)


def _entries(reply: Reply) -> Iterator[Entry]:
    for name, fields in map(pair, items(reply)):
        yield Entry(text(name), raw(mapping(fields).get("end", b"")))


def _plain(word: str) -> str:
    """Half surrogate pairs, which jobs may hold, cannot be encoded."""
    return word[:_TEXT_LIMIT].encode("utf-8", "backslashreplace").decode()
