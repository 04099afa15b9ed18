"""A password that is changed on one side first: the pools pause, loudly, and go on once the file has the new one."""

import json

import pytest

from restbroker.store import limits
from tests.support.bench import Bench, payload
from tests.support.wait import until

JOBS = 60


def jobs(first: int) -> list[bytes]:
    """Questions that need a login."""
    return [payload(n, "check_account", user="admin", host="localhost") for n in range(first, first + JOBS)]


def denials(bench: Bench) -> int:
    """How many probes were answered with 401."""
    return sum(exchange.status == 401 for exchange in bench.proxy.exchanges if exchange.path == "/api/status")


@pytest.mark.promise("A good citizen", "a changed password file counts without a restart")
def test_password_file_is_reread_per_probe_and_costs_no_try(bench: Bench) -> None:
    password = bench.directory / "password"
    password.write_text(bench.ejabberd.password)
    bench.configure(RestPass=None, RestPassFile=str(password))
    brokers = [bench.start(), bench.start()]
    bench.push(jobs(0))
    bench.wait_until_finished()
    password.write_text("not this one")
    bench.push(jobs(JOBS))
    until(lambda: any("target.down" in broker.output() for broker in brokers), "a breaker trips")
    until(lambda: "denied" in limits.pauses(bench.client, "ejabberd"), "the others know")
    before = denials(bench)
    until(lambda: denials(bench) > before, "a probe is denied")
    assert bench.unfinished() == JOBS
    assert bench.members("retry") == []
    password.write_text(bench.ejabberd.password)
    for broker in brokers:
        if "target.down" in broker.output():
            broker.wait_for(r"target\.up")
    bench.wait_until_finished()
    assert "denied" not in limits.pauses(bench.client, "ejabberd")
    assert (bench.members("retry"), bench.members("schedule"), bench.members("dead")) == ([], [], [])
    done = [sent for sent in bench.proxy.of_jobs().values() if sent[-1].status == 200]
    assert len(done) == 2 * JOBS


@pytest.mark.parametrize("rest_auth", ["auto", "bearer"])
def test_withdrawn_tokens_cost_no_try_and_appear_in_no_log(bench: Bench, rest_auth: str) -> None:
    bench.configure(RestAuth=rest_auth, LogLevel="debug")
    brokers = [bench.start(), bench.start()]
    tokens: set[str] = set()
    for turn in range(3):
        bench.push(jobs(turn * JOBS))
        bench.wait_until_finished()
        for issued in json.loads(bench.ejabberd.call("oauth_list_tokens")[1]):
            tokens.add(issued["token"])
            bench.ejabberd.call("oauth_revoke_token", token=issued["token"])
    assert tokens
    assert (bench.members("retry"), bench.members("schedule"), bench.members("dead")) == ([], [], [])
    sent = bench.proxy.of_jobs().values()
    assert [exchanges[-1].status for exchanges in sent] == [200] * 3 * JOBS
    assert all(sum(exchange.status == 200 for exchange in exchanges) == 1 for exchanges in sent)
    said = "".join(broker.output() for broker in brokers)
    assert not any(token in said for token in tokens)
