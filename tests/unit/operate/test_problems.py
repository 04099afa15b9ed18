"""What is wrong now, and what a state is called: the same words for the stats, the live screen and the pages."""

from typing import Any

import attrs
import orjson
import pytest

from restbroker.cli import targets
from restbroker.config.core import Config
from restbroker.config.events import Events, EventSource
from restbroker.config.target import Target
from restbroker.console import codes
from restbroker.operate import enqueue
from restbroker.operate.enqueue import PauseNotice, why_waiting
from restbroker.operate.problems import problems, unfit_command
from restbroker.operate.system import PoolState, Queue, Snapshot, TargetState, TargetStoppedKeys, target_state
from restbroker.operate.words import all_well, state_text
from restbroker.servers.findings import worst_cause
from restbroker.store.identities import ProcessInfo, Registration
from restbroker.store.pauses import Pause
from restbroker.store.processes import ProcessRecord
from restbroker.store.server import RedisProblem
from restbroker.store.sources import SourceState

NOW_S = 1_000.0
CONFIG = Config(targets=(Target(queues=("rest",)),), response_queue="answers", taken_elsewhere=("theirs-*",))
DOWN = (
    "restbroker loses no job, uses up no try while it waits, and continues by itself. "
    "`restbroker check --target {}` tests it."
)


def pool(target: str = "ejabberd", /, **fields: Any) -> PoolState:
    usual: dict[str, Any] = {"identity": "node:7:x", "process": "node:7", "target": target, "queues": ("rest",)}
    usual |= {"heartbeat_age_s": 1.0, "dying": False, "in_progress": 0, "state": "up"}
    return PoolState(**usual | fields)


def queue(name: str, size: int | None, latency_s: float = 0.0) -> Queue:
    return Queue(name, size, latency_s, paused=False)


def lines(*pools: PoolState, queues: tuple[Queue, ...] = ()) -> list[str]:
    return [problem.line for problem in problems(Snapshot(queues=queues, targets=pools), CONFIG, (), NOW_S)]


def test_a_process_is_silent_after_fifteen_seconds() -> None:
    assert lines(pool(heartbeat_age_s=15.0)) == []
    (said,) = lines(pool(heartbeat_age_s=16.0))
    assert said.startswith("!! node:7 has sent no heartbeat for 16 s. If it does not run any more, start ")


def test_what_needs_a_restart_is_never_told_to_reload() -> None:
    events = Events(sources=(EventSource("grafana", "webhook", "/p", "rest"),))
    told: dict[str, Any] = {"queues": ["rest"], "started_at": 1.0, "version": "restbroker 1"}
    record = ProcessRecord("h:1:a", told, False, 0, None, None, None, {})
    info, ends = ProcessInfo(7, "node", "boot", "ns", 1, "t"), pool(identity="old", process="node:8", finishing=True)
    said = [Registration(info, ("rest",), 1, orjson.dumps({"needs_restart": keys})) for keys in (["Events"], ["Stats"])]
    known = {"node:7:x": said[0], "old": said[1]}
    seen = Snapshot(targets=(pool(), pool("b"), ends), records=(record,), registrations=known)
    found = [row.line for row in problems(seen, attrs.evolve(CONFIG, events=events), (), NOW_S)]
    found.append(unfit_command("t", "Events.Sources.grafana", "No.").line)
    assert [line[:50] for line in found] == [
        "!! Source grafana: no process takes its events. St",
        "! node:7 needs a restart for Events. Restart it wh",
        "!! Events.Sources.grafana: No. Its jobs die. Write",
    ]
    assert not any("reload" in line for line in found)
    assert "reload" in unfit_command("t", "Periodic.often", "No.").line


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


def test_what_a_process_has_fetched_waits_as_well() -> None:
    held = pool(state="down", in_progress=5, busy=1)
    assert lines(held, queues=(queue("rest", 0),)) == [f"!! ejabberd is down (4 jobs wait). {DOWN.format('ejabberd')}"]


def test_a_target_is_not_down_before_its_first_probe_is_late() -> None:
    untried: dict[str, Any] = {"state": "down", "code": "Starting", "reason": "No."}
    assert lines(pool(**untried), pool(**untried, down_for_s=15.0)) == []
    assert lines(pool(**untried, down_for_s=16.0))[0].startswith("!! ejabberd is down (for 16 s): No. ")


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


def untaken(name: str, stays_s: float, waits_s: float | None = 3_600.0) -> list[str]:
    seen = Snapshot(queues=(Queue(name, 9, waits_s),), targets=(pool(),), stays_s={name: stays_s})
    return [problem.line for problem in problems(seen, CONFIG, (), NOW_S)]


def test_a_queue_that_nobody_takes_is_told_after_a_minute() -> None:
    assert untaken("restt", 59.0) == untaken("restt", 61.0, 59.0) == []
    (said,) = untaken("restt", 61.0)
    assert said.startswith(
        '!! Queue restt: 9 jobs wait, and no process takes them. Processes take from "rest": did you mean that? Start '
    )
    assert untaken("mail", 61.0, None)[0].startswith("!! Queue mail: 9 jobs wait, and no process takes them. Start ")
    # A producer's clock that is ahead hides it for a minute more.
    assert untaken("mail", 119.0, 0.0) == []
    assert len(untaken("mail", 121.0, 0.0)) == 1
    assert untaken("theirs-1", 1e6) == untaken("answers", 899.0) == []
    assert len(untaken("answers", 901.0)) == 1


def test_what_waits_in_lines_is_told_though_no_list_has_it() -> None:
    (said,) = lines(pool(), queues=(Queue("fair", 9, None, in_lines=9),))
    assert said.startswith("!! Queue fair: 9 jobs wait, and no process takes them. ")


def test_rubys_process_on_a_queue_of_ours_is_told() -> None:
    ruby = ProcessRecord("h:1:a", {"queues": ["rest"]}, False, 0, None, None, None, {})
    (said,) = problems(
        Snapshot(queues=(Queue("rest", 0, None),), targets=(pool(),), records=(ruby,)), CONFIG, (), NOW_S
    )
    assert (said.code, said.grave) == ("QueueTaken", True)


def test_a_queue_of_rubys_is_the_nearest_name_too() -> None:
    ruby = ProcessRecord("h:1:a", {"queues": ["mailers"]}, False, 0, None, None, None, {})
    seen = Snapshot(queues=(Queue("mailer", 9, 70.0),), targets=(pool(),), stays_s={"mailer": 70.0}, records=(ruby,))
    (said,) = problems(seen, CONFIG, (), NOW_S)
    assert said.code == "QueueUnserved"
    assert 'take from "mailers"' in said.text


def test_processes_with_different_tokens_on_a_queue_are_named() -> None:
    def told(*secrets: tuple[str, ...], quiet: int | None = None) -> list[str]:
        pools = [
            pool(identity=f"node:{number}:x", process=f"node:{number}", quiet=number == quiet)
            for number in range(len(secrets))
        ]
        info = ProcessInfo(7, "node", "boot", "ns", 1, "ejabberd")
        said = {
            one.identity: Registration(info, ("rest",), 1, orjson.dumps({"tokens": {"rest": ["g", {"t": own}]}}))
            for one, own in zip(pools, secrets, strict=True)
        }
        seen = Snapshot(targets=tuple(pools), registrations=said)
        return [problem.text for problem in problems(seen, CONFIG, (), NOW_S) if problem.code == "TokensMixed"]

    # A rolling restart: the old one takes no more.
    assert told(("a",), ("b",), quiet=0) == []
    # In a rotation each knows the other's.
    assert told(("a",), ("a",)) == told(("b", "a"), ("a",)) == told(("b", "a"), ("b",)) == []
    assert told(("a",), ("b",)) == [
        "Queue rest: node:0 and node:1 serve it with different tokens, so that good jobs die"
    ]
    assert told(("b", "a"), ("a",), ("b",)) == [
        "Queue rest: node:1 and node:2 serve it with different tokens, so that good jobs die"
    ]


def test_a_source_without_a_process_is_told_after_a_minute() -> None:
    hook, other = (EventSource(name, "webhook", f"/{name}", "q", "C") for name in ("hook", "other"))
    config = attrs.evolve(CONFIG, events=Events(sources=(hook, other)))

    def told(started_s: float, *, queue: str = "rest", version: str = "restbroker 1") -> list[str]:
        info: dict[str, Any] = {"queues": [queue], "version": version, "started_at": started_s}
        mine = ProcessRecord("node:7:a", info, False, 0, None, None, None, {})
        seen = Snapshot(targets=(pool(),), records=(mine,), sources=(SourceState("other", "webhook", "node:7"),))
        return [problem.line for problem in problems(seen, config, (), NOW_S)]

    (said,) = told(NOW_S - 60)
    assert said.startswith("!! Source hook: no process takes its events. Start `restbroker run` with this ")
    assert told(NOW_S - 59) == told(0, queue="theirs") == told(0, version="7.3.2") == []


def test_a_paused_target_is_told_also_without_a_process() -> None:
    seen = Snapshot(pauses={"": (Pause("operator", who="ann"),), "theirs": (Pause("operator"),)})
    assert [row.code for row in problems(seen, CONFIG, (), NOW_S)] == ["NotRunning", "TargetPaused"]


def test_each_row_has_a_code_that_is_explained_and_decides_the_exit() -> None:
    pause = Pause("operator", who="ann", why="it moves")
    fields: list[dict[str, Any]] = [
        {"state": "down"}, {"state": "denied"}, {"limited": "dead"}, {"limited": "refused"}, {"pauses": (pause,)},
        {"heartbeat_age_s": 16.0}, {"dying": True},
    ]  # fmt: skip
    seen = Snapshot(
        redis=(RedisProblem("Full", "It is.", "Why.", "Do."),),
        queues=(Queue("rest", None, 0.0), Queue("a", 1, 70.0), Queue("b", 1, 0.0, pause=pause), Queue("c", 1, 70.0)),
        targets=tuple(pool(f"t{number}", queues=("c",), **changed) for number, changed in enumerate(fields)),
        sources=(SourceState("s", "amqp", "node:7", code="Away", message="It is."),),
        stays_s={"a": 70.0},
    )
    stopped = [TargetStoppedKeys("t", "rest", "1 key", None)]
    rows = [*problems(seen, CONFIG, stopped, NOW_S), *problems(Snapshot(), CONFIG, (), NOW_S)]
    found = {row.code: row.finding for row in rows}
    assert found.keys() == {
        "Full", "TargetDown", "TargetDenied", "DeadSetFull", "Refused", "TargetPaused", "ProcessSilent", "ProcessGone",
        "WrongType", "QueueUnserved", "QueuePaused", "QueueWaits", "SourceUnread", "OrderStopped", "NotRunning",
    }  # fmt: skip
    assert found.keys() <= {known["code"] for known in codes.every()}
    assert worst_cause([found["TargetDown"], found["QueueUnserved"]]) == "target"
    assert worst_cause([found["QueueUnserved"]]) == "other"
    assert worst_cause([found["TargetPaused"], found["QueuePaused"], found["QueueWaits"]]) is None


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
