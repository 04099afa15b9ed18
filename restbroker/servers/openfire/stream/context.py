"""What all listeners of a source share, with the buffer of the events of all its streams that wait for Redis.

Made by `reader`, which takes the events out, and passed to each `listener`, which puts them in. Always holds: there is
one for each source.
"""

import math
import time
from collections.abc import Callable
from typing import Final

import attrs
import trio

from restbroker.config.target import Target
from restbroker.servers.offers import EventBuffer
from restbroker.servers.openfire.chat.logins import SharedLogins
from restbroker.servers.openfire.stream.options import Options
from restbroker.servers.reports import SourceReports

QUIET_S: Final = 600.0
"""The seconds without an event after which the stream is reopened.

Another reader may have taken it, which the server does not tell.
"""


def _channel() -> tuple[trio.MemorySendChannel[tuple[str, str]], trio.MemoryReceiveChannel[tuple[str, str]]]:
    # No one comes into a room while Redis is away, so that few are told to leave one.
    return trio.open_memory_channel(math.inf)


@attrs.define(eq=False)
class ListenerContext:
    """The objects that the listeners of one source share."""

    source: str
    settings: Options
    target: Target
    logins: SharedLogins
    buffer: EventBuffer
    reports: SourceReports
    now_s: Callable[[], float] = time.time
    quiet_s: float = QUIET_S
    expulsions: tuple[trio.MemorySendChannel[tuple[str, str]], trio.MemoryReceiveChannel[tuple[str, str]]] = (
        attrs.field(factory=_channel)
    )
    """The two ends of a channel of users and the rooms that had them leave."""
