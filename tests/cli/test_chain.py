"""`restbroker enqueue --chain`: commands that are pushed at once and done one after the other."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from restbroker.store.client import Client
from tests.cli.conftest import Shell, serve
from tests.cli.test_order import queued, set_order_by
from tests.support.answering import AnsweringServer, Arrival
from tests.support.process import run, started

BOB: list[dict[str, object]] = [
    {"command": "register", "user": "bob", "host": "h.org", "password": "p"},
    {"command": "change_password", "user": "bob", "host": "h.org", "newpass": "q"},
    {"command": "check_account", "user": "bob", "host": "h.org"},
]  # fmt: skip
KEY = ("--order-key", "bob@h.org")


@pytest.fixture(autouse=True)
def ordered(place: Path) -> Path:
    set_order_by(place, "order_key", OnDead="stop")
    return write(place, BOB)


def write(place: Path, rows: list[dict[str, object]]) -> Path:
    path = place / "bob.ndjson"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_chain_is_pushed_in_its_order_with_one_key(shell: Shell, store: Client, place: Path) -> None:
    done = shell("enqueue", "--chain", "bob.ndjson", *KEY, "--retry", "3", "--ok-if-exists")
    assert done.returncode == 0, done.stderr
    jobs = queued(store)
    assert [job["args"][0] for job in jobs] == ["register", "change_password", "check_account"]  # type: ignore[index]
    assert done.stdout.split() == [job["jid"] for job in jobs]
    for job in jobs:
        found = {name: job[name] for name in ("order_key", "retry", "ok_if_exists")}
        assert found == {"order_key": "bob@h.org", "retry": 3, "ok_if_exists": True}
    words = ["enqueue", "-", "--chain", "-", *KEY, "--json"]
    again = run(words, directory=place, stdin=json.dumps(BOB[0]))
    told = json.loads(again.stdout)
    assert told == {
        "target": "ejabberd", "queue": "rest", "key": "bob@h.org", "dry_run": False,
        "jobs": [{"jid": queued(store)[3]["jid"], "command": "register"}],
    }  # fmt: skip


def test_a_chain_of_one_command_takes_it_from_the_command_line(shell: Shell, store: Client, place: Path) -> None:
    (place / "rooms.csv").write_text("user,_order_key\na,k\nb,k\n")
    done = shell("enqueue", "check_account", "--chain", "rooms.csv", "--const", "host=h.org")
    assert done.returncode == 0, done.stderr
    assert [job["order_key"] for job in queued(store)] == ["k", "k"]


def test_the_key_is_that_of_the_arguments_where_these_say_it(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, ["user", "host"], OnDead="stop")
    write(place, [BOB[0], BOB[2]])
    done = shell("enqueue", "--chain", "bob.ndjson", "--dry-run")
    assert (done.returncode, queued(store)) == (0, [])
    assert done.stderr.endswith("2 commands of the key bob | h.org would go to the queue rest.\n")
    assert shell("enqueue", "--chain", "bob.ndjson").returncode == 0
    assert [job.get("order_key") for job in queued(store)] == [None, None]
    write(place, [BOB[0], {**BOB[2], "user": "ann"}])
    done = shell("enqueue", "--chain", "bob.ndjson")
    assert done.returncode == 2
    assert "Command 2 has the order key ann | h.org, and the first one bob | h.org." in done.stderr


def test_a_mistake_costs_the_whole_chain(shell: Shell, store: Client, place: Path) -> None:
    rows: list[tuple[list[dict[str, object]], tuple[str, ...], str]] = [
        ([BOB[0], {"command": "register", "host": "h.org"}], KEY, "line 2: "),
        ([{**BOB[0], "command": "nothing"}], KEY, "line 1: "),
        ([BOB[0], {**BOB[2], "_order_key": "a\0"}], KEY, 'line 2: "_order_key" takes a string'),
        ([BOB[0], {**BOB[2], "_order_key": "other"}], KEY, "Command 2 has the order key other"),
        (BOB, (), "Command 1 has no order key.\nFor example: --order-key bob@example.org"),
        ([BOB[2]] * 501, KEY, "at most 500 commands"),
    ]
    for commands, words, why in rows:
        write(place, commands)
        done = shell("enqueue", "--chain", "bob.ndjson", *words)
        assert (done.returncode, why in done.stderr, queued(store)) == (2, True, []), done.stderr


def test_options_that_a_chain_cannot_have_are_refused(shell: Shell, store: Client) -> None:
    rows: list[tuple[str, ...]] = [
        ("--in", "5m"), ("--at", "2099-01-01"), ("--expire", "5m"), ("--unique", "k", "--unique-for", "5m"),
        ("--fair-key", "k"), ("--reply-id", "r"), ("--rejects", "r.csv"), ("--rate", "5"), ("--state", "s"),
        ("--again",), ("--bulk", "bob.ndjson"),
    ]  # fmt: skip
    for words in rows:
        done = shell("enqueue", "--chain", "bob.ndjson", *KEY, *words)
        assert (done.returncode, f"{words[0]} is not for --chain." in done.stderr) == (2, True), done.stderr
    done = shell("enqueue")
    assert (done.returncode, "Missing argument 'COMMAND'." in done.stderr) == (2, True)
    assert queued(store) == []


def test_a_target_without_order_says_what_to_write(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, None, OnDead="go")
    done = shell("enqueue", "--chain", "bob.ndjson", *KEY)
    assert (done.returncode, queued(store)) == (2, [])
    assert 'Write "OrderBy": "order_key" into env.json, where ejabberd is configured' in done.stderr


def test_a_redis_that_is_away_says_that_nothing_was_queued(shell: Shell, place: Path) -> None:
    set_order_by(place, "order_key", RedisURL="redis://127.0.0.1:1")
    done = shell("enqueue", "--chain", "bob.ndjson", *KEY)
    assert (done.returncode, "Nothing was queued." in done.stderr) == (3, True), done.stderr


def test_a_target_that_goes_on_behind_a_death_takes_no_chain(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, "order_key", OnDead="go")
    done = shell("enqueue", "--chain", "bob.ndjson", *KEY)
    assert (done.returncode, queued(store)) == (2, [])
    assert 'Write "OnDead": "stop" into env.json, where ejabberd is configured' in done.stderr


@contextmanager
def broker(place: Path, *refused: str, status_of_refusal: int = 400) -> Iterator[None]:
    """A broker whose server refuses these commands for good."""

    def status(arrival: Arrival) -> int:
        return status_of_refusal if arrival.command in refused else 200

    def body(arrival: Arrival) -> bytes:
        return b'{"status": "error", "code": 1, "message": "No."}' if arrival.command in refused else b"0"

    with AnsweringServer(status, body) as server:
        document = json.loads((place / "env.json").read_text())
        document["RestURL"] = f"http://127.0.0.1:{server.port}/api"
        (place / "env.json").write_text(json.dumps(document))
        with started(["run"], directory=place):
            yield


def test_a_chain_is_waited_for(shell: Shell, store: Client, place: Path) -> None:
    with broker(place):
        done = shell("enqueue", "--chain", "bob.ndjson", *KEY, "--wait", "--timeout", "20s")
        assert done.returncode == 0, done.stderr
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        assert [row[1:] for row in rows] == [[str(one["command"]), "delivered"] for one in BOB]
        told = json.loads(shell("enqueue", "--chain", "bob.ndjson", *KEY, "--wait", "--json").stdout)
        assert [(one["command"], one["outcome"], one["status"]) for one in told["jobs"]] == [
            (one["command"], "delivered", 200) for one in BOB
        ]


def test_a_chain_that_is_stopped_says_by_which_command_and_how_it_goes_on(shell: Shell, place: Path) -> None:
    with broker(place, "change_password"):
        done = shell("enqueue", "--chain", "bob.ndjson", *KEY, "--wait", "--timeout", "20s")
        assert done.returncode == 7, done.stderr
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        assert [row[2] for row in rows] == ["delivered", "rejected", "queued"]
        assert f"1 job of the chain: held behind {rows[1][0]} (change_password) of the key bob@h.org" in done.stderr
        assert "\nTo retry that one: restbroker order resume bob@h.org\n" in done.stderr
        behind = shell("enqueue", "--chain", "bob.ndjson", *KEY, "--wait", "--timeout", "3s")
        assert behind.returncode == 6
        assert f"The chain is held behind {rows[1][0]} (change_password)" in behind.stderr


def test_a_chain_that_stops_at_what_is_there_already_is_not_to_be_retried(shell: Shell, place: Path) -> None:
    with broker(place, "register", status_of_refusal=409):
        done = shell("enqueue", "--chain", "bob.ndjson", *KEY, "--wait", "--timeout", "20s")
    assert "register: AlreadyExists: " in done.stderr
    assert done.stderr.splitlines()[-1] == "To go on without it: restbroker order skip bob@h.org"
    assert "order resume" not in done.stderr


def test_a_chain_that_nobody_does_says_why_when_its_time_is_over(shell: Shell, store: Client) -> None:
    serve(store, b'{"gate_code": "Unreachable", "gate_reason": "ejabberd does not answer.", "gate_cure": "Start it."}')
    done = shell("enqueue", "--chain", "bob.ndjson", *KEY, "--wait", "--timeout", "100ms")
    assert done.returncode == 6
    down = "The server gets no jobs now: ejabberd does not answer.\nStart it.\n"
    assert done.stderr == f"{down}No answer for 100 ms. Do not push it again: it waits.\n"


def test_a_chain_that_waits_says_so_when_its_command_is_ended(shell: Shell, store: Client, place: Path) -> None:
    serve(store, b'{"gate_code": "Unreachable", "gate_reason": "ejabberd does not answer.", "gate_cure": "Start it."}')
    with started(["enqueue", "--chain", "bob.ndjson", *KEY, "--wait"], directory=place) as waiting:
        waiting.wait_for("The server gets no jobs now")
        waiting.signal(signal.SIGTERM)
        assert waiting.wait() == 143
    first = queued(store)[0]["jid"]
    why = "The server gets no jobs now: ejabberd does not answer"
    assert f"3 jobs were queued and wait: {why}. `restbroker explain {first}` says more." in waiting.output()


def test_a_held_chain_says_that_it_waits_when_its_command_is_ended(shell: Shell, place: Path) -> None:
    with broker(place, "change_password"):
        stopped = shell("enqueue", "--chain", "bob.ndjson", *KEY, "--wait", "--timeout", "20s")
        assert stopped.returncode == 7, stopped.stderr
        with started(["enqueue", "--chain", "bob.ndjson", *KEY, "--wait"], directory=place) as waiting:
            waiting.wait_for("The chain is held behind")
            waiting.signal(signal.SIGTERM)
            assert waiting.wait() == 143
        assert "3 jobs were queued and wait, held behind " in waiting.output()


def test_a_refused_chain_says_nothing_of_jobs_that_would_wait(shell: Shell, store: Client, place: Path) -> None:
    write(place, [{"command": "register", "host": "h.org"}])
    done = shell("enqueue", "--chain", "bob.ndjson", *KEY)
    assert (done.returncode, queued(store), "no running process" in done.stderr) == (2, [], False)
    write(place, BOB)
    done = shell("enqueue", "--chain", "bob.ndjson", *KEY)
    assert (done.returncode, done.stderr.count("no running process serves the queue rest")) == (0, 1)


def test_a_file_whose_rows_name_their_commands_needs_none_on_the_command_line(shell: Shell, store: Client) -> None:
    done = shell("enqueue", "register", "--chain", "bob.ndjson", *KEY)
    why = 'line 1: the row names its command in "command": leave register out of the command line.'
    assert (done.returncode, why in done.stderr, queued(store)) == (2, True, []), done.stderr


def test_a_row_of_a_chain_has_no_unique_key(shell: Shell, place: Path) -> None:
    write(place, [{**BOB[0], "_unique": "k"}])
    done = shell("enqueue", "--chain", "bob.ndjson", *KEY)
    assert (done.returncode, '"_unique" is not for --chain; leave it out.' in done.stderr) == (2, True), done.stderr
