"""The memory that what strangers send may take: one number for a process, of which each sender has a share at most.

`app` makes one `Room` for a process. HTTP clients take of it what an answer needs before they read it, webhooks what a
request needs. Always holds: what is held comes to no more than `MOST_BYTES`, and of one sender to no more than
`SHARE_BYTES`; half a share is left for parsing, so that what was received can be read, too; what waits holds nothing,
is served in the order of arrival, and is passed over only where its own share is full: a sender that drips holds up
itself, and nothing overtakes. The first `FREE_BYTES` of anything need no room.
"""

from collections.abc import Callable
from typing import Final

import trio

from restbroker.job.job import memory_bytes
from restbroker.light import define, field

MOST_BYTES: Final = 64 * 1024 * 1024
SHARE_BYTES: Final = 16 * 1024 * 1024
RECEIVED_BYTES: Final = SHARE_BYTES // 2
"""The most that a sender may hold of what is being received; as much of the whole is left for parsing."""
FREE_BYTES: Final = 64 * 1024
STEP_BYTES: Final = 1024 * 1024
"""What is taken at a time for something of unknown length."""
_ELEMENT_BYTES: Final = 200
"""What an element of XML takes (measured)."""


def parsed_bytes(body: bytes) -> int:
    """Return about how much memory parsing takes: of JSON as of a job's payload, of XML by its tags."""
    is_xml = body[:FREE_BYTES].lstrip().startswith(b"<")
    return memory_bytes(body) + (_ELEMENT_BYTES * body.count(b"<") if is_xml else 0)


@define(eq=False)
class Room:
    """The room of one process. `held_bytes`: what is taken of it."""

    held_bytes: int = 0
    _shares: dict[str, "Share"] = field(factory=dict)
    line: "dict[Holding, tuple[int, Callable[[], None]]]" = field(factory=dict)
    """What waits, for how much, and what is called once it is held; the first came first."""

    def share(self, name: str) -> "Share":
        """Return the share of this sender, the same for the same name."""
        return self._shares.setdefault(name, Share(self))

    def serve(self) -> None:
        """Give those in line what they wait for, as far as there is room."""
        full: set[Share] = set()
        for holding, (size, call) in tuple(self.line.items()):
            if holding.share in full or holding.share.held_bytes + size > RECEIVED_BYTES:
                full.add(holding.share)
            elif self.held_bytes + size > MOST_BYTES - RECEIVED_BYTES:
                return
            elif self.line.pop(holding, None):
                holding.hold(size)
                call()


@define(eq=False)
class Share:
    """The part of the room that one sender holds: a target, or a source of events."""

    room: Room
    held_bytes: int = 0

    @property
    def spare_bytes(self) -> int:
        """How much may be taken for parsing."""
        return min(SHARE_BYTES - self.held_bytes, MOST_BYTES - self.room.held_bytes)


@define(eq=False)
class Holding:
    """What one answer or request holds of its sender's share, until `free`."""

    share: Share
    held_bytes: int = 0

    def take(self, size: int) -> bool:
        """Take so much to receive something, unless it is not there or others wait for it; tell whether it was."""
        self.stand_in_line(size, lambda: None)
        self.share.room.serve()
        return self.share.room.line.pop(self, None) is None

    def take_steps(self, size: int) -> bool:
        """Take what something of unknown length needs by now; return False if that is not there."""
        while size > FREE_BYTES + self.held_bytes:
            if not self.take(STEP_BYTES):
                return False
        return True

    def take_to_parse(self, size: int) -> bool:
        """Take so much to parse something, if it is there; tell whether it was."""
        if size > self.share.spare_bytes:
            return False
        self.hold(size)
        return True

    def could_hold(self, size: int) -> bool:
        """Tell whether there would be so much more if others held nothing."""
        return self.held_bytes + size <= SHARE_BYTES

    def stand_in_line(self, size: int, call: Callable[[], None]) -> None:
        """Call `call` once so much is held."""
        self.share.room.line[self] = (size, call)

    async def wait(self, size: int) -> None:
        """Wait until so much is held."""
        came = trio.Event()
        self.stand_in_line(size, came.set)
        await came.wait()

    def hold(self, size: int) -> None:
        """Count so much as taken."""
        for holder in (self, self.share, self.share.room):
            holder.held_bytes += size

    def free(self) -> None:
        """Give all back and wait for no more; what waits for it goes on at once."""
        room = self.share.room
        if room.line.pop(self, None) or self.held_bytes:
            self.hold(-self.held_bytes)
            room.serve()
