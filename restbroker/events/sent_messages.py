"""Records in Redis the messages that restbroker sends, so that they become no events (`contract.SentMessages`).

`app` makes one for each target, where a source has `DropOwn`; `hear.lua` finds the marks. Always holds: nothing is
connected before the first message; no call waits for Redis for longer than the connection's time-out; a message that
cannot be recorded is sent all the same, with a warning.
"""

from collections.abc import Callable

import attrs

from restbroker.config.events import Events
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.event import mark_of_sent
from restbroker.store import events as store
from restbroker.store.connection import Connection
from restbroker.telemetry.events import OperatorWarning, Report


@attrs.define(eq=False)
class SentMessagesInRedis:
    """The record of sent messages. `window_s`: for how many seconds each is kept.

    `open_connection` makes a connection with a short time-out.
    """

    window_s: float
    open_connection: Callable[[], Connection]
    report: Report
    _connection: Connection | None = None

    async def remember(self, sender: str, receiver: str, body: str) -> None:
        """Note this message in Redis before it is sent; if Redis does not take the note, warn and return."""
        if self._connection is None:
            self._connection = self.open_connection()
        mark, window_ms = mark_of_sent(sender, receiver, body), max(1, round(self.window_s * 1000))
        try:
            await self._connection.call(store.remember, mark, window_ms)
        except (StoreUnavailable, StoreRefused) as error:
            what = f"A sent message may come back as an event: it could not be recorded. {error.message}"
            self.report(OperatorWarning("OwnNotRemembered", what, error.hint))

    async def aclose(self) -> None:
        """Close the connection, if there is one; a later call opens a new one."""
        if self._connection is not None:
            await self._connection.aclose()
            self._connection = None


def sent_messages_of(
    events: Events | None, open_connection: Callable[[], Connection], report: Report
) -> SentMessagesInRedis | None:
    """Return the record for these sources, with the longest of their windows; None if none of them has `DropOwn`."""
    windows_s = [source.own_s for source in (events.sources if events is not None else ()) if source.own_s is not None]
    return SentMessagesInRedis(max(windows_s), open_connection, report) if windows_s else None
