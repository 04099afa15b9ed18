"""In how many crashes each job was in progress, as Redis counts them: {digest of its bytes: count}.

The processor adds them to a job's own count of runs, the poison detector finds suspects by them, and the acker ends the
count of what is settled. Always holds: nearly always it is empty, and then a job pays for one look at it.
"""

from collections.abc import Collection, Mapping

import attrs

from restbroker.broker.health import StoreHealth
from restbroker.job.job import digest
from restbroker.store import heartbeats
from restbroker.store.connection import Connection


@attrs.define(eq=False)
class CrashCounts:
    """The counts as one pool knows them; `counts` has "!" and the digest too for what a program without marks ran."""

    store: Connection
    health: StoreHealth
    counts: Mapping[str, int] = attrs.field(factory=dict)
    version: int = 0

    def of(self, raw: bytes) -> int:
        """Return in how many crashes a job with these bytes was in progress."""
        return self.counts.get(digest(raw), 0)

    async def refresh(self, version: int) -> None:
        """Load the counts of this version. Wait while Redis is away; raise `StoreRefused`."""
        self.counts = await self.health.call_until_up(self.store, heartbeats.maybe_run)
        self.version = version

    async def load(self) -> None:
        """Load the counts, no matter what is known; raise `StoreUnavailable` or `StoreRefused`."""
        self.counts = await self.store.call(heartbeats.maybe_run)

    async def end(self, digests: Collection[str]) -> None:
        """End these counts, here and in Redis. Wait while Redis is away; raise `StoreRefused`."""
        self.counts = {name: count for name, count in self.counts.items() if name not in digests}
        await self.health.call_until_up(self.store, heartbeats.forget, sorted(digests))
