"""What a pool takes from its queues: by weights, known to Redis first, and not while something keeps it from it."""

from collections import Counter
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from restbroker.broker import upkeep
from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.job.outcome import Rejected
from restbroker.job.reason import Reason
from restbroker.store import pauses, queues, unadmitted
from restbroker.store.client import integer, raw
from restbroker.store.jobs import Limits
from restbroker.telemetry.events import BrokerStarted, JobFinished, OperatorWarning, PauseEnded
from restbroker.transport.message import Request, Response
from tests.broker.conftest import Harness, Scripted, ok


def hindrance(harness: Harness) -> str | None:
    return harness.pool.hindrance if harness.status.pools else None


async def until_delivered(harness: Harness) -> None:
    await harness.until_ended()
    await harness.until(lambda: hindrance(harness) is None, "nothing hinders it any more")


async def test_full_dead_set_stops_fetching_and_is_reported(harness: Harness) -> None:
    harness.limits = Limits(dead=1)
    harness.client.command("ZADD", "dead", 1, "{}")
    harness.push()
    async with harness.broker():
        await harness.until(lambda: hindrance(harness) == "dead", "it holds")
        assert (harness.warnings, harness.target.calls, harness.size("queue:rest")) == (["DeadSetFull"], [], 1)
        harness.client.command("DEL", "dead")
        await until_delivered(harness)


async def test_queue_that_is_no_list_is_reported_and_served_later(harness: Harness) -> None:
    harness.client.command("SET", "queue:rest", "a text")
    async with harness.broker():
        await harness.until(lambda: hindrance(harness) == "refused", "it is refused")
        assert harness.warnings == ["BadQueue"]
        harness.client.command("DEL", "queue:rest")
        harness.push()
        await until_delivered(harness)


@pytest.mark.parametrize(
    ("broken", "whole"), [("queue:rest", "restbroker:hand:rest"), ("restbroker:hand:rest", "queue:rest")]
)
async def test_a_hand_that_cannot_be_emptied_stops_its_queue_alone(harness: Harness, broken: str, whole: str) -> None:
    """The list, or the hand, is of another type; what lies in a hand stays there until it is mended."""
    harness.queues = ("rest", "b")
    harness.push()
    harness.client.command("RENAME", "queue:rest", whole)
    harness.client.command("SET", broken, "a text")
    async with harness.broker():
        harness.push(first=1, into="b")
        await harness.until_ended()
        assert (harness.warnings, len(harness.target.calls)) == (["BadQueue"], 1)
        assert queues.sizes(harness.client, ["rest", "b"])["b"] == 0
        harness.client.command("DEL", broken)
        await harness.until_ended(2)


async def test_jobs_redis_gave_unheard_are_found_at_the_next_fetch(harness: Harness) -> None:
    async with harness.broker():
        await harness.until(lambda: harness.of(BrokerStarted), "it serves")
        # A push would be taken by the fetch that stands.
        harness.push(into="aside")
        taken = harness.client.command("RPOP", "queue:aside")
        assert isinstance(taken, bytes)
        harness.client.command("HSET", f"restbroker:ip:{harness.identity}", "1:1", taken, "last", 1)
        harness.push(first=1)
        await harness.until_ended(2)
    assert sorted(event.jid for event in harness.of(JobFinished)) == ["jid-safe-0", "jid-safe-1"]


async def test_queue_paused_for_a_while_is_served_again_and_logged(harness: Harness, hurry: MockClock) -> None:
    pauses.pause_queue(harness.client, "rest", "ann", "for a moment", 0.3)
    harness.push(count=1)
    async with harness.broker():
        await harness.until(lambda: harness.of(PauseEnded), "the pause ends")
        await harness.until(lambda: harness.target.calls, "the job is delivered")
    assert harness.of(PauseEnded) == [PauseEnded("queue", "rest", "ann", "for a moment")]


async def test_unreadable_pauses_are_reported_once_and_stop_nothing(harness: Harness) -> None:
    harness.client.command("SET", "restbroker:pauses:queues", "x")
    async with harness.broker():
        await harness.until(lambda: harness.of(OperatorWarning), "it is reported")
        harness.push(count=1)
        await harness.until(lambda: harness.target.calls, "the job is delivered")
    (warning,) = harness.of(OperatorWarning)
    assert warning.code == "PausesRefused"


async def test_the_bytes_of_a_large_job_go_once_nothing_names_them(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_LARGE_S", 0.05)
    command = harness.client.command
    async with harness.broker():
        harness.raw(b"x" * (PAYLOAD_LIMIT_BYTES + 1))
        await harness.until(lambda: harness.size("dead"), "it is dead")
        (entry,) = harness.members("dead")
        assert raw(command("GET", entry["args"][0])) == b"x" * (PAYLOAD_LIMIT_BYTES + 1)
        command("DEL", "dead", "restbroker:parked")
        lease = "restbroker:lease:large payloads"
        await harness.until(
            lambda: command("DEL", lease) is None or not command("EXISTS", entry["args"][0]), "its bytes are gone"
        )
        command("SET", "restbroker:large", "x")
        command("DEL", lease)
        command("SET", "restbroker:pauses:queues", "x")
        await harness.until(lambda: len(harness.of(OperatorWarning)) == 2, "both are reported")
    assert {event.code for event in harness.of(OperatorWarning)} == {"LargeRefused", "PausesRefused"}


FEW_AT_ONCE = Limits(in_flight=4)
"""So that the jobs come by hundreds of fetches."""


async def serve_weighted(harness: Harness, until: int, **weights: int) -> None:
    """Run a broker whose queues have these weights until so many jobs are done."""
    harness.limits, harness.queues, harness.weights = FEW_AT_ONCE, tuple(weights), weights
    async with harness.broker():
        await harness.until_ended(until)


def order(harness: Harness) -> list[str]:
    """The queue of each job, as they were finished."""
    return [event.queue for event in harness.of(JobFinished)]


@pytest.mark.promise("Sidekiq: the process record", "queues with weights")
async def test_queues_with_jobs_each_get_their_weighted_share(harness: Harness) -> None:
    harness.push(count=600, into="heavy")
    harness.push(count=600, into="light")
    await serve_weighted(harness, 600, heavy=3, light=1)
    shares = Counter(order(harness)[:600])
    # Five standard deviations of 150 fetches.
    assert abs(shares["heavy"] / 600 - 0.75) < 0.18


async def test_heavy_queue_that_is_never_empty_starves_no_light_one(harness: Harness) -> None:
    harness.push(count=1200, into="heavy")
    harness.push(count=5, into="light")
    await serve_weighted(harness, 1000, heavy=20, light=1)
    assert "light" in order(harness)[:1000]
    assert harness.size("queue:heavy") > 0


async def test_empty_heavy_queue_delays_no_light_one(harness: Harness) -> None:
    harness.push(count=100, into="light")
    await serve_weighted(harness, 100, heavy=1000, light=1)
    assert Counter(order(harness)) == {"light": 100}


FORGED: dict[str, Any] = {"restbroker_unadmitted": "t2"}


@pytest.mark.promise("Security: who can push to the queues", "a command without a token, or with a guessed one")
async def test_a_flood_pauses_its_queue_and_stops_no_other(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, hurry: MockClock
) -> None:
    """`DeadLimit` is no less than `MOST`: an earlier count would put the next one off by ten seconds."""
    monkeypatch.setattr(unadmitted, "MOST", 50)
    harness.others, harness.limits = {"t2": Scripted(ok)}, Limits(dead=50)
    harness.raw(*([b'{"args":["x",{},""]}', b"no json", b'{"args":["safe",{},"wrong"]}'] * 20))
    async with harness.broker():
        await harness.until(lambda: harness.of(OperatorWarning), "it is reported")
        assert harness.warnings == ["QueueFlooded"]
        assert "The queue 'rest' is paused" in harness.of(OperatorWarning)[0].message
        assert list(pauses.paused_queues(harness.client)) == ["rest"]
        harness.push(into="t2")
        await harness.until(lambda: harness.others["t2"].calls, "the other one is served")


async def test_events_that_die_pause_their_queue_alone(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, hurry: MockClock
) -> None:
    """As a wrong path in an application makes them."""
    monkeypatch.setattr(unadmitted, "MOST", 50)
    harness.others, harness.limits = {"t2": Scripted(ok)}, Limits(dead=100)
    harness.event_commands = frozenset({"event"})
    harness.target.judge = lambda _call, _response: Rejected(Reason("NotFound", "no such path"))
    harness.push("other", count=30)
    harness.push("event", count=40)
    async with harness.broker():
        await harness.until(lambda: harness.size("dead") == 70, "all are dead")
        assert not harness.of(OperatorWarning)
        harness.push("event", count=20, first=40)
        await harness.until(lambda: harness.of(OperatorWarning), "it is reported")
        assert list(pauses.paused_queues(harness.client)) == ["rest"]
        harness.push(into="t2")
        await harness.until(lambda: harness.others["t2"].calls, "the other one is served")


async def test_unadmitted_job_says_so_as_its_last_member(harness: Harness) -> None:
    harness.push(args=["safe", {}, "wrong"], **FORGED)
    harness.raw(b"\xff", b"[1]", b'{"args":["safe"]}')
    harness.push(args=["safe", {}, "wrong"], dead=False)
    harness.push("admitted", expiry="soon", **FORGED)
    await harness.serve(6)
    *others, admitted = sorted(harness.members("dead"), key=lambda entry: entry["jid"] == "jid-admitted-0")
    assert [(*entry,)[-1] for entry in others] == ["restbroker_unadmitted"] * 4
    assert {entry["restbroker_unadmitted"] for entry in others} == {"rest"}
    assert (admitted["error_class"], "restbroker_unadmitted" in admitted) == ("BadExpiry", False)
    assert unadmitted.total(harness.client) == 4


async def test_no_job_is_sent_whose_ticket_is_above_the_mark_in_redis(harness: Harness) -> None:
    above: list[tuple[int, int]] = []

    def look(call: object) -> None:
        number = harness.target.calls[-1].command.arguments["n"]
        mark = integer(harness.client.command("HGET", f"restbroker:ip:{harness.identity}", "hwm"))
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
        await harness.until_ended(1200)
    assert above == []
