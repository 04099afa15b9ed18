"""Up to when each reader of a source has all events in Redis, so that the others can say what a dead one lost.

Used by `events.in_redis`. Always holds: a reader writes its own entry alone; of several that find an ended one, one
takes it. A lost write is made up for by the next.
"""

from collections.abc import Mapping
from typing import Final

from restbroker.store.client import Client, integer, mapping

_KEPT_S: Final = 30 * 86_400


def write(client: Client, source: str, reader: str, entry: str) -> Mapping[str, bytes]:
    """Write the reader's entry, which counts for 30 days, and return those of all readers of the source, its own too.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    key = client.keys.progress(source)
    calls = [("HSET", key, reader, entry), ("EXPIRE", key, _KEPT_S), ("HGETALL", key)]
    return mapping(client.transaction(calls)[-1])


def read(client: Client, source: str) -> Mapping[str, bytes]:
    """Return the entries of all readers of the source. Raise as `write` does."""
    return mapping(client.command("HGETALL", client.keys.progress(source)))


def take(client: Client, source: str, reader: str) -> bool:
    """Remove the entry of a reader that has ended; tell whether it was there. Raise as `write` does."""
    return integer(client.command("HDEL", client.keys.progress(source), reader)) == 1
