"""What lies in `retry`, `schedule` and `dead`: under its command's name, without its token, and let in again."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from restbroker.broker.recovery import Recovery, StopResult
from restbroker.broker.tokens import Tokens
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.job import signing
from restbroker.job.outcome import Deferred, Delivered, Outcome, Reason, Rejected
from restbroker.operate import tokens as admin_tokens
from restbroker.store.client import items, raw
from restbroker.telemetry.events import JobFinished
from tests.broker import test_admission
from tests.broker.conftest import Harness, Held
from tests.broker.test_admission import SECRET

APP = Token("app", (Secret(SECRET),))
WHY = Reason("ServerError", "it broke")
ODD: dict[str, Any] = {
    "floats": [1e15, 1.5e-7, -0.0, 1e300, 2.0],
    "large": [2**70, -(2**63)],
    "text": 'é/\u2028\U0001f600"\\\t',
    "none": [{}, [], None, ""],
    "z": 1,
    "a": 2,
}


@asynccontextmanager
async def serving(harness: Harness, *tokens: Token, outcome: Outcome | None = None) -> AsyncIterator[None]:
    """A broker with these tokens, and what its server says; stopped at the end of the block."""
    harness.target.judge = lambda _call, _response: outcome or Delivered("0", 0, 200)
    harness.target.closed = False
    async with test_admission.serving(harness, *tokens):
        yield


def push(harness: Harness, command: str = "safe", token: str = SECRET, **fields: Any) -> None:
    args = [command, ODD, token, "r1"]
    harness.raw(json.dumps({"class": "Add", "jid": "j1", "args": args, **fields}).encode())


async def stored(harness: Harness, key: str, *tokens: Token, outcome: Outcome | None = None) -> dict[str, Any]:
    """The one job that is in this set once the broker has dealt with what was pushed."""
    async with serving(harness, *tokens, outcome=outcome):
        await harness.until(lambda: harness.size(key) == 1, f"the job is in {key}")
    (found,) = harness.members(key)
    return found


async def settled(harness: Harness, *tokens: Token) -> JobFinished:
    """What becomes of the one job that waits, now that the server is well."""
    harness.events.clear()
    async with serving(harness, *tokens):
        await harness.until_ended()
    (event,) = harness.of(JobFinished)
    assert isinstance(event, JobFinished)
    return event


def only_member(harness: Harness, key: str) -> bytes:
    (member,) = items(harness.client.command("ZRANGE", key, 0, -1))
    return raw(member)


def make_due(harness: Harness, key: str) -> None:
    harness.client.command("ZADD", key, "XX", 1.0, only_member(harness, key))


@pytest.mark.promise("Security: who can read Redis", "to take tokens out of jobs")
async def test_failed_job_waits_without_token_and_is_delivered_later(harness: Harness) -> None:
    push(harness)
    found = await stored(harness, "retry", APP, outcome=Deferred(WHY))
    assert SECRET not in json.dumps(found)
    assert (found["args"][:2], found["args"][3], found["display_class"]) == (["safe", ODD], "r1", "safe")
    make_due(harness, "retry")
    assert (await settled(harness, APP)).outcome == "delivered"
    assert [call.command.arguments for call in harness.target.calls] == [ODD, ODD]


async def test_dead_job_with_old_signature_may_be_retried_by_hand(harness: Harness) -> None:
    push(harness)
    await stored(harness, "dead", APP, outcome=Rejected(WHY))
    member = only_member(harness, "dead")
    harness.client.command("DEL", "dead")
    harness.raw(member)
    assert (await settled(harness, attrs.evolve(APP, window_s=-1.0))).outcome == "delivered"
    assert [call.command.arguments for call in harness.target.calls] == [ODD, ODD]


async def test_a_sealed_job_counts_as_its_token_would(harness: Harness) -> None:
    rows = (
        (Token("app", (Secret("newer"), Secret(SECRET))), "delivered", None),
        (Token("app", (Secret(SECRET), Secret("older")), signed=True), "delivered", None),
        (Token("renamed", (Secret(SECRET),)), "delivered", None),
        (Token("default", (Secret(SECRET),), flat=True), "delivered", None),
        (Token("app", (Secret("newer"),)), "rejected", "BadSignature"),
        (Token("app", (Secret(SECRET),), allow=("once",)), "rejected", "CommandNotAllowed"),
        (Token("app", (Secret(SECRET),), hosts=("example.org",)), "rejected", "BadArgument"),  # named before its hosts
        (Token("app", (Secret(SECRET),), queues=("another",)), "rejected", "QueueNotAllowed"),
        (Token("app", (Secret(SECRET),), targets=("another",)), "rejected", "TargetNotAllowed"),
    )
    push(harness)
    await stored(harness, "retry", APP, outcome=Deferred(WHY))
    sealed = only_member(harness, "retry")
    for later, outcome, code in rows:
        harness.client.command("FLUSHDB")
        harness.raw(sealed)
        event = await settled(harness, later)
        assert (event.outcome, event.code) == (outcome, code), later


async def test_a_job_of_the_previous_secret_is_still_counted_as_such(harness: Harness) -> None:
    push(harness, token="older")
    token = Token("app", (Secret(SECRET), Secret("older")))
    await stored(harness, "retry", token, outcome=Deferred(WHY))
    found = admin_tokens.count_tokens(harness.client, Tokens([token]), {"rest": "e"}, 100)
    assert (found.jobs, found.previous) == ({"app": 1}, {"app": 1})


@pytest.mark.promise("Security: who can read Redis", "to take tokens out of jobs")
async def test_a_sealed_job_is_of_no_use_for_another_command(harness: Harness) -> None:
    push(harness)
    found = await stored(harness, "retry", APP, outcome=Deferred(WHY))
    harness.client.command("DEL", "retry")
    found["args"][0] = "once"
    harness.raw(json.dumps(found).encode())
    assert (await settled(harness, APP)).code == "BadSignature"


async def test_partial_copy_of_sealed_job_is_to_restore_the_token(harness: Harness) -> None:
    push(harness)
    found = await stored(harness, "dead", APP, outcome=Rejected(WHY))
    parts = ({"jid": "j2"}, "BadSignature"), ({signing.ACCEPTED_FIELD: None}, "BadSignature")
    for changes, code in parts:
        harness.client.command("DEL", "dead")
        harness.raw(json.dumps({**found, **changes}).encode())
        again = await stored(harness, "dead", attrs.evolve(APP, window_s=-1.0))
        assert again["error_class"] == code
        assert "put the token back as the third argument, or push the whole entry again" in again["error_message"]


async def test_deferred_and_unanswerable_jobs_are_sealed_too(harness: Harness) -> None:
    push(harness)
    found = await stored(harness, "schedule", APP, outcome=Deferred(WHY, counts=False))
    assert (found["display_class"], SECRET in json.dumps(found)) == ("safe", False)
    harness.client.command("SET", "restbroker:reply:x", "a text")
    push(harness, reply_to="restbroker:reply:x")
    found = await stored(harness, "dead", APP)
    assert (found["error_class"], found["display_class"]) == ("ReplyRefused", "safe")
    assert SECRET not in json.dumps(found)


async def test_token_stays_where_wrong_or_needed_by_the_original(harness: Harness) -> None:
    rows: tuple[tuple[Token, dict[str, Any], str], ...] = (
        (attrs.evolve(APP, flat=True), {}, "ServerError"),
        (attrs.evolve(APP, signed=True), {}, "SignatureNeeded"),
        (attrs.evolve(APP, secrets=(Secret("another"),)), {}, "BadToken"),
        (APP, {"args": ["safe", 5, SECRET]}, "BadArguments"),
    )
    for token, fields, code in rows:
        harness.client.command("FLUSHDB")
        push(harness, **fields)
        found = await stored(harness, "dead", token, outcome=Rejected(WHY))
        assert (found["error_class"], found["display_class"], found["args"][2]) == (code, "safe", SECRET)
        assert signing.ACCEPTED_FIELD not in found


async def test_job_lost_track_of_at_a_stop_is_stored_without_token(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = Recovery.settle_unfinished

    async def forgetful(recovery: Recovery, *, by_order: bool) -> StopResult:
        recovery.reservations.jobs.clear()
        return await settle(recovery, by_order=by_order)

    monkeypatch.setattr(Recovery, "settle_unfinished", forgetful)
    harness.target.answer = Held()
    harness.shutdown_timeout_s = 0.0
    push(harness)
    async with serving(harness, APP):
        await harness.until(lambda: harness.target.calls, "it is on its way")
    (found,) = harness.members("retry")
    assert found["error_class"] == "CutOff"
    assert SECRET not in json.dumps(found)


async def test_dead_job_has_its_commands_name_unless_named_by_producer(harness: Harness) -> None:
    rows: tuple[tuple[dict[str, Any], str | None], ...] = (
        ({"args": ["safe", {}, SECRET], "display_class": "Welcome"}, "Welcome"),
        ({"args": ["safe", {}, SECRET], "display_class": {"a": 1}}, "safe"),
        ({"args": ["register/v1", {}, "wrong"]}, "register/v1"),
        ({"args": json.dumps(["safe", 5, SECRET])}, "safe"),
        ({"args": [SECRET, {}, SECRET]}, None),
        ({"args": ["safe", {}, "wrong"], "class": 5}, "safe"),
        ({"args": [{"job_class": "X"}]}, None),
        ({"args": ["no command", {}, SECRET]}, None),
    )
    for number, (payload, _) in enumerate(rows):
        harness.raw(json.dumps({"class": "Add", "jid": f"j{number}", **payload}).encode())
    async with serving(harness, APP, outcome=Rejected(WHY)):
        await harness.until(lambda: harness.size("dead") == len(rows), "all are dead")
    shown = {found["jid"]: found.get("display_class") for found in harness.members("dead")}
    assert shown == {f"j{number}": name for number, (_, name) in enumerate(rows)}
