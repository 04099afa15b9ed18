"""Random histories of targets with OrderBy on the real store: order, and what Redis holds of it, after each step.

The reference beside it knows for each key and queue which jobs wait, in which order they came, and who has one in hand.
Answers get lost, calls are sent twice, processes die and come back as zombies, recoveries stop half way, people skip,
retry, drop, delete and retry dead jobs.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from restbroker.job.order import Order
from restbroker.job.settlement import Ack, Dead, Drop, Requeue, Retry, Schedule, Settlement
from restbroker.store import heartbeats, order, pauses, queues
from restbroker.store.client import Client, open_client
from restbroker.store.codes import Applied
from restbroker.store.jobs import (
    Duplicate,
    FetchRequest,
    FetchResult,
    FinishRequest,
    fetch,
    finish,
    mark,
    read_jobs,
    register,
)
from restbroker.store.tickets import ticket_how, ticket_key
from tests.model.histories import run_histories
from tests.model.pair import Slow
from tests.store.pools import FACTS, NAMESPACE, QUEUES, Server

TEXT = Order(on_dead="stop").text
KEYS = st.sampled_from(["x", "x", "x", "y", ""])
FATES = st.sampled_from(
    [
        "ack",
        "ack",
        "ack",
        "soon",
        "late",
        "later",
        "go",
        "stop",
        "stop",
        "stop",
        "refused",
        "refused",
        "drop",
        "back",
    ]
)


@attrs.define
class Lane:
    """What one identity believes to have."""

    identity: str
    base: int = 0
    jobs: dict[str, bytes] = attrs.field(factory=dict)
    is_alive: bool = True


@attrs.define
class Key:
    """What is known of a key. `lines`: by queue the jobs that wait or are in hand, the oldest first."""

    lines: dict[str, list[str]] = attrs.field(factory=lambda: defaultdict(list))
    in_hand: tuple[str, str, str] | None = None
    """Queue, job and ticket."""
    owner: str = ""
    is_stopped: bool = False
    died: str = ""
    doomed: set[str] = attrs.field(factory=set)


def job(key: str, name: str) -> bytes:
    found = {"order_key": key} if key else {}
    return json.dumps({"class": "A", "jid": name, "args": ["c", {}, "t"], **found}).encode()


def name_of(raw: bytes) -> str:
    return str(json.loads(raw)["jid"])


class OrderHistories(RuleBasedStateMachine):
    """One server, some identities of one target."""

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.raw = self.server.raw
        self.raw.flushall()
        self.client: Client = open_client(self.server.settings)
        self.lanes: list[Lane] = []
        self.keys: dict[str, Key] = defaultdict(Key)
        self.ordinary: Counter[str] = Counter()
        self.dead: dict[str, str] = {}
        self.serial = 0
        self.again: Callable[[], object] | None = None

    def teardown(self) -> None:
        self.client.close()

    @initialize()
    def begin(self) -> None:
        self.a_lane_starts()
        self.jobs_are_pushed("a", ["x", "x", "y"])

    @precondition(lambda self: sum(lane.is_alive for lane in self.lanes) < 2)
    @rule()
    def a_lane_starts(self) -> None:
        lane = Lane(f"lane:{len(self.lanes)}:o:t")
        assert register(self.client, lane.identity, FACTS, QUEUES, fairness=TEXT)
        self.lanes.append(lane)

    @rule(queue=st.sampled_from(QUEUES), keys=st.lists(KEYS, min_size=1, max_size=5))
    def jobs_are_pushed(self, queue: str, keys: list[str]) -> None:
        for key in keys:
            self.serial += 1
            self.push(queue, key, f"j{self.serial}")

    def push(self, queue: str, key: str, name: str) -> None:
        queues.push(self.client, queue, [job(key, name)])
        if key:
            self.keys[key].lines[queue].append(name)
        else:
            self.ordinary[name] += 1
        self.again = None

    @rule(data=st.data(), want=st.integers(1, 5), hwm=st.integers(0, 9), lost=st.booleans())
    def a_lane_fetches(self, data: st.DataObject, want: int, hwm: int, lost: bool) -> None:
        self.a_lane_fetches_as(data.draw(st.sampled_from(self.lanes[-3:])), want, hwm, lost=lost)

    def a_lane_fetches_as(self, lane: Lane, want: int, hwm: int, *, lost: bool) -> None:
        request = FetchRequest(lane.identity, "t", QUEUES, lane.base, want, hwm, fairness=TEXT)
        answer = fetch(self.client, request)
        if isinstance(answer, Duplicate):
            found = read_jobs(self.client, lane.identity)
            lane.base, lane.jobs = max(lane.base, found.last), dict(found.jobs)
        elif isinstance(answer, FetchResult):
            assert lane.is_alive
            for one in answer.jobs:
                self.is_handed_out(lane, one.queue, one.ticket, one.raw)
            if not lost:
                lane.base += len(answer.jobs)
                lane.jobs |= {one.ticket: one.raw for one in answer.jobs}
        self.again = lambda: fetch(self.client, request) if isinstance(answer, FetchResult) and answer.jobs else None

    def is_handed_out(self, lane: Lane, queue: str, ticket: str, raw: bytes) -> None:
        name, key = name_of(raw), ticket_key(ticket)
        assert key == str(json.loads(raw).get("order_key", ""))
        assert queue not in self.paused
        if not key:
            return
        known = self.keys[key]
        assert known.in_hand is None, "two jobs of one key are in hand"
        line = known.lines[queue]
        if known.is_stopped:
            assert name == known.died, "a stopped key goes on"
            # It overtakes what waits.
            line.remove(name)
            line.insert(0, name)
        else:
            assert line[0] == name, "a job overtakes another of its key"
        assert (ticket_how(ticket) == "!") == (name in known.doomed)
        known.in_hand, known.owner = (queue, name, ticket), lane.identity

    @rule(data=st.data(), fates=st.lists(FATES, min_size=1, max_size=4), lost=st.booleans())
    def a_lane_settles(self, data: st.DataObject, fates: list[str], lost: bool) -> None:
        self.a_lane_settles_as(data.draw(st.sampled_from(self.lanes[-3:])), data, fates, lost=lost)

    def a_lane_settles_as(self, lane: Lane, data: st.DataObject, fates: list[str], *, lost: bool) -> None:
        tickets = data.draw(st.permutations(sorted(lane.jobs)))[: len(fates)]
        settled = [(one, self.settlement(fate, lane.jobs[one])) for one, fate in zip(tickets, fates, strict=False)]
        in_redis = read_jobs(self.client, lane.identity).jobs
        request = FinishRequest(lane.identity, "t", QUEUES, 9, settled, fairness=TEXT)
        codes = finish(self.client, request, 1.0)
        for (ticket, settlement), code in sorted(
            zip(settled, codes, strict=True), key=lambda pair: isinstance(pair[0][1], Requeue)
        ):
            assert isinstance(code, Applied) == (ticket in in_redis)
            if isinstance(code, Applied):
                self.is_settled(lane, ticket, in_redis[ticket], settlement)
        if not lost:
            lane.jobs = {one: raw for one, raw in lane.jobs.items() if one not in tickets}
        self.again = lambda: finish(self.client, request, 1.0)

    @rule(data=st.data(), fates=st.lists(FATES, min_size=1, max_size=3))
    def a_lane_works(self, data: st.DataObject, fates: list[str]) -> None:
        lane = next((lane for lane in reversed(self.lanes) if lane.is_alive), None)
        if lane is not None:
            self.a_lane_fetches_as(lane, 3, 9, lost=False)
            self.a_lane_settles_as(lane, data, fates, lost=False)

    def settlement(self, fate: str, raw: bytes) -> Settlement:
        self.serial += 1
        changed = json.dumps({**json.loads(raw), "note": self.serial}).encode()
        match fate:
            case "soon" | "late":
                return Retry(-1.0 if fate == "soon" else 4e9, changed)
            case "later":
                return Schedule(4e9, changed)
            case "go":
                return Dead(1.0, changed)
            case "stop" | "refused":
                return Dead(1.0, changed, effect=fate)
            case "drop":
                return Drop()
            case "back" | "changed":
                return Requeue(changed if fate == "changed" else b"")
            case _:
                return Ack()

    def is_settled(self, lane: Lane, ticket: str, raw: bytes, settlement: Settlement) -> None:
        name, key = name_of(raw), ticket_key(ticket)
        if isinstance(settlement, Dead):
            self.dead[name] = key
        stays = isinstance(settlement, Requeue | Retry | Schedule)
        if not key:
            # What is retried or deferred without a key goes to a set.
            self.ordinary[name] -= not isinstance(settlement, Requeue)
            return
        known = self.keys[key]
        if known.in_hand is None or known.in_hand[2] != ticket or known.owner != lane.identity:
            raise AssertionError("a job is settled that no one has in hand")
        queue = known.in_hand[0]
        known.in_hand, known.owner = None, ""
        if stays:
            known.is_stopped = False
            return
        known.lines[queue].remove(name)
        known.doomed.discard(name)
        effect = settlement.effect if isinstance(settlement, Dead) else ""
        if effect == "stop" or (effect == "refused" and known.died):
            known.is_stopped, known.died = True, name if effect == "stop" else known.died
            return
        known.is_stopped, known.died = False, ""

    def moved(self, key: str) -> set[str]:
        """Which jobs of a key wait in lines."""
        end = f":{key}".encode()
        found = [self.raw.hgetall(f"{NAMESPACE}:restbroker:fair:wait:{queue}") for queue in QUEUES]
        return {name_of(raw) for fields in found for field, raw in fields.items() if field.endswith(end)}

    @precondition(lambda self: self.again is not None)
    @rule()
    def the_last_call_is_sent_again(self) -> None:
        assert self.again is not None
        answer = self.again()
        assert not isinstance(answer, FetchResult)
        if isinstance(answer, list):
            assert not any(isinstance(code, Applied) for code in answer)

    @precondition(lambda self: any(lane.is_alive for lane in self.lanes))
    @rule(data=st.data(), marks=st.booleans(), calls=st.integers(0, 1))
    def a_lane_dies(self, data: st.DataObject, marks: bool, calls: int) -> None:
        lane = data.draw(st.sampled_from([lane for lane in self.lanes if lane.is_alive]))
        if marks and lane.jobs:
            mark(self.client, lane.identity, sorted(lane.jobs)[:1])
        marked = set(map(bytes.decode, self.raw.hkeys(f"{NAMESPACE}:restbroker:sent:{lane.identity}")))
        jobs = read_jobs(self.client, lane.identity).jobs
        assert heartbeats.fence(self.client, lane.identity, 0)
        lane.is_alive = False

        def make_dead(fallen: object) -> Dead:
            return Dead(0.0, fallen.raw)  # type: ignore[attr-defined]

        # Another reaper does it first, or half of it.
        slow = Slow(self.client, calls, lambda: heartbeats.recover(self.client, lane.identity, make_dead))
        heartbeats.recover(slow, lane.identity, make_dead)  # type: ignore[arg-type]
        heartbeats.recover(self.client, lane.identity, make_dead)
        for ticket, raw in jobs.items():
            ended: Settlement = Dead(0.0, raw, effect="stop") if ticket in marked else Requeue()
            self.is_settled(lane, ticket, raw, ended)
        self.again = None

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), what=st.sampled_from(["skip", "retry", "drop"]))
    def a_person_steers(self, data: st.DataObject, what: order.KeyAction) -> None:
        key = data.draw(st.sampled_from(sorted(self.keys)))
        held = order.read_key(self.client, "t", key.encode())
        if held is None:
            return
        waiting, known = self.moved(key), self.keys[key]
        (done,) = order.steer(self.client, "t", QUEUES, what, [held])
        assert done or what == "drop" or held.state != {"skip": "stopped", "retry": "due"}[what]
        if what == "drop" and done:
            # What is in hand dies too if it has to be tried again.
            known.doomed |= waiting | ({known.in_hand[1]} if known.in_hand else set())
            known.died = ""
        if done and held.state == "stopped":
            known.is_stopped, known.died = False, ""
        self.again = None

    @precondition(lambda self: self.dead)
    @rule(data=st.data(), queue=st.sampled_from(QUEUES))
    def a_person_retries_a_dead_job(self, data: st.DataObject, queue: str) -> None:
        stopped = {name for name, key in self.dead.items() if self.keys[key].died == name}
        name = data.draw(st.sampled_from(sorted(stopped or self.dead)))
        place = f"{NAMESPACE}:dead"
        self.raw.zrem(place, "", *(raw for raw in self.raw.zrange(place, 0, -1) if name_of(raw) == name))
        self.push(queue, self.dead.pop(name), name)

    @rule(queue=st.sampled_from(QUEUES), pauses_it=st.booleans())
    def a_queue_is_paused(self, queue: str, pauses_it: bool) -> None:
        if pauses_it:
            pauses.pause_queue(self.client, queue, "ann", "", None)
        else:
            pauses.resume_queue(self.client, queue)
        self.again = None

    @property
    def paused(self) -> set[str]:
        return {name.decode() for name in self.raw.smembers(f"{NAMESPACE}:paused")}

    @invariant()
    def redis_has_what_the_reference_has(self) -> None:  # noqa: C901 - a sentence for each invariant
        names = [f"{NAMESPACE}:restbroker:order:hold:t"]
        records = {key.decode(): record for key, record in self.raw.hgetall(names[0]).items()}
        in_hand: dict[str, list[tuple[str, str]]] = defaultdict(list)
        found: Counter[str] = Counter()
        for lane in self.lanes:
            for field, raw in self.raw.hgetall(f"{NAMESPACE}:restbroker:ip:{lane.identity}").items():
                if field not in (b"last", b"hwm"):
                    found[name_of(raw)] += 1
                    if key := ticket_key(field.decode()):
                        in_hand[key].append((lane.identity, field.decode()))
        places: dict[str, list[str]] = defaultdict(list)
        waiting: Counter[str] = Counter()
        for queue in QUEUES:
            found.update(map(name_of, self.raw.lrange(f"{NAMESPACE}:queue:{queue}", 0, -1)))
            wait = self.raw.hgetall(f"{NAMESPACE}:restbroker:fair:wait:{queue}")
            found.update(map(name_of, wait.values()))
            ranges = self.raw.hgetall(f"{NAMESPACE}:restbroker:fair:keys:{queue}")
            for field in wait:
                number, _, key = field.partition(b":")
                waiting[key.decode()] += 1
                first, after = map(int, ranges[key].split())
                assert first <= int(number) < after
            for state, name in (("r", f"fair:turn:{queue}"), ("d", f"order:due:{queue}")):
                for key in self.raw.zrange(f"{NAMESPACE}:restbroker:{name}", 0, -1):
                    places[key.decode()].append(state)
        # No job is lost, and none is in two places.
        expected = Counter(name for known in self.keys.values() for line in known.lines.values() for name in line)
        assert found == expected + self.ordinary
        for key in {*records, *places, *in_hand, *waiting}:
            state = records[key][:1].decode()
            # O2: at most one in hand, and the record names it.
            assert len(in_hand[key]) == (state == "h")
            if state == "h":
                ((identity, ticket),) = in_hand[key]
                assert records[key].split(b" ")[3:] == [
                    ticket.split(":")[0].encode(),
                    records[key].split(b" ")[4],
                    identity.encode(),
                ]
            # O4: ready or due exactly in these states, and once.
            assert places[key] == ([state] if state in "rd" else [])
            # O5: what has no waiting job is in hand or stopped.
            assert state in "hs" or waiting[key]
            assert (state == "s") == (self.keys[key].is_stopped and self.keys[key].in_hand is None)


@pytest.mark.slow  # many histories
@pytest.mark.promise("One key after the other", "any order of calls, crashes and people's hands")
def test_histories(server: Server) -> None:
    run_histories(OrderHistories, server, histories=25, steps=40)
