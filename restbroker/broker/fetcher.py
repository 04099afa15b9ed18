"""Takes jobs from Redis for one lane, in batches, and hands them to the workers.

One task per lane. Always holds: one fetch at a time; no fetch while the gate is closed; an empty queue is waited for
without taking from it; and after anything that may have lost an answer, what Redis lists as ours is adopted before
more is taken.
"""

from datetime import UTC, datetime, timedelta
from typing import assert_never

import attrs
import trio

from restbroker.broker.item import Item
from restbroker.broker.lane import Lane
from restbroker.errors import StoreUnavailable
from restbroker.store import beats, jobs
from restbroker.store.connection import Waiter
from restbroker.store.tickets import MAX_BATCH, ticket_number, ticket_queue
from restbroker.telemetry.events import Warned

_WAIT_S = 2.0


@attrs.define(eq=False)
class Fetcher:
    """`waiters`: one per queue, each on its own connection."""

    lane: Lane
    waiters: dict[str, Waiter]

    async def run(self) -> None:
        """Fetches until cancelled, quiet or fenced."""
        lane = self.lane
        while not lane.quiet.is_set():
            if not await lane.gate.opened():
                return
            reserve = lane.pace.reserve(trio.current_time())
            await lane.handover.hungry(reserve)
            want = max(0, min(lane.handover.idle_workers + reserve - len(lane.handover), MAX_BATCH))
            if lane.gate.is_open and not lane.quiet.is_set() and (want > 0 or lane.handover.is_blocked):
                await self._fetch(want)

    async def _fetch(self, want: int) -> None:
        lane = self.lane
        target = lane.plan.target
        request = jobs.FetchRequest(lane.identity, target.name, target.queues, lane.base, want, lane.high_water)
        try:
            got = await lane.store.call(jobs.fetch, request)
        except StoreUnavailable as error:
            lane.health.lost(error)
            await self._reconcile()
            return
        lane.health.found()
        match got:
            case jobs.Fetched():
                lane.handover.allow(request.hwm)
                await self._adopt(got, want)
            case jobs.Duplicate():
                await self._reconcile()
            case jobs.Paused(for_ms):
                lane.handover.allow(request.hwm)
                await trio.sleep(min(for_ms, 1000) / 1000)
            case jobs.Fenced():
                lane.fenced.set()
                await trio.sleep_forever()
            case _:
                assert_never(got)

    async def _adopt(self, got: jobs.Fetched, want: int) -> None:
        lane = self.lane
        if got.recovered_version != lane.recovered_version:
            lane.recovered = await lane.health.insist(lane.store, beats.maybe_run, _last_days())
            lane.recovered_version = got.recovered_version
        for queue in got.bad - lane.warned:
            lane.warned.add(queue)
            lane.report(
                Warned("BadQueue", f"Redis does not let us read the queue {queue!r} as a list.", "Look at its type.")
            )
        if got.jobs:
            self._hand_over([Item(taken.ticket, taken.number, taken.queue, taken.raw) for taken in got.jobs])
        elif want:
            await self._wait(got.paused | got.bad)

    async def _reconcile(self) -> None:
        """Adopts what Redis lists as ours and we do not know of: a fetch whose answer was lost."""
        lane = self.lane
        held = await lane.health.insist(lane.store, jobs.held, lane.identity)
        queues = lane.plan.target.queues
        unknown = [
            Item(ticket, ticket_number(ticket), queues[ticket_queue(ticket) - 1], raw)
            for ticket, raw in held.jobs.items()
            if ticket not in lane.in_hand and ticket_number(ticket) > lane.base
        ]
        lane.base = max(lane.base, held.last)
        lane.handover.allow(held.hwm)
        self._hand_over(sorted(unknown, key=lambda item: item.number))

    def _hand_over(self, items: list[Item]) -> None:
        lane = self.lane
        for item in items:
            lane.in_hand[item.ticket] = item
            lane.base = max(lane.base, item.number)
        lane.handover.put(items)

    async def _wait(self, unreadable: frozenset[str]) -> None:
        """Until one of the queues has something, or two seconds."""
        ready = [queue for queue in self.waiters if queue not in unreadable]
        if not ready:
            await trio.sleep(_WAIT_S)
            return
        with trio.move_on_after(_WAIT_S + 0.5):
            async with trio.open_nursery() as nursery:
                for queue in ready:
                    nursery.start_soon(self._wait_for, queue, nursery.cancel_scope)

    async def _wait_for(self, queue: str, others: trio.CancelScope) -> None:
        try:
            await self.waiters[queue].wait(queue, _WAIT_S)
        except StoreUnavailable as error:
            self.lane.health.lost(error)
            await trio.sleep(0.2)
        others.cancel()


def _last_days() -> list[str]:
    today = datetime.now(UTC)
    return [f"{today - timedelta(days=back):%Y%m%d}" for back in range(4)]
