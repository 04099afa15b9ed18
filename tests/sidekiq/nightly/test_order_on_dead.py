"""What becomes of a key that a dead job stopped, whatever people do to that job, by Sidekiq's pages or by ours."""

import time
from collections.abc import Callable
from typing import Final

import pytest

from restbroker.store import order
from tests.support.scripted import QUEUE, Citizen, jid_of, job
from tests.support.sidekiq_web import SidekiqWeb
from tests.support.wait import until

DIED: Final = jid_of("refused0")
Way = Callable[[Citizen, SidekiqWeb], object]


@pytest.fixture
def stopped(citizen: Citizen) -> Citizen:
    """A running broker, and a key whose first job of three died; the server takes all by now."""
    citizen.configure(OrderBy="order_key", OnDead="stop")
    citizen.start()
    citizen.push(*(job(name, order_key="k") for name in ("refused0", "k1", "k2")))
    citizen.wait_until_in("dead", 1)
    citizen.script.mended.set()
    return citizen


def sent(citizen: Citizen) -> list[str]:
    return [str(one.arguments["user"]) for one in list(citizen.server.arrivals)]


def held(citizen: Citizen) -> order.HeldKey | None:
    return order.read_key(citizen.client, "ejabberd", [QUEUE], b"\x1ek")


def press_retry(_citizen: Citizen, web: SidekiqWeb) -> None:
    page = web.open("/morgue")
    web.press(page, page.form("/morgue/all/retry"), "retry")


RETRIES: Final[dict[str, Way]] = {
    "Sidekiq's Web": press_retry,
    "Ruby": lambda citizen, _: citizen.ask("sets.rb", set="dead", call="retry", jid=DIED),
    "dead retry --all": lambda citizen, _: citizen.restbroker("dead", "retry", "--all", "--yes"),
    "edited and retried": lambda citizen, _: citizen.restbroker(
        "dead", "edit", DIED, "user=edited", "--retry", "--yes"
    ),
    "keys retry": lambda citizen, _: citizen.restbroker("keys", "retry", "k"),
}


@pytest.mark.parametrize("way", RETRIES)
def test_a_dead_job_that_is_retried_comes_first_and_opens_its_key(stopped: Citizen, web: SidekiqWeb, way: str) -> None:
    stopped.push(job("k3", order_key="k"))
    RETRIES[way](stopped, web)
    stopped.wait_until_sent(5)
    stopped.wait_until_idle()
    first = "edited" if way.startswith("edited") else "refused0"
    assert sent(stopped) == ["refused0", first, "k1", "k2", "k3"]
    assert held(stopped) is None


TAKEN: Final[dict[str, Way]] = {
    "cleared by Ruby": lambda citizen, _: citizen.ask("sets.rb", set="dead", call="clear"),
    "deleted by Ruby": lambda citizen, _: citizen.ask("sets.rb", set="dead", call="delete", jid=DIED),
    "deleted": lambda citizen, _: citizen.restbroker("dead", "delete", DIED, "--yes"),
    "edited": lambda citizen, _: citizen.restbroker("dead", "edit", DIED, "user=edited", "--yes"),
}


@pytest.mark.parametrize("way", TAKEN)
def test_a_key_stays_stopped_whose_dead_job_was_only_deleted_or_edited(
    stopped: Citizen, web: SidekiqWeb, way: str
) -> None:
    TAKEN[way](stopped, web)
    stopped.push(job("k3", order_key="k"))
    until(lambda: order.waiting_of(stopped.client, [QUEUE], [b"\x1ek"]) == [3], "the job that came last waits too")
    key = held(stopped)
    assert key is not None
    assert (key.state, key.jid) == ("stopped", DIED)
    time.sleep(1.0)
    assert sent(stopped) == ["refused0"]
    stopped.restbroker("keys", "skip", "k", "--yes")
    stopped.wait_until_idle()
    assert sent(stopped) == ["refused0", "k1", "k2", "k3"]
    assert held(stopped) is None
