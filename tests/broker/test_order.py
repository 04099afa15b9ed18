"""A broker whose target has OrderBy: one job of a key at a time, in order, whatever becomes of them."""

import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

from restbroker.broker import reaper
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.same_host import this_process
from restbroker.broker.settler import Settler
from restbroker.job import claims
from restbroker.job.backoff import ExponentialBackoff
from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.fairness import Fairness
from restbroker.job.order import Order, key_rules
from restbroker.job.outcome import Deferred, Delivered, Outcome, Reason, Rejected
from restbroker.job.policy import Policy
from restbroker.job.settlement import Ack
from restbroker.operate.enqueue import find_process
from restbroker.servers.contract import Link
from restbroker.store import identities, jobs, waiter
from restbroker.store import order as order_store
from restbroker.store.jobs import Limits
from restbroker.store.settling import FinishRequest
from restbroker.telemetry.events import BrokerStarted, BrokerStopped, JobFinished, OperatorWarning
from restbroker.transport.message import Request
from tests.broker.conftest import Harness, Scripted, ok, refuse
from tests.support.store_calls import fetch, finish
from tests.support.wait import NEVER_S

BY_KEY = Order()
TEXT = key_rules(BY_KEY, None)
QUEUES = ("rest",)
NOT_NOW = Reason("NotNow", "Not now.")


@attrs.define
class Log:
    """What a target sees: starts and ends of each key's jobs."""

    answer: Callable[[Call, int], Outcome] = lambda _call, _try: Delivered("0", 0, 200)
    took_s: float = 0.002
    starts: dict[str, list[int]] = attrs.field(factory=lambda: defaultdict(list))
    running: Counter[str] = attrs.field(factory=Counter)
    overlaps: int = 0
    tries: Counter[tuple[str, int]] = attrs.field(factory=Counter)

    async def __call__(self, call: Call, link: Link) -> Outcome:
        key, number = str(call.command.arguments["key"]), int(str(call.command.arguments["n"]))
        await link.send(Request("POST", "/", 5.0))
        self.starts[key].append(number)
        self.overlaps += self.running[key]
        self.running[key] += 1
        try:
            await trio.sleep(self.took_s)
        finally:
            self.running[key] -= 1
        self.tries[key, number] += 1
        return self.answer(call, self.tries[key, number])


def push(harness: Harness, key: str, count: int, first: int = 0, **more: Any) -> None:
    for number in range(first, first + count):
        args = [more.pop("command", "safe"), {"key": key, "n": number}, more.pop("token", "t")]
        harness.push(first=number, args=args, jid=f"{key}-{number}", order_key=key, **more)


def state(harness: Harness, key: str) -> str:
    found = order_store.read_key(harness.client, "t", QUEUES, f"\x1e{key}".encode())
    return "free" if found is None else found.state


def is_at_rest(harness: Harness) -> bool:
    names = ("held:t", "stopped:t", "line:rest", "turn:rest", "fair:rest")
    return not harness.client.command("EXISTS", *(f"restbroker:{name}" for name in names))


@pytest.fixture
def log(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> Log:
    """The target of a broker with OrderBy. No wait is longer than it says: up to three seconds would be added.

    Keys that others make due are looked for ten times as often.
    """
    monkeypatch.setattr(random, "random", lambda: 0.0)
    monkeypatch.setattr(waiter, "BLOCK_S", 0.2)
    made = Log()
    harness.order, harness.target.way = BY_KEY, made
    return made


@pytest.mark.promise("One key after the other", "some tries fail, others do not, and a breaker trips")
async def test_jobs_of_a_key_start_singly_in_order_though_some_fail(harness: Harness, log: Log) -> None:
    def answer(call: Call, times: int) -> Outcome:
        number = int(str(call.command.arguments["n"]))
        return Deferred(NOT_NOW, 0.05, counts=False) if number % 5 == 3 and times == 1 else Delivered("", 0, 200)

    log.answer, harness.concurrency = answer, 8
    for number in range(20):
        for key in "abcde":
            push(harness, key, 1, number)
    await harness.serve(100 + 20)
    assert log.overlaps == 0
    for key in "abcde":
        assert log.starts[key] == sorted(log.starts[key])
        assert set(log.starts[key]) == set(range(20))
    assert harness.size("retry") == harness.size("schedule") == 0
    assert is_at_rest(harness)


async def test_a_successor_starts_at_once_though_the_list_is_empty(
    harness: Harness, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiter, "BLOCK_S", NEVER_S)
    log.took_s = 0.005
    push(harness, "hot", 100)
    await harness.serve(100)
    assert log.starts["hot"] == list(range(100))
    assert log.overlaps == 0


async def test_a_key_that_is_due_ends_the_wait_for_its_list(
    harness: Harness, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiter, "BLOCK_S", NEVER_S)
    tried_s: list[float] = []

    def answer(_call: Call, times: int) -> Outcome:
        tried_s.append(trio.current_time())
        return Deferred(NOT_NOW, 0.3, counts=False) if times == 1 else Delivered("", 0, 200)

    log.answer = answer
    async with harness.broker():
        await harness.until(lambda: harness.of(BrokerStarted), "it serves")
        # It waits for its list by then, for ever.
        await trio.sleep(0.5)
        push(harness, "a", 1)
        await harness.until(lambda: len(tried_s) == 2, "it is tried again")
    assert tried_s[1] - tried_s[0] >= 0.3


async def test_successor_made_ready_elsewhere_is_found_within_seconds(harness: Harness, log: Log) -> None:
    # As a process that takes no more jobs: what it still finishes frees keys whose jobs others have to take.
    facts = attrs.evolve(this_process("t"), hostname="elsewhere", boot_id="other", pid=77)
    assert jobs.register(harness.client, "elsewhere:77:abc:t", facts, QUEUES, key_rules=TEXT)
    push(harness, "a", 2)
    request = jobs.FetchRequest("elsewhere:77:abc:t", "t", QUEUES, 0, 2, 2, key_rules=TEXT)
    taken = fetch(harness.client, request)
    assert isinstance(taken, jobs.FetchResult)
    (head,) = taken.jobs
    async with harness.broker():
        await trio.sleep(0.5)
        assert log.starts == {}
        done = [(head.ticket, Ack())]
        began_s = trio.current_time()
        finish(harness.client, FinishRequest(request.identity, "t", QUEUES, 2, done, key_rules=TEXT), 1)
        await harness.until(lambda: log.starts["a"] == [1], "the other one starts it")
        assert trio.current_time() - began_s < 4


async def test_order_holds_in_slots_and_weighted_queues_beside_a_rate(harness: Harness, log: Log) -> None:
    harness.concurrency, harness.slots, harness.queues = 4, {"once": 1}, ("rest", "other")
    harness.limits = Limits(emission_us=2_000, burst=5)
    most, now = 0, 0

    async def slowly(call: Call, link: Link) -> Outcome:
        nonlocal most, now
        is_slotted = call.command.endpoint == "once"
        now += is_slotted
        most = max(most, now)
        try:
            return await log(call, link)
        finally:
            now -= is_slotted

    harness.target.way = slowly
    for number in range(20):
        for key in "abc":
            push(harness, key, 1, number, command=("once", "safe")[number % 2], into=("rest", "other")[key == "c"])
    began_s = trio.current_time()
    await harness.serve(60)
    assert trio.current_time() - began_s >= 55 * 0.002
    assert (most, log.overlaps) == (1, 0)
    assert log.starts == {key: list(range(20)) for key in "abc"}
    assert is_at_rest(harness)


@pytest.mark.promise("One key after the other", "the first job of a key fails: other keys go on")
async def test_a_key_whose_head_fails_holds_no_other_up(harness: Harness, log: Log) -> None:
    # As often as Sidekiq tries a job within an hour; then the next try is an hour away.
    tries = 8
    harness.policy = Policy(ExponentialBackoff(base_s=0.1, factor=1.0))

    def answer(call: Call, times: int) -> Outcome:
        if call.command.arguments["key"] != "bad":
            return Delivered("", 0, 200)
        push(harness, "good", 1, times)
        return Deferred(NOT_NOW, 3600.0 if times == tries else None)

    log.answer = answer
    push(harness, "bad", 300)
    push(harness, "good", 1)
    async with harness.broker():
        await harness.until(lambda: log.starts["good"] == list(range(tries + 1)), "the others are done")
        await harness.until(lambda: state(harness, "bad") == "due", "the head waits")
    assert log.starts["bad"] == [0] * tries
    assert order_store.waiting_of(harness.client, QUEUES, [b"\x1ebad"]) == [300]


@pytest.mark.promise("One key after the other", "a job dies: the next starts or all wait, as OnDead says")
@pytest.mark.parametrize("policy", ["go", "stop"])
async def test_death_affects_the_jobs_behind_it_by_policy(harness: Harness, log: Log, policy: Any) -> None:
    harness.order = Order(on_dead=policy)

    def answer(call: Call, _times: int) -> Outcome:
        return Rejected(NOT_NOW) if call.command.arguments["n"] == 0 else Delivered("", 0, 200)

    log.answer = answer
    push(harness, "a", 1)
    push(harness, "a", 3, 1)
    async with harness.broker():
        await harness.until(lambda: len(harness.of(JobFinished)) >= (1 if policy == "stop" else 4), "all are finished")
        warned = [(event.code, event.target) for event in harness.of(OperatorWarning)]
        if policy == "stop":
            assert state(harness, "a") == "stopped"
            assert warned == [("OrderStopped", "t")]
            # A person retries it where it lies.
            (entry,) = harness.members("dead")
            log.answer = lambda _call, _try: Delivered("", 0, 200)
            harness.raw(json.dumps({**entry, "retry_count": 0}).encode())
            await harness.until_ended(5)
        else:
            assert not warned
    assert [entry["error_class"] for entry in harness.members("dead")] == ["NotNow"]
    assert log.starts["a"] == ([0, 0, 1, 2, 3] if policy == "stop" else [0, 1, 2, 3])
    assert is_at_rest(harness)


@pytest.mark.promise("One key after the other", "jobs without the token come under the key of others")
@pytest.mark.parametrize("more", [{}, {"dead": False}, {"dead": False, "args": "nonsense"}])
async def test_job_with_unknown_token_neither_stops_nor_opens_a_key(
    harness: Harness, log: Log, more: dict[str, Any]
) -> None:
    harness.order = Order(on_dead="stop")
    log.answer = lambda call, _: Rejected(NOT_NOW) if call.command.arguments["n"] == 5 else Delivered("", 0, 200)
    push(harness, "a", 1, token="wrong")
    push(harness, "a", 1, 1)
    push(harness, "a", 1, 5)
    push(harness, "a", 1, 6)
    async with harness.broker():
        await harness.until(lambda: state(harness, "a") == "stopped", "the one that died stopped it")
        assert log.starts["a"] == [1, 5]
        wrong = {"args": ["safe", {"key": "a", "n": 9}, "wrong"], **more}
        harness.push(jid="a-5", order_key="a", **wrong)
        await harness.until_ended(4)
        await harness.until(lambda: state(harness, "a") == "stopped", "it is stopped as before")
    assert log.starts["a"] == [1, 5]


@pytest.mark.parametrize("more", [{}, {"reply_to": "restbroker:reply:x"}])
async def test_the_dead_job_itself_opens_no_key_if_it_has_expired(
    harness: Harness, log: Log, more: dict[str, Any]
) -> None:
    harness.order = Order(on_dead="stop")
    log.answer = lambda call, _: Rejected(NOT_NOW) if call.command.arguments["n"] == 0 else Delivered("", 0, 200)
    push(harness, "a", 2)
    async with harness.broker():
        await harness.until(lambda: state(harness, "a") == "stopped", "it is stopped")
        await harness.until_ended()
        # Sidekiq Web pushes it as it is.
        push(harness, "a", 1, expiry=1, **more)
        await harness.until(lambda: [end.outcome for end in harness.of(JobFinished)][1:] == ["expired"], "it expired")
        await harness.until(lambda: state(harness, "a") == "stopped", "it is stopped as before")
        assert log.starts["a"] == [0]
        log.answer = lambda _call, _try: Delivered("", 0, 200)
        push(harness, "a", 1)
        await harness.until_ended(4)
    assert log.starts["a"] == [0, 0, 1]
    assert is_at_rest(harness)


@pytest.mark.parametrize("keeps_expired", [False, True])
async def test_unsent_job_stops_no_key_though_redis_refuses_its_answer(
    harness: Harness, log: Log, keeps_expired: bool
) -> None:
    harness.order = Order(on_dead="stop")
    harness.policy = attrs.evolve(harness.policy, keeps_expired=keeps_expired)
    harness.client.command("SET", "restbroker:reply:x", "no list")
    push(harness, "a", 1, expiry=1, reply_to="restbroker:reply:x")
    push(harness, "a", 1, 1)
    await harness.serve(2)
    assert log.starts["a"] == [1]
    (entry,) = harness.members("dead")
    assert "The server did it" not in entry["error_message"]
    assert is_at_rest(harness)


NOT_LET_IN: dict[str, dict[str, Any]] = {
    "wrong token": {"args": ["safe", {"key": "a", "n": 0}, "wrong"]},
    "wrong token, not to be kept": {"args": ["safe", {"key": "a", "n": 0}, "wrong"], "dead": False},
    "no arguments": {"args": 5},
    "expired": {"expiry": 1},
    "no expiry": {"expiry": "soon"},
    "no idempotency key": {"idempotency_key": 17},
    "duplicate": {"idempotency_key": "done"},
    "dropped": {"args": ["safe", {"key": "a", "n": 5}, "t"], "dead": False},
}
"""The wishes of target and job do not apply to them: the jobs behind them go on."""


@pytest.mark.parametrize("odd", NOT_LET_IN.values(), ids=NOT_LET_IN)
async def test_refused_or_pointless_job_holds_up_no_successor(harness: Harness, log: Log, odd: dict[str, Any]) -> None:
    harness.order = Order(on_dead="stop")
    log.answer = lambda call, _: Rejected(NOT_NOW) if call.command.arguments["n"] == 5 else Delivered("", 0, 200)
    claim = "restbroker:once:" + claims.once_name("t", "default", "done")
    harness.client.command("SET", claim, claims.done_value("hers"), "PX", 60_000)
    harness.push(**{"args": ["safe", {"key": "a", "n": 0}, "t"], "jid": "a-0", "order_key": "a", **odd})
    push(harness, "a", 2, 1)
    await harness.serve(3)
    assert log.starts["a"][-2:] == [1, 2]
    assert log.starts["a"][:-2] == ([5] if odd.get("dead") is False and "t" in odd["args"] else [])
    assert is_at_rest(harness)


async def test_job_over_which_the_broker_fails_stops_its_key(
    harness: Harness, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = Settler.settle

    def failing(settler: Settler, job: JobInProgress, *args: Any, **more: Any) -> None:
        if job.payload is not None and job.payload.jid in ("a-0", "b-0"):
            raise ZeroDivisionError
        settle(settler, job, *args, **more)

    monkeypatch.setattr(Settler, "settle", failing)
    harness.order = Order(on_dead="stop")
    push(harness, "a", 2)
    push(harness, "b", 2)
    async with harness.broker():
        await harness.until_ended(2)
        await harness.until(lambda: {state(harness, key) for key in "ab"} == {"stopped"}, "they stopped their keys")
    assert log.starts == {"a": [0], "b": [0]}
    assert harness.client.command("GET", "restbroker:line:rest") == b"2"
    assert [entry["error_class"] for entry in harness.members("dead")] == ["Bug", "Bug"]


@pytest.mark.parametrize("key", [7, "", "x" * 257, "a\x00b", ["a"]])
async def test_a_key_that_is_none_costs_the_job_alone(harness: Harness, log: Log, key: object) -> None:
    harness.order = Order(on_dead="stop")
    harness.push(args=["safe", {"key": "odd", "n": 0}, "t"], order_key=key)
    push(harness, "a", 2)
    await harness.serve(3)
    assert [entry["error_class"] for entry in harness.members("dead")] == ["OrderKeyUnclear"]
    assert log.starts == {"a": [0, 1]}
    assert is_at_rest(harness)


async def test_jobs_without_a_key_are_ordinary(harness: Harness, log: Log) -> None:
    log.answer = lambda _call, _times: Deferred(NOT_NOW, 60.0)
    harness.push(args=["safe", {"key": "none", "n": 0}, "t"], count=2)
    await harness.serve_until(lambda: harness.size("retry") == 2, "they are retried as always")


@pytest.mark.promise("One key after the other", "a process dies, stops or freezes at any step")
async def test_stop_puts_jobs_back_and_next_process_keeps_the_order(harness: Harness, log: Log) -> None:
    for number in range(30):
        for key in "ab":
            push(harness, key, 1, number)
    await harness.serve_until(lambda: len(harness.of(JobFinished)) >= 10, "some are finished")
    harness.target.closed = False
    await harness.serve(60)
    for key in "ab":
        assert log.starts[key] == sorted(log.starts[key])
        assert set(log.starts[key]) == set(range(30))
    assert log.overlaps == 0
    assert is_at_rest(harness)


async def until_both_are_at_work(harness: Harness, log: Log) -> dict[str, trio.Event]:
    """The first job of each of two keys is; returns what ends it, by key."""
    ends = {key: trio.Event() for key in "ab"}

    async def until_let(call: Call, link: Link) -> Outcome:
        outcome = await log(call, link)
        await ends[str(call.command.arguments["key"])].wait()
        return outcome

    harness.target.way = until_let
    push(harness, "a", 3)
    push(harness, "b", 1)
    await harness.until(lambda: log.starts == {"a": [0], "b": [0]}, "both are at work")
    return ends


@pytest.mark.promise("One key after the other", "a process dies, stops or freezes at any step")
async def test_stopping_process_leaves_the_next_job_of_a_key_to_others(harness: Harness, log: Log) -> None:
    async with harness.broker():
        ends = await until_both_are_at_work(harness, log)
        pool = harness.pool
        harness.control.why = "test"
        harness.control.stop.set()
        await harness.until(lambda: pool.ready.closed, "it knows")
        ends["a"].set()
        await harness.until_ended()
        assert (state(harness, "a"), state(harness, "b")) == ("ready", "in_progress")
        ends["b"].set()
    (stopped,) = harness.of(BrokerStopped)
    assert (stopped.clean, stopped.requeued, log.starts) == (True, 0, {"a": [0], "b": [0]})


@pytest.mark.promise("One key after the other", "a process dies, stops or freezes at any step")
async def test_replaced_generation_leaves_next_job_of_a_key_to_another(harness: Harness, log: Log) -> None:
    async with harness.broker():
        ends = await until_both_are_at_work(harness, log)
        harness.target, newer = Scripted(ok), Log()
        harness.target.way = newer
        harness.next_plan = harness.plan()
        harness.control.reload.set()
        await harness.until(lambda: len(harness.of(BrokerStarted)) == 2, "the new generation serves")
        ends["a"].set()
        # While the other is at work.
        await harness.until_ended(3)
        ends["b"].set()
    assert (log.starts, newer.starts) == ({"a": [0], "b": [0]}, {"a": [1, 2]})
    assert is_at_rest(harness)


@pytest.mark.promise("One key after the other", "a process dies, stops or freezes at any step")
async def test_jobs_of_dead_process_come_before_their_successors(harness: Harness, log: Log) -> None:
    push(harness, "a", 3)
    harness.crashed(5)
    await harness.serve(3)
    assert log.starts["a"] == [0, 1, 2]


async def test_a_process_notes_how_long_its_requests_may_take(harness: Harness) -> None:
    specs = {name: CommandSpec(name, (), "safe", timeout_s=own_s) for name, own_s in (("slow", 300.0), ("brief", 5.0))}
    harness.order, harness.target.catalogue = BY_KEY, Catalogue("1.0", specs)
    async with harness.broker():
        await harness.until(lambda: harness.of(BrokerStarted), "it serves")
        known = identities.read(harness.client, harness.identity)
    assert known is not None
    assert known.time_outs_s == {"": 10.0, "slow": 300.0}


async def test_job_that_died_with_its_process_stops_its_key_loudly(harness: Harness, log: Log) -> None:
    harness.order = Order(on_dead="stop")
    push(harness, "a", 2)
    harness.crashed(5, marked=True)
    async with harness.broker():
        await harness.until(lambda: state(harness, "a") == "stopped", "it is stopped")
        await harness.until(lambda: harness.of(OperatorWarning), "it is reported")
    (warning,) = harness.of(OperatorWarning)
    assert (warning.code, warning.target) == ("OrderStopped", "t")
    assert "a-0" in warning.message
    assert log.starts["a"] == []


@pytest.mark.promise("One key after the other", "some tries fail, others do not, and a breaker trips")
async def test_a_tripped_breaker_keeps_the_order(harness: Harness, log: Log) -> None:
    harness.target.way = None
    harness.target.answer = refuse
    for number in range(5):
        for key in "ab":
            push(harness, key, 1, number)
    async with harness.broker():
        await harness.until(lambda: harness.target.calls, "it was tried")
        harness.target.way, harness.target.answer = log, ok
        await harness.until_ended(10)
    assert log.starts == {"a": list(range(5)), "b": list(range(5))}
    assert log.overlaps == 0


@pytest.mark.promise("One key after the other", "OrderBy is changed or taken away")
@pytest.mark.parametrize("later", [Order(("key",)), None], ids=["changed", "removed"])
async def test_keys_of_another_order_by_are_finished_in_order(harness: Harness, log: Log, later: Order | None) -> None:
    log.answer = lambda call, times: (
        Deferred(NOT_NOW, 0.5, counts=False)
        if call.command.arguments["n"] == 0 and times == 1
        else Delivered("", 0, 200)
    )
    push(harness, "a", 3)
    await harness.serve_until(lambda: state(harness, "a") == "due", "its head waits")
    harness.order, harness.target.closed = later, False
    push(harness, "b", 2, 1)
    await harness.serve(6)
    assert log.starts["a"] == [0, 0, 1, 2]
    assert (sorted(log.starts["b"]) if later is None else log.starts["b"]) == [1, 2]
    assert is_at_rest(harness)
    # Jobs have a key which their target does not use.
    assert [code for code in harness.warnings if code != "UnusedKey"] == ["OrderChanged"]


async def test_process_reports_waiting_for_a_key_of_another_order_by(
    harness: Harness, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.answer = lambda _call, _times: Rejected(NOT_NOW)
    harness.snapshot = lambda pool: {"limited": pool.hindrance}
    harness.order = Order(on_dead="stop")
    push(harness, "a", 1)
    await harness.serve_until(lambda: state(harness, "a") == "stopped", "it is stopped")
    harness.order, harness.target.closed = Order(("key",)), False
    push(harness, "b", 1)
    async with harness.broker():
        await harness.until(
            lambda: (
                (process := find_process(harness.client, "rest")) is not None
                and process.hindrance is not None
                and "held under the old OrderBy" in process.hindrance
            ),
            "it says why it takes nothing",
        )
        held = order_store.read_key(harness.client, "t", QUEUES, b"\x1ea")
        assert held is not None
        assert order_store.steer(harness.client, "t", QUEUES, "skip", [held]) == [True]
        await harness.until(lambda: log.starts["b"], "it takes jobs again")


@pytest.mark.promise("One key after the other", "OrderBy is changed or taken away")
@pytest.mark.parametrize("before", ["FairBy", "an OrderBy that these jobs have no key for"])
async def test_job_handed_out_before_the_order_changed_does_not_die(harness: Harness, log: Log, before: str) -> None:
    """The last of them are still to be sent when nothing is left of the old groups."""
    fairness = Fairness(("host",)) if before == "FairBy" else None
    harness.order, harness.fairness, harness.concurrency = None if fairness else Order(("other",)), fairness, 1
    for number in range(60):
        harness.push(args=["safe", {"host": "big", "key": "a", "n": number}, "t"], jid=f"{number}")
    await harness.serve_until(lambda: harness.size("queue:rest") == 0, "all are in lines, or taken")
    harness.order, harness.target.closed = Order(("host", "key")), False
    await harness.serve_until(lambda: len(harness.of(JobFinished)) >= 60, "all are finished")
    assert [entry["error_class"] for entry in harness.members("dead")] == []
    assert is_at_rest(harness)


@pytest.mark.promise("One key after the other", "FairBy and OrderBy of one target")
async def test_users_keep_their_order_while_hosts_take_turns(harness: Harness, log: Log) -> None:
    harness.order, harness.fairness = Order(("key", "host")), Fairness(("host",))
    harness.concurrency = 4
    for number in range(30):
        for user, host in (("a", "big"), ("b", "big"), ("c", "big"), ("d", "small")):
            harness.push(args=["safe", {"key": user, "host": host, "n": number}, "t"], jid=f"{user}-{number}")
    await harness.serve(120)
    assert log.starts == {user: list(range(30)) for user in "abcd"}
    assert log.overlaps == 0
    assert is_at_rest(harness)


async def test_a_job_that_no_process_has_holds_its_key_for_a_while(
    harness: Harness, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A torn append-only file leaves a key in progress without its job."""
    monkeypatch.setattr(reaper, "SCAN_S", 0.1)
    monkeypatch.setattr(reaper, "_FREE_EVERY_S", 0.1)
    harness.client.command("ZADD", "restbroker:held:t", 2e12 + time.time() - 3600, "\x1ea")
    push(harness, "a", 2)
    await harness.serve_until(lambda: log.starts["a"] == [0, 1], "the key goes on")
    assert is_at_rest(harness)
