"""Events in Redis: one job for each, what comes again is dropped, what cannot be pushed is refused for itself."""

import json
import time
from collections.abc import Sequence

import attrs
import pytest

from restbroker.errors import StoreNotNow
from restbroker.store import events, queues
from restbroker.store.client import Client
from restbroker.store.events import IncomingEvent, PushResult
from tests.store.pools import Server, on_both
from tests.support.store_calls import run_each


def arrival(
    name: str, queue: str = "events", mark: str | None = None, window_ms: int = 60_000, read_ms: int = 0
) -> IncomingEvent:
    noted = json.dumps({"jid": name}).encode()
    return IncomingEvent(queue, f"job {name}".encode(), noted, name, mark, window_ms if mark else 0, read_ms)


def push(client: Client, arrivals: Sequence[IncomingEvent]) -> list[PushResult]:
    return events.read_push(run_each(client, [events.push_call(client.keys, arrivals)])[0])


def test_jobs_lie_ordered_in_their_queues_which_are_known(client: Client) -> None:
    answers = push(client, [arrival("1"), arrival("2", "others"), arrival("3")])
    assert answers == ["pushed"] * 3
    assert queues.peek(client, "events", 0, 10) == [b"job 1", b"job 3"]
    assert queues.peek(client, "others", 0, 10) == [b"job 2"]
    assert queues.names(client) == {"events", "others"}


@on_both
def test_repeated_event_is_dropped_only_within_its_time(client: Client, server: Server) -> None:
    first = [arrival("1", mark="m"), arrival("2", mark="n"), arrival("3", mark="m")]
    assert push(client, first) == ["pushed", "pushed", "duplicate"]
    assert push(client, [arrival("4", mark="m")]) == ["duplicate"]
    left_ms = server.raw.pttl("ns:restbroker:event:m")
    assert isinstance(left_ms, int)
    assert 50_000 < left_ms <= 60_000
    server.raw.pexpire("ns:restbroker:event:m", 0)
    assert push(client, [arrival("4", mark="m")]) == ["pushed"]
    assert queues.peek(client, "events", 0, 10) == [b"job 1", b"job 2", b"job 4"]


def test_repeated_push_is_known_by_its_job_after_its_mark_ended(client: Client, server: Server) -> None:
    for event in (arrival("1", mark="m", window_ms=1), arrival("2", mark="2", window_ms=0)):
        assert push(client, [event]) == ["pushed"]
        came = server.raw.get(f"ns:restbroker:event:{event.mark}")
        assert isinstance(came, bytes)
        assert came.split()[0] == event.jid.encode()
        assert push(client, [event]) == ["pushed"]
    assert queues.peek(client, "events", 0, 10) == [b"job 1", b"job 2"]
    left_ms = server.raw.pttl("ns:restbroker:event:m")
    assert isinstance(left_ms, int)
    assert 50_000 < left_ms <= events.AGAIN_MS


@pytest.mark.parametrize(
    ("apart_s", "read_apart_s", "result"),
    [
        (0, 0, "duplicate"),
        (0, 60, "duplicate"),
        (60, 0, "duplicate"),
        (60, -0.9, "duplicate"),
        (60, -1, "pushed"),
        (60, 1, "pushed"),
    ],
)
def test_an_equal_event_is_new_if_neither_time_is_near(
    client: Client, server: Server, apart_s: float, read_apart_s: float, result: str
) -> None:
    """Those that Redis kept waiting are pushed far apart; two readers may have clocks that differ."""
    first, then = (
        arrival("1", mark="m", window_ms=1_000, read_ms=90_000),
        arrival("2", mark="m", window_ms=1_000, read_ms=90_000 + int(read_apart_s * 1000)),
    )
    assert push(client, [first]) == ["pushed"]
    came = int(time.time() * 1000 - apart_s * 1000)
    server.raw.set("ns:restbroker:event:m", f"1 {came} {first.read_ms}", px=5_000)
    assert push(client, [then]) == [result]


@on_both
def test_only_what_came_last_is_repeated(client: Client, server: Server) -> None:
    """Behind another event of the same place it is said again; and a push that is made twice pushes once."""

    def told(name: str, digest: str, place: str = "ops") -> IncomingEvent:
        return attrs.evolve(arrival(name, mark=name), last=(place, digest))

    first = [told("1", "down"), told("2", "down"), told("3", "down", "dev"), told("4", "up"), told("5", "down")]
    for _ in range(2):
        assert push(client, first) == ["pushed", "duplicate", "pushed", "pushed", "pushed"]
    assert push(client, [told("6", "down"), told("7", "down", "dev")]) == ["duplicate", "duplicate"]
    assert queues.peek(client, "events", 0, 10) == [b"job 1", b"job 3", b"job 4", b"job 5"]
    server.raw.pexpire("ns:restbroker:event:ops", 0)
    assert push(client, [told("8", "down")]) == ["pushed"]


def test_own_messages_are_dropped_for_as_long_as_a_source_wants(client: Client, server: Server) -> None:
    events.remember(client, ["sent"], 60_000)
    long, short = (attrs.evolve(arrival(name, mark=name), sent_mark="sent") for name in ("1", "2"))
    assert push(client, [attrs.evolve(long, sent_ms=60_000)]) == ["own"]
    assert push(client, [attrs.evolve(long, sent_ms=60_000)]) == ["own"]
    # Twenty seconds later.
    server.raw.pexpire("ns:restbroker:event:sent", 40_000)
    both = [attrs.evolve(long, sent_ms=60_000), attrs.evolve(short, sent_ms=10_000)]
    assert push(client, both) == ["own", "pushed"]
    assert push(client, [attrs.evolve(arrival("3"), sent_mark="other", sent_ms=60_000)]) == ["pushed"]
    assert queues.peek(client, "events", 0, 10) == [b"job 2", b"job 3"]


def test_queue_that_is_no_list_refuses_its_own_events_only(client: Client, server: Server) -> None:
    server.raw.set("ns:queue:odd", "x")
    answers = push(client, [arrival("1"), arrival("2", "odd", "m"), arrival("3")])
    assert answers == ["pushed", "refused", "pushed"]
    # It may come again, as it is not there.
    assert server.raw.exists("ns:restbroker:event:m") == 0
    assert [json.loads(event.event)["jid"] for event in events.newest(client)] == ["1", "3"]


@pytest.mark.promise("Events", "Redis is frozen, back soon, full, or has another type")
@on_both
def test_a_full_redis_takes_none_of_it_and_says_so(client: Client, server: Server) -> None:
    push(client, [arrival("1")])
    server.raw.config_set("maxmemory", 1)
    with pytest.raises(StoreNotNow, match="is full"):
        push(client, [arrival("2", "others", "m")])
    server.raw.config_set("maxmemory", 0)
    assert server.raw.exists("ns:restbroker:event:m", "ns:queue:others") == 0


@on_both
def test_recent_events_are_bounded_and_read_from_a_position(client: Client) -> None:
    for start in range(0, 3000, 100):
        push(client, [arrival(str(number)) for number in range(start, start + 100)])
    found = events.newest(client)
    names = [json.loads(event.event)["jid"] for event in found]
    assert names == [str(number) for number in range(3000 - len(names), 3000)]
    assert events.KEPT <= len(names) < 2 * events.KEPT
    assert events.newest(client, found[-1].name) == []
    assert [json.loads(event.event)["jid"] for event in events.newest(client, found[-3].name)] == names[-2:]


def test_foreign_key_in_place_of_recent_events_stops_none(client: Client, server: Server) -> None:
    server.raw.set("ns:restbroker:events", "x")
    assert push(client, [arrival("1")]) == ["pushed"]


@on_both
def test_test_event_reaches_its_waiter_and_becomes_no_job(client: Client, server: Server) -> None:
    events.expect_test(client, "test-1")
    assert events.read_test_events(client, "test-1") == []
    wanted = attrs.evolve(arrival("1"), test_mark="test-1")
    assert push(client, [wanted, attrs.evolve(arrival("2", queue=""), test_mark="test-1")]) == ["own", "own"]
    assert [json.loads(line)["jid"] for line in events.read_test_events(client, "test-1")] == ["1", "2"]
    assert queues.names(client) == set()
    assert events.newest(client) == []
    # Others of a minute later, too, and not for ever.
    assert 3_500_000 < server.raw.pttl("ns:restbroker:event:test-1") <= 3_600_000


@on_both
def test_each_refused_request_of_a_source_differs_for_an_hour(client: Client, server: Server) -> None:
    assert events.read_refusal(client, "bots") is None
    refusals = set()
    for _ in range(3):
        events.record_refusal(client, "bots")
        refusals.add(events.read_refusal(client, "bots"))
    assert len(refusals) == 3
    assert events.read_refusal(client, "others") is None
    assert 3_500_000 < server.raw.pttl("ns:restbroker:event:refused-bots") <= 3_600_000


@on_both
def test_sender_that_only_resembles_a_test_sends_a_usual_event(client: Client) -> None:
    forged = attrs.evolve(arrival("1"), test_mark="test-1")
    assert push(client, [forged, attrs.evolve(arrival("2", queue=""), test_mark="test-1")]) == [
        "pushed",
        "unwanted",
    ]
    assert queues.peek(client, "events", 0, 10) == [b"job 1"]
    assert queues.names(client) == {"events"}
    assert events.read_test_events(client, "test-1") == []
