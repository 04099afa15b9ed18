"""What Sidekiq's pages say of jobs that restbroker holds and does not send yet, and what `restbroker stats` adds."""

import pytest

from tests.support.scripted import CONCURRENCY, Citizen, job
from tests.support.sidekiq_web import SidekiqWeb
from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import until

PUSHED = 4 * CONCURRENCY
AHEAD = 4


@pytest.mark.promise("Sidekiq: the process record", "jobs taken ahead are counted in stats only")
def test_jobs_taken_ahead_are_on_no_page_and_stats_counts_them_as_in_hand(citizen: Citizen, web: SidekiqWeb) -> None:
    broker = citizen.start()
    citizen.push(*[job(f"hangs{number}") for number in range(PUSHED)])
    citizen.wait_until_sent(CONCURRENCY)
    citizen.wait_until_recorded(citizen.identity(broker), "busy", str(CONCURRENCY))
    figures = web.json("/stats")["sidekiq"]
    assert isinstance(figures, dict)
    assert (figures["busy"], figures["enqueued"]) == (CONCURRENCY, PUSHED - CONCURRENCY - AHEAD)
    # The first heartbeat may be from before the target was asked.
    until(lambda: told(citizen) == ("up", f"{CONCURRENCY + AHEAD}/{CONCURRENCY}"), "stats counts them")


@pytest.mark.promise("Sidekiq: the process record", "while a target is down, jobs stay unsent")
def test_in_an_outage_busy_lists_jobs_that_are_not_sent_the_queue_grows_and_none_is_a_retry(
    citizen: Citizen, web: SidekiqWeb
) -> None:
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
        until(lambda: told(citizen)[0].startswith("down: No connection to http"), "stats names the reason")
        line.mend()
        citizen.wait_until_idle()
    assert set(citizen.times_sent().values()) == {1}


def told(citizen: Citizen) -> tuple[str, str]:
    """What `stats` says of the one target: the state of its breaker, and the jobs in progress beside `Concurrency`."""
    [columns] = [line.split("\t") for line in citizen.restbroker("stats").splitlines() if line.startswith("process\t")]
    return columns[3], columns[4]
