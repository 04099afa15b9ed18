"""A queue that is served fairly, as people see and change it: keys, jobs in lines, their removal and their return."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from restbroker.broker.tokens import Tokens
from restbroker.config.core import Config
from restbroker.config.secret import Secret
from restbroker.config.target import Target
from restbroker.errors import UsageError
from restbroker.job.fairness import BEFORE_ORDER
from restbroker.operate import act, act_waiting, audit, explain, find, keys, tokens, walk
from restbroker.operate.act import Progress
from restbroker.operate.act_job import Action
from restbroker.operate.check.queues import check_queues
from restbroker.operate.context import ConfigContext, context_of
from restbroker.operate.find import LinePlace, SearchLimits
from restbroker.operate.follow import follow
from restbroker.operate.keys import NO_KEY, FairKey
from restbroker.operate.system import system
from restbroker.operate.walk import Match, Walk
from restbroker.operate.where import read
from restbroker.store import classifying, key_queues, pauses, processes, queues, survey, waiting
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Gone
from restbroker.store.identities import ProcessInfo
from restbroker.store.jobs import FetchRequest, FetchResult, register
from restbroker.store.processes import Record
from restbroker.store.server import server
from restbroker.store.sets import Placement
from restbroker.store.waiting import TakeRequest
from tests.operate.conftest import NOW_S, written
from tests.operate.pools import serve
from tests.support.store_calls import classify_lines, fetch

TEXT = '{"by":["host"],"fair":1,"weights":{"vip.org":4}}'
PATIENT = find.SearchLimits(seconds=600.0)
"""On a busy machine a page would end before its last job."""


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    target = {"Queues": ["rest", "slow"], "FairBy": ["host"], "FairWeights": {"Vip.org": 4}}
    return written(tmp_path, {"e": target}, ResponseQueue="answers")


def job(jid: str, host: str | None = None, **more: Any) -> bytes:
    arguments = {"user": jid} if host is None else {"user": jid, "host": host}
    fields = {
        "class": "Add",
        "args": ["check_account", arguments, "right-token"],
        "jid": jid,
        "enqueued_at": NOW_S,
        **more,
    }
    return json.dumps(fields).encode()


def classify(client: Client) -> None:
    while queues.peek(client, "rest", 0, 1):
        classify_lines(client, "e", "rest", TEXT)
        time.sleep(0.002)


@pytest.fixture
def mixed(client: Client) -> Client:
    """Ten jobs of a large key, two of a heavy one and one without in lines; then two of another key in the list."""
    queues.push(client, "rest", [job(f"b{n}", "big.org") for n in range(10)])
    queues.push(client, "rest", [job("v0", "vip.org"), job("v1", "vip.org"), job("n0")])
    classify(client)
    queues.push(client, "rest", [job("l0", "list.org"), job("l1", "list.org")])
    return client


def in_turn(client: Client, known: ConfigContext) -> list[str | None]:
    return [entry.jid for entry in find.waiting_page(client, "rest", (), known, limit=100, limits=PATIENT).entries]


ORDER = ["v0", "v1", "n0", "b0", *(f"b{n}" for n in range(1, 10)), "l0", "l1"]


def test_keys_of_a_queue_are_shown_with_weights_and_shares(mixed: Client, known: ConfigContext) -> None:
    found = keys.fair_queue(mixed, "rest", known)
    assert (found.in_list, found.in_lines, found.count) == (2, 13, 3)
    waited = [key.latency_s for key in found.keys]
    assert all(wait_s is not None and wait_s > 1000 for wait_s in waited)
    assert [attrs.evolve(key, latency_s=None) for key in found.keys] == [
        FairKey("big.org", 10, 1, 1 / 6, None),
        FairKey("vip.org", 2, 4, 4 / 6, None),
        FairKey(NO_KEY, 1, 1, 1 / 6, None, is_named=False),
    ]
    assert [key.name for key in keys.fair_queue(mixed, "rest", known, 1).keys] == ["big.org"]
    assert keys.fair_queue(mixed, "slow", known).keys == ()
    rest = next(queue for queue in system(mixed, ["rest"]).queues if queue.name == "rest")
    assert (rest.size, rest.in_lines) == (15, 13)


def test_waiting_jobs_are_listed_in_their_turns(mixed: Client, known: ConfigContext, target: Target) -> None:
    assert in_turn(mixed, known) == ORDER
    page = find.waiting_page(mixed, "rest", (), known, limit=5, limits=PATIENT)
    assert (page.total, page.after) == (15, "5")
    shown, after = [entry.jid for entry in page.entries], page.after
    while after is not None:
        page = find.waiting_page(mixed, "rest", (), known, after=after, limit=5, limits=PATIENT)
        shown, after = shown + [entry.jid for entry in page.entries], page.after
    assert shown == ORDER
    where = read(["host = vip.org"], NOW_S)
    assert [entry.jid for entry in find.waiting_page(mixed, "rest", where, known, limits=PATIENT).entries] == [
        "v0",
        "v1",
    ]
    found = keys.find_key(mixed, [target], "BIG.org", known)
    assert [entry.jid for entry in keys.jobs_of_key(mixed, *found, known, 3)] == ["b0", "b1", "b2"]
    assert keys.find_key(mixed, [target], NO_KEY, known)[1].key == b""
    with pytest.raises(UsageError, match=r"There is no key none\.org: "):
        keys.find_key(mixed, [target], "none.org", known)


def test_a_job_that_goes_back_into_a_line_is_not_called_done(
    mixed: Client, known: ConfigContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = job("back", "vip.org")
    mixed.command("SET", "a process", raw)
    rest_of_queues = Walk.rest_of_queues

    def passed(walk: Walk) -> Iterator[Match]:
        yield from rest_of_queues(walk)
        if mixed.command("GETDEL", "a process"):
            queues.push(mixed, "rest", [raw, *(job(f"c{n}", "vip.org") for n in range(5))])
            classify(mixed)

    monkeypatch.setattr(walk, "_AT_END", 2)
    monkeypatch.setattr(Walk, "rest_of_queues", passed)
    found = follow(mixed, ["back"], known, SearchLimits())
    assert (found.waiting, found.done) == (1, 0)


def test_the_order_that_is_shown_is_the_order_of_service(client: Client, known: ConfigContext) -> None:
    hosts = ["a", "b", "vip.org", "c"]
    queues.push(client, "rest", [job(f"{host}-{n}", host) for n in range(7) for host in hosts])
    classify(client)
    found = key_queues.read_key_queues(client, "rest", "e")
    cost = known.cost("rest")
    places = list(key_queues.by_turn(found, cost))
    assert [key_queues.count_before(found, line, place, cost) for line, place in places] == list(range(28))
    order = [(line.name, line.jobs - 1 - place) for line, place in places]
    assert register(client, "h:1:a:e", ProcessInfo(1, "h", "boot", "ns", 1, "e"), ["rest"], key_rules=TEXT)
    got = fetch(client, FetchRequest("h:1:a:e", "e", ("rest",), 0, 28, 0, key_rules=TEXT))
    assert isinstance(got, FetchResult)
    assert [json.loads(job.raw)["jid"] for job in got.jobs] == [f"{name}-{number}" for name, number in order]


def test_explain_says_where_in_its_line_a_job_is(mixed: Client, known: ConfigContext) -> None:
    (place,) = explain.explain(mixed, "b3", known).locations
    assert (place.kind, place.name, place.ahead) == ("queue", "rest", 6)
    assert place.line == LinePlace("big.org", 4, 10, 3)
    (place,) = explain.explain(mixed, "l1", known).locations
    assert (place.ahead, place.line) == (14, None)
    # Jobs of a queue that no one lists are found in lines too.
    mixed.command("SREM", mixed.keys.queues, "rest")
    mixed.command("DEL", mixed.keys.queue("rest"))
    assert "rest" in survey.lists(mixed)
    (place,) = explain.explain(mixed, "v1", ConfigContext({})).locations
    assert place.line == LinePlace("vip.org", 2, 2, 3)


def test_tokens_are_counted_in_lines_too(mixed: Client, settings: Config) -> None:
    counts = tokens.count_tokens(mixed, Tokens(settings.tokens), {"rest": "e"}, 100)
    assert sum(counts.jobs.values()) == 15


def perform(client: Client, settings: Config, action: Action, *where: str, limit: int | None = None) -> Progress:
    meant = act_waiting.select(client, "rest", read(where, NOW_S), settings, limit)
    known = context_of(settings)
    *_, last = act.perform(client, meant, action, known)
    assert last.ended
    return last


def test_jobs_in_lines_and_in_the_list_are_deleted_by_conditions(
    mixed: Client, settings: Config, known: ConfigContext
) -> None:
    done = perform(mixed, settings, Action("delete", "ann"), "host = vip.org")
    assert (done.total, done.looked_at, done.done, done.unseen) == (15, 15, 2, 0)
    assert keys.fair_queue(mixed, "rest", known).count == 2
    done = perform(mixed, settings, Action("delete", "ann"), "host = big.org", limit=3)
    assert done.done == 3
    assert [line.jobs for line in key_queues.read_key_queues(mixed, "rest", "e") if line.name == "big.org"] == [7]
    assert perform(mixed, settings, Action("delete", "ann"), "jid = b5").done == 1
    assert perform(mixed, settings, Action("delete", "ann"), "jid = l0").done == 1
    assert in_turn(mixed, known) == ["n0", "b3", "b4", "b6", "b7", "b8", "b9", "l1"]
    assert perform(mixed, settings, Action("delete", "ann")).done == 8
    assert not mixed.command("EXISTS", mixed.keys.key_queue("rest"), mixed.keys.ready_keys("rest"))


def test_jobs_in_lines_are_killed(mixed: Client, settings: Config, known: ConfigContext) -> None:
    assert perform(mixed, settings, Action("kill", "ann"), "jid = b1").done == 1
    assert mixed.command("ZCARD", mixed.keys.sorted_set("dead")) == 1
    assert [jid for jid in in_turn(mixed, known) if jid and jid[0] == "b"] == ["b0", *(f"b{n}" for n in range(2, 10))]


def test_a_job_that_was_taken_meanwhile_is_left_alone(mixed: Client, settings: Config, known: ConfigContext) -> None:
    meant = act_waiting.select(mixed, "rest", read(["host = big.org"], NOW_S), settings)
    mixed.command("RPOP", key_queue_of("big.org"))
    *_, last = act.perform(mixed, meant, Action("delete", "ann"), known)
    assert (last.done, last.unseen) == (9, 1)


def key_queue_of(group: str) -> str:
    return f"ns:restbroker:line:rest{BEFORE_ORDER}{group}"


def test_a_job_of_a_line_is_taken_only_as_it_was_read(mixed: Client) -> None:
    (meant,) = [snapshot for snapshot in waiting.take_snapshots(mixed, "rest", "e") if snapshot.job_key == b"big.org"]
    found = waiting.piece(mixed, meant, 9, 3)
    assert found is not None
    # A process took the second; another job came back in the place of the first one.
    mixed.command("LSET", key_queue_of("big.org"), -1, b"another")
    mixed.command("LREM", key_queue_of("big.org"), 1, found.jobs[1])
    takings = [TakeRequest(rank, Placement(raw)) for rank, raw in found.with_ranks]
    assert waiting.take(mixed, meant, takings) == [Gone(), Gone(), Applied()]
    (left,) = [line.jobs for line in key_queues.read_key_queues(mixed, "rest", "e") if line.name == "big.org"]
    assert (left, mixed.command("GET", mixed.keys.key_queue("rest"))) == (8, b"12")


def test_a_keys_jobs_are_dropped_and_no_others(
    mixed: Client, settings: Config, known: ConfigContext, target: Target
) -> None:
    _, held = keys.find_key(mixed, [target], "big.org", known)
    *_, last = keys.drop(mixed, target, held, settings, Action("kill", "ann", why="a loop"), known)
    assert (last.done, last.refused) == (10, {})
    assert set(in_turn(mixed, known)) == {"v0", "v1", "n0", "l0", "l1"}
    assert mixed.command("ZCARD", mixed.keys.sorted_set("dead")) == 10
    ended, *_, begun = list(audit.entries(mixed, 9))
    assert (begun.note.action, begun.note.state, begun.note.place) == ("kill", "begun", "queue:rest")
    assert (ended.note.state, ended.note.done, ended.note.why) == ("ended", 10, "a loop")


def test_lines_return_to_the_list_of_a_paused_queue(mixed: Client, known: ConfigContext, target: Target) -> None:
    # What names a line was deleted by hand.
    mixed.command("ZREM", mixed.keys.ready_keys("rest"), "big.org")
    groups, stopped = keys.keys_in(mixed, "rest", target, known)
    assert (groups, stopped) == ([b"", b"big.org", b"vip.org"], [])
    with pytest.raises(UsageError, match="not paused"):
        list(keys.give_back(mixed, "rest", target, groups, "ann", ""))
    pauses.pause_queue(mixed, "rest", "ann", "", None)
    *_, last = keys.give_back(mixed, "rest", target, groups, "ann", "downgrade")
    assert (last.done, last.ended) == (13, True)
    found = [json.loads(raw)["jid"] for raw in queues.peek(mixed, "rest", 0, 20)]
    assert found[13:] == ["l0", "l1"]
    assert [jid for jid in found if jid[0] == "b"] == [f"b{n}" for n in range(10)]
    assert not mixed.command(
        "EXISTS", mixed.keys.key_queue("rest"), mixed.keys.ready_keys("rest"), mixed.keys.fair("rest")
    )
    assert next(iter(audit.entries(mixed, 1))).note.state == "ended"


def test_a_clear_keeps_the_newest_job_out_of_lines(client: Client) -> None:
    queues.push(client, "rest", [job(f"a{n}", "a") for n in range(300)])
    classify_lines(client, "e", "rest", TEXT)
    last = queues.newest(client, "rest")
    assert last is not None
    assert queues.clear(client, "rest", last, 60)[:2] == (60, 40)
    pace = client.keys.pace("rest")
    assert client.command("GET", pace) == b"clear"
    # Two seconds may be over on a busy machine.
    assert client.command("PEXPIRE", pace, 600_000) == 1
    answer = classify_lines(client, "e", "rest", TEXT)
    assert isinstance(answer, classifying.ClassifyRefused)
    assert register(client, "h:1:a:e", ProcessInfo(1, "h", "boot", "ns", 1, "e"), ["rest"], key_rules=TEXT)
    got = fetch(client, FetchRequest("h:1:a:e", "e", ("rest",), 0, 10, 0, key_rules=TEXT))
    assert isinstance(got, FetchResult)
    # It takes what is in lines, and moves nothing.
    assert (len(got.jobs), client.command("LLEN", client.keys.queue("rest"))) == (10, 40)
    assert queues.clear(client, "rest", last, 250)[:2] == (40, 0)
    assert client.command("GET", pace) is None


def test_a_process_lists_a_queue_of_which_only_lines_are_left(mixed: Client) -> None:
    mixed.command("DEL", mixed.keys.queue("rest"))
    mixed.command("SREM", mixed.keys.queues, "rest")
    work = {"t1": b"{}"}
    processes.write(mixed, Record("h:1:a", b"{}", work, False, 1, 1, 1, ("rest", "slow")))
    assert queues.names(mixed) == {"rest"}
    assert mixed.command("HGETALL", mixed.keys.work("h:1:a")) == [b"t1", b"{}"]


def test_check_counts_jobs_in_lines_and_names_foreign_tokens(mixed: Client, settings: Config) -> None:
    def found() -> dict[str, str]:
        return {
            finding.code: finding.message
            for finding in check_queues(mixed, settings, server(mixed))
            if "rest" in finding.message
        }

    other = attrs.evolve(settings.tokens[0], secrets=(Secret("another-token"),))
    for pid, token in ((7, other), (8, settings.tokens[0])):
        serve(mixed, "e", pid, ["rest"], tokens=Tokens([token]).digests(settings.targets))
    texts = found()
    assert texts["TokensMixed"] == "node:7 serves the queue rest with other tokens than this configuration."
    assert any("15 jobs wait (13 in lines, which Sidekiq Web does not show)" in message for message in texts.values())
