"""What a running broker lets in, and what becomes of the jobs that it refuses."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.job import arguments, signing
from restbroker.job.arguments import Submission
from restbroker.job.command import CommandSpec
from restbroker.job.json_types import Json
from restbroker.store import records
from restbroker.transport.message import Request, Response
from tests.broker.conftest import SPECS, Harness
from tests.support.active_job import OBJECT, wrapped

SECRET = "the-apps-secret"
DAY_S = 86_400


@asynccontextmanager
async def serving(harness: Harness, *tokens: Token) -> AsyncIterator[None]:
    """A broker with these tokens, stopped at the end of the block."""
    harness.tokens = tokens
    async with harness.broker():
        yield


def push(harness: Harness, token: str, command: str = "safe", jid: str = "j1", **fields: Any) -> None:
    args = [command, {"n": 1}, token, "r1"]
    harness.raw(json.dumps({"class": "Add", "jid": jid, "args": args, **fields}).encode())


def signature(at_s: float, command: str = "safe", jid: str = "j1", secret: str = SECRET, queue: str = "rest") -> str:
    submission = arguments.read([command, {"n": 1}, "", "r1"])
    assert isinstance(submission, Submission)
    return signing.sign(secret, "app", int(at_s), jid, submission, queue)


async def dead_job(harness: Harness) -> dict[str, Any]:
    await harness.until(lambda: harness.size("dead") == 1, "the job is dead")
    (found,) = harness.members("dead")
    return found


@pytest.mark.promise("Security: who can push to the queues", "more than their token allows")
async def test_command_not_allowed_to_its_token_dies_unsent(harness: Harness) -> None:
    push(harness, "secret-of-app", "once")
    async with serving(harness, Token("app", (Secret("secret-of-app"),), allow=("safe",))):
        found = await dead_job(harness)
    assert found["error_class"] == "CommandNotAllowed"
    assert 'The token "app" does not allow the command once.' in found["error_message"]
    assert harness.target.calls == []


@pytest.mark.promise("Security: who can push to the queues", "more than their token allows")
async def test_job_in_place_not_allowed_to_its_token_dies_unsent(harness: Harness) -> None:
    bounds = {
        "TargetNotAllowed": Token("app", (Secret("secret-of-app"),), targets=("elsewhere-*",)),
        "QueueNotAllowed": Token("other", (Secret("secret-of-other"),), queues=("elsewhere",)),
    }
    for code, bound in bounds.items():
        push(harness, f"secret-of-{bound.name}", "once", jid=code)
    async with serving(harness, *bounds.values()):
        await harness.until(lambda: harness.size("dead") == 2, "both are dead")
    for found in harness.members("dead"):
        assert found["error_class"] == found["jid"]
        assert f'The token "{bounds[found["jid"]].name}" does not allow' in found["error_message"]
        assert "secret-of" not in found["error_message"]
    assert harness.target.calls == []


async def test_a_text_that_xml_cannot_hold_dies_unsent(harness: Harness) -> None:
    for given in ({"n": 1}, {"variables": {"body": ["\x1b[31mred"]}}):
        harness.raw(json.dumps({"class": "Add", "jid": "j", "args": ["safe", given, SECRET]}).encode())
    async with serving(harness, Token("app", (Secret(SECRET),))):
        found = await dead_job(harness)
        await harness.until_ended(2)
    assert found["error_class"] == "BadArgument"
    assert 'the argument "variables" has a control character' in found["error_message"]
    assert [call.command.arguments for call in harness.target.calls] == [{"n": 1}]


async def test_host_bound_token_names_user_only_for_known_commands(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SPECS, "own", CommandSpec("own", (), "safe", fills_host=True, fills_user=True))
    monkeypatch.setitem(SPECS, "whole", CommandSpec("whole", (), "safe", fills_host=True))
    for command in ("own", "whole"):
        args = [command, {"host": "example.org", "user": "admin"}, SECRET]
        harness.raw(json.dumps({"class": "Add", "jid": command, "args": args}).encode())
    async with serving(harness, Token("app", (Secret(SECRET),), hosts=("example.org",))):
        found = await dead_job(harness)
        await harness.until_ended(2)
    assert (found["jid"], found["error_class"]) == ("whole", "HostNotAllowed")
    assert "the catalogue does not know its argument 'user'" in found["error_message"]
    assert [call.command.endpoint for call in harness.target.calls] == ["own"]


async def test_a_refusal_quotes_no_secret_that_stands_in_a_host(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SPECS, "own", CommandSpec("own", (), "safe", fills_host=True))
    # A refused host is compared without its capitals, which the secret has.
    args = ["own", {"host": "example.com?password=HUNTERabcZZ"}, SECRET]
    harness.raw(json.dumps({"class": "Add", "jid": "j", "args": args}).encode())
    async with serving(harness, Token("app", (Secret(SECRET),), hosts=("example.org",))):
        found = await dead_job(harness)
    assert found["error_class"] == "HostNotAllowed"
    assert "hunter" not in found["error_message"].lower()


@pytest.mark.promise("Producers: jobs", "a job of ActiveJob is done as if it had been pushed plainly")
async def test_a_job_of_rails_needs_a_token_and_gets_its_answer(harness: Harness) -> None:
    harness.policy = attrs.evolve(harness.policy, reply_details=True)
    refused = {**OBJECT, "n": "s3cret-4711"}
    harness.raw(
        wrapped(["safe", {"n": 1}, "wrong", "r1"], jid="j1"),
        wrapped(["safe", {"n": 1, "_aj_symbol_keys": ["n"]}, SECRET, "r2"], jid="j2"),
        wrapped(["safe", {"password": refused}, SECRET, "r3"], jid="j3"),
        wrapped(["safe", {"password": refused}, "wrong", "r4"], jid="j4"),
    )
    async with serving(harness, Token("app", (Secret(SECRET),))):
        await harness.until_ended(4)
    assert [call.command.arguments for call in harness.target.calls] == [{"n": 1}]
    dead = {fields["jid"]: fields for fields in harness.members("dead")}
    assert {jid: fields["error_class"] for jid, fields in dead.items()} == {
        "j1": "BadToken",
        "j3": "BadArguments",
        "j4": "BadArguments",
    }
    assert all(SECRET not in job["error_message"] and "4711" not in job["error_message"] for job in dead.values())
    assert {entry["args"][1] for entry in harness.entries("queue:replies")} == {"r2", "r3"}
    assert "4711" not in "".join(map(str, harness.events))


async def test_refusal_answers_only_a_sender_who_knew_the_token(harness: Harness) -> None:
    harness.policy = attrs.evolve(harness.policy, reply_details=True)
    push(harness, "secret-of-app", "once", "j1")
    push(harness, "wrong", "once", "j2")
    async with serving(harness, Token("app", (Secret("secret-of-app"),), allow=("safe",))):
        await harness.until_ended(2)
    (reply,) = harness.entries("queue:replies")
    assert reply["args"][2]["error"]["code"] == "CommandNotAllowed"


LONG = "tok3n+SECRET" + "a7" * 20
OWN: dict[str, Json] = {"user": "bob", "host": "example.org"}


@pytest.mark.promise("A good citizen", "the token is in no event and no message")
@pytest.mark.promise("Producers: answers", "the token in a wrong place is shown nowhere")
async def test_no_part_of_a_token_in_the_wrong_place_is_quoted(harness: Harness) -> None:
    given: list[list[Json]] = [
        [LONG, OWN, LONG],
        [LONG, OWN, "check_account"],
        [f"x/{LONG}", OWN, LONG],
        [f"x/{'y' * 30}{LONG}", OWN, LONG],
        ["check_account", [["z" * 30 + LONG, 1], ["z" * 30 + LONG, 2]], LONG],
        ["check_account", [["z" * 60 + LONG, 1], ["z" * 60 + LONG, 2]], LONG],
        ["check_account", {"user": "bob", "host": f"{'h' * 30}.{LONG}"}, LONG],
        ["check_account", {"user": "bob", "host": f"{'h' * 60}.{LONG}"}, LONG],
        ["check_account", {**OWN, "u" * 20 + LONG: 1}, LONG],
        ["check_account", {**OWN, "u" * 60 + LONG: 1}, LONG],
        ["register?password=hunter2&x=1", {}, LONG],
        ["no_command", {}, "wrong"],
    ]
    jids = ["j1"] * (len(given) - 1) + [LONG]
    for jid, args in zip(jids, given, strict=True):
        harness.raw(json.dumps({"class": "Add", "jid": jid, "args": args}).encode())
    async with serving(harness, Token("app", (Secret(LONG),), hosts=("example.org",))):
        await harness.until(lambda: harness.size("dead") == len(given), "all are dead")
    shown = str(harness.events)
    for found in harness.members("dead"):
        shown += f"{found['error_class']} {found['error_message']} {found['restbroker_attempts']}"
        assert found["error_class"] in ("BadEndpoint", "BadToken", "BadArguments", "HostNotAllowed")
    assert "hunter2" not in shown
    for text in (LONG, LONG.lower()):
        assert not any(text[start : start + 8] in shown for start in range(len(text) - 7))


async def test_job_with_missing_wrong_or_untimely_signature_dies(harness: Harness) -> None:
    now_s = time.time()
    rows = {
        "a bare secret": (SECRET, "SignatureNeeded"),
        "of another job": (signature(now_s, jid="another"), "BadSignature"),
        "by another secret": (signature(now_s, jid="by another secret", secret="another"), "BadSignature"),
        "of nobody": (signature(now_s, jid="of nobody").replace(":app:", ":nobody:"), "BadSignature"),
        "too old": (signature(now_s - 8 * DAY_S, jid="too old"), "UntimelySignature"),
        "too early": (signature(now_s + 3600, jid="too early"), "UntimelySignature"),
    }
    for jid, (token, _) in rows.items():
        push(harness, token, jid=jid)
    async with serving(harness, Token("app", (Secret(SECRET),), signed=True)):
        await harness.until(lambda: harness.size("dead") == len(rows), "all are dead")
    died_as = {found["jid"]: found["error_class"] for found in harness.members("dead")}
    assert died_as == {jid: code for jid, (_, code) in rows.items()}
    (old,) = (found["error_message"] for found in harness.members("dead") if found["jid"] == "too old")
    assert "is 8 d old, more than its Window of 7 d." in old
    assert not any(SECRET in found["error_message"] for found in harness.members("dead"))
    assert harness.target.calls == []


async def test_signed_job_without_jid_dies(harness: Harness) -> None:
    push(harness, signature(time.time(), jid=""), jid="")
    async with serving(harness, Token("app", (Secret(SECRET),), signed=True)):
        found = await dead_job(harness)
    assert (found["error_class"], "needs a jid" in found["error_message"]) == ("BadSignature", True)


async def test_signed_job_with_too_many_values_dies_with_advice(harness: Harness) -> None:
    args = ["safe", {"n": [1] * signing.VALUES_LIMIT}, signature(time.time())]
    harness.raw(json.dumps({"class": "Add", "jid": "j1", "args": args}).encode())
    async with serving(harness, Token("app", (Secret(SECRET),))):
        found = await dead_job(harness)
    assert (found["error_class"], "more than the 10000 values" in found["error_message"]) == ("BadSignature", True)


@pytest.mark.promise("Security: who can write to Redis beyond the queues", "to make a job of their own run")
async def test_job_accepted_in_time_is_retried_after_the_window(harness: Harness) -> None:
    async def sick(_request: Request) -> Response:
        raise ZeroDivisionError

    token = Token("app", (Secret("new"), Secret(SECRET)), signed=True, window_s=7 * DAY_S)
    harness.target.answers.append(sick)
    old = signature(time.time() - 7 * DAY_S + 5)
    push(harness, old)
    async with serving(harness, token):
        await harness.until(lambda: harness.size("retry") == 1, "it is to be tried again")
    (waiting,) = harness.members("retry")
    assert waiting["args"][2] == old
    harness.client.command("DEL", "retry")
    harness.raw(json.dumps(waiting).encode())
    async with serving(harness, attrs.evolve(token, window_s=1.0)):
        await harness.until(lambda: len(harness.target.calls) == 2, "it is sent again")
        await harness.until_ended(2)
    assert harness.size("dead") == 0


async def test_job_in_time_but_refused_otherwise_may_be_retried_later(
    harness: Harness,
) -> None:
    push(harness, signature(time.time() - 3600))
    token = Token("app", (Secret(SECRET),), allow=("once",), signed=True)
    async with serving(harness, token):
        refused = await dead_job(harness)
    assert refused["error_class"] == "CommandNotAllowed"
    harness.client.command("DEL", "dead")
    harness.raw(json.dumps(refused).encode())
    async with serving(harness, attrs.evolve(token, allow=("*",), window_s=60.0)):
        await harness.until(lambda: len(harness.target.calls) == 1, "it is sent")


async def test_the_last_use_of_a_token_is_written_with_the_beat(harness: Harness, hurry: MockClock) -> None:
    """Also if it was let in like one before."""
    before_s = time.time()
    async with serving(harness, Token("app", (Secret("one"),)), Token("unused", (Secret("two"),))):
        for jid in ("j1", "j2"):
            push(harness, "one", jid=jid)
            await harness.until(lambda: records.token_uses(harness.client), "the use is reported")
            harness.client.command("DEL", "restbroker:tokens")
        push(harness, "one", jid="j3")
        await harness.until(lambda: records.token_uses(harness.client), "the use is reported")
        found = records.token_uses(harness.client)
    assert list(found) == ["app"]
    assert before_s - 1 <= found["app"] <= time.time() + 1


async def test_key_of_wrong_type_for_last_uses_stops_nothing(harness: Harness, hurry: MockClock) -> None:
    harness.client.command("SET", "restbroker:tokens", "x")
    push(harness, "one", jid="j1")
    async with serving(harness, Token("app", (Secret("one"),))):
        await harness.until_ended()
        await harness.until(lambda: beats(harness) >= 3, "the beat goes on")
        push(harness, "one", jid="j2")
        await harness.until_ended(2)


def beats(harness: Harness) -> int:
    counters = harness.client.command("HVALS", "restbroker:beats")
    assert isinstance(counters, list)
    return max(int(counter) for counter in counters if isinstance(counter, bytes))
