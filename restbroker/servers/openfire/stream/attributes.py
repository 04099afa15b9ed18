"""The attributes of a user's stream that people see. Each `listener` has one, and `events.in_redis` calls it.

Always holds: of the login's id, which is as good as a password, only the end leaves the process.
"""

from typing import Final

import attrs

from restbroker.servers.event_contract import StreamInfo
from restbroker.transport.stream import EventStream

_SHOWN: Final = 3
_HIDDEN: Final = 6
"""The least number of an id's characters that are not shown."""


@attrs.define(eq=False)
class StreamAttributes:
    """The facts about the stream that was opened last. Times are epoch seconds."""

    event_s: float = 0.0
    _login: str = ""
    _opened_s: float = 0.0
    _stream: EventStream | None = attrs.field(default=None, repr=False)

    def note_opened(self, stream: EventStream, login: str, now_s: float) -> None:
        """Note that this stream is open, under the login of this id; "" if it has none."""
        self._stream, self._login, self._opened_s = stream, _end_of(login), now_s

    def note_ended(self) -> None:
        """Note that there is no stream any more, and no login."""
        self._stream, self._login, self._opened_s = None, "", 0.0

    def __call__(self) -> StreamInfo:
        """Return the facts as they are now."""
        heartbeat_s = 0.0 if self._stream is None else self._stream.heartbeat_s
        return StreamInfo(self._login, self._opened_s, self.event_s, heartbeat_s)


def _end_of(login: str) -> str:
    shown = max(0, min(_SHOWN, len(login) - _HIDDEN))
    return f"…{login[len(login) - shown :]}" if login else ""
