"""Offers the events of a reader to Redis until it has them all, and reports once that they wait.

Used by the readers of RabbitMQ and of Openfire's streams. Always holds: an event leaves `left` only once it has a
verdict, also where the wait is cancelled.
"""

from collections.abc import Container
from typing import Final

import attrs
import trio

from restbroker.config.events import EventSource
from restbroker.job.event import ServerEvent
from restbroker.servers.event_contract import Intake, Offer
from restbroker.telemetry.events import EventHandled, OperatorWarning, Report

_PATIENCE_S: Final = 2.0
"""Seconds that Redis may take before an operator is warned."""
_LEAST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 5.0


@attrs.define(eq=False)
class Offers:
    """The offers of one source. The warning that they wait names the place (`where`) and what that means (`hint`)."""

    source: EventSource
    intake: Intake
    report: Report
    where: str
    hint: str
    _is_waiting: bool = False

    async def push(self, left: dict[int, ServerEvent], redelivered: Container[int] = ()) -> None:
        """Wait until Redis has all events of `left`, or has found that they are not wanted; each is removed then.

        Each verdict is reported: an accepted event whose number is in `redelivered` came before.
        """
        pause_s = _LEAST_PAUSE_S
        while left:
            offer = self.intake.offer(self.source, list(left.values()))
            try:
                with trio.move_on_after(_PATIENCE_S) as patience:
                    await offer.wait()
                if patience.cancelled_caught:
                    self._warn_of(offer)
                    await offer.wait()
            finally:
                with trio.CancelScope(shield=True):
                    await offer.withdraw()
                for number, verdict in zip(tuple(left), offer.verdicts(), strict=True):
                    if isinstance(verdict, str):
                        del left[number]
                        again = verdict == "accepted" and number in redelivered
                        self.report(EventHandled(self.source.name, "redelivered" if again else verdict))
            if left:
                self._warn_of(offer)
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self._is_waiting = False

    def warn(self, why: str) -> None:
        """Report that events wait, once until all are taken."""
        if not self._is_waiting:
            self._is_waiting = True
            what = f"Events of the source {self.source.name} wait{self.where}: {why}"
            self.report(OperatorWarning("EventsWait", what, self.hint))

    def _warn_of(self, offer: Offer) -> None:
        errors = (one.message for one in offer.verdicts() if isinstance(one, Exception))
        self.warn(next(errors, "Redis does not answer."))
