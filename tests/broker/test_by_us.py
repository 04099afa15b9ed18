"""What a connector does without its server says nothing of that server's health."""

import attrs
import trio

from restbroker.job.command import Call
from restbroker.job.outcome import Delivered, Outcome
from restbroker.servers.contract import Link
from restbroker.telemetry.events import TargetDown
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
        await trio.sleep(0.05)
        raise NotSent("Connection refused")

    harness.target = HalfOurs(refuse)
    harness.concurrency = 10
    async with harness.broker():
        await harness.until(lambda: harness.target.probes, "it serves")
        harness.target.probe_answer = NotSent("Connection refused")
        for number in range(40):
            harness.push("create", first=number)
        harness.push("safe", count=5)
        for number in range(40, 80):
            harness.push("create", first=number)
        await harness.until(lambda: harness.of(TargetDown), "the gate closes")
    (first, *_) = harness.of(TargetDown)
    assert first.code == "TargetUnreachable"
