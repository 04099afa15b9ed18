"""One run of `restbroker verify`: prepare, push, break, wait, judge, remove. Called by `cli.verify`.

Always holds: however it ends (an error, Ctrl-C, SIGTERM), its processes are gone first and then its keys.
"""

import os
import random
import secrets
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from restbroker.errors import StoreUnavailable, UsageError
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.server import NEWER_REDIS, TOO_OLD, server
from restbroker.trial.brokers import Fleet, cancel_at_signal
from restbroker.trial.faults import Breaker, plan
from restbroker.trial.result import Result, verdict_of
from restbroker.trial.stand_in import StandIn
from restbroker.trial.witness import Witness, new_namespace, open_redis
from restbroker.trial.workload import DOMAIN, QUEUE, USER, job_id, payload

_COPIES = 4
"""How often a job may be in Redis: as pushed, taken, dead, and in what its broker says of it."""
_PUSH_BATCH = 100
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
    namespace = new_namespace()
    settings = attrs.evolve(settings, namespace=namespace, client_name=namespace)
    client = open_client(settings)
    try:
        _require_usable(client, wanted.jobs * len(payload(wanted.jobs, _new_token())) * _COPIES, wanted.jobs)
    finally:
        client.close()
    return trio.run(_main, settings, wanted, tell)


def _require_usable(client: Client, needed_bytes: int, jobs: int) -> None:
    """Raise `UsageError` if Redis is unfit for a run: too old, a replica, part of a cluster, or short of memory.

    Raise `StoreUnavailable` if it does not answer.
    """
    facts = server(client)
    where = f"{facts.product} at {client.address}"
    if not facts.is_supported:
        raise UsageError(f"{where} is too old. {TOO_OLD}", NEWER_REDIS)
    if facts.role != "master":
        raise UsageError(f"{where} is a replica, which takes no writes.", "Name its master.")
    if facts.cluster_enabled:
        raise UsageError(f"{where} is part of a cluster, which cannot hold Sidekiq queues.", "Name a single Redis.")
    free = facts.maxmemory_bytes - facts.used_memory_bytes
    if facts.maxmemory_bytes and free < needed_bytes:
        raise UsageError(
            f"{where} has {max(0, free)} bytes left of maxmemory, and {jobs} jobs may need {needed_bytes}.",
            "Use fewer --jobs, raise maxmemory, or name another Redis.",
        )


async def _main(settings: StoreSettings, wanted: RunPlan, tell: ProgressCallback) -> Result | None:
    witness = Witness(open_redis(settings), settings.namespace)
    result = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_at_signal, signals, nursery.cancel_scope)
                result = await _Run(settings, wanted, tell, witness=witness, nursery=nursery).execute()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True), witness.redis:
                await witness.ask(witness.sweep)
    return result


@attrs.define(eq=False)
class _Run:
    settings: StoreSettings
    plan: RunPlan
    tell: ProgressCallback
    witness: Witness
    nursery: trio.Nursery
    acknowledged: list[str] = attrs.field(factory=list)
    pushed: trio.Event = attrs.field(factory=trio.Event)

    async def execute(self) -> Result:
        """Do everything but the removal, and return what was found."""
        began_s = time.monotonic()
        rng = random.Random(self.plan.seed)  # noqa: S311 - it chooses what to break
        token = _new_token()
        stand_in = StandIn(self.nursery, USER, token, frozenset({DOMAIN}), rng)
        await stand_in.come_up()
        with tempfile.TemporaryDirectory(prefix="restbroker-verify-") as folder:
            url, beside = f"http://127.0.0.1:{stand_in.port}/api", (self.nursery, os.environ)
            fleet = Fleet(self.settings, Path(folder), self.witness, url, token, *beside, cuts=True)
            breaker = Breaker(fleet, stand_in, self.nursery, rng=rng, processes=self.plan.processes)
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
                await self.witness.ask(self.witness.push, QUEUE, [payload(number, token) for number in numbers])
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
            left = await self.witness.ask(self.witness.count_unfinished, QUEUE)
            quiet = quiet + 1 if left == 0 and self.pushed.is_set() else 0
            if quiet == 2:
                return
            if (now := left + sum(map(len, stand_in.jobs.values()))) != seen:
                seen, moved_s = now, time.monotonic()
            if time.monotonic() - moved_s > _STALLED_AFTER_S:
                return
            await trio.sleep(_POLL_S)

    async def _verdict(self, breaker: Breaker, began_s: float) -> Result:
        places = await self.witness.ask(self.witness.count_locations, QUEUE)
        dead = await self.witness.ask(self.witness.dead_jobs)
        attempted = [job_id(number) for number in range(self.plan.jobs)]
        statuses = {job: [one.status for one in sent] for job, sent in breaker.stand_in.jobs.items()}
        bound = breaker.bound + breaker.stand_in.cut
        return Result(
            verdict_of(attempted, self.acknowledged, statuses, places=places, dead=dead, bound=bound),
            dead_by_code=Counter(dead.values()),
            faults={str(name): count for name, count in breaker.happened.items()},
            requeued_s={str(name): times_s for name, times_s in breaker.requeued_s.items()},
            took_s=time.monotonic() - began_s,
            seed=self.plan.seed,
        )


def _new_token() -> str:
    return secrets.token_hex(16)
