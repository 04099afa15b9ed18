"""What a connector does without its server says nothing of that server's health."""

import attrs

from restbroker.job.command import Call
from restbroker.job.outcome import Delivered, Outcome
from restbroker.servers.contract import Link
from restbroker.telemetry.events import JobFinished, TargetDown
from restbroker.transport.errors import NotSent
from restbroker.transport.message import Request, Response
from tests.broker.conftest import Harness, Scripted


@attrs.define(eq=False)
class HalfOurs(Scripted):
    """Does `create` by itself."""

    async def deliver(self, call: Call, link: Link) -> Outcome:
        if call.command.endpoint == "create":
            return Delivered("done", None, 200, by_us=True)
        return await Scripted.deliver(self, call, link)


async def test_a_server_that_is_down_is_seen_though_jobs_that_need_none_succeed_all_the_time(harness: Harness) -> None:
    async def refuse(_request: Request) -> Response:
        done = len(harness.of(JobFinished))
        harness.push("create", first=done)
        await harness.until(lambda: len(harness.of(JobFinished)) > done, "one succeeds meanwhile")
        raise NotSent("Connection refused")

    harness.target = HalfOurs(refuse)
    async with harness.broker():
        harness.push("safe")
        await harness.until(lambda: harness.of(TargetDown) or len(harness.of(JobFinished)) > 5, "the breaker trips")
    assert {event.outcome for event in harness.of(JobFinished)} == {"delivered"}
    assert len(harness.of(JobFinished)) == 5
