"""Leases by name, so that one of several processes does a task; they end by themselves. Used by the reader of streams.

Always holds: for each name at most one holder learns that it has the lease, by Redis' clock; a lost answer leaves
nothing that does not end by itself; a full Redis grants leases too. A lease is no fence by itself: a holder that was
suspended has to check its own clock before it acts, and to `end` what it lost, so that the new holder learns that the
old one may have acted late.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from restbroker.light import field, frozen
from restbroker.store.client import Client, integer, items


@frozen
class LeaseHeld:
    """The caller has the lease, from its call on. `late`: how often a former holder may have acted; it only rises.

    `lost_ms`: when the former holder was last known to have it (epoch milliseconds, by Redis' clock), if that one let
    it run out, as one that was killed; else 0.
    """

    late: int = 0
    lost_ms: int = field(default=0, eq=False)


@frozen
class LeaseTaken:
    """Another holder has the lease, for `remaining_ms` milliseconds at most, unless it renews it."""

    remaining_ms: int


Lease: TypeAlias = LeaseHeld | LeaseTaken


def acquire(client: Client, group: str, holder: str, lease_ms: int, names: Sequence[str]) -> Mapping[str, Lease]:
    """Take or renew the lease of each name of this group, for `lease_ms` milliseconds, and return who has each.

    `holder` is new for each process. Raise `StoreUnavailable`: some may be the holder's.
    """
    return acquire_in(client, client.keys.sse(group), holder, lease_ms, names)


def acquire_in(client: Client, key: str, holder: str, lease_ms: int, names: Sequence[str]) -> Mapping[str, Lease]:
    """Take or renew the leases of these names in the hash `key`, as `acquire` does."""
    if not names:
        return {}
    replies = items(client.run("lease", [key], [holder, max(1, lease_ms), *names]), 2 * len(names))
    codes = [integer(reply) for reply in replies]
    return {name: _lease(*found) for name, *found in zip(names, codes[::2], codes[1::2], strict=False)}


def end(client: Client, group: str, holder: str, names: Sequence[str]) -> int:
    """End those leases that the holder still has, so that others need not wait, and return how many these were.

    The holders of the others learn that this one may have acted late. Raise `StoreUnavailable`: some may have ended.
    """
    return integer(client.run("unlease", [client.keys.sse(group)], [holder, *names])) if names else 0


def _lease(code: int, lost_ms: int) -> Lease:
    return LeaseHeld(code - 1, lost_ms) if code > 0 else LeaseTaken(-code)
