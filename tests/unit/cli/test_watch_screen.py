"""What the live screen says of figures, at any size."""

from hypothesis import given, settings
from hypothesis import strategies as st

from restbroker.cli import stats_terminal
from restbroker.cli.watch.problems import problems
from restbroker.cli.watch.screen import View, screen
from restbroker.cli.watch.trend import Trend, TrendHistory
from restbroker.errors import StoreUnavailable
from restbroker.job.json_types import Json
from restbroker.operate.overview import SystemStats

AWAY = StoreUnavailable("Redis at h:1 cannot be reached.", "Start it.")


def pool(number: int = 77, target: str = "ejabberd", /, **fields: Json) -> dict[str, Json]:
    usual: dict[str, Json] = {
        "identity": f"node:{number}:abc",
        "process": f"node:{number}",
        "target": target,
        "queues": ["rest"],
        "heartbeat_age_s": 1.0,
        "dying": False,
        "in_progress": 0,
        "paused": {},
        "kind": "ejabberd",
        "state": "up",
        "reason": None,
        "hint": None,
        "busy": 0,
        "ahead": 0,
        "workers": 20,
        "concurrency": 20,
        "limit": 20,
        "limited": None,
        "rate_per_s": 0.0,
        "p50_ms": None,
        "p99_ms": None,
        "delivered": 0,
        "failed": 0,
        "server_version": "24.12",
        "quiet": False,
        "finishing": False,
    }
    made = usual | fields
    paused = made["paused"]
    assert isinstance(paused, dict)
    pauses: list[Json] = [pause(reason, remaining_s) for reason, remaining_s in paused.items()]
    return {"pauses": pauses, **made}


def pause(
    reason: str = "operator", remaining_s: Json = None, who: str | None = None, why: str | None = None
) -> dict[str, Json]:
    return {"reason": reason, "remaining_s": remaining_s, "who": who, "why": why, "since_s": None}


def queue(
    name: str = "rest", size: int | None = 0, latency_s: float | None = 0.0, /, **fields: Json
) -> dict[str, Json]:
    return {"name": name, "size": size, "latency_s": latency_s, "paused": False, "pause": None, **fields}


def figures(
    *,
    pools: list[dict[str, Json]] | None = None,
    queues: list[dict[str, Json]] | None = None,
    sources: list[dict[str, Json]] | None = None,
    **totals: int,
) -> SystemStats:
    """All figures: one process and its queue, both well, and no source of events, unless told otherwise."""
    return {
        "totals": {"processed": 0, "failed": 0, "retry": 0, "schedule": 0, "dead": 0, **totals},
        "queues": [queue()] if queues is None else queues,
        "targets": [pool()] if pools is None else pools,
        "sources": [] if sources is None else sources,
        "redis": [],
    }


def view(
    seen: SystemStats | None, *, course: Trend | None = None, error: StoreUnavailable | None = None, age_s: float = 0.0
) -> View:
    server = "Redis 7.0.15 at 127.0.0.1:6379"
    return View(server, "14:03:22", "2 s", seen, course or Trend(), ("rest",), error, age_s)


def shown(
    seen: SystemStats | None,
    width: int = 80,
    height: int = 24,
    *,
    course: Trend | None = None,
    error: StoreUnavailable | None = None,
) -> list[str]:
    return [line.plain for line in screen(view(seen, course=course, error=error), width, height)]


def said(seen: SystemStats, *wanted: str) -> list[str]:
    return [one.text for one in problems(seen, wanted)]


texts = st.text(max_size=40)
numbers = st.one_of(st.none(), st.floats(0, 1e7), st.integers(0, 10**12))
pools = st.builds(
    pool,
    st.integers(1, 5),
    texts,
    state=st.sampled_from(["up", "down", "denied", None, "new"]),
    reason=st.one_of(st.none(), texts),
    hint=st.one_of(st.none(), texts),
    dying=st.booleans(),
    quiet=st.sampled_from([True, False, None]),
    finishing=st.booleans(),
    beat_age_s=st.one_of(st.none(), st.floats(0, 1e6)),
    in_hand=st.integers(0, 10**6),
    limit=numbers,
    limited=st.sampled_from([None, "rate", "in_flight", "refused", "dead", "new"]),
    paused=st.dictionaries(texts, st.one_of(st.none(), st.floats(0, 1e6)), max_size=2),
    rate_per_s=numbers,
    p50_ms=numbers,
    p99_ms=numbers,
)
queues = st.builds(
    queue, texts, st.one_of(st.none(), st.integers(0, 10**12)), st.one_of(st.none(), st.floats(0, 1e9)),
    paused=st.booleans(),
    pause=st.one_of(st.none(), st.builds(pause, texts, st.one_of(st.none(), st.floats(0, 1e6)), texts, texts)),
)  # fmt: skip
any_figures = st.builds(
    lambda pools, queues, dead: figures(pools=pools, queues=queues, dead=dead),
    st.lists(pools, max_size=4),
    st.lists(queues, max_size=12),
    st.integers(0, 10**12),
)


@settings(max_examples=50)
@given(st.lists(any_figures, max_size=2), st.integers(1, 200), st.integers(1, 60), st.booleans())
def test_whatever_there_is_it_fits_and_nothing_in_it_can_play_tricks(
    looks: list[SystemStats], width: int, height: int, away: bool
) -> None:
    past = TrendHistory()
    for number, seen in enumerate(looks):
        past.add(number * 2.0, seen)
    error = AWAY if away else None
    lines = screen(view(looks[-1] if looks else None, course=past.trend(), error=error), width, height)
    assert len(lines) <= height
    assert all(line.cell_len <= width for line in lines)
    assert all(line.plain.isprintable() for line in lines)


def test_rates_and_changes_are_those_since_the_look_before_and_since_the_beginning() -> None:
    past = TrendHistory()
    past.add(0.0, figures(processed=100, failed=1, dead=3, retry=9))
    past.add(2.0, figures(processed=200, failed=1, dead=3, retry=9))
    past.add(4.0, figures(processed=1824, failed=2, dead=5, retry=7))
    seen = figures(processed=1824, failed=2, dead=5, retry=7)
    lines = shown(seen, course=past.trend())
    assert lines[1] == "processed 1,824 (+812/s) · failed 2 (+0.5/s) · in progress 0"
    assert lines[2] == "retries 7 (-2) · scheduled 0 · dead 5 (+2) · watched for 4 s"
    assert lines[6] == "jobs/s         812  ▂█  at most 812"


def test_what_is_wrong_with_a_process_is_said_in_words() -> None:
    rows: list[tuple[dict[str, Json], str]] = [
        ({"state": "down", "reason": "It hangs."}, "ejabberd is down: It hangs."),
        ({"state": "denied"}, "ejabberd refuses the login"),
        ({"limited": "refused"}, "ejabberd: Redis refuses to fetch or to settle jobs; see the log"),
        ({"limited": "dead"}, "ejabberd: no job is taken: the dead set is full (DeadLimit)"),
        ({"paused": {"operator": None}}, "ejabberd is paused: operator until resumed"),
        ({"paused": {"retry_after": 59.9}}, "ejabberd: asked to wait for 1 min more"),
        (
            {"pauses": [pause("operator", None, "ann@web1", "it moves")]},
            "ejabberd is paused: operator by ann@web1 until resumed (it moves)",
        ),
        ({"heartbeat_age_s": 42.0}, "node:77 has sent no heartbeat for 42 s"),
        ({"dying": True, "in_progress": 3}, "node:77 is gone; the 3 jobs it had in progress return to their queues"),
    ]
    for fields, text in rows:
        assert said(figures(pools=[pool(**fields)])) == [text]


def test_what_was_asked_for_is_no_trouble_and_stands_in_the_row() -> None:
    rows: list[dict[str, Json]] = [{"limited": "rate"}, {"limited": "in_flight"}, {"limit": 7}, {"quiet": True}]
    for fields in rows:
        seen = figures(pools=[pool(**fields)])
        assert said(seen) == []
        (row,) = [line for line in shown(seen, width=120) if line.startswith("ejabberd ")]
        assert any(word in row for word in ("RateLimit", "MaxInFlight", "at most 7", "quiet"))


def test_what_is_wrong_with_a_queue_of_ours_is_said_in_words() -> None:
    rows: list[tuple[dict[str, Json], str | None]] = [
        (queue("rest", None), "Queue rest: its key is not a list, so no job is taken from it"),
        (queue("rest", 12, paused=True), "Queue rest is paused, 12 jobs wait"),
        (
            queue("rest", 12, paused=True, pause=pause("operator", 300.0, "ann@web1", "it moves")),
            "Queue rest is paused by ann@web1 for 5 min more (it moves), 12 jobs wait",
        ),
        (queue("rest", 12, paused=True, pause=pause()), "Queue rest is paused, 12 jobs wait"),
        (queue("rest", 1, 300.0), "Queue rest: the oldest of 1 job has been waiting for 5 min"),
        (queue("rest", 1, paused=True), "Queue rest is paused, 1 job waits"),
        (queue("own", 1), "Queue own: 1 job waits, and no process takes them"),
        (queue("own", 1234), "Queue own: 1,234 jobs wait, and no process takes them"),
        (queue("rest", 12, 59.0), None),
        (queue("rest", 0, paused=True), None),
        (queue("ruby's", 10**6, 9999.0), None),
    ]
    for found, text in rows:
        assert said(figures(queues=[found]), "own") == ([] if text is None else [text])


def test_many_processes_that_say_the_same_have_one_line_and_the_grave_come_first() -> None:
    shut = [pool(number, state="down", reason="It hangs.") for number in range(16)]
    seen = figures(pools=[*shut, pool(99), pool(100, "chat", paused={"operator": None})])
    assert said(seen) == [
        "ejabberd is down in 16 of 17 processes: It hangs.",
        "chat is paused: operator until resumed",
    ]


def test_what_does_not_fit_is_counted_and_the_worst_is_shown() -> None:
    many = [queue(f"q{number:03}", number, float(number)) for number in range(100)]
    late = queue("z-late", 5, 7200.0)
    targets = [pool(number, f"server-{number:02}") for number in range(30)]
    broken = pool(99, "zulu", state="down", reason="It hangs.", queues=["z-late"])
    lines = shown(figures(pools=[*targets, broken], queues=[*many, late]))
    assert len(lines) == 24
    assert lines[4] == "!! zulu is down: It hangs."
    assert lines[5].startswith("! Queue z-late: the oldest of 5 jobs has been waiting for 2 h")
    rows = [line.partition(" ")[0] for line in lines]
    assert rows[rows.index("TARGET") + 1] == "zulu"
    assert rows[rows.index("QUEUE") + 1] == "z-late"
    counted = [int(line.split()[2]) for line in lines if line.startswith("… and ")]
    assert len(counted) == 2
    shown_rows = len(lines) - rows.index("TARGET") - 2 - 1 - 2
    assert sum(counted) + shown_rows == 31 + 101


def test_without_an_answer_it_says_so_and_the_last_figures_stay_greyed_with_their_age() -> None:
    lines = screen(view(figures(processed=7), error=AWAY, age_s=12.3), 80, 24)
    assert lines[4].plain == "!! Redis at h:1 cannot be reached. These numbers are 12 s old. Start it."
    grey = [line for line in lines if line.plain.startswith(("processed", "retries", "ejabberd", "rest "))]
    assert [line.style for line in grey] == ["dim"] * 4
    assert shown(None, error=AWAY)[2] == "!! Redis at h:1 cannot be reached. Start it."
    assert shown(None)[2] == "Asking Redis …"


def test_what_to_do_about_stopped_keys_comes_before_dead_jobs_and_after_what_stops_all() -> None:
    def next_step(seen: SystemStats) -> str:
        return stats_terminal.next_steps(seen, (), has_stopped=True)[0]

    assert next_step(figures(dead=1)).startswith("`restbroker order` shows them; ")
    down = figures(pools=[pool(1, "one", state="down", hint="Start the server.")], dead=1)
    assert next_step(down) == "one: Start the server."
    assert "stopped" not in " ".join(said(figures(dead=1)))
    (told,) = problems(figures(dead=1), (), {"one": "2 keys"})
    assert (told.grave, told.text) == (True, "one has stopped keys (2 keys): jobs behind a dead one wait")
