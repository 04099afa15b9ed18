"""What a broker with nothing to do costs, and how soon it sends what comes in. `python -m benchmarks` calls `idle`.

Always holds: a latency runs from just before the job is pushed until its request has been read here, on one clock and
in one thread.
"""

import random
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from benchmarks.peers import Bench, payload, restbroker
from benchmarks.processes import cpu_s, memory_mib, started

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n0"
_COMMAND = b"POST /api/set_presence"
_PAUSE_S = (0.02, 0.08)


@attrs.frozen
class Idle:
    """Latencies of single jobs on an idle broker, and what it costs while nothing comes."""

    jobs: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_percent_of_a_core: float
    memory_mib: float


@attrs.define
class _Listener:
    """Answers every request at once. `serve` returns at the first command, or at the deadline."""

    server: socket.socket
    selector: selectors.DefaultSelector = attrs.field(factory=selectors.DefaultSelector)

    def __attrs_post_init__(self) -> None:
        self.selector.register(self.server, selectors.EVENT_READ)

    def serve(self, until_s: float) -> bool:
        """Whether a command came before `until_s` (of time.perf_counter)."""
        while (left_s := until_s - time.perf_counter()) > 0:
            for key, _ in self.selector.select(left_s):
                if key.fileobj is self.server:
                    connection, _ = self.server.accept()
                    self.selector.register(connection, selectors.EVENT_READ, connection)
                elif self._answer(key.data):
                    return True
        return False

    def _answer(self, connection: socket.socket) -> bool:
        request = connection.recv(65536)
        if not request:
            self.selector.unregister(connection)
            connection.close()
            return False
        connection.sendall(_ANSWER)
        return request.startswith(_COMMAND)


def idle(bench: Bench, jobs: int = 500, rest_s: float = 20.0) -> Idle:
    """Pushes single jobs at random moments; then lets the broker rest and reads what that cost."""
    bench.around.redis.flushall()
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = attrs.evolve(bench.around, stub_port=int(server.getsockname()[1]))
        listener = _Listener(server)
        command = list(restbroker(attrs.evolve(bench, around=here)))
        with started(command, {}, bench.around.directory / "idle.out") as process:
            _warm_up(bench, listener)
            latencies = [_latency_ms(bench, listener) for _ in range(jobs)]
            before = cpu_s(process.pid)
            listener.serve(time.perf_counter() + rest_s)
            used = cpu_s(process.pid) - before
            memory = memory_mib(process.pid)
    cuts = statistics.quantiles(latencies, n=100)
    return Idle(jobs, cuts[49], cuts[98], max(latencies), used / rest_s * 100, memory)


def _warm_up(bench: Bench, listener: _Listener) -> None:
    """Until the first jobs went through: the connection stands, all code is loaded."""
    for _ in range(20):
        bench.around.redis.lpush("queue:rest", payload())
        if not listener.serve(time.perf_counter() + 20):
            raise SystemExit("The broker does not deliver:\n" + (bench.around.directory / "idle.out").read_text())


def _latency_ms(bench: Bench, listener: _Listener) -> float:
    listener.serve(time.perf_counter() + random.uniform(*_PAUSE_S))  # noqa: S311 — spreads moments, protects nothing
    job = payload()
    began = time.perf_counter()
    bench.around.redis.lpush("queue:rest", job)
    if not listener.serve(began + 20):
        raise SystemExit("A job was not delivered within 20 s")
    return (time.perf_counter() - began) * 1e3


def start_up_ms(words: Sequence[str], rounds: int = 15) -> float:
    """The median time of running this interpreter with these words, start to end."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1])
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3
