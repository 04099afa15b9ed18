"""Moves jobs of long lists into the lines of their keys, and mends lines that someone deleted a part of by hand.

The generation runs one classifier for each pool whose target has `FairBy`, and one healer. Always holds: all processes
together classify at one pace, which leaves Redis three quarters of its time; one process mends for all; no job is taken
here.
"""

import random
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

import attrs
import trio

from restbroker.broker.health import StoreHealth
from restbroker.broker.identity import Identity
from restbroker.broker.poller import Poller
from restbroker.broker.target_plan import TargetPlan
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store import lines, order, probing
from restbroker.store.connection import Connection
from restbroker.store.lines import ClassifyResult
from restbroker.store.probing import ProbeBusy, ProbeGranted, ProbeResult, Renewal, milliseconds
from restbroker.telemetry.events import JobsClassified, LinesHealed, Report

HEAL_S: Final = 10.0
_LEASE_S: Final = 4.0
"""Seconds until another process may mend, if this one ends meanwhile."""
_BUSY_S: Final = 5.0
"""Seconds until it asks again, while another one mends: with `_LEASE_S` fewer than `HEAL_S`."""
_COUNTS: Final = 0.9
"""So much of `HEAL_S` nobody mends after someone did: a little less than until anyone asks again."""
_RESTS: Final = 10
_ROUNDS: Final = 30
_AGAIN_S: Final = 1.0
_CALLS: Final = 8


@attrs.define(eq=False)
class Classifier:
    """The classifier of one pool, with a connection of its own."""

    plan: TargetPlan
    store: Connection
    poller: Poller
    report: Report
    _took_s: deque[float] = attrs.field(factory=lambda: deque(maxlen=_CALLS))

    async def run(self) -> None:
        """Classify whenever a fetch said that a list is not empty, until cancelled."""
        while True:
            await self.poller.has_backlog.wait()
            self.poller.has_backlog = trio.Event()
            pending = [one.queue for one in self.poller.counts if one.in_list]
            while pending:
                try:
                    pending = [queue for queue in pending if await self._classify(queue)]
                except (StoreUnavailable, StoreRefused):
                    # The poller learns of it too, and reports it.
                    await trio.sleep(_AGAIN_S)
                    break

    @property
    def _took_ms(self) -> int:
        """How long a call takes Redis: the shortest of the last few, since others waited for a busy processor too."""
        return round(1000 * min(self._took_s, default=0.0))

    async def _classify(self, queue: str) -> bool:
        """Classify jobs of a queue once; return whether it may have more."""
        asked_at_s = trio.current_time()
        target, fairness = self.plan.target.name, self.plan.fairness
        call = lines.classify_call(self.store.keys, target, queue, fairness=fairness, took_ms=self._took_ms)
        answer = lines.read_classified(await self.store.run(call))
        if isinstance(answer, ClassifyResult):
            took_s = trio.current_time() - asked_at_s
            self._took_s.append(took_s)
            if answer.classified:
                self.report(JobsClassified(target, queue, answer.without_key, took_s))
            await trio.sleep(max(lines.INTERVAL_MS, 4 * self._took_ms) / 1000)
            return answer.in_list > 0
        await trio.sleep(answer.for_ms / 1000)
        return answer.for_ms > 0


@attrs.define(eq=False)
class LineHealer:
    """Mends the lines of all queues of targets that have `FairBy` or `OrderBy`, every ten seconds, in one process.

    `store`: not of urgent calls. Where it takes long, it rests ten times as long. The jobs that wait in order are all
    read in every thirtieth round only, unless it is seen that some are lost.
    """

    store: Connection
    health: StoreHealth
    pools: Sequence[tuple[TargetPlan, Identity]]
    _rounds: Counter[str] = attrs.field(factory=Counter)

    async def run(self) -> None:
        """Heal until cancelled. What Redis refuses is reported once."""
        due_s = [trio.current_time()] * len(self.pools)
        while True:
            for place, (plan, identity) in enumerate(self.pools):
                if trio.current_time() >= due_s[place]:
                    due_s[place] = trio.current_time() + await self._look_after(plan, identity)
            await trio.sleep_until(min(due_s))

    async def _look_after(self, plan: TargetPlan, identity: Identity) -> float:
        """Heal a target, if no process did just now; return in how many seconds to ask again.

        Not what another process keeps in order (`broker.reaper`).
        """
        if plan.old_order.kept_elsewhere.is_set():
            return HEAL_S
        turn, call = f"heal:{plan.target.name}", self.health.call_until_up
        try:
            match await call(self.store, probing.claim, turn, identity.name, milliseconds(_LEASE_S)):
                case ProbeBusy():
                    return _BUSY_S
                case ProbeResult(age_ms=age_ms):
                    # When the result is nearly as old as it may be; not all of them at once.
                    at_age_s = HEAL_S * random.uniform(_COUNTS, 1)  # noqa: S311 - spreads calls, protects nothing
                    return max((1 - _COUNTS) * HEAL_S, at_age_s - age_ms / 1000 % HEAL_S)
                case ProbeGranted():
                    pass
            renewal, began_s = Renewal(turn, identity.name, milliseconds(_LEASE_S)), trio.current_time()
            # Where jobs are done in order, the states of their keys are of all queues together.
            for queue in plan.target.queues if plan.order is None else plan.target.queues[:1]:
                if healed := await self._heal(plan, queue, renewal):
                    identity.report(LinesHealed(plan.target.name, queue, healed, in_order=plan.order is not None))
            rest_s = max(_COUNTS * HEAL_S, _RESTS * (trio.current_time() - began_s))
            await call(self.store, probing.publish, turn, identity.name, b"", ttl_ms=milliseconds(rest_s))
        except StoreRefused as error:
            identity.warn_once("LinesRefused", error.message, error.hint)
        return HEAL_S

    async def _heal(self, plan: TargetPlan, queue: str, renewal: Renewal) -> int:
        call = self.health.call_until_up
        if plan.order is None:
            return await call(self.store, lines.heal, queue, plan.fairness, renewal)
        name, rounds = plan.target.name, self._rounds
        rounds[name] += 1
        whole = rounds[name] % _ROUNDS == 1
        return await call(self.store, order.heal, name, plan.target.queues, whole=whole, after_step=renewal)
