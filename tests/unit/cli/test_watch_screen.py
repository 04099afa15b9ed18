"""What the live screen says of figures, at any size."""

from hypothesis import given, settings
from hypothesis import strategies as st

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
