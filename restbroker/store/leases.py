"""Who does what, of several processes: leases by names, which end by themselves. The reader of streams uses them.

Always holds: of one name at most one holder is told that it is his, by Redis' clock; a lost answer leaves nothing that
does not end by itself; a full Redis grants leases too. A lease is no fence by itself: whoever was suspended has to look
at his own clock before he acts, and to `end` what he lost, so that who has it by then learns that somebody was late.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import attrs

from restbroker.store.client import Client
from restbroker.store.replies import integer, items


@attrs.frozen
class LeaseHeld:
    """The caller's, from the question on. `late`: how often somebody who had lost it may have acted; it only rises."""

    late: int = 0


@attrs.frozen
class LeaseTaken:
    """Another's, for so long at most, unless he renews it."""

    left_ms: int


Lease: TypeAlias = LeaseHeld | LeaseTaken


def acquire(client: Client, group: str, holder: str, lease_ms: int, names: Sequence[str]) -> Mapping[str, Lease]:
    """Takes or renews the lease of each name of this group. `holder` is new for each process.

    Raises `StoreUnavailable`: some may be the holder's.
    """
    if not names:
        return {}
    replies = items(client.run("lease", [client.keys.sse(group)], [holder, max(1, lease_ms), *names]), len(names))
    return {name: _lease(integer(reply)) for name, reply in zip(names, replies, strict=False)}


def end(client: Client, group: str, holder: str, names: Sequence[str]) -> int:
    """Ends those that are the holder's still, so that others need not wait; how many these were.

    Who has one of the others learns that somebody was late. Raises `StoreUnavailable`: some may have ended.
    """
    return integer(client.run("unlease", [client.keys.sse(group)], [holder, *names])) if names else 0


def _lease(code: int) -> Lease:
    return LeaseHeld(code - 1) if code > 0 else LeaseTaken(-code)
