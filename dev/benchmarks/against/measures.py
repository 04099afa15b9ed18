"""How a row is measured. Each function here returns what measures it once, with the restbroker of the run it is given.

Always holds: a measurement begins with an empty Redis, and ends with `SystemExit` where that restbroker cannot do it.
"""

import os
import resource
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from dev.benchmarks import cores
from dev.benchmarks.against.verdict import Figures
from dev.benchmarks.distance import redis_away
from dev.benchmarks.measure import Gauge, Mark, full_queue, mark, produce, until_listening, warm_up, worker
from dev.benchmarks.peers import PEERS, Load, Peer
from dev.benchmarks.processes import has_ended, memory_mib
from dev.benchmarks.run import Run
from dev.benchmarks.scenarios import posted
from dev.benchmarks.surroundings import Surroundings
from tests.support.ports import free_port

Measure = Callable[[Run], Figures]

_REPEATS: Final = 3
_SETTLE_S: Final = 3.0
_PATIENCE_S: Final = 120.0
_LATER_S: Final = 10_000_000
_STEP: Final = 10_000
PARKED: Final = 200_000
PARKED_JID: Final = f"{1:024x}"
PAGES: Final = ("/", "/dead", "/retries", "/stats", "/metrics", "/dead?where=jid+%3D+nobody")
NO_LIMIT: Final = {"DeadLimit": 0}
_PARK: Final = """
for number = ARGV[1], ARGV[2] do
  redis.call('ZADD', KEYS[1], ARGV[3] + number, '{"class":"Add","queue":"rest0","jid":"' ..
    string.format('%024x', number) .. '","args":["set_presence",{"user":"john","host":"example.org"},"bench"],' ..
    '"retry":true,"error_class":"ServerError","error_message":"500","failed_at":1795190233.5}')
end
"""


def costs(load: Load, peer: Peer = PEERS[0]) -> Measure:
    """A full queue, or jobs at a rate, which then is no finding; nor is it where some fail, and wait by chance."""
    has_a_speed = not load.rate and load.server != "flaky"

    def measure(run: Run) -> Figures:
        found = _figures(run.case("", _scaled(run, load), peer).measure())
        return {name: value for name, value in found.items() if name != "jobs_per_s" or has_a_speed}

    return measure


def beside_parked(load: Load, key: str, count: int) -> Measure:
    """A full queue, while so many jobs are in this set."""

    def measure(run: Run) -> Figures:
        scaled = attrs.evolve(_scaled(run, load), keys=NO_LIMIT)
        parked = partial(_beside_parked, run.around, key, run.jobs(count))
        return _figures(full_queue(PEERS[0], run.bench(scaled), beside=parked))

    return measure


def far_away(load: Load, delay_ms: int) -> Measure:
    """A full queue in a Redis that is so far away."""

    def measure(run: Run) -> Figures:
        with redis_away(run.around, delay_ms) as url:
            away = attrs.evolve(run, around=attrs.evolve(run.around, redis_url=url))
            return _figures(away.case("", _scaled(run, load)).measure())

    return measure


def posts(source: Mapping[str, object], body: Mapping[str, object] | str, count: int, senders: int) -> Measure:
    """Events, as fast as so many senders have them accepted."""
    return lambda run: _figures(posted(run, source, body, run.jobs(count), senders))


def at_rest(load: Load, lasts_s: float) -> Measure:
    """Processes without work, in the first minute of their life; their CPU is that of all of them."""

    def measure(run: Run) -> Figures:
        around, bench = run.around, run.bench(load)
        around.redis.flushall()
        answered = around.answered(load.server)
        with worker(PEERS[0], bench) as pid:
            warm_up(PEERS[0], Gauge(bench, pid, lambda: around.answered(load.server) - answered))
            time.sleep(_SETTLE_S)
            start = mark(around, pid)
            time.sleep(max(1.0, lasts_s * run.scale))
            used = mark(around, pid).since(start)
            return {
                "cpu_percent": used.cpu_s / used.moment_s * 100,
                "redis_percent": used.redis_s / used.moment_s * 100,
                "commands_per_s": used.commands / used.moment_s,
                "memory_mib": memory_mib(pid),
            }

    return measure


def start_and_stop(run: Run) -> Figures:
    """From the start of `run`, for which a job waits, to its request; then from SIGTERM to the exit."""
    around, load = run.around, Load(1)
    bench = run.bench(load)
    around.redis.flushall()
    produce(PEERS[0], bench, load)
    answered, began_s = around.answered(load.server), time.monotonic()
    with worker(PEERS[0], bench) as pid:
        gauge = Gauge(bench, pid, lambda: around.answered(load.server) - answered, look_s=0.001)
        first = gauge.mark(load.jobs)
        stopped_s = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        while not has_ended(pid):
            time.sleep(0.001)
        return {
            "cpu_ms": first.cpu_s * 1000,
            "first_ms": (first.moment_s - began_s) * 1000,
            "exit_ms": (time.monotonic() - stopped_s) * 1000,
        }


def command(*words: str, parked: int = 1, exits: tuple[int, ...] = (0,), with_config: bool = True) -> Measure:
    """A command, the best of three, while so many jobs are in `retry` and as many in `dead`."""

    def measure(run: Run) -> Figures:
        config = _written(run, Load(1, keys=NO_LIMIT))
        run.around.redis.flushall()
        for key in ("retry", "dead"):
            park(run.around, key, run.jobs(parked, 1))
        line = [*words, "--config", str(config)] if with_config else words
        each = [_of_command(run, line, exits) for _ in range(_REPEATS if parked == 1 else 1)]
        least = min(each, key=lambda used: used.cpu_s)
        redis = {"redis_ms": least.redis_s * 1000} if parked > 1 else {}
        return {"cpu_ms": least.cpu_s * 1000, **redis}

    return measure


def pages(run: Run) -> Figures:
    """CPU of a look at each page, of the broker and Redis together, with many jobs in `retry` and in `dead`.

    The least of some looks: the broker does other things meanwhile.
    """
    around, port = run.around, free_port()
    bench = run.bench(Load(1, keys={"Stats": True, "StatsPort": port, **NO_LIMIT}))
    around.redis.flushall()
    for key in ("retry", "dead"):
        park(around, key, run.jobs(PARKED))
    found = {}
    with worker(PEERS[0], bench) as pid:
        until_listening(bench, pid, port)
        for address in PAGES:
            found[f"{address}, ms"] = min(_of_look(around, pid, port, address) for _ in range(_REPEATS + 1)) * 1000
    return found


def park(around: Surroundings, key: str, count: int) -> None:
    """Put so many jobs into a set, for later or as of this year, in steps that let others reach Redis."""
    base_s = time.time() + (_LATER_S if key == "retry" else -_LATER_S)
    for first in range(1, count + 1, _STEP):
        around.redis.eval(_PARK, 1, key, first, min(count, first + _STEP - 1), base_s)


@contextmanager
def _beside_parked(around: Surroundings, key: str, count: int) -> Iterator[None]:
    park(around, key, count)
    yield


def _figures(found: attrs.AttrsInstance) -> Figures:
    return {name: value for name, value in attrs.asdict(found).items() if value is not None}


def _scaled(run: Run, load: Load) -> Load:
    return attrs.evolve(load, jobs=run.jobs(load.jobs), waiting=run.jobs(load.waiting, 0))


def _written(run: Run, load: Load) -> Path:
    """Write env.json as for `run`."""
    *_, path = PEERS[0].command(run.bench(load))
    return Path(path)


def _of_command(run: Run, words: "list[str] | tuple[str, ...]", exits: tuple[int, ...]) -> Mark:
    bench = run.bench(Load(1))
    environment = {**os.environ, "PYTHONPATH": bench.python_path}
    start_s, redis_s, moment_s = _children_s(), run.around.redis_cpu_s(), time.monotonic()
    with cores.on_last():
        done = subprocess.run(
            [*bench.program, *words], env=environment, capture_output=True, timeout=_PATIENCE_S, check=False
        )
    if done.returncode not in exits:
        said = (done.stdout + done.stderr).decode(errors="replace")[-500:]
        raise SystemExit(f"{' '.join(words)}: exit {done.returncode}\n{said}")
    used_s = _children_s() - start_s, run.around.redis_cpu_s() - redis_s
    return Mark(1, time.monotonic() - moment_s, *used_s, commands=0)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _of_look(around: Surroundings, pid: int, port: int, address: str) -> float:
    start = mark(around, pid)
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{address}", headers={"Host": "localhost", "Accept": "text/html"}
    )
    with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:  # noqa: S310
        answer.read()
    used = mark(around, pid).since(start)
    return used.cpu_s + used.redis_s
