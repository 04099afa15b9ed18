"""Figures as `restbroker.operate.overview` makes them, for tests of what is made of them."""

from restbroker.job.json_types import Json
from restbroker.operate.overview import SystemStats


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
