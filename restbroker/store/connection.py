"""Redis for Trio: a connection with its worker thread, the wait for a job, the watch for a new master.

The only file here that knows Trio. Used by lanes, the beat, the scheduler, the reaper and assembly. Always holds: no
thread that sends commands outlives its call, since it might still take jobs; so a call cannot be cancelled, only
bounded by the socket's time-out.
"""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

import trio

from restbroker.errors import RestbrokerError, StoreRefused, StoreUnavailable
from restbroker.store.client import LONGEST_BLOCK_S, Client
from restbroker.store.sentinel import Sentinels

P = ParamSpec("P")
T = TypeVar("T")

UNBLOCK_EVERY_S = 0.02
ABORT_AFTER_S = 1.0
LOOK_EVERY_S = 0.5
WATCHED_BLOCK_S = 1.0
"""How long one wait may stay with a master that was replaced: no job comes there any more."""


class Connection:
    """A client and its thread: one call at a time, the others wait their turn."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._turn = trio.CapacityLimiter(1)

    async def call(self, function: Callable[Concatenate[Client, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `function(client, …)` in a thread; what it raises is raised here.

        When cancelled before the thread starts, nothing was sent. Later, the call runs to its end and its result is
        returned; the next checkpoint raises Cancelled.
        """
        work = partial(function, self._client, *args, **kwargs)
        return await trio.to_thread.run_sync(work, limiter=self._turn, abandon_on_cancel=False)

    async def aclose(self) -> None:
        """Closes the connection after the running call. Not cancellable; bounded by that call's time-out."""
        with trio.CancelScope(shield=True):
            await self.call(Client.close)


class Waiter:
    """Waits on one queue at a time, over a connection of its own; `control` is shared and ends waits.

    `control` should have a time-out of about 1 s: it bounds how long a cancelled wait can last when Redis is frozen.
    """

    def __init__(self, client: Client, control: Connection) -> None:
        self._client = client
        self._control = control
        self._turn = trio.CapacityLimiter(1)

    async def wait(self, queue: str, timeout_s: float) -> bool:
        """Waits until the queue holds a job, at most `timeout_s` (and 2) seconds; takes nothing. False: none came.

        With sentinels it waits for 1 s at most. Answers at once while jobs are there, so never wait on a queue that is
        not being fetched (paused, limited). Raises `StoreUnavailable` or `StoreRefused`. Cancellation ends the wait
        within milliseconds through CLIENT UNBLOCK; if Redis does not answer, by cutting the socket.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        ended = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_when_cancelled, ended)
            with trio.CancelScope(shield=True):
                # The failure comes as a value: raised in here, it would arrive wrapped in an exception group.
                result = await trio.to_thread.run_sync(_wait, self._client, queue, timeout_s, limiter=self._turn)
            ended.set()
        await trio.lowlevel.checkpoint_if_cancelled()
        if isinstance(result, RestbrokerError):
            raise result
        return result

    async def aclose(self) -> None:
        """Closes the connection; no wait may be running."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._client.close)

    async def _end_when_cancelled(self, ended: trio.Event) -> None:
        try:
            await ended.wait()
        except trio.Cancelled:
            # Not raised again: `wait` does so itself, outside its nursery, where it is not wrapped in a group.
            with trio.CancelScope(shield=True):
                await self._end(ended)

    async def _end(self, ended: trio.Event) -> None:
        with trio.move_on_after(ABORT_AFTER_S):
            try:
                # A single UNBLOCK can overtake the BLMOVE that it is meant for: 8 of 600 did (measured).
                while not ended.is_set():
                    await self._control.call(_unblock, self._client.id)
                    with trio.move_on_after(UNBLOCK_EVERY_S):
                        await ended.wait()
            except (StoreUnavailable, StoreRefused):  # away, or a user without the right to CLIENT UNBLOCK
                pass
        while not ended.is_set():
            self._client.abort()
            with trio.move_on_after(UNBLOCK_EVERY_S):
                await ended.wait()


class MasterWatch:
    """A service that asks the sentinels twice a second, so that no connection stays with a master that was replaced."""

    def __init__(self, sentinels: Sentinels) -> None:
        self._sentinels = sentinels
        self._turn = trio.CapacityLimiter(1)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; a look may then go on in its thread for seconds, as nothing but its answer is dropped."""
        task_status.started()
        while True:
            # That nobody leads to a master is told by those who need one.
            with contextlib.suppress(StoreUnavailable, StoreRefused):
                await trio.to_thread.run_sync(self._sentinels.look, limiter=self._turn, abandon_on_cancel=True)
            await trio.sleep(LOOK_EVERY_S)


def _wait(client: Client, queue: str, timeout_s: float) -> bool | RestbrokerError:
    # BLMOVE of a queue onto itself: it wakes as BRPOP does, but no job leaves Redis (Redis 7.0, Valkey 9.1).
    # 0 would block for ever.
    block_s = min(max(timeout_s, 0.01), WATCHED_BLOCK_S if client.is_watched else LONGEST_BLOCK_S)
    key = client.keys.queue(queue)
    try:
        client.identify()
        return client.command("BLMOVE", key, key, "RIGHT", "RIGHT", f"{block_s:.3f}") is not None
    except RestbrokerError as error:
        return error


def _unblock(client: Client, waiter_id: int | None) -> None:
    if waiter_id is not None:
        client.command("CLIENT", "UNBLOCK", waiter_id)
