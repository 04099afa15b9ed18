"""Thousands of accounts out of a file on a real ejabberd, by `restbroker enqueue --bulk`."""

import json
import signal
from pathlib import Path
from typing import Any

import redis

from tests.support.ejabberd import PASSWORD, Ejabberd
from tests.support.process import run, started
from tests.support.redis_server import RedisServer
from tests.support.wait import until

USERS = 3_000
BULK = ["enqueue", "register", "--bulk", "users.csv", "host=example.org", "--rejects", "rejects.csv"]
WAITING = [*BULK, "--wait", "--timeout", "60s", "--json"]


def test_thousands_of_users_are_registered_once_each_though_it_is_killed_and_two_rows_are_bad(
    tmp_path: Path, redis_server: RedisServer, own_ejabberd: Ejabberd
) -> None:
    store: Any = redis.Redis(port=redis_server.port)
    document = {
        "RedisURL": redis_server.url,
        "RestURL": own_ejabberd.url,
        "RestUser": own_ejabberd.admin,
        "RestPass": PASSWORD,
        "RestQueue": "rest",
        "Token": "a-token",
    }
    (tmp_path / "env.json").write_text(json.dumps(document))
    rows = [f"user{number},secret {number}" for number in range(USERS)]
    (tmp_path / "users.csv").write_text("\n".join(["user,password", *rows[:50], "bob", *rows[50:], "eve,", ""]))
    with started(["run"], directory=tmp_path):
        with started([*WAITING, "--rate", "600"], directory=tmp_path) as killed:
            until(
                lambda: store.llen("queue:rest") + int(store.get("stat:processed") or 0) > USERS / 4, "some are there"
            )
            killed.signal(signal.SIGKILL)
            killed.wait()
        (key,) = store.keys("restbroker:bulk:????????????????")
        before = int(store.hget(key, "pushed"))
        assert USERS / 4 < before < USERS
        done = run(WAITING, directory=tmp_path, timeout_s=120)
        assert done.returncode == 7, done.stderr
        assert f"{before:,} rows were pushed before" in done.stderr
        told = json.loads(done.stdout)
        assert told == {
            "batch": key.decode().rpartition(":")[2],
            "dry_run": False,
            "rows": USERS + 2,
            "pushed": USERS,
            "rejected": 2,
            "rejects": "rejects.csv",
            "done": USERS,
            "failed": {},
            "may_have_run": {},
            "unanswered": 0,
        }
        # Who is registered twice is told so, and his job parked.
        assert (int(store.get("stat:processed")), store.get("stat:failed"), store.zcard("dead")) == (USERS, None, 0)
        assert len(registered(own_ejabberd)) == USERS
        rejects = tmp_path / "rejects.csv"
        assert rejects.read_text() == (
            '_error,user,password\n"line 52: 1 cell for 2 columns.",bob\n"line 3003: password is empty.",eve,\n'
        )
        rejects.write_text(rejects.read_text().replace(",bob\n", ",bob,b\n").replace(",eve,\n", ",eve,e\n"))
        again = ["rejects.csv" if word == "users.csv" else word for word in WAITING[:5]]
        done = run([*again, "--wait"], directory=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "rows\t2\npushed\t2\nrejected\t0\ndone\t2\n"
    assert {"bob", "eve"} < registered(own_ejabberd)


def registered(server: Ejabberd) -> set[str]:
    status, answer = server.call("registered_users", host="example.org")
    assert status == 200
    return set(json.loads(answer))
