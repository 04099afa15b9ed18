"""`restbroker ctl` as a process against a real Redis; the server's answers are played."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from restbroker.operate import audit
from restbroker.store.client import Client
from tests.cli.conftest import Shell, serve
from tests.support.process import started
from tests.support.wait import until

REGISTER = ("register", "alice", "example.org", "secret")


@pytest.fixture
def keys() -> Mapping[str, Any]:
    return {
        "RestUser": "admin@example.org",
        "RestPass": "a-password",
        "Targets": {
            "other": {
                "Kind": "mongooseim",
                "URL": "http://localhost:1/api/graphql",
                "Domain": "example.org",
                "Auth": {"Basic": {"User": "admin", "Pass": "a-password"}},
                "Queues": ["mongooseim"],
            }
        },
    }


def queued(store: Client, queue: str = "rest") -> list[bytes]:
    return cast("list[bytes]", store.command("LRANGE", f"ns:queue:{queue}", 0, -1))


def answered(place: Path, store: Client, details: Mapping[str, object], *words: str) -> tuple[int, str, str]:
    """Waits in a process for the job's end, which is played: parked first, where it failed. Code, stdout, stderr."""
    with started(["ctl", *words], directory=place) as process:
        raw = until(lambda: cast("bytes | None", store.command("RPOP", "ns:queue:rest")), "the job is queued")
        assert raw is not None
        fields = json.loads(raw)
        if details["outcome"] != "delivered":
            store.command("ZADD", "ns:dead", 1.5, json.dumps({**fields, "error_class": "X"}))
        store.command("LPUSH", f"ns:{fields['reply_to']}", json.dumps({"jid": fields["jid"], **details}))
        return process.wait(), process.stdout.read_text(), process.stderr.read_text()


def test_what_was_done_is_printed_alone_and_nothing_is_said(place: Path, store: Client) -> None:
    serve(store, b'{"quiet":false}')
    details = {"outcome": "delivered", "text": '"It is done"', "answer": "It is done", "status": 200, "error": None}
    assert answered(place, store, details, *REGISTER) == (0, "It is done\n", "")


def test_a_refusal_that_was_printed_is_not_kept_in_the_dead_set_as_well(place: Path, store: Client) -> None:
    serve(store, b'{"quiet":false}')
    text = '{"status":"error","code":10090,"message":"User alice@example.org already registered"}'
    error = {"code": "AlreadyExists", "message": "It exists.", "cure": None}
    details = {"outcome": "rejected", "text": text, "answer": None, "status": 409, "error": error}
    found = answered(place, store, details, *REGISTER)
    assert found == (1, "Error: conflict: User alice@example.org already registered\n", "")
    assert store.command("ZCARD", "ns:dead") == 0
    (note,) = (one.note for one in audit.entries(store, 5))
    assert (note.action, note.place, note.where, len(note.jids)) == ("delete", "dead", "ctl", 1)


def test_what_ejabberdctl_does_not_know_is_told_on_stderr_and_the_job_is_kept(place: Path, store: Client) -> None:
    rows: list[tuple[str, str, int]] = [("uncertain", "TimedOut", 1), ("rejected", "BadToken", 4), ("denied", "X", 4)]
    for outcome, code, exit_code in rows:
        error = {"code": code, "message": "It is so.", "cure": "Do this."}
        details = {"outcome": outcome, "text": "", "answer": None, "status": None, "error": error}
        found, stdout, stderr = answered(place, store, details, *REGISTER)
        assert (found, stdout) == (exit_code, "")
        assert f"{code}: It is so.\nDo this.\n" in stderr
        assert "it is dead (restbroker dead show " in stderr
        assert store.command("ZREMRANGEBYRANK", "ns:dead", 0, -1) == 1


def test_while_the_server_is_down_the_job_waits_and_it_is_said_why_and_that_it_will_be_tried(
    shell: Shell, store: Client
) -> None:
    serve(store, b'{"gate":"closed","gate_reason":"Nobody listens there.","gate_cure":"Start it."}')
    done = shell("ctl", "--timeout", "3s", *REGISTER)
    (raw,) = queued(store)
    jid = json.loads(raw)["jid"]
    assert (done.returncode, done.stdout) == (6, "")
    assert "The server of the queue rest gets no jobs now: Nobody listens there.\nStart it." in done.stderr
    assert f"The job {jid} is not done after 3 s. Do not push it again." in done.stderr
    assert "It waits in the queue rest: the next to be taken.\nIt waits: Nobody listens there." in done.stderr
    assert json.loads(raw)["args"] == [
        "register",
        {"user": "alice", "host": "example.org", "password": "secret"},
        "right-token",
    ]


def test_a_secret_comes_from_a_file_or_from_standard_input(shell: Shell, store: Client, place: Path) -> None:
    rows: list[str] = ["file", "-"]
    for source in rows:
        store.command("FLUSHALL")
        (place / "file").write_text("from a file\n")
        words = ("--timeout", "100ms", "--secret-file", source, "register", "alice", "example.org", "-")
        assert shell("ctl", *words, stdin="from a pipe\n").returncode == 6
        (raw,) = queued(store)
        assert json.loads(raw)["args"][1]["password"] == ("from a file" if source == "file" else "from a pipe")


def test_the_first_word_or_the_targets_name_chooses_the_target(shell: Shell, store: Client) -> None:
    words = ("account", "countUsers", "--domain", "example.org")
    assert shell("ctl", "--timeout", "100ms", *words).returncode == 6
    assert shell("ctl", "--timeout", "100ms", "--target", "other", *words).returncode == 6
    found = [json.loads(raw)["args"] for raw in queued(store, "mongooseim")]
    assert found == [["account.countUsers", {"domain": "example.org"}, "right-token"]] * 2
