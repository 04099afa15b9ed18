"""The worker of a target: it takes jobs from the ready buffer, and takes the steps of each one's life.

It is one task, and has as many jobs under way as the target's `Concurrency` and slots allow. What becomes of a job
stands in `life.py`, from top to bottom; this file knows no rule of that. A life goes on in a *turn*, up to its next
wait. Whoever calls `come` of a delivery begins one at once, or has the life go on in the one that is under way, behind
those that it has; so no life goes on within another. Those whose answers were read together go on together, leave
together, and are followed by the next jobs in the same turn. A life needs no task to wait. What does need one is a
child of the worker's nursery, so that one scope ends all.

Always holds: whoever calls the worker gets no exception: a bug costs only the job over which it came. Once the worker
has ended, no round and no task begins. A life is closed while it waits, and never while it runs.
"""

import math
import time
from collections.abc import Callable
from functools import partial

import trio

from restbroker.broker.delivery import Delivery
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.life import Life
from restbroker.broker.waits import Asked, InTask
from restbroker.light import define, field


@define(eq=False)
class Worker:
    """The worker of one pool."""

    life: Life
    _came: list[Delivery] = field(factory=list)
    """Those whose lives begin or go on in the next turn."""
    _is_in_turn: bool = False
    _changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    async def run(self) -> None:
        """Take jobs until the pool stops and none is in delivery. When cancelled, jobs keep what is known of them."""
        life = self.life
        async with trio.open_nursery() as beside:
            beside.start_soon(life.gates.run)
            beside.start_soon(life.timers.run)
            beside.start_soon(self._watch_trips)
            try:
                async with trio.open_nursery() as tasks:
                    life.tasks.open(tasks)
                    try:
                        life.ready.serve(self.take)
                        await life.stopping.wait()
                        self._end_waits(lambda delivery: not isinstance(delivery.wait, Asked))
                        while life.deliveries:
                            await self._changed.park()
                    finally:
                        # Before the tasks end: what one of them leaves must not start another job.
                        life.tasks.open(None)
                        life.ready.serve(None)
            finally:
                # The client's listener may have ended between an answer and what follows it.
                self._take_turn()
                for delivery in list(life.deliveries.values()):
                    delivery.close()
            beside.cancel_scope.cancel()

    # One step after the other
    def take(self, job: JobInProgress) -> None:
        """Begin the life of a job, which gives its place back by itself."""
        life = self.life
        delivery = life.deliveries[job] = Delivery(self, life.checks, job, life.live)
        self._came.append(delivery)
        if not self._is_in_turn:
            self._take_turn()

    def resume(self, delivery: Delivery) -> None:
        """Let a life go on now, or in the turn that is under way."""
        self._came.append(delivery)
        if not self._is_in_turn:
            self._take_turn()

    def resume_soon(self, delivery: Delivery) -> None:
        """Let a life go on once all answers that came with its own were read."""
        self._came.append(delivery)
        if len(self._came) == 1 and not self._is_in_turn:
            client = self.life.client
            if client is None or client.service is None:
                self._take_turn()
            else:
                client.service.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        """Let the lives go on, each up to its next wait."""
        life, self._is_in_turn = self.life, True
        try:
            while self._came:
                # What comes meanwhile is for the next time around: many that fail at once are no recursion.
                came, self._came = self._came, []
                for delivery in came:
                    try:
                        delivery.wait = wait = next(delivery.life, None)
                        if wait is not None and wait is not delivery:
                            if wait.ends_unsent and delivery.job.expires_at_s is not None:
                                self._watch_expiry(delivery)
                            wait.begin(delivery)
                    except Exception as bug:  # noqa: BLE001 - whatever it is; its text may hold secrets
                        life.settler.settle_bug(delivery.job, bug)
                        delivery.life.close()
                if life.delivered:
                    life.leave_together()
        finally:
            self._is_in_turn = False
        if not life.deliveries:
            self._changed.unpark_all()

    # What ends a wait early
    def _watch_expiry(self, delivery: Delivery) -> None:
        remaining_s, timers = delivery.job.remaining_s(time.time()), self.life.timers
        if remaining_s < math.inf:
            timer = timers.at(trio.current_time() + max(0.0, remaining_s), partial(self._expire, delivery))
            delivery.watch_expiry(partial(timers.cancel, timer))

    def _expire(self, delivery: Delivery) -> None:
        if delivery.job.is_expired(time.time()):
            self._end(delivery, self.life.settle_unsent)
        else:
            self._watch_expiry(delivery)  # the clock was set back meanwhile

    def _end_waits(self, are_over: Callable[[Delivery], bool]) -> None:
        """End the lives that wait for a round, of which `are_over` is true."""
        for delivery in list(self.life.deliveries.values()):
            if delivery.wait is not None and delivery.wait.ends_unsent and are_over(delivery):
                self._end(delivery, self.life.settle_unsent)

    def end_cancelled(self, delivery: Delivery) -> None:
        """End a life that a person cancelled."""
        self._end(delivery, self.life.settle_cancelled)

    def _end(self, delivery: Delivery, settle: Callable[[Delivery], None]) -> None:
        """Decide what becomes of a job, and then close its life where it waits."""
        try:
            settle(delivery)
        except Exception as bug:  # noqa: BLE001 - whatever it is; its text may hold secrets
            self.life.settler.settle_bug(delivery.job, bug)
        delivery.close()
        if not self.life.deliveries:
            self._changed.unpark_all()

    async def _watch_trips(self) -> None:
        """End the waits of those that may be marked whenever the target goes down: a crash would make them dead."""
        breaker = self.life.breaker
        while True:
            await breaker.wait_to_trip()
            self._end_waits(lambda delivery: delivery.may_be_marked)
            if not await breaker.wait_to_admit():
                return

    def drop_lost(self) -> None:
        """End the waits of jobs that are not ours any more."""
        self._end_waits(lambda delivery: not self.life.reservations.has(delivery.job))
        self.life.delays.drop_lost(self.life.reservations)

    def waiting_tickets(self) -> frozenset[str]:
        """Return the tickets of the jobs that wait for their slot or for their time, without a place."""
        in_slots = [job.ticket for job, delivery in self.life.deliveries.items() if not delivery.has_worker_place]
        return frozenset([*in_slots, *self.life.delays.tickets()])

    def cancel(self, job: JobInProgress) -> bool:
        """End the delivery of a job, which becomes dead; return False if it is not in delivery, or has a settlement.

        One that has its answer already is settled as usual.
        """
        delivery = self.life.deliveries.get(job)
        if delivery is None or job.settlement is not None:
            return False
        if delivery.wait is None or isinstance(delivery.wait, InTask):
            delivery.cancel()
        else:
            self.end_cancelled(delivery)
        return True
