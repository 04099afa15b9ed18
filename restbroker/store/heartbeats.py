"""Which processes live and which are dead, and giving back the jobs that dead ones had in progress.

Used by the heartbeat, the reaper, and `broker.agent` for the poller and the acker (which count what was in
progress at a crash). Always holds: an identity goes from `beats` to `dying` to gone, never back. It is dead
when a reaper, whose own connection was healthy all the while, saw the same counter for too long: no clock and no expiry
decides it.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import attrs

from restbroker.errors import StoreRefused
from restbroker.job import display
from restbroker.job.job import fields_of
from restbroker.job.order import OnDead, on_dead_in
from restbroker.job.settlement import ClaimChange, Dead, OrphanedJob
from restbroker.store.claims import release
from restbroker.store.client import Argument, Client, Reply, as_score, items, mapping
from restbroker.store.client import raw as raw_of
from restbroker.store.codes import Refused, as_code
from restbroker.store.identities import ProcessInfo, Registration, fenced_identities, live_identities, read
from restbroker.store.in_progress import pieces, read_tickets
from restbroker.store.jobs import retire
from restbroker.store.server import time_s
from restbroker.store.settling import Destinations, group_keys
from restbroker.store.tickets import generation_of, is_ordered, queue_of, ticket_number, ticket_queue

MakeDead: TypeAlias = Callable[[OrphanedJob], Dead]
"""How to settle a job of a dead identity as dead, and what to answer; Redis replaces the time in the result by its own.

Each job gets another time.
"""


Waits: TypeAlias = Callable[[bytes, str], bool]
"""Whether the schedule set leads back to this queue, since the job in these bytes names the queue itself."""
_DAY_S = 86_400
RECOVER_BATCH = 200
"""Jobs per recover call: 200 hold Redis for about 1 ms."""
_DONE, _PARKED, _UNANSWERED = 1, 2, 3
"""The script's codes for a job that went back, one that died, and one that died without all its replies."""


@attrs.define
class Recovered:
    """What `recover` did: how many jobs went back, died, or stay.

    `jobs`: those that went back or died. `maybe_run`: those of them that may have reached a worker. `died`: the
    tickets of those that are in the dead set, because they were marked as about to be sent, or crashed the process
    alone.
    `refused`: those that stay in progress, because their queue is no list or the dead set no sorted set. `retired`: the
    identity is gone; otherwise call `recover` again later. `unanswered`: those that died although Redis refuses
    a reply to them. `stopped_by`: the tickets of those that died and stopped their keys.
    """

    jobs: int = 0
    maybe_run: int = 0
    died: set[str] = attrs.field(factory=set)
    refused: int = 0
    retired: bool = False
    unanswered: int = 0
    stopped_by: list[str] = attrs.field(factory=list)

    @property
    def dead(self) -> int:
        """How many are in the dead set."""
        return len(self.died)


def write_heartbeats(client: Client, counters: Sequence[tuple[str, int]], snapshot: Mapping[str, bytes]) -> list[bool]:
    """Write each identity's rising counter, and its snapshot (JSON) if it has one; tell for each whether it lives.

    `counters`: (identity, counter) of each worker pool; the answers are in their order. False: it is fenced, so stop
    its work. Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    calls: list[tuple[Sequence[str], Sequence[Argument]]] = [
        ([keys.heartbeats, keys.info(identity)], [identity, number, snapshot.get(identity, b"")])
        for identity, number in counters
    ]
    return [reply == 1 for reply in client.run_many("beat", calls)]


def fence(client: Client, identity: str, expected_counter: int) -> bool:
    """Fence an identity if its heartbeat counter is still `expected_counter`: Redis gives it no more jobs from then on.

    Return whether it is fenced now. False: it lives, or is gone. Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys = [client.keys.heartbeats, client.keys.fenced_identities]
    return client.run("fence", keys, [identity, expected_counter]) == 1


def recover(
    client: Client,
    identity: str,
    make_dead: MakeDead,
    poison: MakeDead | None = None,
    waits: Waits = lambda _raw, _queue: False,
) -> Recovered:
    """Give a fenced identity's jobs back to the queues they came from, oldest first out, then retire the identity.

    Jobs marked as about to be sent die, and are answered in the same step, as `make_dead` says; the locks that it names
    are given up then. So does a job that was alone in the process in the last three crashes of its target (`poison`
    says how, or else `make_dead`). A job that was in progress in three crashes or more waits a while in the schedule
    set, if `waits` allows it. Safe to repeat and to run twice at once. If the identity is not fenced, or is gone
    already, nothing happens. Raise `StoreUnavailable` half way: what was moved is moved, call it again. Raise
    `StoreRefused` if it has jobs but no record, or a damaged one: nothing was done; or if its hash of jobs has entries
    that restbroker did not write: the other jobs went back.
    """
    known = read(client, identity)
    listed = read_tickets(client, identity)
    if known is None and listed.tickets:
        raise StoreRefused(
            f"{identity} holds {len(listed.tickets)} jobs, but there is no record of their queues.",
            f"Check the hash {client.keys.in_progress(identity)}: field N:I is a job of queue number I.",
        )
    done, own = Recovered(), list[str]()
    if known is not None:
        marks = mapping(client.command("HGETALL", client.keys.send_marks(identity)))
        beside = b"alone" in marks.values() and _has_others(client, identity, known.process)
        dead = _DeadIdentity(identity, known, listed.hwm, marks, beside, make_dead, poison or make_dead, waits)
        own = [ticket for ticket in listed.tickets if queue_of(ticket, known.queues) is not None]
        for piece in pieces(client, identity, sorted(own, key=ticket_number, reverse=True), RECOVER_BATCH):
            if piece and not _give_back(client, dead, piece, done):
                return done
    odd = [*listed.odd, *sorted(set(listed.tickets) - set(own))]
    if odd:
        raise StoreRefused(
            f"{identity} is gone, and its hash has entries that restbroker did not write: {', '.join(odd[:5])}.",
            f"The other jobs were requeued. Check these fields of {client.keys.in_progress(identity)} and delete them.",
        )
    done.retired = identity in fenced_identities(client) and retire(client, identity)
    return done


def maybe_run(client: Client) -> Mapping[str, int]:
    """Return how often a job may have run unanswered in the last days: SHA-1 of its bytes (hex) → count.

    "!" and the SHA-1 is there too if the program that had the job wrote no marks (`jobs.mark`). Raise
    `StoreUnavailable` or `StoreRefused`.
    """
    total: Counter[str] = Counter()
    for reply in client.commands([("HGETALL", key) for key in _count_keys(client)]):
        for digest, value in mapping(reply).items():
            count = value.partition(b"/")[0]
            # "#": about a target or a life. What is no number was not written by us.
            if count.isdigit() and not digest.startswith("#"):
                total[digest] += int(count)
    return total


def forget(client: Client, digests: Sequence[str]) -> None:
    """Remove the counts of the jobs with these SHA-1 digests (hex), and tell every worker pool that there is news.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    fields = [field for digest in digests for field in (digest, f"!{digest}")]
    client.run("forget", [client.keys.recoveries_version, *_count_keys(client)], fields)


def _count_keys(client: Client) -> list[str]:
    """Return the keys of the days whose counts may still be there: they are kept for 72 hours."""
    now_s = time_s(client)
    return [client.keys.recoveries(now_s - back * _DAY_S) for back in range(4)]


@attrs.frozen
class _DeadIdentity:
    """A dead identity: its record, its high-water mark, the marks of its jobs, and how these are settled.

    `beside`: others of its process have jobs.
    """

    name: str
    known: Registration
    hwm: int
    marks: Mapping[str, bytes]
    beside: bool
    make_dead: MakeDead
    poison: MakeDead
    waits: Waits


@attrs.frozen
class _Orphan:
    """A job of a dead identity.

    `dead`: what it becomes if it must not run again; `waits`: it may wait in the schedule set. `effect`: what becomes
    of its key then. `quiet_s`: for how long its key is closed, since a request for it may still be answered.
    """

    ticket: str
    dead: Dead | None = None
    waits: bool = False
    effect: OnDead = "go"
    quiet_s: float = 0.0


def _has_others(client: Client, identity: str, mine: ProcessInfo) -> bool:
    """Tell whether other identities of the same process have anything in progress."""
    for other in (live_identities(client).keys() | fenced_identities(client).keys()) - {identity}:
        known = read(client, other)
        if (
            known is not None
            and attrs.evolve(known.process, target=mine.target) == mine
            and read_tickets(client, other).tickets
        ):
            return True
    return False


def _give_back(client: Client, dead: _DeadIdentity, piece: Mapping[str, bytes | int], done: Recovered) -> bool:
    """Move some jobs, and add to `done` what became of each; return False if the identity is not fenced."""
    orphans = [_orphan(dead, ticket, _whole(client, dead, ticket, job)) for ticket, job in piece.items()]
    codes = _recover(client, dead, orphans)
    if codes is None:
        return False
    buried: list[Dead] = []
    for one, code in zip(orphans, codes, strict=True):
        if code in (_DONE, _PARKED, _UNANSWERED):
            done.jobs += 1
            done.maybe_run += ticket_number(one.ticket) <= dead.hwm
            done.unanswered += code == _UNANSWERED
        else:
            done.refused += isinstance(as_code(code), Refused)
        if code in (_PARKED, _UNANSWERED):
            done.died.add(one.ticket)
            done.stopped_by += [one.ticket] if one.effect == "stop" else []
            buried += [] if one.dead is None else [one.dead]
    locks = [lock for one in buried for lock in one.claims if isinstance(lock, ClaimChange)]
    release(client, [(jid, (lock,)) for lock in locks for jid in lock.was])
    return True


def _whole(client: Client, dead: _DeadIdentity, ticket: str, job: bytes | int) -> bytes | None:
    """Return a job's bytes; those of one that is too large only if it has a mark: an older version may have set it."""
    if isinstance(job, bytes):
        return job
    return raw_of(client.command("HGET", client.keys.in_progress(dead.name), ticket)) if ticket in dead.marks else None


def _orphan(dead: _DeadIdentity, ticket: str, raw: bytes | None) -> _Orphan:
    if raw is None:
        # Too large: it is judged when it is taken again.
        return _Orphan(ticket)
    known, mark = dead.known, dead.marks.get(ticket)
    queue = queue_of(ticket, known.queues) or ""
    is_touched, command = ticket_number(ticket) <= dead.hwm, display.command_of(fields_of(raw) or {}) or ""
    may_wait = is_touched and dead.waits(raw, queue)
    quiet_s = known.time_out_of_s(command) if is_touched else 0.0
    if mark is None:
        return _Orphan(ticket, waits=may_wait, quiet_s=quiet_s)
    is_alone = mark == b"alone"
    settle = dead.poison if is_alone else dead.make_dead
    job = OrphanedJob(dead.name, ticket, queue, raw=raw, responses=known.responses, queues=known.queues)
    effect = on_dead_in(known.groups) if is_ordered(ticket) else "go"
    return _Orphan(ticket, settle(job), is_alone and may_wait, effect, quiet_s)


def _recover(client: Client, dead: _DeadIdentity, orphans: Sequence[_Orphan]) -> list[Reply] | None:
    """Move these jobs, and return one code for each; None if the identity is not fenced."""
    keys, known, now_s = client.keys, dead.known, time_s(client)
    target, queues = known.process.target, known.queues
    fixed = [
        keys.fenced_identities,
        keys.in_progress(dead.name),
        keys.sorted_set("dead"),
        keys.dead_copies,
        keys.send_marks(dead.name),
        keys.recoveries(now_s),
        keys.recoveries_version,
        keys.in_flight(target),
        keys.sorted_set("schedule"),
        keys.queues,
    ]
    # Spread, so that two jobs which crashed together are not alone at the same moment again.
    jitter = f"{random.uniform(0.75, 1.25):.4f}"  # noqa: S311 - protects nothing
    arguments: list[Argument] = [dead.name, target, generation_of(dead.name), int(dead.beside), jitter, len(queues)]
    destinations = Destinations(keys)
    for place, orphan in enumerate(orphans):
        number, queue = ticket_number(orphan.ticket), ticket_queue(orphan.ticket)
        touched = int(number <= dead.hwm)
        # Sidekiq Web takes out all entries of one score to act on one of them, and loses some if their jids are equal.
        score = as_score(now_s + place / 1_000_000)
        payload, replies = (b"", ()) if orphan.dead is None else (orphan.dead.payload, orphan.dead.replies)
        # Since it is fenced it starts no request: each one began before.
        quiet_until = as_score(now_s + orphan.quiet_s)
        arguments += [orphan.ticket, queue, touched, score, payload, int(orphan.waits), orphan.effect, quiet_until]
        arguments += destinations.of(replies)
    lists = [*(keys.queue(name) for name in queues), *destinations.lists]
    lists += group_keys(keys, target, queues)
    answer = client.run("recover", [*fixed, *lists], arguments)
    return None if answer == b"NOTFENCED" else items(answer)
