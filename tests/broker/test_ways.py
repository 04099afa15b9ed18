"""One delivery by its plan, step by step, or in a task: whatever jobs and servers do, all leave the same behind.

Each history is run three times, on an empty Redis and a server that answers each job as the job's own mood says. Equal
must be: each request's bytes and how often it came, what lies in Redis, every event of a job and the counters.
"""

import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, cast

import pytest
import trio
import trio.lowlevel

from restbroker.broker import steps
from restbroker.job.command import Call
from restbroker.job.outcome import Outcome
from restbroker.servers.contract import Link
from restbroker.servers.ejabberd.connector import EjabberdConnector
from restbroker.transport.message import Request
from tests.support.moody_server import Mood, fine
from tests.support.paths import Paths, job, jobs_of

JOBS: Final = int(os.environ.get("WAYS_JOBS", "800"))
"""How many jobs of a history: more with `.ci/soak fuzz`."""
LEAST_SHARE: Final = 0.5
"""The least share of a history's jobs delivered as planned: many answers are odd on purpose."""
SEED: Final = int(os.environ.get("WAYS_SEED", "0"))


@pytest.mark.promise("No command is lost", "jobs are done alike in three ways")
def test_all_ways_leave_the_same_behind(paths: Paths, report: Callable[[str], None]) -> None:
    jobs = jobs_of(SEED, JOBS)
    planned, share = paths.run(jobs, "plan")
    stepwise, none = paths.run(jobs, "steps")
    in_tasks, no_more = paths.run(jobs, "task")
    report(f"as planned: {share:.1%} of {JOBS} jobs, seed {SEED}")
    assert stepwise.differences(in_tasks) == []
    assert planned.differences(stepwise) == []
    assert share > LEAST_SHARE
    assert none == no_more == 0


async def _sleep() -> None:
    await trio.lowlevel.checkpoint()


async def _lock() -> None:
    async with trio.Lock():
        pass


async def _nursery() -> None:
    async with trio.open_nursery():
        pass


@pytest.mark.parametrize("is_guarded", [True, False])
@pytest.mark.parametrize("wait", [_sleep, _lock, _nursery])
async def test_misbehaving_stepwise_connector_costs_its_job_alone(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, wait: Callable[[], Awaitable[None]], is_guarded: bool
) -> None:
    """Where Trio does not let it run without a task, it has one, and may wait."""
    deliver = EjabberdConnector.deliver

    async def odd(connector: EjabberdConnector, call: Call, link: Link) -> Outcome:
        if call.command.arguments.get("user") == "7":
            await wait()
        return await deliver(connector, call, link)

    monkeypatch.setattr(EjabberdConnector, "deliver", odd)
    if not is_guarded:
        monkeypatch.setattr(steps, "advance_untasked", steps.begin_task)
    jobs = [job(str(number), Mood(fine())) for number in range(20)]
    async with paths.broker(jobs, way="steps", ours=False) as serving:
        await serving.until_ended(20)
        serving.control.stop.set()
    found = Counter(event.code or event.outcome for event in serving.finished())
    assert found == ({"delivered": 19, "Bug": 1} if is_guarded else {"delivered": 20})
    said = [event.message or "" for event in serving.finished() if event.code == "Bug"]
    assert ["await link.task()" in message for message in said] == [True] * is_guarded


async def test_a_request_that_cannot_be_made_costs_its_job_alone(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a gate, too, where the request is made only once Redis has answered."""
    deliver = EjabberdConnector.deliver

    async def odd(connector: EjabberdConnector, call: Call, link: Link) -> Outcome:
        if call.command.arguments.get("user") == "7":
            await link.send(Request("POST", "/", call.timeout_s, body=cast("bytes", "a text")))
        return await deliver(connector, call, link)

    monkeypatch.setattr(EjabberdConnector, "deliver", odd)
    jobs = [
        json.dumps({**json.loads(job(str(number), Mood(fine()))), "idempotency_key": str(number)}).encode()
        for number in range(20)
    ]
    async with paths.broker(jobs, way="steps", ours=False) as serving:
        await serving.until_ended(20)
        serving.control.stop.set()
    assert Counter(event.code or event.outcome for event in serving.finished()) == {"delivered": 19, "Bug": 1}
