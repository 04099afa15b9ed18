"""Redis knows of every job that may have been started, or a crash would take one for never sent."""

import trio

from restbroker.store import identities
from restbroker.store.replies import integer
from restbroker.telemetry.events import JobFinished
from restbroker.transport.message import Request, Response
from tests.broker.conftest import Harness


async def test_no_job_is_sent_whose_ticket_lies_above_the_mark_in_redis(harness: Harness) -> None:
    above: list[tuple[int, int]] = []

    def look(call: object) -> None:
        number = harness.target.calls[-1].command.arguments["n"]
        (identity,) = identities.live_identities(harness.client)
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
