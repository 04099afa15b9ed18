"""Rosters of real servers: what changes in Redis reaches clients through a real Prosody, whatever fails on the way.

Those of an ejabberd come by the script.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from restbroker.rosters import store as rosters
from restbroker.rosters.files import read
from restbroker.rosters.rules import Contact, as_prosody, roster_of
from restbroker.store import queues
from restbroker.store.client import Client as Store
from restbroker.store.client import StoreSettings, integer, items, open_client, raw
from tests.rosters.conftest import put
from tests.support import process
from tests.support.ejabberd import PASSWORD, Ejabberd
from tests.support.process import Running, started
from tests.support.prosody import Prosody
from tests.support.redis_server import RedisServer
from tests.support.roster_service import RosterService
from tests.support.shared import FAST_RETRIES, TOKEN
from tests.support.wait import until
from tests.support.xmpp import Client, Clients

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
    client: Store
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


def test_contacts_added_and_removed_by_jobs_reach_the_client(stage: Stage, broker: Running, clients: Clients) -> None:
    stage.prosody.register("john")
    john = clients.login("john")
    stage.push("add_contact", {"user": "john", "jid": AARON, "name": "Aaron", "groups": ["Friends"]})
    (pushed,) = john.pushes.wait_for_number(1)
    assert (pushed.jid, pushed.name, pushed.groups) == (AARON, "Aaron", frozenset({"Friends"}))
    stage.push("remove_contact", {"user": "john", "jid": AARON})
    assert john.pushes.wait_for_number(2)[1].subscription == "remove"
    assert broker.stop() == 0, broker.output()
    assert stage.size("dead") == stage.size("retry") == 0


def test_awaited_manual_refresh_counts_refreshed_and_failed_ones(
    stage: Stage, broker: Running, clients: Clients
) -> None:
    users = names(5)
    stage.prosody.register("user3")
    clients.login("user3")
    done = process.run(["roster", "refresh", *users, "--wait"], directory=stage.directory)
    summary = "5 users refreshed. Prosody does not say which of them are online, or exist.\nWithout a roster: "
    assert (done.returncode, done.stderr) == (0, f"{summary}{', '.join(users)}.\n")
    stage.service.answers["user3"] = 503
    done = process.run(["roster", "refresh", *users, "--wait"], directory=stage.directory)
    assert done.returncode == 7
    assert done.stderr.startswith(
        "4 users refreshed, 1 failed. Prosody does not say which of them are online, or exist."
    )
    (job,) = until(lambda: [job for job in stage.jobs("retry") if job["retry_count"] >= 1], "it is tried again")
    assert "user3" in job["error_message"]
    del stage.service.answers["user3"]
    stage.wait_until_idle()
    assert broker.stop() == 0, broker.output()


def test_change_is_refreshed_though_its_broker_is_killed_before(stage: Stage, clients: Clients) -> None:
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


ROSTERS_ONLY = ("http_roster_admin", "block_subscriptions")
OF_ANN, OF_ZOE = {"ann@example.org": Contact("Ann", ("Work", "Zoo"))}, {"zoe@example.org": Contact()}
NAMES = ("john", "jörg", "50%off", "adm%69n", "admin", "a?b", "jo+n%41", "ж=ж")
MakeProsody = Callable[..., Prosody]
Serve = Callable[..., AbstractContextManager[Running]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """`restbroker roster serve` on this Redis, where that Prosody asks."""

    @contextmanager
    def run(prosody: Prosody, redis: RedisServer, **members: object) -> Iterator[Running]:
        roster = {"Listen": f"127.0.0.1:{prosody.roster_port}", "Domain": prosody.host, **members}
        document = {"RedisURL": redis.url, "RestURL": "http://127.0.0.1:1", "RestQueue": "rest", "Token": "t0ken"}
        (tmp_path / "env.json").write_text(json.dumps({**document, "Roster": roster}))
        with started(["roster", "serve"], directory=tmp_path) as alone:
            alone.wait_for("listening what=rosters")
            yield alone
            assert alone.stop() == 0

    return run


def contacts(client: Client) -> set[str]:
    return set(client.roster())


def test_each_user_gets_his_own_roster_whatever_he_is_called(
    make_prosody: MakeProsody, serve: Serve, redis_server: RedisServer
) -> None:
    own = make_prosody(roster_path="/roster/%s?key=a+b/c==", modules=ROSTERS_ONLY)
    put(redis_server, **{user: {f"of{place}@example.org": Contact()} for place, user in enumerate(NAMES)})
    own.register(*NAMES, "nobody")
    with serve(own, redis_server, Auth={"Key": {"Value": "a+b/c=="}}), Clients(own.c2s_port) as clients:
        rosters = {user: contacts(clients.login(user, roster=False)) for user in (*NAMES, "nobody")}
    assert rosters == {user: {f"of{place}@example.org"} for place, user in enumerate(NAMES)} | {"nobody": set()}


def test_semicolon_and_hash_cut_names_as_the_page_warns(
    make_prosody: MakeProsody, serve: Serve, redis_server: RedisServer
) -> None:
    # In the pattern of the address a percent sign is written twice.
    own = make_prosody(roster_login="prosody:s3c%%20ret@", modules=ROSTERS_ONLY)
    put(redis_server, john=OF_ANN)
    own.register("john;x", "john#x")
    auth = {"Basic": {"User": "prosody", "Pass": "s3c ret"}}
    with serve(own, redis_server, Auth=auth), Clients(own.c2s_port) as clients:
        assert contacts(clients.login("john;x", roster=False)) == set(OF_ANN)
        assert contacts(clients.login("john#x", roster=False)) == set(OF_ANN)


def test_contacts_and_later_logins_survive_an_outage_of_redis(
    prosody: Prosody, clients: Clients, serve: Serve, make_redis: Callable[..., RedisServer]
) -> None:
    redis = make_redis()
    put(redis, john=OF_ANN, mary=OF_ZOE)
    prosody.register("john", "mary")
    with serve(prosody, redis, CopyAge=0) as alone:
        john = clients.login("john")
        redis.suspend()
        status, answer = prosody.refresh("john")
        assert (status, json.loads(answer)["errors"]) == (200, 1)
        mary = clients.login("mary", roster=False)
        assert mary.ask(mary.jid, "<query xmlns='jabber:iq:roster'/>") == ("error", "internal-server-error")
        redis.resume()
        until(lambda: "mary" not in prosody.online(), "Prosody has ended that session")
        assert contacts(clients.login("mary", roster=False)) == set(OF_ZOE)
        put(redis, john=OF_ZOE)
        assert json.loads(prosody.refresh("john")[1])["errors"] == 0
        assert [push.jid for push in john.pushes.wait_for_number(1)] == list(OF_ZOE), "and nothing was taken away"
        alone.wait_for("code=RostersUnread")


_SCRIPT = Path(__file__).parents[3] / "contrib" / "rosters" / "ejabberd.py"


def test_rosters_of_an_ejabberd_have_names_and_groups(ejabberd: Ejabberd) -> None:
    host = ejabberd.hosts[0]
    for user in ("imported", "friend"):
        ejabberd.call("register", user=user, host=host, password="secret")
    item = {"localuser": "imported", "localhost": host, "host": host, "nick": "Freund é", "group": "Work"}
    for user, subscription in (("friend", "both"), ("stranger", "from")):
        status, _ = ejabberd.call("add_rosteritem", **item, user=user, subs=subscription)
        assert status == 200

    def written(*users: str) -> subprocess.CompletedProcess[bytes]:
        words = [sys.executable, str(_SCRIPT), "--url", ejabberd.url, host, *users]
        environ = {**os.environ, "EJABBERD_LOGIN": f"{ejabberd.admin}:{PASSWORD}"}
        return subprocess.run(words, capture_output=True, check=False, env=environ)

    done = written()
    rosters = read(done.stdout, host).rosters
    assert rosters["imported"] == {f"friend@{host}": Contact("Freund é", ("Work",))}
    assert rosters["friend"] == {}
    assert done.stderr.startswith(b"1 contacts left out")
    assert written("imported", "nobody").stderr.endswith(b"nobody has no account on %s.\n" % host.encode())
