"""Rosters out of a real ejabberd into Redis, by `restbroker roster import`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from restbroker.rosters import store as rosters
from restbroker.store.client import StoreSettings, open_client
from tests.support.ejabberd import PASSWORD, Ejabberd
from tests.support.process import run

Place = Callable[..., Path]


@pytest.fixture
def place(tmp_path: Path, redis_url: str, ejabberd: Ejabberd) -> Place:
    def made(*, url: str = ejabberd.url, password: str = PASSWORD) -> Path:
        document = {
            "RedisURL": redis_url,
            "RestURL": url,
            "RestUser": ejabberd.admin,
            "RestPass": password,
            "RestQueue": "rest",
            "Token": "right-token",
            "JabberDomain": ejabberd.hosts[0],
        }
        (tmp_path / "env.json").write_text(json.dumps(document))
        return tmp_path

    return made


def test_rosters_of_an_ejabberd_are_imported_with_names_and_groups(
    place: Place, ejabberd: Ejabberd, redis_url: str
) -> None:
    host = ejabberd.hosts[0]
    for user in ("imported", "friend"):
        ejabberd.call("register", user=user, host=host, password="secret")
    item = {"localuser": "imported", "localhost": host, "host": host, "nick": "Freund é", "group": "Work"}
    for user, subscription in (("friend", "both"), ("stranger", "from")):
        status, _ = ejabberd.call("add_rosteritem", **item, user=user, subs=subscription)
        assert status == 200
    done = run(["roster", "import", "--from-target", "ejabberd"], directory=place())
    assert done.returncode == 0, done.stderr
    assert "1 contact left out, whose subscription is not both; --one-sided includes them." in done.stderr
    store = open_client(StoreSettings(redis_url))
    contact = {f"friend@{host}".encode(): '{"name":"Freund é","groups":["Work"]}'.encode()}
    assert rosters.read(store, ["imported", "friend"]) == [contact, {}]
    words = ["roster", "import", "--from-target", "ejabberd", "--user", "imported", "--one-sided", "--yes", "--json"]
    done = run(words, directory=place())
    told = json.loads(done.stdout)
    assert (done.returncode, told["users"], told["contacts"], told["changed"]) == (0, 1, 2, 1)
    done = run([*words[:5], "nobody", *words[6:]], directory=place())
    assert done.returncode == 1
    assert f"nobody has no account on {host}." in done.stderr


def test_a_server_that_is_away_or_refuses_the_login_is_told_apart(place: Place) -> None:
    words = ["roster", "import", "--from-target", "ejabberd"]
    assert run(words, directory=place(url="http://127.0.0.1:1/api")).returncode == 5
    assert run(words, directory=place(password="wrong")).returncode == 4
    assert run([*words[:-1], "nobody"], directory=place()).returncode == 2
