"""Calls connections when they are readable: one task that listens for all, in batches.

Used by the wires of the lean client; `Upkeep.run` runs this task. Always holds: a watched wire with a task that waits
is called each time; a wire without one is called once, and then not watched any more, so that nothing wakes up for
unread bytes; and when the task ends, each wire with a task that waits is called, to listen for itself.

A wait of Trio's own for each answer registers its connection again every time: 6 µs more of 49 at 20 connections
(measured); at fewer than eight it is the other way round.
"""

import select
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol, TypeAlias

import attrs
import trio

_ROUNDS: Final = 4
"""How often it looks again before other tasks have their turn."""
_BATCH: Final = 128
"""How many descriptors are called in one look: about 5 ms of the loop's time."""


class ReadinessListener(Protocol):
    """Something that `Readiness` calls; neither method may wait or raise."""

    def on_readable(self) -> bool:
        """Read the bytes, or the end, that are there now; return False, and read nothing, if no task waits for them."""
        ...

    def note_unwatched(self) -> None:
        """Note that `Readiness` does not watch the descriptor any more."""
        ...


Afterwards: TypeAlias = Callable[[Collection[ReadinessListener]], None]
"""What `Readiness` calls after a batch, with those on which something came since; it may not wait or raise."""


@attrs.define(eq=False)
class Readiness:
    """The listener for all connections of one or more clients. `is_kept`: `run` runs, so that `watch` may be used."""

    is_kept: bool = False
    _watched: dict[int, ReadinessListener] = attrs.field(factory=dict)
    _descriptors: select.epoll | None = None
    _afterwards: list[Afterwards] = attrs.field(factory=list)

    def watch(self, descriptor: int, who: ReadinessListener) -> None:
        """Call `who.on_readable` when the descriptor is readable, until `forget` or a call of `who.note_unwatched`.

        `forget` must come before the descriptor is closed.
        """
        assert self._descriptors is not None  # noqa: S101 - there while `is_kept`
        self._descriptors.register(descriptor, select.EPOLLIN)
        self._watched[descriptor] = who

    def forget(self, descriptor: int) -> None:
        """Stop watching the descriptor; do nothing if it is not watched."""
        if self._watched.pop(descriptor, None) is not None and self._descriptors is not None:
            self._descriptors.unregister(descriptor)

    def call_afterwards(self, call: Afterwards) -> None:
        """Call `call` once, when all that came at one time was taken; to be used by who is just being called.

        One look finds for all connections what takes a look at each otherwise: that nothing came since.
        """
        self._afterwards.append(call)

    async def run(self) -> None:
        """Listen for all that is watched, until cancelled; where there is no epoll, do nothing until then."""
        try:
            descriptors = select.epoll()
        except (AttributeError, OSError):
            # Not on Linux, or too many files are open: each listens for itself.
            await trio.sleep_forever()
        with descriptors, self._watching(descriptors):
            while True:
                await trio.lowlevel.wait_readable(descriptors.fileno())
                came = descriptors.poll(0, _BATCH)
                for _ in range(_ROUNDS):
                    # What came while others were called is taken at once: a turn of Trio's loop costs as much as a job.
                    if not came:
                        break
                    self._call(came)
                    came = []
                    if self._afterwards:
                        # All of them: one that is left out would be taken for quiet.
                        came = descriptors.poll(0, max(1, len(self._watched)))
                        self._finish_batch(came)
                    came = came[:_BATCH] or descriptors.poll(0, _BATCH)

    def _call(self, came: Sequence[tuple[int, int]]) -> None:
        for descriptor, _ in came:
            # What came on another one may have had this one closed.
            who = self._watched.get(descriptor)
            if who is not None and not who.on_readable():
                self.forget(descriptor)
                who.note_unwatched()

    def _finish_batch(self, came: Sequence[tuple[int, int]]) -> None:
        more = {self._watched[descriptor] for descriptor, _ in came}
        calls, self._afterwards = self._afterwards, []
        for call in calls:
            call(more)

    @contextmanager
    def _watching(self, descriptors: select.epoll) -> Iterator[None]:
        self._descriptors, self.is_kept = descriptors, True
        try:
            yield
        finally:
            self._descriptors, self.is_kept = None, False
            watched, self._watched = self._watched, {}
            for who in watched.values():
                who.note_unwatched()
