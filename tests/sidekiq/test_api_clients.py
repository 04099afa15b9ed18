"""Jobs that Ruby's own clients (6.4.1) push: from a plain Ruby class, one by one, in bulk, and for later."""

import time

import pytest

from restbroker.job.json_types import Json
from tests.support.scripted import QUEUE, Citizen
from tests.support.several import target
from tests.support.shared import FAST_RETRIES, TOKEN
from tests.support.wait import until


def args(user: str) -> list[Json]:
    """The arguments of a job."""
    return ["check_account", {"user": user, "host": "example.org"}, TOKEN]


@pytest.mark.promise("Sidekiq: queues", "push, perform_async, push_bulk")
@pytest.mark.promise("Sidekiq: queues", "set(queue:)")
def test_single_pushes_of_ruby_arrive_once_and_exactly(citizen: Citizen) -> None:
    citizen.configure(Targets={"second": target(citizen.server.port, "other")})
    citizen.start()
    odd: dict[str, Json] = {"user": "Zoë", "host": "example.org", "n": 2**60, "f": 1e15, "e": {}, "l": [[], None]}
    for how in ("push", "perform_async"):
        citizen.ask("push.rb", how=how, queue=QUEUE, args=["check_account", odd, TOKEN])
    citizen.wait_until_sent(2)
    citizen.wait_until_idle()
    assert [(arrival.command, arrival.arguments) for arrival in citizen.server.arrivals] == [("check_account", odd)] * 2
    citizen.client.command("SADD", "paused", QUEUE)
    citizen.ask("push.rb", how="set", queue="other", args=args("elsewhere"))
    citizen.wait_until_sent(3)
    until(lambda: citizen.queued("other") == 0 and citizen.in_progress() == 0, "the target of that queue has done it")
    assert citizen.times_sent() == {"Zoë": 2, "elsewhere": 1}


@pytest.mark.promise("Sidekiq: queues", "push, perform_async, push_bulk")
@pytest.mark.promise("Sidekiq: scheduled jobs", "perform_in, perform_at")
def test_bulk_and_later_pushes_of_ruby_arrive_once(citizen: Citizen) -> None:
    citizen.start()
    pushed_at_s = time.monotonic()
    citizen.ask("push.rb", how="perform_in", in_s=1.5, args=args("later"))
    assert citizen.size("schedule") == 1
    users = [f"bulk{number}" for number in range(1000)]
    jids = citizen.ask("push.rb", how="push_bulk", args=[args(user) for user in users])
    assert len(set(jids)) == 1000
    citizen.wait_until_sent(1001, timeout_s=60.0)
    citizen.wait_until_idle()
    assert citizen.times_sent() == dict.fromkeys([*users, "later"], 1)
    (later,) = [arrival for arrival in citizen.server.arrivals if arrival.arguments["user"] == "later"]
    assert later.at_s >= pushed_at_s + 1.5
    assert citizen.size("schedule") == 0


@pytest.mark.promise("Sidekiq: retries", "retry: true, a number, none")
@pytest.mark.nightly
def test_retries_a_ruby_class_asks_for_are_made_and_no_more(citizen: Citizen) -> None:
    citizen.configure(Backoff=FAST_RETRIES)
    citizen.start()
    (jid,) = citizen.ask("push.rb", how="perform_async", args=args("fails1"))
    citizen.wait_until_in("dead", 1)
    citizen.wait_until_idle()
    assert citizen.times_sent() == {"fails1": 4}
    (dead,) = citizen.members("dead")
    assert (dead["jid"], dead["class"], dead["retry"], dead["retry_count"]) == (jid, "Add", 3, 3)
