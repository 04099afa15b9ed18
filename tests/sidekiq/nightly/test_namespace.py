"""Two pairs of restbroker and Ruby's Sidekiq on one database: one in a namespace of redis-namespace, one without.

Queues have the same names in both, with colons and letters beyond ASCII. `namespace:` works up to Sidekiq 6.5; from 7
on there is none.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from restbroker.store.client import items, text
from tests.support.beside_ruby import REFUSED, Beside, beside_ruby, ours, rubys
from tests.support.ruby import ask
from tests.support.sidekiq_process import SidekiqProcess, executions, how_many
from tests.support.wait import until

NAMESPACE = "büro:eins"
OURS, RUBYS = "rest:größe:1", "défaut:☃"
JOBS = 20
DEAD = 3


@attrs.frozen
class Pairs:
    """Both pairs: `inner` lives in the namespace."""

    inner: Beside
    outer: Beside

    def both(self) -> tuple[tuple[str, Beside], tuple[str, Beside]]:
        """Each with its name, which the jids of its jobs begin with."""
        return ("inner", self.inner), ("outer", self.outer)


@pytest.fixture
def pairs(tmp_path: Path, redis_url: str) -> Iterator[Pairs]:
    with (
        beside_ruby(tmp_path / "inner", redis_url, NAMESPACE) as inner,
        beside_ruby(tmp_path / "outer", redis_url) as outer,
    ):
        for side in (inner, outer):
            side.configure(OURS)
        yield Pairs(inner, outer)


def ask_ruby(one: Beside, script: str, **request: Any) -> Any:
    """What Ruby's API says in this pair's namespace."""
    return ask(script, one.redis_url, namespace=one.namespace, **request)


def push_some(name: str, one: Beside) -> None:
    """Jobs of both sides that work, fail once, are scheduled; of ours some are refused."""
    for number in range(JOBS):
        one.push(OURS, ours(f"{name}-now-{number}", OURS, failures=number % 2))
        one.schedule(ours(f"{name}-later-{number}", OURS), 0.5)
        one.push(RUBYS, rubys(f"{name}-ruby-now-{number}", RUBYS))
        one.schedule(rubys(f"{name}-ruby-later-{number}", RUBYS), 0.5)
    one.push(RUBYS, rubys(f"{name}-ruby-once", RUBYS, failures=1))
    one.push(OURS, *(ours(f"{name}-dead-{number}", OURS, REFUSED) for number in range(DEAD)))


EXECUTED_BY_RUBY = 2 * JOBS + 2
EXECUTED_BY_US = JOBS + JOBS // 2 + JOBS + DEAD
FAILED = 1 + JOBS // 2 + DEAD


@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "namespaces (up to 6.5)")
def test_each_pair_runs_its_own_jobs_and_rubys_api_sees_its_own(pairs: Pairs) -> None:
    running = {name: (pair.broker(), pair.ruby(RUBYS)) for name, pair in pairs.both()}
    for name, pair in pairs.both():
        push_some(name, pair)
    for name, pair in pairs.both():
        until(lambda one=pair: how_many(one.witness) == EXECUTED_BY_RUBY, f"Ruby is done, {name}")  # type: ignore[misc]
        pair.wait_until_finished()
        _assert_its_own_alone(name, pair)
        _assert_its_record(pair, running[name][1])
    for broker, ruby in running.values():
        assert (ruby.running.stop(), broker.stop()) == (0, 0)
    for name, pair in pairs.both():
        _assert_its_figures(name, pair)
    assert pairs.outer.server.executions().keys().isdisjoint(pairs.inner.server.executions())


def _assert_its_own_alone(name: str, one: Beside) -> None:
    executed = Counter(job["jid"] for job in executions(one.witness))
    assert executed.total() == EXECUTED_BY_RUBY
    assert one.server.executions().total() == EXECUTED_BY_US
    assert {jid.partition("-")[0] for jid in (executed | one.server.executions())} == {name}


def _assert_its_record(one: Beside, ruby: SidekiqProcess) -> None:
    """Ruby's API sees two processes: its own kind and restbroker with its queue."""
    shown = until(lambda: _two_processes(one), "both processes are shown")
    assert [process["identity"] for process in shown if process["tag"] != "restbroker"] == [ruby.identity]
    (record,) = [process for process in shown if process["tag"] == "restbroker"]
    assert record["queues"] == [OURS]


def _two_processes(one: Beside) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = ask_ruby(one, "processes.rb")["processes"]
    return shown if len(shown) >= 2 else []


def _assert_its_figures(name: str, one: Beside) -> None:
    stats = ask_ruby(one, "stats.rb")
    figures = {figure: stats[figure] for figure in ("processed", "failed", "dead_size", "retry_size", "enqueued")}
    assert figures == {
        "processed": EXECUTED_BY_RUBY + EXECUTED_BY_US,
        "failed": FAILED,
        "dead_size": DEAD,
        "retry_size": 0,
        "enqueued": 0,
    }
    assert stats["processes_size"] == 0, "both ended in good order"
    assert sum(stats["history"]["processed"].values()) == figures["processed"]
    assert {job["jid"] for job in one.members("dead")} == {f"{name}-dead-{number}" for number in range(DEAD)}


@pytest.mark.promise("Sidekiq: queues", "Pro: pause (the set paused)")
def test_queue_paused_in_one_namespace_is_served_in_the_other(pairs: Pairs) -> None:
    pairs.inner.client.command("SADD", f"{NAMESPACE}:paused", OURS)
    brokers = {name: pair.broker() for name, pair in pairs.both()}
    for name, pair in pairs.both():
        pair.push(OURS, ours(f"{name}-1", OURS))
    pairs.outer.wait_until_finished()
    brokers["inner"].wait_for(r"target\.found")
    assert pairs.outer.server.executions() == {"outer-1": 1}
    assert pairs.inner.unfinished() == {OURS: 1}
    pairs.inner.client.command("SREM", f"{NAMESPACE}:paused", OURS)
    pairs.inner.wait_until_finished()
    assert pairs.inner.server.executions() == {"inner-1": 1}


@pytest.mark.promise("Sidekiq: one Redis with Ruby workers", "namespaces (up to 6.5)")
def test_restbroker_in_a_namespace_writes_no_key_outside_of_it(pairs: Pairs) -> None:
    broker = pairs.inner.broker()
    pairs.inner.push(OURS, ours("inner-1", OURS, 1), ours("inner-2", OURS, REFUSED))
    pairs.inner.wait_until_finished()
    until(lambda: len(ask_ruby(pairs.inner, "processes.rb")["processes"]) == 1, "its record is there")
    assert broker.stop() == 0
    keys = [text(key) for key in items(pairs.inner.client.command("KEYS", "*"))]
    assert len(keys) > 5
    assert [key for key in keys if not key.startswith(f"{NAMESPACE}:")] == []
