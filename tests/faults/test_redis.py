"""Redis goes away in every way it can, under load: no job is lost, none is answered twice, and the broker goes on.

The broker reaches Redis through a proxy that plays the network; the tests look at Redis directly. The variable
FAULT_SOAK=600 adds an outage of ten minutes (-o faulthandler_timeout=0).
"""

import os
import time
from pathlib import Path

import pytest

from restbroker.store.client import integer
from restbroker.store.scripts import script
from tests.support.bench import CONCURRENCY
from tests.support.redis_line import Line, pause
from tests.support.tcp_proxy import Loss
from tests.support.wait import until

SOAK = [float(cut_s) for cut_s in os.environ.get("FAULT_SOAK", "").split()]


@pytest.mark.promise("No command is lost", "Redis is cut off, frozen, suspended or killed")
@pytest.mark.promise("At least once, and seldom more", "only who is dead, frozen or cut off is taken over")
@pytest.mark.parametrize("cut_s", [1.0, *(pytest.param(cut_s, marks=pytest.mark.nightly) for cut_s in (25.0, *SOAK))])
def test_cut_connection_costs_only_waiting_and_no_takeover(line: Line, cut_s: float) -> None:
    """25 s are more than what a reaper waits before it fences a process whose beat stands still."""
    line.under_load(brokers=2)
    began_s = time.monotonic()
    line.proxy.cut()
    line.wait_until_lost()
    if cut_s > 3:
        line.watch_cpu()
    pause(began_s + cut_s - time.monotonic())
    line.proxy.mend()
    line.assert_it_goes_on()
    for broker in line.bench.brokers:
        assert "jobs.recovered" not in broker.output()
        assert "fenced" not in broker.output()


@pytest.mark.promise("No command is lost", "Redis is cut off, frozen, suspended or killed")
@pytest.mark.slow  # the time-out of a Redis that is silent
def test_frozen_connection_is_noticed_and_late_calls_do_nothing(line: Line) -> None:
    line.under_load()
    line.proxy.freeze()
    began_s = time.monotonic()
    line.wait_until_lost()
    pause(began_s + 4 - time.monotonic())
    line.proxy.thaw()
    line.assert_it_goes_on()


@pytest.mark.promise("No command is lost", "Redis is cut off, frozen, suspended or killed")
@pytest.mark.nightly
def test_a_suspended_redis_costs_waiting_only(own_line: Line) -> None:
    own_line.under_load()
    own_line.bench.redis.suspend()
    own_line.wait_until_lost()
    own_line.watch_cpu()
    own_line.bench.redis.resume()
    own_line.assert_it_goes_on()


@pytest.mark.promise("No command is lost", "Redis is cut off, frozen, suspended or killed")
@pytest.mark.slow  # an outage of five seconds
def test_killed_redis_with_its_data_costs_only_waiting(own_line: Line) -> None:
    own_line.under_load()
    own_line.bench.redis.kill()
    own_line.wait_until_lost()
    own_line.watch_cpu()
    own_line.bench.revive_redis()
    own_line.assert_it_goes_on()


@pytest.mark.promise("No command is lost", "Redis comes back empty")
def test_empty_redis_is_served_under_a_new_identity(own_line: Line) -> None:
    own_line.under_load()
    redis = own_line.bench.redis
    redis.kill()
    redis.wipe()
    own_line.wait_until_lost()
    own_line.bench.revive_redis()
    own_line.broker.wait_for(r"\bfenced\b")
    own_line.broker.wait_for(r"broker\.started", times=2)
    own_line.wait_until_back()
    gone = own_line.pushed
    own_line.push(50)
    until(lambda: len(own_line.bench.replies()) >= 50, "the new jobs are answered")
    answered = [reply_id for _, reply_id in own_line.bench.replies()]
    assert len(set(answered)) == len(answered)
    assert {f"reply-{number}" for number in range(gone, gone + 50)} <= set(answered)
    assert own_line.bench.places() == {}
    own_line.assert_outages(1)


REFUSALS = {
    "READONLY": ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    "NOREPLICAS": ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
}


@pytest.mark.promise("No command is lost", "Redis refuses writes")
@pytest.mark.parametrize("kind", ["READONLY", pytest.param("NOREPLICAS", marks=pytest.mark.nightly)])
def test_a_redis_that_refuses_writes_is_waited_for(own_line: Line, kind: str) -> None:
    begin, end = REFUSALS[kind]
    own_line.under_load()
    assert own_line.bench.redis.command(begin).startswith("+OK")
    own_line.wait_until_lost()
    own_line.watch_cpu()
    assert own_line.bench.redis.command(end).startswith("+OK")
    own_line.assert_it_goes_on()


@pytest.mark.promise("No command is lost", "Redis refuses writes")
@pytest.mark.nightly
def test_a_redis_that_cannot_save_is_waited_for(own_line: Line, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    redis = own_line.bench.redis
    redis.stop()
    redis.options = {"dir": str(gone), "save": "3600 1"}
    own_line.bench.revive_redis()
    gone.rmdir()
    own_line.under_load()
    redis.command("BGSAVE")
    own_line.wait_until_lost()
    own_line.watch_cpu()
    assert redis.command("CONFIG SET stop-writes-on-bgsave-error no").startswith("+OK")
    own_line.assert_it_goes_on()


@pytest.mark.promise("No command is lost", "connections to Redis are killed all the time")
def test_constantly_killed_connections_lose_and_repeat_nothing(line: Line) -> None:
    line.bench.start()
    until(lambda: line.ready() == 200, "it is ready")
    killed = 0
    while killed < 20:
        line.push(CONCURRENCY)
        killed += integer(line.bench.client.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
        pause(0.1)
    line.wait_until_back()
    line.assert_each_is_answered_once()
    line.assert_each_was_sent_once()
    ((lost, back),) = line.outages()
    line.report(f"{line.name}: {killed} connections killed, {lost} outages reported")
    assert lost == back


LOSSES: dict[str, bytes] = {
    "register": b":1",
    "beat": b":1",
    "fetch": b'"jid"',
    "finish": b":1",
    "place": b":1",
}
"""What the answer of each script contains when it has done something."""


BY_NIGHT = [pytest.param(name, marks=pytest.mark.nightly) for name in ("register", "beat", "fetch", "place")]


@pytest.mark.promise("No command is lost", "an answer of Redis is lost")
@pytest.mark.parametrize("name", ["finish", *BY_NIGHT])
def test_lost_answer_of_redis_loses_and_repeats_nothing(line: Line, name: str) -> None:
    # So that each run loads the scripts again, whatever ran before on this Redis.
    line.bench.client.command("SCRIPT", "FLUSH")
    loss = Loss(script(name).sha.encode(), LOSSES[name])
    line.proxy.losses.append(loss)
    line.push(100)
    due = [line.job(number) for number in range(100, 150)]
    line.bench.client.command("ZADD", "schedule", *(part for job in due for part in (1, job)))
    line.pushed = 150
    line.bench.start()
    until(lambda: not line.proxy.losses, "the answer is lost")
    line.assert_each_is_answered_once()
    line.assert_each_was_sent_once()
    until(lambda: line.ready() == 200, "it goes on")
    line.assert_outages(1)
