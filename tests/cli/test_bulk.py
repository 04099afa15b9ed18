"""`restbroker enqueue --bulk` as a process against a real Redis."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import redis

from tests.cli.conftest import Shell
from tests.support.process import started
from tests.support.redis_server import RedisServer
from tests.support.wait import until


@pytest.fixture
def keys() -> Mapping[str, str]:
    return {"RedisNamespace": ""}


@pytest.fixture(name="shell")
def bulk(shell: Shell) -> Shell:
    """Rows come by a pipe, since what can be read again is dealt with otherwise."""

    def enqueue(*words: str, stdin: str = "") -> CompletedProcess[str]:
        reading, writing = os.pipe()
        os.write(writing, stdin.encode())
        os.close(writing)
        kept = os.dup(0)
        os.dup2(reading, 0)
        os.close(reading)
        try:
            return shell("enqueue", *words)
        finally:
            os.dup2(kept, 0)
            os.close(kept)

    return enqueue


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[Any]:
    with redis.Redis(port=redis_server.port) as store:
        yield store


def write(place: Path, name: str, *rows: str) -> None:
    (place / name).write_text("\n".join([*rows, ""]), "utf-8")


def users(count: int) -> list[str]:
    return ["user,host,password", *(f"user{number},example.org,secret{number}" for number in range(1, count + 1))]


def queued(store: Any) -> list[dict[str, object]]:
    """The jobs, the first that was pushed first."""
    return [json.loads(job) for job in reversed(store.lrange("queue:rest", 0, -1))]


def summary(done: CompletedProcess[str]) -> dict[str, object]:
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def put_answers(store: Any, batch: object, answers: Sequence[tuple[int, str]]) -> None:
    """Answers as a broker pushes them."""
    for row, code in answers:
        error = {"code": code, "message": "why"} if code else None
        outcome = "rejected" if code else "delivered"
        answer = {"jid": f"{batch}{row:08x}", "outcome": outcome, "error": error}
        store.lpush(f"restbroker:reply:bulk-{batch}", json.dumps(answer))


def test_good_rows_become_jobs_and_bad_ones_a_private_file(place: Path, shell: Shell, store: Any) -> None:
    """The file can be fed again."""
    write(place, "users.csv", *users(3), "bob,example.org", "eve,example.org,")
    done = shell("register", "--bulk", "users.csv", "--rejects", "bad.csv", "--json", "--ok-if-exists", "--retry", "3")
    assert done.returncode == 7, done.stderr
    found = summary(done)
    batch = found.pop("batch")
    assert found == {"dry_run": False, "rows": 5, "pushed": 3, "rejected": 2, "rejects": "bad.csv"}
    jobs = queued(store)
    assert [job["jid"] for job in jobs] == [f"{batch}{row:08x}" for row in (1, 2, 3)]
    assert jobs[0]["args"] == [
        "register",
        {"user": "user1", "host": "example.org", "password": "secret1"},
        "right-token",
    ]
    assert [(job["retry"], job["ok_if_exists"], job["queue"]) for job in jobs] == [(3, True, "rest")] * 3
    bad = place / "bad.csv"
    assert stat.S_IMODE(bad.stat().st_mode) == 0o600
    assert sorted(file.name for file in place.iterdir()) == ["bad.csv", "env.json", "users.csv"]
    bad.write_text(bad.read_text().replace("bob,example.org", "bob,example.org,b").replace("org,\n", "org,e\n"))
    done = shell("register", "--bulk", "bad.csv")
    assert (done.returncode, done.stdout) == (0, "rows\t2\npushed\t2\nrejected\t0\n")
    assert len(queued(store)) == 5


def test_a_file_is_pushed_once_and_a_pipe_each_time(place: Path, shell: Shell, store: Any) -> None:
    write(place, "users.csv", *users(3))
    batch = summary(shell("register", "--bulk", "users.csv", "--json"))["batch"]
    done = shell("register", "--bulk", "users.csv", "--json")
    assert (done.returncode, summary(done)["batch"], summary(done)["pushed"]) == (0, batch, 3)
    assert f"3 rows were pushed before (batch {batch}), which is all that could be pushed." in done.stderr
    assert "To push them again, feed them by a pipe: cat FILE | restbroker enqueue … --bulk -" in done.stderr
    assert len(queued(store)) == 3
    for count in (6, 9):
        assert shell("register", "--bulk", "-", stdin=(place / "users.csv").read_text()).returncode == 0
        assert len({job["jid"] for job in queued(store)}) == count
    with (place / "users.csv").open() as file:
        command = [sys.executable, "-m", "restbroker", "enqueue", "register", "--bulk", "-"]
        subprocess.run(command, cwd=place, stdin=file, capture_output=True, check=True)
    assert len(queued(store)) == 9, "standard input that is a file is that file"
    assert shell("register", "--bulk", "users.csv", "--queue", "rest").returncode == 0
    assert len({job["jid"] for job in queued(store)}) == 12, "another command is another batch"


def test_a_batch_goes_on_under_the_previous_secret(place: Path, shell: Shell, store: Any) -> None:
    """Jobs would run twice if a rotation of the token's secret made another batch of the same file."""
    write(place, "users.csv", *users(3))
    batch = summary(shell("register", "--bulk", "users.csv", "--json"))["batch"]
    for name, secret in (("new", "new-token"), ("old", "right-token")):
        write(place, name, secret)
        (place / name).chmod(0o600)
    document = json.loads((place / "env.json").read_text())
    del document["Token"]
    document["Tokens"] = {"app": {"SecretFile": "new", "PreviousSecretFile": "old"}}
    write(place, "env.json", json.dumps(document))
    done = shell("register", "--bulk", "users.csv", "--json")
    assert (summary(done)["batch"], summary(done)["pushed"], len(queued(store))) == (batch, 3, 3), done.stderr


def test_rows_lost_by_redis_are_pushed_again_under_their_ids(place: Path, shell: Shell, store: Any) -> None:
    write(place, "users.csv", *users(3))
    shell("register", "--bulk", "users.csv")
    (key,) = store.keys("restbroker:bulk:*")
    lost = store.lpop("queue:rest")
    store.hset(key, mapping={"row": 2, "pushed": 2})
    assert shell("register", "--bulk", "users.csv").returncode == 0
    assert queued(store)[-1]["jid"] == json.loads(lost)["jid"]


@pytest.mark.promise("One key after the other", "a chain is pushed: it is queued in its order")
def test_commands_of_one_order_key_are_queued_in_their_order(place: Path, shell: Shell, store: Any) -> None:
    document = json.loads((place / "env.json").read_text())
    write(place, "env.json", json.dumps({**document, "OrderBy": "order_key"}))
    names = ["register", "set_nickname", "check_account"] * 200  # more than are pushed at once
    extra = {"register": {"password": "p"}, "set_nickname": {"nickname": "n"}, "check_account": {}}
    rows = [{"command": name, "user": f"u{n}", "host": "h.org", **extra[name]} for n, name in enumerate(names)]
    write(place, "bob.ndjson", *map(json.dumps, rows))
    done = shell("-", "--bulk", "bob.ndjson", "--order-key", "bob@h.org")
    assert done.returncode == 0, done.stderr
    jobs: list[Any] = queued(store)
    assert [job["args"][1]["user"] for job in jobs] == [f"u{n}" for n in range(600)]
    assert {job["order_key"] for job in jobs} == {"bob@h.org"}


def test_signal_ends_it_between_rows_and_rerun_goes_on(place: Path, store: Any, shell: Shell) -> None:
    write(place, "users.csv", *users(400), "bob")
    words = ["register", "--bulk", "users.csv", "--rejects", "bad.csv"]
    pushed = 0
    for number in (signal.SIGINT, signal.SIGTERM):
        with started(["enqueue", *words, "--rate", "100"], directory=place) as process:
            until(lambda: store.llen("queue:rest") > pushed, "more rows are pushed")  # noqa: B023 - called here
            process.signal(number)
            assert process.wait() == 128 + number
            pushed = len(queued(store))
            assert 0 < pushed < 400
            assert f"{pushed} rows are pushed. The same command continues" in process.output()
    done = shell(*words)
    assert done.returncode == 7
    assert f"{pushed} rows were pushed before" in done.stderr
    arguments: list[Any] = [job["args"] for job in queued(store)]
    assert [given[1]["user"] for given in arguments] == [f"user{n}" for n in range(1, 401)]
    assert (place / "bad.csv").read_text().count("\n") == 2


def test_wait_counts_all_rows_also_those_answered_before(place: Path, shell: Shell, store: Any) -> None:
    write(place, "users.csv", *users(3), "bob,example.org")
    waiting = ["register", "--bulk", "users.csv", "--wait", "--timeout", "0.3s", "--json"]
    done = shell(*waiting)
    assert done.returncode == 6
    assert "No answer for 300 ms; 3 rows not done yet. The same command continues to wait." in done.stderr
    found = summary(done)
    assert (found["done"], found["unanswered"], found["failed"]) == (0, 3, {})
    assert {job["reply_to"] for job in queued(store)} == {f"restbroker:reply:bulk-{found['batch']}"}
    put_answers(store, found["batch"], [(1, ""), (3, "AlreadyExists")])
    found = summary(shell(*waiting))
    assert (found["done"], found["unanswered"], found["failed"]) == (1, 1, {"AlreadyExists": 1})
    put_answers(store, found["batch"], [(2, "")])
    done = shell(*waiting[:-1])
    assert (done.returncode, done.stdout) == (
        7,
        "rows\t4\npushed\t3\npushed before\t3\nrejected\t1\ndone\t2\nAlreadyExists\t1\n",
    )
    # A person retried the job that had failed.
    put_answers(store, found["batch"], [(3, "")])
    assert summary(shell(*waiting))["failed"] == {}


def test_failed_rows_are_counted_by_code_and_never_rejected(place: Path, shell: Shell, store: Any) -> None:
    """They are dead jobs already, and would be done twice if they were pushed again."""
    rows: list[dict[str, object]] = [
        {"outcome": "uncertain", "error": {"code": "TimedOut", "message": "why"}},
        {"outcome": "rejected", "error": {"code": "TimedOut", "message": "why"}, "may_have_run": True},
    ]
    rejects = '_error,user,host,password\n"line 5: 2 cells for 3 columns.",bob,example.org\n'
    for answer in rows:
        store.flushall()
        (place / "bad.csv").unlink(missing_ok=True)
        write(place, "users.csv", *users(3), "bob,example.org")
        words = ["register", "--bulk", "users.csv", "--wait", "--timeout", "0.3s", "--rejects", "bad.csv", "--json"]
        batch = summary(shell(*words))["batch"]
        put_answers(store, batch, [(1, ""), (2, "BadArgument")])
        store.lpush(f"restbroker:reply:bulk-{batch}", json.dumps({"jid": f"{batch}{3:08x}", **answer}))
        done = shell(*words)
        found = summary(done)
        assert (done.returncode, found["failed"], found["may_have_run"]) == (7, {"BadArgument": 1}, {"TimedOut": 1})
        assert (found["unanswered"], (place / "bad.csv").read_text()) == (0, rejects)
        assert f"row 2: BadArgument: why (job {batch}{2:08x})\n" in done.stderr
        shown = shell(*words[:-1])
        assert shown.stdout.endswith("done\t1\nBadArgument\t1\nTimedOut (may have run)\t1\n")
        assert "The rows that were rejected are in bad.csv: correct them there, and push that file." in shown.stderr
        assert f"To list the dead jobs: restbroker dead --where 'jid ~ {batch}'" in shown.stderr
        assert "1 row may have run: check the server before you push any of them again. Their jobs:" in shown.stderr
        assert f"restbroker dead --where 'jid ~ {batch}' --where 'error = TimedOut'" in shown.stderr
        # A person looked, and retried it.
        put_answers(store, batch, [(3, "")])
        assert summary(shell(*words))["may_have_run"] == {}


def test_rejects_file_that_already_exists_is_left_alone(place: Path, shell: Shell, store: Any) -> None:
    """Also at a second try: the batch must not take the file for its own, since it has named it once."""
    write(place, "users.csv", *users(1), "bob,example.org")
    write(place, "bad.csv", "mine")
    for _ in range(2):
        done = shell("register", "--bulk", "users.csv", "--rejects", "bad.csv")
        assert (done.returncode, queued(store), (place / "bad.csv").read_text()) == (2, [], "mine\n")
        assert "bad.csv exists already." in done.stderr
    (place / "bad.csv").unlink()
    assert "a changed file is pushed whole" in shell("register", "--bulk", "users.csv").stderr
    for name in ("bad.csv", "worse.csv", "worse.csv"):
        done = shell("register", "--bulk", "users.csv", "--rejects", name)
        assert (done.returncode, len(queued(store))) == (7, 1), done.stderr
        assert "bob" in (place / name).read_text()


def test_a_dry_run_checks_all_rows_and_changes_nothing(
    place: Path, shell: Shell, store: Any, redis_server: RedisServer
) -> None:
    write(place, "users.csv", *users(30), "bob,example.org", *["x"] * 30)
    done = shell("register", "--bulk", "users.csv", "--dry-run")
    assert (done.returncode, done.stdout) == (7, "rows\t61\ngood\t30\nrejected\t31\n")
    assert "line 32: 2 cells for 3 columns.\n" in done.stderr
    assert "… and more; --rejects FILE keeps them all." in done.stderr
    assert store.keys("*") == []
    assert sorted(file.name for file in place.iterdir()) == ["env.json", "users.csv"]
    # Nor does it need a Redis.
    write(place, "env.json", (place / "env.json").read_text().replace(str(redis_server.port), "1"))
    assert shell("register", "--bulk", "users.csv", "--dry-run").returncode == 7


def test_an_interrupted_pipe_says_what_is_left_to_feed(place: Path, store: Any) -> None:
    reading, writing = os.pipe()
    os.write(writing, ("\n".join(users(400)) + "\n").encode())
    words = [sys.executable, "-m", "restbroker", "enqueue", "register", "--bulk", "-", "--rate", "100"]
    with subprocess.Popen(words, cwd=place, stdin=reading, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: store.llen("queue:rest") > 0, "rows are pushed")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    os.close(reading)
    os.close(writing)
    pushed = len(queued(store))
    assert process.returncode == 130
    assert f"the last is row {pushed}. A pipe cannot be resumed: feed only the rows after that one." in said


def test_each_row_may_name_its_own_command(shell: Shell, store: Any) -> None:
    rows = ['{"command":"kick_user","user":"a","host":"h"}', '{"command":"kick_usr","user":"a","host":"h"}', "no JSON"]
    rows += ['{"command":"delete_old_users","days":"30"}', '{"user":"a"}']
    done = shell("-", "--json", stdin="\n".join(rows))
    found = summary(done)
    assert (done.returncode, found["rows"], found["pushed"], found["rejected"]) == (7, 5, 2, 3)
    assert [job["args"] for job in queued(store)] == [
        ["kick_user", {"user": "a", "host": "h"}, "right-token"],
        ["delete_old_users", {"days": 30}, "right-token"],
    ]
    assert "line 2: There is no command 'kick_usr'; did you mean kick_user" in done.stderr
    assert "line 3: not JSON" in done.stderr
    assert 'line 5: the field "command" names no command.' in done.stderr


def test_impossible_rows_push_nothing(shell: Shell, store: Any) -> None:
    rows: list[tuple[list[str], str, int, str]] = [
        (["register"], "user,host,passwrd\n", 2, "register has no argument 'passwrd'; did you mean password?"),
        (["register"], "bob,example.org,s3cret\n", 2, "its first line names no argument of register"),
        (["register"], "user,host\n", 2, "register also needs password."),
        (["register"], "user,host,password,_error\n", 2, "register has no argument '_error'"),
        (["register", "host=h"], "user,host,password\n", 2, "host is already given for all rows."),
        (["registr"], "user\n", 2, "did you mean register"),
        (["no_such_thing"], "user\n", 2, "add --any"),
        (["-"], "user\n", 2, "has no column command"),
        (["stop_kindly"], "delay,announcement\n", 4, "DangerousCommand"),
        (["register", "--rate", "0"], "", 2, "0.0 is not in the range"),
        (["register", "--reply-id", "x"], "", 2, "--reply-id is for one job"),
        (["register"], "", 2, "standard input is empty."),
    ]
    for words, stdin, code, says in rows:
        done = shell(*words, "--bulk", "-", stdin=stdin)
        assert done.returncode == code, done.stderr
        assert says in done.stderr
        assert "passed on" not in done.stderr
        assert "s3cret" not in done.stderr
        assert store.keys("*") == []
