"""GET /stats over real HTTP: what the original's readers find, what nobody may find, and what happens without Redis."""

import json
import time
from typing import Any, cast

import pytest
import trio

from restbroker.job.command import ArgumentSpec, CommandSpec
from restbroker.job.json_types import Json
from restbroker.operate.context import ConfigContext
from restbroker.web.metrics_view import in_all_processes
from tests.broker.conftest import SPECS, Harness
from tests.operate.pools import record
from tests.web.conftest import Open


async def test_the_fields_of_the_original_are_there_with_their_types(slow: Harness, site: Open) -> None:
    began_s = int(time.time())
    slow.client.command("MSET", "stat:processed", 7, "stat:failed", 2)
    slow.client.command("ZADD", "retry", 9e9, "{}")
    slow.raw(b'{"class":"Add","jid":"j","args":["safe",{"n":123456789012345678901234567890},"t"],"at":1e300}')
    slow.push(count=30)
    async with site() as running:
        await slow.until(lambda: len(slow.target.calls) == 3, "three jobs are in delivery")
        waiting = slow.size("queue:rest")
        answer = await running.ask("/stats")
    body = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert (body["processed"], body["failed"], body["retries"]) == (7, 2, 1)
    assert body["enqueued"] == {"rest": str(waiting)}
    assert [job["message"]["jid"] for job in body["jobs"]["rest"]] == ["j", "jid-safe-0", "jid-safe-1"]
    assert body["jobs"]["rest"][0]["message"]["args"][1] == {"n": 123456789012345678901234567890}
    assert all(type(job["started_at"]) is int for job in body["jobs"]["rest"])
    assert all(began_s <= job["started_at"] <= time.time() for job in body["jobs"]["rest"])
    assert answer.text.startswith('{\n  "processed": 7,')


@pytest.mark.promise("Security: who can reach the ports", "to learn secrets")
async def test_neither_tokens_nor_secrets_nor_message_texts_are_shown(slow: Harness, site: Open) -> None:
    arguments = {"user": "john", "password": "sesame-4711", "body": "a private word"}
    payload = {"class": "Add", "jid": "j1", "args": ["safe", arguments, "t"], "note": "kept"}
    slow.raw(json.dumps(payload).encode())
    slow.raw(json.dumps({**payload, "jid": "j2", "args": ["safe", json.dumps(arguments), "t"]}).encode())
    async with site() as running:
        await slow.until(lambda: len(slow.target.calls) == 2, "both are in delivery")
        answer = await running.ask("/stats")
    messages = [job["message"] for job in answer.json()["jobs"]["rest"]]
    shown = {"user": "john", "password": "***", "body": "***"}
    assert messages[0]["args"] == messages[1]["args"] == ["safe", shown, "***"]
    assert messages[0]["note"] == "kept"
    assert "sesame" not in answer.text
    assert "private" not in answer.text


@pytest.mark.promise("Security: who can reach the ports", "to learn secrets")
async def test_argument_the_catalogue_calls_secret_is_not_shown(
    slow: Harness, site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = ArgumentSpec("pin", "string", secret=True)
    monkeypatch.setitem(SPECS, "safe", CommandSpec("safe", (pin,), "safe"))
    arguments = {"user": "john", "pin": "4711-0815"}
    for given in (arguments, [[*pair] for pair in arguments.items()], json.dumps(arguments)):
        slow.raw(json.dumps({"class": "Add", "jid": "j1", "args": ["safe", given, "t"]}).encode())
    async with site() as running:
        await slow.until(lambda: len(slow.target.calls) == 3, "all are in delivery")
        answer = await running.ask("/stats")
    shown = [job["message"]["args"][1] for job in answer.json()["jobs"]["rest"]]
    masked = {"user": "john", "pin": "***"}
    assert shown == [masked, [["user", "john"], ["pin", "***"]], masked]


@pytest.mark.promise("Security: who can reach the ports", "to learn secrets")
async def test_a_secret_argument_is_shown_in_no_other_field_either(slow: Harness, site: Open) -> None:
    arguments = {"user": "john", "password": "sesame-4711", "note": "his is sesame-4711"}
    payload = {"class": "Add", "args": ["safe", arguments, "t"], "jid": "j-sesame-4711", "tags": ["sesame-4711"]}
    slow.raw(json.dumps({**payload, "by": {"sesame-4711": ["sesame-4711"]}}).encode())
    async with site() as running:
        await slow.until(lambda: len(slow.target.calls) == 1, "it is in delivery")
        answer = await running.ask("/stats")
    assert "sesame" not in answer.text
    assert answer.json()["jobs"]["rest"][0]["message"]["args"][1]["note"] == "his is ***"


@pytest.mark.promise("Security: who can reach the ports", "as a page in an operator's browser, to read /stats")
async def test_a_page_that_points_its_own_name_at_us_is_refused(site: Open) -> None:
    async with site() as running:
        for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "localhost.evil"):
            answer = await running.ask("/stats", Host=host)
            assert (answer.status_code, answer.json()["error"]["code"]) == (421, "UnknownHost"), host
            assert (await running.ask("/metrics", Host=host)).status_code == 421, host


@pytest.mark.promise("Security: who can reach the ports", "as a page in an operator's browser, to read /stats")
async def test_no_other_site_may_read_the_answer_or_frame_it(site: Open) -> None:
    async with site() as running:
        answer = await running.ask("/stats", Origin="https://evil.example", Host="localhost:8080")
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert "server" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.promise("Security: who can reach the ports", "to stop deliveries with requests")
async def test_other_methods_are_refused(site: Open) -> None:
    async with site() as running:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = await running.client.request(method, f"{running.stats.addresses[0]}/stats", content=b"x" * 1000)
            metrics = await running.client.request(method, f"{running.stats.addresses[0]}/metrics")
            assert metrics.status_code == 405, method
            assert (answer.status_code, answer.json()["error"]["code"]) == (405, "MethodNotAllowed"), method
            assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}, method


async def test_a_frozen_redis_holds_no_request_up_for_ever(harness: Harness, site: Open) -> None:
    answers: dict[int, int] = {}
    async with site() as running:

        async def ask(number: int) -> None:
            answers[number] = (await running.ask("/stats")).status_code

        harness.redis.suspend()
        try:
            async with trio.open_nursery() as nursery:
                for number in range(8):
                    nursery.start_soon(ask, number)
        finally:
            harness.redis.resume()
    assert answers == dict.fromkeys(range(8), 503)


def test_without_a_broker_jobs_of_every_process_are_masked(harness: Harness, known: ConfigContext) -> None:
    """`restbroker web` shows what processes wrote for Sidekiq Web; those of Ruby mask nothing."""
    job = {"jid": "j1", "args": ["check_account", {"user": "bob", "password": "sesame-1"}, "a-token-of-4711"]}
    work: Json = {
        "queue": "rest",
        "payload": json.dumps({**job, "note": "by a-token-of-4711"}),
        "run_at": 1_700_000_000,
    }
    record(harness.client, "host:1:abc", {"tid": work})
    shown = in_all_processes(lambda: known)(harness.client, ("rest",))
    (one,) = cast("list[dict[str, Any]]", shown["rest"])
    assert one["message"]["args"] == ["check_account", {"user": "bob", "password": "***"}, "***"]
    assert "4711" not in str(shown)
