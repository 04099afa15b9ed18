"""Writes executions where the Metrics page of Sidekiq Web looks for them, and reads them back for the pages.

`add` is called with the process's record, `read` by `operate.history`.

Always holds: what Redis cannot take now is refused as a whole, and everything expires. For display: a full Redis
refuses it. Sidekiq 6.5 to 7 and 8 read other keys, so both are written; versions up to 6.4 have no such page.
"""

import struct
from collections import Counter
from collections.abc import Mapping, Sequence

import attrs

from restbroker.store.client import Client
from restbroker.store.keys import Keys
from restbroker.store.replies import Argument, Reply, mapping
from restbroker.telemetry.executions import BUCKETS, Executions

# As Sidekiq has them. A histogram's key names the day of the month only: it must be gone when that day comes again.
_MINUTE_TTL_S = 8 * 60 * 60
_TEN_MINUTES_TTL_S = 3 * 24 * 60 * 60
_TIMED_COMMANDS = 16
"""The number of commands of a minute, the most frequent ones, whose times are read."""
_MOST_DIGITS = 20
_HISTOGRAM = struct.Struct(f">{BUCKETS}H")


@attrs.frozen
class Minute:
    """What all commands together did within the minute that began at `minute_s` (epoch seconds).

    `processed` includes `failed`; `histogram` has the times of the others.
    """

    minute_s: int
    processed: int = 0
    failed: int = 0
    histogram: tuple[int, ...] = (0,) * BUCKETS


def add(client: Client, executions: Sequence[Executions]) -> None:
    """Add these executions to what this and other processes wrote. Not idempotent.

    Raise `StoreUnavailable`: nothing was added (unless only the answer was lost), so it may be tried again. Raise
    `StoreRefused`: a key has a wrong type, or the Redis user lacks a right; the rest may have been added, and another
    try would count that twice.
    """
    if executions:
        keys = client.keys
        client.transaction([command for one in executions for command in (*_counts(keys, one), *_times(keys, one))])


def read(client: Client, minutes_s: Sequence[int]) -> list[Minute]:
    """Return the executions of all processes in the minutes that begin at these times (epoch seconds).

    This takes two round trips. Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    replies = client.commands([("HGETALL", keys.executions_8(minute_s)) for minute_s in minutes_s])
    counted = [(minute_s, _by_field(mapping(reply))) for minute_s, reply in zip(minutes_s, replies, strict=True)]
    wanted = [
        (minute_s, command)
        for minute_s, fields in counted
        for command, _ in fields.get("p", Counter()).most_common(_TIMED_COMMANDS)
    ]
    times = client.commands([("GET", keys.histogram_8(command, minute_s)) for minute_s, command in wanted])
    sums: dict[int, list[int]] = {}
    for (minute_s, _), reply in zip(wanted, times, strict=True):
        before = sums.get(minute_s, [0] * BUCKETS)
        sums[minute_s] = [mine + more for mine, more in zip(before, _histogram(reply), strict=True)]
    return [
        Minute(
            minute_s,
            fields.get("p", Counter()).total(),
            fields.get("f", Counter()).total(),
            tuple(sums.get(minute_s, Minute(0).histogram)),
        )
        for minute_s, fields in counted
    ]


def _by_field(found: Mapping[str, bytes]) -> dict[str, Counter[str]]:
    """Return field → command → number: `add|p` is how often `add` was processed.

    What is no such number is left out: other programs write there too.
    """
    fields: dict[str, Counter[str]] = {}
    for name, value in found.items():
        command, _, field = name.rpartition("|")
        if value.isdigit() and len(value) < _MOST_DIGITS:
            fields.setdefault(field, Counter())[command] += int(value)
    return fields


def _histogram(reply: Reply) -> tuple[int, ...]:
    written = reply if isinstance(reply, bytes) else b""
    return _HISTOGRAM.unpack(written[: _HISTOGRAM.size].ljust(_HISTOGRAM.size, b"\0"))


def _counts(keys: Keys, one: Executions) -> list[Sequence[Argument]]:
    fields = [(field, number) for field, number in (("p", one.total), ("f", one.failed)) if number]
    if one.total > one.failed:
        # Of failures alone Sidekiq writes no time either: a mean over no successes is no number. Less than 1 ms is 0.
        fields.append(("ms", round(one.times.total_s * 1000)))
    hashes = (
        (keys.executions_7(one.minute_s), _MINUTE_TTL_S),
        (keys.executions_8(one.minute_s), _MINUTE_TTL_S),
        (keys.ten_minutes_8(one.minute_s), _TEN_MINUTES_TTL_S),
    )
    commands: list[Sequence[Argument]] = []
    for key, ttl_s in hashes:
        commands += [("HINCRBY", key, f"{one.command}|{field}", number) for field, number in fields]
        commands.append(("EXPIRE", key, ttl_s))
    return commands


def _times(keys: Keys, one: Executions) -> list[Sequence[Argument]]:
    # Numbers of 16 bits, the first at #0. They stop at 65,535: a process can do more of one command within a minute, so
    # the histogram may fall short of the counts.
    added = [
        word
        for place, number in enumerate(one.times.counts)
        if number
        for word in ("INCRBY", "u16", f"#{place}", number)
    ]
    if not added:
        return []
    commands: list[Sequence[Argument]] = []
    for key in (keys.histogram_7(one.command, one.minute_s), keys.histogram_8(one.command, one.minute_s)):
        commands += [("BITFIELD", key, "OVERFLOW", "SAT", *added), ("EXPIRE", key, _MINUTE_TTL_S)]
    return commands
