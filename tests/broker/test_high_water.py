# ruff: noqa: SLF001 - a broker's lanes
"""Redis knows of every job that may have been started, or a crash would take one for never sent."""

import trio

from restbroker.broker.item import Item
from restbroker.store import beats
from restbroker.store.replies import integer
from restbroker.telemetry.events import JobFinished
from restbroker.transport.message import Request, Response
from tests.broker.conftest import Harness


async def test_no_job_is_sent_whose_ticket_lies_above_the_mark_in_redis(harness: Harness) -> None:
    above: list[tuple[int, int]] = []

    def look(call: object) -> None:
        number = harness.target.calls[-1].command.arguments["n"]
        (identity,) = beats.live(harness.client)
        mark = integer(harness.client.command("HGET", f"restbroker:ip:{identity}", "hwm"))
        assert isinstance(number, int)
        if number + 1 > mark:
            above.append((number + 1, mark))

    async def answer(_request: Request) -> Response:
        await trio.sleep(0.001)
        return Response(200, {}, b"0", 0.0)

    harness.concurrency = 20
    harness.target.before, harness.target.answer = look, answer
    async with harness.broker():
        for start in range(0, 1200, 40):
            harness.push("safe", count=40, first=start)
            await harness.until(lambda start=start: len(harness.of(JobFinished)) > start, "it goes on")  # type: ignore[misc]
        await harness.until(lambda: len(harness.of(JobFinished)) == 1200, "all are delivered")
    assert above == []


async def test_no_more_may_start_than_the_pace_needs_and_never_100_more_than_there_are_workers(
    harness: Harness,
) -> None:
    harness.concurrency = 20
    async with harness.broker():
        await harness.until(harness.status.serving, "it serves")
        (lane,) = harness.status._lanes
        assert lane.high_water == 20
        lane.pace.settled(35, 0.0)
        assert lane.high_water == 70
        lane.pace.settled(1000, 0.0)
        assert lane.high_water == 120
        for _ in range(4):
            lane.pace.settled(1, 0.0)
        assert lane.high_water == 20


async def test_a_mark_beyond_the_last_ticket_that_redis_knew_allows_none_that_come_later(harness: Harness) -> None:
    async with harness.broker():
        await harness.until(harness.status.serving, "it serves")
        (lane,) = harness.status._lanes
        lane.told(50, 10)
        lane.handover.put([Item(f"{number}:1", number, "rest", b"{}") for number in (10, 11)])
        assert lane.handover.is_ready
        first = await lane.handover.take()
        assert first is not None
        assert (first.number, lane.handover.is_blocked) == (10, True)
