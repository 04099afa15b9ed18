"""`restbroker ctl` as a process against a real Redis; the server's answers are played."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from restbroker.operate import audit
from restbroker.store.client import Client
from tests.cli.conftest import Shell, jobs_in
from tests.operate.pools import serve
from tests.support.process import started
from tests.support.wait import until

REGISTER = ("register", "alice", "example.org", "secret")


@pytest.fixture
def keys() -> Mapping[str, Any]:
    login = {"Basic": {"User": "admin", "Pass": "a-password"}}
    other = {"Kind": "mongooseim", "URL": "http://localhost:1/api/graphql", "Domain": "example.org", "Auth": login}
    targets = {"other": {**other, "Queues": ["mongooseim"]}}
    return {"RestUser": "admin@example.org", "RestPass": "a-password", "Targets": targets}


def answered(place: Path, store: Client, details: Mapping[str, object], *words: str) -> tuple[int, str, str]:
    """Waits in a process for the job's end, which is played: dead first, where it failed. Code, stdout, stderr."""
    with started(["ctl", *words], directory=place) as process:
        raw = until(lambda: cast("bytes | None", store.command("RPOP", "ns:queue:rest")), "the job is queued")
        assert raw is not None
        fields = json.loads(raw)
        if details["outcome"] != "delivered":
            store.command("ZADD", "ns:dead", 1.5, json.dumps({**fields, "error_class": "X"}))
        store.command("LPUSH", f"ns:{fields['reply_to']}", json.dumps({"jid": fields["jid"], **details}))
        return process.wait(), process.stdout.read_text(), process.stderr.read_text()


EXISTS = "User alice@example.org already registered"


@pytest.mark.parametrize(
    ("outcome", "text", "code", "expected"),
    [
        ("delivered", '"It is done"', None, (0, "It is done\n", "")),
        (
            *("rejected", f'{{"status":"error","code":10090,"message":"{EXISTS}"}}', "AlreadyExists"),
            (1, f"Error: conflict: {EXISTS}\n", ""),
        ),
        ("uncertain", "", "TimedOut", (1, "", "it is dead (restbroker dead show ")),
        ("rejected", "", "BadToken", (4, "", "it is dead (restbroker dead show ")),
        ("denied", "", "X", (4, "", "it is dead (restbroker dead show ")),
    ],
)
def test_an_answer_is_printed_as_ejabberdctl_would(
    place: Path, store: Client, outcome: str, text: str, code: str | None, expected: tuple[int, str, str]
) -> None:
    """What it does not know is on stderr, and the job stays dead; a refusal that was printed is not kept there."""
    serve(store, "ejabberd", 77, ["rest"])
    error = None if code is None else {"code": code, "message": "It is so.", "cure": "Do this."}
    answer = json.loads(text) if outcome == "delivered" else None
    status = 200 if outcome == "delivered" else 409 if text else None
    details = {"outcome": outcome, "text": text, "answer": answer, "status": status, "error": error}
    found, stdout, stderr = answered(place, store, details, *REGISTER)
    assert (found, stdout) == expected[:2]
    if expected[2]:
        assert f"{code}: It is so.\nDo this.\n" in stderr
        assert expected[2] in stderr
    else:
        assert stderr == ""
    assert len(jobs_in(store, "dead")) == bool(expected[2])
    if code == "AlreadyExists":
        (note,) = (entry.note for entry in audit.entries(store, 5))
        assert (note.action, note.place, note.where, len(note.jids)) == ("delete", "dead", "ctl", 1)


def test_job_waits_while_server_is_down_with_reason_and_outlook(shell: Shell, store: Client) -> None:
    serve(store, "ejabberd", 77, ["rest"], gate="closed", gate_reason="Nobody listens there.", gate_cure="Start it.")
    done = shell("ctl", "--timeout", "3s", *REGISTER)
    (job,) = jobs_in(store, "queue:rest")
    jid = job["jid"]
    assert (done.returncode, done.stdout) == (6, "")
    assert "The server of the queue rest gets no jobs now: Nobody listens there. Start it." in done.stderr
    assert f"The job {jid} is not done after 3 s. Do not push it again." in done.stderr
    assert "It waits in the queue rest: the next to be taken.\nIt waits: Nobody listens there." in done.stderr
    assert job["args"] == ["register", {"user": "alice", "host": "example.org", "password": "secret"}, "right-token"]


@pytest.mark.parametrize(("source", "secret"), [("file", "from a file"), ("-", "from a pipe")])
def test_a_secret_comes_from_a_file_or_from_standard_input(
    shell: Shell, store: Client, place: Path, source: str, secret: str
) -> None:
    (place / "file").write_text("from a file\n")
    words = ("--timeout", "100ms", "--secret-file", source, "register", "alice", "example.org", "-")
    assert shell("ctl", *words, stdin="from a pipe\n").returncode == 6
    assert [job["args"][1]["password"] for job in jobs_in(store, "queue:rest")] == [secret]


def test_the_first_word_or_the_targets_name_chooses_the_target(shell: Shell, store: Client) -> None:
    words = ("account", "countUsers", "--domain", "example.org")
    assert shell("ctl", "--timeout", "100ms", *words).returncode == 6
    assert shell("ctl", "--timeout", "100ms", "--target", "other", *words).returncode == 6
    found = [job["args"] for job in jobs_in(store, "queue:mongooseim")]
    assert found == [["account.countUsers", {"domain": "example.org"}, "right-token"]] * 2
