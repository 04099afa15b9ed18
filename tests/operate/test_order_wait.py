"""What `explain` says of a job that waits behind another one of its key."""

import time
from pathlib import Path

import pytest

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.job.settlement import Dead, Retry
from restbroker.operate.context import ConfigContext, context_of
from restbroker.operate.explain import explain
from restbroker.operate.order_wait import OrderWait
from restbroker.store import order as store
from restbroker.store import queues
from restbroker.store.client import Client
from tests.operate.conftest import NOW_S
from tests.operate.test_order import Broker, job, settings

__all__ = ["settings"]
LATER_S = NOW_S + 1e9


@pytest.fixture
def broker(client: Client, target: Target) -> Broker:
    return Broker(client, target)


def moment(at_s: float) -> str:
    return f"{at_s - NOW_S:+.0f}s"


def wait_of(client: Client, jid: str, known: ConfigContext) -> OrderWait:
    (place,) = explain(client, jid, known).locations
    assert place.order is not None
    return place.order


def said(client: Client, jid: str, known: ConfigContext) -> tuple[str, str, tuple[str, ...]]:
    wait = wait_of(client, jid, known)
    return wait.place, wait.text(moment), wait.next_steps


def test_a_job_behind_one_in_progress(client: Client, broker: Broker, known: ConfigContext) -> None:
    queues.push(client, "rest", [job("a", number) for number in range(5)])
    assert broker.take().keys() == {"a0"}
    behind = "It is held behind a0 (check_account) of the key a, which h:1 has in progress."
    assert said(client, "a2", known) == ("3rd of 5", behind, ())
    queues.push(client, "rest", [job("a", 7), job("b", 1)])
    # No broker has looked at it yet.
    assert said(client, "a7", known) == ("", behind, ())
    (free,) = explain(client, "b1", known).locations
    assert free.order is None


def test_a_job_behind_one_that_waits_after_crashes(client: Client, broker: Broker, known: ConfigContext) -> None:
    queues.push(client, "rest", [job("a", number) for number in range(2)])
    crashed = job("a", 0).replace(b'"class"', b'"restbroker_crashes": 3, "class"')
    broker.settle(broker.take()["a0"], Retry(LATER_S - time.time(), crashed))
    _, behind, _ = said(client, "a1", known)
    assert behind.startswith("It is held behind a0 (check_account) of the key a, which waits until +")
    assert behind.endswith(" after 3 crashes.")


def test_a_job_behind_one_that_is_tried_again(client: Client, broker: Broker, known: ConfigContext) -> None:
    queues.push(client, "rest", [job("a", number) for number in range(12)])
    failed = job("a", 0).replace(b'"class"', b'"error_class": "ServerError", "error_message": "Oh.", "class"')
    broker.settle(broker.take()["a0"], Retry(LATER_S - time.time(), failed))
    place, behind, steps = said(client, "a11", known)
    assert place == "12th of 12"
    assert behind.startswith("It is held behind a0 (check_account) of the key a, which is tried again at +10000000")
    assert behind.endswith("s, since it failed (ServerError: Oh).")
    assert steps == ("To try that one now: restbroker keys retry a",)
    place, own, steps = said(client, "a0", known)
    assert place == "1st of 12"
    assert own.startswith("It is the next job of the key a, and is tried again at +10000000")
    assert steps == ("To try it now: restbroker keys retry a",)


@pytest.mark.parametrize("code", ["AlreadyExists", "BadArguments"])
def test_dead_job_that_a_retry_cannot_help_is_not_retryable(
    code: str, client: Client, broker: Broker, known: ConfigContext
) -> None:
    queues.push(client, "rest", [job("a", number) for number in range(2)])
    dead = job("a", 0).replace(b'"class"', b'"error_class": "%s", "error_message": "No.", "class"' % code.encode())
    broker.settle(broker.take()["a0"], Dead(NOW_S, dead, effect="stop"))
    for jid in ("a0", "a1"):
        assert said(client, jid, known)[2] == ("To go on without it: restbroker keys skip a",)


def test_a_job_behind_one_that_died(client: Client, broker: Broker, known: ConfigContext) -> None:
    queues.push(client, "rest", [job("a", number) for number in range(3)])
    broker.settle(broker.take()["a0"], Dead(NOW_S, job("a", 0), effect="stop"))
    place, behind, steps = said(client, "a1", known)
    assert place == "1st of 2"
    assert behind.startswith("It is held behind a0 (check_account) of the key a, which died at +")
    skip = "To go on without it: restbroker keys skip a"
    assert steps == ("To retry that one: restbroker keys retry a", skip)
    own = ("To retry it: restbroker keys retry a", skip)
    assert said(client, "a0", known) == ("", "It stopped the key a: 2 jobs wait behind it.", own)
    client.command("DEL", "ns:dead")
    unsafe = job("a", 0).replace(b"check_account", b"send_message")[:-1] + b', "restbroker_may_have_run": true}'
    client.command("ZADD", "ns:dead", NOW_S, unsafe)
    assert said(client, "a1", known)[2][0].endswith("If it was not: restbroker keys retry a --repeat-unsafe")
    client.command("DEL", "ns:dead")
    _, behind, steps = said(client, "a1", known)
    assert "behind a0 of the key a, which died at +" in behind
    assert steps == ("To put that one back: restbroker dead restore a0", skip)
    (held,) = [key for page in store.read_keys(client, "e", ("rest", "slow")) for key in page]
    assert store.steer(client, "e", ("rest", "slow"), "skip", [held]) == [True]
    assert said(client, "a1", known) == (
        "1st of 2",
        "It is the next job of the key a, and is done as soon as a process takes it.",
        (),
    )


def test_a_job_of_the_dead_set_that_stopped_nothing_says_nothing(
    client: Client, broker: Broker, known: ConfigContext
) -> None:
    queues.push(client, "rest", [job("a", number) for number in range(2)])
    broker.settle(broker.take()["a0"], Dead(NOW_S, job("a", 0), effect=""))
    (place,) = explain(client, "a0", known).locations
    assert (place.kind, place.order) == ("dead", None)


def test_a_command_names_the_target_where_several_keep_order(client: Client, settings: Config, tmp_path: Path) -> None:
    one, known = settings.targets[0], context_of(settings)
    broker = Broker(client, one)
    known.targets = {
        **known.targets,
        "other": Target("other", one.kind, one.url, queues=("other",), order_by=one.order_by),
    }
    queues.push(client, "rest", [job("a b", number) for number in range(2)])
    broker.settle(broker.take()["a b0"], Retry(LATER_S - time.time(), job("a b", 0)))
    assert said(client, "a b1", known)[2] == ("To try that one now: restbroker keys retry 'a b' --target e",)
