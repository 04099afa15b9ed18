"""A job's story: where it is, wherever that may be, and what people did with it."""

import json

import pytest

from restbroker.admin.act import Action, Chosen, perform
from restbroker.admin.explain import Bounds, explain
from restbroker.admin.known import Known
from restbroker.store import queues
from restbroker.store.client import Client
from restbroker.store.jobs import Facts, FetchRequest, fetch, register
from tests.admin.conftest import NOW_S, Put, job

IDENTITY = "web1:7:abc:ejabberd"
FACTS = Facts(pid=7, hostname="web1", boot_id="b", pid_namespace="n", started_at_ticks=5, target="ejabberd")


@pytest.mark.parametrize("zset", ["retry", "schedule", "dead"])
def test_a_job_of_a_set_is_found_there(client: Client, configured: Known, put: Put, zset: str) -> None:
    put(zset, NOW_S, "j1")
    put(zset, NOW_S, "j11")
    (place,) = explain(client, "j1", configured).places
    assert (place.kind, place.entry.jid, place.entry.at_s) == (zset, "j1", NOW_S)


def test_a_waiting_job_is_found_with_how_many_come_before_it(client: Client, configured: Known) -> None:
    queues.push(client, "rest", [job(f"j{n}") for n in range(60)])
    story = explain(client, "j45", configured)
    (place,) = story.places
    assert (place.kind, place.name, place.ahead, place.served) == ("queue", "rest", 45, None)
    assert story.unseen == ()


def test_a_job_in_hand_is_found_with_its_process_and_since_when(client: Client, configured: Known) -> None:
    assert register(client, IDENTITY, FACTS, ["rest"])
    queues.push(client, "rest", [job("j1")])
    fetch(client, FetchRequest(IDENTITY, "ejabberd", ("rest",), 0, 5, 5))
    client.command("SADD", "ns:processes", "web1:7:abc")
    work = {"queue": "rest", "payload": job("j1").decode(), "run_at": int(NOW_S)}
    client.command("HSET", "ns:web1:7:abc:work", "t1", json.dumps(work))
    (place,) = explain(client, "j1", configured).places
    assert (place.kind, place.name, place.since_s) == ("in hand", "web1:7", int(NOW_S))


def test_what_has_left_the_dead_set_is_found_among_the_copies(client: Client, configured: Known) -> None:
    for n in range(50):
        client.command("XADD", "ns:restbroker:parked", "*", "ticket", "1:1", "payload", job(f"j{n}"))
    (place,) = explain(client, "j3", configured).places
    assert place.kind == "copy"
    assert explain(client, "nobody", configured).places == ()


def test_what_people_did_with_it_is_told(client: Client, configured: Known, put: Put) -> None:
    put("dead", NOW_S, "j1")
    put("dead", NOW_S, "j2")
    list(perform(client, "dead", Action("retry", "ann@web1"), Chosen(("j1",)), configured))
    story = explain(client, "j1", configured)
    assert [(act.note.who, act.note.action) for act in story.acts] == [("ann@web1", "retry")]
    assert [place.kind for place in story.places] == ["queue"]
    assert explain(client, "j2", configured).acts == ()


def test_where_it_was_not_looked_to_the_end_is_said(client: Client, configured: Known, put: Put) -> None:
    queues.push(client, "rest", [job(f"j{n}") for n in range(60)])
    for _ in range(60):
        client.command("XADD", "ns:restbroker:parked", "*", "ticket", "1:1", "payload", job("other"))
    story = explain(client, "j55", configured, Bounds(jobs=40, copies=40))
    assert story.places == ()
    assert [word for word in ("queue rest", "copies") if not any(word in one for one in story.unseen)] == []
    for n in range(3000):
        put("dead", n, f"d{n}")
    assert any("dead" in one for one in explain(client, "nobody", configured, Bounds(seconds=0)).unseen)


def test_a_queue_that_is_no_list_is_passed_by(client: Client, configured: Known) -> None:
    client.command("SET", "ns:queue:rest", "x")
    assert explain(client, "j1", configured).places == ()
