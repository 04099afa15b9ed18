"""The dead jobs that no token admitted, and those of events that became commands, counted by themselves.

Whoever may push to one queue, or post an event, must stop no other.

Used by `broker.upkeep`, `operate` and through `store.settling`. Always holds: they do not count towards `DeadLimit`; a
queue with `MOST` of them is paused by restbroker, and goes on once there are fewer. Since people and Sidekiq's pages
delete dead jobs without a word, they are counted anew before such a pause, every ten seconds while it lasts, and while
the dead set has as many jobs as `DeadLimit` says; in a large one more rarely.
"""

import time
from collections import Counter
from typing import Final

from restbroker.store.client import Argument, Client, Reply, integer, items, mapping, names, raw, text
from restbroker.store.pauses import format_note
from restbroker.store.sets import size

MOST: Final = 10_000
WHO: Final = "restbroker"
"""Who pauses a queue with too many of them."""
WHY: Final = f"{MOST:,} of its dead jobs came from events or without a right token; without them it goes on by itself"
_EVERY_MS: Final = 10_000
_REST: Final = 10
"""So many times as long as a count took the next one waits at least."""
_PAGE_BYTES: Final = 1_048_576
_LEASE: Final = "unadmitted jobs"
"""No target's name has a blank."""


def total(client: Client) -> int:
    """Return how many of them there are, as counted last. Raise `StoreUnavailable` or `StoreRefused`."""
    return sum(map(integer, items(client.command("HVALS", client.keys.unadmitted_counts))))


def pause_flooded(client: Client, dead_limit: int) -> frozenset[str]:
    """Count them anew if it is time to, pause the queues with too many, and return those that were not paused before.

    `dead_limit`: 0 for none. Raise `StoreUnavailable` or `StoreRefused`; the next call is right.
    """
    keys = client.keys
    before = {
        queue: integer(count) for queue, count in mapping(client.command("HGETALL", keys.unadmitted_counts)).items()
    }
    is_due = before and (max(before.values()) >= MOST or 0 < dead_limit <= size(client, "dead"))
    if not is_due or client.command("SET", keys.lease(_LEASE), 1, "NX", "PX", _EVERY_MS) is None:
        return frozenset()
    began_s = time.monotonic()
    found = _count(client)
    # A count of a million jobs takes seconds of Redis, of whose time all counts may have a tenth.
    every_ms = max(_EVERY_MS, int((time.monotonic() - began_s) * 1000) * _REST)
    client.command("SET", keys.lease(_LEASE), 1, "PX", every_ms)
    arguments: list[Argument] = [MOST, 3_000 * every_ms, format_note(WHO, WHY)]
    for queue in before.keys() | found.keys():
        arguments += [queue, found[queue], before.get(queue, 0)]
    return names(
        client.run("unadmitted_pause", [keys.unadmitted_counts, keys.paused_queues, keys.queue_pauses], arguments)
    )


def _count(client: Client) -> Counter[str]:
    found = Counter[str]()
    cursor: Reply = b"0"
    while True:
        arguments: list[Argument] = [raw(cursor), _PAGE_BYTES]
        cursor, page = items(client.run("unadmitted_count", [client.keys.sorted_set("dead")], arguments), 2)
        found.update(map(text, items(page)))
        if cursor == b"0":
            return found
