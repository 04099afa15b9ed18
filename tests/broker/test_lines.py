"""A broker whose target has FairBy: keys take turns, lists are classified, and nothing is left."""

import json
from collections import Counter

import pytest
import trio

from restbroker.job.fairness import Fairness
from restbroker.job.order import key_rules
from restbroker.store.client import Reply, ScriptCall, integer
from restbroker.store.connection import Connection
from restbroker.telemetry.counters import Counters
from restbroker.telemetry.events import JobFinished, JobsClassified
from restbroker.transport.message import Request, Response
from tests.broker.conftest import Harness, Held, ok
from tests.support.store_calls import classify_lines

BY_HOST = Fairness(("host",))
TEXT = key_rules(None, BY_HOST)
LEFT = tuple(f"restbroker:{kind}:rest" for kind in ("line", "turn", "fair"))


def push(harness: Harness, host: str, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        harness.push(first=number, args=["safe", {"host": host, "n": number}, "t"], jid=f"{host}-{number}")


def in_lines(harness: Harness) -> int:
    return integer(harness.client.command("GET", "restbroker:line:rest") or 0)


def hosts(harness: Harness) -> list[str]:
    return [str(call.command.arguments["host"]) for call in harness.target.calls]


async def test_a_small_key_does_not_wait_behind_a_large_one(harness: Harness) -> None:
    harness.fairness, harness.concurrency = BY_HOST, 1
    push(harness, "big", 1000)
    push(harness, "small", 5)
    held = Held()
    harness.target.answer = held
    async with harness.broker():
        # The list is classified while the only worker is busy.
        await harness.until(lambda: harness.size("queue:rest") == 0, "all jobs are in lines")
        held.let.set()
        await harness.until_ended(1005)
    order = hosts(harness)
    assert Counter(order) == {"big": 1000, "small": 5}
    # Those that were handed out before they were classified came first.
    assert max(place for place, host in enumerate(order) if host == "small") < 60
    for host in ("big", "small"):
        numbers = [
            call.command.arguments["n"] for call in harness.target.calls if call.command.arguments["host"] == host
        ]
        assert numbers == sorted(numbers)  # type: ignore[type-var]
    assert not harness.client.command("EXISTS", *LEFT)


async def test_stop_puts_jobs_back_before_their_lines_for_next_process(harness: Harness) -> None:
    harness.fairness = BY_HOST
    push(harness, "big", 50)
    held = Held()
    harness.target.answer = held
    async with harness.broker():
        await harness.until(lambda: len(harness.target.calls) == 3, "all workers are busy")
        held.let.set()
    done = len(harness.of(JobFinished))
    assert in_lines(harness) + harness.size("queue:rest") == 50 - done
    await harness.serve(50)
    assert Counter(call.command.arguments["n"] for call in harness.target.calls) == Counter(range(50))


async def test_lines_of_before_are_served_without_fairness(harness: Harness) -> None:
    push(harness, "old", 10)
    classify_lines(harness.client, "t", "rest", TEXT)
    push(harness, "new", 10)
    await harness.serve(20)
    assert Counter(hosts(harness)[:10])["old"] >= 7
    assert not harness.client.command("EXISTS", *LEFT)


@pytest.mark.slow  # a fetch stands for five seconds
async def test_jobs_returned_to_lines_by_another_are_found_in_seconds(harness: Harness) -> None:
    harness.fairness = BY_HOST
    async with harness.broker():
        push(harness, "first", 1)
        await harness.until_ended(1)
        await trio.sleep(0.5)
        began_s = trio.current_time()
        # No list grows, so that nothing wakes the one that waits.
        raw = json.dumps({"class": "Add", "jid": "back", "args": ["safe", {"host": "back"}, "t"]}).encode()
        harness.client.command("LPUSH", "restbroker:line:rest\x1eback", raw)
        harness.client.command("INCR", "restbroker:line:rest")
        harness.client.command("ZADD", "restbroker:turn:rest", 25200, "back")
        await harness.until_ended(2)
        assert trio.current_time() - began_s < 8


async def test_process_sleeps_before_full_lines_with_nothing_to_take(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches = 0

    async def counted(connection: Connection, call: ScriptCall) -> Reply:
        nonlocal fetches
        fetches += call[0] == "fetch"
        return await run(connection, call)

    run = Connection.run
    monkeypatch.setattr(Connection, "run", counted)
    harness.fairness = BY_HOST
    push(harness, "lost", 5)
    classify_lines(harness.client, "t", "rest", TEXT)
    harness.client.command("DEL", "restbroker:turn:rest")
    async with harness.broker():
        await trio.sleep(3)
        assert fetches < 12
        assert in_lines(harness) == 5


async def test_job_without_key_is_reported_and_counted(harness: Harness) -> None:
    harness.fairness = BY_HOST
    harness.push(count=3)
    await harness.serve(3)
    assert sum(event.without_key for event in harness.of(JobsClassified)) == 3
    counters = Counters()
    for event in harness.events:
        counters(event)
    assert counters.samples()["restbroker_fair_without_key_total"] == {("t",): 3}


async def test_slots_and_weights_of_queues_hold_for_lines(harness: Harness) -> None:
    harness.fairness, harness.concurrency, harness.slots = BY_HOST, 4, {"slow": 1}
    harness.queues = ("rest", "other")
    most, now = 0, 0

    async def slowly(request: Request) -> Response:
        nonlocal most, now
        if request.path.startswith("/slow"):
            now += 1
            most = max(most, now)
            await trio.sleep(0.02)
            now -= 1
        return await ok(request)

    harness.target.answer = slowly
    for number in range(20):
        for command in ("slow", "safe"):
            args = [command, {"host": f"h{number % 3}", "n": number}, "t"]
            harness.push(first=number, args=args, jid=f"{command}-{number}", into="other" if number % 2 else "rest")
    await harness.serve(40)
    assert most == 1
