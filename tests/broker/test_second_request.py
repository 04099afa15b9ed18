"""A delivery of two requests of which the second is not sent: what the first did is known from then on."""

import json
from collections import deque
from collections.abc import Awaitable, Callable

import pytest
import trio

from restbroker.broker.settler import Settler
from restbroker.errors import ConnectionEnded
from restbroker.job.command import Call
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Reason, Rejected
from restbroker.operate.act_job import Action, plan
from restbroker.operate.context import ConfigContext
from restbroker.operate.job import MAY_HAVE_RUN, StoredJob
from restbroker.servers.contract import Link
from restbroker.store.client import items, raw
from restbroker.store.keys import SortedSet
from restbroker.store.sets import Placement
from restbroker.telemetry.events import JobFinished
from restbroker.transport.message import MaybeSent, NotSent, Request, Response
from tests.broker.conftest import Harness, ok, refuse


def status(code: int) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        return Response(code, {}, b"0", 0.0)

    return answer


async def two(call: Call, link: Link) -> Outcome:
    """Makes something, and goes on with it: 409 is an error unless the job may have made it."""
    made = await link.send(Request("POST", "/make", call.timeout_s))
    if made.status == 409 and not call.maybe_run:
        return Rejected(Reason("AlreadyExists", "It is there.", status=409))
    filled = await link.send(Request("POST", "/fill", call.timeout_s))
    match filled.status:
        case 200:
            return Delivered("0", 0, 200)
        case 403:
            return Denied(Reason("CommandForbidden", "403", status=403))
        case 400:
            return Rejected(Reason("BadArgument", "400", status=400))
        case _:
            return Deferred(Reason("ServerError", "500", status=filled.status))


def maybe_run_of_calls(harness: Harness) -> list[bool]:
    return [call.maybe_run for call in harness.target.calls]


@pytest.mark.promise("At least once, and seldom more", "a command of several requests knows its own first one")
@pytest.mark.parametrize(("code", "fate"), [(403, "dead"), (400, "dead"), (500, "retry")])
async def test_job_failing_at_second_request_is_stored_as_begun(harness: Harness, code: int, fate: SortedSet) -> None:
    """A person's retry meets what the first request made."""
    harness.target.way = two
    harness.target.answers = deque([ok, status(code), status(409), ok])
    async with harness.broker():
        harness.push("create")
        await harness.until(lambda: harness.size(fate), "it is stored")
        (member,) = items(harness.client.command("ZRANGE", fate, 0, -1))
        harness.client.command("DEL", fate)
        look = StoredJob(raw(member), 1.0, ConfigContext({}))
        assert plan(look, fate, Action("retry", "ann", foreign_queues=True), 1e9, 0) == MAY_HAVE_RUN
        moved = plan(look, fate, Action("retry", "ann", repeat_unsafe=True, foreign_queues=True), 1e9, 0)
        assert isinstance(moved, Placement)
        harness.raw(moved.new or b"")
        await harness.until(lambda: [*harness.of(JobFinished)][1:], "it is done")
    assert harness.of(JobFinished)[1].outcome == "delivered"
    assert maybe_run_of_calls(harness) == [False, True]
    assert harness.size("dead") == harness.size("retry") == 0


async def test_second_request_is_retried_as_perhaps_run_without_a_try(
    harness: Harness,
) -> None:
    harness.target.way = two
    harness.target.answers = deque([ok, refuse, status(409), refuse, status(409), ok])
    harness.push("once")
    await harness.serve()
    assert maybe_run_of_calls(harness) == [False, True, True]
    assert (harness.size("dead"), harness.of(JobFinished)[0].outcome) == (0, "delivered")


async def test_resending_a_refused_request_is_no_second_request(
    harness: Harness,
) -> None:
    async def login_again(call: Call, link: Link) -> Outcome:
        await link.send(Request("POST", "/make", call.timeout_s))
        found = await link.send(Request("POST", "/make", call.timeout_s))
        return Rejected(Reason("AlreadyExists", "409")) if found.status == 409 else Delivered("0", 0, 200)

    harness.target.way = login_again
    harness.target.answers = deque([status(401), refuse, status(401), status(409)])
    harness.push("create")
    await harness.serve_until(lambda: harness.size("dead"), "it is dead")
    assert maybe_run_of_calls(harness) == [False, False]
    assert "restbroker_effected" not in harness.members("dead")[0]


async def test_repeating_what_did_not_leave_is_no_second_request(harness: Harness) -> None:
    async def try_again(call: Call, link: Link) -> Outcome:
        with pytest.raises(NotSent):
            await link.send(Request("POST", "/make", call.timeout_s))
        found = await link.send(Request("POST", "/make", call.timeout_s))
        return Rejected(Reason("AlreadyExists", str(found.status)))

    harness.target.way = try_again
    harness.target.answers = deque([refuse, status(409)])
    harness.push("create")
    await harness.serve_until(lambda: harness.size("dead"), "it is dead")
    assert "restbroker_effected" not in harness.members("dead")[0]


@pytest.mark.parametrize("problem", [NotSent("refused"), MaybeSent("reset")])
async def test_unanswered_look_between_requests_leaves_job_begun(
    harness: Harness, problem: NotSent | MaybeSent
) -> None:
    async def look_between(call: Call, link: Link) -> Outcome:
        await link.send(Request("POST", "/make", call.timeout_s))
        await link.ask(Request("GET", "/look", call.timeout_s))
        await link.send(Request("POST", "/fill", call.timeout_s))
        return Delivered("0", 0, 200)

    async def fail(_request: Request) -> Response:
        raise problem

    harness.target.way = look_between
    harness.target.answers = deque([ok, fail])
    harness.push("once")
    await harness.serve()
    assert maybe_run_of_calls(harness) == [False, True]
    assert harness.size("retry") == 0


async def test_job_cut_off_at_second_connection_goes_back_begun(harness: Harness) -> None:
    requests = 0

    async def connected() -> None:
        nonlocal requests
        requests += 1
        await (trio.lowlevel.checkpoint if requests == 1 else trio.sleep_forever)()

    harness.target.way, harness.target.connected, harness.shutdown_timeout_s = two, connected, 0.2
    harness.push("once")
    await harness.serve_until(lambda: requests == 2, "it goes on")
    (back,) = harness.entries("queue:rest")
    assert back["restbroker_effected"] is True
    assert harness.size("retry") == harness.size("dead") == 0


async def test_job_dies_as_begun_if_broker_fails_after_second_request(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Settler, "to_store", fail)
    harness.target.way = two
    harness.target.answers = deque([ok, status(500)])
    harness.push("once")
    await harness.serve_until(lambda: harness.size("dead"), "it is dead")
    (dead,) = harness.members("dead")
    assert dead["error_class"] == "Bug"
    inside = json.loads(dead["args"][0])
    assert (inside["jid"], inside["restbroker_effected"]) == ("jid-once-0", True)


async def test_cancelling_a_begun_job_says_that_it_may_have_run(harness: Harness) -> None:
    harness.target.way = two
    harness.target.answers = deque([ok])
    harness.target.answer = refuse
    async with harness.broker():
        harness.push("once")
        await harness.until(lambda: len(harness.target.calls) > 1, "the second request is not sent")
        (running,) = harness.status.running_jobs()
        assert harness.status.cancel(running.thread) is True
        await harness.until(lambda: harness.size("dead"), "it is dead")
    (dead,) = harness.members("dead")
    assert (dead["error_class"], dead["restbroker_may_have_run"]) == ("Cancelled", True)
    assert "may have run" in dead["error_message"]


@pytest.mark.promise("At least once, and seldom more", "under AtMostOnce a command of several requests dies")
@pytest.mark.parametrize("second", [refuse, status(403), status(500)])
async def test_under_at_most_once_a_command_is_not_begun_again(
    harness: Harness, second: Callable[[Request], Awaitable[Response]]
) -> None:
    harness.target.way, harness.at_most_once = two, ("once",)
    harness.target.answers = deque([ok, second])
    harness.push("once")
    await harness.serve_until(lambda: harness.size("dead"), "it is dead")
    (dead,) = harness.members("dead")
    assert (dead["error_class"], dead["restbroker_may_have_run"], len(harness.target.calls)) == (
        "Uncertain",
        True,
        1,
    )


async def test_begun_job_forgotten_by_redis_is_not_begun_again(
    harness: Harness,
) -> None:
    """Its command is of AtMostOnce, and Redis forgets between the requests that the job was given away."""

    async def forget(request: Request) -> Response:
        identity = harness.identity
        harness.client.command("DEL", f"restbroker:ip:{identity}", f"restbroker:sent:{identity}")
        return await ok(request)

    harness.target.way, harness.at_most_once = two, ("once",)
    harness.target.answers = deque([forget])
    async with harness.broker():
        harness.push("once")
        await harness.until(lambda: harness.target.sent, "it is begun")
        pool = harness.pool
        await harness.until(lambda: not pool.reservations.jobs, "it is no longer in progress")
        pool.acker.health.record_outage(ConnectionEnded("Redis restarted."))
        # As a restart does: what stood in Redis before it takes nothing.
        harness.client.command("CLIENT", "KILL", "TYPE", "normal")
        harness.push("once")
        await harness.until(lambda: harness.size("dead"), "it is dead")
    (dead,) = harness.members("dead")
    assert (dead["error_class"], [request.path for request in harness.target.sent]) == ("Uncertain", ["/make"])
