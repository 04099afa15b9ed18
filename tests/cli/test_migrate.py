"""`restbroker migrate` as a process and its parts, against what the Go original leaves in a real Redis."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from restbroker.errors import RestbrokerError, StoreRefused, StoreUnavailable
from restbroker.operate import audit, migrate
from restbroker.store import migration
from restbroker.store.client import Client
from tests.support.process import run_here as run

Migrate = Callable[..., subprocess.CompletedProcess[str]]
IN_PROGRESS = "ns:queue:rest:1:inprogress"
DUE_S = 1_795_156_555.25


@pytest.fixture
def raw(redis_url: str) -> Iterator[Any]:
    """Redis as the original sees it."""
    with redis.Redis.from_url(redis_url, socket_timeout=20) as opened:
        yield opened


@pytest.fixture
def run_migrate(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Migrate:
    monkeypatch.setattr("restbroker.cli.migrate.WATCH_S", 0.0)
    document = {"RedisURL": redis_url, "RedisNamespace": "ns", "RestQueue": "rest", "Token": "t0ken", "ProcessID": "1"}
    (tmp_path / "env.json").write_text(json.dumps(document))

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        done = run(["migrate", *words], directory=tmp_path)
        assert "Traceback" not in done.stderr
        assert "t0ken" not in done.stdout + done.stderr
        return done

    return call


def job(jid: str) -> bytes:
    return b'{"class":"X","args":["status",{},"t0ken"],"jid":"%s"}' % jid.encode()


def moved(jid: str) -> bytes:
    """The job once it was in progress with the original."""
    return b'{"restbroker_uncertain":1,' + job(jid)[1:]


def failed(jid: str, queue: str = "ns:rest") -> bytes:
    fields = {"args": ["status", {}, "t0ken"], "failed_at": "2026-11-20 06:35:15 UTC", "jid": jid, "queue": queue}
    return json.dumps({**fields, "retry": True, "retry_count": 0}).encode()


@pytest.fixture
def leftovers(raw: Any) -> Any:
    """Three jobs in progress, one of them no job, one waiting; four retries: two ours, one no job, one foreign."""
    raw.lpush(IN_PROGRESS, job("h0"), job("h1"), "")
    raw.lpush("ns:queue:rest", job("w0"))
    raw.zadd("ns:goretry", {failed("r0"): DUE_S, failed("r1"): 5, "no job": 6, failed("f0", "ns:other"): 7})
    return raw


def everything(raw: Any) -> dict[str, Any]:
    """All keys but those of the record of what may have run."""
    kinds = {"list": lambda key: raw.lrange(key, 0, -1), "zset": lambda key: raw.zrange(key, 0, -1, withscores=True)}
    names = sorted(key.decode() for key in raw.keys("*"))
    return {name: kinds[kind](name) for name in names if (kind := raw.type(name).decode()) in kinds}


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_all_jobs_of_our_queue_move_once_as_promised(run_migrate: Migrate, leftovers: Any) -> None:
    before = everything(leftovers)
    promised, unsure = run_migrate("--dry-run"), run_migrate()
    assert (promised.returncode, unsure.returncode, unsure.stdout) == (0, 2, "")
    assert rows(promised.stdout) == [
        [IN_PROGRESS, "rest", "queue", "3"],
        ["ns:goretry", "rest", "retry", "2"],
        ["ns:goretry", "-", "dead", "1"],
        ["ns:goretry", "other", "stays", "1"],
    ]
    assert ("6 jobs would be moved." in promised.stderr, "--yes" in unsure.stderr) == (True, True)
    assert everything(leftovers) == before
    done = run_migrate("--yes")
    assert (done.returncode, done.stdout) == (0, promised.stdout)
    assert done.stderr.startswith("6 jobs moved.\n")
    found = everything(leftovers)
    assert found["ns:queue:rest"] == [job("w0"), b"", moved("h1"), moved("h0")]
    assert [(json.loads(member)["jid"], score) for member, score in found["ns:retry"]] == [("r1", 5.0), ("r0", DUE_S)]
    assert [json.loads(member)["args"] for member, _ in found["ns:dead"]] == [["no job"]]
    assert found["ns:goretry"] == [(failed("f0", "ns:other"), 7.0)]
    assert IN_PROGRESS not in found
    again = run_migrate("--yes")
    assert (again.returncode, rows(again.stdout)) == (0, [["ns:goretry", "other", "stays", "1"]])
    assert "There is nothing to move." in again.stderr
    assert "does not serve stay where they are: other." in again.stderr
    assert everything(leftovers) == found


def test_a_key_that_may_be_of_another_queue_is_left_and_named(run_migrate: Migrate, raw: Any) -> None:
    for rest in ("x:1", "web-1"):
        raw.lpush(f"ns:queue:rest:{rest}:inprogress", job(rest))
    done = run_migrate("--yes")
    assert rows(done.stdout) == [
        ["ns:queue:rest:web-1:inprogress", "rest", "queue", "1"],
        ["ns:queue:rest:x:1:inprogress", "-", "stays", "1"],
    ]
    assert "does not serve stay where they are: ns:queue:rest:x:1:inprogress." in done.stderr
    assert raw.llen("ns:queue:rest:x:1:inprogress") == 1
    assert run_migrate("--yes", "--process-id", "x:1").returncode == 0
    assert raw.llen("ns:queue:rest:x:1:inprogress") == 0


def test_nothing_moves_while_the_original_takes_jobs(
    run_migrate: Migrate, leftovers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(leftovers)
    monkeypatch.setattr(migration, "fetchers", lambda _: ["10.0.0.7:40562"])
    done = run_migrate("--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert "a client at 10.0.0.7:40562 takes jobs with BRPOPLPUSH" in done.stderr
    assert "Nothing was moved." in done.stderr
    assert everything(leftovers) == before
    assert run_migrate("--yes", "--force").returncode == 0


def test_a_changing_list_is_a_sign_of_the_original(
    store: Client, leftovers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acknowledge_one_and_take_one(_: float) -> None:
        leftovers.lrem(IN_PROGRESS, -1, job("h0"))
        leftovers.lpush(IN_PROGRESS, job("h2"))

    lists, _ = migrate.lists_in_progress(store, ["rest"])
    migrate.require_stopped(store, lists, 0.0)
    monkeypatch.setattr("restbroker.operate.migrate.time.sleep", acknowledge_one_and_take_one)
    with pytest.raises(RestbrokerError, match=f"{IN_PROGRESS} changes"):
        migrate.require_stopped(store, lists, 0.0)


def test_a_refusal_of_redis_ends_it_and_a_second_run_moves_on(run_migrate: Migrate, leftovers: Any) -> None:
    leftovers.set("ns:dead", "no sorted set")
    done = run_migrate("--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert "WRONGTYPE" in done.stderr
    assert "run the command again: it moves the rest" in done.stderr
    left = [member for member, _ in everything(leftovers)["ns:goretry"]]
    assert left == [b"no job", failed("f0", "ns:other"), failed("r0")]
    leftovers.delete("ns:dead")
    assert run_migrate("--yes").stdout.splitlines()[0] == "ns:goretry\t-\tdead\t1"


def test_equal_jobs_in_the_retry_set_do_not_become_one(store: Client, raw: Any) -> None:
    raw.zadd("ns:goretry", {failed("r0"): 1})
    where = ["rest"], migrate.lists_in_progress(store, ["rest"])[0]
    assert migrate.jobs_to_move(migrate.move(store, *where, "ann@node")) == 1
    raw.zadd("ns:goretry", {failed("r0"): 1})
    assert migrate.jobs_to_move(migrate.move(store, *where, "ann@node")) == 1
    assert [json.loads(member)["jid"] for member, _ in everything(raw)["ns:retry"]] == ["r0", "r0"]
    last, begun, *_ = (entry.note for entry in audit.entries(store, 5))
    assert (last.who, last.action, last.where, last.state, last.done) == ("ann@node", "migrate", "rest", "ended", 1)
    assert (begun.state, begun.done) == ("begun", 0)


def test_nothing_moves_that_the_audit_log_does_not_name(store: Client, raw: Any) -> None:
    raw.zadd("ns:goretry", {failed("r0"): 1})
    raw.set("ns:restbroker:audit", "of another type")
    with pytest.raises(StoreRefused):
        migrate.move(store, ["rest"], {}, "ann@node")
    assert raw.zcard("ns:goretry") == 1


def test_more_than_a_page_moves_past_foreign_jobs(store: Client, raw: Any) -> None:
    ours = {failed(f"r{number}"): number for number in range(0, 200, 2)}
    theirs = {failed(f"f{number}", "ns:other"): number for number in range(1, 200, 2)}
    raw.zadd("ns:goretry", {**ours, **theirs})
    report = migrate.move(store, ["rest"], {}, "ann@node")
    assert (migrate.jobs_to_move(report), raw.zcard("ns:retry"), raw.zcard("ns:goretry")) == (100, 100, 100)


def test_an_answer_that_gets_lost_costs_and_doubles_nothing(
    store: Client, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ["rest"], migrate.lists_in_progress(store, ["rest"], ["1"])[0]
    answers: dict[str, Callable[..., Any]] = {"commands": Client.commands, "run": Client.run}
    lost_at, count = 0, 0

    def losing(name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal count
            reply = answers[name](*arguments)
            count += 1
            if count == lost_at:
                raise StoreUnavailable("The answer was lost.")
            return reply

        return call

    for name in answers:
        monkeypatch.setattr(Client, name, losing(name))
    while count >= lost_at:
        lost_at += 1
        raw.flushdb()
        raw.lpush(IN_PROGRESS, *[job(f"h{number}") for number in range(250)])
        raw.zadd("ns:goretry", {failed(f"r{number}"): number for number in range(50)})
        count = 0
        for _ in range(2):
            with suppress(StoreUnavailable):
                migrate.move(store, *where, "ann@node")
        assert everything(raw)["ns:queue:rest"] == [moved(f"h{number}") for number in reversed(range(250))]
        jids = [json.loads(member)["jid"] for member, _ in everything(raw)["ns:retry"]]
        assert jids == [f"r{number}" for number in range(50)]
    assert lost_at > 10, "each answer was lost once"
