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
    """A running broker, and a key whose first job of three died."""
    citizen.configure(OrderBy="order_key", OnDead="stop")
    citizen.start()
    citizen.push(*(job(name, order_key="k") for name in ("refused0", "k1", "k2")))
    citizen.wait_until_in("dead", 1)
    return citizen


@pytest.fixture
def mended(stopped: Citizen) -> Citizen:
    """Such a key, while the server takes all by now."""
    stopped.script.mended.set()
    return stopped


def sent(citizen: Citizen) -> list[str]:
    return [str(arrival.arguments["user"]) for arrival in list(citizen.server.arrivals)]


def held(citizen: Citizen) -> order.BusyKey | None:
    return order.read_key(citizen.client, "ejabberd", [QUEUE], b"\x1ek")


def press(web: SidekiqWeb, where: str, button: str) -> None:
    """On Sidekiq's page of dead jobs: of all of them, of the checked one, or on that one's own page."""
    page = web.open("/morgue")
    (form,) = [form for form in page.forms if form.action == "/morgue" and form.boxes]
    (key,) = [value for _, value in form.boxes if value.endswith(DIED)]
    match where:
        case "all":
            web.press(page, page.form(f"/morgue/all/{button}"), button)
        case "checked":
            web.press(page, form, button, [key])
        case _:
            page = web.open(f"/morgue/{key}")
            web.press(page, page.form(f"/morgue/{key}"), button)


RETRIES: Final[dict[str, Way]] = {
    "Sidekiq's Web, all": lambda _, web: press(web, "all", "retry"),
    "Sidekiq's Web, checked": lambda _, web: press(web, "checked", "retry"),
    "Sidekiq's Web, its own page": lambda _, web: press(web, "own", "retry"),
    "Ruby": lambda citizen, _: citizen.ask("sets.rb", set="dead", call="retry", jid=DIED),
    "dead retry --all": lambda citizen, _: citizen.restbroker("dead", "retry", "--all", "--yes"),
    "dead retry": lambda citizen, _: citizen.restbroker("dead", "retry", DIED, "--yes"),
    "edited and retried": lambda citizen, _: citizen.restbroker(
        "dead", "edit", DIED, "user=edited", "--retry", "--yes"
    ),
    "keys retry": lambda citizen, _: citizen.restbroker("keys", "retry", "k"),
}


@pytest.mark.parametrize("way", RETRIES)
def test_retried_dead_job_comes_first_and_opens_its_key(mended: Citizen, web: SidekiqWeb, way: str) -> None:
    mended.push(job("k3", order_key="k"))
    RETRIES[way](mended, web)
    mended.wait_until_sent(5)
    mended.wait_until_idle()
    first = "edited" if way.startswith("edited") else "refused0"
    assert sent(mended) == ["refused0", first, "k1", "k2", "k3"]
    assert held(mended) is None


TAKEN: Final[dict[str, Way]] = {
    "deleted in Sidekiq's Web": lambda _, web: press(web, "checked", "delete"),
    "cleared by Ruby": lambda citizen, _: citizen.ask("sets.rb", set="dead", call="clear"),
    "deleted by Ruby": lambda citizen, _: citizen.ask("sets.rb", set="dead", call="delete", jid=DIED),
    "deleted": lambda citizen, _: citizen.restbroker("dead", "delete", DIED, "--yes"),
    "edited": lambda citizen, _: citizen.restbroker("dead", "edit", DIED, "user=edited", "--yes"),
}


@pytest.mark.parametrize("way", TAKEN)
def test_key_stays_stopped_if_its_dead_job_is_deleted_or_edited(mended: Citizen, web: SidekiqWeb, way: str) -> None:
    TAKEN[way](mended, web)
    mended.push(job("k3", order_key="k"))
    until(lambda: order.waiting_of(mended.client, [QUEUE], [b"\x1ek"]) == [3], "the job that came last waits too")
    key = held(mended)
    assert key is not None
    assert (key.state, key.jid) == ("stopped", DIED)
    time.sleep(1.0)
    assert sent(mended) == ["refused0"]
    mended.restbroker("keys", "skip", "k", "--yes")
    mended.wait_until_idle()
    assert sent(mended) == ["refused0", "k1", "k2", "k3"]
    assert held(mended) is None


def test_a_dead_job_that_dies_again_stops_its_key_again(stopped: Citizen, web: SidekiqWeb) -> None:
    for count in (2, 3):
        press(web, "checked", "retry")
        stopped.wait_until_sent(count)
        stopped.wait_until_in("dead", 1)
    until(lambda: (key := held(stopped)) is not None and key.state == "stopped", "it is stopped")
    assert sent(stopped) == ["refused0"] * 3
    stopped.script.mended.set()
    stopped.restbroker("dead", "retry", DIED, "--yes")
    stopped.wait_until_sent(6)
    stopped.wait_until_idle()
    assert sent(stopped) == [*["refused0"] * 4, "k1", "k2"]


def test_only_the_dead_job_of_a_key_opens_that_key(mended: Citizen, web: SidekiqWeb) -> None:
    """A second key, with as many jobs, stays stopped."""
    mended.script.mended.clear()
    mended.push(*(job(name, order_key="other") for name in ("refused1", "o1", "o2")))
    mended.wait_until_in("dead", 2)
    mended.script.mended.set()
    press(web, "checked", "retry")
    mended.wait_until_sent(5)
    time.sleep(1.0)
    assert sent(mended)[2:] == ["refused0", "k1", "k2"]
    mended.restbroker("dead", "retry", "--all", "--yes")
    mended.wait_until_sent(8)
    mended.wait_until_idle()
    assert sent(mended)[5:] == ["refused1", "o1", "o2"]


def test_jobs_dropped_with_their_key_are_retried_in_order(mended: Citizen) -> None:
    mended.restbroker("keys", "drop", "k", "--yes")
    mended.wait_until_in("dead", 3)
    assert held(mended) is None
    mended.push(job("k3", order_key="k"))
    mended.wait_until_sent(2)
    mended.restbroker("dead", "retry", "--all", "--yes")
    mended.wait_until_sent(5)
    mended.wait_until_idle()
    assert sent(mended) == ["refused0", "k3", "refused0", "k1", "k2"]
