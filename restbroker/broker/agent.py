"""What the agents of one pool share: its parts, its name, its connection, its jobs, and the counts of their crashes.

The poller, the poison detector, the acker and recovery are agents; the pool makes them. Always holds: all agents of a
pool have the same objects; with no crash the counts are empty, and cost a job one look-up.
"""

from collections.abc import Collection, Mapping

import attrs

from restbroker.broker.health import StoreHealth
from restbroker.broker.identity import Identity
from restbroker.broker.job_in_progress import Reservations
from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.broker.target_plan import TargetPlan
from restbroker.job.job import digest
from restbroker.store import heartbeats
from restbroker.store.connection import Connection


@attrs.define(eq=False)
class CrashCounts:
    """In how many crashes each job was in progress, as Redis counts them: one pool's copy, and its version in Redis.

    `counts` is {digest of a job's bytes: count}. Admission adds it to a job's own count of runs, the poison detector
    finds suspects by it, and the acker removes that of each job that is settled.

    `counts` has a second key, "!" and the digest, for each job that a program without high-water marks ran.
    """

    store: Connection
    health: StoreHealth
    counts: Mapping[str, int] = attrs.field(factory=dict)
    version: int = 0

    def of(self, raw: bytes) -> int:
        """Return in how many crashes a job with these bytes was in progress."""
        return self.counts.get(digest(raw), 0)

    async def refresh(self, version: int) -> None:
        """Load the counts from Redis, where they have this version now.

        Wait while Redis is away. Raise `StoreRefused` if Redis refuses the call.
        """
        self.counts = await self.health.call_until_up(self.store, heartbeats.maybe_run)
        self.version = version

    async def load(self) -> None:
        """Load the counts from Redis in one try. Raise `StoreUnavailable` or `StoreRefused` if that fails."""
        self.counts = await self.store.call(heartbeats.maybe_run)

    async def end(self, digests: Collection[str]) -> None:
        """Remove the counts under these digests, here and in Redis.

        Wait while Redis is away. Raise `StoreRefused` if Redis refuses the call.
        """
        self.counts = {name: count for name, count in self.counts.items() if name not in digests}
        await self.health.call_until_up(self.store, heartbeats.forget, sorted(digests))


@attrs.define(eq=False)
class Agent:
    """The base of the agents: what each of them has."""

    plan: TargetPlan
    identity: Identity
    store: Connection
    health: StoreHealth
    reservations: Reservations
    ready: ReadyBuffer
    crashes: CrashCounts
