"""Finished jobs: page by page, by conditions, and as they end."""

import attrs
import pytest

from restbroker.errors import UsageError
from restbroker.operate import finished, where
from restbroker.operate.context import ConfigContext
from restbroker.operate.find import SearchLimits
from restbroker.operate.finished import EndsPage, tail
from restbroker.operate.search import search
from restbroker.store import history
from restbroker.store.client import Client
from restbroker.store.history import JobEnd, JobTimes

NOW_S = 1_700_000_000.0


def end(client: Client, number: int, outcome: str = "delivered", code: str | None = None) -> None:
    times = JobTimes(tries=number % 3 + 1)
    one = JobEnd(f"j{number}", "e", "add", outcome=outcome, status=200, took_ms=number * 10.0, code=code, times=times)
    name = f"{1_700_000_000_000 + number}-0"
    client.command("XADD", "ns:restbroker:history", name, "end", history.to_record(one))


def page(
    client: Client, known: ConfigContext, *typed: str, after: str = "", limit: int = 3, jobs: int = 100
) -> EndsPage:
    wanted = finished.read(typed, NOW_S, known)
    return finished.page(client, wanted, known, after=after, limit=limit, limits=SearchLimits(jobs=jobs))


def jids(found: EndsPage) -> list[str]:
    return [one.ending.jid for one in found.ends]


def test_pages_follow_each_other_to_the_oldest(client: Client, configured: ConfigContext) -> None:
    for number in range(7):
        end(client, number)
    first = page(client, configured)
    second = page(client, configured, after=first.after or "")
    third = page(client, configured, after=second.after or "")
    assert [jids(first), jids(second), jids(third)] == [["j6", "j5", "j4"], ["j3", "j2", "j1"], ["j0"]]
    assert (first.total, first.looked_at, third.after) == (7, 3, None)
    assert jids(page(client, configured, limit=7)) == [f"j{number}" for number in range(6, -1, -1)]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("outcome = rejected", ["j5"]),
        ("error = BadToken", ["j5"]),
        ("status = 200", ["j6", "j5", "j4"]),
        ("took < 10", ["j0"]),
        ("took > 50", ["j6"]),
        ("attempts = 3", ["j5", "j2"]),
        ("jid ~ J4", ["j4"]),
        ("command != add", []),
        ("at > 2023-11-15", []),
        ("at newer 1d", ["j6", "j5", "j4"]),
    ],
)
def test_conditions_are_on_what_is_kept(
    client: Client, configured: ConfigContext, typed: str, found: list[str]
) -> None:
    for number in range(7):
        end(client, number, *(("rejected", "BadToken") if number == 5 else ()))
    assert jids(page(client, configured, typed)) == found


@pytest.mark.parametrize("typed", ["user = bob", "queue = rest", "arg.message ~ x", "code = BadToken", "password = x"])
def test_other_fields_are_refused(typed: str) -> None:
    with pytest.raises(UsageError):
        finished.read([typed], NOW_S, ConfigContext({}))


def test_a_search_that_was_cut_short_says_so_and_goes_on(client: Client, configured: ConfigContext) -> None:
    for number in range(7):
        end(client, number)
    first = page(client, configured, "jid = j1", jobs=4)
    assert (jids(first), first.looked_at) == ([], 4)
    assert jids(page(client, configured, "jid = j1", after=first.after or "")) == ["j1"]


def test_strangers_records_are_left_out_and_wrong_places_refused(client: Client, configured: ConfigContext) -> None:
    client.command("XADD", "ns:restbroker:history", "1-1", "end", "no record")
    client.command("XADD", "ns:restbroker:history", "1-2", "what", "else")
    end(client, 1)
    assert jids(page(client, configured)) == ["j1"]
    for after in ("+", "0-0"):
        with pytest.raises(UsageError):
            page(client, configured, after=after)


def test_a_tail_brings_each_end_once(client: Client, configured: ConfigContext) -> None:
    end(client, 1)
    new = tail(client, finished.read(["took > 20"], NOW_S, configured), configured, page(client, configured).newest)
    every = tail(client, (), configured, "0-0")
    assert next(new) == []
    for number in (2, 3, 4):
        end(client, number)
    assert [one.ending.jid for one in next(new)] == ["j3", "j4"]
    assert next(new) == []
    assert len(next(every)) == 4


def test_arguments_that_are_kept_are_conditions(client: Client, configured: ConfigContext) -> None:
    kept = JobEnd("j1", "e", "send", "delivered", 200, 1.0, arguments={"to": "bob@example.org", "outcome": "x"})
    for one in (kept, JobEnd("j2", "e", "send", "delivered", 200, 1.0)):
        client.command("XADD", "ns:restbroker:history", "*", "end", history.to_record(one))
    known = attrs.evolve(configured, kept=("to",))
    found = [
        jids(page(client, known, typed)) for typed in ("to = bob@*", "to != bob", "to ~ ann", "outcome = delivered")
    ]
    assert found == [["j1"], ["j1"], [], ["j2", "j1"]]
    terms = where.parse_search(["to=bob@example.org"], NOW_S)
    assert [one.ending.jid for one in search(client, terms, known, SearchLimits()).ends] == ["j1"]
    assert search(client, terms, configured, SearchLimits()).ends == ()
