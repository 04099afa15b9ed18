"""The sign of life: one beat for all pools of a life, which is its right to fetch and to send.

One task per life. Always holds: a beat never re-creates an identity; when Redis no longer knows one (it was fenced, or
Redis came back empty), every pool of this life ends and the process goes on under new identities.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import attrs
import orjson
import trio

from restbroker.broker.lease import Lease, boot_time_s
from restbroker.broker.worker_pool import WorkerPool
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.json_types import Json
from restbroker.store import heartbeats, tokens
from restbroker.store.client import Client
from restbroker.store.connection import Connection

BEAT_S = 2.5
_SECOND_BEAT_S = 0.5


@attrs.define(eq=False)
class Heartbeat:
    """The beat of one life.

    `control` is a connection of its own; `snapshot` describes a pool for `restbroker stats`.
    """

    pools: Sequence[WorkerPool]
    control: Connection
    lease: Lease
    snapshot: Callable[[WorkerPool], Mapping[str, Json]]
    count: int = 0
    _told: Mapping[str, float] = attrs.field(factory=dict)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Beat until cancelled or fenced; call `task_status.started()` once the first beat is confirmed.

        If it is fenced before that, `started()` is called at the end.
        """
        while await self._once():
            if self.lease.granted.is_set():
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
            # The second beat comes early: by then the target has been asked, and `stats` can show it.
            await trio.sleep(BEAT_S if self.count > 1 else _SECOND_BEAT_S)
        task_status.started()

    async def _once(self) -> bool:
        self.count += 1
        health = self.pools[0].health
        snapshots = {pool.identity: orjson.dumps(self.snapshot(pool)) for pool in self.pools}
        pairs = [(pool.identity, self.count) for pool in self.pools]
        try:
            asked_at_s, alive = await health.insist_on(
                partial(self.control.call, _timed_beat, pairs, snapshots), is_write=True
            )
        except StoreRefused as error:
            # The lease runs out by itself; until then what is sent can be settled once the rights are mended.
            self.pools[0].complain("BeatRefused", error.message, error.cure)
            return True
        fenced = [pool for pool, lives in zip(self.pools, alive, strict=True) if not (lives or pool.retired)]
        if not fenced:
            self.lease.confirm(asked_at_s)
            await self._tell_use()
            return True
        for pool in fenced:
            pool.fence()
        for pool in self.pools:
            pool.fenced.set()
        return False

    async def _tell_use(self) -> None:
        """Write down when tokens were last used, for display; Redis' errors are ignored, since the beat must go on."""
        uses = sorted((at_s, name) for pool in self.pools for name, at_s in pool.plan.tokens.used.items())
        used = {name: at_s for at_s, name in uses}  # the latest of each
        if used == self._told:
            return
        with suppress(StoreUnavailable, StoreRefused):
            await self.control.call(tokens.remember, used)
            self._told = used


def _timed_beat(
    client: Client, pairs: Sequence[tuple[str, int]], snapshots: Mapping[str, bytes]
) -> tuple[float, list[bool]]:
    """Write a beat; return when it was sent (boot time in seconds), and for each identity whether it lives.

    Each try takes the time again, or the first beat after an outage would be too old.
    """
    asked_at_s = boot_time_s()
    return asked_at_s, heartbeats.beat(client, pairs, snapshots)
