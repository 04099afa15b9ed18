"""What restbroker's commands and Sidekiq's pages say of what the other does on one Redis."""

import time
from pathlib import Path
from typing import Any

import pytest

from restbroker.store import processes
from restbroker.store.sets import size
from tests.support import process
from tests.support.beside_ruby import Beside, beside_ruby, check
from tests.support.scripted import CONCURRENCY, Citizen, job
from tests.support.sidekiq_process import SLOW_POLL_S, sidekiq_process
from tests.support.sidekiq_web import SidekiqWeb
from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import until

OURS, RUBYS = "rest", "default"


@pytest.mark.promise("Sidekiq: dead jobs", "what Ruby trims from the dead set")
def test_ruby_process_is_reported_with_its_queues_and_effects(beside: Beside) -> None:
    """It says what the process does to dead and due jobs."""
    ruby = beside.ruby(RUBYS, "mailers", poll_s=SLOW_POLL_S)
    found = check(beside)
    finding = found["SharedDatabase"]
    assert finding["level"] == "warning"
    assert f"{ruby.identity} ({RUBYS}, mailers)" in finding["message"]
    assert "trim the dead set to 9,999 jobs" in finding["why"]
    assert "RedisURL" in finding["hint"]
    assert found["DeadTrimmed"]["level"] == "warning"
    assert "QueueTaken" not in found
    assert ruby.running.stop() == 0
    after = check(beside)
    assert after["Private"]["level"] == "ok"
    assert not {"SharedDatabase", "DeadTrimmed"} & after.keys()


@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "check names a Ruby process that takes our jobs")
def test_ruby_process_that_takes_our_jobs_is_a_problem(beside: Beside) -> None:
    beside.broker()
    until(lambda: processes.read_all(beside.client), "its record is there")
    # Its tag does not make it ours. Rails: the name of the application's folder, unless another one is given.
    options = ("-g", "restbroker")
    directory = beside.directory / "restbroker"
    with sidekiq_process(beside.client, beside.redis_url, directory, OURS, poll_s=SLOW_POLL_S, options=options) as ruby:
        found = check(beside)
    finding = found["QueueTaken"]
    assert finding["level"] == "problem"
    assert ruby.identity in finding["message"]
    assert f"Queue {OURS}: " in finding["message"]
    assert found["SharedDatabase"]["message"] == (
        f"Other Sidekiq processes use this database: {ruby.identity} ({OURS})."
    )


@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "check names a Ruby process that takes our jobs")
def test_several_processes_of_restbroker_are_not_foreign(beside: Beside) -> None:
    brokers = [beside.broker(), beside.broker()]
    beside.configure("another queue", OURS)
    brokers.append(beside.broker())
    beside.configure(OURS)
    until(lambda: len(processes.read_all(beside.client)) == len(brokers), "each has its record")
    found = check(beside)
    assert found["Private"]["level"] == "ok"
    assert not {"SharedDatabase", "QueueTaken", "DeadTrimmed"} & found.keys()
    brokers[0].process.kill()
    brokers[0].wait()
    assert "Private" in check(beside), "the record of a killed one stays for a minute"


def test_processes_in_another_namespace_are_not_reported(beside: Beside, tmp_path: Path) -> None:
    with beside_ruby(tmp_path / "inner", beside.redis_url, "app") as inner:
        inner.ruby(OURS, poll_s=SLOW_POLL_S)
        assert "Private" in check(beside)
        inner.configure(OURS)
        assert "QueueTaken" in check(inner)


def put_dead(citizen: Citizen, *users: str) -> None:
    for number, user in enumerate(users):
        failed: dict[str, Any] = {"error_class": "ServerError", "error_message": "It was down.", "retry_count": 2}
        raw = job(user, failed_at=time.time() - 9, **failed)
        citizen.client.command("ZADD", "dead", time.time() - 900 + number, raw)


def command(citizen: Citizen, *words: str) -> tuple[int, str, str]:
    done = process.run([*words, "--config", str(citizen.config)], directory=citizen.directory)
    return done.returncode, done.stdout, done.stderr


def test_waiting_retry_shows_what_was_done_and_what_failed(citizen: Citizen) -> None:
    citizen.start()
    put_dead(citizen, "anna", "refused1", "bert", "refused2", "hangs")
    words = ["dead", "retry", "--all", "--yes", "--wait", "--config", str(citizen.config)]
    with process.started(words, directory=citizen.directory) as running:
        running.wait_for("5 jobs retried")
        citizen.wait_until_in("dead", 2)
        citizen.wait_until_sent(5)
        citizen.script.released.set()
        assert running.wait() == 7
        output = running.output()
    assert "3 jobs done, 2 failed again." in output
    assert "2 jobs: Refused: 400 The server says: 0" in output
    assert "(restbroker dead list --where 'failure_group = " in output


def test_an_edit_that_waits_ends_well_when_all_are_done(citizen: Citizen) -> None:
    citizen.start()
    put_dead(citizen, "refused1", "refused2")
    words = ("dead", "edit", "--all", "user=anna", "--retry", "--yes", "--wait")
    code, _, output = command(citizen, *words)
    assert (code, size(citizen.client, "dead")) == (0, 0)
    assert "2 jobs done." in output
    assert [arrival.arguments["user"] for arrival in citizen.server.arrivals] == ["anna", "anna"]


PUSHED = 4 * CONCURRENCY
AHEAD = 4


@pytest.mark.promise("Sidekiq: the process record", "jobs taken ahead are counted in stats only")
def test_jobs_taken_ahead_are_on_no_page_but_in_stats(citizen: Citizen, web: SidekiqWeb) -> None:
    broker = citizen.start()
    citizen.push(*[job(f"hangs{number}") for number in range(PUSHED)])
    citizen.wait_until_sent(CONCURRENCY)
    citizen.wait_until_recorded(citizen.identity(broker), "busy", str(CONCURRENCY))
    figures = web.json("/stats")["sidekiq"]
    assert isinstance(figures, dict)
    assert (figures["busy"], figures["enqueued"]) == (CONCURRENCY, PUSHED - CONCURRENCY - AHEAD)
    # The first heartbeat may be from before the target was asked.
    until(lambda: shown_in_stats(citizen) == ("up", f"{CONCURRENCY + AHEAD}/{CONCURRENCY}"), "stats counts them")


@pytest.mark.promise("Sidekiq: the process record", "while a target is down, jobs stay unsent")
def test_outage_shows_unsent_jobs_as_busy_and_makes_no_retry(citizen: Citizen, web: SidekiqWeb) -> None:
    with TcpProxy(citizen.server.port) as line:
        citizen.configure(RestURL=f"http://127.0.0.1:{line.port}/api")
        broker = citizen.start()
        line.cut()
        citizen.push(*[job(f"user{number}") for number in range(PUSHED)])
        broker.wait_for(r"target\.down")
        citizen.wait_until_recorded(citizen.identity(broker), "busy", str(CONCURRENCY))
        figures = web.json("/stats")["sidekiq"]
        assert isinstance(figures, dict)
        assert (figures["busy"], figures["retries"]) == (CONCURRENCY, 0)
        assert citizen.times_sent() == {}
        citizen.push(*[job(f"more{number}") for number in range(PUSHED)])
        assert citizen.queued() > PUSHED
        until(lambda: shown_in_stats(citizen)[0].startswith("down: No connection to http"), "stats names the reason")
        line.mend()
        citizen.wait_until_idle()
    assert set(citizen.times_sent().values()) == {1}


def shown_in_stats(citizen: Citizen) -> tuple[str, str]:
    """What `stats` says of the one target: the state of its breaker, and the jobs in progress beside `Concurrency`."""
    [columns] = [line.split("\t") for line in citizen.restbroker("stats").splitlines() if line.startswith("process\t")]
    return columns[3], columns[4]
