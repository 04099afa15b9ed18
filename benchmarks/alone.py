"""What the HTTP client costs without a broker around it: `python -m benchmarks.alone URL WORKERS REQUESTS`.

`python -m benchmarks` runs it in a process of its own, so that nothing else is in the figure: the CPU time of one
request in µs, printed alone on a line.
"""

import resource
import subprocess
import sys
from collections import deque
from urllib.parse import urlsplit

import trio

from benchmarks import cores
from restbroker.config.target import Target, Url
from restbroker.transport.client import open_transport
from restbroker.transport.message import Request, Transport


def cpu_us_per_request(url: str, workers: int, requests: int = 20_000) -> float:
    """Measures in a process of its own."""
    command = cores.on_last([sys.executable, "-m", "benchmarks.alone", url, str(workers), str(requests)])
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


async def _measure(url: str, workers: int, requests: int) -> float:
    parts = urlsplit(url)
    target = Target("t", "ejabberd", Url("http", str(parts.hostname), parts.port or 80), ("rest",), concurrency=workers)
    transport = open_transport(target)
    headers = (("Content-Type", "application/json"), ("Authorization", "Basic " + "x" * 32))
    request = Request("POST", f"{parts.path}/set_presence", 10.0, headers=headers, body=b"{" + b"a" * 180 + b"}")
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        await _send(transport, request, workers, requests // 10)
        before = _cpu_s()
        await _send(transport, request, workers, requests)
        used = _cpu_s() - before
        nursery.cancel_scope.cancel()
    return used / requests * 1e6


async def _send(transport: Transport, request: Request, workers: int, requests: int) -> None:
    left = deque(range(requests))

    async def work() -> None:
        while left:
            left.pop()
            await transport.send(request)

    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(work)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(
            "usage: python -m benchmarks.alone URL WORKERS REQUESTS\n"
            "for example: python -m benchmarks.alone http://127.0.0.1:5281/api 20 20000\n"
            "Something must answer there: it gets so many POSTs, and a tenth more to warm up."
        )
    found = trio.run(_measure, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write(f"{found:.1f}\n")
