"""`idempotency_key`: what was done, or is being done, is not done again; and what may still have to be done is."""

import json
import time
from typing import Any

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.job import claims, signing
from restbroker.job.arguments import Submission
from restbroker.job.claims import Lock
from restbroker.job.command import Command
from restbroker.job.order import Order
from restbroker.job.outcome import Deferred, Delivered, Reason, Rejected
from restbroker.operate.enqueue import JobRequest, push
from restbroker.store import history
from restbroker.telemetry.events import JobFinished
from restbroker.transport.message import Response
from tests.broker.conftest import GONE, Harness, Held, lost, ok, refuse

KEY = "order-17"
CLAIM = "restbroker:once:" + claims.once_name("t", "default", KEY)
DAY_MS = 86_400_000
SAME = ["safe", {"n": 0}, "t"]


def held(harness: Harness, key: str = CLAIM) -> list[str] | None:
    value = harness.client.command("GET", key)
    holder = None if value is None else claims.holder(value.decode())  # type: ignore[union-attr]
    if holder is None:
        return None
    if holder.is_done:
        return [holder.jid, "done"]
    return [part for part in (holder.jid, holder.ticket, holder.identity) if part]


def lasts_ms(harness: Harness, key: str = CLAIM) -> int:
    return int(harness.client.command("PTTL", key))  # type: ignore[arg-type]


def outcomes(events: list[JobFinished]) -> dict[str, str]:
    return {event.jid: event.outcome for event in events}


@pytest.mark.promise("No command is lost", "jobs of one key, or a push that is repeated: done once")
async def test_only_one_job_of_a_key_is_sent(harness: Harness) -> None:
    """A producer without an answer to its LPUSH repeats it, job id and all."""
    harness.history_s = 60.0
    harness.concurrency = 1
    for _ in range(2):
        harness.push(idempotency_key=KEY)
    harness.push(count=3, first=1, args=SAME, idempotency_key=KEY, reply_to="restbroker:reply:twin")
    events = await harness.serve(5)
    assert len(harness.target.sent) == 1
    assert harness.outcomes == ["delivered", *["duplicate"] * 4]
    assert {(event.fate, event.code) for event in events if event.outcome == "duplicate"} == {("ack", "Duplicate")}
    assert held(harness) == ["jid-safe-0", "done"]
    assert DAY_MS - 10_000 < lasts_ms(harness) <= DAY_MS + 10_000
    replies = harness.entries("restbroker:reply:twin")
    assert [(reply["outcome"], reply["error"]["code"]) for reply in replies] == [("duplicate", "Duplicate")] * 3
    assert "jid-safe-0" in replies[0]["error"]["message"]
    assert replies[0]["answer"] is None
    ends = [history.read(entry.record) for entry in history.newest(harness.client, 10)]
    assert sorted(end.outcome for end in ends if end is not None) == ["delivered", *["duplicate"] * 4]
    assert harness.client.command("GET", "stat:processed") == b"5"
    assert [harness.size(key) for key in ("queue:rest", "dead", "retry", "schedule")] == [0, 0, 0, 0]


async def test_twin_of_running_job_is_not_sent_and_does_not_wait(harness: Harness) -> None:
    first = Held()
    harness.target.answers.append(first)
    harness.push(idempotency_key=KEY)
    async with harness.broker():
        await harness.until(lambda: harness.target.sent, "the first is sent")
        harness.push(idempotency_key=KEY)
        harness.push(first=1, args=SAME, idempotency_key=KEY)
        events = await harness.until_ended(2)
        assert [event.outcome for event in events] == ["duplicate", "duplicate"]
        assert (held(harness) or [])[0] == "jid-safe-0"
        first.let.set()
        await harness.until_ended(3)
    assert len(harness.target.sent) == 1
    assert held(harness) == ["jid-safe-0", "done"]


async def test_a_retry_meets_its_own_claim_and_a_twin_waits_behind_it(harness: Harness) -> None:
    harness.target.judge = lambda call, response: (
        Deferred(Reason("Later", "not now"), retry_after_s=7200.0) if call.attempt == 1 else ok_outcome(response)
    )
    harness.push(idempotency_key=KEY)
    async with harness.broker():
        await harness.until_ended()
        assert held(harness) == ["jid-safe-0"]
        # For as long as a new one would be kept from the next try on.
        assert lasts_ms(harness) > DAY_MS + 7_000_000
        harness.push(first=1, args=SAME, idempotency_key=KEY)
        events = await harness.until_ended(2)
        assert outcomes(events) == {"jid-safe-0": "deferred", "jid-safe-1": "deferred"}
        assert (events[-1].code, events[-1].fate) == ("KeyInUse", "schedule")
        (waits,) = harness.members("schedule")
        assert "retry_count" not in waits
        (due_s,) = score(harness, "schedule")
        assert 15 < due_s - time.time() < 26, "the first may end earlier than it is due"
        member = harness.take("retry")
        harness.raw(json.dumps(member).encode())
        events = await harness.until_ended(3)
        assert events[-1].outcome == "delivered"
        harness.raw(json.dumps(waits).encode())
        events = await harness.until_ended(4)
    assert events[-1].outcome == "duplicate"
    assert held(harness) == ["jid-safe-0", "done"]


def score(harness: Harness, zset: str) -> list[float]:
    members: Any = harness.client.command("ZRANGE", zset, 0, -1, "WITHSCORES")
    return [float(score) for score in members[1::2]]


async def test_job_waiting_behind_a_dying_one_is_done(harness: Harness) -> None:
    refusal = Rejected(Reason("No", "no"))
    later = Deferred(Reason("Later", "not now"), retry_after_s=7200.0)
    answers: list[Any] = [later, refusal]
    harness.target.judge = lambda _, response: answers.pop(0) if answers else ok_outcome(response)
    harness.push(idempotency_key=KEY)
    async with harness.broker():
        await harness.until_ended()
        harness.push(first=1, args=SAME, idempotency_key=KEY)
        await harness.until_ended(2)
        (first,), (second,) = harness.members("retry"), harness.members("schedule")
        harness.client.command("DEL", "retry", "schedule")
        harness.raw(json.dumps(first).encode())
        events = await harness.until_ended(3)
        assert (events[-1].jid, events[-1].fate) == ("jid-safe-0", "dead")
        harness.raw(json.dumps(second).encode())
        events = await harness.until_ended(4)
    assert (events[-1].jid, events[-1].outcome) == ("jid-safe-1", "delivered")
    assert len(harness.target.sent) == 3


@pytest.mark.parametrize(("due_in_s", "waits_s"), [(7200, 22), (10, 15), (-12, 12), (-100, 22)])
async def test_a_twin_looks_again_within_25_s(harness: Harness, due_in_s: float, waits_s: float) -> None:
    value = f"{claims.waiting_value('hers')} {(time.time() + due_in_s) * 1e6:.0f}"
    harness.client.command("SET", CLAIM, value, "PX", 600_000)
    harness.push(idempotency_key=KEY)
    (event,) = await harness.serve()
    (due_s,) = score(harness, "schedule")
    assert (event.code, waits_s - 1 < due_s - time.time() < waits_s + 4) == ("KeyInUse", True)


@pytest.mark.parametrize("args", [["safe", {"n": 1}, "t"], ["safe", {}, "t"], ["other", {"n": 0}, "t"]])
@pytest.mark.parametrize("is_done", [True, False])
async def test_a_key_with_another_command_or_arguments_is_refused(
    harness: Harness, args: list[Any], *, is_done: bool
) -> None:
    first = Held()
    harness.target.answers.append(first)
    harness.push(idempotency_key=KEY)
    async with harness.broker():
        await harness.until(lambda: harness.target.sent, "the first is sent")
        if is_done:
            first.let.set()
            await harness.until_ended()
        harness.push(first=1, args=args, idempotency_key=KEY, reply_to="restbroker:reply:twin")
        events = await harness.until_ended(1 + is_done)
        first.let.set()
    assert (events[-1].outcome, events[-1].code, events[-1].fate) == ("rejected", "KeyReused", "dead")
    assert len(harness.target.sent) == 1
    (reply,) = harness.entries("restbroker:reply:twin")
    assert (reply["error"]["code"], "first" in reply) == ("KeyReused", False)


async def test_the_same_arguments_written_otherwise_are_the_same(harness: Harness) -> None:
    for number, args in enumerate(({"n": 1, "m": "ä"}, {"m": "\u00e4", "n": 1.0})):
        harness.push(first=number, args=["safe", args, "t"], idempotency_key=KEY)
        async with harness.broker():
            events = await harness.until_ended(number + 1)
    assert [event.outcome for event in events] == ["delivered", "duplicate"]


async def test_after_a_rotation_and_an_edit_nothing_is_compared(harness: Harness) -> None:
    """The mark of another secret reveals nothing of a command; and an edited job is the one that it was."""
    other = claims.command_mark("old secret", Command("other", {}))
    harness.client.command("SET", CLAIM, claims.done_value("hers", other), "PX", 60_000)
    harness.push(idempotency_key=KEY)
    harness.push(first=1, idempotency_key="edited")
    edited = "restbroker:once:" + claims.once_name("t", "default", "edited")
    own = claims.command_mark("t", Command("other", {}))
    harness.client.command("SET", edited, f"{claims.waiting_value('jid-safe-1', own)} 1", "PX", 60_000)
    events = await harness.serve(2)
    assert outcomes(events) == {"jid-safe-0": "duplicate", "jid-safe-1": "delivered"}


def test_command_mark_reveals_nothing_without_the_secret() -> None:
    """A bare digest of a command with a password could be guessed."""
    command = Command("register", {"password": "1234"})
    marks = {claims.command_mark(secret, command) for secret in ("a", "b")}
    assert len(marks) == 2
    assert all(len(mark) == 22 for mark in marks)


@pytest.mark.parametrize(("judge", "first"), [
    (None, {"jid": "jid-safe-0", "outcome": "delivered", "status": 200, "note": None}),
    ("noted", {"jid": "jid-safe-0", "outcome": "negative", "status": 404, "note": "ä" * 32}),
])  # fmt: skip
async def test_a_duplicates_answer_carries_what_became_of_the_first(
    harness: Harness, judge: str | None, first: dict[str, Any]
) -> None:
    if judge is not None:
        harness.target.judge = lambda *_: Delivered("secret", "secret", 404, negative=True, note="ä" * 40)
    harness.push(idempotency_key=KEY)
    async with harness.broker():
        await harness.until_ended()
        harness.push(first=1, args=SAME, idempotency_key=KEY, reply_to="restbroker:reply:twin")
        await harness.until_ended(2)
    (reply,) = harness.entries("restbroker:reply:twin")
    assert reply["first"] == first
    assert (reply["outcome"], reply["answer"], reply["text"], reply["status"]) == ("duplicate", None, "", None)


def ok_outcome(response: Response) -> Any:
    return Delivered(response.body.decode(), 0, 200)


async def test_dead_job_frees_its_key_and_its_retry_doubles_the_holder(harness: Harness) -> None:
    refusal = Rejected(Reason("No", "no"))
    harness.target.judge = lambda _call, response: refusal if len(harness.target.calls) == 1 else ok_outcome(response)
    harness.push(idempotency_key=KEY)
    async with harness.broker():
        await harness.until_ended()
        assert held(harness) is None
        harness.push(first=1, args=SAME, idempotency_key=KEY)
        events = await harness.until_ended(2)
        assert events[-1].outcome == "delivered"
        (member,) = harness.members("dead")
        harness.raw(json.dumps(member).encode())
        events = await harness.until_ended(3)
    assert events[-1].outcome == "duplicate"
    assert len(harness.target.sent) == 2


async def test_twin_of_job_held_by_a_dead_process_is_not_sent(harness: Harness) -> None:
    """It is not given back yet; when it is, it is done."""
    harness.push(idempotency_key=KEY)
    harness.crashed()
    harness.client.command("SET", CLAIM, claims.at_work_value("jid-safe-0", "1:1", GONE), "PX", 60_000)
    harness.client.command("HDEL", "restbroker:beats", GONE)
    harness.push(idempotency_key=KEY)
    async with harness.broker():
        events = await harness.until_ended()
        assert [event.outcome for event in events] == ["duplicate"]
        harness.client.command("HSET", "restbroker:dying", GONE, 1)
        harness.recover(GONE)
        events = await harness.until_ended(2)
    assert events[-1].outcome == "delivered"
    assert len(harness.target.sent) == 1


@pytest.mark.parametrize(("once", "becomes"), [((), "deferred"), (("safe",), "duplicate")])
async def test_a_twin_waits_for_a_job_that_waits_after_crashes(
    harness: Harness, once: tuple[str, ...], becomes: str
) -> None:
    """It is tried again, unless it dies with its process; and its lock lasts until then."""
    harness.at_most_once = once
    lock = claims.lock_name("t", "default", KEY)
    unique = {"key": KEY, "lock": lock, "for": 15}
    harness.push(idempotency_key=KEY, restbroker_crashes=1, restbroker_unique=unique)
    harness.crashed()
    harness.client.command("SET", CLAIM, claims.at_work_value("jid-safe-0", "1:1", GONE), "PX", 60_000)
    harness.client.command("SET", f"restbroker:unique:{lock}", "jid-safe-0 1", "PX", 15_000)
    async with harness.broker():
        await harness.until(lambda: harness.size("schedule"), "it waits")
        await harness.until(lambda: harness.client.command("PTTL", f"restbroker:unique:{lock}") > 24_000, "so its lock")  # type: ignore[operator]
        harness.push(first=1, args=SAME, idempotency_key=KEY)
        (event,) = await harness.until_ended()
    assert event.outcome == becomes


async def test_signed_twin_leaves_no_fingerprint_while_first_may_fail(harness: Harness) -> None:
    """Else the first would count as a replay when it is tried again, and no one would have done it."""
    submission = Submission(Command("safe", {"n": 0}), None, None)
    signature = signing.sign("t", "default", int(time.time()), jid="j1", submission=submission, queue="rest")
    job = {"class": "Add", "jid": "j1", "args": ["safe", {"n": 0}, signature], "idempotency_key": KEY}
    copy = {**job, "reply_to": "restbroker:reply:copy"}
    first = Held()
    harness.target.answers.append(first)
    harness.target.judge = lambda call, response: (
        Deferred(Reason("Later", "not now"), retry_after_s=0.0) if call.attempt == 1 else ok_outcome(response)
    )
    harness.raw(json.dumps(job).encode())
    async with harness.broker():
        await harness.until(lambda: harness.target.sent, "the first is sent")
        harness.raw(json.dumps(copy).encode())
        (event,) = await harness.until_ended()
        assert event.outcome == "duplicate"
        assert harness.entries("restbroker:reply:copy") == [], "a copy of a signature is never answered"
        first.let.set()
        await harness.until_ended(2)
        member = harness.take("retry")
        harness.raw(json.dumps(member).encode())
        events = await harness.until_ended(3)
    assert [event.outcome for event in events] == ["duplicate", "deferred", "delivered"]


async def test_a_job_that_goes_back_unsent_keeps_no_one_out_but_twins(harness: Harness) -> None:
    harness.target.answer = refuse
    harness.push(idempotency_key=KEY)
    async with harness.broker():
        await harness.until(lambda: harness.target.calls, "it was tried")
        await harness.until(lambda: held(harness), "it has its claim")
    assert harness.size("queue:rest") == 1
    assert held(harness) == ["jid-safe-0"]
    harness.target = type(harness.target)(ok)
    events = await harness.serve()
    assert events[-1].outcome == "delivered"


async def test_perhaps_run_job_that_dies_gives_its_key_up(harness: Harness) -> None:
    harness.target.answers.append(lost)
    harness.at_most_once = ("once",)
    harness.push("once", idempotency_key=KEY)
    async with harness.broker():
        (event,) = await harness.until_ended()
        assert (event.outcome, event.fate) == ("uncertain", "dead")
        assert held(harness) is None
        harness.push("once", first=1, args=["once", {"n": 0}, "t"], idempotency_key=KEY)
        events = await harness.until_ended(2)
    assert events[-1].outcome == "delivered"
    assert not harness.client.command("KEYS", "restbroker:sent:*")


async def test_a_duplicate_is_never_marked(harness: Harness) -> None:
    harness.at_most_once = ("once",)
    harness.client.command("SET", CLAIM, claims.done_value("hers"), "PX", 60_000)
    harness.push("once", idempotency_key=KEY)
    (event,) = await harness.serve()
    assert event.outcome == "duplicate"
    assert "hers" in str(event.message)
    assert not harness.client.command("KEYS", "restbroker:sent:*")


async def test_one_key_of_two_tokens_is_done_for_each(harness: Harness) -> None:
    """A producer without any of them claims nothing."""
    harness.more_tokens = (Token("other", (Secret("s"),)),)
    for number, token in enumerate(["wrong", *"tstsst"]):
        harness.push(first=number, idempotency_key=KEY, args=["safe", {"n": 0}, token])
    events = await harness.serve(7)
    assert sorted(event.outcome for event in events) == ["delivered"] * 2 + ["duplicate"] * 4 + ["rejected"]
    assert len(harness.target.sent) == 2
    assert harness.client.command("EXISTS", CLAIM, "restbroker:once:" + claims.once_name("t", "other", KEY)) == 2


@pytest.mark.parametrize("written", ["", "x" * 257, 17, True, ["a"]])
async def test_a_key_that_is_none_is_refused(harness: Harness, written: object) -> None:
    harness.push(idempotency_key=written)
    harness.push(first=1, idempotency_key=None)
    events = await harness.serve(2)
    assert outcomes(events)["jid-safe-1"] == "delivered"
    refused = next(event for event in events if event.outcome == "rejected")
    assert (refused.fate, refused.code) == ("dead", "BadIdempotencyKey")
    assert not harness.client.command("KEYS", "restbroker:once:*")


async def test_a_job_without_an_id_of_its_own_cannot_claim(harness: Harness) -> None:
    harness.raw(json.dumps({"class": "A", "args": ["safe", {}, "t"], "idempotency_key": KEY}).encode())
    (event,) = await harness.serve()
    assert (event.fate, event.code) == ("dead", "BadIdempotencyKey")
    assert '"jid"' in str(event.message)


async def test_a_target_that_keeps_no_keys_ignores_them(harness: Harness) -> None:
    harness.idempotency_s = 0.0
    harness.push(idempotency_key=KEY)
    harness.push(first=1, args=SAME, idempotency_key=KEY)
    harness.push(first=2, idempotency_key=17)
    events = await harness.serve(3)
    assert {event.outcome for event in events} == {"delivered"}
    assert not harness.client.command("KEYS", "restbroker:once:*")


async def test_a_key_of_another_type_holds_no_job_up(harness: Harness) -> None:
    harness.client.command("LPUSH", CLAIM, "x")
    harness.push(idempotency_key=KEY)
    harness.push(first=1, idempotency_key="other")
    events = await harness.serve(2)
    assert {event.outcome for event in events} == {"delivered"}
    assert harness.warnings == ["ClaimRefused"]


async def test_a_value_that_no_broker_wrote_keeps_no_job_out(harness: Harness) -> None:
    harness.client.command("SET", CLAIM, b"\xff what")
    harness.push(idempotency_key=KEY)
    (event,) = await harness.serve()
    assert event.outcome == "delivered"
    assert held(harness) == ["jid-safe-0", "done"]


@pytest.mark.parametrize(
    "end", ["done", "dead", "expired", "dropped", "refused", "unproven", "of another key", "duplicate", "retried"]
)
async def test_a_lock_is_given_up_when_its_job_ends(harness: Harness, end: str) -> None:
    lock = claims.lock_name("t", "default", KEY)
    key = f"restbroker:unique:{lock}"
    fields: dict[str, Any] = {"restbroker_unique": {"key": KEY, "lock": lock, "for": 600}}
    match end:
        case "dead" | "dropped":
            harness.target.judge = lambda _call, _response: Rejected(Reason("No", "no"))
            fields["dead"] = end == "dead"
        case "expired":
            fields["expiry"] = time.time() - 5
        case "refused":
            fields["expiry"] = "soon"
        case "unproven":
            fields["args"] = ["safe", {}, "wrong"]
        case "of another key":
            fields["restbroker_unique"]["key"] = "mine"
        case "duplicate":
            harness.client.command("SET", CLAIM, claims.done_value("hers"), "PX", 60_000)
            fields["idempotency_key"] = KEY
        case "retried":
            harness.target.judge = lambda _call, _response: Deferred(Reason("Later", "not now"), retry_after_s=3600.0)
    harness.push(**fields)
    harness.client.command("SET", key, "jid-safe-0 5", "PX", 600_000)
    await harness.serve()
    value = harness.client.command("GET", key)
    if end in ("unproven", "of another key"):
        # What no token proves, or names another token's lock, may be anybody's: it could end a lock of others.
        assert value == b"jid-safe-0 5"
        assert lasts_ms(harness, key) <= 600_000
    elif end == "retried":
        assert isinstance(value, bytes)
        assert (value[:11], value != b"jid-safe-0 5") == (b"jid-safe-0 ", True)
        assert lasts_ms(harness, key) > 3_600_000
    else:
        assert value is None


HOLDS_TWINS: dict[str, bool] = {
    "in its queue": True,
    "scheduled": True,
    "in progress": True,
    "tried again": True,
    "tried again before its line": True,
    "given back": True,
    "dead": False,
    "done": False,
    "expired": False,
}
"""Where a job is, and whether its lock holds another push of its key back there."""


@pytest.mark.parametrize("where", HOLDS_TWINS)
async def test_second_push_of_key_is_held_back_wherever_the_first_is(  # noqa: C901 - a case for each place
    harness: Harness, where: str
) -> None:
    now_s, answer = time.time(), Held()
    lock = Lock(claims.lock_name("t", "default", KEY), KEY, 600.0)
    plain = JobRequest("safe", {"n": 0}, "rest", Token("default", (Secret("t"),)), lock=lock)
    first, pushed_s = plain, now_s
    match where:
        case "scheduled":
            first = attrs.evolve(plain, at_s=now_s + 3600)
        case "in progress":
            harness.target.answers.append(answer)
        case "tried again" | "tried again before its line":
            first = attrs.evolve(plain, order_key="a")
            harness.order = Order() if "line" in where else None
            harness.target.judge = lambda _call, _response: Deferred(Reason("Later", "not now"), retry_after_s=3600.0)
        case "given back":
            harness.target.answer = refuse
        case "dead":
            harness.target.judge = lambda _call, _response: Rejected(Reason("No", "no"))
        case "expired":
            first, pushed_s = attrs.evolve(plain, expire_s=10.0), now_s - 60
    assert push(harness.client, first, "first", pushed_s) is None
    if where not in ("in its queue", "scheduled"):
        async with harness.broker():
            if where == "in progress":
                await harness.until(lambda: harness.target.sent, "it is sent")
            elif where == "given back":
                await harness.until(lambda: harness.target.calls, "it was tried")
            else:
                await harness.until_ended()
            if where == "in progress":
                held_back = push(harness.client, plain, "second", time.time())
                answer.let.set()
    if where != "in progress":
        held_back = push(harness.client, plain, "second", time.time())
    assert (held_back and held_back.jid) == ("first" if HOLDS_TWINS[where] else None)


async def test_a_lock_of_another_job_stays(harness: Harness) -> None:
    lock = claims.lock_name("t", "default", KEY)
    harness.push(restbroker_unique={"key": KEY, "lock": lock, "for": 600})
    harness.client.command("SET", f"restbroker:unique:{lock}", "hers", "PX", 600_000)
    await harness.serve()
    assert harness.client.command("GET", f"restbroker:unique:{lock}") == b"hers"


ODD = {"key": "k", "lock": "a" * 64, "for": 0}


@pytest.mark.parametrize("odd", [17, None, {}, {"lock": "../x"}, ODD])
async def test_text_not_written_by_enqueue_is_no_lock(harness: Harness, odd: object) -> None:
    harness.push(restbroker_unique=odd)
    (event,) = await harness.serve()
    assert event.outcome == "delivered"
