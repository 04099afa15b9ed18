"""How jobs ended that are in Redis no more, as a stream: those delivered, and those dropped (`"dead": false`, expired).

Written by `finish.lua` and `done.lua`, together with the settlement, where `History` asks for it; read by
`operate.explain`. Always holds: the stream is bounded by time and by count; it has no token, and only arguments that
`HistoryArguments` names.
"""

from collections.abc import Iterator, Mapping, Sequence

import orjson

from restbroker.light import frozen, frozen_plain
from restbroker.store.client import Client, Reply, integer, items, mapping, pair, raw, text

_TEXT_LIMIT = 200
_LONGEST_MS = 10**13
_MORE = 7
_MOST_FAILED = 10
"""So many values follow the code: what was unmet, the times, and arguments."""


@frozen_plain
class JobTimes:
    """When things happened to a job: milliseconds before it was settled; None: unknown, or it did not happen.

    `pushed_ms`: by its producer's clock. `fetched_ms`: taken up by a worker for the last try. `answered_ms`: the end of
    its last request, which began `took_ms` earlier; None: it was not sent. `tries`: how often it was tried.
    `failed_ms`: the ends of its earlier tries, as far as the job had them, oldest first.
    """

    pushed_ms: int | None = None
    fetched_ms: int | None = None
    answered_ms: int | None = None
    tries: int = 1
    failed_ms: tuple[int, ...] = ()


@frozen_plain
class JobEnd:
    """How a job ended. `outcome` is what the target said last, `code` why it was not delivered; `status` None: none.

    `unmet`: what it asked for and did not get; None: nothing. `arguments`: those that are kept, masked, by name.
    """

    jid: str
    target: str
    command: str
    outcome: str
    status: int | None
    took_ms: float
    code: str | None = None
    unmet: str | None = None
    times: JobTimes = JobTimes()
    arguments: Mapping[str, str] = {}


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
    words = map(_plain, (ending.jid, ending.target, ending.command, ending.outcome))
    code = None if ending.code is None else _plain(ending.code)
    unmet, times = None if ending.unmet is None else _plain(ending.unmet), ending.times
    when = (times.pushed_ms, times.fetched_ms, times.answered_ms, times.tries, times.failed_ms)
    more = ({_plain(name): _plain(value) for name, value in ending.arguments.items()},) if ending.arguments else ()
    return orjson.dumps([*words, ending.status, round(ending.took_ms, 1), code, unmet, *when, *more])


def read(record: bytes) -> JobEnd | None:
    """Return how a job ended, from its record; None if restbroker did not write it.

    A later version may have added to the end of a record: that is left out. An earlier one wrote less.
    """
    try:
        jid, target, command, outcome, status, took_ms, code, *more = orjson.loads(record)
    except (ValueError, TypeError):
        return None
    words = all(isinstance(word, str) for word in (jid, target, command, outcome))
    numbers = isinstance(status, int | None) and isinstance(took_ms, int | float)
    if not words or not numbers or not isinstance(code, str | None):
        return None
    unmet, *times, kept = [*more, *[None] * _MORE][:_MORE]
    return JobEnd(
        jid,
        target,
        command,
        outcome=outcome,
        status=status,
        took_ms=float(took_ms),
        code=code,
        unmet=unmet if isinstance(unmet, str) else None,
        times=_times(*times),
        arguments=_texts(kept),
    )


def _times(pushed: object, fetched: object, answered: object, tries: object, failed: object) -> JobTimes:
    """Return the times at the end of a record, those that are none as None."""
    ends = map(_ms, failed[:_MOST_FAILED] if isinstance(failed, list) else ())
    failed_ms = tuple([ms for ms in ends if ms is not None])
    return JobTimes(_ms(pushed), _ms(fetched), _ms(answered), tries=_ms(tries) or 1, failed_ms=failed_ms)


def _texts(kept: object) -> dict[str, str]:
    """Return the arguments of a record, by name; those that are no texts are left out."""
    return {name: value for name, value in kept.items() if isinstance(value, str)} if isinstance(kept, dict) else {}


def _ms(value: object) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < _LONGEST_MS else None


def newest(client: Client, count: int, before: str = "") -> list[HistoryEntry]:
    """Return the `count` newest records, newest first; with `before`, only those older than the entry of that name.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    end = f"({before}" if before else "+"
    return list(_entries(client.command("XREVRANGE", client.keys.history, end, "-", "COUNT", count)))


def pieces(client: Client, count: int, before: str = "") -> Iterator[list[HistoryEntry]]:
    """Yield the records as `newest` does, `count` at once, down to the oldest."""
    while piece := newest(client, count, before):
        yield piece
        before = piece[-1].name


def newer(client: Client, count: int, after: str) -> list[HistoryEntry]:
    """Return the `count` records next after the entry of that name, oldest first.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    return list(_entries(client.command("XRANGE", client.keys.history, f"({after}", "+", "COUNT", count)))


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
    if len(word) <= _TEXT_LIMIT and word.isascii():
        return word  # as nearly all are
    return word[:_TEXT_LIMIT].encode("utf-8", "backslashreplace").decode()
