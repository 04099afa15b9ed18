"""Events of servers in Redis: pushes a job for each, and keeps the recent events. Used by `events`, `operate.events`.

A notification that is no event becomes a dead job. Always holds: a queue's name is in the set of queues before its
first job; each event by itself is pushed, known to have been pushed, or refused; the list of recent events holds the
newest 1,000 or so, and no text of a message.
"""

from collections.abc import Sequence
from secrets import token_hex
from typing import Final, Literal, TypeAlias

from restbroker.errors import StoreRefused
from restbroker.job.job import digest
from restbroker.light import frozen, frozen_plain
from restbroker.store.client import Argument, Client, Reply, ScriptCall, as_score, items, mapping, pair, text
from restbroker.store.keys import RedisKeys
from restbroker.store.server import time_s

PushResult: TypeAlias = Literal["pushed", "duplicate", "own", "unwanted", "refused"]
"""What became of an event. `pushed`: its job is in the queue, by this call or the same call before.

`duplicate`: the same event came before. `own`: it reports what this broker sent, or a test. `unwanted`: no queue is for
it. `refused`: the queue's key is no list, or may not be written.
"""

KEPT: Final = 1000
AGAIN_MS: Final = 60_000
"""Milliseconds for which a push is known: its repetition, and what was read with it, may wait while Redis is away."""
_TEST_MS: Final = 3_600_000
_ASKING_MS: Final = 86_400_000
_READ: Final = 10 * KEPT
"""The number of entries to read: more than Redis keeps, which trims whole nodes of the stream."""
_COPIES: Final = 100_000
"""The number of copies of dead jobs that are kept: as many as finish.lua keeps."""


@frozen_plain
class IncomingEvent:
    """An event to push: the complete job for its queue, with its id, and its record for the recent events (JSON).

    `mark` names it among those that may come again within `window_ms`, from push to push, or from when one was read
    (`read_ms`, by any clock) to when the other was; None: it is pushed in any case. `sent_mark`: the mark of a message
    that this broker sent, if that is not to come back within `sent_ms`. `test_mark`: the mark of the test that the
    event may belong to. An empty `queue`: it is for nothing but such a test. `pair` names what comes as two copies,
    and which of them this is: it is pushed unless the other one came within `window_ms`. `last` names what came last
    where it was posted, and what is equal if the same is posted again: it is pushed unless that is so of the last one.
    """

    queue: str
    payload: bytes
    record: bytes
    jid: str
    mark: str | None = None
    window_ms: int = 0
    read_ms: int = 0
    sent_mark: str | None = None
    sent_ms: int = 0
    test_mark: str | None = None
    pair: tuple[str, str] | None = None
    last: tuple[str, str] | None = None


@frozen
class RecentEvent:
    """The record of a recent event. `name` is its id in the stream: milliseconds of Redis' clock, "-", and a number."""

    name: str
    event: bytes


def push_call(keys: RedisKeys, arrivals: Sequence[IncomingEvent]) -> ScriptCall:
    """Return the script call that pushes the jobs of those events that did not come before, in their order."""
    places: dict[str, int] = {keys.queues: 1, keys.recent_events: 2}
    arguments: list[Argument] = [KEPT, AGAIN_MS]
    for arrival in arrivals:
        at = places.setdefault(keys.queue(arrival.queue), len(places) + 1)
        mark = 0 if arrival.mark is None else places.setdefault(keys.event(arrival.mark), len(places) + 1)
        own = 0 if arrival.sent_mark is None else places.setdefault(keys.event(arrival.sent_mark), len(places) + 1)
        test = 0 if arrival.test_mark is None else places.setdefault(keys.event(arrival.test_mark), len(places) + 1)
        arguments += [at, arrival.queue, arrival.payload, arrival.jid, mark, arrival.window_ms, arrival.read_ms]
        pair, copy = ("", "") if arrival.pair is None else arrival.pair
        both = places.setdefault(keys.copies(pair), len(places) + 1) if pair else 0
        last, digest = ("", "") if arrival.last is None else arrival.last
        before = places.setdefault(keys.event(last), len(places) + 1) if last else 0
        arguments += [own, arrival.sent_ms, test, arrival.record, both, copy, before, digest]
    return "push_event", list(places), arguments


def read_push(reply: Reply | StoreRefused) -> list[PushResult]:
    """Return one `PushResult` for each event, from the reply to `push_call`. Raise it if it is a `StoreRefused`."""
    if isinstance(reply, StoreRefused):
        raise reply
    return [_read_code(code) for code in items(reply)]


def remember(client: Client, sent_marks: Sequence[str], window_ms: int) -> None:
    """Record for `window_ms` milliseconds that messages are this broker's own; these are the marks of their events.

    `push` answers `own` for the event that reports such a message, and pushes no job for it. Raise `StoreUnavailable`
    or `StoreRefused`.
    """
    client.commands([("SET", client.keys.event(mark), window_ms, "PX", window_ms) for mark in sent_marks])


def remember_asking(client: Client, identity: str, number: str, receiver: str) -> None:
    """Record for a day that the message of the command with this identity asks for receipts: its id, and its receiver.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    from restbroker.job.event import bare  # of no use to who only reads

    # Nothing but a resource has a space in it.
    client.command("SET", _asking_key(client, identity), f"{bare(receiver)} {number}", "PX", _ASKING_MS)


def read_asking(client: Client, identities: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return {identity: (id, bare JID)} of those commands of which `remember_asking` recorded it within a day.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    noted = client.commands([("GET", _asking_key(client, identity)) for identity in identities])
    found = {identity: text(value).partition(" ") for identity, value in zip(identities, noted, strict=True) if value}
    return {identity: (number, receiver) for identity, (receiver, _, number) in found.items()}


def _asking_key(client: Client, identity: str) -> str:
    return client.keys.event(f"asking-{digest(identity.encode('utf-8', 'surrogatepass'))}")


def expect_test(client: Client, test_mark: str) -> None:
    """Record a test for an hour: events with its mark are noted (`read_test_events`) and become no jobs.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    client.command("SET", client.keys.event(test_mark), "\n", "PX", _TEST_MS)


def read_test_events(client: Client, test_mark: str) -> list[bytes]:
    """Return the records (JSON) of the events of this test that have come so far, in their order.

    An empty list: none has come, or there is no such test (any more). Raise `StoreUnavailable` or `StoreRefused`.
    """
    value = client.command("GET", client.keys.event(test_mark))
    return [line for line in value.splitlines() if line] if isinstance(value, bytes) else []


def record_refusal(client: Client, source: str) -> None:
    """Note for an hour that a request to this source was refused as unauthorized; `read_refusal` then changes.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    client.command("SET", _refusal_key(client, source), token_hex(8), "PX", _TEST_MS)


def read_refusal(client: Client, source: str) -> object:
    """Return a value that is another one after each `record_refusal` of this source; None if there was none.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    return client.command("GET", _refusal_key(client, source))


def _refusal_key(client: Client, source: str) -> str:
    return client.keys.event(f"refused-{source}")


def add_dead_jobs(client: Client, jobs: Sequence[bytes]) -> None:
    """Put jobs into the dead set, with copies as `finish` makes them. Raise `StoreUnavailable` or `StoreRefused`.

    If called twice, equal jobs are in the set once.
    """
    keys, score = client.keys, as_score(time_s(client))
    dead = [("ZADD", keys.sorted_set("dead"), score, job) for job in jobs]
    copies = [("XADD", keys.dead_copies, "MAXLEN", "~", _COPIES, "*", "ticket", "", "payload", job) for job in jobs]
    client.commands([*dead, *copies])


def newest(client: Client, after: str = "") -> list[RecentEvent]:
    """Return the recent events after the entry named `after`, or all that are kept, oldest first.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    start = f"({after}" if after else "-"
    found = [
        pair(entry)
        for entry in items(client.command("XREVRANGE", client.keys.recent_events, "+", start, "COUNT", _READ))
    ]
    return [RecentEvent(text(name), mapping(fields).get("event", b"")) for name, fields in reversed(found)]


def _read_code(code: object) -> PushResult:
    match code:
        case 1:
            return "pushed"
        case 0:
            return "duplicate"
        case 2:
            return "own"
        case 3:
            return "unwanted"
        case _:
            return "refused"
