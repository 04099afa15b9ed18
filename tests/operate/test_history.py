"""What the pages note of each minute, for the charts: once for all processes, and what explains a bend."""

from collections.abc import Mapping

import pytest

from restbroker.operate import processes, system
from restbroker.operate.history import ALL, MINUTE_S, Recorder, Seen, incidents, values
from restbroker.store import pauses
from restbroker.store.client import Client, integer, mapping
from tests.operate.pools import beat, record, serve

FIRST_S = 1_700_000_040
KEY = "ns:restbroker:minutes"


def look(recorder: Recorder, client: Client, at_s: float) -> Mapping[int, Seen]:
    snapshot = system.system(client)
    found = processes.processes(client, with_jobs=False, seen=snapshot)
    return recorder.add(client, snapshot, system.targets(client, snapshot.targets), found, at_s)


def troubled(*minutes: int, what: Mapping[str, str]) -> dict[int, Seen]:
    return {FIRST_S + minute * MINUTE_S: Seen({}, what) for minute in minutes}


def test_minute_has_its_worst_states_and_its_last_numbers(client: Client) -> None:
    recorder = Recorder()
    record(client, "web1:7:x", started_at=FIRST_S + 20)
    serve(client, "chat", 7, ["rest"], delivered=100, failed=5)
    look(recorder, client, FIRST_S + 1)
    beat(client, "chat", 7, gate="closed", delivered=110, failed=6)
    look(recorder, client, FIRST_S + 30)
    beat(client, "chat", 7, delivered=130, failed=7, p95_ms=44.0)
    pauses.pause_queue(client, "rest", "ann", "", None)
    client.command("LPUSH", "ns:queue:rest", "{}", "{}")
    client.command("SET", "ns:stat:processed", 900)
    times = {"p50_ms": 5.0, "p95_ms": 44.0, "p99_ms": 9.0}
    minute = look(recorder, client, FIRST_S + MINUTE_S + 1)[FIRST_S]
    assert minute.troubles == {"chat": "down", "web1:7": "start"}
    assert minute.numbers == {
        ALL: {"processed": 900, "failed": 0, "waiting": 2, "retry": 0, "in_progress": 0, **times},
        "chat": {"processed": 137, "failed": 7, "of": minute.numbers["chat"]["of"], **times},
    }
    assert look(recorder, client, FIRST_S + 2 * MINUTE_S)[FIRST_S + MINUTE_S].troubles == {"queue rest": "paused"}


def test_a_minute_is_noted_by_the_first_and_read_by_all(client: Client) -> None:
    client.command("LPUSH", "ns:queue:rest", "{}")
    client.command("SADD", "ns:queues", "rest")
    first = look(Recorder(), client, FIRST_S)
    client.command("DEL", "ns:queue:rest")
    second = look(Recorder(), client, FIRST_S + 9)
    assert [found[FIRST_S - MINUTE_S].numbers[ALL]["waiting"] for found in (first, second)] == [1, 1]


def test_old_minutes_go_and_all_of_it_expires(client: Client) -> None:
    client.command("HSET", KEY, FIRST_S - 11_000, "{}", "a stranger's", "x")
    look(Recorder(), client, FIRST_S)
    assert list(mapping(client.command("HGETALL", KEY))) == [str(FIRST_S - MINUTE_S)]
    assert 0 < integer(client.command("TTL", KEY)) <= 8 * 3600


@pytest.mark.parametrize(
    "written",
    ["", "[]", "7", "{}", '{"numbers":{"":{"waiting":-1}},"troubles":{}}', '{"numbers":[],"troubles":7}']
    + [f'{{"numbers":{{"":{{"waiting":{number}}}}},"troubles":{{}}}}' for number in ('"nan"', "1e300", "[]")],
)
def test_a_record_of_another_form_is_left_out(client: Client, written: str) -> None:
    client.command("HSET", KEY, FIRST_S - 2 * MINUTE_S, written)
    assert list(look(Recorder(), client, FIRST_S)) == [FIRST_S - MINUTE_S]


def test_a_key_of_another_type_costs_only_what_others_saw(client: Client) -> None:
    recorder = Recorder()
    client.command("SET", KEY, "no business of yours")
    look(recorder, client, FIRST_S)
    assert list(look(recorder, client, FIRST_S + MINUTE_S)) == [FIRST_S - MINUTE_S, FIRST_S]


def test_a_total_is_drawn_by_how_much_it_rose_in_a_minute() -> None:
    totals = {0: 100, 1: 130, 3: 150, 4: 160, 5: 20, 6: 25}
    found = {minute * MINUTE_S: Seen({"chat": {"failed": total, "p50_ms": 7}}, {}) for minute, total in totals.items()}
    times = range(MINUTE_S, 7 * MINUTE_S, MINUTE_S)
    assert values(found, "chat", "failed", times) == [30, None, None, 10, None, 5]
    assert values(found, "chat", "p50_ms", times) == [7, None, 7, 7, 7, 7]
    assert set(values(found, "crm", "failed", times)) == {None}


def test_a_rise_is_unknown_when_other_processes_count(client: Client) -> None:
    recorder, counted = Recorder(), (("chat", 7, 100), ("chat", 7, 130), ("chat", 8, 5000), ("chat", 8, 5010))
    for minute, (target, pid, delivered) in enumerate(counted):
        if minute in (0, 2):
            serve(client, target, pid, ["rest"], delivered=delivered)
        else:
            beat(client, target, pid, delivered=delivered)
        found = look(recorder, client, FIRST_S + minute * MINUTE_S)
    times = range(FIRST_S, FIRST_S + 3 * MINUTE_S, MINUTE_S)
    assert values(found, "chat", "processed", times) == [30, None, 10]


def test_incidents_are_the_spans_of_one_trouble_the_latest_first() -> None:
    down, paused, start = {"chat": "down"}, {"queue rest": "paused"}, {"web1:7": "start"}
    found = {**troubled(0, 1, 3, 6, what=down), **troubled(8, 9, what=paused), **troubled(7, what=start)}
    assert incidents(found) == [
        ("queue rest", "paused", FIRST_S + 480, None),
        ("web1:7", "start", FIRST_S + 420, FIRST_S + 480),
        ("chat", "down", FIRST_S + 360, FIRST_S + 420),
        ("chat", "down", FIRST_S, FIRST_S + 240),
    ]
