"""What `check` says of keys that a death stopped."""

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.job.settlement import Dead
from restbroker.operate.check.queues import check_order
from restbroker.store import order as store
from restbroker.store import queues
from restbroker.store.client import Client
from tests.operate.conftest import NOW_S
from tests.operate.test_order import Broker, job, settings

__all__ = ["settings"]


def stop(client: Client, target: Target, *users: str) -> None:
    broker = Broker(client, target)
    queues.push(client, "rest", [job(user, number) for user in users for number in range(2)])
    for jid, ticket in broker.take().items():
        broker.settle(ticket, Dead(NOW_S, job(jid[:-1], 0), effect="stop"))


def test_stopped_keys_are_warned_of_with_their_names_and_what_to_do(
    client: Client, settings: Config, target: Target
) -> None:
    assert list(check_order(client, settings)) == []
    stop(client, target, "ann")
    (one,) = check_order(client, settings)
    assert (one.level, one.code, one.cause) == ("warning", "OrderStopped", "other")
    assert one.message.startswith("1 key of the target e is stopped, for ")
    assert one.message.endswith(": ann.")
    assert "restbroker keys list" in str(one.hint)
    assert "keys retry KEY" in str(one.hint)


def test_of_many_the_first_few_are_named_shortened_and_without_secrets(
    client: Client, settings: Config, target: Target
) -> None:
    stop(client, target, "x" * 200, "right-token", "carl", "dora", "ed")
    (one,) = check_order(client, settings)
    assert one.message.startswith("5 keys of the target e are stopped, the first for ")
    assert one.message.endswith(" and 2 more.")
    assert len(one.message) < 200
    assert "right-token" not in one.message
    assert "x" * 41 not in one.message


def test_very_many_held_keys_are_looked_through_page_by_page(client: Client, target: Target) -> None:
    key = client.keys.order_hold("e")
    ready = [part for number in range(5000) for part in (f"k{number}", "r 1 0 0 -")]
    client.command("HSET", key, *ready)
    assert store.read_stopped(client, ["e"], 50) == {}
    client.command("HSET", key, *(part for number in range(3000) for part in (f"k{number}", f"s 1 0 {number + 1} j")))
    whole = store.read_stopped(client, ["e", "other"], 50)
    assert whole.keys() == {"e"}
    assert (len(whole["e"].keys), whole["e"].count_text) == (3000, "3,000 keys")
    assert whole["e"].keys[0].key == b"k0"
    some = store.read_stopped(client, ["e"])["e"]
    assert 100 < len(some.keys) < 1100
    assert some.count_text.startswith("at least ")
