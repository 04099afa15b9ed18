"""How much of what a real ejabberd can do the broker reaches. `python -m benchmarks` calls `shares`.

Always holds: wrk and the broker send the same command (`check_account`, which reads one account) with the same login
and the same number of connections, one directly after the other.
"""

import time
from pathlib import Path
from typing import Final

import attrs

from benchmarks.drain import Drained
from benchmarks.peers import Bench, push, restbroker
from benchmarks.processes import cpu_s, memory_mib, started
from benchmarks.surroundings import Posted, Surroundings, ceiling
from tests.support.ejabberd import Ejabberd

_JOBS: Final = 10_000
_CONCURRENCY: Final = 20
_COMMAND: Final = "check_account"


@attrs.frozen
class Share:
    """`wrk_requests_per_s`: the server's own ceiling."""

    wrk_requests_per_s: float
    broker: Drained

    @property
    def share(self) -> float:
        """Of the ceiling."""
        return self.broker.jobs_per_s / self.wrk_requests_per_s


def shares(around: Surroundings, rounds: int, scale: float) -> list[Share]:
    """One measurement per round, on one server."""
    server = Ejabberd(around.directory / "ejabberd").start()
    try:
        return [_share(around, server, round(_JOBS * scale)) for _ in range(rounds)]
    finally:
        server.kill()


def _share(around: Surroundings, server: Ejabberd, jobs: int) -> Share:
    arguments: dict[str, object] = {"user": "admin", "host": server.hosts[0]}
    posted = Posted(f"{server.url}/{_COMMAND}", arguments, server.authorization())
    most = ceiling(posted, _CONCURRENCY, around.directory)
    around.redis.flushall()
    bench = Bench(around, _CONCURRENCY, "")
    push(bench, jobs, command=_COMMAND, arguments=arguments)
    keys = {
        "RestURL": server.url,
        "RestUser": server.admin,
        "RestPass": server.password,
        "JabberDomain": server.hosts[0],
    }
    command = list(restbroker(bench, **keys))
    with started(command, {}, around.directory / "ejabberd-worker.out") as process:
        return Share(most, _measure(around, process.pid, jobs))


def _measure(around: Surroundings, pid: int, jobs: int) -> Drained:
    """Between a tenth and nine tenths of the jobs, by what has left the queue: nothing counts at the server."""
    left, at_s, used_s, redis_s = _mark(around, pid, jobs * 9 // 10)
    end_left, end_at_s, end_used_s, end_redis_s = _mark(around, pid, jobs // 10)
    done = left - end_left
    return Drained(
        jobs_per_s=done / (end_at_s - at_s),
        cpu_us_per_job=(end_used_s - used_s) / done * 1e6,
        redis_cpu_us_per_job=(end_redis_s - redis_s) / done * 1e6,
        memory_mib=memory_mib(pid),
    )


def _mark(around: Surroundings, pid: int, left: int) -> tuple[int, float, float, float]:
    deadline_s = time.monotonic() + 60
    while (now := int(around.redis.llen("queue:rest"))) > left:
        if time.monotonic() > deadline_s:
            log = Path(around.directory / "ejabberd-worker.out").read_text(encoding="utf-8", errors="replace")
            raise SystemExit(f"{now} jobs are still queued:\n{log[-2000:]}")
        time.sleep(0.01)
    return now, time.monotonic(), cpu_s(pid), around.redis_cpu_s()
