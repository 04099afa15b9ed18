"""Queues as an operator sees and steers them."""

import json
import time

import pytest

from restbroker.errors import UsageError
from restbroker.job.json_types import Json
from restbroker.operate import audit, control, queues
from restbroker.operate.context import ConfigContext
from restbroker.operate.find import waiting_page
from restbroker.operate.names import require
from restbroker.operate.system import Queue, system
from restbroker.store import queues as stored
from restbroker.store.client import Client
from tests.operate.pools import record, serve

NOTHING = ConfigContext({})


def job(jid: str, **changed: Json) -> bytes:
    fields = {"class": "Add", "jid": jid, "args": ["register", {"password": "hush-hush"}, "t0ken"], **changed}
    return json.dumps(fields).encode()


def test_each_queue_is_shown_with_its_processes_and_pauser(client: Client) -> None:
    stored.push(client, "rest", [job("j1", enqueued_at=time.time() - 60)])
    serve(client, "ejabberd", 7, ["rest", "slow"])
    serve(client, "other", 8, ["slow"])
    record(client, "web:9:ab", queues=["rest", "mailers"], version="7.3.2")
    control.pause(client, "queue", "rest", "ann", "moving", None)
    mailers, rest, slow, wanted = system(client, ["wanted"]).queues
    assert (rest.name, rest.size, rest.targets, rest.processes) == ("rest", 1, ("ejabberd",), ("node:7", "web:9"))
    assert rest.latency_s is not None
    assert 60 <= rest.latency_s < 70
    assert rest.pause is not None
    assert (rest.pause.who, rest.pause.why, rest.pause.remaining_s) == ("ann", "moving", None)
    assert (slow.targets, slow.processes, slow.pause) == (("ejabberd", "other"), ("node:7", "node:8"), None)
    assert (mailers.name, mailers.targets, mailers.processes) == ("mailers", (), ("web:9",))
    assert wanted == Queue("wanted", 0, 0.0, outlook="empty", empty_in_s=0.0)
    assert control.resume(client, "queue", "rest", "ann") is True
    assert control.resume(client, "queue", "rest", "ann") is False


def test_a_queue_is_empty_as_soon_as_its_process_says(client: Client) -> None:
    stored.push(client, "rest", [job(f"j{n}") for n in range(10)])
    stored.push(client, "slow", [job("j10")])
    stored.push(client, "mail", [job("j11")])

    def outlooks() -> dict[str, tuple[str, float | None]]:
        return {queue.name: (queue.outlook, queue.empty_in_s) for queue in system(client).queues}

    assert outlooks()["rest"] == ("unserved", None)
    serve(client, "ejabberd", 7, ["rest", "slow"])
    assert outlooks()["rest"] == ("unknown", None)
    changes: dict[str, Json] = {"rest": -2.5, "slow": "-1", "other": 3}
    record(client, "node:7:ab", queues=["rest", "slow"], version="restbroker 1", queue_changes_per_s=changes)
    assert outlooks() == {"rest": ("draining", 4.0), "slow": ("unknown", None), "mail": ("unserved", None)}
    client.command("HSET", client.keys.process("node:7:ab"), "beat", time.time() - 20)
    assert outlooks()["rest"] == ("unknown", None)
    serve(client, "ejabberd", 8, ["slow"], gate="closed", quiet=True)
    record(client, "node:7:ab", queues=["rest", "slow"], version="restbroker 1", queue_changes_per_s=[1])
    assert outlooks()["rest"] == ("unknown", None)
    control.pause(client, "queue", "rest", "ann", "", None)
    assert outlooks()["rest"] == ("paused", None)
    record(client, "web:9:ab", queues=["mail"], version="7.3.2")
    assert outlooks()["mail"] == ("unknown", None)


def test_a_clearing_in_batches_leaves_what_is_pushed_meanwhile(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "BATCH", 10)
    stored.push(client, "rest", [job(f"j{n}") for n in range(25)])
    steps = queues.clear_in_steps(client, "rest", NOTHING, "ann")
    begun_at = next(steps)
    assert (begun_at.total, next(steps).done) == (25, 10)
    stored.push(client, "rest", [job("later")])
    assert [(step.done, step.ended) for step in steps] == [(20, False), (25, False), (25, True)]
    assert [json.loads(raw)["jid"] for raw in stored.peek(client, "rest", 0, 5)] == ["later"]
    ended, begun = audit.entries(client, 5)
    assert (begun.note.state, ended.note.state, ended.note.done, ended.note.run) == ("begun", "ended", 25, begun_at.run)


def test_clearing_covers_only_jobs_waiting_at_the_prompt(client: Client) -> None:
    stored.push(client, "rest", [job(f"j{n}") for n in range(3)])
    moment = queues.moment_of(client, "rest", NOTHING)
    stored.push(client, "rest", [job("later")])
    *_, last = queues.clear_in_steps(client, "rest", NOTHING, "ann", seen=moment)
    assert (last.done, [json.loads(raw)["jid"] for raw in stored.peek(client, "rest", 0, 5)]) == (3, ["later"])
    *_, last = queues.clear_in_steps(client, "rest", NOTHING, "ann", seen=moment)
    assert (last.done, stored.sizes(client, ["rest"])) == (0, {"rest": 1}), "others took all that was seen"


def test_a_stopped_clearing_is_noted_and_the_same_call_goes_on(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "BATCH", 10)
    stored.push(client, "rest", [job(f"j{n}") for n in range(25)])
    steps = queues.clear_in_steps(client, "rest", NOTHING, "ann")
    run = next(steps).run
    assert next(steps).done == 10
    audit.request_stop(client, run, "bob")
    assert not list(steps), "between two batches"
    interrupted = next(audit.entries(client, 1)).note
    assert (interrupted.state, interrupted.done) == ("interrupted", 10)
    assert cleared(client, "rest") == 15
    assert stored.sizes(client, ["rest"]) == {"rest": 0}


def cleared(client: Client, queue: str) -> int:
    *_, last = queues.clear_in_steps(client, queue, NOTHING, "bob")
    return last.done


def test_unknown_name_is_answered_with_the_nearest_or_all() -> None:
    require("queue", "rest", {"rest"})
    with pytest.raises(UsageError) as caught:
        require("queue", "rets", {"rest", "mailers"})
    assert caught.value.hint == "Did you mean rest?"
    with pytest.raises(UsageError) as caught:
        require("queue", "x", {f"queue-{n:02}" for n in range(12)})
    assert str(caught.value.hint).endswith("queue-09 and 2 more.")
    with pytest.raises(UsageError) as caught:
        require("queue", "x", ())
    assert "RedisURL" in str(caught.value.hint)


def test_a_queue_that_is_no_utf_8_is_named_as_it_is_shown(client: Client) -> None:
    client.command("SADD", "ns:queues", b"a\xff")
    pushed = json.dumps({"class": "Add", "jid": "j1", "enqueued_at": time.time() - 60})
    client.command("LPUSH", b"ns:queue:a\xff", pushed, "2", "3")
    (one,) = [queue for queue in system(client).queues if queue.name == "a\\xff"]
    assert one.size == 3
    assert one.latency_s == pytest.approx(60, abs=20)
    assert [job.jid for job in waiting_page(client, one.name, (), ConfigContext({}), limit=1).entries] == ["j1"]
    control.pause(client, "queue", one.name, "ann", "why")
    assert client.command("SMEMBERS", "ns:paused") == [b"a\xff"]
    (one,) = [queue for queue in system(client).queues if queue.pause is not None]
    assert (one.name, one.size, one.pause and one.pause.who) == ("a\\xff", 3, "ann")
    assert control.resume(client, "queue", one.name, "ann") is True
    assert queues.count_waiting(client, one.name) == 3
    assert client.command("LLEN", b"ns:queue:a\xff") == 3
    assert [cleared(client, one.name) for _ in range(2)] == [3, 0]
    assert client.command("EXISTS", b"ns:queue:a\xff") == 0
    client.command("SET", b"ns:queue:a\xff", "x")
    with pytest.raises(UsageError, match="is a string, but restbroker needs a list"):
        cleared(client, one.name)
    assert client.command("GET", b"ns:queue:a\xff") == b"x"


@pytest.mark.parametrize("other", [
    ("LPUSH", "ns:queue:a\\xff", "another's"), ("SADD", "ns:queues", "a\\xff"), ("SADD", "ns:paused", "a\\xff"),
    ("SADD", "ns:queues", b"a\\xff\xff"),
])  # fmt: skip
def test_queues_shown_alike_are_not_taken_for_one_another(client: Client, other: tuple[str | bytes, ...]) -> None:
    shown = "a\\xff\\xff" if other[-1] == b"a\\xff\xff" else "a\\xff"
    odd = b"a\xff\xff" if len(shown) > len("a\\xff") else b"a\xff"
    client.command("SADD", "ns:queues", odd)
    client.command("LPUSH", b"ns:queue:" + odd, "1")
    client.command(*other)
    paused = client.command("SMEMBERS", "ns:paused")
    for act in (
        lambda: control.pause(client, "queue", shown, "ann", ""),
        lambda: control.resume(client, "queue", shown, "ann"),
        lambda: cleared(client, shown),
        lambda: queues.count_waiting(client, shown),
        lambda: waiting_page(client, shown, (), ConfigContext({})),
    ):
        with pytest.raises(UsageError, match="More than one queue matches"):
            act()
    assert list(audit.entries(client, 10)) == []
    assert client.command("SMEMBERS", "ns:paused") == paused
    assert client.command("LLEN", b"ns:queue:" + odd) == 1
