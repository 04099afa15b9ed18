"""What Sidekiq sees of a running broker, and what the broker does when Sidekiq asks for it."""

import json
import os
import signal
import socket
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
import trio

from restbroker.broker import signals
from restbroker.broker.plan import Service
from restbroker.broker.status import record
from restbroker.broker.status.record import SidekiqRecord
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import OperatorWarning
from tests.broker.conftest import Harness, Held, Scripted, ok

NOW_S = 1_800_000_000.0


def recorded(harness: Harness) -> Sequence[Service]:
    connection = Connection(open_client(StoreSettings(harness.redis.url), 1.0))
    return [SidekiqRecord(connection, harness.status, harness.control, harness.events.append, lambda: False)]


@pytest.fixture
def shown(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> Harness:
    """It has a record, which is written often."""
    monkeypatch.setattr(record, "RECORD_S", 0.05)
    harness.services = recorded
    return harness


def name(harness: Harness) -> str | None:
    found: Any = harness.client.command("SMEMBERS", "processes")
    return next((bytes(process).decode() for process in found), None)


def process(harness: Harness) -> dict[str, str]:
    flat: Any = harness.client.command("HGETALL", name(harness) or "")
    texts = [bytes(part).decode() for part in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def work(harness: Harness, key: str = "work") -> list[dict[str, Any]]:
    found: Any = harness.client.command("HVALS", f"{name(harness)}:{key}")
    return [json.loads(row) for row in found]


async def ask(harness: Harness, what: str) -> None:
    await harness.until(lambda: name(harness), "the record is there")
    harness.client.command("LPUSH", f"{name(harness)}-signals", what)


async def test_a_record_that_was_never_written_is_not_removed(harness: Harness) -> None:
    """A stop while Redis is silent would wait for that."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        harness.redis = attrs.evolve(harness.redis, port=silent.getsockname()[1])
        (service,) = recorded(harness)
        async with trio.open_nursery() as nursery:
            await nursery.start(service.run)
            nursery.cancel_scope.cancel()
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()


@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "capsules (7 and later)")
async def test_process_is_shown_with_its_queues_and_gone_when_it_ended(shown: Harness) -> None:
    shown.others = {"other": Scripted(ok)}
    async with shown.broker():
        await shown.until(lambda: process(shown), "the record is there")
        fields = process(shown)
        info = json.loads(fields["info"])
        assert info["pid"] == os.getpid()
        assert (info["tag"], info["queues"], info["labels"]) == ("restbroker", ["rest", "other"], ["t", "other"])
        assert info["capsules"]["t"] == {"concurrency": 3, "mode": "strict", "weights": {"rest": 0}}
        assert info["concurrency"] == int(fields["concurrency"]) == 6
        assert info["identity"] == name(shown)
        assert (fields["busy"], fields["quiet"]) == ("0", "false")
        assert int(fields["rss"]) > 10_000
    assert shown.client.command("SCARD", "processes") == 0


@pytest.mark.promise("Sidekiq: the process record", "queues with weights")
async def test_weights_of_queues_are_shown_in_the_words_of_sidekiq(shown: Harness) -> None:
    shown.queues, shown.weights = ("high", "low"), {"high": 3, "low": 1}
    async with shown.broker():
        await shown.until(lambda: process(shown), "the record is there")
        info = json.loads(process(shown)["info"])
        assert info["capsules"]["t"] == {"concurrency": 3, "mode": "weighted", "weights": {"high": 3, "low": 1}}
        assert info["weights"] == [{"high": 3, "low": 1}]


async def test_the_record_says_how_fast_its_queues_grow(shown: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "LEAST_TREND_S", 0.2)
    shown.target.answer = held = Held()
    async with shown.broker():

        def grows(queue: str) -> float:
            changes = json.loads(process(shown).get("info", "{}")).get("queue_changes_per_s", {})
            return float(changes.get(queue, -1))

        await shown.until(lambda: grows("rest") == 0, "the queue's lengths are known")
        shown.push(count=200)
        await shown.until(lambda: grows("rest") > 0, "it grows")
        held.let.set()


@pytest.mark.parametrize(
    ("lengths", "per_s"),
    [
        pytest.param([0, 0, 10_000, 9_600, 9_200], -40.0, id="right after a large push"),
        pytest.param([0, 0, 10_000, 9_600, 9_200, 8_800], -80.0, id="a little later"),
        pytest.param([9_000, 6_000, 3_000, 3_500, 4_000, 4_500, 5_000], 100.0, id="it was emptied before"),
        pytest.param([5, 5, 5, 5, 4, 4], -0.04, id="a job now and then"),
        pytest.param([7, 7], None, id="too short a time"),
    ],
)
def test_how_fast_a_queue_grows_is_what_happens_now(lengths: list[int], per_s: float | None) -> None:
    sizes = [(5.0 * number, {"rest": jobs}) for number, jobs in enumerate(lengths)]
    assert record.changes_per_s(sizes).get("rest") == per_s


async def test_running_job_is_cancelled_by_its_displayed_name(shown: Harness) -> None:
    shown.target.answer = Held()
    async with shown.broker():
        shown.push(count=2)
        await shown.until(lambda: len(work(shown)) == 2, "both run")
        threads: Any = shown.client.command("HKEYS", f"{name(shown)}:work")
        await ask(shown, f"CANCEL {threads[0].decode()}")
        await shown.until(lambda: len(work(shown)) == 1, "one does not run any more")
        await ask(shown, f"CANCEL {threads[0].decode()}")
        await ask(shown, "CANCEL ")
        await shown.until(lambda: not shown.client.command("LLEN", f"{name(shown)}-signals"), "they are read")
        assert shown.size("dead") == 1
        assert not [event for event in shown.events if isinstance(event, OperatorWarning)]
        shown.control.at_once.set()


@pytest.mark.promise("Sidekiq: remote control", "dump_threads")
async def test_dump_is_requested_under_both_names_of_sidekiq(
    shown: Harness, capsys: pytest.CaptureFixture[str]
) -> None:
    async with shown.broker():
        for request in ("TTIN", "INFO"):
            await ask(shown, request)
            await shown.until(lambda: "SidekiqRecord.run" in capsys.readouterr().err, f"{request} prints the tasks")


async def test_unknown_request_is_reported_and_does_nothing(shown: Harness) -> None:
    async with shown.broker():
        await ask(shown, "KILL")
        shown.control.quiet.set()
        await shown.until(lambda: shown.of(OperatorWarning), "it is reported")
        assert shown.of(OperatorWarning)[0].code == "UnknownRequest"
        assert not shown.control.stop.is_set()


@pytest.mark.promise("Sidekiq: the process record", "whatever goes wrong with it, delivery goes on")
async def test_foreign_key_over_the_record_is_reported_once(shown: Harness) -> None:
    shown.client.command("SET", "processes", "no set")
    async with shown.broker():
        shown.push(count=20)
        await shown.until(lambda: shown.client.command("GET", "stat:processed") == b"20", "all are delivered")
        await shown.until(lambda: shown.of(OperatorWarning), "it is reported")
    assert [event.code for event in shown.of(OperatorWarning)] == ["RecordRefused"]


async def test_a_job_that_waits_for_its_slot_is_not_shown_as_running(shown: Harness) -> None:
    shown.target.answer, shown.slots = (held := Held()), {"safe": 1}
    async with shown.broker():
        shown.push(count=3)
        await shown.until(lambda: len(shown.status.running_jobs()) == 1 and shown.size("queue:rest") == 0, "one runs")
        await shown.until(lambda: len(work(shown)) == 1, "one is shown")
        held.let.set()
        await shown.until(lambda: shown.client.command("GET", "stat:processed") == b"3", "all are delivered")


async def test_first_signal_after_a_web_stop_cuts_nothing_off(shown: Harness) -> None:
    shown.target.answer = held = Held()
    async with shown.broker():
        shown.push()
        await shown.until(shown.status.running_jobs, "it runs")
        await ask(shown, "TERM")
        shown.control.quiet.set()
        await shown.until(shown.control.stop.is_set, "it stops")
        signals.act(signal.SIGTERM, shown.control, shown.report)
        assert not shown.control.at_once.is_set()
        held.let.set()
        await shown.until(lambda: shown.ended is not None, "it has ended")
    assert shown.client.command("GET", "stat:processed") == b"1"
    assert shown.size("retry") == 0


async def test_a_connection_that_redis_ended_meanwhile_costs_no_record(
    shown: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "RECORD_S", 3600.0)
    async with shown.broker():
        await shown.until(lambda: process(shown), "the record is there")
        await shown.until(lambda: shown.client.command("CLIENT", "KILL", "TYPE", "normal"), "all others are ended")
        shown.control.quiet.set()
        await shown.until(lambda: process(shown)["quiet"] == "true", "the next one is written at once")


async def test_no_more_than_so_many_jobs_are_shown(shown: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "_SHOWN_JOBS", 2)
    shown.target.answer = held = Held()
    async with shown.broker():
        shown.push(count=3)
        await shown.until(lambda: len(shown.status.running_jobs()) == 3, "three run")
        await shown.until(lambda: len(work(shown)) == 2, "two are shown")
        held.let.set()


async def test_names_whose_record_has_expired_are_pruned_at_the_start(shown: Harness) -> None:
    shown.client.command("SADD", "processes", "gone:1:abc")
    async with shown.broker():
        await shown.until(lambda: process(shown), "the record is there")
        assert shown.client.command("SISMEMBER", "processes", "gone:1:abc") == 0


async def test_large_job_shows_only_its_command(shown: Harness) -> None:
    shown.target.answer = held = Held()
    async with shown.broker():
        shown.push(args=["safe", {"body": "x" * 100_000, "user": "bob"}, "t"])
        await shown.until(lambda: work(shown), "it is shown")
        payload = json.loads(work(shown)[0]["payload"])
        assert (payload["display_class"], payload["args"]) == ("safe", ["***"])
        held.let.set()
