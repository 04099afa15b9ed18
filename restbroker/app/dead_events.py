"""Stops the queue of events that become commands where most of them die, e.g. by a wrong path in the application.

`build` reports to it and runs it. Always holds: other queues and targets go on; a person resumes the queue.
"""

from collections import Counter
from contextlib import suppress
from typing import Final

import attrs
import trio

from restbroker.config.events import Events
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store import pauses
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Event, JobFinished, OperatorWarning, Report

_LOOK_S: Final = 1.0


@attrs.define(eq=False)
class DeadEvents:
    """Counts the dead jobs of each queue and command since the start, or since the queue was stopped."""

    events: Events
    connection: Connection
    report: Report
    most: int
    _dead: Counter[tuple[str, str]] = attrs.field(factory=Counter)

    def __attrs_post_init__(self) -> None:
        self._dead.update({(one.queue, one.handover.command): 0 for _, _, one in self.events.handovers})

    def note(self, event: Event) -> None:
        """Count the event, if a job of such a queue and command died."""
        if isinstance(event, JobFinished) and event.fate == "dead" and (event.queue, event.command) in self._dead:
            self._dead[event.queue, event.command] += 1

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Stop queues until cancelled."""
        task_status.started()
        try:
            while True:
                await trio.sleep(_LOOK_S)
                for (queue, command), number in self._dead.items():
                    if number >= self.most:
                        with suppress(StoreUnavailable, StoreRefused):  # it is tried again
                            await self._stop(queue, command, f"{number} events that became {command} are dead")
        finally:
            await self.connection.aclose()

    async def _stop(self, queue: str, command: str, why: str) -> None:
        await self.connection.call(pauses.pause_queue, queue, "restbroker", why, None)
        self._dead[queue, command] = 0
        hint = f"`restbroker dead summary` says why. Then `restbroker queues resume {queue}`."
        self.report(OperatorWarning("EventsDie", f"The queue {queue} is paused: {why}.", hint))
