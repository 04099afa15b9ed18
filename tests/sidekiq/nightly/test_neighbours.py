"""What `restbroker check` says of the Sidekiq processes on its Redis: real ones of Ruby, and restbroker's own."""

from pathlib import Path

import pytest

from restbroker.store import processes
from tests.support.beside_ruby import Beside, beside_ruby, check
from tests.support.sidekiq_process import SLOW_POLL_S, sidekiq_process
from tests.support.wait import until

OURS, RUBYS = "rest", "default"


@pytest.mark.promise("Sidekiq: dead jobs", "what Ruby trims from the dead set")
def test_a_ruby_process_is_told_with_its_queues_and_what_it_does_to_dead_and_due_jobs(beside: Beside) -> None:
    ruby = beside.ruby(RUBYS, "mailers", poll_s=SLOW_POLL_S)
    found = check(beside)
    told = found["SharedDatabase"]
    assert told["level"] == "warning"
    assert f"{ruby.identity} ({RUBYS}, mailers)" in told["message"]
    assert "trim the dead set to 9,999 jobs" in told["why"]
    assert "RedisURL" in told["hint"]
    assert found["DeadTrimmed"]["level"] == "warning"
    assert "QueueTaken" not in found
    assert ruby.running.stop() == 0
    after = check(beside)
    assert after["Private"]["level"] == "ok"
    assert not {"SharedDatabase", "DeadTrimmed"} & after.keys()


@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "check names a Ruby process that takes our jobs")
def test_a_ruby_process_that_takes_jobs_from_our_queue_is_a_problem(beside: Beside) -> None:
    beside.broker()
    until(lambda: processes.read_all(beside.client), "its record is there")
    # Its tag does not make it ours. Rails: the name of the application's folder, unless another one is given.
    options = ("-g", "restbroker")
    directory = beside.directory / "restbroker"
    with sidekiq_process(beside.client, beside.redis_url, directory, OURS, poll_s=SLOW_POLL_S, options=options) as ruby:
        found = check(beside)
    told = found["QueueTaken"]
    assert told["level"] == "problem"
    assert ruby.identity in told["message"]
    assert OURS in told["hint"]
    assert found["SharedDatabase"]["message"] == (
        f"Other Sidekiq processes use this database: {ruby.identity} ({OURS})."
    )


@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "check names a Ruby process that takes our jobs")
def test_several_processes_of_restbroker_are_not_foreign_whatever_they_serve(beside: Beside) -> None:
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


def test_processes_in_another_namespace_are_not_told(beside: Beside, tmp_path: Path) -> None:
    with beside_ruby(tmp_path / "inner", beside.redis_url, "app") as inner:
        inner.ruby(OURS, poll_s=SLOW_POLL_S)
        assert "Private" in check(beside)
        inner.configure(OURS)
        assert "QueueTaken" in check(inner)
