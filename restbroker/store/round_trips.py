"""Calls of several tasks that go to Redis in one round trip. Used by `connection`, and so by all worker pools.

Always holds: one round trip at a time; who comes meanwhile waits, and those who wait go together in the next one; each
gets its own replies, or the error that ended the round trip; and a call cannot be cancelled once it is sent.

Of many worker pools each has few jobs at a time. Their calls together cost Redis two thirds of what they cost one by
one, and the process nine tenths (measured with a hundred).
"""

import copy
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import trio

from restbroker.errors import RestbrokerError, StoreRefused, StoreUnavailable
from restbroker.light import define, field
from restbroker.store.client import Reply, ScriptCall, check_replies

# Why: docs/design.md#shared-calls
_MOST: Final = 32
"""How many calls go together: a MiB may come for each, and all of it must come before time is over."""
_BUG: Final = "A bug ended a call of Redis."

Replies: TypeAlias = list[Reply | RestbrokerError]
"""A reply for each script, or the error that Redis answered to it."""


@define(eq=False)
class _Waiting:
    """A task that waits, the scripts of its call, and what came of them once they were sent."""

    task: trio.lowlevel.Task
    scripts: Sequence[ScriptCall]
    is_sent: bool = False
    replies: Replies | None = None
    error: RestbrokerError | None = None

    def end(self, *, replies: Replies | None = None, error: RestbrokerError | None = None) -> None:
        """Wake the task with the replies, or with the error."""
        self.replies, self.error = replies, error
        trio.lowlevel.reschedule(self.task)


@define(eq=False)
class RoundTrips:
    """The round trips over one connection.

    `enter` waits until that is open and no one else uses it, and can be cancelled; `send` runs scripts over it, and
    `leave` ends its use.
    """

    enter: Callable[[], Awaitable[None]]
    send: Callable[[Sequence[ScriptCall]], Awaitable[Replies]]
    leave: Callable[[], None]
    is_busy: bool = False
    """Whether a round trip is under way."""
    _waiting: deque[_Waiting] = field(factory=deque)

    async def run(self, scripts: Sequence[ScriptCall]) -> list[Reply | StoreRefused]:
        """Run scripts when it is their turn; return each one's reply, or the `StoreRefused` that it met.

        Raise `StoreUnavailable`: any of them may have been done. Can be cancelled only before they are sent.
        """
        # No other task runs first if it is free: an idle broker's job would wait for that.
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.is_busy:
            replies = await self._wait(scripts)
            if replies is not None:
                return check_replies(replies)
        self.is_busy = True
        try:
            return check_replies(await self._run_with_others(scripts))
        finally:
            if self._waiting:
                trio.lowlevel.reschedule(self._waiting.popleft().task)
            else:
                self.is_busy = False

    async def _wait(self, scripts: Sequence[ScriptCall]) -> Replies | None:
        """Wait until another task has run these scripts too; return their replies, None if this task is to run them."""
        mine = _Waiting(trio.lowlevel.current_task(), scripts)
        self._waiting.append(mine)

        def cancel(_: object) -> trio.lowlevel.Abort:
            if mine.is_sent:
                return trio.lowlevel.Abort.FAILED
            self._waiting.remove(mine)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(cancel)
        if mine.error is not None:
            raise mine.error
        return mine.replies

    async def _run_with_others(self, scripts: Sequence[ScriptCall]) -> Replies:
        """Run scripts in one round trip with those of others who wait; return the replies, and wake the others."""
        others: list[_Waiting] = []
        try:
            await self.enter()
            try:
                others = self._take()
                replies = await self.send([*scripts, *(script for call in others for script in call.scripts)])
            finally:
                self.leave()
        except (StoreUnavailable, StoreRefused) as error:
            # Who waits by now would meet the same, and each of a hundred after the same time.
            for call in (*others, *self._take()):
                call.end(error=copy.copy(error))
            raise
        except BaseException:
            # A bug: its text is of use to its own task alone, and who is sent cannot be cancelled.
            for call in others:
                call.end(error=StoreUnavailable(_BUG, "Please report this."))
            raise
        place = len(scripts)
        for call in others:
            call.end(replies=replies[place : place + len(call.scripts)])
            place += len(call.scripts)
        return replies[: len(scripts)]

    def _take(self) -> list[_Waiting]:
        """Return those who go along; from now on they cannot be cancelled until they have their replies."""
        taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST - 1))]
        for call in taken:
            call.is_sent = True
        return taken
