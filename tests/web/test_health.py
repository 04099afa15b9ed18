"""/healthz and /readyz: when a process is ready, when it is not, and how little they show."""

from typing import Any

import attrs
import pytest
import trio

from restbroker.broker.status.status import Status
from restbroker.broker.status.view import View
from restbroker.telemetry.events import BrokerStopping, TargetDown, TargetUp
from restbroker.transport.message import NotSent, Request, Response
from restbroker.web.health import HealthSources, health_app
from tests.broker.conftest import FINE, Harness
from tests.web.conftest import Open, Site


async def until_ready(running: Site, status: int) -> dict[str, object]:
    """The body of the first answer with this status."""
    with trio.fail_after(60):
        while (answer := await running.get_ready()).status_code != status:  # noqa: ASYNC110 - there is no event
            await trio.sleep(0.02)
    body: dict[str, object] = answer.json()
    return body


async def test_a_group_of_which_a_worker_hangs_is_not_alive() -> None:
    alive = [True]
    app = health_app(HealthSources(Status().view, lambda: alive[0]), lambda _event: None)
    first = await app.test_client().get("/healthz")
    alive[0] = False
    second = await app.test_client().get("/healthz")
    assert (first.status_code, second.status_code, await second.get_json()) == (200, 503, {"alive": False})


async def test_health_is_answered_under_any_name_and_by_head(site: Open) -> None:
    async with site() as running:
        assert await until_ready(running, 200) == {"ready": True, "phase": "serving"}
        url = f"{running.health.addresses[0]}/readyz"
        answers = [
            await running.client.get(url, headers={"Host": "broker.internal"}),
            await running.client.head(url),
            await running.client.get(f"{running.health.addresses[0]}/stats"),
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 404]


@pytest.mark.promise("Security: who can reach the ports", "as a page in an operator's browser, to read /stats")
async def test_dead_target_is_named_to_those_who_may_open_the_pages(harness: Harness, site: Open) -> None:
    harness.target.probe_answer = NotSent("refused by http://user:secret@10.0.0.1")
    serving = {"ready": True, "phase": "serving"}
    async with site() as running:
        await harness.until(lambda: harness.of(TargetDown), "the target is down")
        down = await until_ready(running, 200)
        alive = await running.ask("/healthz", Host="broker.internal")
        own, foreign = (await running.ask("/readyz"), await running.ask("/readyz", Host="evil.example"))
        harness.target.probe_answer = FINE
        await harness.until(lambda: harness.of(TargetUp), "the target is back")
        up = await until_ready(running, 200)
    assert own.json() == down == {**serving, "down_targets": {"t": "TargetUnreachable"}}
    assert (alive.status_code, alive.json()) == (200, {"alive": True})
    assert (foreign.status_code, foreign.json()) == (200, serving)
    assert up == serving


async def test_a_redis_that_refuses_writes_is_named(harness: Harness, site: Open) -> None:
    async with site() as running:
        await until_ready(running, 200)
        assert (await running.ask("/stats")).json()["unready"] is None
        harness.client.command("CONFIG", "SET", "min-replicas-to-write", 1)
        try:
            lost = await until_ready(running, 503)
            figures = (await running.ask("/stats")).json()
        finally:
            harness.client.command("CONFIG", "SET", "min-replicas-to-write", 0)
        await until_ready(running, 200)
    assert "refuses for now: Not enough good replicas to write." in str(lost["reason"])
    assert figures["unready"] == lost["reason"]


async def test_a_draining_broker_is_unready(harness: Harness, site: Open) -> None:
    finish = trio.Event()

    async def slowly(_request: Request) -> Response:
        await finish.wait()
        return Response(200, {}, b"0", 0.0)

    harness.target.answer = slowly
    harness.push()
    async with site() as running:
        await harness.until(lambda: harness.target.calls, "a job is in delivery")
        harness.control.stop.set()
        await harness.until(lambda: harness.of(BrokerStopping), "it drains")
        answer = await running.get_ready()
        finish.set()
    assert (answer.status_code, answer.json()["reason"]) == (503, "The broker is stopping.")


def test_only_a_broker_that_may_take_jobs_is_ready() -> None:
    ready = View("serving", store_up=True, heartbeat_fresh=True, down_targets={"t": "TargetUnreachable"})
    changes: tuple[dict[str, Any], ...] = (
        {"phase": "quiet", "store_up": False}, {"store_up": False}, {"heartbeat_fresh": False}, {"refused": True},
        {"phase": "starting"}, {"phase": "stopping"},
    )  # fmt: skip
    assert [view.unready for view in (ready, attrs.evolve(ready, phase="quiet"))] == [None, None]
    assert [change for change in changes if attrs.evolve(ready, **change).unready is None] == []
