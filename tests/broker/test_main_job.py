"""The main job on a real Redis: what is pushed is delivered, settled and answered."""

import json
from types import SimpleNamespace
from typing import NoReturn, cast

import pytest
import trio
from trio.testing import MockClock

from restbroker.broker.identity import Identity
from restbroker.broker.same_host import this_process
from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Probe, Reason, Rejected
from restbroker.job.policy import Policy
from restbroker.store import history, jobs
from restbroker.store.client import items
from restbroker.telemetry.events import Event, JobFinished, OperatorWarning, TargetDown
from restbroker.transport.message import MaybeSent, NotSent, Request, Response
from tests.broker.conftest import FINE, Harness, lost
from tests.support.store_calls import fetch

WHY = Reason("Why", "because")


async def test_a_job_becomes_one_call_and_leaves_nothing_behind(harness: Harness) -> None:
    harness.push()
    await harness.serve()
    assert [call.command.arguments for call in harness.target.calls] == [{"n": 0}]
    assert harness.client.command("GET", "stat:processed") == b"1"
    assert harness.client.command("GET", "stat:failed") is None
    keys = harness.client.command("KEYS", "restbroker:*")
    # Which token was used last is about the token.
    assert set(items(keys)) <= {b"restbroker:tokens"}, "no trace of the process remains"


async def test_thousand_jobs_run_once_each_and_one_worker_keeps_order(harness: Harness) -> None:
    harness.concurrency = 1
    harness.push(count=1000)
    await harness.serve(1000)
    numbers = [call.command.arguments["n"] for call in harness.target.calls]
    assert numbers == list(range(1000))


@pytest.mark.promise("Producers: answers", "the answer and the end of the job are one step")
async def test_the_reply_is_pushed_with_the_acknowledgement(harness: Harness) -> None:
    harness.push(args=["safe", {}, "t", "id-1"])
    await harness.serve_until(lambda: harness.size("queue:replies"), "a reply is there")
    reply = json.loads(bytes(harness.client.command("LPOP", "queue:replies")))  # type: ignore[arg-type]
    assert reply["args"] == ["0", "id-1"]
    assert harness.client.command("SISMEMBER", "queues", "replies") == 1


@pytest.mark.promise("Defects of the Go original", "answers came last in, first out")
@pytest.mark.promise("Producers: answers", "answers are first in, first out")
async def test_replies_are_fifo_for_consumer_popping_from_the_right(harness: Harness) -> None:
    harness.concurrency = 1
    for number in range(5):
        harness.push(args=["safe", {}, "t", number])
    await harness.serve_until(lambda: harness.size("queue:replies") == 5, "five replies are there")
    replies = [json.loads(bytes(harness.client.command("RPOP", "queue:replies")))["args"][1] for _ in range(5)]  # type: ignore[arg-type]
    assert replies == [0, 1, 2, 3, 4]


@pytest.mark.promise("Security: who can push to the queues", "a command without a token, or with a guessed one")
@pytest.mark.promise("Producers: jobs", "a job with a wrong token is dead and never sent")
async def test_job_with_wrong_token_dies_unsent(harness: Harness) -> None:
    """It is reported with its command, if that is known."""
    harness.push(args=["safe", {}, "wrong"])
    harness.push(args=["s3cret-in-the-wrong-place", {}, "wrong"])
    events = await harness.serve(2)
    assert {(event.code, event.command) for event in events} == {("BadToken", "safe"), ("BadToken", "?")}
    assert [entry["error_class"] for entry in harness.members("dead")] == ["BadToken"] * 2
    assert harness.target.calls == []


@pytest.mark.promise("Defects of the Go original", "what was no JSON stayed in progress forever")
@pytest.mark.promise("Producers: jobs", "what is no job is dead as an object")
async def test_every_kind_of_rubbish_dies_as_object_and_next_job_runs(harness: Harness) -> None:
    rubbish = [b"", b"5", b"[1]", b"null", b"{x", b"\x00\xff", b'{"a":"\\ud800"}', b'{"a":NaN}', b'{"args":{}}', b"{}"]
    harness.raw(*rubbish)
    harness.push()
    await harness.serve(len(rubbish) + 1)
    dead = harness.members("dead")
    assert len(dead) == len(rubbish)
    for entry in dead:
        assert {"class", "args", "jid", "queue", "error_class", "error_message", "failed_at"} <= set(entry)
    assert len(harness.target.calls) == 1


@pytest.mark.promise("Defects of the Go original", "one bad entry in schedule ended the process")
async def test_unreadable_due_entry_dies_and_the_next_one_moves(harness: Harness) -> None:
    harness.client.command("ZADD", "schedule", 1.0, b"{x")
    harness.client.command("ZADD", "schedule", 2.0, b'{"queue":"rest","jid":"y","args":["safe",{},"t"]}')
    await harness.serve()
    assert harness.members("dead")[0]["error_class"] == "UnreadablePayload"


@pytest.mark.promise("No command is lost", "Redis denies restbroker")
async def test_denied_broker_waits_loudly_and_resumes_by_itself(harness: Harness, hurry: MockClock) -> None:
    target = harness.target
    denied = Denied(Reason("TargetDenied", "401"))
    target.judge = lambda _call, _response: denied
    async with harness.broker():
        await harness.until(lambda: target.probes, "the target was asked")
        target.probe_answer = Probe(ok=False, denied=True, version=None, detail="401")
        harness.push(count=10)
        await harness.until(lambda: harness.of(TargetDown), "the breaker trips")
        target.judge = lambda _call, _response: Delivered("0", 0, 200)
        target.probe_answer = FINE
        await harness.until_ended(10)
    assert [event.denied for event in harness.of(TargetDown)] == [True]
    assert (harness.size("retry"), harness.size("dead")) == (0, 0)


async def test_single_forbidden_command_dies(harness: Harness) -> None:
    harness.target.judge = lambda _call, _response: Denied(Reason("CommandForbidden", "no", status=403))
    harness.push()
    await harness.serve_until(lambda: harness.size("dead"), "it is dead")
    assert harness.members("dead")[0]["error_class"] == "CommandForbidden"
    assert harness.of(TargetDown) == []


@pytest.mark.promise("Producers: answers", "sendings without an answer are counted and bounded")
async def test_sent_and_unanswered_job_is_uncertain_and_counted(harness: Harness) -> None:
    harness.target.answers.append(lost)
    harness.push("once")
    await harness.serve_until(lambda: harness.size("retry"), "it is in the retry set")
    entry = harness.members("retry")[0]
    assert (entry["restbroker_uncertain"], entry["error_class"]) == (1, "ConnectionLost")


@pytest.mark.parametrize(
    ("problem", "code", "hint"),
    [
        (MaybeSent("No whole answer within 10 s.", timed_out=True), "TimedOut", "check its load and log"),
        (MaybeSent("reset"), "ConnectionLost", "check the logs of both"),
    ],
)
async def test_hanging_server_is_reported_by_job_and_breaker(
    harness: Harness, problem: MaybeSent, code: str, hint: str
) -> None:
    async def lost(_request: Request) -> Response:
        raise problem

    harness.target.answer = lost
    harness.push("safe", count=40)
    await harness.serve_until(lambda: harness.of(JobFinished) and harness.of(TargetDown), "the breaker trips")
    (job, *_), (gate, *_) = harness.of(JobFinished), harness.of(TargetDown)
    assert {(job.code, hint in str(job.hint)), (gate.code, hint in str(gate.hint))} == {(code, True)}


async def test_connector_bug_costs_the_job_a_try_and_not_the_worker(harness: Harness) -> None:
    failures = iter([True, False])

    def explode(_call: object) -> None:
        if next(failures):
            raise ZeroDivisionError

    harness.concurrency = 1
    harness.target.before = explode
    harness.push(count=2)
    await harness.serve(2)
    assert harness.members("retry")[0]["error_class"] == "Bug"
    assert harness.outcomes == ["deferred", "delivered"]


@pytest.mark.parametrize("step", ["read", "judge"])
async def test_lack_of_memory_costs_jobs_and_trips_nothing(harness: Harness, step: str) -> None:
    """It says nothing about the server."""

    def exhaust(*_given: object) -> NoReturn:
        raise MemoryError

    async def read(_request: Request) -> Response:
        exhaust()

    if step == "read":
        harness.target.answer = read
    else:
        harness.target.judge = exhaust
    harness.push("safe", count=30)
    await harness.serve_until(lambda: len(harness.of(JobFinished)) >= 30, "each is settled")
    assert {(event.outcome, event.code) for event in harness.of(JobFinished)} == {("uncertain", "Bug")}
    assert not harness.of(TargetDown)


async def test_connector_returning_no_outcome_has_a_bug(harness: Harness) -> None:
    harness.target.judge = lambda _call, _response: cast("Outcome", "done")
    harness.push("once")
    harness.push("safe")
    await harness.serve_until(lambda: harness.size("retry") == 2, "both wait as they are")
    assert {(member["error_class"], member["args"][0]) for member in harness.members("retry")} == {
        ("Bug", "once"),
        ("Bug", "safe"),
    }
    assert harness.of(OperatorWarning) == []


async def test_job_never_sent_while_others_succeed_uses_up_a_try(harness: Harness) -> None:
    async def serve(request: Request) -> Response:
        if request.path == "/create":
            raise NotSent("odd")
        return Response(200, {}, b"0", 0.0)

    harness.target.answer = serve
    async with harness.broker():
        harness.push("create")
        with trio.move_on_after(60):
            while not harness.size("retry"):
                harness.push("safe")
                await trio.sleep(0.02)
    assert harness.members("retry")[0]["error_class"] == "TargetUnreachable"


@pytest.mark.promise("Producers: answers", "a job whose answer Redis refuses is dead")
async def test_job_with_refused_answer_dies_and_its_neighbours_settle(harness: Harness) -> None:
    harness.client.command("SET", "restbroker:reply:x", "a text")
    harness.push(count=5)
    harness.push(reply_to="restbroker:reply:x")
    await harness.serve(6)
    assert [entry["error_class"] for entry in harness.members("dead")] == ["ReplyRefused"]


@pytest.mark.promise("Producers: answers", "a rejection shows no secret argument")
async def test_rejected_job_dies_with_its_secret_arguments_masked(harness: Harness) -> None:
    harness.target.judge = lambda _call, _response: Rejected(
        Reason("No", "bad password hunter2-secret", "Allow the password hunter2-secret.")
    )
    harness.push(args=["create", {"password": "hunter2-secret"}, "t"])
    await harness.serve_until(lambda: harness.size("dead"), "it is dead")
    assert "hunter2" not in harness.members("dead")[0]["error_message"]
    assert all("hunter2" not in str(event) for event in harness.events)


@pytest.mark.parametrize("shows", [True, False])
async def test_a_refusal_quotes_message_texts_only_with_show_bodies(harness: Harness, shows: bool) -> None:
    harness.shows_bodies = shows
    harness.target.judge = lambda _call, _response: Rejected(Reason("No", "bad body in: 'my private words 42'"))
    harness.push(args=["create", {"body": "my private words 42"}, "t"])
    await harness.serve_until(lambda: harness.size("dead"), "it is dead")
    assert ("private" in str(harness.members("dead")[0]["error_message"])) is shows
    assert any("private" in str(event) for event in harness.events) is shows


async def test_fields_that_have_no_effect_are_warned_of_once(harness: Harness) -> None:
    """Also if a job without them came before, whose admission the others share."""
    harness.push()
    for _ in range(2):
        harness.push(reply_to="queue:evil", order_key="a", fair_key="b")
    harness.push(reply_to="order-7")
    await harness.serve(4)
    assert sorted(event.code for event in harness.of(OperatorWarning)) == ["BadReplyTo", "UnusedKey", "UnusedKey"]
    assert len(harness.entries("restbroker:reply:order-7")) == 1
    assert harness.size("queue:evil") == 0


async def test_misspelt_members_are_warned_of_and_recorded(harness: Harness) -> None:
    """Each once, however it is written; and what a job did not get stands in the record of its end."""
    harness.history_s = 60.0
    harness.push(orderKey="a", tags=["x"], cattr={})
    harness.push(orderkey="a")
    harness.push(replyTo="order-7")
    await harness.serve(3)
    assert harness.warnings == ["MemberMisspelt"] * 2
    ends = [history.read(entry.record) for entry in history.newest(harness.client, 9)]
    vain = "has orderKey, which restbroker does not read"
    assert [end.unmet for end in ends if end is not None][-1] == vain


def test_what_goes_on_is_warned_of_again_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr("restbroker.broker.identity.time", clock)
    events: list[Event] = []
    identity, warning = Identity("h:1:x:t", events.append), OperatorWarning("C", "It does.")
    for now_s in (100.0, 3699.0, 3700.0):
        clock.monotonic = lambda now_s=now_s: now_s
        identity.report_once("it", warning, again_s=3600.0)
        identity.report_once("once", warning)
    assert len(events) == 3


async def test_malformed_job_with_right_token_is_answered_with_details(harness: Harness) -> None:
    harness.policy = Policy(SidekiqBackoff(), reply_queue="replies", reply_details=True)
    harness.push(args=["safe", 5, "t", "id-1"])
    harness.push(args=["safe", 5, "wrong", "id-2"])
    await harness.serve_until(lambda: harness.size("dead") == 2, "both are dead")
    (reply,) = harness.entries("queue:replies")
    body, reply_id, details = reply["args"]
    assert (body, reply_id, details["outcome"]) == ("", "id-1", "rejected")
    assert details["error"]["code"] == "BadArguments"


@pytest.mark.promise("Producers: answers", "without ResponseQueue one warning is logged")
async def test_reply_id_without_response_queue_is_warned_of_once(harness: Harness) -> None:
    """Also if a job without one came before, whose admission the others share."""
    harness.policy = Policy(SidekiqBackoff())
    harness.push()
    for number in range(3):
        harness.push(args=["safe", {}, "t", number])
    await harness.serve(4)
    assert harness.warnings == ["ReplyWithoutQueue"]


async def test_set_of_wrong_type_is_reported_once_and_delivery_goes_on(harness: Harness) -> None:
    harness.client.command("SET", "retry", "a text")
    harness.push()
    await harness.serve_until(lambda: harness.of(JobFinished) and harness.of(OperatorWarning), "delivered, and said")
    assert harness.warnings == ["SetRefused"]


async def test_pool_without_record_is_reported_once_and_others_recover(harness: Harness) -> None:
    harness.client.command("HSET", "restbroker:dying", "broken", "1")
    harness.client.command("HSET", "restbroker:ip:broken", "1:1", "{}")
    harness.push()
    harness.crashed()
    async with harness.broker():
        await harness.until_ended()
        await harness.until(lambda: harness.of(OperatorWarning), "the broken one is reported")
    assert harness.warnings == ["RecoveryRefused"]
    assert harness.size("restbroker:ip:broken") == 1


@pytest.mark.promise("Producers: answers", "what is put off has an end, and costs no other")
async def test_endlessly_deferred_command_blocks_no_other_and_ends(
    harness: Harness,
) -> None:
    busy = Deferred(WHY, counts=False, pause_target=True)
    harness.target.judge = lambda call, _: busy if call.command.endpoint == "create" else Delivered("0", 0, 200)
    raw = {"class": "Add", "jid": "x", "args": ["create", {}, "t"], "restbroker_deferred": 5}
    async with harness.broker():
        await harness.until(lambda: harness.target.probes, "it serves")
        harness.push("safe", count=20)
        harness.raw(json.dumps(raw).encode())
        harness.push("safe", count=20)
        await harness.until_ended(41)
    assert harness.of(TargetDown) == []
    assert harness.members("retry")[0]["retry_count"] == 0


async def test_denial_while_probe_is_unwell_trips_the_breaker(harness: Harness, hurry: MockClock) -> None:
    target = harness.target
    target.judge = lambda _call, _response: Denied(WHY)
    async with harness.broker():
        await harness.until(lambda: target.probes, "it serves")
        target.probe_answer = Probe(ok=False, denied=False, version=None, detail="status 500")
        harness.push()
        await harness.until(lambda: harness.of(TargetDown), "the breaker trips")
        target.judge = lambda _call, _response: Delivered("0", 0, 200)
        target.probe_answer = FINE
        await harness.until_ended()
    assert harness.of(TargetDown)[0].message == "status 500"


async def test_buggy_probe_trips_the_breaker_and_not_the_process(harness: Harness) -> None:
    harness.target.probe_answer = ZeroDivisionError()
    await harness.serve_until(lambda: harness.of(TargetDown), "it is reported")
    assert "ZeroDivisionError" in harness.of(TargetDown)[0].message


async def test_due_jobs_of_refusing_queue_do_not_hide_the_others(harness: Harness) -> None:
    harness.client.command("SET", "queue:foreign", "a text")
    for number in range(150):
        harness.client.command("ZADD", "retry", number, json.dumps({"queue": "foreign", "jid": str(number)}))
    harness.client.command("ZADD", "retry", 1000, b'{"queue":"rest","jid":"y","args":["safe",{},"t"]}')
    await harness.serve()
    assert harness.size("retry") == 150
    assert harness.warnings == ["SetRefused"]


async def test_job_with_lasting_401_dies_while_the_probe_is_let_in(harness: Harness, hurry: MockClock) -> None:
    refused = Denied(Reason("LoginRefused", "no", "Correct RestUser.", status=401))
    harness.target.judge = lambda _call, _response: refused
    harness.push()
    await harness.serve_until(lambda: harness.size("dead"), "it is dead")
    assert len(harness.target.calls) == 3
    # The key as this configuration has it.
    assert str(harness.of(JobFinished)[-1].hint).startswith("Correct Targets.t.Auth.Basic.User.")


async def test_a_jobs_crash_is_its_own_and_not_that_of_its_twin(harness: Harness) -> None:
    """It is known to have run perhaps though others like it were admitted before."""
    harness.push("once")
    assert jobs.register(harness.client, "another", this_process("t"), ("rest",))
    assert fetch(harness.client, jobs.FetchRequest("another", "t", ("rest",), 0, 1, 1))
    async with harness.broker():
        harness.push("once", first=1)
        await harness.until_ended()
        await harness.fence("another")
        harness.recover("another")
        await harness.until_ended(2)
        harness.push("once")
        await harness.until_ended(3)
    assert [call.maybe_run for call in harness.target.calls] == [False, True, False]
