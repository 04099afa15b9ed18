"""Every scenario under its name, in the order in which they run. `python -m benchmarks` picks from these."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from benchmarks.run import Run
from benchmarks.scenarios import (
    drain,
    ejabberd,
    failures,
    latency,
    memory,
    payload,
    processes,
    queue,
    redis,
    slow,
    start,
    targets,
)

SCENARIOS: Final[Mapping[str, Callable[[Run], dict[str, Any]]]] = {
    "drain": drain.measure,
    "slow": slow.measure,
    "redis": redis.measure,
    "failures": failures.measure,
    "latency": latency.measure,
    "ejabberd": ejabberd.measure,
    "queue": queue.measure,
    "payload": payload.measure,
    "targets": targets.measure,
    "processes": processes.measure,
    "start": start.measure,
    "memory": memory.measure,
}
