"""The leases in Redis as a reader uses them: `event_contract.Leases`, for one source, over a connection of its own.

`app` makes one where a source reads streams. Always holds: nothing is connected before the first call; no call waits
for Redis for longer than the connection's time-out.
"""

import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs
import trio

from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store import leases
from restbroker.store.connection import Connection
from restbroker.store.leases import Lease

_ENDING_S: Final = 1.0


@attrs.define(eq=False)
class LeasesInRedis:
    """The `Leases` of the source of this name; `open_connection` makes a connection with a short time-out."""

    source: str
    open_connection: Callable[[], Connection]
    _holder: str = attrs.field(factory=lambda: secrets.token_hex(8))
    _connection: Connection | None = None

    async def hold(self, names: Sequence[str], lease_s: float) -> Mapping[str, Lease]:
        """Take or renew the leases of these names for `lease_s` seconds; return for each whether it is ours now.

        Raise `StoreUnavailable` or `StoreRefused`.
        """
        return await self._connect().call(leases.acquire, self.source, self._holder, round(lease_s * 1000), names)

    async def end(self, names: Sequence[str]) -> None:
        """End the leases of these names, as `Leases.end` promises: never raise, and give up after a second."""
        with trio.move_on_after(_ENDING_S), contextlib.suppress(StoreUnavailable, StoreRefused):
            await self._connect().call(leases.end, self.source, self._holder, names)

    async def aclose(self) -> None:
        """Close the connection, if there is one; a later call opens a new one."""
        if self._connection is not None:
            await self._connection.aclose()
            self._connection = None

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = self.open_connection()
        return self._connection
