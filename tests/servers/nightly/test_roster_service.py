"""Rosters of real servers: out of ejabberd by the script, into Prosody by the service, whatever is gone."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from restbroker.rosters.files import read
from restbroker.rosters.rules import Contact
from tests.rosters.conftest import put
from tests.support.ejabberd import PASSWORD, Ejabberd
from tests.support.process import Running, started
from tests.support.prosody import Prosody
from tests.support.redis_server import RedisServer
from tests.support.wait import until
from tests.support.xmpp import Client, Clients

ROSTERS_ONLY = ("http_roster_admin", "block_subscriptions")
ANN, ZOE = {"ann@example.org": Contact("Ann", ("Work", "Zoo"))}, {"zoe@example.org": Contact()}
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
        seen = {user: contacts(clients.login(user, roster=False)) for user in (*NAMES, "nobody")}
    assert seen == {user: {f"of{place}@example.org"} for place, user in enumerate(NAMES)} | {"nobody": set()}


def test_names_with_a_semicolon_or_a_hash_are_cut_by_prosody_as_the_page_warns(
    make_prosody: MakeProsody, serve: Serve, redis_server: RedisServer
) -> None:
    # In the pattern of the address a percent sign is written twice.
    own = make_prosody(roster_login="prosody:s3c%%20ret@", modules=ROSTERS_ONLY)
    put(redis_server, john=ANN)
    own.register("john;x", "john#x")
    auth = {"Basic": {"User": "prosody", "Pass": "s3c ret"}}
    with serve(own, redis_server, Auth=auth), Clients(own.c2s_port) as clients:
        assert contacts(clients.login("john;x", roster=False)) == set(ANN)
        assert contacts(clients.login("john#x", roster=False)) == set(ANN)


def test_while_redis_is_away_nobody_loses_his_contacts_and_a_login_works_when_it_is_back(
    prosody: Prosody, clients: Clients, serve: Serve, make_redis: Callable[..., RedisServer]
) -> None:
    redis = make_redis()
    put(redis, john=ANN, mary=ZOE)
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
        assert contacts(clients.login("mary", roster=False)) == set(ZOE)
        put(redis, john=ZOE)
        assert json.loads(prosody.refresh("john")[1])["errors"] == 0
        assert [push.jid for push in john.pushes.wait_for_number(1)] == list(ZOE), "and nothing was taken away"
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
