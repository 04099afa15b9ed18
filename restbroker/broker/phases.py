"""The phases of a generation's end, each in a cancel scope, and when each has to be over.

The generation enters the scopes, one within the other, and runs `watch_stop` and `watch_fences` beside its work. Always
holds: a bound only ever comes nearer; no worker starts another job after a stop; and the settling ends after the last
commit, which ends after the work.
"""

import math
from collections.abc import Sequence

import trio

from restbroker.broker.scopes import bound, wait_for_any
from restbroker.broker.signals import Control
from restbroker.broker.worker_pool import WorkerPool
from restbroker.light import define, field

_END_S = 5.0
_END_AT_ONCE_S = 2.0
"""Bounds on the last settlements, in seconds: `_END_S` after a drain, `_END_AT_ONCE_S` after a second signal."""


@define(eq=False)
class Phases:
    """The phases of one generation. `replaced`: set when a later one takes over.

    `intake`: jobs are taken. `work`: they are delivered. `commit`: the ackers settle what was decided. `settle`: what
    remains is settled or requeued.
    """

    _control: Control
    _replaced: trio.Event
    _shutdown_timeout_s: float
    settle: trio.CancelScope = field(factory=lambda: trio.CancelScope(shield=True))
    commit: trio.CancelScope = field(factory=trio.CancelScope)
    work: trio.CancelScope = field(factory=trio.CancelScope)
    intake: trio.CancelScope = field(factory=trio.CancelScope)
    _lost: bool = False
    """Whether it was fenced, or an error ended it: then it is no use to wait longer for the last settlements."""

    def record_lost(self) -> None:
        """Note that an error ended the work."""
        self._lost = True

    @property
    def end_s(self) -> float:
        """The seconds that the last settlements may take: infinite if the process lives on and they may work."""
        if self._replaced.is_set() and not self._control.stop.is_set() and not self._lost:
            return math.inf
        return _END_AT_ONCE_S if self._control.at_once.is_set() else _END_S

    async def watch_stop(self, pools: Sequence[WorkerPool]) -> None:
        """Wait for the process' stop, then end the intake and bound the other phases."""
        await self._control.stop.wait()
        # Intake may have to wait for Redis before it ends, and no worker may start another job meanwhile.
        for pool in pools:
            pool.ready.close()
        timeout_s = self._shutdown_timeout_s
        bound(self.work, timeout_s)
        bound(self.commit, timeout_s + _END_S)
        bound(self.settle, timeout_s + 2 * _END_S)
        self.intake.cancel()
        await self._control.at_once.wait()
        bound(self.commit, _END_AT_ONCE_S)
        bound(self.settle, 2 * _END_AT_ONCE_S)
        self.work.cancel()

    async def watch_fences(self, pools: Sequence[WorkerPool]) -> None:
        """Wait until a pool is fenced, then end intake and work at once."""
        await wait_for_any(*(pool.identity.fenced.wait for pool in pools))
        self._lost = True
        bound(self.commit, _END_S)
        bound(self.settle, 2 * _END_S)
        self.intake.cancel()
        self.work.cancel()
