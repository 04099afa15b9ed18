"""Rosters that change in Redis reach real clients through a real Prosody, whatever fails on the way."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from restbroker.rosters import store as rosters
from restbroker.rosters.rules import as_prosody, roster_of
from restbroker.store import queues
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.replies import integer, items, raw
from tests.support import process
from tests.support.process import Running
from tests.support.prosody import Prosody
from tests.support.redis_server import RedisServer
from tests.support.roster_service import RosterService
from tests.support.shared import FAST_RETRIES, TOKEN
from tests.support.wait import until
from tests.support.xmpp import Clients

AARON, ANN = "aaron@example.org", "ann@example.org"


class Served(dict[str, object]):
    """The rosters as they are in Redis at that moment, as Prosody wants them; what was put in comes first."""

    def __init__(self, redis: RedisServer) -> None:
        super().__init__()
        self._settings = StoreSettings(redis.url)

    def get(self, user: str, _default: object = None) -> object:
        if user in self:
            return self[user]
        with closing(open_client(self._settings)) as client:
            (stored,) = rosters.read(client, [user])
        return json.loads(as_prosody(roster_of(stored, user, "example.org")[0]))


@attrs.define(eq=False)
class Stage:
    """A Redis, a Prosody that gets its rosters from there, and an env.json for both."""

    directory: Path
    redis: RedisServer
    client: Client
    prosody: Prosody
    service: RosterService

    def configure(self, options: Mapping[str, Any] | None = None, **members: Any) -> None:
        entry = {
            "Kind": "prosody-roster",
            "URL": self.prosody.roster_admin_url,
            "Domain": self.prosody.host,
            "Queues": ["rosters"],
            "Options": options or {},
            **members,
        }
        writes = {**entry, "Queues": ["writes"], "Options": {"WritesOnly": True}}
        document = {
            "RedisURL": self.redis.url,
            "Token": TOKEN,
            "Backoff": FAST_RETRIES,
            "ResponseQueue": "replies",
            "Targets": {"rosters": entry, "writes": writes},
        }
        (self.directory / "env.json").write_text(json.dumps(document))

    def broker(self) -> AbstractContextManager[Running]:
        return process.started(["run"], directory=self.directory)

    def push(
        self, command: str, arguments: Any, jid: str = "", queue: str = "rosters", reply: int | None = None
    ) -> None:
        args = [command, arguments, TOKEN, *([] if reply is None else [reply])]
        jid = jid or f"{time.monotonic_ns():024x}"
        job = {"class": "Add", "jid": jid, "queue": queue, "retry": True, "args": args}
        queues.push(self.client, queue, [json.dumps(job).encode()])

    def size(self, key: str) -> int:
        return integer(self.client.command("ZCARD" if key in ("retry", "dead") else "LLEN", key))

    def jobs(self, key: str) -> list[dict[str, Any]]:
        return [json.loads(raw(member)) for member in items(self.client.command("ZRANGE", key, 0, -1))]

    def wait_until_idle(self, timeout_s: float = 60.0) -> None:
        def left() -> int:
            _, dirty = rosters.counts(self.client)
            return self.size("queue:rosters") + self.size("queue:writes") + self.size("retry") + dirty

        until(lambda: not left(), "nothing is left to be done", timeout_s)


@pytest.fixture
def stage(
    tmp_path: Path, redis_server: RedisServer, prosody: Prosody, roster_service: RosterService
) -> Iterator[Stage]:
    with closing(open_client(StoreSettings(redis_server.url))) as client:
        roster_service.rosters = Served(redis_server)
        made = Stage(tmp_path, redis_server, client, prosody, roster_service)
        made.configure()
        yield made


@pytest.fixture
def broker(stage: Stage) -> Iterator[Running]:
    with stage.broker() as running:
        running.wait_for(r"broker\.started")
        yield running


def names(count: int) -> list[str]:
    return [f"user{number}" for number in range(count)]


def test_a_contact_that_a_job_adds_is_pushed_to_the_client_and_one_that_it_removes_too(
    stage: Stage, broker: Running, clients: Clients
) -> None:
    stage.prosody.register("john")
    john = clients.login("john")
    stage.push("add_contact", {"user": "john", "jid": AARON, "name": "Aaron", "groups": ["Friends"]})
    (pushed,) = john.pushes.wait_for_number(1)
    assert (pushed.jid, pushed.name, pushed.groups) == (AARON, "Aaron", frozenset({"Friends"}))
    stage.push("remove_contact", {"user": "john", "jid": AARON})
    assert john.pushes.wait_for_number(2)[1].subscription == "remove"
    assert broker.stop() == 0, broker.output()
    assert stage.size("dead") == stage.size("retry") == 0


@pytest.mark.parametrize(
    ("answer", "number", "code"),
    [(503, 20, "RefreshFailed"), (b'{"ann@example.org":{"groups":["a list"]}}', 5, "RefreshUnanswered")],
)
def test_one_roster_that_fails_or_stops_the_answer_is_retried_alone_and_costs_the_others_of_its_batch_nothing(
    stage: Stage, broker: Running, clients: Clients, answer: int | bytes, number: int, code: str
) -> None:
    users = names(number)
    stage.prosody.register(*users)
    online = {user: clients.login(user) for user in users}
    stage.service.answers["user3"] = answer
    for user in users:
        stage.service.rosters[user] = {ANN: {}}
    stage.push("refresh", users)
    for user in users:
        if user != "user3":
            assert online[user].pushes.wait_for_number(1)[0].jid == ANN
    (job,) = until(lambda: [one for one in stage.jobs("retry") if one["retry_count"] >= 1], "it is tried again")
    assert (job["error_class"], "user3" in job["error_message"]) == (code, True)
    asked = stage.service.asked
    del stage.service.answers["user3"]
    assert online["user3"].pushes.wait_for_number(1)[0].jid == ANN
    stage.wait_until_idle()
    assert set(stage.service.asked - asked) == {"user3"}
    assert broker.stop() == 0, broker.output()


def test_whoever_refreshes_by_hand_and_waits_is_told_how_many_were_refreshed_and_how_many_failed(
    stage: Stage, broker: Running, clients: Clients
) -> None:
    users = names(5)
    stage.prosody.register("user3")
    clients.login("user3")
    done = process.run(["roster", "refresh", *users, "--wait"], directory=stage.directory)
    told = "5 users refreshed. Prosody does not say which of them are online, or exist.\nWithout a roster: "
    assert (done.returncode, done.stderr) == (0, f"{told}{', '.join(users)}.\n")
    stage.service.answers["user3"] = 503
    done = process.run(["roster", "refresh", *users, "--wait"], directory=stage.directory)
    assert done.returncode == 7
    assert done.stderr.startswith(
        "4 users refreshed, 1 failed. Prosody does not say which of them are online, or exist."
    )
    (job,) = until(lambda: [one for one in stage.jobs("retry") if one["retry_count"] >= 1], "it is tried again")
    assert "user3" in job["error_message"]
    del stage.service.answers["user3"]
    stage.wait_until_idle()
    assert broker.stop() == 0, broker.output()


def test_over_two_brokers_a_user_is_never_refreshed_twice_at_the_same_moment(stage: Stage, clients: Clients) -> None:
    stage.prosody.register("john")
    clients.login("john")
    stage.service.before = lambda _user: time.sleep(0.2)
    with stage.broker() as one, stage.broker() as other:
        for running in (one, other):
            running.wait_for(r"broker\.started")
        stage.service.peak, before = 0, stage.service.asked["john"]
        number = 0
        while stage.service.asked["john"] - before <= 4:
            assert number < 10_000, "he is not refreshed"
            stage.push("refresh", ["john"])
            number += 1
            stage.push("add_contact", {"user": "john", "jid": f"friend{number}@example.org"}, queue="writes")
            time.sleep(0.02)
        stage.wait_until_idle()
        assert stage.service.peak == 1
        assert one.stop() == other.stop() == 0
    assert len(clients.login("john").roster()) == number, "what the server saw last is what is in Redis"


def test_a_change_whose_broker_is_killed_before_its_refresh_is_refreshed_all_the_same(
    stage: Stage, clients: Clients
) -> None:
    stage.configure({"Debounce": "3s", "MaxWait": "3s"})
    stage.prosody.register("john")
    john = clients.login("john")
    with stage.broker() as broker:
        broker.wait_for(r"broker\.started")
        stage.push("add_contact", {"user": "john", "jid": AARON})
        until(lambda: rosters.read(stage.client, ["john"])[0], "the roster is changed")
        broker.signal(signal.SIGKILL)
        broker.wait()
    assert john.pushes.all == []
    with stage.broker() as broker:
        assert john.pushes.wait_for_number(1, 60.0)[0].jid == AARON
        stage.wait_until_idle()
        assert broker.stop() == 0, broker.output()


def test_the_check_finds_the_module_or_says_what_to_configure(stage: Stage) -> None:
    found = process.run(["check"], directory=stage.directory)
    assert "The roster module answers" in found.stdout
    assert "Its commands run in Redis" in found.stdout
    stage.configure(URL=f"{stage.prosody.url}/elsewhere")
    wrong = process.run(["check"], directory=stage.directory)
    assert wrong.returncode != 0
    assert "HostHeader" in wrong.stdout


def asked_for_more(stage: Stage, so_far: int) -> bool:
    return stage.prosody.sent().get("iq", 0) > so_far


def test_many_users_are_refreshed_with_few_requests_and_no_flood_at_the_roster_service(
    stage: Stage, broker: Running, tell: Callable[[str], None]
) -> None:
    users = names(int(os.environ.get("ROSTER_USERS", "400")))
    for first in range(0, len(users), 200):
        stage.prosody.appear(users[first : first + 200])
        until(partial(asked_for_more, stage, first), "they ask", 60)
    until(lambda: stage.prosody.sent().get("iq") == len(users), "all have their rosters", 60)
    for user in users:
        stage.service.rosters[user] = {ANN: {}}
    stage.service.gets.clear()
    stage.service.peak = 0
    began_s = time.monotonic()
    for first in range(0, len(users), 1000):
        stage.push("refresh", users[first : first + 1000])
    until(lambda: len(stage.service.asked) == len(users), "all are refreshed", 300)
    stage.wait_until_idle(60)
    took_s = time.monotonic() - began_s
    until(lambda: stage.prosody.sent().get("push") == len(users), "all are pushed")
    assert stage.service.asked.most_common(1)[0][1] == 1, "nobody is refreshed twice"
    assert stage.service.peak <= 200, "Concurrency bounds it"
    tell(f"{len(users):,} users refreshed in {took_s:.1f} s; {stage.service.peak} GETs at once at most")
    assert broker.stop() == 0, broker.output()
