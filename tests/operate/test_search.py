"""Searching everywhere: what is found where, what is hidden from it, and what it says that it did not look at."""

import base64
import json
import sys
from types import FrameType

import pytest

from restbroker.errors import UsageError
from restbroker.operate.context import ConfigContext
from restbroker.operate.find import SearchLimits
from restbroker.operate.search import SearchResult, search
from restbroker.operate.where import parse_search
from restbroker.store import history, queues
from restbroker.store.client import Client
from restbroker.store.history import JobEnd
from tests.operate.conftest import NOW_S, Put, job
from tests.operate.pools import record, take


def found(client: Client, known: ConfigContext, *typed: str, bounds: SearchLimits | None = None) -> SearchResult:
    return search(client, parse_search(typed, NOW_S, hidden=known.hidden), known, bounds or SearchLimits())


def places(of: SearchResult) -> list[tuple[str, str, str | None]]:
    return [(hit.kind, hit.name, hit.entry.jid) for hit in of.hits]


def put_everywhere(client: Client, put: Put) -> None:
    take(client, "held")
    queues.push(client, "rest", [job("first"), job("waits")])
    queues.push(client, "answers", [job("answer", arguments={"note": "waits and first"})])
    for zset in ("dead", "retry", "schedule"):
        put(zset, NOW_S, f"in-{zset}")
    record_end(client, JobEnd("ended", "ejabberd", "register", "delivered", 200, 12.5))


def record_end(client: Client, ending: JobEnd) -> None:
    client.command("XADD", "ns:restbroker:history", "*", "end", history.to_record(ending))


def test_a_text_is_found_in_each_place_where_a_job_can_be(client: Client, configured: ConfigContext, put: Put) -> None:
    put_everywhere(client, put)
    rows: dict[str, list[tuple[str, str, str | None]]] = {
        "held": [("in progress", "web1:7", "held")],
        "WAITS": [("queue", "answers", "answer"), ("queue", "rest", "waits")],
        "in-": [("dead", "dead", "in-dead"), ("retry", "retry", "in-retry"), ("schedule", "schedule", "in-schedule")],
        "nobody": [],
    }
    for text, expected in rows.items():
        assert places(found(client, configured, text)) == expected, text
    assert [end.ending.jid for end in found(client, configured, "ended").ends] == ["ended"]
    assert found(client, configured, "waits").hits[1].ahead == 1


def test_queues_beyond_the_time_limit_are_named_or_counted(
    client: Client, configured: ConfigContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(30):
        queues.push(client, f"q{n:02}", [job("j1")])
    searched: list[str] = []

    def listed(_client: Client, queue: str, _skip: int, _count: int) -> list[bytes]:
        searched.append(queue)
        return []

    monkeypatch.setattr(queues, "peek", listed)
    said = found(client, configured, "nobody", bounds=SearchLimits(seconds=0)).unseen
    assert searched == []
    # 30 that were announced, and the three of the configuration.
    assert "the queue q00" in said
    assert "23 more queues" in said


def test_conditions_and_texts_must_all_hold(client: Client, configured: ConfigContext, put: Put) -> None:
    put_everywhere(client, put)
    put("dead", NOW_S + 1, "x1", command="send_message", arguments={"to": "Bob@x", "n": 5, "list": ["deep\u00e9"]})
    rows: dict[tuple[str, ...], list[str]] = {
        ("to=Bob@x",): ["x1"],
        ("to=bob@x",): [],
        ("to ~ bob",): ["x1"],
        ("bob@X", "command = send_*"): ["x1"],
        ("bob@x", "command=register"): [],
        ("n=5",): ["x1"],
        ("n > 4",): ["x1"],
        ("deep\u00c9",): ["x1"],
        ("'to=Bob@x'",): [],
        ("queue=answers",): ["answer"],
        ("jid=ended",): [],
    }
    for typed, expected in rows.items():
        assert [hit.entry.jid for hit in found(client, configured, *typed).hits] == expected, typed
    assert [end.ending.jid for end in found(client, configured, "jid=ended", "target=ejabberd").ends] == ["ended"]


def test_text_escaped_in_json_is_found_as_well(client: Client, configured: ConfigContext) -> None:
    raw = b'{"class":"Add","jid":"e1","args":["register",{"user":"\\u0061lice","host":"a\\/b"},"t"]}'
    client.command("LPUSH", "ns:queue:rest", raw)
    for typed in ("alice", "user=alice", "a/b"):
        assert [hit.entry.jid for hit in found(client, configured, typed).hits] == ["e1"], typed


def test_nothing_is_found_by_what_is_hidden(client: Client, configured: ConfigContext, put: Put) -> None:
    hidden = {"user": "u", "password": "pass-word-4711", "body": "a private text"}
    put("dead", NOW_S, "d1", arguments=hidden, error_message="The password pass-word-4711 is wrong.")
    queues.push(client, "rest", [job("q1", arguments=hidden)])
    queues.push(client, "foreign", [job("f1", arguments=hidden)])
    record_end(client, JobEnd("e1", "ejabberd", "right-token", "delivered", 200, 1.0))
    for text in ("pass-word-4711", "word-47", "private", "right-token"):
        shown = found(client, configured, text)
        assert (places(shown), shown.ends) == ([], ()), text
    for typed in ("password=pass-word-4711", "body ~ private"):
        with pytest.raises(UsageError):
            found(client, configured, typed)
    assert "pass-word-4711" not in repr(found(client, configured, "d1"))


def test_unsearched_places_are_named(client: Client, configured: ConfigContext, put: Put) -> None:
    queues.push(client, "rest", [job(f"j{n}") for n in range(60)])
    for n in range(300):
        put("dead", NOW_S + n, f"d{n}")
    bounded = found(client, configured, "d", bounds=SearchLimits(jobs=40))
    assert {"the queue rest, after 40 jobs", "the dead set, after 40 jobs"} <= set(bounded.unseen)
    assert bounded.looked_at == {"the queue rest": 40, "the dead set": 40}
    few = found(client, configured, "user ~ d", bounds=SearchLimits(hits=3))
    assert [hit.entry.jid for hit in few.hits] == ["d299", "d298", "d297"]
    assert "the dead set, after 3 jobs" in few.unseen
    assert "finished jobs, whose records keep no arguments (user)" in few.unseen
    late = found(client, configured, "d", bounds=SearchLimits(seconds=0))
    assert (late.hits, late.looked_at) == ((), {})
    assert {"the dead set", "the queue rest"} <= set(late.unseen)


def test_unsearchable_job_is_counted_and_not_found(client: Client, configured: ConfigContext) -> None:
    for raw in (b"\xff\x00 secret", b'"text"', job("large", arguments={"note": "x" * 70_000, "password": "hunter22"})):
        client.command("LPUSH", "ns:queue:rest", raw)
    record(client, "host:1:ruby", {"t1": {"queue": "rest", "payload": json.dumps({"jid": "r1"}), "run_at": 1}})
    for text in ("xxx", "not", "text", "secret"):
        shown = found(client, configured, text)
        assert places(shown) == [], text
        assert "the arguments of 1 jobs that have more than 64 KiB" in shown.unseen
        assert "2 entries that are not jobs: not a JSON object" in shown.unseen
    assert places(found(client, configured, "large")) == [("queue", "rest", "large")]


def test_a_key_of_another_type_hides_no_other_place(client: Client, configured: ConfigContext) -> None:
    client.command("SET", "ns:dead", "no set")
    queues.push(client, "rest", [job("q1")])
    shown = found(client, configured, "q1")
    assert places(shown) == [("queue", "rest", "q1")]
    assert len(shown.refused) == 1


def test_word_that_is_no_condition_and_no_text_is_refused(client: Client, configured: ConfigContext) -> None:
    rows: list[tuple[str, ...]] = [(), (" ",), ("''",), ("x" * 501,), ("command < a",), ("user == bob",)]
    for typed in rows:
        with pytest.raises(UsageError):
            found(client, configured, *typed)


def test_a_shown_reason_is_found_whatever_is_hidden(client: Client, configured: ConfigContext, put: Put) -> None:
    for number, password in enumerate(("mail", "mailb", "xxxx", "is f", "a mailbox")):
        hidden = {"user": "u", "password": password, "body": "a letter"}
        put("dead", NOW_S + number, f"j{number}", arguments=hidden, error_message="This mailbox is full.")
    for typed in ("mailbox", "message ~ mailbox"):
        assert len(found(client, configured, typed).hits) == 5, typed


def test_a_search_works_alike_for_hidden_and_absent_text(client: Client, configured: ConfigContext, put: Put) -> None:
    coded = base64.b64encode(b"admin:hunter-4711").decode()
    for number in range(6):
        user = {"user": f"u{number}", "password": f"sesame-{number}", "body": "sesame of a text"}
        put("dead", number, f"j{number}", arguments=user, error_message=f"No sesame-{number} here.")
        ticket = {"authorization": "Bearer tickets-4711", "pin_token": "a7b", "note": "<pass>hunter-4711</pass>"}
        said = "No tickets-4711, a7b, tick... or sesame%2D4."
        put("dead", 100 + number, f"t{number}", arguments={**ticket, "password": "sesame-4"}, error_message=said)
        repeated = {"password": "hunter-4711", "user": "hunter-4711", "text": "x"}
        put("dead", 200 + number, f"r{number}", arguments=repeated, error_message=f"Login {coded} failed.")

    def steps(*typed: str) -> int:
        called = 0

        def count(frame: FrameType, event: str, _: object) -> None:
            nonlocal called
            called += event == "call" and "/restbroker/" in frame.f_code.co_filename

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            assert not found(client, configured, *typed).hits
        finally:
            sys.setprofile(before)
        return called

    def is_same(hidden: str, nowhere: str) -> bool:
        # A search that was interrupted rests now and then, which is a call.
        return any(steps(hidden) == steps(nowhere) for _ in range(3))

    steps("warm")
    rows = [("sesame-2", "xesame-2"), ("ticke", "xicke"), ("a7b", "x7b"), ("hunte", "xunte"), (coded[8:14], "x" * 6)]
    for hidden, nowhere in [*rows, ("arg.pasword ~ sesame", "arg.pasword ~ xesame")]:
        assert is_same(hidden, nowhere), hidden
    for hidden, nowhere in rows:
        assert is_same(f"message ~ {hidden}", f"message ~ {nowhere}"), hidden
        assert is_same(f"user ~ {hidden}", f"user ~ {nowhere}"), hidden
