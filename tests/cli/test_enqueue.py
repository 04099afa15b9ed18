"""`restbroker enqueue` as a process against a real Redis."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import cast

import attrs
import pytest

from restbroker.rules import rubyjson
from restbroker.store import beats, jobs, pauses
from restbroker.store.client import Client, StoreSettings, open_client
from tests.support.process import clean_environment, run, run_into, started
from tests.support.redis_server import RedisServer
from tests.support.wait import until

Shell = Callable[..., CompletedProcess[str]]
CONTACT = ("localuser=a", "localhost=h", "user=b", "host=h", "nick=n", "subs=both")


@pytest.fixture
def place(tmp_path: Path, redis_url: str) -> Path:
    """A directory with an env.json for the run's Redis."""
    document = {
        "RedisURL": redis_url,
        "RedisNamespace": "ns",
        "RestURL": "http://127.0.0.1:1/api",
        "RestUser": "admin",
        "RestPass": "a-password",
        "RestQueue": "rest",
        "Token": "a-token",
    }
    (tmp_path / "env.json").write_text(json.dumps(document))
    return tmp_path


@pytest.fixture
def shell(place: Path) -> Shell:
    def enqueue(*words: str, stdin: str = "", environ: Mapping[str, str] | None = None) -> CompletedProcess[str]:
        return run(["enqueue", *words], directory=place, stdin=stdin, environ=environ)

    return enqueue


@pytest.fixture
def store(redis_url: str) -> Client:
    return open_client(StoreSettings(redis_url, namespace="ns"))


def queued(store: Client, queue: str = "rest") -> list[bytes]:
    return cast("list[bytes]", store.command("LRANGE", f"ns:queue:{queue}", 0, -1))


def job(store: Client) -> dict[str, object]:
    (raw,) = queued(store)
    found = json.loads(raw)
    assert isinstance(found, dict)
    return found


def test_pushing_loads_neither_trio_nor_an_http_client_nor_rich(place: Path, store: Client) -> None:
    script = (
        "import atexit, sys\n"
        "from restbroker.__main__ import main\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))\n"
        "sys.argv = ['restbroker', 'enqueue', 'kick_user', 'user=richard', 'host=h']\n"
        "main()\n"
    )
    environ = clean_environment()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=place, env=environ, check=True
    )
    assert job(store)["args"] == ["kick_user", {"user": "richard", "host": "h"}, "a-token"], done.stderr
    assert not {"trio", "httpx", "rich"} & set(done.stderr.split())


def test_a_command_becomes_a_complete_sidekiq_job_written_as_ruby_writes_it(shell: Shell, store: Client) -> None:
    before_s = time.time()
    done = shell("register", "user=richärd", "host=example.org", "password=a/b")
    assert done.returncode == 0
    (raw,) = queued(store)
    found = json.loads(raw)
    assert rubyjson.dumps(rubyjson.loads(raw)) == raw
    assert done.stdout == f"{found['jid']}\n"
    assert re.fullmatch("[0-9a-f]{24}", found["jid"])
    assert list(found) == ["class", "display_class", "args", "jid", "queue", "retry", "created_at", "enqueued_at"]
    arguments = {"user": "richärd", "host": "example.org", "password": "a/b"}
    assert found["args"] == ["register", arguments, "a-token"]
    assert (found["class"], found["display_class"], found["queue"]) == ("Restbroker", "register", "rest")
    assert found["retry"] is True
    assert before_s - 1 < found["enqueued_at"] < time.time() + 1
    assert not found["enqueued_at"].is_integer()
    assert store.command("SMEMBERS", "ns:queues") == [b"rest"]


def test_texts_become_what_the_command_takes(shell: Shell, store: Client) -> None:
    assert shell("delete_old_users", "days=30").returncode == 0
    assert job(store)["args"] == ["delete_old_users", {"days": 30}, "a-token"]


def test_arguments_come_as_json_from_files_and_from_standard_input(shell: Shell, store: Client, place: Path) -> None:
    (place / "body.txt").write_text("two\nlines\n")
    done = shell("send_message", "type=chat", "from:=null", 'to:="@x"', "subject=-", "body=@body.txt", stdin="hello\n")
    assert done.returncode == 0
    arguments = {"type": "chat", "from": None, "to": "@x", "subject": "hello", "body": "two\nlines"}
    assert job(store)["args"] == ["send_message", arguments, "a-token"]


def test_options_end_up_in_the_job(shell: Shell, store: Client) -> None:
    assert shell("status", "--retry", "3", "--reply-id", "r1", "--ok-if-exists").returncode == 0
    found = job(store)
    assert (found["retry"], found["ok_if_exists"], found["args"]) == (3, True, ["status", {}, "a-token", "r1"])


@pytest.mark.parametrize(("written", "value"), [("false", False), ("true", True), ("0", 0)])
def test_retry_takes_a_number_true_or_false(shell: Shell, store: Client, written: str, value: object) -> None:
    assert shell("status", "--retry", written).returncode == 0
    assert job(store)["retry"] is value


def test_another_queue_may_be_named(shell: Shell, store: Client) -> None:
    assert shell("status", "--queue", "other").returncode == 0
    assert len(queued(store, "other")) == 1


@pytest.mark.parametrize(
    ("words", "due_s"),
    [
        (("--in", "5m"), lambda: time.time() + 300),
        (("--in", "30d"), lambda: time.time() + 30 * 86400),
        (("--at", "2030-01-31T08:00+01:00"), datetime(2030, 1, 31, 7, 0, tzinfo=UTC).timestamp),
    ],
)
def test_a_later_job_goes_to_the_schedule_set_without_at_and_enqueued_at(
    shell: Shell, store: Client, words: Sequence[str], due_s: Callable[[], float]
) -> None:
    assert shell("status", *words).returncode == 0
    raw, score = cast("list[bytes]", store.command("ZRANGE", "ns:schedule", 0, -1, "WITHSCORES"))
    assert abs(float(score) - due_s()) < 30
    assert not {"at", "enqueued_at"} & set(json.loads(raw))
    assert (json.loads(raw)["queue"], json.loads(raw)["display_class"]) == ("rest", "status")
    assert queued(store) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("regster", "user=x"), "did you mean register"),
        (("../x",), "not a plain command name"),
        (("status", "user"), "has no name"),
        (("status", "a=1", "a=2"), "given twice"),
        (("status", "a:={"), "no JSON"),
        (("status", "a:=NaN"), "no JSON"),
        (("status", "a=@missing"), "cannot be read"),
        (("status", "a=-", "b=-"), "one argument only"),
        (("delete_old_users", "days=many"), "must be an integer"),
        (("register", "user=bob", "host=h"), "register also needs password."),
        (("register", "user=bob", "host=h", "passwd=x"), "register has no argument 'passwd'; did you mean password?"),
        (("kick_user", "user=bob"), "kick_user also needs host."),
        (
            ("add_rosteritem", *CONTACT, "groop=a"),
            "23.01 takes localuser, localhost, user, host, nick, group, subs; 24.12 and",
        ),
        (("status", "--retry", "often"), "--retry takes"),
        (("status", "--in", "soon"), "--in takes"),
        (("status", "--in", "5m", "--at", "2030-01-01"), "keep one"),
        (("status", "--at", "tomorrow"), "ISO time"),
        (("status", "--timeout", "x"), "--timeout takes"),
        (("status", "--config", "missing.json"), "cannot be read"),
        (("status", "--colour"), "No such option"),
    ],
)
def test_a_mistake_on_the_command_line_ends_with_2_and_pushes_nothing(
    shell: Shell, store: Client, words: Sequence[str], expected: str
) -> None:
    done = shell(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert queued(store) == []


def test_that_the_target_is_paused_is_said_at_once_and_once_more_where_nothing_came(
    shell: Shell, store: Client
) -> None:
    pauses.pause_target(store, "ejabberd", "ops@node", "the server moves", 600.0)
    pushed = shell("status")
    assert (pushed.returncode, len(queued(store))) == (0, 1)
    told = r"note: The target ejabberd is paused by ops@node for \d+ s more .*\"the server moves\"\. The job will wait:"
    assert re.search(f"^{told} restbroker targets resume ejabberd$", pushed.stderr, re.MULTILINE)
    done = shell("status", "--wait", "--timeout", "100ms")
    assert done.returncode == 6
    assert len(re.findall(told, done.stderr)) == 1
    assert "it is still queued and will be done once the target ejabberd is resumed." in done.stderr
    assert pauses.resume_target(store, "ejabberd")
    assert "paused" not in shell("status").stderr


def test_an_unknown_command_passes_with_a_note_and_a_near_one_with_any(shell: Shell, store: Client) -> None:
    unknown = shell("frobnicate", "a=1")
    assert (unknown.returncode, "not in the catalogue" in unknown.stderr) == (0, True)
    assert shell("regster", "--any").returncode == 0
    assert len(queued(store)) == 2


def test_a_secret_in_the_command_line_is_warned_about_but_not_one_from_standard_input(shell: Shell) -> None:
    noted = shell("register", "user=a", "host=h", "password=x").stderr
    assert "password stands in the command line" in noted
    assert "use password=- or password=@FILE." in noted
    assert "stands in the command line" not in shell("register", "user=a", "host=h", "password=-", stdin="x\n").stderr


def test_a_secret_deep_in_an_argument_of_the_command_line_is_warned_about(shell: Shell) -> None:
    stanza = "stanza=<iq><password>hunter-of-words</password></iq>"
    noted = shell("send_stanza", "from=a@x", "to=b@x", stanza).stderr
    assert "note: a secret in stanza stands in the command line" in noted
    assert "hunter" not in noted


def test_any_queues_a_value_that_does_not_fit_as_it_is(shell: Shell, store: Client) -> None:
    refused = shell("delete_old_messages", "days=abc")
    assert (refused.returncode, queued(store)) == (2, [])
    done = shell("delete_old_messages", "days=abc", "--any")
    assert done.returncode == 0, done.stderr
    assert job(store)["args"] == ["delete_old_messages", {"days": "abc"}, "a-token"]
    assert "note: delete_old_messages: days must be an integer" in done.stderr


def test_any_queues_what_the_command_does_not_take_with_a_note(shell: Shell, store: Client) -> None:
    done = shell("register", "usr=x", "--any")
    assert (done.returncode, job(store)["args"]) == (0, ["register", {"usr": "x"}, "a-token"])
    assert "note: register has no argument 'usr'; did you mean user?" in done.stderr


@pytest.mark.parametrize(
    ("words", "domain", "code"),
    [
        (("register", "user=a", "password:=1"), "", 2),
        (("register", "user=a", "password:=1"), "example.org", 0),
        (("create_room_with_opts", "room=r", "service=s", "host=h"), "", 0),
        (("user_sessions_info", "user=richard"), "example.org", 0),
        (("status",), "", 0),
    ],
)
def test_a_host_that_the_domain_fills_in_and_a_list_that_is_empty_are_not_missing(
    shell: Shell, store: Client, words: Sequence[str], domain: str, code: int
) -> None:
    found_at(store, "24.12")
    done = shell(*words, environ={"RESTBROKER_JABBER_DOMAIN": domain})
    assert (done.returncode, len(queued(store))) == (code, int(code == 0)), done.stderr


@pytest.mark.parametrize(
    ("version", "words", "reason"),
    [
        ("23.01", ("groups=a",), "add_rosteritem has no argument 'groups'; did you mean group?"),
        ("23.01", (), "add_rosteritem also needs group."),
        ("24.12", ("group=a",), "add_rosteritem has no argument 'group'; did you mean groups?"),
        ("24.12", (), None),
        ("24.06", (), None),
        ("24.06", ("nobody=a",), "add_rosteritem has no argument 'nobody'"),
    ],
)
def test_what_the_running_version_refuses_is_refused_before_the_push(
    shell: Shell, store: Client, version: str, words: Sequence[str], reason: str | None
) -> None:
    found_at(store, version)
    done = shell("add_rosteritem", *CONTACT, *words)
    assert (done.returncode, len(queued(store))) == ((0, 1) if reason is None else (2, 0)), done.stderr
    assert reason is None or reason in done.stderr


def test_it_is_noted_when_no_living_process_serves_the_queue(shell: Shell, store: Client) -> None:
    assert "no running process serves the queue rest" in shell("status").stderr
    facts = jobs.Facts(1, "host", "boot", "ns", 1, "ejabberd")
    assert jobs.register(store, "host:1:abc", facts, ["rest"])
    assert shell("status").stderr == ""


def test_an_unreachable_redis_ends_with_3(shell: Shell) -> None:
    done = shell("status", environ={"RESTBROKER_REDIS_URL": "redis://127.0.0.1:1"})
    assert (done.returncode, done.stdout) == (3, "")
    assert "127.0.0.1:1" in done.stderr


def test_a_number_that_redis_has_no_database_of_is_told(shell: Shell, redis_url: str) -> None:
    done = shell("status", environ={"RESTBROKER_REDIS_URL": f"{redis_url.rpartition('/')[0]}/99"})
    assert (done.returncode, done.stdout) == (1, "")
    assert "has no database of the number that is configured" in done.stderr
    assert "setting databases" in done.stderr


def test_a_replica_is_not_said_to_come_from_a_failover(shell: Shell, make_redis: Callable[..., RedisServer]) -> None:
    primary = make_redis()
    replica = make_redis(replicaof=f"127.0.0.1 {primary.port}")
    until(lambda: "master_link_status:up" in replica.command("INFO replication"), "the replica is in step")
    done = shell("status", environ={"RESTBROKER_REDIS_URL": replica.url})
    assert (done.returncode, done.stdout) == (3, "")
    assert "This Redis is a replica: it takes no writes." in done.stderr
    assert "let RedisURL name the primary" in done.stderr


def test_a_redis_that_refuses_writes_says_that_the_job_was_not_queued(shell: Shell, store: Client) -> None:
    store.command("CONFIG", "SET", "maxmemory", "1")
    try:
        done = shell("status")
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


def test_waiting_prints_the_servers_answer_as_it_was_sent(place: Path, store: Client) -> None:
    code, output = answered(place, store, details("delivered", '{"a": [1,  2]}'))
    assert code == 0
    assert '{"a": [1,  2]}\n' in output


def test_waiting_with_json_prints_everything_known_of_the_answer(place: Path, store: Client) -> None:
    code, output = answered(place, store, details("delivered", "0"), "--json")
    shown = json.loads(output.splitlines()[0])
    assert (code, shown["outcome"], shown["text"]) == (0, "delivered", "0")


@pytest.mark.parametrize(
    ("outcome", "code", "exit_code"),
    [
        ("negative", None, 1),
        ("rejected", "UnknownHost", 1),
        ("failed", "ServerError", 1),
        ("uncertain", "TimedOut", 1),
        ("rejected", "BadToken", 4),
        ("rejected", "CommandForbidden", 4),
        ("denied", "LoginRefused", 4),
    ],
)
def test_the_exit_code_tells_how_the_command_went(
    place: Path, store: Client, outcome: str, code: str | None, exit_code: int
) -> None:
    error = None if code is None else {"code": code, "message": "It is so.", "cure": "Do this."}
    found, output = answered(place, store, details(outcome, "1", error))
    assert found == exit_code
    assert code is None or f"{code}: It is so.\nDo this." in output


def test_no_answer_in_time_ends_with_6_and_the_job_stays_queued(shell: Shell, store: Client) -> None:
    done = shell("status", "--wait", "--timeout", "100ms")
    assert (done.returncode, done.stdout) == (6, "")
    assert "still queued" in done.stderr
    assert len(queued(store)) == 1


def test_no_answer_in_time_is_also_told_as_json(shell: Shell, store: Client) -> None:
    done = shell("status", "--wait", "--timeout", "100ms", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (6, {"jid": job(store)["jid"], "outcome": "queued"})


def test_while_waiting_it_is_said_once_why_the_server_gets_no_jobs_and_what_to_do(place: Path, store: Client) -> None:
    assert jobs.register(store, "host:1:abc", jobs.Facts(1, "host", "boot", "ns", 1, "ejabberd"), ["rest"])
    snapshot = b'{"gate":"closed","gate_reason":"Nobody listens there.","gate_cure":"Start it."}'
    assert beats.beat(store, [("host:1:abc", 1)], {"host:1:abc": snapshot}) == [True]
    with started(["enqueue", "status", "--wait", "--timeout", "5s"], directory=place) as process:
        process.wait_for("^The server gets no jobs now: Nobody listens there.$")
        process.wait_for("^Start it.$")
        assert process.process.poll() is None
        assert process.wait() == 6
        assert process.output().count("Nobody listens there") == 1


@pytest.mark.parametrize(
    ("limited", "why"),
    [
        ("dead", "the dead set is full (DeadLimit)"),
        ("paused", "it is paused"),
        ("refused", "Redis refuses to give out or to settle jobs"),
    ],
)
def test_while_waiting_it_is_said_once_why_no_job_is_taken(place: Path, store: Client, limited: str, why: str) -> None:
    assert jobs.register(store, "host:1:abc", jobs.Facts(1, "host", "boot", "ns", 1, "ejabberd"), ["rest"])
    snapshot = json.dumps({"gate": "open", "gate_reason": None, "limited": limited}).encode()
    assert beats.beat(store, [("host:1:abc", 1)], {"host:1:abc": snapshot}) == [True]
    with started(["enqueue", "status", "--wait", "--timeout", "3s"], directory=place) as process:
        assert process.wait() == 6
        assert process.output().count(f"The server gets no jobs now: {why}") == 1


def test_that_the_queue_is_paused_is_said_at_once_and_once_more_where_nothing_came(shell: Shell, store: Client) -> None:
    pauses.pause_queue(store, "rest", "ops@node", "the server moves", 600.0)
    pushed = shell("status")
    assert (pushed.returncode, len(queued(store))) == (0, 1)
    told = r"note: The queue rest is paused by ops@node for \d+ s more: \"the server moves\"\. The job will wait:"
    assert re.search(f"^{told} restbroker queues resume rest$", pushed.stderr, re.MULTILINE)
    done = shell("status", "--wait", "--timeout", "100ms")
    assert done.returncode == 6
    assert len(re.findall(told, done.stderr)) == 1
    assert "it is still queued and will be done once the queue rest is resumed." in done.stderr
    assert pauses.resume_queue(store, "rest")
    assert "paused" not in shell("status").stderr


def test_a_process_that_is_quiet_is_no_process_that_serves_the_queue(shell: Shell, store: Client) -> None:
    facts = jobs.Facts(77, "node", "boot", "ns", 1, "ejabberd")
    assert jobs.register(store, "node:77:abc", facts, ["rest"])
    assert beats.beat(store, [("node:77:abc", 1)], {"node:77:abc": b'{"quiet":true}'}) == [True]
    assert "note: the process node:77 is quiet" in shell("status").stderr
    done = shell("status", "--wait", "--timeout", "100ms")
    assert done.returncode == 6
    assert done.stderr.count("the process node:77 is quiet: it takes no more jobs until it is restarted.") == 1
    assert "still queued and will be done once a process takes jobs from the queue rest." in done.stderr
    assert jobs.register(store, "node:78:def", attrs.evolve(facts, pid=78), ["rest"])
    assert beats.beat(store, [("node:78:def", 1)], {"node:78:def": b'{"quiet":false}'}) == [True]
    done = shell("status", "--wait", "--timeout", "100ms")
    assert (done.returncode, "quiet" in done.stderr) == (6, False)
    assert "still queued and will be done." in done.stderr


def test_a_process_that_turns_quiet_while_one_waits_is_told(place: Path, store: Client) -> None:
    assert jobs.register(store, "node:77:abc", jobs.Facts(77, "node", "boot", "ns", 1, "ejabberd"), ["rest"])
    with started(["enqueue", "status", "--wait", "--timeout", "5s"], directory=place) as process:
        until(lambda: store.command("LLEN", "ns:queue:rest") == 1, "the job is queued")
        assert beats.beat(store, [("node:77:abc", 1)], {"node:77:abc": b'{"quiet":true}'}) == [True]
        process.wait_for("^The server gets no jobs now: the process node:77 is quiet")
        assert process.wait() == 6


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_right_to_wait_that_is_missing_is_told_with_the_job_that_was_queued(
    place: Path, make_redis: Callable[..., RedisServer], words: Sequence[str]
) -> None:
    server = make_redis()
    server.command("ACL SETUSER default -blpop")
    done = run(["enqueue", "status", "--wait", *words], directory=place, environ={"RESTBROKER_REDIS_URL": server.url})
    store = open_client(StoreSettings(server.url, namespace="ns"))
    jid = job(store)["jid"]
    assert done.returncode == 6
    assert f"The job {jid} was queued, do not push it again; its answer cannot be waited for." in done.stderr
    assert "'blpop'" in done.stderr
    if words:
        told = json.loads(done.stdout)
        assert (told["jid"], told["outcome"], told["error"]["code"]) == (jid, "queued", "NoAnswer")
        assert "'blpop'" in told["error"]["message"]
    else:
        assert done.stdout == ""


def test_a_redis_that_goes_away_while_one_waits_is_told_with_the_job_that_was_queued(
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
        assert f"The job {jid} was queued, do not push it again" in process.output()
        assert f'"jid": "{jid}", "outcome": "queued"' in process.output()


@pytest.mark.parametrize("more", [[], ["--json"], ["--wait", "--timeout", "1s", "--json"]])
def test_a_full_disk_behind_stdout_is_told_with_the_job_that_was_queued(
    place: Path, store: Client, more: list[str]
) -> None:
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
        assert process.output().endswith(f"still queued: {job(store)['jid']}\n")


def test_a_job_that_would_be_too_large_is_not_pushed(shell: Shell, store: Client, place: Path) -> None:
    (place / "body.txt").write_text("x" * 1024 * 1024)
    done = shell("send_message", "type=chat", "from=a@b", "to=a@b", "subject=", "body=@body.txt")
    assert (done.returncode, "are the limit" in done.stderr) == (2, True)
    assert queued(store) == []


def found_at(store: Client, version: str) -> None:
    """A process serves the queue, and found this version of its server."""
    assert jobs.register(store, "host:1:abc", jobs.Facts(1, "host", "boot", "ns", 1, "ejabberd"), ["rest"])
    snapshot = json.dumps({"gate": "open", "server_version": version}).encode()
    assert beats.beat(store, [("host:1:abc", 1)], {"host:1:abc": snapshot}) == [True]


@pytest.mark.parametrize(
    ("version", "word", "values"),
    [("23.01", "group=a", {"group": "a"}), ("24.12", "groups=a,b", {"groups": ["a", "b"]})],
)
def test_a_job_is_judged_by_the_version_that_the_running_process_found(
    shell: Shell, store: Client, version: str, word: str, values: Mapping[str, object]
) -> None:
    found_at(store, version)
    done = shell("add_rosteritem", *CONTACT, word)
    assert (done.returncode, done.stderr) == (0, "")
    arguments = cast("list[Mapping[str, object]]", job(store)["args"])[1]
    assert {name: arguments[name] for name in values} == values


def test_where_no_process_runs_it_is_said_what_each_version_takes_unless_one_is_configured(
    shell: Shell, place: Path
) -> None:
    told = shell("add_rosteritem", *CONTACT, "group=a").stderr
    assert "23.01 takes localuser, localhost, user, host, nick, group, subs; 24.12 and 26.07 take" in told
    document = json.loads((place / "env.json").read_text())
    (place / "env.json").write_text(json.dumps({**document, "Options": {"ServerVersion": "23.01"}}))
    assert "takes" not in shell("add_rosteritem", *CONTACT, "group=a").stderr


@pytest.mark.parametrize("words", [(), ("--wait", "--timeout", "100ms")])
def test_a_redis_that_only_lets_a_producer_push_stops_no_push(
    place: Path, make_redis: Callable[..., RedisServer], words: Sequence[str]
) -> None:
    server = make_redis()
    store = open_client(StoreSettings(server.url, namespace="ns"))
    server.command("ACL SETUSER producer on nopass ~ns:queue:* ~ns:queues ~ns:restbroker:reply:* -@all +lpush +sadd"
                   " +multi +exec +blpop +hello +client +select +ping")  # fmt: skip
    url = server.url.replace("redis://", "redis://producer:x@")
    done = run(["enqueue", "status", *words], directory=place, environ={"RESTBROKER_REDIS_URL": url})
    assert done.returncode == (6 if words else 0), done.stderr
    assert len(queued(store)) == 1
    assert "no running process" not in done.stderr
    assert "cannot be waited for" not in done.stderr


def test_a_mistake_is_told_as_one_also_where_redis_is_away(shell: Shell) -> None:
    done = shell("regster", environ={"RESTBROKER_REDIS_URL": "redis://127.0.0.1:1"})
    assert (done.returncode, "did you mean register" in done.stderr) == (2, True)


def test_a_command_is_shown_as_the_version_takes_it_that_runs(place: Path, store: Client) -> None:
    shown = run(["commands", "add_rosteritem"], directory=place)
    assert "groups: list" in shown.stdout
    assert shown.stderr.startswith("note: versions of ejabberd differ in add_rosteritem: 23.01 takes localuser,")
    found_at(store, "23.01")
    shown = run(["commands", "add_rosteritem"], directory=place)
    assert ("group: string" in shown.stdout, shown.stderr) == (True, "")
