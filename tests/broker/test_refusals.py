"""What Redis refuses while the broker runs, for want of rights or since a key is of another type, ends nothing."""

import trio
from trio.testing import MockClock

from restbroker.store.client import StoreSettings, open_client
from restbroker.store.jobs import Limits
from restbroker.telemetry.events import JobFinished, OperatorWarning, TargetDown
from restbroker.transport.errors import NotSent
from tests.broker.conftest import Harness, Held, ok, refuse


async def test_without_the_right_to_run_scripts_what_was_done_is_kept_and_settled_once_it_is_back(
    harness: Harness, hurry: MockClock
) -> None:
    harness.target.answer = held = Held()
    watcher = open_client(StoreSettings(harness.redis.url))
    async with harness.broker():
        harness.push("once", count=3)
        await harness.until(lambda: len(harness.target.sent) == 3, "all are on their way")
        watcher.command("ACL", "SETUSER", "default", "-evalsha")
        try:
            held.let.set()
            await harness.until(lambda: "StoreRefused" in codes(harness), "it is told")
            await trio.sleep(1)
        finally:
            watcher.command("ACL", "SETUSER", "default", "+evalsha")
        await harness.until(lambda: len(harness.of(JobFinished)) == 3, "they are settled")
        harness.push("safe")
        await harness.until(lambda: len(harness.of(JobFinished)) == 4, "it goes on")
    watcher.close()
    assert len(harness.target.calls) == 4
    assert harness.ended is not None
    assert harness.ended.clean


async def test_a_late_start_that_cannot_be_charged_waits_until_the_key_is_mended(
    harness: Harness, hurry: MockClock
) -> None:
    harness.limits = Limits(emission_us=1000, burst=10)
    harness.target.answer = refuse
    async with harness.broker():
        await harness.until(lambda: harness.target.probes, "it serves")
        harness.push()
        await harness.until(lambda: harness.target.calls, "a worker has it")
        harness.client.command("DEL", "restbroker:rate:t")
        harness.client.command("LPUSH", "restbroker:rate:t", "no rate")
        await harness.until(lambda: "ChargeRefused" in codes(harness), "it is told")
        harness.target.answer = ok
        harness.client.command("DEL", "restbroker:rate:t")
        await harness.until(lambda: harness.of(JobFinished), "it is delivered")
    assert codes(harness).count("ChargeRefused") == 1


async def test_what_is_refused_before_it_is_sent_is_no_sign_of_life_of_the_target(
    harness: Harness, hurry: MockClock
) -> None:
    sent_before = 0

    async def refuse_by_turns() -> None:
        nonlocal sent_before
        sent_before += 1
        raise NotSent("refused" if sent_before % 2 else "no such header", by_request=sent_before % 2 == 0)

    harness.concurrency = 1
    harness.target.connected = refuse_by_turns
    async with harness.broker():
        harness.push(count=20)
        await harness.until(lambda: harness.of(TargetDown), "five in a row could not be sent")
    assert len(harness.of(JobFinished)) < 20


def codes(harness: Harness) -> list[str]:
    return [event.code for event in harness.of(OperatorWarning)]
