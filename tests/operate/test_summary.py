"""Failed jobs by their causes: counts, what is read again, and what is not shown."""

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from restbroker.broker.tokens import Tokens
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.job.hiding import spellings_of
from restbroker.operate import audit, summary
from restbroker.operate.act import Action, perform
from restbroker.operate.act_set import SetJobs
from restbroker.operate.context import ConfigContext
from restbroker.operate.edit import Edit
from restbroker.operate.find import page
from restbroker.operate.summary import Summaries, Summary
from restbroker.operate.where import read
from restbroker.store import paging
from restbroker.store.client import Client, raw
from restbroker.store.keys import SortedSet
from tests.operate.conftest import NOW_S, Put


def causes(found: Summary) -> list[tuple[str | None, str | None, int]]:
    return [(cause.command, cause.code, cause.jobs) for cause in found.causes]


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many jobs each question to Redis brought."""
    read = paging.piece
    brought: list[int] = []

    def piece(*words: Any, **more: Any) -> paging.SetPiece:
        found = read(*words, **more)
        brought.append(len(found.members))
        return found

    monkeypatch.setattr(paging, "piece", piece)
    return brought


def fill(put: Put, zset: str, numbers: Sequence[int], **more: Any) -> None:
    for n in numbers:
        put(zset, NOW_S + n // 7, f"j{n}", error_message=f"User u{n}@e.org exists.", **more)


def test_jobs_are_counted_by_cause_with_first_and_last_failure(
    client: Client, configured: ConfigContext, put: Put
) -> None:
    fill(put, "dead", range(30))
    for n in (3, 1, 2):
        put("dead", NOW_S + 100 + n, f"k{n}", "status", error_class="BadArgument", error_message=f"{n} is no 'x'.")
    put("dead", NOW_S + 200, "ruby", queue="mails", args=[], error_class=None, error_message=None)
    client.command("ZADD", "ns:dead", NOW_S, b"no job")
    found = Summaries("dead", configured).now(client)
    assert causes(found) == [("register", "ServerError", 30), ("status", "BadArgument", 3)]
    second = found.causes[1]
    assert (second.jid, second.first_s, second.last_s) == ("k3", NOW_S + 101, NOW_S + 103)
    assert (second.target, second.message) == ("ejabberd", "3 is no 'x'.")
    assert (found.looked_at, found.total) == (35, 35)
    assert [cause.jobs for cause in found.main] == [30, 3]


def test_a_retry_counts_from_when_it_failed_last(client: Client, configured: ConfigContext, put: Put) -> None:
    put("retry", NOW_S + 1000, "j1", retried_at=NOW_S + 5)
    put("retry", NOW_S + 2000, "j2", failed_at=NOW_S - 5)
    (cause,) = Summaries("retry", configured).now(client).causes
    assert (cause.first_s, cause.last_s, cause.jobs) == (NOW_S - 5, NOW_S + 5, 2)


def test_jobs_are_read_again_only_where_their_number_changed(
    client: Client, configured: ConfigContext, put: Put, pieces: list[int]
) -> None:
    fill(put, "dead", range(5000))
    summaries = Summaries("dead", configured)
    assert causes(summaries.now(client)) == [("register", "ServerError", 5000)]
    assert max(pieces) == 250, "Redis is asked for few jobs at a time"
    pieces.clear()
    assert causes(summaries.now(client)) == [("register", "ServerError", 5000)]
    assert pieces == []
    fill(put, "dead", range(5000, 5010))
    middle = NOW_S + 2500 // 7
    gone = client.command("ZREMRANGEBYSCORE", "ns:dead", middle, middle)
    assert (
        causes(summaries.now(client))
        == [("register", "ServerError", 5003)]
        == [("register", "ServerError", 5010 - int(str(gone)))]
    )
    assert sum(pieces) < 4000
    client.command("DEL", "ns:dead")
    assert (causes(summaries.now(client)), summaries.now(client).total) == ([], 0)
    fill(put, "dead", range(10))
    assert causes(summaries.now(client)) == [("register", "ServerError", 10)]


def test_jobs_that_a_person_changed_are_read_again(
    client: Client, configured: ConfigContext, put: Put, pieces: list[int]
) -> None:
    flat = Token("default", (Secret("right-token"),), flat=True)
    zsets: list[SortedSet] = ["dead", "retry"]
    rows: list[tuple[SortedSet, Action]] = [
        (zset, action)
        for zset in zsets
        for action in (
            Action("edit", "ann", edit=Edit(tokens=Tokens((flat,)), command="status", any_command=True)),
            Action("move", "ann", queue="other"),
        )
    ]
    for zset, action in rows:
        client.command("FLUSHALL")
        fill(put, zset, range(10))
        summaries = Summaries(zset, configured)
        (before,) = summaries.now(client).causes
        list(perform(client, SetJobs(zset), action, configured))
        (after,) = summaries.now(client).causes
        assert (before.jobs, after.jobs, before.group == after.group) == (10, 10, False)
        pieces.clear()
        summaries.now(client)
        assert pieces == []


def test_more_notes_than_are_read_at_once_count_as_a_change(
    client: Client, configured: ConfigContext, put: Put, pieces: list[int]
) -> None:
    fill(put, "dead", range(10))
    summaries = Summaries("dead", configured)
    summaries.now(client)
    for _ in range(audit.MOST_BEHIND):
        client.command("XADD", "ns:restbroker:audit", "*", "place", "target:x")
    pieces.clear()
    assert causes(summaries.now(client)) == [("register", "ServerError", 10)]
    assert sum(pieces) == 10


def test_jobs_not_read_in_time_are_read_by_the_next_call(client: Client, configured: ConfigContext, put: Put) -> None:
    fill(put, "dead", range(4000))
    summaries = Summaries("dead", configured)
    first, second = (summaries.now(client, seconds=0.0) for _ in range(2))
    assert 0 < first.looked_at < second.looked_at < 4000
    found = summaries.now(client)
    assert {summary.total for summary in (first, second, found)} == {found.looked_at} == {4000}
    assert causes(found) == [("register", "ServerError", 4000)]
    assert [summary.is_counted for summary in (first, second, found)] == [False, False, True]
    client.command("ZREMRANGEBYRANK", "ns:dead", 0, 1)
    client.command("ZREMRANGEBYRANK", "ns:dead", -2, -1)
    again = summaries.now(client, seconds=0.0)
    assert (again.is_counted, summaries.now(client).is_counted) == (False, True)


def test_jobs_of_one_moment_are_counted_once(client: Client, configured: ConfigContext, put: Put) -> None:
    for n in range(2500):
        put("dead", NOW_S, f"j{n}")
    put("dead", NOW_S - 1, "older")
    summaries = Summaries("dead", configured)
    assert [causes(summaries.now(client)) for _ in range(2)] == [[("register", "ServerError", 2501)]] * 2


def test_a_job_without_its_secrets_names_its_group(client: Client, configured: ConfigContext, put: Put) -> None:
    arguments = {"user": "a", "password": "hush-hush-hush"}
    for n in range(2):
        put("dead", NOW_S + n, f"j{n}", arguments=arguments, error_message="Ruby told hush-hush-hush and right-token.")
    (cause,) = Summaries("dead", configured).now(client).causes
    assert cause.jobs == 2
    assert "hush" not in repr(cause)
    assert "right-token" not in repr(cause)


def test_group_reveals_nothing_hidden(client: Client, configured: ConfigContext, put: Put) -> None:
    message = "The server says: hunter2secretX is too weak."
    hidden = {"opts": {"password": "hunter2secretX"}}
    for zset, order in (("dead", (1, 2, 3)), ("retry", (3, 2, 1))):
        put(zset, NOW_S + order[0], "hidden", arguments=hidden, error_message=message)
        put(zset, NOW_S + order[1], "other", arguments={"opts": {"password": "0ther"}}, error_message=message)
        put(zset, NOW_S + order[2], "again", arguments={"opts": {"password": "n3xt"}}, error_message=message)
    groups: list[dict[str, list[str]]] = []
    zsets: tuple[SortedSet, ...] = ("dead", "retry")
    for zset in zsets:
        found = Summaries(zset, configured).now(client).causes
        where = [read([f"failure_group = {cause.group}"], NOW_S) for cause in found]
        groups.append(
            {
                cause.group: sorted(entry.jid or "" for entry in page(client, zset, wanted, configured).entries)
                for cause, wanted in zip(found, where, strict=True)
            }
        )
    assert groups[0] == groups[1]
    assert sorted(groups[0].values()) == [["again", "other"], ["hidden"]]


def test_only_jobs_for_which_all_conditions_hold_are_counted(
    client: Client, configured: ConfigContext, put: Put
) -> None:
    fill(put, "dead", range(1500))
    put("dead", NOW_S + 900, "j14k", "status", error_class="BadArgument", error_message="x")
    summaries = Summaries("dead", configured, where=read(["jid = j14*", "command = register"], NOW_S))
    for _ in range(2):
        found = summaries.now(client)
        assert causes(found) == [("register", "ServerError", 111)]
        assert (found.matching, found.looked_at, found.total) == (111, 1501, 1501)
    assert [cause.jobs for cause in found.main] == [111]
    put("dead", NOW_S + 901, "j14l")
    assert summaries.now(client).matching == 112


@pytest.fixture
def shares_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "_SHARED_AFTER", 1)


@pytest.mark.usefixtures("shares_at_once")
def test_another_process_begins_with_what_was_counted(
    client: Client, configured: ConfigContext, put: Put, pieces: list[int]
) -> None:
    fill(put, "dead", range(5000))
    put("dead", NOW_S + 9000, "k1", "status", error_class="BadArgument", error_message="It says s3cret.")
    of_pages = Summaries("dead", configured)
    whole = of_pages.now(client)
    pieces.clear()
    assert Summaries("dead", configured).now(client) == whole
    assert sum(pieces) == 0
    # What came, went or was edited meanwhile is read, and nothing else.
    put("dead", NOW_S + 9001, "k2", "status", error_class="BadArgument", error_message="It says s3cret.")
    assert causes(Summaries("dead", configured).now(client))[1] == ("status", "BadArgument", 2)
    assert 0 < sum(pieces) < 1500
    pieces.clear()
    list(perform(client, SetJobs("dead", ("k1",)), Action("move", "ann", queue="other"), configured))
    assert Summaries("dead", configured).now(client).looked_at == 5002
    assert sum(pieces) >= 5002, "all are read again after an edit"
    pieces.clear()
    # A secret that is known only by now is masked, and where other targets serve the queues nothing is taken over.
    learned = attrs.evolve(configured, secrets=spellings_of(["s3cret", "ejabberd"]))
    shown = Summaries("dead", learned).now(client)
    assert "s3cret" not in repr(shown)
    assert shown.causes[0].target == "ejabberd", "it is of the configuration, whatever else is called so"
    assert sum(pieces) == 0
    assert Summaries("dead", attrs.evolve(configured, targets={})).now(client).looked_at == 5002
    assert sum(pieces) >= 5002


@pytest.mark.usefixtures("shares_at_once")
@pytest.mark.parametrize("what", ["{}", "[1]", "[[", "5", '{"low": "x"}', '{"low": 0, "high": 1, "jobs": "x"}', None])
def test_what_others_wrote_as_counts_is_read_again(
    client: Client, configured: ConfigContext, put: Put, what: str | None
) -> None:
    fill(put, "dead", range(10))
    whole = Summaries("dead", configured).now(client)
    head, line = raw(client.command("HGET", client.keys.causes, "dead")).decode().splitlines()
    client.command(
        "HSET", client.keys.causes, "dead", f"{head}\n{line.replace('jobs', 'jbs') if what is None else what}"
    )
    assert Summaries("dead", configured).now(client) == whole
    client.command("DEL", client.keys.causes)
    client.command("SET", client.keys.causes, "no hash")
    assert Summaries("dead", configured).now(client) == whole


def test_counts_of_some_jobs_are_not_shared(
    client: Client, configured: ConfigContext, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(put, "dead", range(10))
    Summaries("dead", configured).now(client)
    monkeypatch.setattr(summary, "_SHARED_AFTER", 1)
    Summaries("dead", configured, where=read(["jid = j1"], NOW_S)).now(client)
    assert client.command("EXISTS", client.keys.causes) == 0


@pytest.mark.usefixtures("shares_at_once")
def test_causes_are_told_by_a_redis_that_is_full(client: Client, configured: ConfigContext, put: Put) -> None:
    fill(put, "dead", range(10))
    client.command("CONFIG", "SET", "maxmemory", "100kb")
    try:
        assert Summaries("dead", configured).now(client).looked_at == 10
        assert client.command("EXISTS", client.keys.causes) == 0
    finally:
        client.command("CONFIG", "SET", "maxmemory", "0")
