"""The sign of life: one beat for all lanes of a life, which is its right to fetch and to send.

One task per life. Always holds: a beat never re-creates an identity; when Redis no longer knows one (it was fenced, or
Redis came back empty), every lane of this life ends and the process goes on under new identities.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import attrs
import orjson
import trio

from restbroker.broker.lane import Lane
from restbroker.broker.lease import Lease, boot_time_s
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.json_types import Json
from restbroker.store import heartbeats, tokens
from restbroker.store.client import Client
from restbroker.store.connection import Connection

BEAT_S = 2.5
_SECOND_BEAT_S = 0.5


@attrs.define(eq=False)
class Beat:
    """The beat of one life.

    `control` is a connection of its own; `snapshot` describes a lane for `restbroker stats`.
    """

    lanes: Sequence[Lane]
    control: Connection
    lease: Lease
    snapshot: Callable[[Lane], Mapping[str, Json]]
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
        health = self.lanes[0].health
        snapshots = {lane.identity: orjson.dumps(self.snapshot(lane)) for lane in self.lanes}
        pairs = [(lane.identity, self.count) for lane in self.lanes]
        try:
            asked_at_s, alive = await health.insist_on(
                partial(self.control.call, _timed_beat, pairs, snapshots), is_write=True
            )
        except StoreRefused as error:
            # The lease runs out by itself; until then what is sent can be settled once the rights are mended.
            self.lanes[0].complain("BeatRefused", error.message, error.cure)
            return True
        fenced = [lane for lane, lives in zip(self.lanes, alive, strict=True) if not (lives or lane.retired)]
        if not fenced:
            self.lease.confirm(asked_at_s)
            await self._tell_use()
            return True
        for lane in fenced:
            lane.fence()
        for lane in self.lanes:
            lane.fenced.set()
        return False

    async def _tell_use(self) -> None:
        """Write down when tokens were last used, for display; Redis' errors are ignored, since the beat must go on."""
        uses = sorted((at_s, name) for lane in self.lanes for name, at_s in lane.plan.tokens.used.items())
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
