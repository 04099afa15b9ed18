"""Writes executions where the Metrics page of Sidekiq Web looks for them; called with the process's record.

Always holds: what Redis cannot take now is refused as a whole, and everything expires. For display: a full Redis
refuses it. Sidekiq 6.5 to 7 and 8 read other keys, so both are written; versions up to 6.4 have no such page.
"""

from collections.abc import Sequence

from restbroker.store.client import Argument, Client
from restbroker.store.keys import Keys
from restbroker.telemetry.executions import Executions

# As Sidekiq has them. A histogram's key names the day of the month only: it must be gone when that day comes again.
_MINUTE_TTL_S = 8 * 60 * 60
_TEN_MINUTES_TTL_S = 3 * 24 * 60 * 60


def add(client: Client, executions: Sequence[Executions]) -> None:
    """Add these executions to what this and other processes wrote. Not idempotent.

    Raise `StoreUnavailable`: nothing was added (unless only the answer was lost), so it may be tried again. Raise
    `StoreRefused`: a key has a wrong type, or the Redis user lacks a right; the rest may have been added, and another
    try would count that twice.
    """
    if executions:
        keys = client.keys
        client.transaction([command for one in executions for command in (*_counts(keys, one), *_times(keys, one))])


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
