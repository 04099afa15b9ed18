"""A job's story: where it is, wherever that may be, and what people did with it."""

import json
import re
import time
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest

from restbroker.cli import entries
from restbroker.cli.explain_job import situation
from restbroker.job.claims import at_work_value, done_value, waiting_value
from restbroker.operate.act import Action, perform
from restbroker.operate.act_set import SetJobs
from restbroker.operate.context import ConfigContext, context_of
from restbroker.operate.explain import TOLD, explain
from restbroker.operate.find import SearchLimits
from restbroker.store import events, history, pauses, queues
from restbroker.store.client import Client
from restbroker.store.events import IncomingEvent
from restbroker.store.history import JobEnd
from restbroker.store.jobs import FetchRequest
from restbroker.store.keys import SortedSet
from tests.operate.conftest import NOW_S, Put, fields_of, job, written
from tests.operate.pools import IDENTITY, serve, take
from tests.support.store_calls import fetch


def test_a_job_of_a_set_is_found_there(client: Client, configured: ConfigContext, put: Put) -> None:
    rows: list[str] = ["retry", "schedule", "dead"]
    for zset in rows:
        client.command("FLUSHALL")
        put(zset, NOW_S, "j1")
        put(zset, NOW_S, "j11")
        (place,) = explain(client, "j1", configured).locations
        assert (place.kind, place.entry.jid, place.entry.at_s) == (zset, "j1", NOW_S)


UNSAFE: dict[str, Any] = {"command": "send_message", "restbroker_may_have_run": True}


@pytest.mark.parametrize(
    ("fields", "options", "edits"),
    [
        ({}, "", True),
        (UNSAFE, " --repeat-unsafe", True),
        ({**UNSAFE, "queue": "elsewhere"}, " --foreign-queues --repeat-unsafe", False),
        ({"queue": ""}, None, False),
        ({"class": "Restbroker::Unreadable"}, None, False),
        ({"args": ["register", {}, f"v1:app:1700000000:{'0' * 64}"]}, "", False),
    ],
)
def test_a_step_that_is_printed_is_let_through(
    fields: dict[str, Any], options: str | None, edits: bool, client: Client, put: Put, tmp_path: Path
) -> None:
    """The options of a job's retry, None where it has none; and whether it can be edited."""
    settings = written(tmp_path, {}, RestQueue="rest", RestURL="http://127.0.0.1:1/api")
    for zset in get_args(SortedSet):
        client.command("FLUSHALL")
        put(zset, NOW_S, "j 1", **fields)
        said = " ".join(situation(client, "j 1", settings))
        retry = re.search(r"restbroker \w+ retry 'j 1'((?: --[a-z-]+)*)", said)
        assert (retry and retry[1], " edit 'j 1' " in said) == (options, edits)
        action = Action("retry", "ann", repeat_unsafe="-unsafe" in said, foreign_queues="-queues" in said)
        *_, done = perform(client, SetJobs(zset, ("j 1",)), action, context_of(settings), dry_run=True)
        assert done.done == (retry is not None)


def test_a_job_that_was_in_crashes_says_how_long_it_waits(client: Client, configured: ConfigContext, put: Put) -> None:
    put("schedule", NOW_S + 40, "j1", restbroker_crashes=3, restbroker_deferred_at=NOW_S)
    (place,) = explain(client, "j1", configured).locations
    assert (place.entry.crash_text, place.entry.may_have_run) == ("waits 40 s after 3 crashes", True)
    assert dict(entries.properties(attrs.evolve(place.entry, attempts=0)))["tried"] == "never to its end"
    client.command("FLUSHALL")
    queues.push(client, "rest", [job("j1", restbroker_crashes=1), job("j2"), job("j3", restbroker_crashes=-1)])
    for jid, text in (("j1", "was in progress in 1 crash"), ("j2", ""), ("j3", "")):
        (place,) = explain(client, jid, configured).locations
        assert (place.entry.crash_text, place.entry.may_have_run) == (text, bool(text))


def test_a_killed_process_that_none_has_found_serves_no_job(client: Client, configured: ConfigContext) -> None:
    """Where it was the only one, its identity lives on in Redis until another starts."""
    serve(client, "ejabberd", 7, ["rest"])
    queues.push(client, "rest", [job("j1")])
    (place,) = explain(client, "j1", configured).locations
    assert place.serving is not None
    client.command("HSET", client.keys.info("node:7:abc:ejabberd"), "beat_at", int(time.time()) - 20)
    (place,) = explain(client, "j1", configured).locations
    assert place.serving is None


def test_a_job_whose_key_is_taken_says_that_it_is_not_sent(client: Client, configured: ConfigContext, put: Put) -> None:
    twin = job("j2", idempotency_key="order-17")
    queues.push(client, "rest", [twin])
    put("dead", NOW_S, "j3", idempotency_key="order-17")
    own = configured.claims("rest", fields_of(twin))
    assert own is not None
    assert own.once is not None
    place = client.keys.claim(own.once)
    states = [
        (waiting_value("j1"), "The job j1 has the same idempotency key: this one will not be sent unless"),
        (
            at_work_value("j1", "5", IDENTITY),
            "The job j1 has the same idempotency key: this one will not be sent unless",
        ),
        (done_value("j1"), "The job j1 was done with the same idempotency key: this one will not be sent."),
    ]
    for value, text in states:
        client.command("SET", place, value)
        for jid in ("j2", "j3"):
            (found,) = explain(client, jid, configured).locations
            assert found.twin is not None
            assert found.twin.text.startswith(text)
    client.command("SET", place, waiting_value("j2"))
    (found,) = explain(client, "j2", configured).locations
    assert found.twin is None, "its own claim"
    for call in (("SET", place, "nobody"), ("DEL", place)):
        client.command(*call)
        assert explain(client, "j2", configured).locations[0].twin is None
    client.command("LPUSH", place, "no text")
    story = explain(client, "j2", configured)
    assert (story.locations[0].twin, len(story.refused)) == (None, 1)


def test_a_job_fetched_before_an_outage_says_why_it_waits(client: Client, configured: ConfigContext) -> None:
    serve(client, "ejabberd", 7, ["rest"], gate="closed", gate_reason="No connection.", gate_cure="Start it.")
    serve(client, "ejabberd", 8, ["rest"])
    for pid, jid, why in ((7, "j1", "No connection. Start it."), (8, "j2", None)):
        queues.push(client, "rest", [job(jid)])
        identity = f"node:{pid}:abc:ejabberd"
        fetch(client, FetchRequest(identity, "ejabberd", ("rest",), 0, 1, 1))
        (place,) = explain(client, jid, configured).locations
        assert (place.kind, place.name, place.hindrance) == ("in progress", f"node:{pid}", why)


def test_actions_of_people_are_shown(client: Client, configured: ConfigContext, put: Put) -> None:
    put("dead", NOW_S, "j1")
    put("dead", NOW_S, "j2")
    list(perform(client, SetJobs("dead", ("j1",)), Action("retry", "ann@web1"), configured))
    story = explain(client, "j1", configured)
    assert [(act.note.who, act.note.action) for act in story.acts] == [("ann@web1", "retry")]
    assert [place.kind for place in story.locations] == ["queue"]
    assert explain(client, "j2", configured).acts == ()


def test_unfinished_searches_are_named(client: Client, configured: ConfigContext, put: Put) -> None:
    queues.push(client, "rest", [job(f"j{n}") for n in range(60)])
    story = explain(client, "j5", configured, SearchLimits(jobs=40))
    assert story.locations == ()
    assert any("queue rest" in place for place in story.unseen)
    for n in range(3000):
        put("dead", n, f"d{n}")
    assert any("dead" in place for place in explain(client, "nobody", configured, SearchLimits(seconds=0)).unseen)


def test_a_queue_of_equal_jobs_ends_the_search_in_time(client: Client, configured: ConfigContext) -> None:
    for _ in range(20):
        queues.push(client, "rest", [job("j1")] * 20_000)
    began_s = time.monotonic()
    assert "the queue rest" in explain(client, "nobody", configured, SearchLimits(seconds=0.2)).unseen
    assert time.monotonic() - began_s < 3


def test_end_of_a_job_is_shown_where_it_is_kept(client: Client, configured: ConfigContext) -> None:
    for jid in ("j1", "j2", "j1"):
        record = history.to_record(JobEnd(jid, "ejabberd", "register", "delivered", 200, 12.5))
        client.command("XADD", "ns:restbroker:history", "*", "end", record)
    client.command("XADD", "ns:restbroker:history", "*", "end", "j1, as others wrote it")
    story = explain(client, "j1", configured)
    assert [end.ending for end in story.ends] == [JobEnd("j1", "ejabberd", "register", "delivered", 200, 12.5)] * 2
    assert story.ends[0].at_s >= story.ends[1].at_s > NOW_S
    assert (story.locations, story.unseen) == ((), ())
    assert explain(client, "nobody", configured).ends == ()


def test_what_a_job_asked_for_in_vain_stands_in_its_timeline(
    client: Client, configured: ConfigContext, put: Put
) -> None:
    put("dead", NOW_S, "j1", orderKey="a", order_key="b", tags=["x"])
    (place,) = explain(client, "j1", configured).locations
    assert place.entry.unmet == (
        'It has order_key, which has no effect at its target. Give the target "OrderBy": "order_key", or leave it out.',
        "It has orderKey, which restbroker does not read. Did you mean order_key?",
    )
    put("dead", NOW_S, "j2")
    (place,) = explain(client, "j2", configured).locations
    assert place.entry.unmet == ()


def test_ends_are_shown_of_dead_and_absent_jobs_only(client: Client, configured: ConfigContext, put: Put) -> None:
    rows: list[tuple[SortedSet, int]] = [("retry", 0), ("dead", 1)]
    for zset, ends in rows:
        client.command("FLUSHALL")
        record = history.to_record(JobEnd("j1", "ejabberd", "register", "delivered", 200, 12.5))
        client.command("XADD", "ns:restbroker:history", "*", "end", record)
        put(zset, NOW_S, "j1")
        assert len(explain(client, "j1", configured).ends) == ends


def test_job_held_by_a_pause_names_its_author_and_reason(client: Client, configured: ConfigContext) -> None:
    queues.push(client, "rest", [job("j1")])
    pauses.pause_queue(client, "rest", "ann", "it moves", None)
    pauses.pause_target(client, "ejabberd", "bob", "", 600.0)
    (place,) = explain(client, "j1", configured).locations
    assert place.pause is not None
    assert (place.pause.who, place.pause.why) == ("ann", "it moves")
    assert [pause.who for pause in place.target_pauses] == ["bob"]
    of_queue, of_target = place.pause_texts
    assert of_queue == 'The queue rest is paused by ann until someone resumes it: "it moves".'
    assert of_target.startswith("The target ejabberd is paused by bob for ")
    serve(client, "ejabberd", 7, ["rest"], limited="paused")
    (place,) = explain(client, "j1", configured).locations
    # Why, and for how long, is said by what is `paused`.
    assert place.hindrance == "it is paused."
    pauses.resume_queue(client, "rest")
    pauses.resume_target(client, "ejabberd")
    (place,) = explain(client, "j1", configured).locations
    assert (place.pause, place.target_pauses, place.pause_texts) == (None, (), ())
    assert place.hindrance == "it is paused. `restbroker stats` says why and for how long."


def test_a_job_in_progress_has_its_process_and_any_time(client: Client, configured: ConfigContext) -> None:
    rows: list[tuple[int, float | None]] = [
        (10**400, 1),
        (-1, 1),
        (True, 1),
        (1_700_000_000_500, NOW_S),
        (int(NOW_S), int(NOW_S)),
    ]
    for run_at, since_s in rows:
        client.command("FLUSHALL")
        take(client, "j1")
        client.command("SADD", "ns:processes", "web1:7:abc")
        work = {"queue": "rest", "payload": job("j1").decode(), "run_at": run_at}
        client.command("HSET", "ns:web1:7:abc:work", "t1", json.dumps(work))
        # A process that was killed began before.
        client.command("SADD", "ns:processes", "web1:9:killed")
        client.command("HSET", "ns:web1:9:killed:work", "t1", json.dumps(work | {"run_at": 1}))
        (place,) = explain(client, "j1", configured).locations
        assert (place.kind, place.name, place.since_s) == ("in progress", "web1:7", since_s)


def test_a_job_is_found_among_many_in_progress(client: Client, configured: ConfigContext) -> None:
    take(client, *(f"j{n}" for n in range(1, 101)))
    assert [place.kind for place in explain(client, "j100", configured).locations] == ["in progress"]
    assert explain(client, "nobody", configured).unseen == ()
    (unseen,) = explain(client, "nobody", configured, SearchLimits(jobs=40)).unseen
    assert unseen == f"what {IDENTITY} has in progress, after 40 jobs"


def test_a_key_of_another_type_hides_only_itself(client: Client, configured: ConfigContext, put: Put) -> None:
    rows: list[str] = [
        "paused",
        "queues",
        "dead",
        "retry",
        "restbroker:beats",
        "restbroker:audit",
        "restbroker:history",
        "restbroker:pauses:queues",
        "restbroker:pause:ejabberd",
        "queue:other",
    ]
    for key in rows:
        client.command("FLUSHALL")
        queues.push(client, "rest", [job("j1")])
        queues.push(client, "other", [job("j2")])
        client.command("DEL", f"ns:{key}")
        client.command("SET", f"ns:{key}", "x")
        story = explain(client, "j1", configured)
        assert [(place.kind, place.name, place.ahead) for place in story.locations] == [("queue", "rest", 0)]
        nowhere = explain(client, "nobody", configured)
        assert nowhere.locations == ()
        said = {line for found in (story, nowhere) for line in found.refused}
        assert any("another type" in line and "restbroker check names the key" in line for line in said), key


def test_a_job_in_the_middle_of_a_long_queue_is_found_last(client: Client, configured: ConfigContext) -> None:
    queues.push(client, "rest", [job(f"j{n}") for n in range(6000)])
    for number in (0, 100, 400, 5999):
        (place,) = explain(client, f"j{number}", configured, SearchLimits(seconds=60)).locations
        assert (place.kind, place.name, place.ahead, place.serving) == ("queue", "rest", number, None)
    assert explain(client, "j6000", configured, SearchLimits(seconds=60)).is_searched


def reported(client: Client, kind: str, number: str, sender: str, room: str | None = None) -> None:
    record = json.dumps({"type": kind, "id": number, "from": sender, "room": room, "source": "feed"}).encode()
    call = events.push_call(client.keys, [IncomingEvent("ev", b"{}", record, f"{kind}-{sender}")])
    client.run(*call)


def told(client: Client, configured: ConfigContext, jid: str = "j1") -> list[tuple[str, str, bool]]:
    found = explain(client, jid, configured).receipts
    return [
        (TOLD[event.words["type"] or ""], event.words["from"] or "", bool(found.warning(event))) for event in found.told
    ]


@pytest.mark.promise
def test_who_received_a_message_is_told_and_who_only_says_so(client: Client, configured: ConfigContext) -> None:
    assert explain(client, "j1", configured).receipts.receiver == ""
    events.remember_asking(client, "j1", "j1", "Bob@example.org/pc")
    found = explain(client, "j1", configured).receipts
    assert (found.receiver, found.since_s, found.told) == ("Bob@example.org", None, ())
    reported(client, "message", "j1", "bob@example.org/phone")
    reported(client, "receipt", "j1", "bob@example.org/phone")
    reported(client, "receipt", "j2", "bob@example.org/phone")
    reported(client, "displayed", "j1", "bob@example.org/pad")
    reported(client, "receipt", "j1", "mal@example.org/x")
    assert told(client, configured) == [
        ("received by", "bob@example.org/phone", False),
        ("read by", "bob@example.org/pad", False),
        ("received by", "mal@example.org/x", True),
    ]
    since_s = explain(client, "j1", configured).receipts.since_s
    assert since_s is not None
    assert abs(since_s - time.time()) < 60
    # Of a job that did not ask, or longer ago, nobody knows whom it went to.
    assert told(client, configured, "j2") == [("received by", "bob@example.org/phone", False)]
    assert explain(client, "j2", configured).receipts.receiver == ""


def test_receipts_are_found_by_the_id_that_was_sent(client: Client, configured: ConfigContext) -> None:
    """By the job's own, and after an edit by that of the command that it became."""
    events.remember_asking(client, "j1", "order-7", "ann@example.org")
    reported(client, "receipt", "order-7", "ann@example.org/phone")
    reported(client, "receipt", "j1", "ann@example.org/pc")
    assert told(client, configured) == [("received by", "ann@example.org/phone", False)]
    events.remember_asking(client, "j1-r1", "j1-r1", "bob@example.org")
    reported(client, "displayed", "j1-r1", "bob@example.org/phone")
    reported(client, "displayed", "j1-r1", "ann@example.org/phone")
    assert told(client, configured)[1:] == [
        ("read by", "bob@example.org/phone", False),
        ("read by", "ann@example.org/phone", True),
    ]
    assert explain(client, "j1", configured).receipts.receiver == "bob@example.org"
    # All in a room may answer. Whoever says so as if a person were one is not believed.
    events.remember_asking(client, "j3", "j3", "")
    reported(client, "displayed", "j3", "ann@example.org/pc", room="team@conference.example.org")
    assert told(client, configured, "j3") == [("read by", "ann@example.org/pc", False)]
    events.remember_asking(client, "j4", "j4", "bob@example.org")
    reported(client, "displayed", "j4", "mal@example.org/x", room="bob@example.org")
    assert told(client, configured, "j4") == [("read by", "mal@example.org/x", True)]
