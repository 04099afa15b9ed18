"""What is wrong now, and what a state is called: the same words for the stats, the live screen and the pages."""

from typing import Any

import attrs
import pytest

from restbroker.cli import targets
from restbroker.operate import enqueue
from restbroker.operate.enqueue import PauseNotice, why_waiting
from restbroker.operate.problems import problems
from restbroker.operate.system import PoolState, Queue, Snapshot, TargetState, target_state
from restbroker.operate.words import all_well, state_text
from restbroker.store.pauses import Pause

NOW_S = 1_000.0
DOWN = "Nothing is lost, waiting uses no tries, and it continues by itself. `restbroker check --target {}` tests it."


def pool(target: str = "ejabberd", /, **fields: Any) -> PoolState:
    usual: dict[str, Any] = {"identity": "node:7:x", "process": "node:7", "target": target, "queues": ("rest",)}
    usual |= {"heartbeat_age_s": 1.0, "dying": False, "in_progress": 0, "state": "up"}
    return PoolState(**usual | fields)


def queue(name: str, size: int | None, latency_s: float = 0.0) -> Queue:
    return Queue(name, size, latency_s, paused=False)


def lines(*pools: PoolState, queues: tuple[Queue, ...] = ()) -> list[str]:
    return [problem.line for problem in problems(Snapshot(queues=queues, targets=pools), ("rest",), (), NOW_S)]


def test_a_process_is_silent_after_fifteen_seconds() -> None:
    assert lines(pool(heartbeat_age_s=15.0)) == []
    (said,) = lines(pool(heartbeat_age_s=16.0))
    assert said.startswith("!! node:7 has sent no heartbeat for 16 s. If it does not run any more, start ")


def test_grave_problems_come_first_and_once() -> None:
    pause = Pause("operator", who="ann", why="it moves")
    down: dict[str, Any] = {"state": "down", "reason": "Nobody listens.", "hint": "Start it.", "down_for_s": 40.0}
    pools = (pool("a", pauses=(pause,)), pool("b", **down), pool("b", **down), pool("b"))
    assert lines(*pools, queues=(queue("rest", 2),)) == [
        f"!! b is down in 2 of 3 processes (for 40 s, 2 jobs wait): Nobody listens. Start it. {DOWN.format('b')}",
        '! a is paused by ann until someone resumes it: "it moves" End it with `restbroker targets resume a`.',
    ]


def test_queue_of_a_dead_target_is_reported_with_the_target() -> None:
    long, blocked = queue("rest", 2, latency_s=900.0), attrs.evolve(queue("rest", 2, 900.0), target_state="down")
    assert lines(pool(), queues=(long,)) == ["! Queue rest: the oldest of 2 jobs has been waiting for 15 min."]
    assert lines(pool(state="down"), queues=(blocked,)) == [
        f"!! ejabberd is down (2 jobs wait). {DOWN.format('ejabberd')}"
    ]


def test_a_targets_reason_and_its_limits_are_sentences() -> None:
    usual: dict[str, Any] = dict.fromkeys(attrs.fields_dict(TargetState)) | {
        "pauses": (),
        "limited": (),
        "concurrency": 8,
    }
    why = next(column.text for column in targets.COLUMNS if column.title == "WHY")
    assert why is not None
    limit = "at most 1 of 8 at once since the server was overloaded or down; the limit rises with use"
    assert why(TargetState(**usual | {"limit": 1})) == limit
    assert (
        why(TargetState(**usual | {"limit": 1, "reason": "No.", "hint": "Start it."})) == f"No. Start it. A{limit[1:]}"
    )


def test_a_queue_of_others_is_no_grave_problem() -> None:
    jobs = (queue("ruby", 9, latency_s=900.0), queue("odd", None))
    assert lines(pool(), queues=jobs) == ["! Queue odd: its key is not a list, so no job is taken from it."]
    quiet = lines(pool(quiet=True), queues=(queue("rest", 1),))
    assert quiet == ["!! Queue rest: 1 job waits, and no process takes them."]


def test_text_of_another_version_does_no_harm() -> None:
    assert lines(pool(limited=["new"], down_for_s=1e300, state="new")) == ["!! ejabberd is new."]


@pytest.mark.parametrize(
    ("state", "reasons", "name"),
    [
        ("up", (), "up"),
        (None, (), "-"),
        ("down", (), "down"),
        ("denied", (), "login refused"),
        ("up", ("operator",), "paused"),
        (None, ("operator",), "paused"),
        ("up", ("denied",), "login refused"),
        ("up", ("retry_after",), "asked to wait"),
        ("up", ("retry_after", "operator"), "paused"),
        ("down", ("operator", "retry_after"), "down"),
        ("down", ("denied",), "login refused"),
        ("up", ("of another version",), "paused"),
    ],
)
def test_a_targets_state_has_one_name(state: str | None, reasons: tuple[str, ...], name: str) -> None:
    paused = pool(state=state, pauses=tuple(map(Pause, reasons)))
    assert state_text(target_state(paused) or "-") == name


def test_end_of_a_pause_is_shown_as_it_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    notice = PauseNotice("target", "rosters", "The target rosters is paused.")
    monkeypatch.setattr(enqueue, "pause_of", lambda *_: notice)
    client: Any = None
    why = why_waiting(client, "q", "rosters")
    assert why == "The target rosters is paused. Resume it: `restbroker targets resume rosters`."


@pytest.mark.parametrize(
    ("dead", "said"),
    [
        (0, "Nothing needs you."),
        (1, "Nothing needs you but 1 dead job."),
        (1234, "Nothing needs you but 1,234 dead jobs."),
    ],
)
def test_dead_jobs_are_reported_where_all_else_is_well(dead: int, said: str) -> None:
    assert all_well(dead) == said
