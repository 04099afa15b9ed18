"""Jobs of the fast path that wait for the breaker, at the highest concurrency; all around it is a stand-in."""

from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from restbroker.broker.breaker import Breaker
from restbroker.broker.fast_path import FastPath
from restbroker.broker.job_in_progress import JobInProgress, Reservations
from restbroker.broker.ready_buffer import BatchSize, ReadyBuffer
from restbroker.job.outcome import Probe

WORKERS = 1000


@pytest.fixture
def jobs() -> dict[str, JobInProgress]:
    return {f"{number}:1": JobInProgress(f"{number}:1", number, "q", b"{}") for number in range(1, WORKERS + 1)}


@pytest.mark.parametrize("meanwhile", ["nothing", "taken away", "another plan", "no lease"])
async def test_a_thousand_jobs_that_wait_for_the_target_all_go_on_when_it_is_well_and_no_connection_is_left(
    autojump_clock: MockClock, jobs: dict[str, JobInProgress], meanwhile: str
) -> None:
    resumed: list[str] = []
    asked_for_connections: list[float] = []
    lease = SimpleNamespace(is_fresh=True)

    def resume(job: JobInProgress, *_: object) -> None:
        resumed.append(job.ticket)
        breaker.semaphore.leave()
        ready.note_done()

    def prepare(job: JobInProgress, path: FastPath) -> Any:
        exchange = SimpleNamespace(
            job=job,
            admitted_job=lambda: None,
            endpoint=SimpleNamespace(endpoint=SimpleNamespace(endpoint="c"), plan=None),
        )
        exchange.take_place = partial(path.start_held, cast("Any", exchange))
        return exchange

    breaker, ready, unused = (
        Breaker("t", lambda _event: None, WORKERS),
        ReadyBuffer(WORKERS, BatchSize()),
        cast("Any", None),
    )
    reserved = Reservations(dict(jobs))
    path = FastPath(
        plan=cast("Any", SimpleNamespace(target=SimpleNamespace(name="t"))),
        plain_jobs=cast("Any", SimpleNamespace(prepare=prepare, is_current=lambda _: meanwhile != "another plan")),
        client=cast("Any", SimpleNamespace(lend=asked_for_connections.append)),
        send_checks=cast("Any", SimpleNamespace(lease=lease, reservations=reserved)),
        ready=ready,
        breaker=breaker,
        settler=unused,
        acks=unused,
        stopping=trio.Event(),
        resume=resume,
        jobs=Counter(),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(path.run)
        ready.serve(path.take)
        await wait_all_tasks_blocked()
        ready.allow(WORKERS)
        ready.send_nowait(list(jobs.values()))
        assert breaker.semaphore.waiting_jobs == WORKERS
        if meanwhile == "taken away":
            reserved.release(*jobs)
        lease.is_fresh = meanwhile != "no lease"
        breaker.note_probe(Probe(ok=True, denied=False, version=None, detail="fine"))
        await wait_all_tasks_blocked()
        assert (breaker.semaphore.waiting_jobs, breaker.semaphore.capacity, ready.free_places) == (0, WORKERS, WORKERS)
        nursery.cancel_scope.cancel()
    assert sorted(resumed) == ([] if meanwhile == "taken away" else sorted(jobs))
    assert len(asked_for_connections) == (WORKERS if meanwhile == "nothing" else 0)
