"""`restbroker dead` and `restbroker retries` as processes against a real Redis."""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from restbroker.job.json_types import Json
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.replies import items, raw
from tests.support.process import run_here as run

Show = Callable[..., subprocess.CompletedProcess[str]]
NOW_S = 1_700_000_000


@pytest.fixture
def place(tmp_path: Path, redis_url: str) -> Path:
    document = {"RedisURL": redis_url, "RedisNamespace": "ns", "RestQueue": "rest", "Token": "right-token"}
    (tmp_path / "env.json").write_text(json.dumps(document))
    return tmp_path


@pytest.fixture
def store(redis_url: str) -> Client:
    return open_client(StoreSettings(redis_url, namespace="ns"))


@pytest.fixture
def show(place: Path) -> Show:
    return lambda *words: run(words, directory=place)


def put(store: Client, zset: str, at_s: float, raw: bytes) -> None:
    store.command("ZADD", f"ns:{zset}", at_s, raw)


def failed(jid: str, args: Json, **more: Json) -> bytes:
    fields: Mapping[str, Json] = {"class": "R", "jid": jid, "args": args, "error_class": "BadToken", **more}
    return json.dumps({"error_message": f"The {jid} failed.", **fields}).encode()


def test_parked_jobs_come_newest_first_with_their_reason(show: Show, store: Client) -> None:
    for number in range(3):
        put(store, "dead", NOW_S + number, failed(f"j{number}", ["status", {}, "t0ken"]))
    done = show("dead")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[1] for line in lines] == ["j2", "j1", "j0"]
    assert lines[0] == ["2023-11-14T22:13:22Z", "j2", "status", "BadToken", "The j2 failed."]
    assert done.stderr == "3 jobs parked.\n"


def test_neither_arguments_nor_tokens_are_shown_wherever_they_are(show: Show, store: Client) -> None:
    secret = {"user": "bob", "password": "hush-hush"}
    put(store, "dead", 1, failed("j1", ["register", secret, "right-token"], error_message="no right-token, hush-hush"))
    put(store, "dead", 2, failed("right-token", ["right-token", secret, "x"]))
    put(store, "dead", 3, failed("j3", json.dumps(["register", secret, "other-token"]), error_message="other-token"))
    put(store, "dead", 4, b"right-token is no job")
    put(store, "dead", 5, b'["right-token"]')
    for words in (("dead",), ("dead", "--json")):
        done = show(*words)
        assert done.returncode == 0
        assert not [word for word in ("hush-hush", "right-token", "other-token", "bob") if word in done.stdout]


def park(store: Client, at_s: float, raw: bytes) -> None:
    """As restbroker does: the job, and its copy."""
    put(store, "dead", at_s, raw)
    store.command("XADD", "ns:restbroker:parked", "*", "ticket", "1:1", "payload", raw)


def test_parked_jobs_that_others_trimmed_are_shown_and_put_back_to_be_seen(show: Show, store: Client) -> None:
    for number in range(30):
        park(store, NOW_S + number, failed(f"j{number}", ["status", {"password": "hush-hush"}, "t0ken"]))
    assert show("dead", "--trimmed").stdout == ""
    store.command("ZREMRANGEBYRANK", "ns:dead", 0, 2)
    listed = show("dead", "--trimmed")
    assert [line.split("\t")[1:4] for line in listed.stdout.splitlines()] == [
        [f"j{n}", "status", "BadToken"] for n in (2, 1, 0)
    ]
    assert "hush-hush" not in listed.stdout
    assert listed.stderr.startswith("3 jobs are no longer in the dead set")
    assert [job["jid"] for job in json.loads(show("dead", "--trimmed", "--json", "--limit", "1").stdout)] == ["j2"]
    assert show("dead", "--restore", "j1").returncode == 0
    assert show("dead", "--limit", "1").stdout.split("\t")[1] == "j1", "the newest: it would be trimmed again otherwise"
    assert [line.split("\t")[1] for line in show("dead", "--trimmed").stdout.splitlines()] == ["j2", "j0"]
    (noted,) = show("audit").stdout.splitlines()
    assert noted.split("\t")[2:6] == ["restore", "dead", "j1", "done"]


def test_a_job_that_was_parked_again_after_a_retry_is_in_the_dead_set_and_not_put_beside_itself(
    show: Show, store: Client
) -> None:
    park(store, NOW_S, failed("gone", ["status", {}, "t0ken"]))
    for tries in range(3):
        store.command("DEL", "ns:dead")
        park(store, NOW_S + tries, failed("again", ["status", {}, "t0ken"], retry_count=tries))
    assert [line.split("\t")[1] for line in show("dead", "--trimmed").stdout.splitlines()] == ["gone"]
    assert show("dead", "--restore", "again").returncode == 2
    assert store.command("ZCARD", "ns:dead") == 1
    store.command("DEL", "ns:dead")
    assert [line.split("\t")[1] for line in show("dead", "--trimmed").stdout.splitlines()] == ["again", "gone"]
    assert show("dead", "--restore", "again").returncode == 0
    newest = json.loads(failed("again", ["status", {}, "t0ken"], retry_count=2))
    (restored,) = items(store.command("ZRANGE", "ns:dead", 0, -1))
    assert json.loads(raw(restored)) == {**newest, "restbroker_may_have_run": True}


def test_a_job_that_was_put_back_may_have_run_since_so_a_retry_asks(show: Show, store: Client) -> None:
    park(store, NOW_S, failed("j1", ["send_message", {"body": "hi"}, "t0ken"]))
    store.command("DEL", "ns:dead")
    restored = show("dead", "--restore", "j1")
    assert (restored.returncode, "It may have run since it was parked" in restored.stderr) == (0, True)
    refused = show("dead", "retry", "j1", "--foreign-queues", "--yes")
    assert (refused.returncode, "--repeat-unsafe" in refused.stderr) == (1, True)
    assert store.command("ZCARD", "ns:dead") == 1


def test_a_job_that_waits_for_its_next_try_is_not_put_back_beside_that(show: Show, store: Client) -> None:
    park(store, NOW_S, failed("j1", ["status", {}, "t0ken"]))
    store.command("DEL", "ns:dead")
    put(store, "retry", NOW_S, failed("j1", ["status", {}, "t0ken"], retry_count=1))
    done = show("dead", "--restore", "j1")
    assert (done.returncode, "waits for its next try" in done.stderr) == (2, True)
    assert store.command("ZCARD", "ns:dead") == 0
