"""How much of what a real ejabberd can do the broker reaches.

Always holds: wrk and the broker send the same command (`check_account`, which reads one account) with the same login
and the same number of connections, one directly after the other. Where there are two cores or more, ejabberd has one to
itself.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import attrs

from benchmarks import cores
from benchmarks.drain import Drained, Gauge, between, worker
from benchmarks.filling import Filler
from benchmarks.peers import PEERS, restbroker
from benchmarks.processes import memory_mib
from benchmarks.run import Case, Run, alternate
from benchmarks.surroundings import Posted, ceiling
from tests.support.ejabberd import Ejabberd

COMMAND: Final = "check_account"
_JOBS: Final = 20_000
_CONCURRENCY: Final = 20


@attrs.frozen
class Share(Drained):
    """`wrk_requests_per_s`: the server's own ceiling. `share`: of it, what the broker reached."""

    wrk_requests_per_s: float
    share: float


def measure(run: Run) -> dict[str, Any]:
    """One row: one server for all rounds."""
    with cores.first_alone(run.around.redis.info("server")["process_id"]):
        server = Ejabberd(run.around.directory / "ejabberd").start()
        try:
            case = Case(COMMAND, PEERS[0].name, partial(_share, run, server, run.jobs(_JOBS)))
            return {"cases": alternate(run, [case])}
        finally:
            server.kill()


def _share(run: Run, server: Ejabberd, jobs: int) -> Share:
    arguments: Mapping[str, object] = {"user": "admin", "host": server.hosts[0]}
    most = ceiling(
        Posted(f"{server.url}/{COMMAND}", arguments, server.authorization()), _CONCURRENCY, run.around.directory
    )
    run.around.redis.flushall()
    Filler(run.around.redis).fill(jobs, command=COMMAND, arguments=arguments)
    keys = {
        "RestURL": server.url,
        "RestUser": server.admin,
        "RestPass": server.password,
        "JabberDomain": server.hosts[0],
    }
    bench = run.bench(_CONCURRENCY)
    with worker(PEERS[0], bench, restbroker(bench, **keys)) as pid:
        # By what has left the queue: nothing counts at the server.
        left = partial(run.around.redis.llen, "queue:rest")
        assert server.process is not None  # noqa: S101 - it was started
        gauge = Gauge(bench, pid, lambda: jobs - int(left()), server.process.pid)
        first = gauge.mark(jobs // 10)
        found = between(first, gauge.mark(jobs * 9 // 10), memory_mib(pid))
    return Share(**attrs.asdict(found), wrk_requests_per_s=most, share=found.jobs_per_s / most)
