"""One run of `restbroker verify`: prepare, push, break, wait, judge, remove. Called by `cli.verify`.

Always holds: however it ends (an error, Ctrl-C, SIGTERM), its processes are gone first and then its keys.
"""

import random
import secrets
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import attrs
import trio

from restbroker.crashtest import scratch
from restbroker.crashtest.faults import Breaker, plan
from restbroker.crashtest.fleet import Fleet
from restbroker.crashtest.result import Result
from restbroker.crashtest.stand_in import StandIn
from restbroker.crashtest.verdict import verdict_of
from restbroker.crashtest.workload import DOMAIN, QUEUE, USER, job_id, payload
from restbroker.errors import StoreUnavailable
from restbroker.standins.ejabberd import Ejabberd
from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection

_PUSH_BATCH = 100
_TIMEOUT_S = 10.0
_STALLED_AFTER_S = 60.0
_POLL_S = 0.1


@attrs.frozen
class RunPlan:
    """What to run: numbers of jobs, of kills and of broker processes. The same `seed` breaks in the same order."""

    jobs: int
    kills: int
    processes: int
    seed: int


ProgressCallback = Callable[[str], None]
"""A function that gets the progress of the run as a text, again and again."""


def run(settings: StoreSettings, wanted: RunPlan, tell: ProgressCallback) -> Result | None:
    """Run to the end and return the result; None if it was interrupted.

    `settings` name the Redis; their namespace is not used. Raise `UsageError` for a Redis that is not fit,
    `StoreUnavailable` if it does not answer, and a group of `RestbrokerError` when a part fails.
    """
    namespace = scratch.new_namespace()
    return trio.run(_main, attrs.evolve(settings, namespace=namespace, client_name=namespace), wanted, tell)


async def _main(settings: StoreSettings, wanted: RunPlan, tell: ProgressCallback) -> Result | None:
    store = Connection(open_client(settings, _TIMEOUT_S))
    await store.call(scratch.require_usable, wanted.jobs, len(payload(wanted.jobs, _new_token())))
    result = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_at_signal, signals, nursery.cancel_scope)
                result = await _Run(settings, wanted, tell, store=store, nursery=nursery).execute()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                async with aclosing(store):
                    await store.call(scratch.sweep)
    return result


@attrs.define(eq=False)
class _Run:
    settings: StoreSettings
    plan: RunPlan
    tell: ProgressCallback
    store: Connection
    nursery: trio.Nursery
    acknowledged: list[str] = attrs.field(factory=list)
    pushed: trio.Event = attrs.field(factory=trio.Event)

    async def execute(self) -> Result:
        """Do everything but the removal, and return what was found."""
        began_s = time.monotonic()
        rng = random.Random(self.plan.seed)  # noqa: S311 - it chooses what to break
        token = _new_token()
        stand_in = StandIn(Ejabberd(USER, token, frozenset({DOMAIN})), rng)
        port: int = await self.nursery.start(stand_in.server.run)
        with tempfile.TemporaryDirectory(prefix="restbroker-verify-") as folder:
            url = f"http://127.0.0.1:{port}/api"
            fleet = Fleet(self.settings, Path(folder), self.store, rest_url=url, token=token, nursery=self.nursery)
            breaker = Breaker(fleet, stand_in, self.store, nursery=self.nursery, rng=rng, processes=self.plan.processes)
            try:
                # A machine that starts processes slowly would have done all jobs before the first fault.
                stand_in.slow = self.plan.kills > 0
                self.nursery.start_soon(self._push, token)
                for _ in range(self.plan.processes):
                    await fleet.start()
                stand_in.slow = False
                await self._break(breaker)
                await self._finish(breaker)
                await fleet.stop()
            finally:
                await fleet.kill()
            return await self._verdict(breaker, began_s)

    async def _push(self, token: str) -> None:
        """Push all jobs; what Redis did not acknowledge is not pushed again, as it may be there."""
        for start in range(0, self.plan.jobs, _PUSH_BATCH):
            numbers = range(start, min(start + _PUSH_BATCH, self.plan.jobs))
            try:
                await self.store.call(queues.push, QUEUE, [payload(number, token) for number in numbers])
            except StoreUnavailable:
                continue
            self.acknowledged += [job_id(number) for number in numbers]
        self.pushed.set()

    async def _break(self, breaker: Breaker) -> None:
        """Do each fault at its share of the work, a random moment after the answers became slow and brokers busy."""
        faults = plan(self.plan.kills, breaker.rng)
        for number, fault in enumerate(faults):
            await self._until(breaker, len(faults), (number + 1) * self.plan.jobs // (len(faults) + 2))
            breaker.stand_in.slow = True
            await trio.sleep(breaker.rng.uniform(0.05, 0.4))
            await breaker.do(fault)
            breaker.stand_in.slow = False

    async def _finish(self, breaker: Breaker) -> None:
        await self.pushed.wait()
        planned = sum(breaker.happened.values())
        await self._until(breaker, planned, None)
        await breaker.finish()
        await self._until(breaker, planned, None)

    async def _until(self, breaker: Breaker, planned: int, done: int | None) -> None:
        """Wait until `done` jobs are done, or nothing is left to do, or nothing has moved for a minute.

        `done` None: wait until nothing is left, seen twice in a row, or nothing has moved for a minute.
        """
        stand_in = breaker.stand_in
        seen, moved_s, quiet = -1, time.monotonic(), 0
        while done is None or len(stand_in.done) < done:
            breaker.fleet.require_alive()
            faults = f"{sum(breaker.happened.values())} of {planned} faults"
            self.tell(f"{len(stand_in.done)} of {self.plan.jobs} jobs, {faults}")
            left = await self.store.call(scratch.count_unfinished)
            quiet = quiet + 1 if left == 0 and self.pushed.is_set() else 0
            if quiet == 2:
                return
            if (now := left + sum(map(len, stand_in.statuses.values()))) != seen:
                seen, moved_s = now, time.monotonic()
            if time.monotonic() - moved_s > _STALLED_AFTER_S:
                return
            await trio.sleep(_POLL_S)

    async def _verdict(self, breaker: Breaker, began_s: float) -> Result:
        places = await self.store.call(scratch.count_locations)
        dead = await self.store.call(scratch.dead_jobs)
        attempted = [job_id(number) for number in range(self.plan.jobs)]
        return Result(
            verdict=verdict_of(attempted, self.acknowledged, breaker.stand_in.statuses, places=places, dead=dead),
            bound=breaker.bound + breaker.stand_in.were_reset,
            unfinished=len(set(places) - set(dead)),
            dead_by_code=Counter(dead.values()),
            faults={str(name): count for name, count in breaker.happened.items()},
            requeued_s={str(name): times_s for name, times_s in breaker.requeued_s.items()},
            took_s=time.monotonic() - began_s,
            seed=self.plan.seed,
        )


async def _cancel_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def _new_token() -> str:
    return secrets.token_hex(16)
