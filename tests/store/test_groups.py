"""Order per key and fairness in the scripts, as a reader wants to see them, and what faults do to them.

What any order of calls leads to is shown by random histories (`tests.model.test_groups_against_model`).
"""

import itertools
import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restbroker.errors import StoreRefused
from restbroker.job.fairness import Fairness
from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.job.job import fields_of
from restbroker.job.order import Order, key_in
from restbroker.job.settlement import Ack, Dead, Reply, Requeue, Retry
from restbroker.store import classifying, heartbeats, order, pauses, queues, waiting
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Gone, Refused
from restbroker.store.in_progress import FetchedJob
from restbroker.store.jobs import LimitReached, Limits, TargetPaused, mark
from restbroker.store.sets import Placement
from restbroker.store.tickets import ticket_key
from tests.store.groups import BOTH, FAIR, ORDER, WEIGHTED, GroupPool, job, keys_of_groups, name_of, push
from tests.store.pools import NAMESPACE, QUEUES, Server, as_dead, die, is_retired
from tests.support.active_job import wrapped
from tests.support.redis_line import Report
from tests.support.store_calls import classify_lines

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
READY, DONE = Applied(is_ready=True), Applied()


@pytest.fixture
def ordered(client: Client) -> GroupPool:
    return GroupPool(client, ORDER).start()


@pytest.fixture
def fair(client: Client) -> GroupPool:
    return GroupPool(client, FAIR).start()


def names(jobs: Sequence[FetchedJob]) -> list[str]:
    return [name_of(job.raw) for job in jobs]


def of(user: str, *numbers: int) -> list[bytes]:
    return [job(f"{user}{number}", user) for number in numbers]


# What a reader wants to see


def test_keys_run_one_job_at_a_time_and_not_for_one_another(ordered: GroupPool, server: Server) -> None:
    push(ordered.client, *of("a", 0, 1), *of("b", 0), job("none 0"), job("none 1"))
    first = ordered.take()
    assert names(first) == ["a0", "b0", "none 0", "none 1"]
    assert [ticket_key(job.ticket) for job in first] == ["\x1ea", "\x1eb", "", ""]
    assert ordered.take() == []
    assert ordered.settle(*first) == [READY, DONE, DONE, DONE]
    # A second time nothing comes free.
    assert ordered.settle(*first) == [Gone()] * 4
    second = ordered.take()
    assert names(second) == ["a1"]
    assert ordered.settle(*second) == [DONE]
    assert keys_of_groups(server) == set()


def test_failed_job_holds_its_key_and_is_not_in_the_retry_set(ordered: GroupPool, server: Server) -> None:
    push(ordered.client, *of("a", 0, 1))
    (head,) = ordered.take()
    assert ordered.settle(head, by=Retry(3600.0, head.raw)) == [DONE]
    assert not server.raw.exists(f"{NAMESPACE}:retry")
    assert ordered.take() == []
    assert ordered.last is not None
    assert ordered.last.due_ms is not None
    assert 3_590_000 < ordered.last.due_ms <= 3_600_000
    held = order.read_key(ordered.client, "t", QUEUES, b"\x1ea")
    assert held is not None
    assert held.state == "due"
    assert order.steer(ordered.client, "t", QUEUES, "retry", [held]) == [True]
    assert order.steer(ordered.client, "t", QUEUES, "retry", [held]) == [False]
    assert names(ordered.take()) == ["a0"]


@pytest.mark.parametrize("jid", ["order/17", "a b\nc", "zażółć %s \0", "#1", "j" * 1000])
def test_the_dead_job_that_comes_back_is_first_and_opens_its_key(ordered: GroupPool, server: Server, jid: str) -> None:
    push(ordered.client, job(jid, "a"), *of("a", 1))
    (head,) = ordered.take()
    assert ordered.settle(head, by=Dead(5.0, head.raw, effect="stop")) == [DONE]
    assert server.raw.zrange(f"{NAMESPACE}:dead", 0, -1) == [head.raw]
    held = order.read_key(ordered.client, "t", QUEUES, b"\x1ea")
    assert held is not None
    assert (held.state, held.jid) == ("stopped", jid)
    push(ordered.client, *of("a", 2), head.raw)
    for name in (jid, "a1", "a2"):
        (one,) = ordered.take()
        assert name_of(one.raw) == name
        ordered.settle(one)
    assert keys_of_groups(server) == set()


@pytest.mark.parametrize("forged", [1, 2])
def test_a_job_that_is_not_let_in_leaves_its_key_stopped(ordered: GroupPool, forged: int) -> None:
    """It has the id of the dead one, which comes back later, or meanwhile."""
    push(ordered.client, *of("a", 0, 1))
    (head,) = ordered.take()
    ordered.settle(head, by=Dead(5.0, head.raw, effect="stop"))
    push(ordered.client, head.raw)
    (one,) = ordered.take()
    if forged == 2:
        push(ordered.client, head.raw)
        assert ordered.take() == []
    ordered.settle(one, by=Dead(6.0, job("a0", "a", forged=True), effect="refused"))
    if forged == 1:
        held = order.read_key(ordered.client, "t", QUEUES, b"\x1ea")
        assert held is not None
        assert (held.state, held.jid, ordered.take()) == ("stopped", "a0", [])
        push(ordered.client, head.raw)
    for name in ("a0", "a1"):
        (one,) = ordered.take()
        assert name_of(one.raw) == name
        ordered.settle(one)


def test_dead_job_grown_past_the_limit_still_opens_its_key(ordered: GroupPool) -> None:
    raw = job("a0", "a", pad="x" * (PAYLOAD_LIMIT_BYTES - len(job("a0", "a", pad=""))))
    push(ordered.client, raw, *of("a", 1))
    (head,) = ordered.take()
    ordered.settle(head, by=Dead(5.0, raw, effect="stop"))
    push(ordered.client, json.dumps({**json.loads(raw), "restbroker_attempts": [{"code": "NotNow"}]}).encode())
    while not (taken := ordered.take()):
        assert ordered.last is not None
        assert ordered.last.more
    assert names(taken) == ["a0"]


def test_jobs_of_dead_process_come_first_and_wait_for_a_request(client: Client) -> None:
    slow, next_one = GroupPool(client, ORDER).start(quiet_s=60.0), GroupPool(client, ORDER, "h:3:next:t").start()
    heartbeats.write_heartbeats(client, [(slow.identity, 1)], {})
    push(client, *of("a", 0, 1), *of("b", 0, 1))
    assert names(slow.take(2, hwm=1)) == ["a0", "b0"]
    assert die(client, slow.identity, 1).jobs == 2
    # That of the first may have been sent; the other was not.
    assert names(next_one.take()) == ["b0"]
    assert next_one.last is not None
    assert 50_000 < (next_one.last.due_ms or 0) <= 60_000


def test_an_ordered_job_waits_after_crashes_in_front_of_its_key(client: Client, server: Server) -> None:
    held = f"{NAMESPACE}:restbroker:held:t"
    push(client, *of("a", 0, 1))
    for life, waits_s in enumerate((0.0, 20.0, 40.0)):
        pool = GroupPool(client, ORDER, f"h:{life}:x:t").start(quiet_s=1.0)
        (taken,) = pool.take(2, hwm=9)
        assert (name_of(taken.raw), json.loads(taken.raw).get("restbroker_crashes", 0)) == ("a0", life)
        die(client, pool.identity)
        ((group, score),) = server.raw.zrange(held, 0, -1, withscores=True)
        assert waits_s / 2 <= score - server.now_us() / 1e6 <= max(1.0, waits_s * 1.5)
        server.raw.zadd(held, {group: 1})
    assert server.raw.exists(f"{NAMESPACE}:schedule") == 0


def test_a_job_of_a_queue_in_turns_waits_after_crashes_too(client: Client, server: Server) -> None:
    push(client, *of("a", 0), *of("b", 0))
    for life in range(2):
        pool = GroupPool(client, FAIR, f"h:{life}:x:t").start()
        assert set(names(pool.take(2, hwm=1))) == {"a0", "b0"}
        die(client, pool.identity)
    (member,) = server.raw.zrange(f"{NAMESPACE}:schedule", 0, -1)
    next_one = GroupPool(client, FAIR, "h:9:x:t").start()
    (other,) = next_one.take(2)
    assert {name_of(member), name_of(other.raw)} == {"a0", "b0"}
    assert json.loads(member)["queue"] == "a"


@pytest.mark.parametrize("is_marked", [False, True])
@pytest.mark.parametrize(
    ("endpoint", "longest_s"), [("c", 10.0), ("slow", 300.0), ("slow/v1", 300.0), ("area/slow", 120.0), (7, 10.0)]
)
def test_key_waits_from_the_fence_while_its_command_may_run(
    client: Client, server: Server, endpoint: object, longest_s: float, *, is_marked: bool
) -> None:
    """Its process may have begun the request just before its lease ran out, 15 s after its last heartbeat."""
    cut_off, next_one = GroupPool(client, ORDER), GroupPool(client, ORDER, "h:3:next:t").start()
    cut_off.start(10.0, slow=300.0, **{"area.slow": 120.0})
    heartbeats.write_heartbeats(client, [(cut_off.identity, 1)], {})
    server.raw.hincrby(f"{NAMESPACE}:restbroker:info:{cut_off.identity}", "beat_at", -20)
    push(client, job("a0", "a", args=[endpoint, {"user": "a"}, "t"]), *of("a", 1))
    (sent,) = cut_off.take(1)
    if is_marked:
        mark(client, cut_off.identity, [sent.ticket])
    assert die(client, cut_off.identity, 1).dead == is_marked
    assert next_one.take() == []
    assert next_one.last is not None
    assert longest_s - 5 < (next_one.last.due_ms or 0) / 1000 <= longest_s
    # A person may let it go on before.
    held = order.read_key(client, "t", QUEUES, b"\x1ea")
    assert held is not None
    assert order.steer(client, "t", QUEUES, "retry", [held]) == [True]
    assert names(next_one.take()) == ["a1" if is_marked else "a0"]


@pytest.mark.parametrize("broken", ["paused", "dead"])
def test_key_of_a_wrong_type_hands_no_job_on_and_blocks_nothing(client: Client, server: Server, broken: str) -> None:
    pool = GroupPool(client, ORDER, queues=("a",)).start()
    push(client, *of("a", 0, 1))
    (head,) = pool.take()
    server.raw.set(f"{NAMESPACE}:{broken}", "no set")
    assert pool.settle_and_take(head, max_dead=5) == []
    assert server.raw.get(f"{NAMESPACE}:stat:processed") == b"1"
    server.raw.delete(f"{NAMESPACE}:{broken}")
    assert names(pool.take()) == ["a1"]


ORDERED = {"order": ("user",), "other order": ("host",), "both": ("host", "user")}
SAID = {"none": "", "order": ORDER, "other order": '{"by":["host"],"order":"host "}', "fair": FAIR, "both": BOTH}


@pytest.mark.parametrize(("old", "new"), [*itertools.permutations(SAID, 2)])
def test_jobs_of_the_old_groups_are_done_before_new_ones(client: Client, server: Server, old: str, new: str) -> None:
    """The target's groups are changed while the one before still has jobs in progress."""
    before, after = GroupPool(client, SAID[old]).start(), GroupPool(client, SAID[new], "h:3:after:t").start()
    jobs = [job(f"{n:03d}", f"u{n % 3}", f"h{n % 2}") for n in range(60)]
    push(client, *jobs[:30])
    in_progress, others, drained = before.take(5), list[FetchedJob](), 0
    push(client, *jobs[30:])
    for step in range(200):
        taken = after.take(3)
        others += taken
        assert after.last is not None
        drained += len(taken) if after.last.has_old_keys else 0
        if step == 3:
            before.settle(*in_progress)
        after.settle(*taken)
    assert sorted(names([*in_progress, *others])) == sorted(map(name_of, jobs))
    for name, done in ((old, [*in_progress, *others[:drained]]), (new, others[drained:])):
        by_key = defaultdict(list)
        for fetched in done:
            arguments = json.loads(fetched.raw)["args"][1]
            by_key[tuple(arguments[part] for part in ORDERED.get(name, ()))].append(name_of(fetched.raw))
        assert name not in ORDERED or all(found == sorted(found) for found in by_key.values())
    assert keys_of_groups(server) == set()


def test_grouped_and_ungrouped_jobs_keep_separate_tickets(client: Client, server: Server) -> None:
    """A target that had groups takes those of one queue, and another queue's list."""
    fair, plain = GroupPool(client, FAIR).start(), GroupPool(client, "", "h:3:plain:t").start()
    push(client, *(job(f"{n}", None, f"h{n % 2}") for n in range(4)), queue="b")
    fair.take(1)
    push(client, job("a"))
    taken = plain.take()
    assert len(taken) == 4
    fields = {ticket.decode() for ticket in server.raw.hkeys(f"{NAMESPACE}:restbroker:ip:{plain.identity}")}
    assert {job.ticket for job in taken} == fields - {"last", "hwm"}


@pytest.mark.parametrize("how", ["back", "recovered"])
def test_job_returned_after_an_order_change_gets_a_new_key(client: Client, how: str) -> None:
    """Its broker would take it for one whose key the scripts read otherwise, and not send it."""
    old, new = GroupPool(client, FAIR).start(), GroupPool(client, BOTH, "h:3:new:t").start()
    push(client, job("a", "u", "h"))
    (taken,) = old.take()
    assert ticket_key(taken.ticket) == "h"
    assert new.take() == []
    if how == "back":
        old.settle(taken, by=Requeue())
    else:
        die(client, old.identity)
        assert is_retired(client, old.identity)
    (taken,) = new.take()
    assert ticket_key(taken.ticket) == "h\x1eu"


# Shares


def excess(hosts: Sequence[str], weights: dict[str, int]) -> float:
    """By how much a key was ahead of another at most, over all windows in which both waited throughout (F5)."""
    worst = 0.0
    for key, other in itertools.permutations(weights, 2):
        # The largest rise of the difference of their shares, over all beginnings and ends.
        difference = least = 0.0
        for name in hosts:
            difference += (name == key) / weights[key] - (name == other) / weights[other]
            least = min(least, difference)
            worst = max(worst, difference - least - 1 / weights[key] - 1 / weights[other])
    return worst


def host_of(one: FetchedJob) -> str:
    return str(json.loads(one.raw)["args"][1]["host"])


@pytest.mark.parametrize("want", [1, 7, 100])
@pytest.mark.parametrize("text", [WEIGHTED, '{"by":["host","user"],"fair":1,"order":"x","weights":{"h0":4}}'])
def test_no_key_gets_more_than_its_share_beside_keys_that_wait(client: Client, want: int, text: str) -> None:
    pool, weights = GroupPool(client, text).start(), {"h0": 4, "h1": 1, "h2": 1}
    assert pool.take() == []
    push(client, *(job(f"{n}", f"u{n}", "h1") for n in range(100)))
    push(client, *(job(f"{n}", f"u{n}", host) for n in range(100) for host in ("h0", "h2")))
    classify_all(pool)
    served: list[FetchedJob] = []
    while taken := pool.take(want):
        served += taken
        pool.settle(*taken)
    for host in weights:
        assert [name_of(job.raw) for job in served if host_of(job) == host] == [f"{n}" for n in range(100)]
    hosts = [host_of(job) for job in served]
    # As long as all three wait.
    ends = min(max(place for place, name in enumerate(hosts) if name == host) for host in weights)
    assert excess(hosts[:ends], weights) <= 1e-9


def test_a_key_that_pushes_single_jobs_gets_no_advantage(fair: GroupPool, server: Server) -> None:
    push(fair.client, *(job(f"{n}", None, host) for n in range(200) for host in ("h0", "h1")))
    classify_all(fair)
    hosts: list[str] = []
    for n in range(200):
        if server.raw.zscore(f"{NAMESPACE}:restbroker:turn:a", "single") is None:
            push(fair.client, job(f"{n}", None, "single"))
        hosts += map(host_of, fair.take(1))
    counts = Counter(hosts)
    assert 60 <= counts["single"] <= min(counts["h0"], counts["h1"]) + 2


def test_a_job_without_a_fair_key_has_no_order_and_gets_its_turn(client: Client) -> None:
    """An ordered group without a fair key has no virtual time to enter its turns at."""
    pool = GroupPool(client, BOTH).start()
    without, *others = job("none", "u"), *(job(f"{n}", f"u{n}", "h") for n in range(20))
    push(client, without, *others)
    taken = pool.take(2)
    assert [ticket_key(job.ticket) for job in taken] == ["", "h\x1eu0"]
    fields = fields_of(without)
    assert fields is not None
    assert key_in(Order(("host", "user")), Fairness(("host",)), fields) == ""


def classify_all(pool: GroupPool) -> None:
    while True:
        pool.client.command("DEL", pool.client.keys.pace("a"))
        answer = classify_lines(pool.client, "t", "a", pool.text)
        assert isinstance(answer, classifying.ClassifyResult)
        if not answer.in_list:
            return


# Hand-on: the settlement's answer brings the next job of the key


@pytest.fixture
def single(client: Client) -> GroupPool:
    """A target with one queue."""
    return GroupPool(client, ORDER, queues=("a",)).start()


def test_settlement_brings_the_next_job_unless_another_key_waits(single: GroupPool) -> None:
    push(single.client, *of("a", 0, 1, 2, 3))
    (one,) = single.take()
    (one,) = single.settle_and_take(one)
    assert (name_of(one.raw), one.ticket) == ("a1", "2:1:\x1ea")
    # A second one would take two turns where others wait.
    push(single.client, *of("b", 0, 1))
    (other,) = single.take()
    single.settle(other)
    assert single.settle_and_take(one) == []
    assert names(single.take()) == ["b1", "a2"]


def test_job_behind_one_in_progress_takes_no_turn(client: Client) -> None:
    """Its key would be taken for another one that waits, and its fair key would pay twice."""
    pool = GroupPool(client, BOTH, queues=("a",)).start()
    push(client, job("0", "u", "h"))
    (one,) = pool.take()
    push(client, job("1", "u", "h"))
    classify_all(pool)
    assert names(pool.settle_and_take(one)) == ["1"]


@pytest.mark.parametrize("why", ["paused queue", "paused target", "dead limit", "lost answer", "fenced", "two queues"])
def test_a_settlement_brings_nothing_that_a_fetch_would_not_take(client: Client, why: str) -> None:
    pool = GroupPool(client, ORDER, queues=QUEUES if why == "two queues" else ("a",)).start()
    push(client, *of("a", 0, 1))
    (one,) = pool.take()
    match why:
        case "paused queue":
            pauses.pause_queue(client, "a", "ann", "", None)
        case "paused target":
            pauses.pause_target(client, "t", "ann", "", None)
        case "dead limit":
            client.command("ZADD", client.keys.sorted_set("dead"), 1, "x")
        case "lost answer":
            pool.base -= 1
        case "fenced":
            heartbeats.fence(client, pool.identity, 0)
    assert pool.settle_and_take(one, max_dead=int(why == "dead limit")) == []


# What the scripts read as a job's key


def args(arguments: object) -> bytes:
    return json.dumps({"class": "A", "args": ["c", arguments, "t"]}).encode()


BY_USER, BY_HOST = Order(("user", "host"), "default.org"), Fairness(("host",), "default.org")
KEYED = {
    "an object": (args({"user": "U", "host": "One.Example.ORG"}), "u\x1fone.example.org"),
    "pairs": (args([["user", "u"], ["n", 1]]), "u\x1fdefault.org"),
    "objects": (args([{"user": "u"}, {"n": 1}]), "u\x1fdefault.org"),
    "text": (args('{"user":"u"}'), "u\x1fdefault.org"),
    "text of pairs": (args('[["user","u"]]'), "u\x1fdefault.org"),
    "all is text": (b'{"class":"A","args":"[\\"c\\",{\\"user\\":\\"u\\"},\\"t\\"]"}', "u\x1fdefault.org"),
    "no user": (args({"host": "h"}), ""),
    "of ActiveJob": (wrapped(["c", {"user": "U", "host": "h", "_aj_symbol_keys": ["user", "host"]}, "t"]), "u\x1fh"),
    "of ActiveJob, objects": (wrapped(["c", [{"user": "u", "_aj_symbol_keys": ["user"]}], "t"]), "u\x1fdefault.org"),
    "of ActiveJob, an object of Rails": (wrapped(["c", {"user": {"_aj_globalid": "gid://a/User/5"}}, "t"]), ""),
    "twice in an object": (b'{"class":"A","args":["c",{"user":"a","user":"b"},"t"]}', "b\x1fdefault.org"),
    "an array of texts": (args(["u", "h"]), ""),
    "a number": (args({"user": 12345678901234567890}), ""),
    "half a pair": (b'{"class":"A","args":["c",{"user":"\\ud800"},"t"]}', ""),
    "no UTF-8": (b'{"class":"A","args":["c",{"user":"\xff"},"t"]}', ""),
    "256 bytes": (args({"user": "x" * 256}), "x" * 256 + "\x1fdefault.org"),
    "257 bytes": (args({"user": "x" * 257}), ""),
    "a control character": (args({"user": "a\nb"}), ""),
    "DEL": (args({"user": "a\x7fb"}), ""),
    "what looks like a ticket": (args({"user": "=%s:1"}), "=%s:1\x1fdefault.org"),
    "not in ASCII": (args({"user": "\U0001f600 ä"}), "\U0001f600 ä\x1fdefault.org"),
    "no arguments": (b'{"class":"A","args":null}', ""),
    "no job": (b"\x00\xff no JSON", ""),
    "too deep": (b"[" * 1200 + b"]" * 1200, ""),
}
BY_USER_TEXT: Final = '{"by":["user","host"],"order":"user,host","host":"default.org"}'


@pytest.mark.parametrize(("raw", "key"), KEYED.values(), ids=KEYED)
def test_the_scripts_and_the_broker_read_the_same_key(client: Client, server: Server, raw: bytes, key: str) -> None:
    """And the job comes out byte for byte, from its group's list too; one without a key goes back to the list."""
    pool, group = GroupPool(client, BY_USER_TEXT).start(), f"\x1e{key}" if key else ""
    push(client, raw)
    (taken,) = pool.take()
    assert (ticket_key(taken.ticket), taken.raw) == (group, raw)
    fields = fields_of(raw)
    assert ((fields and key_in(BY_USER, None, fields)) or "") == group
    assert pool.settle(taken, by=Requeue()) == [READY if group else DONE]
    (taken,) = pool.take()
    assert (ticket_key(taken.ticket), taken.raw) == (group, raw)
    pool.settle(taken)
    assert keys_of_groups(server) == set()


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


def test_job_is_never_done_under_another_key_whatever_its_form(client: Client) -> None:
    pool = GroupPool(client, BY_USER_TEXT).start()
    found: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(payloads())
    def one(raw: bytes) -> None:
        push(client, raw)
        (taken,) = pool.take()
        fields, group = fields_of(raw), ticket_key(taken.ticket)
        pool.settle(taken)
        assert taken.raw == raw
        # Without members it is no job; None: not clear. Both are refused.
        own = None if fields is None else key_in(BY_USER, None, fields)
        assert group in ("", own) or own in ("", None), (group, own)
        found["same" if group == own else "refused"] += 1

    one()
    assert found["same"] > found["refused"]


def test_lines_stay_empty_before_the_old_groups_are_done(client: Client, server: Server) -> None:
    old, new = GroupPool(client, ORDER).start(), GroupPool(client, FAIR, "h:3:new:t").start()
    push(client, *of("a", 0, 1))
    (head,) = old.take()
    push(client, job("n", "a", "h"))
    assert classify_lines(client, "t", "a", new.text) == classifying.ClassifyRefused(0)
    old.settle(head)
    (last,) = new.take()
    assert name_of(last.raw) == "a1"
    new.settle(last)
    assert names(new.take()) == ["n"]


# Bounds


def test_bounds_count_what_is_handed_out(ordered: GroupPool, client: Client) -> None:
    push(client, *of("hot", *range(50)), *(job(f"k{n}", f"k{n}") for n in range(20)))
    bounds = Limits(in_flight=3, emission_us=100_000, burst=3)
    assert len(ordered.take(10, limits=bounds)) == 3
    assert isinstance(ordered.ask(10, limits=bounds), LimitReached)
    # Those that only moved cost no token.
    assert len(ordered.take(10)) == 10
    pauses.pause_target(client, "t", "ann", "", None)
    assert isinstance(ordered.ask(5), TargetPaused)
    assert classify_lines(client, "t", "a", FAIR) == classifying.ClassifyRefused(0)


def test_call_looks_at_two_hundred_jobs_and_says_there_are_more(ordered: GroupPool) -> None:
    push(ordered.client, *of("hot", *range(450)), *of("b", 0))
    rounds = []
    for more in (True, True, False):
        rounds.append(names(ordered.take()))
        assert ordered.last is not None
        assert ordered.last.more == more
    assert rounds == [["hot0"], [], ["b0"]]


def test_too_large_job_ends_a_call_and_stays(fair: GroupPool) -> None:
    small, large = job("s", None, "h"), job("l", None, "h", pad="x" * 400)
    push(fair.client, small, large, small)
    classify_all(fair)
    assert names(fair.take(3, most_bytes=len(small) + 10)) == ["s"]
    assert fair.last is not None
    assert fair.last.more
    (one,) = fair.take(3, most_bytes=len(small) + 10, limit_bytes=100)
    assert (one.raw, one.size_bytes) == (b"", len(large))
    assert names(fair.take(3)) == ["s"]


def test_hot_key_with_long_failing_first_job_costs_few_calls(ordered: GroupPool) -> None:
    def calls(others: int, hot: int) -> int:
        """How many fetches it takes, with so many jobs of one key among them whose first job fails for long."""
        jobs = [raw for n in range(others) for raw in (job(f"{n}", f"own{n}"), *of("hot", n)[: n < hot])]
        push(ordered.client, *jobs)
        done = count = 0
        while done < others:
            taken, count = ordered.take(100), count + 1
            fails = [job for job in taken if ticket_key(job.ticket) == "\x1ehot"]
            ordered.settle(*fails, by=Retry(4e9, job("hot0", "hot")))
            ordered.settle(*(fine := [job for job in taken if job not in fails]))
            done += len(fine)
        return count

    without = calls(2000, 0)
    assert calls(2000, 2000) <= 1.2 * without


# Faults


SPOILT: Final = ("held:t", "turn:a", "fair:a", "groups:t", "stopped:t")


@pytest.mark.parametrize("key", SPOILT)
def test_wrong_type_refuses_all_group_calls_and_loses_no_job(client: Client, server: Server, key: str) -> None:
    pool, raw, name = GroupPool(client, BOTH).start(), server.raw, f"{NAMESPACE}:restbroker:{key}"
    push(client, *(job(f"{n}", f"u{n % 2}", "h") for n in range(6)))
    first, _ = pool.take(2)
    dump = raw.dump(name)
    raw.delete(name)
    raw.lpush(name, "x")
    push(client, job("z", "z"))
    with pytest.raises(StoreRefused):
        pool.ask(5)
    assert raw.llen(f"{NAMESPACE}:queue:a") == 1
    if key != "groups:t":
        for by in (Ack(), Retry(9e9, first.raw), Requeue(), Dead(1.0, first.raw, effect="stop")):
            (code,) = pool.settle(first, by=by)
            assert isinstance(code, Refused)
            assert key in code.text
        assert die(client, pool.identity).refused
        assert not is_retired(client, pool.identity)
    else:
        assert heartbeats.fence(client, pool.identity, 0)
    raw.delete(name)
    if dump is not None:
        raw.restore(name, 0, dump)
    heartbeats.recover(client, pool.identity, as_dead)
    assert is_retired(client, pool.identity)
    other, order = GroupPool(client, BOTH, "h:3:other:t").start(), list[str]()
    while taken := other.take():
        order += names(taken)
        other.settle(*taken)
    assert [kind for kind in order if kind in "024"] == ["0", "2", "4"]
    assert [kind for kind in order if kind in "135"] == ["1", "3", "5"]
    assert "z" in order
    assert keys_of_groups(server) == set()


def test_a_list_or_count_of_a_wrong_type_loses_no_job(ordered: GroupPool, server: Server) -> None:
    raw, line = server.raw, f"{NAMESPACE}:restbroker:line:a"
    raw.set(f"{line}\x1e\x1ea", "no list")
    raw.lpush(line, "no number")
    push(ordered.client, *of("a", 0, 1), *of("b", 0, 1))
    taken = ordered.take()
    assert ordered.last is not None
    assert ordered.last.bad == {"a"}
    raw.delete(f"{line}\x1e\x1ea")
    order = names(taken)
    while taken:
        ordered.settle(*taken)
        taken = ordered.take()
        order += names(taken)
    assert sorted(order) == ["a0", "a1", "b0", "b1"]
    assert order.index("a0") < order.index("a1")


def test_an_answer_that_redis_refuses_leaves_the_key_as_it_was(ordered: GroupPool, server: Server) -> None:
    push(ordered.client, *of("a", 0, 1))
    (head,) = ordered.take()
    server.raw.set(f"{NAMESPACE}:restbroker:reply:x", "no list")
    reply = Reply(b"r", key="restbroker:reply:x", ttl_s=5)
    for by in (Ack((reply,)), Retry(-1.0, head.raw, (reply,)), Dead(1.0, head.raw, (reply,), effect="stop")):
        assert isinstance(ordered.settle(head, by=by)[0], Refused)
        assert ordered.take() == []
    assert not server.raw.exists(f"{NAMESPACE}:dead")
    assert ordered.settle(head) == [READY]


def test_scores_written_by_hand_block_nothing_for_good(fair: GroupPool, server: Server) -> None:
    push(fair.client, *(job(f"{n}", None, f"h{n % 2}") for n in range(40)))
    classify_all(fair)
    server.raw.zadd(f"{NAMESPACE}:restbroker:turn:a", {"h0": float("inf"), "h1": float("-inf"), "h9": 5})
    assert len(fair.take(40)) == 40
    assert keys_of_groups(server) == set()


@pytest.mark.parametrize("how", ["cleared", "cleared in part", "taken"])
def test_key_of_a_deferred_job_goes_on_once_that_is_deleted(ordered: GroupPool, client: Client, how: str) -> None:
    """What stands behind it, and what comes later, waits for no time that was the deleted job's own."""
    push(client, *of("a", 0, 1))
    (head,) = ordered.take()
    ordered.settle(head, by=Retry(3600.0, head.raw))
    match how:
        case "taken":
            (line,) = [snapshot for snapshot in waiting.take_snapshots(client, "a", "t") if snapshot.job_key]
            assert waiting.take(client, line, [waiting.TakeRequest(1, Placement(head.raw))]) == [DONE]
        case _:
            left = 1 if how == "cleared in part" else 0
            assert queues.clear(client, "a", job("a1", "a"), 2 - left, b"\x1ea", "t")[:2] == (2 - left, left)
            client.command("DEL", client.keys.pace("a"))
    push(client, *of("a", 2), *of("b", 0))
    assert names(ordered.take()) == ["a2" if how == "cleared" else "a1", "b0"]


def test_stopped_key_stays_stopped_though_its_jobs_are_cleared(ordered: GroupPool, client: Client) -> None:
    push(client, *of("a", 0, 1))
    (head,) = ordered.take()
    ordered.settle(head, by=Dead(1.0, head.raw, effect="stop"))
    assert queues.clear(client, "a", job("a1", "a"), 10, b"\x1ea", "t")[:2] == (1, 0)
    client.command("DEL", client.keys.pace("a"))
    push(client, *of("a", 2))
    assert ordered.take() == []


def test_deleted_turn_returns_with_the_next_job_or_a_return(ordered: GroupPool, server: Server) -> None:
    push(ordered.client, *of("a", 0, 1, 2))
    (head,) = ordered.take()
    ordered.settle(head)
    server.raw.delete(f"{NAMESPACE}:restbroker:turn:a")
    assert ordered.take() == []
    push(ordered.client, *of("a", 3))
    assert names(ordered.take()) == ["a1"]


def test_groups_that_are_given_back_leave_stopped_ones(ordered: GroupPool, client: Client, server: Server) -> None:
    push(client, *of("a", 0, 1), *of("b", 0, 1, 2))
    a, b = ordered.take()
    ordered.settle(a, by=Dead(1.0, a.raw, effect="stop"))
    ordered.settle(b, by=Retry(4e9, b.raw))
    groups = order.all_keys(client, "a")
    assert order.give_back(client, "a", "t", groups) is None
    pauses.pause_queue(client, "a", "ann", "", None)
    assert order.give_back(client, "a", "t", groups) == (3, 2)
    assert [name_of(raw) for raw in server.raw.lrange(f"{NAMESPACE}:queue:a", 0, -1)] == ["b2", "b1", "b0"]
    assert server.raw.llen(f"{NAMESPACE}:restbroker:line:a\x1e\x1ea") == 1


def test_a_group_whose_job_is_nowhere_can_be_freed(ordered: GroupPool, client: Client, server: Server) -> None:
    """As after the loss of a file's end."""
    push(client, *of("a", 0, 1))
    ordered.take()
    server.raw.delete(f"{NAMESPACE}:restbroker:ip:{ordered.identity}")
    held = order.read_key(client, "t", QUEUES, b"\x1ea")
    assert held is not None
    assert held.state == "in_progress"
    other = GroupPool(client, ORDER, "h:3:other:t").start()
    assert other.take() == []
    assert order.steer(client, "t", QUEUES, "free", [held]) == [True]
    assert names(other.take()) == ["a1"]


# What it costs


def spent_us(server: Server) -> int:
    """What Redis spent in scripts."""
    return int(server.raw.info("commandstats").get("cmdstat_evalsha", {"usec": 0})["usec"])


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("text", "keys", "most_us"), [(ORDER, 10**9, 4000), (ORDER, 1, 4000), (FAIR, 100, 8000), (FAIR, 10**9, 8000)]
)
def test_groups_cost_few_calls_and_little_memory(
    client: Client, server: Server, report: Report, text: str, keys: int, most_us: int
) -> None:
    """Four times what a quiet machine takes: a walk over all keys or jobs would cost far more."""
    pool, count, raw = GroupPool(client, text).start(), 10_000, server.raw
    empty = int(raw.info("memory")["used_memory"])
    for start in range(0, count, 1000):
        push(client, *(job(f"{n}", f"u{n % keys}", f"h{n % keys}", pad="x" * 150) for n in range(start, start + 1000)))
    in_list = (int(raw.info("memory")["used_memory"]) - empty) / count
    if text == FAIR:
        classify_all(pool)
    in_lines = (int(raw.info("memory")["used_memory"]) - empty) / count
    costs: list[int] = []
    for _ in range(30):
        began = spent_us(server)
        taken = pool.take(100)
        pool.settle(*taken)
        costs.append(spent_us(server) - began)
    # Of the quicker ones: what other processes take from a busy machine is not in these.
    report(
        f"{keys} keys: {in_list:.0f} B each in the list, {in_lines:.0f} B in lines; {sorted(costs)[3]} us per 100 jobs"
    )
    assert in_lines - in_list <= (200 if keys == 100 else 400)
    assert sorted(costs)[3] <= most_us
