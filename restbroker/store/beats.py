"""Who lives, who died, and giving back what the dead held. Used by the beat, the reaper, the
fetcher and the committer (who counts what was in hand at a crash), `enqueue --wait`, the figures and `verify`.

Always holds: an identity goes from beats to dying to gone, never back. Death is the same counter seen for too long by
a reaper whose own connection was healthy all the while: no clock and no expiry decides it.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import attrs

from restbroker.errors import StoreRefused
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Refused, as_code
from restbroker.store.jobs import Facts, Held, held, retire
from restbroker.store.replies import Argument, Reply, counts, integer, items, mapping
from restbroker.store.server import time_s
from restbroker.store.settling import as_score
from restbroker.store.tickets import ticket_number, ticket_queue

Park: TypeAlias = Callable[[str, bytes], bytes]
"""Makes the dead set's payload of a queue's name and a job's bytes."""


@attrs.frozen
class Lone:
    """What may become of a job that was alone in hand in a crash. `payload` is the dead set's.

    `waits`: the schedule set leads back to the queue that it came from, since the job itself names it.
    """

    payload: bytes
    waits: bool


Judge: TypeAlias = Callable[[str, bytes], Lone]
"""Makes it of a queue's name and a job's bytes."""
RECOVER_BATCH = 200
"""Jobs per recover call: 200 hold Redis for about 1 ms."""
_NO_END = Lone(b"", waits=False)
_DONE, _PARKED = 1, 2
"""The script's codes for a job that went back, and for one that was parked."""


@attrs.frozen
class Registered:
    """What an identity wrote at its start. `queues` in the order of their indices, the first being 1.

    `beat_at_s` (whole seconds, Redis' clock) and `snapshot` are of its last beat, for display only.
    """

    facts: Facts
    queues: tuple[str, ...]
    beat_at_s: int | None
    snapshot: bytes | None


@attrs.frozen
class Recovered:
    """What went back. `maybe_run` may have reached a worker; `parked` are in the dead set, since they were marked as
    about to be sent, or crashed the process alone; `refused` stay in hand, since their queue is no list or the dead set
    no sorted set.

    `retired`: the identity is gone; otherwise call `recover` again later.
    """

    jobs: int
    maybe_run: int
    parked: int
    refused: int
    retired: bool


def beat(client: Client, beats: Sequence[tuple[str, int]], snapshot: Mapping[str, bytes]) -> list[bool]:
    """Writes each identity's rising counter, and its snapshot (JSON) if there is one. False: fenced, stop its work."""
    keys = client.keys
    calls: list[tuple[Sequence[str], Sequence[Argument]]] = [
        ([keys.beats, keys.info(identity)], [identity, number, snapshot.get(identity, b"")])
        for identity, number in beats
    ]
    return [reply == 1 for reply in client.run_many("beat", calls)]


def live(client: Client) -> Mapping[str, int]:
    """Every identity that may fetch, and its counter."""
    return counts(client.command("HGETALL", client.keys.beats))


def dying(client: Client) -> Mapping[str, int]:
    """Every fenced identity that may still hold jobs, and its counter at that time."""
    return counts(client.command("HGETALL", client.keys.dying))


def facts(client: Client, identity: str) -> Registered | None:
    """What an identity wrote at its start; None if nobody knows it."""
    fields = mapping(client.command("HGETALL", client.keys.info(identity)))
    return registered(fields) if fields else None


def registered(fields: Mapping[str, bytes]) -> Registered:
    """The same from the hash's fields. Raises `StoreRefused` if some are missing."""
    try:
        words = {name: fields[name].decode() for name in ("hostname", "boot_id", "pid_namespace", "target")}
        found = Facts(pid=int(fields["pid"]), started_at_ticks=int(fields["started_at_ticks"]), **words)
        indices = sorted(int(name) for name in fields if name.isdigit())
        queues = tuple(fields[str(index)].decode() for index in indices)
    except (KeyError, ValueError) as error:
        raise StoreRefused(
            f"The record of a lane in Redis is incomplete ({error}).",
            "Something else wrote to restbroker:info:*. Jobs of this lane stay in restbroker:ip:*.",
        ) from error
    at = fields.get("beat_at")
    return Registered(found, queues, None if at is None else int(at), fields.get("snapshot"))


def fence(client: Client, identity: str, counter_seen: int) -> bool:
    """Takes its rights away if it still shows this counter. False: it lives, or is gone."""
    return client.run("fence", [client.keys.beats, client.keys.dying], [identity, counter_seen]) == 1


def recover(client: Client, identity: str, park: Park, judge: Judge | None = None) -> Recovered:
    """Gives a fenced identity's jobs back to the queues they came from, oldest first out, then retires it.

    Jobs marked as about to be sent are parked: `park` makes the dead set's payload of a queue and a job's bytes. A job
    that was alone in hand waits a while, and is parked when the last three crashes of its target were its own; `judge`
    tells how, or else `park` does and it does not wait.
    Safe to repeat and to run twice at once. Not fenced, or gone already: nothing happens. Raises `StoreUnavailable`
    half way: what was moved is moved, call it again.
    """
    known = facts(client, identity)
    in_hand = held(client, identity)
    if known is None and in_hand.jobs:
        raise StoreRefused(
            f"{identity} holds {len(in_hand.jobs)} jobs, but nothing says which queues they came from.",
            f"Look at the hash {client.keys.in_progress(identity)}: field N:I is a job of queue number I.",
        )
    target, queues = ("", ()) if known is None else (known.facts.target, known.queues)
    marks = mapping(client.command("HGETALL", client.keys.sent(identity)))
    newest_first = sorted(in_hand.jobs, key=ticket_number, reverse=True)
    moved = maybe = put_aside = refused = 0
    for start in range(0, len(newest_first), RECOVER_BATCH):
        tickets = newest_first[start : start + RECOVER_BATCH]
        ends = {
            ticket: _end(marks[ticket], queues[ticket_queue(ticket) - 1], in_hand.jobs[ticket], park, judge)
            for ticket in marks.keys() & set(tickets)
        }
        answer = _recover(client, identity, queues, tickets, in_hand, ends, target)
        if answer is None:
            return Recovered(moved, maybe, put_aside, refused, retired=False)
        codes = [as_code(_DONE if code == _PARKED else code) for code in answer]
        applied = [ticket for ticket, code in zip(tickets, codes, strict=True) if isinstance(code, Applied)]
        moved += len(applied)
        put_aside += answer.count(_PARKED)
        maybe += sum(ticket_number(ticket) <= in_hand.hwm for ticket in applied)
        refused += sum(isinstance(code, Refused) for code in codes)
    gone = identity in dying(client) and retire(client, identity)
    return Recovered(moved, maybe, put_aside, refused, retired=gone)


def maybe_run(client: Client) -> Mapping[str, int]:
    """How often a job may have run unanswered in the last days: SHA-1 of its bytes (hex) → count."""
    total: Counter[str] = Counter()
    for reply in client.commands([("HGETALL", client.keys.recovered(day)) for day in _days(client)]):
        for digest, value in mapping(reply).items():
            if not digest.startswith("#"):  # a target's crashes
                total[digest] += integer(value.partition(b"/")[0])
    return total


def forget(client: Client, digests: Sequence[str]) -> None:
    """Removes these jobs' counts, and tells every lane that there is news."""
    gone = [("HDEL", client.keys.recovered(day), *digests) for day in _days(client)]
    client.commands([*gone, ("INCR", client.keys.recovered_version)])


def _days(client: Client) -> list[str]:
    """The days whose counts may still be there: they are kept for 72 hours."""
    today = datetime.fromtimestamp(time_s(client), UTC)
    return [f"{today - timedelta(days=back):%Y%m%d}" for back in range(4)]


def _end(mark: bytes, queue: str, raw: bytes, park: Park, judge: Judge | None) -> Lone:
    return judge(queue, raw) if mark == b"alone" and judge is not None else Lone(park(queue, raw), waits=False)


def _recover(
    client: Client,
    identity: str,
    queues: Sequence[str],
    tickets: Sequence[str],
    in_hand: Held,
    ends: Mapping[str, Lone],
    target: str,
) -> list[Reply] | None:
    """One code per ticket; None if the identity is not fenced."""
    keys = client.keys
    now_s = time_s(client)
    day = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%d")
    fixed = [keys.dying, keys.in_progress(identity), keys.sorted_set("dead"), keys.parked, keys.sent(identity)]
    fixed += [keys.recovered(day), keys.recovered_version, keys.in_flight(target), keys.sorted_set("schedule")]
    # Spread, so that two jobs which crashed together are not alone at the same moment again.
    jitter = f"{random.uniform(0.75, 1.25):.4f}"  # noqa: S311 - protects nothing
    arguments: list[str | int | bytes] = [identity, target, jitter]
    for ticket in tickets:
        touched = int(ticket_number(ticket) <= in_hand.hwm)
        end = ends.get(ticket, _NO_END)
        arguments += [ticket, ticket_queue(ticket), touched, as_score(now_s), end.payload, int(end.waits)]
    answer = client.run("recover", [*fixed, *(keys.queue(name) for name in queues)], arguments)
    return None if answer == b"NOTFENCED" else items(answer)
