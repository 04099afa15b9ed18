"""Moves jobs of long lists into the lists of their keys, so that a key with few jobs waits for none with many.

The generation runs one classifier for each pool whose target has `FairBy`; the intake says when there is work for it.
Always holds: it takes no job; all processes together move jobs at one pace, which leaves Redis three quarters of its
time.
"""

from collections import deque
from typing import Final

import trio

from restbroker.broker.intake import Intake
from restbroker.broker.target_plan import TargetPlan
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.light import define, field
from restbroker.store import classifying
from restbroker.store.classifying import ClassifyResult
from restbroker.store.connection import Connection
from restbroker.telemetry.events import JobsClassified, Report

_AGAIN_S: Final = 1.0
_CALLS: Final = 8


@define(eq=False)
class Classifier:
    """The classifier of one pool, with a connection of its own."""

    plan: TargetPlan
    store: Connection
    intake: Intake
    report: Report
    _took_s: deque[float] = field(factory=lambda: deque(maxlen=_CALLS))

    async def run(self) -> None:
        """Classify whenever a fetch said that a list is not empty, until cancelled."""
        while True:
            await self.intake.has_backlog.wait()
            self.intake.has_backlog = trio.Event()
            pending = [counts.queue for counts in self.intake.counts if counts.in_list]
            while pending:
                try:
                    pending = [queue for queue in pending if await self._classify(queue)]
                except (StoreUnavailable, StoreRefused):
                    # The intake learns of it too, and reports it.
                    await trio.sleep(_AGAIN_S)
                    break

    @property
    def _took_ms(self) -> int:
        """How long a call takes Redis: the shortest of the last few, since others waited for a busy processor too."""
        return round(1000 * min(self._took_s, default=0.0))

    async def _classify(self, queue: str) -> bool:
        """Classify jobs of a queue once; return whether it may have more."""
        called_at_s = trio.current_time()
        target, key_rules = self.plan.target.name, self.plan.key_rules
        call = classifying.classify_call(self.store.keys, target, queue, key_rules=key_rules, took_ms=self._took_ms)
        answer = classifying.read_classified(await self.store.run(call))
        if isinstance(answer, ClassifyResult):
            took_s = trio.current_time() - called_at_s
            self._took_s.append(took_s)
            if answer.classified:
                self.report(JobsClassified(target, queue, answer.without_key, took_s))
            await trio.sleep(max(classifying.INTERVAL_MS, 4 * self._took_ms) / 1000)
            return answer.in_list > 0
        await trio.sleep(answer.for_ms / 1000)
        return answer.for_ms > 0
