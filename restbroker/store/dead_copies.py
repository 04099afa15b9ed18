"""Copies of dead jobs, in case the dead set is trimmed. Used by `operate`.

Any Ruby process on the same Redis trims the dead set to its own limits (9,999 jobs and 180 days in Sidekiq 5 to 8), so
that a flood of dead jobs pushes older ones out. Always holds: the stream keeps the last 100,000 or so; a copy that
the dead set lacks does not say why: a person may as well have retried or deleted the job.
"""

from restbroker.light import frozen
from restbroker.store.client import Client, as_score, items, mapping, pair, raw, text
from restbroker.store.server import time_s
from restbroker.store.tickets import MAX_BYTES


@frozen
class DeadCopy:
    """A copy of a dead job. `entry` is its id in the stream: milliseconds of Redis' clock, "-", and a number."""

    entry: str
    payload: bytes

    @property
    def at_s(self) -> float:
        """The time when the job died, by Redis' clock (epoch seconds)."""
        return int(self.entry.partition("-")[0]) / 1000


def newest(client: Client, count: int, before: str = "") -> list[DeadCopy]:
    """Return the `count` newest copies, newest first; with `before`, only those older than the entry of that name.

    There are fewer at the end, and if they have `MAX_BYTES` together; at least one, unless there is none. Raise
    `StoreUnavailable` or `StoreRefused`.
    """
    reply = client.run("copies", [client.keys.dead_copies], [f"({before}" if before else "+", count, MAX_BYTES])
    found = [pair(entry) for entry in items(reply)]
    return [DeadCopy(text(entry), raw(mapping(fields).get("payload", b""))) for entry, fields in found]


def restore(client: Client, copy: DeadCopy) -> bool:
    """Put a copy back into the dead set, with the present time, or it would be trimmed again. False: it is there.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    return client.command("ZADD", client.keys.sorted_set("dead"), "NX", as_score(time_s(client)), copy.payload) == 1
