"""Random histories: whatever is lost, repeated or interleaved, a job is in exactly one place.

The model knows what was pushed and what became of it. Replies get lost, lanes come back as zombies, reapers act on old
views, Ruby moves retries by its own means. Payloads repeat on purpose.
"""

from collections import Counter
from typing import Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from restbroker.rules.settlement import Ack, Back, Dead, Drop, Reply, Retry, Schedule, Settlement
from restbroker.store import beats, queues, sets
from restbroker.store.client import open_client
from restbroker.store.jobs import (
    Applied,
    Duplicate,
    Fenced,
    Fetched,
    FetchRequest,
    FinishRequest,
    Gone,
    Held,
    Limited,
    Limits,
    fetch,
    finish,
    held,
    register,
)
from tests.store.lanes import FACTS, QUEUES, Server, as_parked

FATES = st.sampled_from(["ack", "retry", "dead", "schedule", "drop", "back"])
PAYLOADS = st.lists(st.sampled_from([b"same", b"other", b"third"]), min_size=1, max_size=6)


class Memory:
    """What one lane believes: its highest ticket number, the jobs in its hands, what it settled last."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.base = 0
        self.jobs: dict[str, bytes] = {}
        self.settled: list[tuple[str, Settlement]] = []


class Conservation(RuleBasedStateMachine):
    """One server, several lanes. `ended` counts the payloads that were acknowledged or dropped."""

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.server.raw.flushall()
        self.client = open_client(self.server.settings)
        self.pushed: Counter[bytes] = Counter()
        self.ended: Counter[bytes] = Counter()
        self.replies = 0
        self.serial = 0
        self.lanes: list[Memory] = []
        self.old_views: list[tuple[str, Held]] = []
        self.limits = Limits()

    def teardown(self) -> None:
        self.client.close()

    @initialize(in_flight=st.sampled_from([0, 1, 4]))
    def the_first_lane_starts(self, in_flight: int) -> None:
        self.limits = Limits(in_flight=in_flight)
        self.a_lane_starts()
        self.jobs_are_pushed("a", [b"same", b"same", b"other"])

    @precondition(lambda self: len(beats.live(self.client)) < 2)
    @rule()
    def a_lane_starts(self) -> None:
        lane = Memory(f"lane:{len(self.lanes)}:t")
        assert register(self.client, lane.identity, FACTS, QUEUES)
        self.lanes.append(lane)

    @rule(queue=st.sampled_from(QUEUES), payloads=PAYLOADS)
    def jobs_are_pushed(self, queue: str, payloads: list[bytes]) -> None:
        queues.push(self.client, queue, payloads)
        self.pushed.update(payloads)

    @rule(
        data=st.data(), names=st.permutations(QUEUES), want=st.integers(1, 5), hwm=st.integers(0, 9), lost=st.booleans()
    )
    def a_lane_fetches(self, data: st.DataObject, names: list[str], want: int, hwm: int, lost: bool) -> None:
        lane = data.draw(st.sampled_from(self.lanes[-3:]))
        answer = fetch(self.client, FetchRequest(lane.identity, "t", tuple(names), lane.base, want, hwm, self.limits))
        match answer:
            case Fetched(jobs=jobs) if not lost:
                new = {job.ticket: job.raw for job in jobs}
                assert len(new) == len(jobs)
                assert new.keys().isdisjoint(lane.jobs)
                lane.base, lane.jobs = lane.base + len(jobs), lane.jobs | new
            case Duplicate(last):
                found = held(self.client, lane.identity)
                assert found.last == last
                lane.base, lane.jobs = last, dict(found.jobs)
            case Limited():
                assert sum(self.in_hand().values()) == self.limits.in_flight > 0
            case Fenced():
                assert lane.identity not in beats.live(self.client)

    @rule(data=st.data(), fates=st.lists(FATES, min_size=1, max_size=5), hwm=st.integers(0, 9), lost=st.booleans())
    def a_lane_settles(self, data: st.DataObject, fates: list[str], hwm: int, lost: bool) -> None:
        lane = data.draw(st.sampled_from(self.lanes[-3:]))
        tickets = data.draw(st.permutations(sorted(lane.jobs)))[: len(fates)]
        lane.settled = [(t, self.settlement(fate, lane.jobs[t])) for t, fate in zip(tickets, fates, strict=False)]
        codes = finish(self.client, FinishRequest(lane.identity, "t", QUEUES, hwm, lane.settled), 1.0)
        assert set(codes) <= {Applied(), Gone()}
        for (ticket, settlement), code in zip(lane.settled, codes, strict=True):
            if code == Applied() and isinstance(settlement, Ack | Drop):
                self.ended[lane.jobs[ticket]] += 1
                self.replies += len(settlement.replies)
        if not lost:
            lane.jobs = {ticket: job for ticket, job in lane.jobs.items() if ticket not in tickets}

    @rule(data=st.data())
    def a_lane_sends_its_last_settlements_again(self, data: st.DataObject) -> None:
        lane = data.draw(st.sampled_from(self.lanes[-3:]))
        codes = finish(self.client, FinishRequest(lane.identity, "t", QUEUES, 0, lane.settled), 1.0)
        assert set(codes) <= {Gone()}

    @rule(data=st.data(), counter=st.integers(0, 9))
    def a_lane_beats(self, data: st.DataObject, counter: int) -> None:
        lane = data.draw(st.sampled_from(self.lanes[-3:]))
        alive = lane.identity in beats.live(self.client)
        assert beats.beat(self.client, [(lane.identity, counter)], {}) == [alive]

    @rule(data=st.data(), seen=st.integers(0, 9))
    def a_reaper_fences(self, data: st.DataObject, seen: int) -> None:
        lane = data.draw(st.sampled_from(self.lanes[-3:]))
        living = beats.live(self.client)
        if beats.fence(self.client, lane.identity, seen):
            assert living.get(lane.identity, seen) == seen
        self.old_views.append((lane.identity, held(self.client, lane.identity)))

    @precondition(lambda self: self.old_views)
    @rule(data=st.data())
    def a_slow_reaper_goes_on_with_an_old_view(self, data: st.DataObject) -> None:
        identity, seen = data.draw(st.sampled_from(self.old_views))
        some = data.draw(st.permutations(sorted(seen.jobs)))[:2]
        beats._recover(self.client, identity, QUEUES, some, seen, {}, "t")

    @rule()
    def a_reaper_recovers(self) -> None:
        for identity in beats.dying(self.client):
            assert beats.recover(self.client, identity, as_parked).retired

    @rule(name=st.sampled_from(["retry", "schedule"]), limit=st.integers(1, 5), wrap=st.booleans())
    def the_scheduler_promotes(self, name: Literal["retry", "schedule"], limit: int, wrap: bool) -> None:
        due = sets.due(self.client, name, limit).members
        moves = [sets.Move(m, None, m + b"!", 5.0) if wrap else sets.Move(m, "a", payload(m)) for m, _ in due]
        assert set(sets.promote(self.client, name, moves)) <= {Applied()}
        assert set(sets.promote(self.client, name, moves)) <= {Gone()}

    @rule()
    def ruby_moves_a_retry(self) -> None:
        for member in self.server.raw.zrange("ns:retry", 0, 0):
            if self.server.raw.zrem("ns:retry", member):
                self.server.raw.lpush("ns:queue:b", payload(member))

    @invariant()
    def every_job_is_in_exactly_one_place(self) -> None:
        raw = self.server.raw
        found: Counter[bytes] = Counter()
        for queue in QUEUES:
            found.update(raw.lrange(f"ns:queue:{queue}", 0, -1))
        for lane in self.lanes:
            found.update(held(self.client, lane.identity).jobs.values())
        for name in ("retry", "schedule", "dead"):
            found.update(payload(member) for member in raw.zrange(f"ns:{name}", 0, -1))
        assert found + self.ended == self.pushed
        assert raw.llen("ns:queue:out") == self.replies

    @invariant()
    def an_identity_is_alive_or_dying_and_the_dead_hold_nothing(self) -> None:
        living, dying = beats.live(self.client).keys(), beats.dying(self.client).keys()
        assert living.isdisjoint(dying)
        for lane in self.lanes:
            if lane.identity not in living | dying:
                assert not self.server.raw.exists(f"ns:restbroker:ip:{lane.identity}")

    @invariant()
    def no_more_is_in_hand_than_all_lanes_together_may_have(self) -> None:
        in_hand = self.in_hand()
        shares = {
            name.decode(): int(count) for name, count in self.server.raw.hgetall("ns:restbroker:inflight:t").items()
        }
        if self.limits.in_flight:
            assert sum(in_hand.values()) <= self.limits.in_flight
            assert {name: count for name, count in shares.items() if count} == {n: c for n, c in in_hand.items() if c}
        assert shares.keys() <= beats.live(self.client).keys() | beats.dying(self.client).keys()

    def in_hand(self) -> dict[str, int]:
        """What each lane really holds."""
        return {lane.identity: len(held(self.client, lane.identity).jobs) for lane in self.lanes}

    def settlement(self, fate: str, job: bytes) -> Settlement:
        """Each entry of a sorted set is made unique, as the worker does with failed_at."""
        self.serial += 1
        entry = job + b"|%d" % self.serial
        cases: dict[str, Settlement] = {
            "ack": Ack((Reply(b"r", queue="out"),)),
            "retry": Retry(1.0, entry),
            "dead": Dead(1.0, entry),
            "schedule": Schedule(1.0, entry),
            "drop": Drop(),
            "back": Back(),
        }
        return cases[fate]


def payload(entry: bytes) -> bytes:
    """The job that a sorted set's entry was made of."""
    return entry.partition(b"|")[0]


def test_in_every_history_each_job_is_in_exactly_one_place(server: Server) -> None:
    machine = type("Machine", (Conservation,), {"server": server})
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_machine(
        machine, settings=settings(max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=checks)
    )
