"""`restbroker token`, and with which token `restbroker enqueue` pushes: processes against a real Redis."""

import json
import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from restbroker.broker.tokens import Tokens
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.job import arguments, signing
from restbroker.job.arguments import Submission
from restbroker.store import records
from restbroker.store.client import Client
from tests.cli.conftest import Shell, configure, jobs_in
from tests.support.process import clean_environment
from tests.support.process import run_here as run

OLD, NEW, SIGNING = "the-old-secret-of-app", "the-new-secret-of-app", "the-secret-that-signs"
TOKENS: Mapping[str, Any] = {
    "few": {"Secret": "the-secret-of-few", "Allow": ["status"]},
    "app": {
        "SecretFile": "app.secret",
        "PreviousSecret": OLD,
        "Allow": ["register", "kick_*"],
        "Hosts": ["example.org"],
    },
    "admin": {"Secret": SIGNING, "Allow": ["*", "dangerous:backup"], "Signed": True},
}


@pytest.fixture
def keys(tmp_path: Path) -> Mapping[str, Any]:
    (tmp_path / "app.secret").write_text(NEW + "\n")
    return {"JabberDomain": "example.org", "Token": None, "Tokens": TOKENS}


def wait_in(store: Client, key: str, token: str, queue: str = "rest", **fields: Any) -> None:
    job = json.dumps({"args": ["status", {}, token], "queue": queue, **fields})
    store.command("LPUSH", f"ns:{key}", job) if "queue:" in key else store.command("ZADD", f"ns:{key}", 1, job)


@pytest.mark.promise(
    "Security: who has an account on the host, or controls the configuration", "to read or change files"
)
def test_new_secret_file_is_private_and_replaces_nothing(tmp_path: Path) -> None:
    done = run(["token", "new", "--file", "app_token"], directory=tmp_path)
    path = tmp_path / "app_token"
    assert (done.returncode, done.stdout) == (0, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = path.read_text()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", secret)
    assert secret.strip() not in done.stderr
    assert str(path) in done.stderr
    again = run(["token", "new", "--file", "app_token"], directory=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    assert "exists already" in again.stderr
    assert path.read_text() == secret


@pytest.mark.parametrize("words", ["config init there", "token new --file there"])
def test_file_without_disk_room_is_absent_and_can_be_made_later(tmp_path: Path, words: str) -> None:
    def make(room: str) -> CompletedProcess[str]:
        script = f"ulimit -f {room}; exec {sys.executable} -m restbroker {words}"
        return subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False
        )

    full = make("0")
    assert (full.returncode, full.stdout) == (2, "")
    assert "there cannot be written: File too large." in full.stderr
    assert list(tmp_path.iterdir()) == []
    assert make("unlimited").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_list_shows_rights_last_use_and_waits_but_no_secret(shell: Shell, store: Client) -> None:
    records.write_token_uses(store, {"app": 1_795_165_609.5})
    for number in range(30):
        wait_in(store, "queue:rest", NEW, jid=f"j{number}")
    wait_in(store, "queue:rest", OLD)
    wait_in(store, "retry", OLD)
    wait_in(store, "schedule", NEW)
    wait_in(store, "queue:rest", "of-nobody")
    wait_in(store, "retry", "of-nobody", queue="another")
    store.command("LPUSH", "ns:queue:rest", "{no job", "[1]")
    submission = arguments.read(["status", {}, ""])
    assert isinstance(submission, Submission)
    wait_in(store, "queue:rest", signing.sign(SIGNING, "admin", 1_795_165_609, "s1", submission, "rest"), jid="s1")
    wait_in(store, "queue:rest", signing.sign(SIGNING, "admin", 1_795_165_609, "s1", submission, "rest"), jid="s2")
    done = shell("token", "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "few\tstatus\tany\tany\tany\tno\tinline\tnever\t0\t0",
        "app\tregister kick_*\texample.org\tany\tany\tno\tapp.secret inline\t2026-11-20T09:06:49Z\t33\t2",
        "admin\t* dangerous:backup\tany\tany\tany\tyes\tinline\tnever\t1\t0",
        "(unknown)\t-\t-\t-\t-\t-\t-\t-\t2\t-",
    ]
    as_json = shell("token", "list", "--json")
    assert [(row["token"], row["waiting"]) for row in json.loads(as_json.stdout)][1] == ("app", 33)
    for shown in (done.stdout, as_json.stdout):
        assert not [secret for secret in (OLD, NEW, SIGNING, "the-secret-of-few", "of-nobody") if secret in shown]


def test_a_command_is_pushed_with_the_first_token_that_allows_it(shell: Shell, store: Client) -> None:
    rows: list[tuple[tuple[str, ...], str]] = [
        (("status",), "the-secret-of-few"),
        (("register", "user=bob", "password=x"), NEW),
        (("kick_user", "user=bob", "host=example.org"), NEW),
    ]
    for words, token in rows:
        store.command("FLUSHALL")
        assert shell("enqueue", *words).returncode == 0
        (job,) = jobs_in(store, "queue:rest")
        assert job["args"][2] == token


def test_signing_token_signs_for_the_time_the_job_may_run(place: Path, shell: Shell, store: Client) -> None:
    rows: list[tuple[str, ...]] = [
        ("backup", "file=/tmp/x"),
        ("kick_user", "user=bob", "host=other.org", "--reply-id", "r1"),
        ("kick_user", "user=bob", "host=other.org", "--in", "30d"),
        ("status", "--queue", "rest", "--any", "x:=1.0", "--reply-id", ""),
    ]
    configure(place, Tokens={name: token for name, token in TOKENS.items() if name != "few"})
    for words in rows:
        store.command("FLUSHALL")
        done = shell("enqueue", *words)
        assert done.returncode == 0, done.stderr
        (job,) = [*jobs_in(store, "queue:rest"), *jobs_in(store, "schedule")]
        submission = arguments.read(job["args"])
        assert isinstance(submission, Submission)
        found = Tokens([Token("admin", (Secret(SIGNING),))]).proof(submission.token, job["jid"], submission, "rest")
        assert found is not None
        assert found.signature is not None
        after_s = 30 * 86_400 if "--in" in words else 0
        assert abs(found.signature.at_s - job["created_at"] - after_s) <= 1
        assert SIGNING not in json.dumps(job)
