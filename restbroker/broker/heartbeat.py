"""The sign of life: one heartbeat for all pools of a generation, which is its right to fetch and to send.

One task per generation. Always holds: a heartbeat never re-creates an identity; when Redis no longer knows one (it was
fenced, or Redis came back empty), every pool of this generation ends and the process goes on under new identities.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import orjson
import trio

from restbroker.broker.health import Lease, StoreHealth, boot_time_s
from restbroker.broker.identity import Identity
from restbroker.broker.tokens import Tokens
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.json_types import Json
from restbroker.light import define, field, frozen
from restbroker.store import heartbeats, records
from restbroker.store.client import Client
from restbroker.store.connection import Connection

HEARTBEAT_S = 2.5
_SECOND_HEARTBEAT_S = 0.5
_SHOWN_EACH = 2
"""A snapshot that has not changed is written with every second heartbeat: for each target it costs Redis a write."""


@frozen
class Member:
    """A pool as its heartbeat knows it. `snapshot` describes it for `restbroker stats`."""

    identity: Identity
    tokens: Tokens
    snapshot: Callable[[], Mapping[str, Json]]


@define(eq=False)
class Heartbeat:
    """The heartbeat of one generation. `control` is a connection of its own."""

    members: Sequence[Member]
    control: Connection
    health: StoreHealth
    lease: Lease
    count: int = 0
    _shown: dict[str, bytes] = field(factory=dict)
    _remembered: Mapping[str, float] = field(factory=dict)

    async def run(self) -> None:
        """Beat until cancelled or fenced."""
        while True:
            if not await self._once():
                return
            # The second one comes early: by then the target has been probed, and `stats` can show it.
            await trio.sleep(HEARTBEAT_S if self.count > 1 else _SECOND_HEARTBEAT_S)

    async def _once(self) -> bool:
        self.count += 1
        identities = [member.identity for member in self.members]
        snapshots = self._snapshots()
        pairs = [(identity.name, self.count) for identity in identities]
        try:
            sent_at_s, alive = await self.health.await_until_up(
                partial(self.control.call, _timed_heartbeat, pairs, snapshots), is_write=True
            )
        except StoreRefused as error:
            # The lease runs out by itself; until then what is sent can be settled once the rights are repaired.
            identities[0].warn_once("BeatRefused", error.message, error.hint)
            return True
        fenced = [ours for ours, lives in zip(identities, alive, strict=True) if not (lives or ours.is_retired)]
        if not fenced:
            self.lease.confirm(sent_at_s)
            await self._remember_use()
            return True
        for identity in fenced:
            identity.fence()
        for identity in identities:
            identity.fenced.set()
        return False

    def _snapshots(self) -> Mapping[str, bytes]:
        """Return what is to be written of the pools, by their names."""
        found = {member.identity.name: orjson.dumps(member.snapshot()) for member in self.members}
        if self.count % _SHOWN_EACH:
            found = {name: shown for name, shown in found.items() if shown != self._shown.get(name)}
        self._shown |= found
        return found

    async def _remember_use(self) -> None:
        """Write down when tokens were last used, for display; Redis' errors are ignored, since it must go on."""
        uses = sorted((at_s, name) for member in self.members for name, at_s in member.tokens.used.items())
        used = {name: at_s for at_s, name in uses}  # the latest of each
        if used == self._remembered:
            return
        with suppress(StoreUnavailable, StoreRefused):
            await self.control.call(records.write_token_uses, used)
            self._remembered = used


def _timed_heartbeat(
    client: Client, pairs: Sequence[tuple[str, int]], snapshots: Mapping[str, bytes]
) -> tuple[float, list[bool]]:
    """Write a heartbeat; return when it was sent (boot time in seconds), and for each identity whether it lives.

    Each try takes the time again, or the first one after an outage would be too old.
    """
    sent_at_s = boot_time_s()
    return sent_at_s, heartbeats.write_heartbeats(client, pairs, snapshots)
