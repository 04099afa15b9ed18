"""Random histories of targets with OrderBy, FairBy, or both, on the real store, all of it compared after each step.

The reference beside it knows of each group which of its jobs wait, in which order, who runs one, what holds it.
Answers get lost, calls are sent twice, processes die and come back as zombies, recoveries stop half way, people retry,
skip, delete, take, clear and give back. A history is a seed: what fails names it, and its last steps.
"""

import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final

import attrs
import pytest

from restbroker.job.job import MOST_CRASHES, crash_count
from restbroker.job.settlement import Ack, Dead, Drop, OrphanedJob, Requeue, Retry, Schedule, Settlement
from restbroker.store import heartbeats, order, pauses, queues, waiting
from restbroker.store.client import Client, open_client
from restbroker.store.codes import Applied, Gone
from restbroker.store.in_progress import FetchedJob, read_jobs
from restbroker.store.jobs import FetchResult, IdentityUnknown, UnknownTickets, mark
from restbroker.store.sets import Placement
from restbroker.store.settling import TakeNext
from restbroker.store.tickets import ticket_key, ticket_number
from tests.model.pair import Slow
from tests.store.groups import BOTH, FAIR, ORDER, WEIGHTED, GroupPool, job, keys_of_groups, name_of, push
from tests.store.pools import NAMESPACE, QUEUES, Server
from tests.support.store_calls import classify_lines, finish, finish_and_take

HISTORIES: Final = int(os.environ.get("MODEL_HISTORIES", "25"))
STEPS: Final = 60
KINDS: Final = {"order": ORDER, "fair": FAIR, "weighted": WEIGHTED, "both": BOTH}
BEFORE_ORDER: Final = "\x1e"
STOPPED, IN_PROGRESS = 1e12, 2e12
STEERED: Final[tuple[order.KeyAction, ...]] = ("skip", "retry")
ORDERED_FATES: Final = ("soon", "late", "later", "go", "stop", "stop", "refused", "drop", "back", "changed")
FATES: Final = ("late", "go", "drop", "back", "changed")


@attrs.define(eq=False)
class World:
    """One server, some identities of one target, and what must be true of them. Jobs go by their jids."""

    server: Server
    client: Client
    kind: str
    chance: random.Random
    queues: tuple[str, ...]
    stops: bool
    place: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    """The queue and the group of each job."""
    wait: dict[tuple[str, str], list[str]] = attrs.field(factory=lambda: defaultdict(list))
    """The waiting jobs of each queue and group, in their order."""
    running: dict[str, tuple[GroupPool, str, bytes]] = attrs.field(factory=dict)
    held: dict[str, float] = attrs.field(factory=dict)
    """Until when each group that may not start has to wait, or STOPPED, or IN_PROGRESS."""
    died: dict[str, str] = attrs.field(factory=dict)
    """The job that died, for each group that is stopped, or was until a job came that is not settled yet."""
    sets: dict[str, dict[str, bytes]] = attrs.field(factory=lambda: {"dead": {}, "retry": {}, "schedule": {}})
    pools: list[GroupPool] = attrs.field(factory=list)
    log: list[object] = attrs.field(factory=list)
    given: Counter[str] = attrs.field(factory=Counter)

    def __attrs_post_init__(self) -> None:
        self.server.raw.flushall()
        for _ in range(self.chance.choice((1, 2, 3))):
            self.a_pool_starts()

    @property
    def text(self) -> str:
        """What the target says. Of jobs that died with their process this counts; of others, their settlement."""
        return KINDS[self.kind].replace("{", '{"dead":"stop",', 1) if self.stops else KINDS[self.kind]

    @property
    def raw(self) -> Any:
        return self.server.raw

    # Steps

    def a_pool_starts(self) -> None:
        pool = GroupPool(self.client, self.text, f"h:1:{len(self.pools)}:t", queues=self.queues)
        self.pools.append(pool.start(self.chance.choice((0.0, 1e6))))
        heartbeats.write_heartbeats(self.client, [(pool.identity, 0)], {})

    def jobs_are_pushed(self) -> None:
        queue, is_hot = self.chance.choice(self.queues), self.chance.random() < 0.4
        for _ in range(self.chance.choice((1, 3, 10, 30))):
            user = None if self.chance.random() < 0.08 else "u0" if is_hot else f"u{self.chance.randrange(4)}"
            host = None if self.chance.random() < 0.05 else f"H{self.chance.randrange(3)}"
            name, fair, ordered = f"j{len(self.place)}", (host or "").lower(), f"{BEFORE_ORDER}{user}" if user else ""
            group = {"order": ordered, "both": fair and fair + ordered}.get(self.kind, fair)
            self.place[name] = (queue, group)
            self.wait[queue, group].append(name)
            crashed = {"restbroker_crashes": self.chance.randrange(8)} if self.chance.random() < 0.3 else {}
            push(self.client, job(name, user, host, **crashed), queue=queue)

    def a_pool_fetches(self, pool: GroupPool | None = None, want: int = 0) -> None:
        pool, want = pool or self.chance.choice(self.pools), want or self.chance.choice((1, 2, 5, 20, 100))
        request = pool.request(want, hwm=pool.base + self.chance.choice((0, 1, want)))
        stands = self.chance.random() < 0.3
        answer = pool.ask(want, hwm=request.hwm, follows=stands)
        if isinstance(answer, UnknownTickets):
            assert not stands
            pool.base = answer.last
            return
        assert isinstance(answer, FetchResult if pool.is_alive else IdentityUnknown), answer
        if not isinstance(answer, FetchResult):
            return
        self.log.append(("fetch", pool.identity, want, [job.ticket for job in answer.jobs]))
        self.are_handed_out(pool, answer.jobs, want)
        if answer.jobs and self.chance.random() < 0.1:
            assert isinstance(pool.ask(want, hwm=request.hwm), UnknownTickets)
        if self.chance.random() < 0.9:
            pool.base = answer.base + len(answer.jobs)
        if len(answer.jobs) < want and not answer.more:
            self.nothing_is_left()

    def are_handed_out(self, pool: GroupPool, jobs: Sequence[FetchedJob], want: int) -> None:
        assert len(jobs) <= want
        for fetched in jobs:
            name = name_of(fetched.raw)
            queue, group = self.place[name]
            assert (fetched.queue, ticket_key(fetched.ticket)) == (queue, group)
            assert queue not in self.paused, "of a paused queue"
            line = self.wait[queue, group]
            if BEFORE_ORDER in group:
                self.opens(group, name)
                assert group not in self.held, "a group that may not start"
                assert line[0] == name, "a job overtakes another of its group"
                self.held[group] = IN_PROGRESS
            line.remove(name)
            self.running[name] = (pool, fetched.ticket, fetched.raw)

    def opens(self, group: str, name: str) -> None:
        """The job that died under this group has come back: it is the next one, and the group is free."""
        if self.held.get(group) == STOPPED and self.died[group] == name:
            line = self.wait[self.place[name]]
            line.remove(name)
            line.insert(0, name)
            del self.held[group]

    def nothing_is_left(self) -> None:
        for (queue, group), line in self.wait.items():
            has_come_back = self.held.get(group) == STOPPED and self.died[group] in line
            may_start = group not in self.held or has_come_back
            assert not line or queue in self.paused or not may_start, f"{group!r} of {queue} was left"

    def a_pool_settles(self, pool: GroupPool | None = None) -> None:
        pool = pool or self.chance.choice(self.pools)
        mine = [name for name, (owner, *_) in self.running.items() if owner is pool]
        some = self.chance.sample(mine, min(len(mine), self.chance.choice((1, 2, 5, 50))))
        settled = [(name, self.settlement(name)) for name in some]
        wants = self.chance.choice((None, 1, 20))
        items = [(self.running[name][1], by) for name, by in settled]
        wanted = None if wants is None else TakeNext(pool.base, wants)
        request = pool.finish_request(items, next=wanted, hwm=pool.base + self.chance.choice((0, wants or 0)))
        codes, given = finish_and_take(self.client, request, 1.0)
        self.log.append(("settle", pool.identity, settled, codes, [job.ticket for job in given]))
        back = [name for name, by in settled if isinstance(by, Requeue)]
        for (name, by), code in zip(settled, codes, strict=True):
            assert isinstance(code, Applied), code
            if name not in back:
                self.is_settled(name, by)
        for name in sorted(back, key=lambda name: -ticket_number(self.running[name][1])):
            self.is_settled(name, dict(settled)[name])
        assert pool.is_alive or not given
        self.are_handed_out(pool, given, wants or 0)
        pool.base += len(given)
        self.given["with a settlement"] += len(given)
        if self.chance.random() < 0.15:
            assert finish(self.client, request, 1.0) == [Gone()] * len(items)

    def settlement(self, name: str) -> Settlement:
        raw = self.running[name][2]
        changed = json.dumps({**json.loads(raw), "try": self.chance.random()}).encode()
        fate = self.chance.choice(ORDERED_FATES if BEFORE_ORDER in self.place[name][1] else FATES)
        match fate if self.chance.random() < 0.4 else "done":
            case "done":
                return Ack()
            case "soon":
                return Retry(-1.0, changed)
            case "late":
                return Retry(4e9, changed)
            case "later":
                return Schedule(4e9, changed)
            case "go":
                return Dead(1.0, changed)
            case "stop" | "refused" as effect:
                return Dead(1.0, changed, effect=effect)
            case "drop":
                return Drop()
            case _:
                return Requeue(changed if fate == "changed" else b"")

    def is_settled(self, name: str, by: Settlement, due: float = 0.0) -> None:
        """`due`: when a group may go on whose process died."""
        place = _, group = self.place[name]
        del self.running[name]
        if BEFORE_ORDER not in group:
            match by:
                case Retry(payload=payload):
                    self.sets["retry"][name] = payload
                case Schedule(payload=payload):
                    self.sets["schedule"][name] = payload
                case Dead(payload=payload):
                    self.sets["dead"][name] = payload
                case Requeue():
                    self.wait[place].insert(0, name)
            return
        del self.held[group]
        if isinstance(by, Retry | Schedule | Requeue):
            self.wait[place].insert(0, name)
            due = due if isinstance(by, Requeue) else by.delay_s
            self.held |= {group: due} if due > 0 else {}
            return
        died = self.died.pop(group, "")
        if isinstance(by, Dead):
            self.sets["dead"][name] = by.payload
            died = name if by.effect == "stop" else died if by.effect == "refused" else ""
            if died:
                self.held[group], self.died[group] = STOPPED, died
                return
        if due:
            self.held[group] = due
            self.given["closed by a death"] += 1

    def a_pool_dies(self) -> None:
        """It takes jobs just before: else most have none."""
        pool = self.chance.choice([pool for pool in self.pools if pool.is_alive])
        self.a_pool_fetches(pool, 20)
        hwm = read_jobs(self.client, pool.identity).hwm
        mine = (ticket for owner, ticket, _ in self.running.values() if owner is pool)
        sent = [ticket for ticket in mine if ticket_number(ticket) <= hwm]
        mark(self.client, pool.identity, self.chance.sample(sent, min(len(sent), self.chance.choice((0, 1, 5)))))
        assert heartbeats.fence(self.client, pool.identity, 0)
        pool.is_alive = False
        self.log.append(("dies", pool.identity))
        self.a_pool_starts()

    def a_reaper_recovers(self, pool: GroupPool | None = None) -> None:
        dead = [pool for pool in self.pools if not pool.is_alive]
        if pool is None and not dead:
            return
        had = [owner for owner, *_ in self.running.values() if not owner.is_alive]
        pool = pool or self.chance.choice(had or dead)
        marked = {ticket.decode() for ticket in self.raw.hkeys(f"{NAMESPACE}:restbroker:sent:{pool.identity}")}
        mine = {ticket: name for name, (owner, ticket, _) in self.running.items() if owner is pool}
        hwm = read_jobs(self.client, pool.identity).hwm

        def recover(client: object) -> None:
            heartbeats.recover(client, pool.identity, as_dead)  # type: ignore[arg-type]  # it is a client, or half of one

        # Another one does it first, or half of it.
        recover(Slow(self.client, self.chance.randrange(2), lambda: recover(self.client)))
        recover(self.client)
        self.log.append(("recovered", pool.identity, mine, marked))
        for ticket in sorted(mine, key=ticket_number, reverse=True):
            is_touched = ticket_number(ticket) <= hwm
            by: Settlement = Requeue()
            if ticket in marked:
                by = as_dead(OrphanedJob("", ticket, "", self.running[mine[ticket]][2]))
            quiet_s = pool.quiet_s if is_touched else 0.0
            if isinstance(by, Dead):
                by = attrs.evolve(by, effect="stop" if self.stops else "")
            elif is_touched and (before := crashes_of(self.running[mine[ticket]][2])) not in (0, MOST_CRASHES - 1):
                self.given["waits after crashes"] += 1
                by, quiet_s = self.waits(mine[ticket], before), quiet_s or 20.0
            self.is_settled(mine[ticket], by, quiet_s)

    def waits(self, name: str, before: int) -> Requeue | Schedule:
        """What becomes of a job that was in several crashes: it waits with its key, or else in the schedule set."""
        if BEFORE_ORDER in self.place[name][1]:
            return Requeue()
        (member,) = [raw for raw in self.raw.zrange(f"{NAMESPACE}:schedule", 0, -1) if name_of(raw) == name]
        assert crashes_of(member) == min(before + 1, MOST_CRASHES)
        assert json.loads(member)["queue"] == self.place[name][0]
        return Schedule(20.0, member)

    def time_passes(self) -> None:
        for name, member in list(self.sets["schedule"].items()):
            if self.chance.random() < 0.6:
                del self.sets["schedule"][name]
                self.raw.zrem(f"{NAMESPACE}:schedule", member)
                push(self.client, member, queue=self.place[name][0])
                self.wait[self.place[name]].append(name)
        for group, until in list(self.held.items()):
            if until < STOPPED and self.chance.random() < 0.6:
                self.raw.zadd(f"{NAMESPACE}:restbroker:held:t", {group: 1})
                del self.held[group]

    def a_person_steers(self) -> None:
        what = self.chance.choice(STEERED)
        groups = sorted(group for group, score in self.held.items() if score < IN_PROGRESS)
        for group in self.chance.sample(groups, min(1, len(groups))):
            held = order.read_key(self.client, "t", self.queues, group.encode())
            assert held is not None
            if held.state == "stopped":
                assert held.jid == self.died[group]
            (done,) = order.steer(self.client, "t", self.queues, what, [held])
            assert done == ((what == "skip") == (self.held[group] == STOPPED))
            self.log.append((what, group, done))
            if done:
                del self.held[group]
                self.died.pop(group, None)

    def a_person_retries_a_dead_job(self) -> None:
        dead = self.sets["dead"]
        name = self.chance.choice(sorted(self.died.values()) or sorted(dead) or [""])
        if name in dead:
            raw = dead.pop(name)
            self.raw.zrem(f"{NAMESPACE}:dead", raw)
            self.wait[self.place[name]].append(name)
            push(self.client, raw, queue=self.place[name][0])
            self.log.append(("retries", name))

    def a_queue_is_paused_or_resumed(self) -> None:
        queue = self.chance.choice(self.queues)
        if queue in self.paused:
            pauses.resume_queue(self.client, queue)
        else:
            pauses.pause_queue(self.client, queue, "ann", "", None)

    @property
    def paused(self) -> set[str]:
        return {name.decode() for name in self.raw.smembers(f"{NAMESPACE}:paused")}

    def a_person_gives_groups_back(self) -> None:
        for queue in self.paused:
            groups = order.all_keys(self.client, queue)
            at = 0
            while groups[at:]:
                moved = order.give_back(self.client, queue, "t", groups[at:])
                assert moved is not None
                at += moved[1]
            self.log.append(("given back", queue, groups))
            for group in [group.decode() for group in groups]:
                if self.held.get(group, IN_PROGRESS) < STOPPED:
                    del self.held[group]

    def a_process_dies_between_its_wait_and_the_fetch_behind(self) -> None:
        queue = self.chance.choice(self.queues)
        for _ in range(self.chance.choice((1, 2))):
            self.raw.lmove(f"{NAMESPACE}:queue:{queue}", f"{NAMESPACE}:restbroker:hand:{queue}", "RIGHT", "LEFT")

    def a_process_classifies(self) -> None:
        queue = self.chance.choice(self.queues)
        self.raw.delete(f"{NAMESPACE}:restbroker:pace:{queue}")
        classify_lines(self.client, "t", queue, self.text)

    def a_person_takes_or_clears(self) -> None:
        """The jobs of one list: the queue's, or a group's."""
        queue = self.chance.choice(self.queues)
        meant = self.chance.choice(waiting.take_snapshots(self.client, queue, "t"))
        jobs = self.raw.lrange(meant.key, 0, -1)
        if not jobs:
            return
        group = "" if meant.job_key is None else meant.job_key.decode()
        if self.chance.random() < 0.5:
            rank = self.chance.randrange(len(jobs))
            taking = waiting.TakeRequest(rank, Placement(jobs[rank]))
            assert waiting.take(self.client, meant, [taking, taking]) == [Applied(), Gone()]
            gone = [jobs[rank]]
        else:
            most = self.chance.choice((1, 3, 100))
            deleted, left, _ = queues.clear(self.client, queue, jobs[0], most, meant.job_key, "t")
            gone = jobs[-deleted:]
            assert left == len(jobs) - deleted
            self.raw.delete(f"{NAMESPACE}:restbroker:pace:{queue}")
        if jobs[-1] in gone and self.held.get(group, STOPPED) < STOPPED:
            # The one that was put off: the next one may start.
            del self.held[group]
        self.log.append(("deleted", queue, meant.job_key, gone))
        for name in map(name_of, gone):
            self.wait[self.place[name]].remove(name)

    # What must be true

    def is_right(self) -> None:
        for kind, members in self.sets.items():
            assert sorted(self.raw.zrange(f"{NAMESPACE}:{kind}", 0, -1)) == sorted(members.values())
        for pool in self.pools:
            fields = self.raw.hgetall(f"{NAMESPACE}:restbroker:ip:{pool.identity}").items()
            mine = {ticket: raw for owner, ticket, raw in self.running.values() if owner is pool}
            assert {ticket.decode(): raw for ticket, raw in fields if b":" in ticket} == mine
        held = self.raw.zrange(f"{NAMESPACE}:restbroker:held:t", 0, -1, withscores=True)
        scores = {group.decode(): score for group, score in held}
        for queue in self.queues:
            self.lines_are_right(queue, scores)
        # What is due goes on with the next fetch.
        found = {group: kind_of(score) for group, score in scores.items() if score > 2}
        assert found == {group: kind_of(score) for group, score in self.held.items()}
        died = self.raw.hgetall(f"{NAMESPACE}:restbroker:stopped:t").items()
        assert {group.decode(): jid.decode() for group, jid in died} == self.died

    def lines_are_right(self, queue: str, scores: dict[str, float]) -> None:
        line = f"{NAMESPACE}:restbroker:line:{queue}"
        lists = {key.decode().removeprefix(line + BEFORE_ORDER): self.listed(key) for key in self.raw.keys(f"{line}?*")}
        turns = {group.decode() for group in self.raw.zrange(f"{NAMESPACE}:restbroker:turn:{queue}", 0, -1)}
        assert int(self.raw.get(line) or 0) == sum(map(len, lists.values())), "the count of a queue's lines"
        rest: dict[str, list[str]] = defaultdict(list)
        for name in [*self.listed(f"{NAMESPACE}:restbroker:hand:{queue}"), *self.listed(f"{NAMESPACE}:queue:{queue}")]:
            rest[self.place[name][1]].append(name)
        for group, names in lists.items():
            if scores.get(group, 0.0) <= 2:
                self.opens(group, names[0])
            assert group in scores or group in turns, f"{group!r} waits, and has no turn"
        for of_queue, group in list(self.wait):
            if of_queue == queue:
                there, known = lists.pop(group, []) + rest.pop(group, []), self.wait[queue, group]
                assert there == known if BEFORE_ORDER in group else sorted(there) == sorted(known)
        assert not lists
        assert not rest

    def listed(self, key: object) -> list[str]:
        """The jobs of a list, the next one first."""
        return [name_of(raw) for raw in reversed(self.raw.lrange(key, 0, -1))]

    def runs(self) -> None:
        steps = [self.jobs_are_pushed] * 5 + [self.a_pool_fetches] * 8 + [self.a_pool_settles] * 9
        steps += [self.a_pool_dies, self.a_person_steers, self.a_process_classifies]
        steps += [self.a_process_dies_between_its_wait_and_the_fetch_behind]
        steps += [self.a_reaper_recovers, self.time_passes, self.a_person_retries_a_dead_job] * 2
        steps += [self.a_queue_is_paused_or_resumed, self.a_person_gives_groups_back, self.a_person_takes_or_clears]
        for _ in range(STEPS):
            self.chance.choice(steps)()
            self.is_right()
        self.ends()

    def ends(self) -> None:
        for queue in self.paused:
            pauses.resume_queue(self.client, queue)
        for pool in self.pools:
            if not pool.is_alive:
                self.a_reaper_recovers(pool)
                self.is_right()
        for _ in range(400):
            self.time_passes()
            self.a_person_steers()
            self.a_pool_fetches(next(pool for pool in self.pools if pool.is_alive), 100)
            for pool in self.pools:
                self.a_pool_settles(pool)
            if not (self.running or self.held or self.sets["schedule"] or any(self.wait.values())):
                break
        self.is_right()
        assert keys_of_groups(self.server) == set(), "at rest nothing is left"
        assert not any(self.wait.values())


def kind_of(score: float) -> float:
    """Stopped or in progress, since whenever it is; or due later."""
    return IN_PROGRESS if score >= IN_PROGRESS else STOPPED if score >= STOPPED else 0.0


def crashes_of(raw: bytes) -> int:
    return crash_count(json.loads(raw).get("restbroker_crashes"))


def as_dead(fallen: OrphanedJob) -> Dead:
    return Dead(0.0, fallen.raw)


@pytest.mark.slow  # many histories
@pytest.mark.promise("One key after the other", "any order of calls, crashes and people's hands")
@pytest.mark.parametrize("kind", KINDS)
def test_random_histories_of_groups(server: Server, kind: str) -> None:
    client = open_client(server.settings)
    given: Counter[str] = Counter()
    for seed in range(HISTORIES):
        chance = random.Random(seed)
        world = World(server, client, kind, chance, ("a",) if chance.random() < 0.7 else QUEUES, chance.random() < 0.5)
        try:
            world.runs()
        except Exception as error:
            error.add_note(f"seed {seed} of {kind}:\n" + "\n".join(map(str, world.log[-6:])))
            raise
        given += world.given
    assert given["waits after crashes"], "no job was in several crashes"
    if kind in {"order", "both"}:
        assert given["with a settlement"], "no settlement brought the next job"
        assert given["closed by a death"], "no key was closed behind a job that died with its process"
    client.close()
