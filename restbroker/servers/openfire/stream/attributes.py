"""What is known of a user's stream, for whoever looks at it. Each `listener` has one, and `events.states` asks it.

Always holds: of the login's id, which is as good as a password, no more than the end leaves the process.
"""

from typing import Final

import attrs

from restbroker.servers.event_contract import StreamFacts
from restbroker.transport.stream import EventStream

_SHOWN: Final = 3
_HIDDEN: Final = 6
"""At least so many characters of an id are not shown."""


@attrs.define(eq=False)
class StreamAttributes:
    """Of the stream that was opened last. Times are epoch seconds."""

    event_s: float = 0.0
    _login: str = ""
    _opened_s: float = 0.0
    _stream: EventStream | None = attrs.field(default=None, repr=False)

    def note_opened(self, stream: EventStream, login: str, now_s: float) -> None:
        """This one, under the login of this id; "": without one."""
        self._stream, self._login, self._opened_s = stream, _end_of(login), now_s

    def note_ended(self) -> None:
        """There is no stream any more, and no login."""
        self._stream, self._login, self._opened_s = None, "", 0.0

    def __call__(self) -> StreamFacts:
        """As they are now."""
        heartbeat_s = 0.0 if self._stream is None else self._stream.heartbeat_s
        return StreamFacts(self._login, self._opened_s, self.event_s, heartbeat_s)


def _end_of(login: str) -> str:
    shown = max(0, min(_SHOWN, len(login) - _HIDDEN))
    return f"…{login[len(login) - shown :]}" if login else ""
