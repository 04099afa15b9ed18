"""What is written is found where the Metrics page of each version of Sidekiq Web looks, and nowhere forever."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store import metrics
from restbroker.store.client import Client, open_client
from restbroker.telemetry.events import JobFinished
from restbroker.telemetry.executions import ExecutionCounts, Executions
from tests.store.pools import Server, on_both
from tests.support.sidekiq_metrics import EIGHT, EIGHT_DAYS, SEVEN, moment

NS = "ns:"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The first moment after a change of minute, of ten minutes, … up to a leap day; what leads to it is the minute before.
CHANGES = [
    datetime(2026, 11, 20, 14, 46, tzinfo=UTC),
    datetime(2026, 11, 20, 14, 50, tzinfo=UTC),
    datetime(2026, 11, 20, 8, 9, tzinfo=UTC),
    datetime(2026, 11, 20, 9, 0, tzinfo=UTC),
    datetime(2026, 11, 20, 10, 0, tzinfo=UTC),
    datetime(2026, 11, 6, 0, 0, tzinfo=UTC),
    datetime(2026, 11, 10, 0, 0, tzinfo=UTC),
    datetime(2026, 12, 1, 0, 0, tzinfo=UTC),
    datetime(2027, 1, 1, 0, 0, tzinfo=UTC),
    datetime(2028, 2, 29, 0, 0, tzinfo=UTC),
]


def ran(at: datetime, *times_s: float, failures: int = 0, command: str = "add") -> Executions:
    made = Executions(int(at.timestamp()), command, failures)
    made.times.add(times_s)
    return made


def changes(client: Client, server: Server) -> Iterator[datetime]:
    """Redis has executions of the minute before each change and of the one after it; the moment after."""
    for change in CHANGES:
        server.raw.flushdb()
        before = change - timedelta(minutes=1)
        metrics.add(client, [ran(before, 0.010, 0.046, failures=1), ran(change, 0.300, command="kick")])
        metrics.add(client, [ran(change, 0.012, failures=2)])
        yield change


@pytest.mark.promise("Sidekiq: counters and metrics", "Metrics page: executions by class")
@on_both
def test_the_last_hour_is_found_minute_by_minute(client: Client, server: Server) -> None:
    after = {"add": {"p": 3, "f": 2, "ms": 12}, "kick": {"p": 1, "ms": 300}}
    for change in changes(client, server):
        for page in (SEVEN, EIGHT):
            found = page.found(server.raw, NS, change + timedelta(seconds=42), 60)
            assert found == [after, {"add": {"p": 3, "f": 1, "ms": 56}}, *[{}] * 58], (change, page)
            # The page of an hour later does not show them any more, an hour's last minute later it still does.
            assert page.found(server.raw, NS, change + timedelta(minutes=59), 60)[-1] == after
            assert not any(page.found(server.raw, NS, change + timedelta(minutes=60), 60))


@pytest.mark.promise("Sidekiq: counters and metrics", "histograms")
@on_both
def test_a_command_has_its_histogram_in_each_minute(client: Client, server: Server) -> None:
    for change in changes(client, server):
        now, before = change + timedelta(seconds=59), change - timedelta(seconds=1)
        for page in (SEVEN, EIGHT):
            assert page.histogram(server.raw, NS, "add", now) == [1] + [0] * 25, (change, page)
            assert page.histogram(server.raw, NS, "kick", now) == [0] * 7 + [1] + [0] * 18
            assert page.histogram(server.raw, NS, "add", before) == [1, 0, 0, 1] + [0] * 22
            assert page.histogram(server.raw, NS, "kick", before) == [0] * 26


@pytest.mark.promise("Sidekiq: counters and metrics", "Metrics page: executions by class")
def test_sidekiq_8_finds_days_by_ten_minutes(client: Client, server: Server) -> None:
    for change in changes(client, server):
        for minutes in range(10):
            # Wherever within ten minutes the reader's steps fall.
            found = [one for one in EIGHT_DAYS.found(server.raw, NS, change + timedelta(minutes=minutes), 144) if one]
            sums = {
                name: {metric: sum(one.get(name, {}).get(metric, 0) for one in found) for metric in ("p", "f", "ms")}
                for name in ("add", "kick")
            }
            assert sums == {"add": {"p": 6, "f": 3, "ms": 68}, "kick": {"p": 1, "f": 0, "ms": 300}}, change
            assert len(found) == (1 if change.minute % 10 else 2)


def test_everything_expires_as_sidekiqs_own_does(client: Client, server: Server) -> None:
    metrics.add(client, [ran(datetime(2026, 11, 2, 8, 3, tzinfo=UTC), 0.01)])
    ends_in_s = {key.decode(): server.raw.ttl(key) for key in server.raw.keys("*")}
    eight_hours = pytest.approx(8 * 3600, abs=30)
    assert ends_in_s == {
        "ns:j|20261102|8:3": eight_hours,
        "ns:j|261102|8:03": eight_hours,
        "ns:j|261102|8:0": pytest.approx(72 * 3600, abs=30),
        "ns:add-02-08:3": eight_hours,
        "ns:h|add-2-8:3": eight_hours,
    }


@pytest.mark.promise("Sidekiq: counters and metrics", "successes alone are timed")
def test_failures_alone_have_no_time(client: Client, server: Server) -> None:
    metrics.add(client, [ran(EPOCH, failures=2)])
    assert SEVEN.found(server.raw, NS, EPOCH, 1) == EIGHT.found(server.raw, NS, EPOCH, 1) == [{"add": {"p": 2, "f": 2}}]
    assert not server.raw.keys("*add*")


def test_what_processes_write_adds_up_and_a_histogram_stops_at_its_largest_number(
    client: Client, server: Server
) -> None:
    other = open_client(server.settings)
    many = ran(EPOCH, *[0.002] * 40_000)
    metrics.add(client, [many])
    metrics.add(other, [many, ran(EPOCH, *[400.0] * 100_000, command="kick")])
    other.close()
    assert EIGHT_DAYS.found(server.raw, NS, moment(300), 1) == [
        {"add": {"p": 80_000, "ms": 160_000}, "kick": {"p": 100_000, "ms": 40_000_000_000}}
    ]
    for page in (SEVEN, EIGHT):
        assert page.histogram(server.raw, NS, "add", EPOCH) == [65_535] + [0] * 25
        assert page.histogram(server.raw, NS, "kick", EPOCH) == [0] * 25 + [65_535]


def test_events_become_a_page(client: Client, server: Server) -> None:
    now = datetime(2026, 11, 20, 14, 46, 30, tzinfo=UTC)
    counts = ExecutionCounts(now.timestamp)
    for command, fate in (("add", "ack"), ("add", "retry"), ("add", "schedule"), ("a|b", "ack")):
        counts(JobFinished("t", "q", command, "j", "delivered", fate, 1, 0.02))
    metrics.add(client, counts.take())
    shown = [{"add": {"p": 2, "f": 1, "ms": 20}, "a_b": {"p": 1, "ms": 20}}]
    for page in (SEVEN, EIGHT, EIGHT_DAYS):
        assert page.found(server.raw, NS, now, 1) == shown


def test_a_full_redis_refuses_all_of_it(client: Client, server: Server) -> None:
    server.raw.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="full"):
        metrics.add(client, [ran(EPOCH, 0.01)])
    server.raw.config_set("maxmemory", 0)
    assert not server.raw.keys("*")
    metrics.add(client, [ran(EPOCH, 0.01)])
    assert SEVEN.found(server.raw, NS, EPOCH, 1) == [{"add": {"p": 1, "ms": 10}}]


def test_a_key_of_another_type_is_refused_and_the_others_are_written(client: Client, server: Server) -> None:
    server.raw.set("ns:j|19700101|0:0", "somebody's")
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        metrics.add(client, [ran(EPOCH, 0.01)])
    assert EIGHT.found(server.raw, NS, EPOCH, 1) == [{"add": {"p": 1, "ms": 10}}]
    assert EIGHT.histogram(server.raw, NS, "add", EPOCH) == [1] + [0] * 25
