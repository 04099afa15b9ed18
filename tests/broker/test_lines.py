"""A broker whose target has FairBy: keys take turns, lists are classified, lines are mended, and nothing is left."""

from collections import Counter

import trio

from restbroker.broker import lines as broker_lines
from restbroker.job.fairness import Fairness
from restbroker.store import lines
from restbroker.telemetry.events import JobFinished
from tests.broker.conftest import Harness, Held

BY_HOST = Fairness(("host",))
WAIT, KEYS, TURN = (f"restbroker:fair:{kind}:rest" for kind in ("wait", "keys", "turn"))


def push(harness: Harness, host: str, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        harness.push(first=number, args=["safe", {"host": host, "n": number}, "t"], jid=f"{host}-{number}")


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
        await harness.until(lambda: len(harness.of(JobFinished)) == 1005, "all are finished")
    order = hosts(harness)
    assert Counter(order) == {"big": 1000, "small": 5}
    # Those that were handed out before they were classified came first.
    assert max(place for place, host in enumerate(order) if host == "small") < 60
    for host in ("big", "small"):
        numbers = [
            call.command.arguments["n"] for call in harness.target.calls if call.command.arguments["host"] == host
        ]
        assert numbers == sorted(numbers)  # type: ignore[type-var]
    assert not [key for key in (WAIT, KEYS, TURN) if harness.client.command("EXISTS", key)]


async def test_a_stop_puts_jobs_back_before_their_lines_and_the_next_process_goes_on(harness: Harness) -> None:
    harness.fairness = BY_HOST
    push(harness, "big", 50)
    held = Held()
    harness.target.answer = held
    async with harness.broker():
        await harness.until(lambda: len(harness.target.calls) == 3, "all workers are busy")
        held.let.set()
    done = len(harness.of(JobFinished))
    assert harness.size(WAIT) + harness.size("queue:rest") == 50 - done
    async with harness.broker():
        await harness.until(lambda: len(harness.of(JobFinished)) == 50, "all are finished")
    assert Counter(call.command.arguments["n"] for call in harness.target.calls) == Counter(range(50))


async def test_a_turn_that_someone_deleted_is_given_again_and_a_job_for_the_list_is_met_at_once(
    harness: Harness,
) -> None:
    harness.fairness = BY_HOST
    push(harness, "lost", 10)
    # As it would be left: nothing can be handed out of these lines.
    lines.classify(harness.client, "t", "rest", BY_HOST.text, 0)
    harness.client.command("DEL", TURN)
    began_s = trio.current_time()
    async with harness.broker():
        await harness.until(lambda: len(harness.of(JobFinished)) == 10, "all are finished")
        assert trio.current_time() - began_s < broker_lines.HEAL_S
        # Nothing is left, so the wait for the list ends with the next push.
        await trio.sleep(0.5)
        began_s = trio.current_time()
        push(harness, "next", 1)
        await harness.until(lambda: len(harness.of(JobFinished)) == 11, "the next is finished")
        assert trio.current_time() - began_s < 1.5


async def test_lines_of_before_are_served_without_fairness(harness: Harness) -> None:
    push(harness, "old", 10)
    lines.classify(harness.client, "t", "rest", BY_HOST.text, 0)
    push(harness, "new", 10)
    async with harness.broker():
        await harness.until(lambda: len(harness.of(JobFinished)) == 20, "all are finished")
    assert Counter(hosts(harness)[:10])["old"] >= 7
    assert not [key for key in (WAIT, KEYS, TURN) if harness.client.command("EXISTS", key)]
