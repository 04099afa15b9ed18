"""`restbroker enqueue` as a process against a real Redis; what it refuses is in `tests/golden/verbs_typed.txt`."""

import json
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from restbroker.job import rubyjson
from restbroker.store import jobs, pauses
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.identities import ProcessInfo
from tests.cli.conftest import Shell
from tests.support.process import run_here as run
from tests.support.process import run_into, started
from tests.support.redis_server import RedisServer
from tests.support.wait import until


def queued(store: Client, queue: str = "rest") -> list[bytes]:
    return cast("list[bytes]", store.command("LRANGE", f"ns:queue:{queue}", 0, -1))


def job(store: Client) -> dict[str, object]:
    (raw,) = queued(store)
    found = json.loads(raw)
    assert isinstance(found, dict)
    return found


def test_command_becomes_a_sidekiq_job_written_as_by_ruby(shell: Shell, store: Client) -> None:
    before_s = time.time()
    done = shell("enqueue", "register", "user=richärd", "host=example.org", "password=a/b")
    assert done.returncode == 0
    (raw,) = queued(store)
    found = json.loads(raw)
    assert rubyjson.dumps(rubyjson.loads(raw)) == raw
    assert done.stdout == f"{found['jid']}\n"
    assert re.fullmatch("[0-9a-f]{24}", found["jid"])
    assert list(found) == ["class", "display_class", "args", "jid", "queue", "retry", "created_at", "enqueued_at"]
    arguments = {"user": "richärd", "host": "example.org", "password": "a/b"}
    assert found["args"] == ["register", arguments, "right-token"]
    assert (found["class"], found["display_class"], found["queue"]) == ("Restbroker", "register", "rest")
    assert found["retry"] is True
    assert before_s - 1 < found["enqueued_at"] < time.time() + 1
    assert not found["enqueued_at"].is_integer()
    assert store.command("SMEMBERS", "ns:queues") == [b"rest"]


def test_arguments_come_from_json_files_and_standard_input(shell: Shell, store: Client, place: Path) -> None:
    (place / "body.txt").write_text("two\nlines\n")
    done = shell(
        "enqueue", "send_message", "type=chat", "from:=null", 'to:="@x"', "subject=-", "body=@body.txt", stdin="hello\n"
    )
    assert done.returncode == 0
    arguments = {"type": "chat", "from": None, "to": "@x", "subject": "hello", "body": "two\nlines"}
    assert job(store)["args"] == ["send_message", arguments, "right-token"]


def test_options_end_up_in_the_job(shell: Shell, store: Client) -> None:
    assert shell("enqueue", "status", "--retry", "3", "--reply-id", "r1", "--ok-if-exists").returncode == 0
    found = job(store)
    assert (found["retry"], found["ok_if_exists"], found["args"]) == (3, True, ["status", {}, "right-token", "r1"])


@pytest.mark.parametrize(("kind", "by"), [("order", "OrderBy"), ("fair", "FairBy")])
def test_a_key_that_has_no_effect_is_noted(shell: Shell, store: Client, place: Path, kind: str, by: str) -> None:
    document = json.loads((place / "env.json").read_text())
    note = f'note: --{kind}-key has no effect: no "{by}": "{kind}_key" in this configuration of ejabberd.\n'
    for value, is_noted in ((None, True), (["user"], True), (f"{kind}_key", False)):
        (place / "env.json").write_text(json.dumps({**document, **({} if value is None else {by: value})}))
        done = shell("enqueue", "status", f"--{kind}-key", "k")
        assert (done.returncode, note in done.stderr) == (0, is_noted), done.stderr
    assert {json.loads(raw)[f"{kind}_key"] for raw in queued(store)} == {"k"}


def test_later_job_is_scheduled_without_at_and_enqueued_at(shell: Shell, store: Client) -> None:
    rows: list[tuple[Sequence[str], Callable[[], float]]] = [
        (("--in", "5m"), lambda: time.time() + 300),
        (("--in", "30d"), lambda: time.time() + 30 * 86400),
        (("--at", "2030-01-31T08:00+01:00"), datetime(2030, 1, 31, 7, 0, tzinfo=UTC).timestamp),
    ]
    for words, due_s in rows:
        store.command("FLUSHALL")
        assert shell("enqueue", "status", *words).returncode == 0
        raw, score = cast("list[bytes]", store.command("ZRANGE", "ns:schedule", 0, -1, "WITHSCORES"))
        assert abs(float(score) - due_s()) < 30
        assert not {"at", "enqueued_at"} & set(json.loads(raw))
        assert (json.loads(raw)["queue"], json.loads(raw)["display_class"]) == ("rest", "status")
        assert queued(store) == []


def test_job_expires_that_long_after_its_push_or_scheduled_time(shell: Shell, store: Client) -> None:
    assert shell("enqueue", "status", "--expire", "5m").returncode == 0
    found = job(store)
    assert found["expiry"] == found["created_at"] + 300  # type: ignore[operator]
    assert shell("enqueue", "status", "--in", "1h", "--expire", "2m").returncode == 0
    raw, score = cast("list[bytes]", store.command("ZRANGE", "ns:schedule", 0, -1, "WITHSCORES"))
    assert abs(json.loads(raw)["expiry"] - float(score) - 120) < 0.001
    assert shell("enqueue", "status", "--expire", "30d").returncode == 0, "as Expire of a target may be"
    begun = datetime.fromtimestamp(time.time() - 60, UTC).isoformat()
    assert shell("enqueue", "status", "--at", begun, "--expire", "1h").returncode == 0, "it has not expired yet"


@pytest.mark.promise(
    "Security: who has an account on the host, or controls the configuration", "to find secrets in command lines"
)
def test_secret_in_the_command_line_is_warned_about(shell: Shell) -> None:
    """A secret from standard input is not warned about."""
    noted = shell("enqueue", "register", "user=a", "host=h", "password=x").stderr
    assert "password is visible in the command line" in noted
    assert "use password=- or password=@FILE." in noted
    assert (
        "is visible in the command line"
        not in shell("enqueue", "register", "user=a", "host=h", "password=-", stdin="x\n").stderr
    )


def test_queue_without_a_living_process_is_noted(shell: Shell, store: Client) -> None:
    assert "no running process serves the queue rest" in shell("enqueue", "status").stderr
    facts = ProcessInfo(1, "host", "boot", "ns", 1, "ejabberd")
    assert jobs.register(store, "host:1:abc", facts, ["rest"])
    assert shell("enqueue", "status").stderr == ""


def test_redis_refusing_writes_reports_that_job_was_not_queued(shell: Shell, store: Client) -> None:
    store.command("CONFIG", "SET", "maxmemory", "1")
    try:
        done = shell("enqueue", "status")
    finally:
        store.command("CONFIG", "SET", "maxmemory", "0")
    assert (done.returncode, done.stdout, queued(store)) == (3, "", [])
    assert "Redis is full (maxmemory). Jobs can still be settled, but not added. The job was not queued." in done.stderr
    assert "Raise maxmemory, or free memory" in done.stderr
    assert "may have been" not in done.stderr


def answered(place: Path, store: Client, details: Mapping[str, object], *words: str) -> tuple[int, str]:
    """Waits for an answer in a process, answers as the broker does, and returns exit code and output."""
    with started(["enqueue", "status", "--wait", *words], directory=place) as process:
        raw = until(lambda: cast("bytes | None", store.command("RPOP", "ns:queue:rest")), "the job is queued")
        assert raw is not None
        fields = json.loads(raw)
        assert fields["reply_to"] == f"restbroker:reply:{fields['jid']}"
        store.command("LPUSH", f"ns:{fields['reply_to']}", json.dumps({"jid": fields["jid"], **details}))
        code = process.wait()
        return code, process.output()


def details(outcome: str, text: str, error: Mapping[str, object] | None = None) -> dict[str, object]:
    return {"outcome": outcome, "text": text, "error": error, "status": 200}


def test_answer_is_printed_as_sent_and_exit_code_is_its_outcome(place: Path, store: Client) -> None:
    rows: list[tuple[str, str | None, int]] = [
        ("delivered", None, 0),
        ("negative", None, 1),
        ("uncertain", "TimedOut", 1),
        ("rejected", "BadToken", 4),
        ("denied", "LoginRefused", 4),
    ]
    for outcome, code, exit_code in rows:
        error = None if code is None else {"code": code, "message": "It is so.", "cure": "Do this."}
        found, output = answered(place, store, details(outcome, '{"a": [1,  2]}', error))
        assert (found, '{"a": [1,  2]}\n' in output) == (exit_code, outcome in ("delivered", "negative")), output
        assert code is None or f"{code}: It is so.\nDo this." in output
        assert (outcome in ("uncertain", "rejected")) == (
            re.search(r"The job \w+ is dead\. `restbroker explain", output) is not None
        )


@pytest.mark.promise("Producers: answers", "enqueue --wait ends with 6 when no answer came")
def test_no_answer_in_time_ends_with_6_and_the_job_is_queued(shell: Shell, store: Client) -> None:
    done = shell("enqueue", "status", "--wait", "--timeout", "100ms")
    assert (done.returncode, done.stdout) == (6, "")
    assert "It waits in the queue rest: the next to be taken." in done.stderr
    jid = job(store)["jid"]
    store.command("DEL", "ns:queue:rest")
    done = shell("enqueue", "status", "--wait", "--timeout", "100ms", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (6, {"jid": job(store)["jid"], "outcome": "queued"})
    assert str(jid) not in done.stdout


def test_paused_queue_is_mentioned_at_once_and_after_the_wait(shell: Shell, store: Client) -> None:
    pauses.pause_queue(store, "rest", "ops@node", "the server moves", 600.0)
    pushed = shell("enqueue", "status")
    assert (pushed.returncode, len(queued(store))) == (0, 1)
    left = r"(?:10 min|9 min \d+ s)"
    note = rf"note: The queue rest is paused by ops@node for {left} more: \"the server moves\"\. The job will wait:"
    assert re.search(f"^{note} restbroker queues resume rest$", pushed.stderr, re.MULTILINE)
    done = shell("enqueue", "status", "--wait", "--timeout", "100ms")
    assert done.returncode == 6
    assert len(re.findall(note, done.stderr)) == 1
    assert "It waits in the queue rest: 1 before it." in done.stderr
    assert "Do not push it again." in done.stderr
    assert pauses.resume_queue(store, "rest")
    assert "paused" not in shell("enqueue", "status").stderr


def test_redis_lost_while_waiting_is_reported_with_queued_job(
    place: Path, make_redis: Callable[..., RedisServer]
) -> None:
    server = make_redis()
    store = open_client(StoreSettings(server.url, namespace="ns"))
    with started(
        ["enqueue", "status", "--wait", "--json"], directory=place, environ={"RESTBROKER_REDIS_URL": server.url}
    ) as process:
        until(lambda: store.command("LLEN", "ns:queue:rest") == 1, "the job is queued")
        until(lambda: b"cmd=blpop" in cast("bytes", store.command("CLIENT", "LIST")), "it waits")
        jid = job(store)["jid"]
        server.stop()
        assert process.wait() == 6
        assert f"The job {jid} was queued: do not push it again" in process.output()
        assert f'"jid": "{jid}", "outcome": "queued", "error": {{"code": "NoAnswer"' in process.output()


def test_full_disk_behind_stdout_is_reported_with_the_queued_job(place: Path, store: Client) -> None:
    for more in ([], ["--wait", "--timeout", "1s", "--json"]):
        store.command("FLUSHALL")
        with Path("/dev/full").open("w") as full:
            done = run_into(full.fileno(), ["enqueue", "connected_users_number", *more], place)
        assert done.returncode == 6
        assert f"The job {job(store)['jid']} was queued, do not push it again." in done.stderr
        assert "Traceback" not in done.stderr


def test_ctrl_c_while_waiting_says_that_the_job_is_still_queued(place: Path, store: Client) -> None:
    with started(["enqueue", "status", "--wait"], directory=place) as process:
        until(lambda: store.command("LLEN", "ns:queue:rest") == 1, "the job is queued")
        until(lambda: b"cmd=blpop" in cast("bytes", store.command("CLIENT", "LIST")), "it waits")
        process.signal(signal.SIGINT)
        assert process.wait() == 130
        assert process.output().endswith(f"`restbroker explain {job(store)['jid']}` says where it is.\n")


def test_a_job_that_would_be_too_large_is_not_pushed(shell: Shell, store: Client, place: Path) -> None:
    (place / "body.txt").write_text("x" * 1024 * 1024)
    done = shell("enqueue", "send_message", "type=chat", "from=a@b", "to=a@b", "subject=", "body=@body.txt")
    assert (done.returncode, "are the limit" in done.stderr) == (2, True)
    assert queued(store) == []


def test_a_redis_that_only_lets_a_producer_push_stops_no_push(
    place: Path, make_redis: Callable[..., RedisServer]
) -> None:
    server = make_redis()
    store = open_client(StoreSettings(server.url, namespace="ns"))
    server.command("ACL SETUSER producer on nopass ~ns:queue:* ~ns:queues ~ns:restbroker:reply:* -@all +lpush +sadd"
                   " +multi +exec +blpop +hello +client +select +ping")  # fmt: skip
    url = server.url.replace("redis://", "redis://producer:x@")
    words = ["enqueue", "status", "--wait", "--timeout", "100ms"]
    done = run(words, directory=place, environ={"RESTBROKER_REDIS_URL": url})
    assert done.returncode == 6, done.stderr
    assert len(queued(store)) == 1
    assert "no running process" not in done.stderr
    assert "cannot wait for its answer" not in done.stderr
    words = ["enqueue", "status", "--unique", "k", "--unique-for", "10m"]
    done = run(words, directory=place, environ={"RESTBROKER_REDIS_URL": url})
    assert (done.returncode, len(queued(store))) == (1, 1), done.stderr
