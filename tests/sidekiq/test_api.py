"""Ruby's Sidekiq::Stats and Sidekiq::Queue (6.4.1) on what a running broker does and serves."""

import json
import signal
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.process import Running
from tests.support.scripted import QUEUE, Citizen, jid_of, job
from tests.support.shared import FAST_RETRIES
from tests.support.wait import until


def quieten(citizen: Citizen, broker: Running) -> None:
    """Lets the broker take no more jobs; it goes on with those in progress."""
    broker.signal(signal.SIGTSTP)
    broker.wait_for(r"broker\.quiet")
    citizen.wait_until_recorded(citizen.identity(broker), "quiet", "true")


def days_of(history: dict[str, dict[str, int]], kind: str) -> list[int]:
    """What the history has for today and yesterday (UTC), together with the days' names."""
    today = datetime.now(UTC).date()
    return [history[kind][str(today)], history[kind][str(today - timedelta(days=1))]]


@pytest.mark.promise("Sidekiq: counters and metrics", "processed and failed, in all and by day")
def test_every_figure_of_stats_and_today_is_what_was_done(citizen: Citizen) -> None:
    broker = citizen.start()
    citizen.push(*(job(user) for user in ("good1", "good2", "good3", "fails1", "fails2", "refused1")))
    for _ in range(2):
        citizen.ask("push.rb", how="perform_in", in_s=3600, args=["status", {}, "any"])
    citizen.wait_until_in("retry", 2)
    citizen.wait_until_in("dead", 1)
    citizen.wait_until_idle()
    citizen.push(job("hangs1"), job("hangs2"))
    citizen.wait_until_recorded(citizen.identity(broker), "busy", "2")
    quieten(citizen, broker)
    citizen.push(job("good4"), job("good5"), job("good6"))
    stats = citizen.ask("stats.rb")
    assert {name: stats[name] for name in stats.keys() - {"history"}} == {
        "processed": 6,
        "failed": 3,
        "enqueued": 3,
        "retry_size": 2,
        "dead_size": 1,
        "scheduled_size": 2,
        "processes_size": 1,
        "workers_size": 2,
        "queues": {QUEUE: 3},
        "default_queue_latency": 0,
    }
    # Around midnight they may be on two days.
    assert sum(days_of(stats["history"], "processed")) == 6
    assert sum(days_of(stats["history"], "failed")) == 3


@pytest.mark.promise("Defects of the Go original", "a failure was counted as processed")
@pytest.mark.promise("Sidekiq: counters and metrics", "processed and failed, in all and by day")
@pytest.mark.nightly
def test_each_try_is_counted_and_nothing_else(citizen: Citizen) -> None:
    citizen.configure(Backoff=FAST_RETRIES)
    broker = citizen.start()
    citizen.push(job("fails1", retry=2), job("good1"))
    citizen.wait_until_in("dead", 1)
    citizen.wait_until_idle()
    assert citizen.times_sent() == {"fails1": 3, "good1": 1}
    # Moving a job, putting it back and stopping are no tries.
    citizen.ask("push.rb", how="perform_in", in_s=0.1, args=json.loads(job("good2"))["args"])
    until(lambda: citizen.times_sent()["good2"] == 1, "the scheduled job is done")
    citizen.wait_until_idle()
    assert broker.stop() == 0
    stats = citizen.ask("stats.rb")
    assert [stats["processed"], stats["failed"]] == [5, 3]


@pytest.mark.promise("Sidekiq: counters and metrics", "a job pushed back is no execution")
@pytest.mark.nightly
def test_a_job_pushed_back_at_a_stop_is_not_counted(citizen: Citizen) -> None:
    citizen.configure(Concurrency=1, RequestTimeout=60, ShutdownTimeout=25)
    broker = citizen.start()
    citizen.push(job("hangs1"), *(job(f"good{number}") for number in range(3)))
    citizen.wait_until_sent(1)
    broker.signal(signal.SIGTERM)
    broker.wait_for(r"broker\.stopping")
    citizen.script.released.set()
    assert broker.wait() == 0
    stats = citizen.ask("stats.rb")
    assert stats["processed"] == sum(citizen.times_sent().values())
    assert stats["processed"] + stats["enqueued"] == 4
    assert stats["failed"] == 0


@pytest.mark.slow  # Ruby starts for each step
@pytest.mark.promise("Sidekiq: queues", "size, latency, each, find_job")
@pytest.mark.promise("Sidekiq: queues", "delete, clear")
def test_paused_queue_shows_its_jobs_and_can_be_cut_and_cleared(citizen: Citizen) -> None:
    """Newest first; what Ruby deletes is never sent, all else is; a queue that was cleared is served on."""
    citizen.client.command("SADD", "paused", QUEUE)
    citizen.start()
    users = [f"good{number}" for number in range(120)]
    citizen.push(*map(job, users))
    found = citizen.ask("queue.rb", name=QUEUE, call="delete", jid=jid_of("good2"))
    assert (found["size"], found["all"], found["called"]) == (120, [QUEUE], True)
    assert found["jids"] == [jid_of(user) for user in reversed(users)]
    citizen.client.command("SREM", "paused", QUEUE)
    citizen.wait_until_idle()
    assert citizen.times_sent() == dict.fromkeys(set(users) - {"good2"}, 1)
    citizen.client.command("SADD", "paused", QUEUE)
    citizen.push(job("cleared"))
    assert citizen.ask("queue.rb", name=QUEUE, call="clear")["size"] == 1
    assert citizen.ask("queue.rb", name=QUEUE)["all"] == []
    citizen.client.command("SREM", "paused", QUEUE)
    citizen.push(job("after"))
    until(lambda: citizen.times_sent()["after"] == 1, "the queue is served on")
    assert citizen.times_sent()["cleared"] == 0
    assert citizen.ask("queue.rb", name=QUEUE)["all"] == [QUEUE]
