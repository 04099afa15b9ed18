"""Random histories on the real store and on a reference of it: the same answers, the same data, no job lost.

Answers get lost, scripts are sent twice, pools come back as zombies, reapers act on old views and get stuck half way,
Ruby moves retries by its own means, keys have wrong types, and a replica without the last writes takes over under
clients that go on. Payloads repeat on purpose, and some are too large.
"""

import copy
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.format import ResponseQueue
from restbroker.job.settlement import (
    Ack,
    Dead,
    Drop,
    Fingerprint,
    OrphanedJob,
    Reply,
    Requeue,
    Retry,
    Schedule,
    Settlement,
)
from restbroker.store import heartbeats, limits, pauses, queues, sets
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Gone
from restbroker.store.history import Records
from restbroker.store.in_progress import read_jobs
from restbroker.store.jobs import (
    FetchRequest,
    FetchResult,
    IdentityUnknown,
    Limits,
    UnknownTickets,
    mark,
    register,
    retire,
)
from restbroker.store.keys import SortedSet
from restbroker.store.settling import FinishRequest
from restbroker.store.tickets import ticket_number
from tests.model.histories import run_histories
from tests.model.pair import Pair, Slow, Snapshot
from tests.model.reference import Reference
from tests.store.pools import FACTS, NAMESPACE, QUEUES, Server, as_dead
from tests.support.store_calls import fetch, finish, finish_alone, finish_and_fetch, stand

LIMIT_BYTES, MOST_BYTES = 16, 40
JOB, CRASHED = b'{"a":1}', b'{"restbroker_crashes":'
"""The one payload that is a job, and what it begins with once it was in progress in a crash."""
STORED, LARGE, NO_TEXT = b'"restbroker_": stored', "too large/größer".encode(), b"too large, \xff\xfe no text"
PAYLOADS = st.lists(
    st.sampled_from([b"same", b"other", JOB, JOB, b"same", b"other", STORED, LARGE, NO_TEXT]),
    min_size=1,
    max_size=6,
)
FATES = st.lists(st.just("done"), min_size=1, max_size=6) | st.lists(
    st.sampled_from(
        [
            "done",
            "done",
            "ack",
            "ack",
            "answered",
            "signed",
            "retry",
            "retry",
            "clash",
            "dead",
            "schedule",
            "later",
            "drop",
            "back",
            "begun",
        ]
    ),
    min_size=1,
    max_size=6,
)
REPLIES = ("restbroker:reply:r", "retry")
SETS: tuple[SortedSet, ...] = ("retry", "schedule", "dead")
SPOILABLE = [
    "queue:a",
    "queue:b",
    "queue:out",
    "restbroker:reply:r",
    "retry",
    "schedule",
    "dead",
    "queues",
    "restbroker:done:t:first:a",
]
CRASHED_AT_S = 5.0
LONG_AGO_S, SOME_DAY_S = -1e30, 1e30
"""A time so far off that a delay leads to that very score."""
PEOPLE = st.sampled_from(["ann", "bob"])
WORDS = st.sampled_from(["", "it moves"])
LENGTHS_S = st.sampled_from([None, 1e6, 0.0, 0.0])


class Memory:
    """What one pool believes: its highest ticket number, its jobs in progress, every ticket that it knows."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.base = 0
        self.jobs: dict[str, bytes] = {}
        self.known: set[str] = set()
        self.has_marked = False


@attrs.define
class Ledger:
    """What was pushed, and what was acknowledged or dropped; it goes back with the data in a failover."""

    pushed: Counter[bytes] = attrs.field(factory=Counter)
    ended: Counter[bytes] = attrs.field(factory=Counter)


def _lose() -> None:
    raise StoreUnavailable("The connection was cut.")


class Histories(RuleBasedStateMachine):
    """One server, several pools."""

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(self.server, reference=Reference(crash_clock=lambda: CRASHED_AT_S))
        self.ledger = Ledger()
        self.limits = Limits()
        self.keeps = False
        self.serial = 0
        self.pools: list[Memory] = []
        self.stages: dict[str, int] = {}
        self.replica: tuple[Snapshot, Ledger] | None = None

    def teardown(self) -> None:
        self.pair.client.close()

    @initialize(
        in_flight=st.sampled_from([0, 0, 1, 4]),
        dead=st.sampled_from([0, 0, 3]),
        keeps=st.booleans(),
    )
    def the_first_pool_starts(self, in_flight: int, dead: int, keeps: bool) -> None:
        self.limits, self.keeps = Limits(in_flight=in_flight, dead=dead), keeps
        self.a_pool_starts()
        self.jobs_are_pushed("a", [b"same", JOB, JOB, b"other"])

    @precondition(lambda self: len(self.pair.data.alive) < 2)
    @rule()
    def a_pool_starts(self) -> None:
        pool = Memory(f"pool:{len(self.pools)}:t")
        assert self.pair.ask(register, pool.identity, FACTS, QUEUES, ResponseQueue("out", "Add"))
        self.pools.append(pool)

    @rule(queue=st.sampled_from(QUEUES), payloads=PAYLOADS)
    def jobs_are_pushed(self, queue: str, payloads: list[bytes]) -> None:
        if self.pair.data.broken & {f"queue:{queue}", "queues"}:
            return
        queues.push(self.pair.client, queue, payloads)
        self.pair.data.names.add(queue)
        self.pair.data.lists[f"queue:{queue}"][:0] = reversed(payloads)
        self.ledger.pushed.update(payloads)
        self.pair.again = None

    @precondition(lambda self: any(self.pair.data.lists[f"queue:{queue}"] for queue in QUEUES))
    @rule(queue=st.sampled_from(QUEUES))
    def a_process_dies_between_its_wait_and_the_fetch_behind(self, queue: str) -> None:
        if f"queue:{queue}" not in self.pair.data.broken and self.pair.data.lists[f"queue:{queue}"]:
            self.pair.data.wake(queue)
            places = f"{NAMESPACE}:queue:{queue}", f"{NAMESPACE}:restbroker:hand:{queue}"
            self.server.raw.blmove(*places, 1, "RIGHT", "LEFT")
            self.pair.again = None

    @rule()
    def a_reaper_empties_the_hands(self) -> None:
        self.pair.ask(queues.empty_hands, QUEUES)

    @rule(
        data=st.data(),
        names=st.permutations([*QUEUES, "c"]),
        want=st.integers(0, 5),
        hwm=st.integers(0, 9),
        lost=st.booleans(),
    )
    def a_pool_fetches(self, data: st.DataObject, names: list[str], want: int, hwm: int, lost: bool) -> None:
        self.a_pool_fetches_as(data.draw(st.sampled_from(self.pools[-3:])), names, want, hwm, lost=lost)

    def a_pool_fetches_as(self, pool: Memory, names: list[str], want: int, hwm: int, *, lost: bool) -> None:
        answer = self.pair.ask(fetch, self.wanted(pool, tuple(names), want, hwm))
        self.a_pool_is_answered(pool, answer, lost=lost)

    @precondition(lambda self: not self.limits.in_flight)
    @rule(
        data=st.data(),
        names=st.sampled_from([QUEUES, QUEUES[::-1], QUEUES[:1], (*QUEUES, "c")]),
        want=st.integers(1, 9),
        ahead=st.integers(0, 9),
        limit_bytes=st.sampled_from([LIMIT_BYTES, MOST_BYTES, 1000]),
        lost=st.booleans(),
    )
    def a_pool_has_a_fetch_stand(
        self, data: st.DataObject, names: tuple[str, ...], want: int, ahead: int, limit_bytes: int, lost: bool
    ) -> None:
        pool = data.draw(st.sampled_from(self.pools[-3:]))
        request = self.wanted(pool, names, want, pool.base + ahead)
        wider = attrs.evolve(request, follows=True, most_bytes=limit_bytes, limit_bytes=limit_bytes)
        answer = self.pair.ask(stand, wider)
        # Nobody sends it twice: it would take more.
        self.pair.again = None
        if isinstance(answer, FetchResult) and answer.base > pool.base:
            # What others took stands before it, or is lost.
            self.a_pool_reconciles(pool)
        else:
            self.a_pool_is_answered(pool, answer, lost=lost)

    def wanted(self, pool: Memory, names: tuple[str, ...], want: int, hwm: int) -> FetchRequest:
        return FetchRequest(
            identity=pool.identity,
            target="t",
            queues=names,
            base=pool.base,
            count=want,
            hwm=hwm,
            limits=self.limits,
            most_bytes=MOST_BYTES,
            limit_bytes=LIMIT_BYTES,
        )

    def a_pool_is_answered(self, pool: Memory, answer: object, *, lost: bool) -> None:
        match answer:
            case FetchResult(jobs=jobs) if not lost:
                new = {job.ticket: job.raw for job in jobs}
                assert pool.known.isdisjoint(new), "a ticket was issued twice"
                pool.base, pool.jobs, pool.known = pool.base + len(jobs), pool.jobs | new, pool.known | new.keys()
            case UnknownTickets(last):
                self.a_pool_reconciles(pool)
                assert pool.base == last
            case IdentityUnknown():
                assert pool.identity not in self.pair.data.alive

    @precondition(lambda self: self.pair.data.alive)
    @rule(
        data=st.data(),
        payloads=PAYLOADS,
        fates=FATES,
        marks=st.booleans(),
        spoilt=st.none() | st.sampled_from(SPOILABLE),
    )
    def a_pool_works(
        self, data: st.DataObject, payloads: list[bytes], fates: list[str], marks: bool, spoilt: str | None
    ) -> None:
        pool = next(pool for pool in reversed(self.pools) if pool.identity in self.pair.data.alive)
        self.jobs_are_pushed("a", payloads)
        self.a_pool_fetches_as(pool, [*QUEUES, "c"], len(fates), 9, lost=False)
        if marks:
            pool.has_marked = True
            self.pair.ask(mark, pool.identity, sorted(pool.jobs)[:2])
        with self.spoilt(spoilt):
            self.a_pool_settles_as(pool, data, fates, 9, lost=False)
            self.the_last_call_is_sent_again()

    @contextmanager
    def spoilt(self, key: str | None) -> Iterator[None]:
        """The block runs while this key has a wrong type."""
        if key is None or key in self.pair.data.broken:
            yield
            return
        self.pair.spoil(key)
        yield
        self.pair.mend(key)
        self.pair.again = None

    @rule(data=st.data())
    def a_pool_looks_what_is_its_own(self, data: st.DataObject) -> None:
        self.a_pool_reconciles(data.draw(st.sampled_from(self.pools[-3:])))

    def a_pool_reconciles(self, pool: Memory) -> None:
        found = self.pair.ask(read_jobs, pool.identity, LIMIT_BYTES)
        pool.base, pool.known = max(pool.base, found.last), pool.known | found.tickets
        pool.jobs = {**found.jobs, **dict.fromkeys(found.large, b"")}

    @rule(
        data=st.data(),
        fates=FATES,
        hwm=st.integers(0, 9),
        wants=st.none() | st.integers(0, 5),
        lost=st.booleans(),
    )
    def a_pool_settles(self, data: st.DataObject, fates: list[str], hwm: int, wants: int | None, lost: bool) -> None:
        self.a_pool_settles_as(data.draw(st.sampled_from(self.pools[-3:])), data, fates, hwm, lost=lost, wants=wants)

    def a_pool_settles_as(
        self, pool: Memory, data: st.DataObject, fates: list[str], hwm: int, *, lost: bool, wants: int | None = None
    ) -> None:
        """`wants`: it asks for so many in the same round trip."""
        tickets = data.draw(st.permutations(sorted(pool.jobs)))[: len(fates)]
        in_redis = dict(self.pair.data.held[pool.identity].jobs)
        settled = [(t, self.settlement(fate, pool.jobs[t])) for t, fate in zip(tickets, fates, strict=False)]
        records = self.records(settled)
        may_be_marked = pool.has_marked or self.limits.in_flight > 0
        request = FinishRequest(pool.identity, "t", QUEUES, hwm, settled, records, may_be_marked=may_be_marked)
        answer: object = None
        if wants is None:
            codes = self.pair.ask(finish, request, 1.0)
        else:
            wanted = self.wanted(pool, QUEUES, wants, hwm)
            found, answer = self.pair.ask(finish_and_fetch, request, 1.0, wanted)
            assert not isinstance(found, StoreRefused)
            codes = found
        for (ticket, settlement), code in zip(settled, codes, strict=True):
            if code == Applied() and isinstance(settlement, Ack | Drop):
                self.ledger.ended[in_redis[ticket]] += 1
        if not lost:
            done = [ticket for ticket, code in zip(tickets, codes, strict=False) if code == Applied()]
            pool.jobs = {ticket: job for ticket, job in pool.jobs.items() if ticket not in done}
        self.a_pool_is_answered(pool, answer, lost=lost)

    @precondition(lambda self: not self.limits.in_flight)
    @rule(data=st.data(), lost=st.booleans())
    def a_pool_settles_a_plain_job_without_a_script(self, data: st.DataObject, lost: bool) -> None:
        """`lost`: its answer; it is sent again as a script, which counts nothing."""
        pool = data.draw(st.sampled_from(self.pools[-3:]))
        held = self.pair.data.held[pool.identity].jobs
        tickets = sorted(pool.jobs.keys() & held.keys())
        if pool.has_marked or pool.identity not in self.pair.data.alive or not tickets:
            return
        ticket = data.draw(st.sampled_from(tickets))
        self.ledger.ended[held[ticket]] += 1
        plain = FinishRequest(pool.identity, "t", QUEUES, 0, [(ticket, Ack())], may_be_marked=False, is_ours=True)
        assert self.pair.ask(finish_alone, plain, 1.0) == [Applied()]
        self.pair.again = None
        if lost:
            assert self.pair.ask(finish, plain, 1.0) == [Gone()]
        del pool.jobs[ticket]

    @rule(data=st.data())
    def a_pool_marks(self, data: st.DataObject) -> None:
        pool = data.draw(st.sampled_from(self.pools[-3:]))
        tickets = data.draw(st.permutations(sorted(pool.jobs)))[:3]
        if tickets:
            pool.has_marked = True
            self.pair.ask(mark, pool.identity, tickets)

    @rule(data=st.data(), counter=st.integers(0, 9))
    def a_pool_beats(self, data: st.DataObject, counter: int) -> None:
        pool = data.draw(st.sampled_from(self.pools[-3:]))
        self.pair.ask(heartbeats.write_heartbeats, [(pool.identity, counter)], {})

    @rule(data=st.data())
    def a_pool_takes_its_leave(self, data: st.DataObject) -> None:
        self.pair.ask(retire, data.draw(st.sampled_from(self.pools[-3:])).identity)

    @rule(data=st.data(), seen=st.integers(0, 9) | st.none())
    def a_reaper_fences(self, data: st.DataObject, seen: int | None) -> None:
        identity = data.draw(st.sampled_from(self.pools[-3:])).identity
        counter = self.pair.data.alive.get(identity, 0) if seen is None else seen
        self.pair.ask(heartbeats.fence, identity, counter)

    @rule(data=st.data(), calls=st.integers(1, 3))
    def a_reaper_stops_half_way(self, data: st.DataObject, calls: int) -> None:
        identity = data.draw(st.sampled_from(self.pools[-3:])).identity
        newest_first = sorted(self.pair.data.held[identity].jobs, key=ticket_number, reverse=True)
        if identity not in self.pair.data.fenced or len(newest_first) <= calls:
            return
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(heartbeats, "RECOVER_BATCH", 1)
            with pytest.raises(StoreUnavailable):
                heartbeats.recover(cast("Client", Slow(self.pair.client, calls, _lose)), identity, as_owed)
        for ticket in newest_first[:calls]:
            self.pair.reference.recover_some(identity, [ticket], as_owed)
        self.pair.again = None

    @rule(data=st.data())
    def two_reapers_recover_at_once(self, data: st.DataObject) -> None:
        identity = data.draw(st.sampled_from(self.pools[-3:])).identity
        if not self.pair.data.held[identity].jobs:
            return
        is_fenced = identity in self.pair.data.fenced
        slow = Slow(self.pair.client, 0, lambda: self.pair.ask(heartbeats.recover, identity, as_owed))
        late = heartbeats.recover(cast("Client", slow), identity, as_owed)
        assert slow.interrupted is is_fenced
        assert late.jobs == 0
        self.pair.again = None

    @rule()
    def a_reaper_recovers(self) -> None:
        for identity in list(self.pair.data.fenced):
            self.pair.ask(heartbeats.recover, identity, as_owed)

    @precondition(lambda self: self.pair.data.alive)
    @rule(data=st.data(), hwm=st.integers(0, 9), want=st.integers(1, 3), marked=st.integers(0, 2))
    def a_pool_dies_with_jobs_in_progress(self, data: st.DataObject, hwm: int, want: int, marked: int) -> None:
        identity = data.draw(st.sampled_from(sorted(self.pair.data.alive)))
        pool = next(pool for pool in self.pools if pool.identity == identity)
        self.pair.ask(fetch, self.wanted(pool, QUEUES, want, hwm))
        tickets = sorted(self.pair.ask(read_jobs, identity, LIMIT_BYTES).tickets)[:marked]
        if tickets:
            pool.has_marked = True
            self.pair.ask(mark, identity, tickets)
        assert self.pair.ask(heartbeats.fence, identity, self.pair.data.alive[identity])
        self.pair.ask(heartbeats.recover, identity, as_owed)

    @rule(reason=st.sampled_from(["operator", "denied"]), for_s=st.sampled_from([None, 1e6]), ends=st.booleans())
    def the_target_is_paused_perhaps_for_long(self, reason: limits.Reason, for_s: float | None, ends: bool) -> None:
        self.pair.ask(limits.pause, "t", reason, for_s)
        if ends:
            self.pair.ask(limits.resume, "t", reason)
        self.pair.again = None

    @rule()
    def the_target_is_resumed(self) -> None:
        self.pair.ask(limits.resume, "t", "operator")
        self.pair.ask(limits.resume, "t", "denied")

    @rule(queue=st.sampled_from(QUEUES), who=PEOPLE, why=WORDS, for_s=LENGTHS_S, ends=st.booleans())
    def a_person_pauses_a_queue_and_perhaps_resumes_it(
        self, queue: str, who: str, why: str, for_s: float | None, ends: bool
    ) -> None:
        self.pair.ask(pauses.pause_queue, queue, who, why, for_s)
        self.until_what_took_no_time_is_over(for_s)
        if ends:
            self.pair.ask(pauses.resume_queue, queue)
        self.pair.again = None

    @rule(who=PEOPLE, why=WORDS, for_s=LENGTHS_S, ends=st.booleans())
    def a_person_pauses_the_target_and_perhaps_resumes_it(
        self, who: str, why: str, for_s: float | None, ends: bool
    ) -> None:
        self.pair.ask(pauses.pause_target, "t", who, why, for_s)
        self.until_what_took_no_time_is_over(for_s)
        if ends:
            self.pair.ask(pauses.resume_target, "t")
        self.pair.again = None

    def until_what_took_no_time_is_over(self, for_s: float | None) -> None:
        """Redis keeps in milliseconds when a key expires."""
        over_us = self.server.now_us() + 3000
        while for_s == 0.0 and self.server.now_us() <= over_us:
            pass

    @rule()
    def a_broker_ends_the_pauses_whose_time_is_over(self) -> None:
        self.pair.ask(pauses.are_noted)
        self.pair.ask(pauses.end_due)

    @rule(queue=st.sampled_from(QUEUES), paused=st.sampled_from([False, False, True]))
    def an_operator_pauses_or_resumes_a_queue(self, queue: str, paused: bool) -> None:
        self.pair.data.paused_queues ^= self.pair.data.paused_queues & {queue}
        self.server.raw.srem(f"{NAMESPACE}:paused", queue)
        if paused:
            self.pair.data.paused_queues.add(queue)
            self.server.raw.sadd(f"{NAMESPACE}:paused", queue)
        self.pair.again = None

    @precondition(lambda self: self.filled_sets())
    @rule(
        data=st.data(),
        limit=st.integers(1, 5),
        after=st.builds(sets.Position, st.sampled_from([-math.inf, LONG_AGO_S]), st.sampled_from([0, 0, 0, 1])),
        wrap=st.booleans(),
        spoilt=st.none() | st.sampled_from(["queue:a", "dead", "queues", "retry"]),
    )
    def the_scheduler_promotes(
        self, data: st.DataObject, limit: int, after: sets.Position, wrap: bool, spoilt: str | None
    ) -> None:
        self.pair.ask(sets.with_due, 1e9)
        name = data.draw(st.sampled_from(self.filled_sets()))
        due = self.pair.ask(sets.due, name, limit, after).members
        moves = [
            sets.Placement(m, zset="dead", new=m + b"!", score=5.0)
            if wrap
            else sets.Placement(m, "a", new=m if m.startswith(CRASHED) and b"|" not in m else self.payload(m))
            for m, _ in due
        ]
        with self.spoilt(spoilt):
            self.pair.ask(sets.place, name, moves)

    def filled_sets(self) -> list[Literal["retry", "schedule"]]:
        """The sets that have something due and can be read."""
        names: tuple[Literal["retry", "schedule"], ...] = ("retry", "schedule")
        data = self.pair.data
        return [n for n in names if n not in data.broken and any(at_s < 1e9 for at_s in data.sets[n].values())]

    @rule(
        data=st.data(),
        zset=st.sampled_from(SETS),
        to=st.sampled_from(["a", "b", *SETS]),
        spoilt=st.none() | st.sampled_from(["queue:a", "dead", "queues", "retry"]),
    )
    def a_person_gives_jobs_of_a_set_another_place(
        self, data: st.DataObject, zset: SortedSet, to: str, spoilt: str | None
    ) -> None:
        found = sorted(self.pair.data.sets[zset])
        if not found or self.pair.data.broken:
            return
        named = data.draw(st.lists(st.sampled_from(found), min_size=1, max_size=3))
        goal = next((name for name in SETS if name == to), None)
        moves = [
            sets.Placement(m, zset=goal, score=LONG_AGO_S) if goal else sets.Placement(m, to, new=self.payload(m))
            for m in named
        ]
        with self.spoilt(spoilt):
            self.pair.ask(sets.place, zset, moves)

    @rule(queue=st.sampled_from(QUEUES), most=st.integers(1, 2))
    def a_person_clears_a_part_of_a_queue(self, queue: str, most: int) -> None:
        waiting = self.pair.data.lists[f"queue:{queue}"]
        if f"queue:{queue}" in self.pair.data.broken or not waiting:
            return
        before, last = Counter(waiting), waiting[0]
        assert queues.newest(self.pair.client, queue) == last
        self.pair.ask(queues.clear, queue, last, most)
        self.ledger.ended += before - Counter(waiting)
        self.pair.again = None

    @rule()
    def ruby_moves_a_retry(self) -> None:
        if self.pair.data.broken & {"retry", "queue:b"}:
            return
        for member in self.server.raw.zrange("ns:retry", 0, 0):
            assert self.server.raw.zrem("ns:retry", member)
            self.server.raw.lpush("ns:queue:b", self.payload(member))
            del self.pair.data.sets["retry"][member]
            self.pair.data.lists["queue:b"].insert(0, self.payload(member))
        self.pair.again = None

    @rule(key=st.sampled_from(SPOILABLE))
    def a_key_gets_a_wrong_type_or_its_own_again(self, key: str) -> None:
        (self.pair.mend if key in self.pair.data.broken else self.pair.spoil)(key)
        self.pair.again = None

    @rule()
    def a_replica_copies_everything(self) -> None:
        self.replica = (self.pair.snapshot(), copy.deepcopy(self.ledger))

    @precondition(lambda self: self.replica is not None)
    @rule()
    def the_replica_takes_over(self) -> None:
        assert self.replica is not None
        snapshot, ledger = self.replica
        self.pair.fail_over(snapshot)
        self.ledger = copy.deepcopy(ledger)
        self.stages, self.pair.again = {}, None

    @precondition(lambda self: self.pair.again is not None)
    @rule()
    def the_last_call_is_sent_again(self) -> None:
        assert self.pair.again is not None
        before = self.pair.stored(), self.pair.counted()
        self.pair.again()
        assert (self.pair.stored(), self.pair.counted()) == before, "sending it twice changed something"

    @invariant()
    def the_store_holds_what_the_reference_holds(self) -> None:
        assert self.pair.stored() == self.pair.expected()
        assert self.pair.counted() == (self.pair.data.processed, self.pair.data.failed)

    @invariant()
    def every_job_is_in_exactly_one_place(self) -> None:
        data, found = self.pair.data, Counter[bytes]()
        for queue in QUEUES:
            found.update(data.lists[f"queue:{queue}"] + data.hands[queue])
        for own in data.held.values():
            found.update(own.jobs.values())
        for members in data.sets.values():
            found.update(list(members))
        assert Counter(map(self.payload, (found + self.ledger.ended).elements())) == self.ledger.pushed

    @invariant()
    def an_identity_goes_from_alive_to_dying_to_gone_and_never_back(self) -> None:
        data = self.pair.data
        for pool in self.pools:
            stage = 0 if pool.identity in data.alive else 1 if pool.identity in data.fenced else 2
            assert (pool.identity in data.alive) + (pool.identity in data.fenced) <= 1
            assert stage >= self.stages.get(pool.identity, 0)
            assert stage < 2 or not data.held[pool.identity].jobs
            self.stages[pool.identity] = stage

    @invariant()
    def jobs_in_progress_keep_the_limit_of_all_pools(self) -> None:
        in_progress = {identity: len(own.jobs) for identity, own in self.pair.data.held.items() if own.jobs}
        found = self.server.raw.hgetall(f"{NAMESPACE}:restbroker:inflight:t")
        shares = {name.decode(): int(count) for name, count in found.items()}
        assert shares.keys() <= self.pair.data.alive.keys() | self.pair.data.fenced.keys()
        if self.limits.in_flight:
            assert sum(in_progress.values()) <= self.limits.in_flight
            assert {identity: count for identity, count in shares.items() if count} == in_progress

    def records(self, settled: Sequence[tuple[str, Settlement]]) -> Records | None:
        """What is kept of what ends, if anything is."""
        if not self.keeps:
            return None
        ended = [isinstance(settlement, Ack | Drop) for _, settlement in settled]
        self.serial += 1
        return Records(10**9, [b"%d:%d" % (self.serial, place) if end else b"" for place, end in enumerate(ended)])

    def payload(self, entry: bytes) -> bytes:
        return payload(entry, self.pair.data.large)

    def settlement(self, fate: str, job: bytes) -> Settlement:
        """Each entry of a sorted set is made unique, as the worker does with failed_at, but for `clash`.

        Of a job that is too large nobody has the bytes (here it is empty): only Redis can keep them.
        """
        self.serial += 1
        entry = job + b"|%d" % self.serial
        cases: dict[str, Settlement] = {
            "done": Ack(),
            "ack": Ack((Reply(b"r", queue="out"),)),
            "answered": Ack((Reply(b"r", queue="out"), Reply(b"r", key=REPLIES[self.serial % 7 == 0], ttl_s=3600))),
            "signed": Ack(claims=(Fingerprint("t", "a", f"mark-{self.serial}", 1e6),)),
            "retry": Retry(LONG_AGO_S, entry, (Reply(b"f", queue="out"),)),
            "clash": Retry(SOME_DAY_S, job),
            "dead": Dead(LONG_AGO_S, entry),
            "schedule": Schedule(LONG_AGO_S, entry),
            "later": Retry(SOME_DAY_S, entry),
            "drop": Drop(),
            "back": Requeue(),
            "begun": Requeue(entry),
        }
        if not job and isinstance(cases[fate], Retry | Dead | Schedule):
            name = f"{self.serial:024x}"
            return Dead(LONG_AGO_S, b'{"large":"%s"}' % name.encode(), large=name)
        if not job and isinstance(cases[fate], Requeue):
            return Requeue()
        return cases[fate]


def as_owed(fallen: OrphanedJob) -> Dead:
    """Some jobs owe no reply, some one and some two, once a crash kills them."""
    waited_for = Reply(b"p", key="restbroker:reply:r", ttl_s=3600)
    assert fallen.responses is not None
    owed = {b"same": (waited_for, Reply(b"p", queue=fallen.responses.name)), b"other": (waited_for,)}
    return attrs.evolve(as_dead(fallen), replies=owed.get(fallen.raw, ()))


def payload(entry: bytes, large: Mapping[str, bytes]) -> bytes:
    """The job that an entry of a sorted set, or one that was begun, was made of; `large`: the bytes kept elsewhere."""
    if entry.startswith(b'{"large"'):
        return payload(large[json.loads(entry.rstrip(b"!"))["large"]], large)
    text = entry.partition(b"|")[0].rstrip(b"!")
    if text.startswith(CRASHED):
        return JOB
    if not text.startswith(b'{"queue"'):
        return text
    return payload(bytes.fromhex(text.partition(b'"was":"')[2].partition(b'"')[0].decode()), large)


@pytest.mark.slow  # many histories
@pytest.mark.promise("No command is lost", "fetches, settlements, crashes, recoveries in any order")
@pytest.mark.promise("A good citizen", "MaxInFlight holds for all processes together")
def test_store_matches_the_reference_in_every_history(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "time_s", lambda _client: CRASHED_AT_S)
    monkeypatch.setattr("restbroker.store.heartbeats.random.uniform", lambda _least, _most: 1.0)
    run_histories(Histories, server, histories=25, steps=40)
