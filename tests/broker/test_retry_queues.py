"""Where and when a job is tried again: only in a queue of its target, whatever `retry_queue` says, by Redis' clock."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio

from restbroker.job.outcome import Deferred, Outcome, Reason, Rejected
from restbroker.store import sets
from restbroker.store.client import open_client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import OperatorWarning
from tests.broker.conftest import Harness

WHY = Reason("ServerError", "it broke")


def warned(harness: Harness) -> list[str]:
    return [event.code for event in harness.of(OperatorWarning)]


async def test_what_is_stored_names_the_queue_that_it_was_taken_from_and_a_warning_says_so(harness: Harness) -> None:
    outcomes: list[Outcome] = [Deferred(WHY), Deferred(WHY, counts=False), Rejected(WHY), Rejected(WHY)]
    harness.target.judge = lambda call, _response: outcomes[int(str(call.command.arguments["n"]))]
    for number in range(4):
        fields = {"class": "AdminWorker", "jid": f"j{number}", "queue": "default", "retry_queue": "default"}
        token = "a wrong one" if number == 3 else "t"
        harness.raw(json.dumps({**fields, "args": ["safe", {"n": number}, token]}).encode())
    async with harness.broker():
        await harness.until(
            lambda: [harness.size(zset) for zset in ("retry", "schedule", "dead")] == [1, 1, 2], "all are stored"
        )
    stored = [entry for zset in ("retry", "schedule", "dead") for entry in harness.members(zset)]
    assert [entry["queue"] for entry in stored] == ["rest"] * 4
    assert warned(harness) == ["RetryQueueIgnored"] * 4
    assert len({event.message for event in harness.of(OperatorWarning)}) == 1, (
        "the log sums up what is said in the same words"
    )
    assert not any("AdminWorker" in str(event) for event in harness.of(OperatorWarning))


@pytest.mark.promise("Security: who can push to the queues", "to reach another queue through retry_queue")
@pytest.mark.parametrize(
    ("named", "queue", "codes"), [("default", "rest", ["RetryQueueIgnored"]), ("slow", "slow", [])]
)
async def test_what_a_dead_process_was_about_to_send_is_parked_for_a_queue_of_its_target(
    harness: Harness, named: str, queue: str, codes: list[str]
) -> None:
    fields: dict[str, Any] = {"jid": "j", "args": ["once", {}, "t"], "retry_queue": named}
    harness.raw(json.dumps(fields).encode())
    harness.queues = ("rest", "slow")
    harness.crashed(marked=True)
    harness.queues = ("rest",)
    async with harness.broker():
        await harness.until(lambda: harness.size("dead") == 1, "it is parked")
        await harness.until(lambda: warned(harness) == codes, "it is said")
    assert [(entry["error_class"], entry["queue"]) for entry in harness.members("dead")] == [("Uncertain", queue)]


async def test_the_first_job_that_fails_is_due_by_redis_clock_even_before_the_scheduler_has_seen_it(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_s, own_time_s = time.time(), time.time
    monkeypatch.setattr(time, "time", lambda: own_time_s() + 3600)

    class Unscheduled(Connection):
        async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if function is sets.due:
                await trio.sleep_forever()
            return await super().call(function, *args, **kwargs)

    harness.connect = lambda settings: Unscheduled(open_client(settings, harness.patience_s))
    harness.target.judge = lambda *_: Deferred(WHY)
    harness.push()
    async with harness.broker():
        await harness.until(lambda: harness.size("retry"), "it is to be tried again")
    ((_, score),) = sets.list_members(harness.client, "retry", 0, 1, newest_first=False)
    assert began_s < score < began_s + 1800
