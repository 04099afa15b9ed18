"""Which processes live and which are dead, and giving back the jobs that dead ones had in progress.

Used by the heartbeat and the reaper. Always holds: an identity goes from `beats` to `dying` to gone, never back. It is
dead when a reaper, whose own connection was healthy all the while, saw the same counter for too long: no clock and no
expiry decides it. Of one that is fenced no job and no mark is added or changed, so that what is read of it stays true.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

from restbroker.errors import StoreRefused
from restbroker.job import display
from restbroker.job.claims import Lock, lock_of
from restbroker.job.crashes import Counted, count_crash
from restbroker.job.job import fields_of
from restbroker.job.order import OnDead, is_ordered, on_dead_in
from restbroker.job.settlement import ClaimChange, Dead, OrphanedJob
from restbroker.light import define, field, frozen
from restbroker.store.claims import prolong, release
from restbroker.store.client import Argument, Client, Reply, as_score, items, mapping
from restbroker.store.codes import Refused, as_code
from restbroker.store.identities import Registration, fenced_identities, read
from restbroker.store.in_progress import pieces, read_tickets
from restbroker.store.jobs import retire
from restbroker.store.server import time_s
from restbroker.store.settling import Destinations, places_of_keys
from restbroker.store.tickets import queue_of, ticket_number, ticket_queue

MakeDead: TypeAlias = Callable[[OrphanedJob], Dead]
"""How to settle a job of a dead identity as dead, and what to answer; Redis replaces the time in the result by its own.

Each job gets another time.
"""
RECOVER_BATCH = 200
"""Jobs per recover call: 200 hold Redis for about 1 ms."""
_DONE, _PARKED, _UNANSWERED = 1, 2, 3
"""The script's codes for a job that went back, one that died, and one that died without all its replies."""


@frozen
class JobPutOff:
    """A job that waits, since it was in progress in several crashes, and the queue that it returns to."""

    queue: str
    job: Counted


@define
class Recovered:
    """What `recover` did: how many jobs went back, died, or stay.

    `jobs`: those that went back or died. `maybe_run`: those of them that may have reached a worker. `died`: the
    tickets of those that are in the dead set, because they were marked as about to be sent. `put_off`: those that went
    back and wait.
    `refused`: those that stay in progress, because their queue is no list or the dead set no sorted set: the identity
    stays too then, and `recover` is called again later. `unanswered`: those that died although Redis refuses a reply to
    them. `stopped_by`: the tickets of those that died and stopped their keys.
    """

    jobs: int = 0
    maybe_run: int = 0
    died: set[str] = field(factory=set)
    refused: int = 0
    unanswered: int = 0
    stopped_by: list[str] = field(factory=list)
    put_off: list[JobPutOff] = field(factory=list)

    @property
    def dead(self) -> int:
        """How many are in the dead set."""
        return len(self.died)


_AT_ONCE = 200
"""Identities per heartbeat call: Redis does nothing else meanwhile."""


def write_heartbeats(client: Client, counters: Sequence[tuple[str, int]], snapshot: Mapping[str, bytes]) -> list[bool]:
    """Write each identity's rising counter, and its snapshot (JSON) if it has one; tell for each whether it lives.

    `counters`: (identity, counter) of each worker pool; the answers are in their order. False: it is fenced, so stop
    its work. The time of the last heartbeat that is shown is that of the last snapshot. Raise `StoreUnavailable` or
    `StoreRefused`.
    """
    keys = client.keys
    calls: list[tuple[Sequence[str], Sequence[Argument]]] = []
    for start in range(0, len(counters), _AT_ONCE):
        some = counters[start : start + _AT_ONCE]
        names = [keys.heartbeats, *(keys.info(identity) for identity, _ in some)]
        words = [word for identity, number in some for word in (identity, number, snapshot.get(identity, b""))]
        calls.append((names, words))
    return [code == 1 for reply in client.run_many("beat", calls) for code in items(reply)]


def fence(client: Client, identity: str, expected_counter: int) -> bool:
    """Fence an identity if its heartbeat counter is still `expected_counter`: Redis gives it no more jobs from then on.

    Return whether it is fenced now. False: it lives, or is gone. Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys = [client.keys.heartbeats, client.keys.fenced_identities]
    return client.run("fence", keys, [identity, expected_counter]) == 1


def recover(client: Client, identity: str, make_dead: MakeDead) -> Recovered:
    """Give a fenced identity's jobs back to the queues they came from, oldest first out, then retire the identity.

    Jobs marked as about to be sent die, and are answered in the same step, as `make_dead` says; the locks that it names
    are given up then. A job that may have reached a worker counts the crash, and waits from the second one on: in the
    schedule set, or with its key. Safe to repeat and to run twice at once. If the identity is not fenced, or is gone
    already, nothing happens. Raise `StoreUnavailable` half way: what was moved is moved, call it again. Raise
    `StoreRefused` if it has jobs but no record, or a damaged one: nothing was done; or if its hash of jobs has entries
    that restbroker did not write: the other jobs went back.
    """
    if identity not in fenced_identities(client):
        return Recovered()
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
        dead = _DeadIdentity(identity, known, listed.hwm, marks.keys(), make_dead)
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
    retire(client, identity)
    return done


@frozen
class _DeadIdentity:
    """A dead identity: its record, its high-water mark, its marked jobs, and how these are settled."""

    name: str
    known: Registration
    hwm: int
    marked: Collection[str]
    make_dead: MakeDead


@frozen
class _Orphan:
    """A job of a dead identity: it is `dead`, or goes back as `counted` says, or else unchanged.

    `effect`: what becomes of its key if it dies. `quiet_s`: for how long its key is closed, since a request for it may
    still be answered.
    """

    ticket: str
    dead: Dead | None = None
    counted: Counted | None = None
    effect: OnDead = "go"
    quiet_s: float = 0.0


def _give_back(client: Client, dead: _DeadIdentity, piece: Mapping[str, bytes | int], done: Recovered) -> bool:
    """Move some jobs, and add to `done` what became of each; return False if the identity is not fenced."""
    now_s = time_s(client)
    # Too large ones are judged when they are taken again.
    orphans = [
        _orphan(dead, ticket, job, now_s) if isinstance(job, bytes) else _Orphan(ticket)
        for ticket, job in piece.items()
    ]
    codes = _recover(client, dead, orphans, now_s)
    if codes is None:
        return False
    buried, kept = list[Dead](), list[tuple[str, Lock, float]]()
    for orphan, code in zip(orphans, codes, strict=True):
        if code in (_DONE, _PARKED, _UNANSWERED):
            done.jobs += 1
            done.maybe_run += ticket_number(orphan.ticket) <= dead.hwm
            done.unanswered += code == _UNANSWERED
        else:
            done.refused += isinstance(as_code(code), Refused)
        if code in (_PARKED, _UNANSWERED):
            done.died.add(orphan.ticket)
            done.stopped_by += [orphan.ticket] if orphan.effect == "stop" else []
            buried += [] if orphan.dead is None else [orphan.dead]
        if code == _DONE and orphan.counted is not None and orphan.counted.waits_s:
            done.put_off.append(JobPutOff(queue_of(orphan.ticket, dead.known.queues) or "", orphan.counted))
            fields = fields_of(orphan.counted.raw) or {}
            if (lock := lock_of(fields)) is not None:
                kept.append((str(fields.get("jid")), lock, orphan.counted.waits_s))
    locks = [lock for settlement in buried for lock in settlement.claims if isinstance(lock, ClaimChange)]
    release(client, [(jid, (lock,)) for lock in locks for jid in lock.was])
    prolong(client, kept)
    return True


def _orphan(dead: _DeadIdentity, ticket: str, raw: bytes, now_s: float) -> _Orphan:
    known, number = dead.known, ticket_number(ticket)
    queue, is_touched = queue_of(ticket, known.queues) or "", number <= dead.hwm
    if not is_touched and ticket not in dead.marked:
        return _Orphan(ticket)
    job = OrphanedJob(dead.name, ticket, queue, raw=raw, responses=known.responses, queues=known.queues)
    quiet_s = known.time_out_of_s(display.command_of(fields_of(raw) or {}) or "") if is_touched else 0.0
    if ticket in dead.marked:
        effect = on_dead_in(known.key_rules) if is_ordered(ticket) else "go"
        return _Orphan(ticket, dead.make_dead(job), effect=effect, quiet_s=quiet_s)
    jitter = random.uniform(0.5, 1.5)  # noqa: S311 - spreads jobs that crashed together
    counted = count_crash(job, now_s, in_order=is_ordered(ticket), unique=number, jitter=jitter)
    return _Orphan(ticket, counted=counted, quiet_s=quiet_s)


def _recover(client: Client, dead: _DeadIdentity, orphans: Sequence[_Orphan], now_s: float) -> list[Reply] | None:
    """Move these jobs, and return one code for each; None if the identity is not fenced."""
    keys, known = client.keys, dead.known
    target, queues = known.process.target, known.queues
    fixed = [
        keys.fenced_identities,
        keys.in_progress(dead.name),
        keys.sorted_set("dead"),
        keys.dead_copies,
        keys.send_marks(dead.name),
        keys.in_flight(target),
        keys.sorted_set("schedule"),
        keys.queues,
    ]
    arguments: list[Argument] = [dead.name, len(queues)]
    destinations = Destinations(keys)
    for place, orphan in enumerate(orphans):
        match orphan:
            case _Orphan(dead=Dead(payload=payload, replies=replies)):
                fate, waits_s = "dead", 0.0
            case _Orphan(counted=Counted(raw=payload, waits_s=waits_s)):
                fate, replies = "wait" if waits_s else "back", ()
            case _:
                fate, payload, replies, waits_s = "back", b"", (), 0.0
        # Sidekiq Web takes out all entries of one score to act on one of them, and loses some if their jids are equal.
        score = as_score(now_s + waits_s + place / 1_000_000)
        # Since it is fenced it starts no request: each one began before.
        quiet_until = as_score(now_s + orphan.quiet_s)
        queue = ticket_queue(orphan.ticket)
        arguments += [orphan.ticket, queue, fate, score, payload, orphan.effect, quiet_until]
        arguments += destinations.make(replies)
    lists = [*(keys.queue(name) for name in queues), *destinations.lists]
    lists += places_of_keys(keys, target, queues)
    answer = client.run("recover", [*fixed, *lists], arguments)
    return None if answer == b"NOTFENCED" else items(answer)
