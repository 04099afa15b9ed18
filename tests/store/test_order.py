"""Order per key in the scripts: what may start, where failed jobs go, and what a death does to its key."""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restbroker.errors import StoreRefused
from restbroker.job.fairness import Fairness
from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.job.job import fields_of
from restbroker.job.order import ORDER_KEY, Order, drain_text, key_in, settled_text
from restbroker.job.settlement import Ack, Dead, Drop, Reply, Requeue, Retry, Schedule, Settlement
from restbroker.store import heartbeats, identities, queues
from restbroker.store import order as order_store
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Gone, Refused
from restbroker.store.jobs import (
    FetchedJob,
    FetchRequest,
    FetchResult,
    FinishRequest,
    LimitReached,
    Limits,
    fetch,
    finish,
    register,
)
from restbroker.store.tickets import ticket_how, ticket_key
from tests.store.pools import FACTS, NAMESPACE, QUEUES, Server, as_parked
from tests.support.active_job import wrapped
from tests.support.redis_line import Tell

BY_KEY, BY_USER = Order(), Order(("user", "host"), "default.org")
HOLD, BY = f"{NAMESPACE}:restbroker:order:hold:t", f"{NAMESPACE}:restbroker:order:by:t"
WAIT, KEYS, TURN = (f"{NAMESPACE}:restbroker:fair:{kind}:a" for kind in ("wait", "keys", "turn"))
DUE = f"{NAMESPACE}:restbroker:order:due:a"
READY, DONE = Applied(is_ready=True), Applied()
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))


@attrs.define
class Ordered:
    """A lane whose target does the jobs of one key in order."""

    client: Client
    server: Server
    order: Order = BY_KEY
    identity: str = "h:2:order:t"
    base: int = 0
    last: FetchResult | None = None
    text: str = attrs.field(default=attrs.Factory(lambda self: self.order.text, takes_self=True))

    def push(self, *jobs: bytes, queue: str = "a") -> None:
        queues.push(self.client, queue, list(jobs))

    def ask(self, want: int, names: tuple[str, ...] = QUEUES, **more: object) -> object:
        request = FetchRequest(self.identity, "t", names, self.base, want, self.base + want, fairness=self.text)
        return fetch(self.client, attrs.evolve(request, **more))  # type: ignore[arg-type]

    def take(self, want: int = 10, names: tuple[str, ...] = QUEUES, **more: object) -> list[FetchedJob]:
        answer = self.ask(want, names, **more)
        assert isinstance(answer, FetchResult), answer
        self.base += len(answer.jobs)
        self.last = answer
        return list(answer.jobs)

    def has_more(self) -> bool:
        assert self.last is not None
        return self.last.more

    def settle(self, *jobs: FetchedJob, by: Settlement | None = None) -> list[object]:
        items = [(job.ticket, by or Ack()) for job in jobs]
        request = FinishRequest(self.identity, "t", QUEUES, self.base, items, fairness=self.text)
        return list(finish(self.client, request, 1.0))

    def state(self, key: str) -> order_store.HeldKey | None:
        return order_store.read_key(self.client, "t", key.encode())

    def is_at_rest(self) -> bool:
        return not self.server.raw.exists(HOLD, WAIT, KEYS, TURN, DUE)


@pytest.fixture
def ordered(client: Client, server: Server) -> Ordered:
    made = Ordered(client, server)
    assert register(client, made.identity, FACTS, QUEUES, fairness=made.text)
    return made


def job(key: object, number: int = 0, **more: object) -> bytes:
    found = {} if key is None else {ORDER_KEY: key}
    return json.dumps({"class": "A", "jid": f"j{number}", "args": ["c", {"n": number}, "t"], **found, **more}).encode()


def numbers(jobs: Sequence[FetchedJob]) -> list[int]:
    return [int(json.loads(one.raw)["args"][1]["n"]) for one in jobs]


def dead(one: FetchedJob, effect: str = "") -> Dead:
    return Dead(5.0, one.raw.replace(b"{", b'{"died":1,', 1), effect=effect)  # type: ignore[arg-type]


def test_one_job_of_a_key_at_a_time_and_keys_do_not_wait_for_one_another(ordered: Ordered) -> None:
    ordered.push(job("a", 0), job("a", 1), job("b", 2), job(None, 3), job(None, 4), job("a", 5))
    first = ordered.take()
    assert numbers(first) == [0, 2, 3, 4]
    assert [ticket_key(one.ticket) for one in first] == ["a", "b", "", ""]
    assert ordered.take() == []
    assert ordered.settle(*first) == [READY, DONE, DONE, DONE]
    # A second time nothing comes free.
    assert ordered.settle(*first) == [Gone()] * 4
    second = ordered.take()
    assert numbers(second) == [1]
    ordered.push(job("a", 6))
    assert ordered.take() == []
    assert ordered.settle(*second) == [READY]
    for number, code in ((5, READY), (6, DONE)):
        taken = ordered.take()
        assert numbers(taken) == [number]
        assert ordered.settle(*taken) == [code]
    assert ordered.is_at_rest()


def test_a_job_that_failed_waits_before_its_line_and_never_in_the_retry_set(ordered: Ordered) -> None:
    ordered.push(job("a", 0), job("a", 1), job("b", 2))
    head, other = ordered.take()
    now_s = ordered.server.now_us() / 1e6
    assert ordered.settle(head, by=Retry(3600.0, job("a", 0, retry_count=0))) == [DONE]
    assert not ordered.server.raw.exists(f"{NAMESPACE}:retry")
    assert ordered.take() == []
    assert ordered.last is not None
    assert ordered.last.due_ms is not None
    assert 3_590_000 < ordered.last.due_ms <= 3_600_000
    held = ordered.state("a")
    assert held is not None
    assert held.state == "due"
    assert order_store.due_of(ordered.client, QUEUES, [b"a", b"b"]) == [pytest.approx(now_s + 3600, abs=1), None]
    assert order_store.waiting_of(ordered.client, QUEUES, [b"a", b"b"]) == [2, 0]
    assert order_store.steer(ordered.client, "t", QUEUES, "retry", [held]) == [True]
    assert order_store.steer(ordered.client, "t", QUEUES, "retry", [held]) == [False]
    again = ordered.take()
    assert numbers(again) == [0]
    assert b"retry_count" in again[0].raw
    # Deferred until a moment that has passed: at once.
    assert ordered.settle(*again, by=Schedule(-1.0, again[0].raw)) == [READY]
    again = ordered.take()
    assert numbers(again) == [0]
    assert ordered.settle(*again) == [READY]
    assert numbers(ordered.take()) == [1]
    assert ordered.settle(other) == [DONE]


def test_a_forged_job_of_a_dead_jobs_id_leaves_its_key_as_it_was(ordered: Ordered) -> None:
    ordered.push(job("a", 0), job("a", 1))
    (head,) = ordered.take()
    ordered.settle(head, by=dead(head, "stop"))
    stopped = ordered.state("a")
    assert stopped is not None
    for tries in (0, 1):
        ordered.push(job("a", 0, forged=tries))
        (forged,) = ordered.take()
        if tries:
            # Put off before it is read.
            ordered.settle(forged, by=Retry(-1.0, forged.raw))
            (forged,) = ordered.take()
        # Not let in: stopped as before, and since then.
        assert ordered.settle(forged, by=dead(forged, "refused")) == [DONE]
        assert ordered.state("a") == stopped


@pytest.mark.parametrize("at_once", [False, True])
def test_the_dead_job_that_comes_again_while_a_forged_one_of_its_id_is_in_hand_comes_before_its_line(
    ordered: Ordered, at_once: bool
) -> None:
    ordered.push(*(job("a", number) for number in range(3)))
    (head,) = ordered.take()
    ordered.settle(head, by=dead(head, "stop"))
    ordered.push(job("a", 0, forged=1))
    if at_once:
        ordered.push(job("a", 9), job("a", 0))
    (forged,) = ordered.take()
    if not at_once:
        ordered.push(job("a", 9), job("a", 0))
        assert ordered.take() == []
    assert ordered.settle(forged, by=dead(forged, "refused")) == [READY]
    seen = []
    while taken := ordered.take():
        assert "forged" not in str(taken)
        seen += numbers(taken)
        ordered.settle(*taken)
    assert seen == [0, 1, 2, 9]
    assert ordered.is_at_rest()


def test_a_dead_job_opens_its_key_though_it_grew_beyond_the_limit_by_its_history(ordered: Ordered) -> None:
    most = PAYLOAD_LIMIT_BYTES
    raw = job("a", 0, pad="x" * (most - len(job("a", 0, pad=""))))
    assert len(raw) == most
    ordered.push(raw, job("a", 1))
    (head,) = ordered.take()
    ordered.settle(head, by=dead(head, "stop"))
    grown = {**json.loads(raw), "restbroker_attempts": [{"code": "NotNow"}]}
    ordered.push(json.dumps(grown).encode(), json.dumps({**grown, "jid": "j2"}).encode())
    seen = []
    while taken := ordered.take():
        seen += [(json.loads(one.raw)["jid"], ticket_key(one.ticket)) for one in taken]
        ordered.settle(*taken)
    assert seen == [("j0", "a"), ("j1", "a"), ("j2", "a")]


def _recover(ordered: Ordered) -> heartbeats.Recovery:
    counter = ordered.server.raw.hget(f"{NAMESPACE}:restbroker:beats", ordered.identity)
    assert heartbeats.fence(ordered.client, ordered.identity, int(counter))
    return heartbeats.recover(ordered.client, ordered.identity, as_parked)


def _other(ordered: Ordered, **more: object) -> Ordered:
    other = Ordered(ordered.client, ordered.server, identity="h:3:other:t", **more)  # type: ignore[arg-type]
    assert register(ordered.client, other.identity, FACTS, QUEUES, fairness=other.text)
    return other


def test_what_a_dead_process_had_is_first_again_and_waits_for_its_request(ordered: Ordered, client: Client) -> None:
    # A request may take a minute.
    slow = Ordered(client, ordered.server, identity="h:4:slow:t")
    assert register(client, slow.identity, FACTS, QUEUES, fairness=slow.text, quiet_s=60.0)
    heartbeats.write_heartbeats(client, [(slow.identity, 1)], {})
    slow.push(*(job(key, number) for number, key in enumerate("aabbc")))
    assert numbers(slow.take(2, hwm=1)) == [0, 2]
    assert heartbeats.fence(client, slow.identity, 1)
    assert heartbeats.recover(client, slow.identity, as_parked).jobs == 2
    # That of the first may have been sent; the other was not.
    assert [held and held.state for held in map(ordered.state, "ab")] == ["due", "ready"]
    taken = ordered.take()
    assert numbers(taken) == [2, 4]
    assert ordered.last is not None
    assert 50_000 < (ordered.last.due_ms or 0) <= 60_000


@pytest.mark.parametrize(
    ("jid", "shown"),
    [
        ("order/17", "order/17"), ("a b\nc", "a b\nc"), ("zażółć %s \0", "zażółć %s \0"), ("100%", "100%"), ("-", "-"),
        ("#1", "#1"), ("a%2Fb", "a%2Fb"), ("j" * 65, "j" * 65), ("/" * 65, ""), ("j" * 1000, ""),
    ],
)  # fmt: skip
def test_a_retry_opens_the_key_of_a_dead_job_whatever_its_id(ordered: Ordered, jid: str, shown: str) -> None:
    ordered.push(job("a", 0, jid=jid), job("a", 1), job("a", 2, jid=jid[:-1] + "?"))
    ordered.settle(*ordered.take(), by=Dead(5.0, job("a", 0, jid=jid), effect="stop"))
    held = ordered.state("a")
    assert held is not None
    assert (held.state, held.jid) == ("stopped", shown)
    assert abs(held.since_us - ordered.server.now_us()) < 10_000_000
    ordered.push(job("a", 0, jid=jid))
    for number in range(3):
        taken = ordered.take()
        assert numbers(taken) == [number]
        ordered.settle(*taken)
    assert ordered.is_at_rest()


def counts(ordered: Ordered, *names: str) -> order_store.OrderCounts:
    return order_store.count(ordered.client, {"t": names or QUEUES})["t"]


def test_the_oldest_that_waits_is_counted_whatever_holds_its_key(ordered: Ordered) -> None:
    now_s = time.time()
    assert counts(ordered) == order_store.OrderCounts(Counter(), 0, 0.0)
    waited_s = {"in_progress": 300, "due": 900, "stopped": 600}
    for number, key in enumerate(waited_s):
        ordered.push(job(key, number), job(key, 10 + number, enqueued_at=now_s - waited_s[key]))
    heads = {ticket_key(one.ticket): one for one in ordered.take()}
    ordered.settle(heads["stopped"], by=dead(heads["stopped"], "stop"))
    later = Retry(60.0, job("due", 1, enqueued_at=now_s - 950))
    ordered.settle(heads["due"], by=later)
    found = counts(ordered)
    assert (found.states, found.waiting) == (dict.fromkeys(("in_progress", "due", "stopped"), 1), 4)
    # The job that is tried again is before those of its key.
    assert found.oldest_wait_s == pytest.approx(950, abs=30)
    assert (counts(ordered, "b").waiting, counts(ordered, "b").oldest_wait_s) == (0, 0.0)


def test_of_more_keys_than_are_looked_at_those_held_longest_are(ordered: Ordered) -> None:
    now_s = time.time()
    ordered.push(job("old", 0), job("old", 1, enqueued_at=now_s - 500))
    ordered.take()
    for number in range(80):
        ordered.push(*(job(f"k{number}", count, enqueued_at=now_s - 5) for count in range(2)))
    ordered.take(100)
    assert counts(ordered).waiting == 81
    assert counts(ordered).oldest_wait_s == pytest.approx(500, abs=30)


def test_jobs_that_do_not_say_since_when_they_wait_have_no_oldest(ordered: Ordered) -> None:
    ordered.push(job("a", 0), job("a", 1))
    ordered.take()
    assert (counts(ordered).waiting, counts(ordered).oldest_wait_s) == (1, None)


def test_bounds_count_what_is_handed_out(ordered: Ordered) -> None:
    ordered.push(*(job("hot", n) for n in range(50)), *(job(f"k{n}", n) for n in range(20)))
    bounds = Limits(in_flight=3, emission_us=100_000, burst=3)
    assert len(ordered.take(10, limits=bounds)) == 3
    assert isinstance(ordered.ask(10, limits=bounds), LimitReached)
    # Those that only moved cost no token.
    assert len(ordered.take(10)) == 10


def test_a_call_looks_at_two_hundred_jobs_and_says_that_there_are_more(ordered: Ordered) -> None:
    ordered.push(*(job("hot", n) for n in range(450)), job("b", 450))
    assert numbers(ordered.take()) == [0]
    assert ordered.has_more()
    assert ordered.server.raw.hlen(WAIT) == 199
    assert ordered.take() == []
    assert ordered.has_more()
    assert numbers(ordered.take()) == [450]
    assert not ordered.has_more()
    assert ordered.server.raw.hlen(WAIT) == 449


@pytest.mark.parametrize(
    "key", ["\x00", "a\nb", "a:b", "%s", "%d", "x" * 256, "ä ö", "\U0001f600", "h 1 2 3 - x", " ", "="]
)
def test_strange_keys_go_through_all_states(ordered: Ordered, key: str) -> None:
    ordered.push(job(key, 0), job(key, 1))
    taken = ordered.take()
    if any(letter < " " for letter in key):
        # No key that Redis could confuse: the broker refuses these jobs.
        assert [ticket_key(one.ticket) for one in taken] == ["", ""]
        return
    assert [ticket_key(one.ticket) for one in taken] == [key]
    assert ordered.settle(*taken, by=Retry(-1.0, taken[0].raw)) == [READY]
    taken = ordered.take()
    assert ordered.settle(*taken, by=Requeue()) == [READY]
    taken = ordered.take()
    assert ordered.settle(*taken, by=dead(taken[0], "stop")) == [DONE]
    (held,) = [one for page in order_store.read_keys(ordered.client, "t") for one in page]
    assert (held.name, held.state) == (key, "stopped")
    assert order_store.steer(ordered.client, "t", QUEUES, "skip", [held]) == [True]
    taken = ordered.take()
    assert numbers(taken) == [1]
    assert ordered.settle(*taken) == [DONE]
    assert ordered.is_at_rest()


def args(arguments: object) -> bytes:
    return json.dumps({"class": "A", "args": ["c", arguments, "t"]}).encode()


KEYED = {
    "an object": (args({"user": "U", "host": "H"}), "u\x1fh"),
    "pairs": (args([["user", "u"]]), "u\x1fdefault.org"),
    "no user": (args({"host": "h"}), ""),
    "of ActiveJob": (wrapped(["c", {"user": "U", "host": "h", "_aj_symbol_keys": ["user", "host"]}, "t"]), "u\x1fh"),
    "of ActiveJob, objects": (wrapped(["c", [{"user": "u", "_aj_symbol_keys": ["user"]}], "t"]), "u\x1fdefault.org"),
    "of ActiveJob, an object of Rails": (wrapped(["c", {"user": {"_aj_globalid": "gid://a/User/5"}}, "t"]), ""),
    "twice in an object": (b'{"class":"A","args":["c",{"user":"a","user":"b"},"t"]}', "b\x1fdefault.org"),
    "an array of texts": (args(["u", "h"]), ""),
    "a number": (args({"user": 12345678901234567890}), ""),
    "half a pair": (b'{"class":"A","args":["c",{"user":"\\ud800"},"t"]}', ""),
    "no UTF-8": (b'{"class":"A","args":["c",{"user":"\xff"},"t"]}', ""),
}


@pytest.mark.parametrize(("raw", "key"), KEYED.values(), ids=KEYED)
def test_the_scripts_and_the_broker_read_the_same_key(client: Client, server: Server, raw: bytes, key: str) -> None:
    """Every form that arguments may have: the lines' tests, which read keys by the same script."""
    ordered = Ordered(client, server, BY_USER)
    assert register(client, ordered.identity, FACTS, QUEUES, fairness=ordered.text)
    ordered.push(raw)
    (taken,) = ordered.take()
    assert (ticket_key(taken.ticket), taken.raw) == (key, raw)
    fields = fields_of(raw)
    assert ((fields and key_in(BY_USER, fields)) or "") == key


NAMES = st.sampled_from(["u", "U", "v", "", " ", "%s", "a:b", "\x00", "\n", "\x7f", "\u00e4", "\ud800", "x" * 257, "h"])
VALUES = (
    NAMES | st.none() | st.booleans() | st.integers() | st.floats() | st.lists(NAMES, max_size=2) | st.text(max_size=3)
)
MEMBERS = st.lists(st.tuples(st.sampled_from(["user", "host", "n", "User", ""]), VALUES), max_size=4)
TWICE = st.sampled_from(["user", "host", "args", "jid"])


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Jobs in each form that producers may write, and in some that none should."""
    members = draw(MEMBERS)
    form = draw(st.sampled_from(["object", "pairs", "objects", "bare", "text", "text of pairs", "none"]))
    pairs: object = [list(pair) for pair in members]
    arguments: object = {
        "object": dict(members),
        "pairs": pairs,
        "objects": [{name: value} for name, value in members],
        "bare": [value for _, value in members],
        "text": json.dumps(dict(members)),
        "text of pairs": json.dumps(pairs),
        "none": None,
    }[form]
    args: Any = ["c", arguments, "t"]
    made = json.dumps({"class": "A", "jid": "j", "args": json.dumps(args) if draw(st.booleans()) else args})
    if draw(st.booleans()):
        made = wrapped(args, jid="j").decode()
    if draw(st.booleans()):
        name = draw(TWICE)
        made = made.replace(f'"{name}":', f'"{name}": {json.dumps(draw(VALUES))}, "{name}":', 1)
    if draw(st.booleans()):
        made = made.replace("\\u00e4", "\u00e4")
    return made.encode("utf-8", "surrogatepass")


def test_whatever_a_job_looks_like_it_is_never_done_under_another_key(client: Client, server: Server) -> None:
    ordered = Ordered(client, server, BY_USER)
    assert register(client, ordered.identity, FACTS, QUEUES, fairness=ordered.text)
    found: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(payloads())
    def one(raw: bytes) -> None:
        ordered.push(raw)
        (taken,) = ordered.take()
        fields, key = fields_of(raw), ticket_key(taken.ticket)
        ordered.settle(taken)
        assert taken.raw == raw
        # Without members it is no job; None: not clear. Both are refused.
        own = None if fields is None else key_in(BY_USER, fields)
        assert key in ("", own) or own in ("", None), (key, own)
        found["same" if key == own else "refused"] += 1

    one()
    assert found["same"] > found["refused"]
    assert ordered.is_at_rest()


@pytest.mark.parametrize("key", [HOLD, WAIT, KEYS, TURN, DUE, BY])
def test_a_wrong_type_refuses_all_calls_for_keys_and_loses_no_job(ordered: Ordered, key: str) -> None:
    ordered.push(job("a", 0), job("a", 1), job("b", 2), job(None, 3), job(None, 4))
    taken = ordered.take()
    raw = ordered.server.raw
    dump = raw.dump(key)
    raw.delete(key)
    raw.lpush(key, "x")
    ordered.push(job("z", 5))
    with pytest.raises(StoreRefused):
        ordered.ask(5)
    assert raw.llen(f"{NAMESPACE}:queue:a") == 1
    # What has no key is not held up.
    code, plain = ordered.settle(taken[0], taken[2])
    assert plain == DONE
    if key == BY:
        assert code == READY
        return
    assert isinstance(code, Refused)
    assert key in code.text
    assert isinstance(ordered.settle(taken[0], by=Retry(9e9, taken[0].raw))[0], Refused)
    with pytest.raises(StoreRefused):
        order_store.steer(ordered.client, "t", QUEUES, "drop", [b"a"])
    assert not _recover(ordered).retired
    assert raw.llen(f"{NAMESPACE}:queue:a") == 2
    raw.delete(key)
    if dump is not None:
        raw.restore(key, 0, dump)
    done = heartbeats.recover(ordered.client, ordered.identity, as_parked)
    assert (done.jobs, done.retired) == (2, True)
    other = _other(ordered)
    taken = other.take()
    assert sorted(numbers(taken)) == [0, 2, 4, 5]
    other.settle(*taken)
    assert numbers(other.take()) == [1]


def test_an_answer_that_redis_refuses_leaves_the_key_as_it_was(ordered: Ordered) -> None:
    ordered.push(job("a", 0), job("a", 1))
    (head,) = ordered.take()
    ordered.server.raw.set(f"{NAMESPACE}:restbroker:reply:x", "no list")
    reply = Reply(b"r", key="restbroker:reply:x", ttl_s=5)
    assert isinstance(ordered.settle(head, by=Ack((reply,)))[0], Refused)
    assert ordered.take() == []
    assert ordered.settle(head, by=Drop()) == [READY]


@pytest.mark.parametrize("effect", ["stop", "retry"])
def test_the_age_of_a_queue_is_that_of_jobs_behind_held_keys_too(ordered: Ordered, effect: str) -> None:
    now_s = ordered.server.now_us() / 1e6
    jobs = [job(f"k{number}", number, enqueued_at=now_s - 500 + number) for number in range(300)]
    ordered.push(*(one for raw in jobs for one in (raw, raw)))
    while taken := ordered.take(100):
        for one in taken:
            ordered.settle(one, by=dead(one, "stop") if effect == "stop" else Retry(3600.0, one.raw))
    waits = queues.waits_s(ordered.client, {"a": f"{NAMESPACE}:queue:a"}, now_s)
    assert waits == {"a": pytest.approx(500, abs=1)}


def test_what_waited_for_its_turn_without_a_key_is_done_first_and_lost_by_no_death(
    ordered: Ordered, client: Client
) -> None:
    fair = Ordered(client, ordered.server, identity="h:4:fair:t", text=Fairness().text)
    assert register(client, fair.identity, FACTS, QUEUES, fairness=fair.text)
    fair.push(*(job(None, number) for number in range(4)))
    fair.settle(*fair.take(1))
    assert ordered.server.raw.hlen(WAIT) == 3
    ordered.push(job("a", 9))
    (held,) = ordered.take()
    assert numbers([held]) == [1]
    _recover(ordered)
    other, seen = _other(ordered), list[int]()
    while taken := other.take():
        seen += numbers(taken)
        other.settle(taken[0], by=dead(taken[0]))
    assert sorted(seen) == [1, 2, 3, 9]
    assert not ordered.server.raw.exists(HOLD, WAIT, TURN, DUE)


def test_what_a_process_with_fair_by_puts_into_lines_is_no_job_of_an_unclear_key(
    ordered: Ordered, client: Client
) -> None:
    fair = Ordered(client, ordered.server, identity="h:4:fair:t", text=Fairness(("host",), "default.org").text)
    assert register(client, fair.identity, FACTS, QUEUES, fairness=fair.text)
    fair.push(*(job("a", number) for number in range(3)))
    held = fair.take(3)
    ordered.push(job("a", 9))
    (first,) = ordered.take()
    assert (numbers([first]), ticket_how(first.ticket)) == ([9], "=")
    fair.settle(*held, by=Requeue())
    ordered.settle(first)
    seen = []
    while taken := ordered.take():
        seen += [(number, ticket_how(one.ticket)) for number, one in zip(numbers(taken), taken, strict=True)]
        ordered.settle(*taken)
    assert seen == [(0, "?"), (1, "?"), (2, "?")]


def test_two_order_bys_under_load_keep_the_jobs_of_a_user_in_order(ordered: Ordered) -> None:
    """As while a reload rolls: processes with the old one and with the new one serve the queue together."""
    chance = random.Random(5)
    lanes = [ordered, _other(ordered, order=BY_USER)]
    hands: list[list[FetchedJob]] = [[], []]
    waiting: dict[str, list[int]] = {f"u{number}": [] for number in range(6)}
    in_hand: set[str] = set()
    pushed = changes = 0
    for step in range(600):
        if step < 400:
            for user in chance.choices([*waiting], k=chance.randrange(3)):
                args = ["c", {"user": user, "n": pushed}, "t"]
                ordered.push(json.dumps({"class": "A", "order_key": user, "args": args}).encode())
                waiting[user].append(pushed)
                pushed += 1
        place = chance.randrange(2)
        lane, hand = lanes[place], hands[place]
        for one in lane.take(chance.randrange(1, 5)):
            user, number = (json.loads(one.raw)["args"][1][name] for name in ("user", "n"))
            assert user not in in_hand
            assert waiting[user][0] == number
            in_hand.add(user)
            hand.append(one)
        changes += lane.last is not None and lane.last.has_old_keys
        for one in chance.sample(hand, chance.randrange(len(hand) + 1)):
            user = json.loads(one.raw)["args"][1]["user"]
            by = chance.choice(list[Settlement]([Ack(), Ack(), Ack(), Requeue(), Retry(-1.0, one.raw)]))
            lane.settle(one, by=by)
            hand.remove(one)
            in_hand.remove(user)
            if isinstance(by, Ack):
                waiting[user].pop(0)
    assert pushed > 300
    assert changes > 20
    assert not any(waiting.values())
    assert ordered.is_at_rest()


@pytest.mark.parametrize("then", ["", Fairness().text])
def test_an_order_by_that_is_taken_away_is_drained(ordered: Ordered, then: str) -> None:
    ordered.push(job("a", 0), job("a", 1), job("b", 2))
    taken = ordered.take()
    after = _other(ordered, text=drain_text(BY_KEY.text, then))
    after.push(job("z", 9))
    assert after.take() == []
    ordered.settle(*taken)
    (one,) = after.take()
    assert (numbers([one]), ticket_how(one.ticket)) == ([1], "?")
    after.settle(one)
    assert after.take() == []
    assert after.last is not None
    assert after.last.is_drained
    assert ordered.is_at_rest()
    assert not ordered.server.raw.exists(BY)
    # Others compare what it says with what they say, and give its jobs back by it.
    registration = identities.read(ordered.client, after.identity)
    assert registration is not None
    assert registration.fairness == then == settled_text(after.text)


def test_jobs_that_come_after_a_drop_live_whichever_queue_they_are_from(ordered: Ordered) -> None:
    ordered.push(job("a", 0), queue="b")
    head = ordered.take()
    ordered.push(job("a", 1), queue="b")
    ordered.take()
    ordered.push(job("a", 2), job("a", 3), job("a", 4), queue="a")
    ordered.take()
    assert order_store.steer(ordered.client, "t", QUEUES, "drop", [b"a"]) == [True]
    ordered.push(job("a", 5), queue="b")
    ordered.take()
    # What is in progress dies only if it would have to be tried again.
    ordered.settle(*head, by=Retry(-1.0, job("a", 0)))
    marks = []
    for _ in range(6):
        taken = ordered.take()
        marks.append((numbers(taken)[0], ticket_how(taken[0].ticket)))
        ordered.settle(*taken)
    assert marks == [(0, "!"), (1, "!"), (2, "!"), (3, "!"), (4, "!"), (5, "=")]
    assert ordered.is_at_rest()


def test_a_wide_gap_in_a_line_costs_calls_and_holds_no_other_key_up(ordered: Ordered) -> None:
    ordered.push(*(job("a", number) for number in range(1000)))
    head = ordered.take()
    while ordered.has_more():
        ordered.take()
    raw = ordered.server.raw
    raw.hdel(WAIT, *sorted(raw.hkeys(WAIT), key=lambda field: int(field.split(b":")[0]))[:-1])
    ordered.push(job("b", 1000), job("b", 1001))
    (other,) = ordered.take()
    ordered.settle(*head, other)
    found = numbers(ordered.take())
    assert found == [1001]
    while ordered.has_more():
        found += numbers(ordered.take())
    assert found == [1001, 999]


@pytest.mark.parametrize("sooner", [False, True])
def test_a_retried_dead_job_does_not_die_with_what_was_dropped_behind_it(ordered: Ordered, sooner: bool) -> None:
    ordered.push(*(job("a", number) for number in range(3)))
    head = ordered.take()
    assert order_store.steer(ordered.client, "t", QUEUES, "drop", [b"a"]) == [True]
    ordered.settle(*head, by=dead(head[0], "stop"))
    ordered.push(job("a", 3), job("a", 0))
    opener = ordered.take()
    assert numbers(opener) == [0]
    ordered.settle(*opener, by=Retry(1e10 if sooner else -1.0, job("a", 0)))
    assert order_store.steer(ordered.client, "t", QUEUES, "retry", [b"a"]) == [sooner]
    marks = []
    while taken := ordered.take():
        marks.append((numbers(taken)[0], ticket_how(taken[0].ticket)))
        ordered.settle(*taken)
    assert marks == [(0, "="), (1, "!"), (2, "!"), (3, "=")]
    assert ordered.is_at_rest()


def spent_us(ordered: Ordered) -> int:
    """What Redis spent in scripts."""
    return int(ordered.server.raw.info("commandstats").get("cmdstat_evalsha", {"usec": 0})["usec"])


def costs(ordered: Ordered, text: str, count: int, *, keys: int) -> tuple[list[int], list[int]]:
    """What each fetch and each finish of groups of 100 jobs spent (us)."""
    ordered.text = text
    ordered.push(*(job(f"user{number % keys}@example.org", number, pad="x" * 150) for number in range(count)))
    fetches: list[int] = []
    finishes: list[int] = []
    while True:
        before = spent_us(ordered)
        taken = ordered.take(100)
        between = spent_us(ordered)
        if not taken:
            return fetches, finishes
        ordered.settle(*taken)
        if len(taken) == 100:
            fetches.append(between - before)
            finishes.append(spent_us(ordered) - between)


@pytest.mark.nightly
def test_order_costs_redis_at_most_six_times_as_much(ordered: Ordered, tell: Tell) -> None:
    with_order = ordered.text
    # What other processes take from a busy machine is in most calls, but not in the quickest ones.
    found = {}
    for name, text in (("plain", ""), ("ordered", with_order), ("plain again", "")):
        fetches, finishes = costs(ordered, text, 3000, keys=10**9)
        found[name] = sorted(fetches)[3] + sorted(finishes)[3]
    tell(f"us per 100 jobs: {found}")
    assert found["ordered"] <= 6 * max(found["plain"], found["plain again"])
    assert found["ordered"] <= 4000


@pytest.mark.nightly
def test_a_call_that_moves_two_hundred_jobs_of_a_hot_key_is_short(ordered: Ordered, tell: Tell) -> None:
    ordered.push(*(job("hot", number, pad="x" * 150) for number in range(3001)))
    took: list[int] = []
    while not took or ordered.has_more():
        before = spent_us(ordered)
        ordered.take(200)
        took.append(spent_us(ordered) - before)
    tell(f"us per 200 jobs that wait: {sorted(took)[:3]}")
    assert len(took) >= 15
    assert sorted(took)[3] <= 4000


def calls_until_others_are_done(ordered: Ordered, others: int, hot: int) -> int:
    """How many fetches it takes, with so many jobs of one key among them whose first job fails for long."""
    jobs = [job(f"own{number}", number) for number in range(others)]
    jobs = [one for number, other in enumerate(jobs) for one in [other, *[job("hot", number)] * (number < hot)]]
    ordered.push(*jobs)
    done = calls = 0
    while done < others:
        taken = ordered.take(100)
        calls += 1
        fails = [one for one in taken if ticket_key(one.ticket) == "hot"]
        ordered.settle(*fails, by=Retry(4e9, job("hot", 0)))
        fine = [one for one in taken if one not in fails]
        ordered.settle(*fine)
        done += len(fine)
    return calls


def test_a_hot_key_whose_first_job_fails_for_long_costs_the_others_few_calls(ordered: Ordered) -> None:
    without = calls_until_others_are_done(ordered, 2000, 0)
    assert calls_until_others_are_done(ordered, 2000, 2000) <= 1.2 * without
    assert ordered.server.raw.hlen(WAIT) == 2000
