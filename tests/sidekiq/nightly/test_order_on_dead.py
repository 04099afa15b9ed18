"""What becomes of a key whose job died, if Ruby retries or takes away that job, or OrderBy is taken away."""

import json
import subprocess
import time
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import pytest

from restbroker.job.order import Order
from restbroker.job.settlement import Dead, Requeue, Settlement
from restbroker.store import jobs, order
from tests.store.pools import FACTS
from tests.support import process
from tests.support.scripted import QUEUE, Citizen, jid_of, job
from tests.support.wait import until

KEYS: Final = ("stop", "drop")
DIED: Final = [jid_of(f"refused-{key}") for key in KEYS]
HOLD: Final = "restbroker:order:hold:ejabberd"


@pytest.fixture
def parted(citizen: Citizen) -> Citizen:
    """A running broker, and two keys whose first job of three died; a person dropped what waits with one of them.

    The server takes all by now.
    """
    citizen.configure(OrderBy="order_key", OnDead="stop")
    citizen.start()
    for key in KEYS:
        citizen.push(*(job(name, order_key=key) for name in (f"refused-{key}", f"{key}1", f"{key}2")))
    citizen.wait_until_in("dead", 2)
    citizen.restbroker("keys", "drop", "drop", "--yes")
    citizen.wait_until_in("dead", 4)
    assert codes(citizen) == {
        **dict.fromkeys(DIED, "Refused"),
        **dict.fromkeys(map(jid_of, ("drop1", "drop2")), "PredecessorDied"),
    }
    citizen.script.mended.set()
    return citizen


def codes(citizen: Citizen) -> dict[str, str]:
    return {member["jid"]: member.get("error_class", "?") for member in citizen.members("dead")}


def sent(citizen: Citizen) -> dict[str, list[str]]:
    """Whose requests came, by key, in their order."""
    users = [str(one.arguments["user"]) for one in list(citizen.server.arrivals)]
    return {key: [user for user in users if key in user] for key in KEYS}


def is_free(citizen: Citizen) -> bool:
    return not citizen.client.command("EXISTS", HOLD)


def test_a_dead_job_that_ruby_retries_runs_and_opens_its_key(parted: Citizen) -> None:
    for jid in DIED:
        parted.ask("sets.rb", set="dead", call="retry", jid=jid)
    until(lambda: is_free(parted) and len(sent(parted)["stop"]) == 4, "no key is held")
    parted.wait_until_idle()
    assert sent(parted)["stop"] == ["refused-stop", "refused-stop", "stop1", "stop2"]
    # What was dropped stays dead until someone retries it too.
    assert sent(parted)["drop"] == ["refused-drop"] * 2
    assert sorted(codes(parted)) == sorted(map(jid_of, ("drop1", "drop2")))


@pytest.mark.parametrize("how", ["cleared", "trimmed"])
def test_a_key_stays_stopped_whose_dead_job_ruby_took_away(parted: Citizen, how: str) -> None:
    gone = DIED[KEYS.index("stop")]
    if how == "cleared":
        parted.ask("sets.rb", set="dead", call="clear")
    else:
        parted.client.command("ZADD", "retry", time.time() + 3600, job("killed"))
        # Ruby keeps one less than its limit.
        parted.ask("sets.rb", set="retry", call="kill", jid=jid_of("killed"), dead_max_jobs=2)
    assert gone not in codes(parted)
    parted.push(*(job(f"{key}3", order_key=key) for key in KEYS))
    until(lambda: sent(parted)["drop"][-1:] == ["drop3"], "that key is free")
    until(lambda: waiting(parted) == 3, "the job that came last waits too")
    assert [(one["name"], one["state"], one["waiting"], one["jid"]) for one in listed(parted)] == [
        ("stop", "stopped", 3, gone)
    ]
    shown = asked(parted, "show", "stop")
    assert shown.stderr.startswith("3 of 3 jobs that wait. The key is stopped for ")
    assert shown.stderr.endswith(f"The job {gone} died.\n")
    refused = asked(parted, "retry", "stop")
    assert refused.returncode == 2
    assert f"The job that died is not among the dead jobs any more: {gone}." in refused.stderr
    assert "To go on without it: restbroker keys skip stop\n" in refused.stderr
    assert f"To put it back first: restbroker dead restore {gone}\n" in refused.stderr
    assert sent(parted)["stop"] == ["refused-stop"]
    parted.restbroker("dead", "restore", gone)
    parted.restbroker("keys", "retry", "stop")
    until(lambda: is_free(parted), "no key is held")
    parted.wait_until_idle()
    assert sent(parted)["stop"] == ["refused-stop", "refused-stop", "stop1", "stop2", "stop3"]


def asked(citizen: Citizen, *words: str) -> subprocess.CompletedProcess[str]:
    return process.run_here(["keys", *words, "--config", str(citizen.config)], directory=citizen.directory)


def listed(citizen: Citizen) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(asked(citizen, "list", "--json").stdout)
    return found


def waiting(citizen: Citizen) -> object:
    return citizen.client.command("HLEN", f"restbroker:fair:wait:{QUEUE}")


Jobs: TypeAlias = Sequence[jobs.FetchedJob]


def take(citizen: Citizen, identity: str, base: int) -> Jobs:
    text = Order().text
    if not base:
        assert jobs.register(citizen.client, identity, FACTS, [QUEUE], fairness=text)
    answer = jobs.fetch(citizen.client, jobs.FetchRequest(identity, "ejabberd", (QUEUE,), base, 100, 0, fairness=text))
    assert isinstance(answer, jobs.FetchResult)
    return answer.jobs


def settle(citizen: Citizen, identity: str, items: Sequence[tuple[str, Settlement]]) -> None:
    request = jobs.FinishRequest(identity, "ejabberd", (QUEUE,), 0, items, fairness=Order().text)
    jobs.finish(citizen.client, request, 1.0)


def test_what_was_to_die_dies_though_order_by_is_taken_away(citizen: Citizen) -> None:
    # As a process with OrderBy leaves it that is stopped: some keys are dropped, others only wait.
    # Those that run come first: there are connections then, over which the others would be sent at once.
    for key in [f"{fate}{number}" for fate in ("runs", "dies") for number in range(20)]:
        citizen.push(*(job(f"{key}-{place}", order_key=key) for place in (0, 1)))
    taken = take(citizen, "h:1:x:ejabberd", 0)
    assert len(taken) == 40
    died = [one for one in taken if b"dies" in bytes.fromhex(json.loads(one.raw)["jid"])]
    effects: list[tuple[str, Settlement]] = [(one.ticket, Dead(5.0, one.raw, effect="stop")) for one in died]
    effects += [(one.ticket, Requeue()) for one in taken if one not in died]
    settle(citizen, "h:1:x:ejabberd", effects)
    held = [one for page in order.read_keys(citizen.client, "ejabberd") for one in page]
    stopped = [one for one in held if one.state == "stopped"]
    assert order.steer(citizen.client, "ejabberd", [QUEUE], "drop", stopped) == [True] * 20
    citizen.configure()
    citizen.start()
    until(lambda: is_free(citizen) and citizen.size("dead") == 40, "no key is held")
    citizen.wait_until_idle()
    assert citizen.times_sent() == {f"runs{number}-{place}": 1 for number in range(20) for place in (0, 1)}
    assert sorted(codes(citizen).values()) == sorted(["PredecessorDied"] * 20 + ["?"] * 20)
