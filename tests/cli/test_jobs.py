"""`restbroker dead` and `restbroker retries` as processes against a real Redis."""

import json
from collections.abc import Mapping

import pytest

from restbroker.job.json_types import Json
from restbroker.store.client import Client
from tests.cli.conftest import Shell

NOW_S = 1_700_000_000


def put(store: Client, zset: str, at_s: float, raw: bytes) -> None:
    store.command("ZADD", f"ns:{zset}", at_s, raw)


def failed(jid: str, args: Json, **more: Json) -> bytes:
    fields: Mapping[str, Json] = {"class": "R", "jid": jid, "args": args, "error_class": "BadToken", **more}
    return json.dumps({"error_message": f"The {jid} failed.", **fields}).encode()


def park(store: Client, at_s: float, raw: bytes) -> None:
    """As restbroker does: the job, and its copy."""
    put(store, "dead", at_s, raw)
    store.command("XADD", "ns:restbroker:parked", "*", "ticket", "1:1", "payload", raw)


@pytest.mark.promise("A good citizen", "of what others trim a copy is left")
def test_parked_jobs_that_others_trimmed_are_shown_and_put_back_to_be_seen(shell: Shell, store: Client) -> None:
    for number in range(30):
        park(store, NOW_S + number, failed(f"j{number}", ["status", {"password": "hush-hush"}, "t0ken"]))
    store.command("ZREMRANGEBYRANK", "ns:dead", 0, 2)
    found = shell("find", "jid=j1")
    (copy,) = found.stdout.splitlines()
    assert copy.split("\t")[:4:3] == ["copy", "j1"]
    assert "hush-hush" not in copy
    assert shell("dead", "restore", "j1").returncode == 0
    assert shell("dead", "--limit", "1").stdout.split("\t")[1] == "j1", (
        "the newest: it would be trimmed again otherwise"
    )
    (noted,) = shell("audit").stdout.splitlines()
    assert noted.split("\t")[2:6] == ["restore", "dead", "j1", "done"]


def test_a_job_that_was_put_back_may_have_run_since_so_a_retry_asks(shell: Shell, store: Client) -> None:
    park(store, NOW_S, failed("j1", ["send_message", {"body": "hi"}, "t0ken"]))
    store.command("DEL", "ns:dead")
    restored = shell("dead", "restore", "j1")
    assert (restored.returncode, "It may have run since it died" in restored.stderr) == (0, True)
    refused = shell("dead", "retry", "j1", "--foreign-queues", "--yes")
    assert (refused.returncode, "--repeat-unsafe" in refused.stderr) == (1, True)
    assert store.command("ZCARD", "ns:dead") == 1


def test_a_job_that_waits_for_its_next_try_is_not_put_back_beside_that(shell: Shell, store: Client) -> None:
    park(store, NOW_S, failed("j1", ["status", {}, "t0ken"]))
    store.command("DEL", "ns:dead")
    put(store, "retry", NOW_S, failed("j1", ["status", {}, "t0ken"], retry_count=1))
    done = shell("dead", "restore", "j1")
    assert (done.returncode, "waits for its next try" in done.stderr) == (2, True)
    assert store.command("ZCARD", "ns:dead") == 0
