"""What a page of a large set costs beside one of a small set: `make bench-pages`. Prints a table; no test.

Two brokers that have nothing to deliver serve their pages over the same Redis, the one with few jobs in each set, the
other with many. Each page is asked for from both in turn, over connections that are kept. A page that finds nothing is
bounded by what a search may look at, not by the set: how many jobs that were is told.
"""

import argparse
import http.client
import json
import re
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import attrs
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks.drain import worker
from benchmarks.peers import PEERS, Bench, payload, restbroker
from benchmarks.processes import cpu_s
from benchmarks.run import say
from benchmarks.surroundings import Surroundings, surroundings
from benchmarks.visits import Visit, visited
from restbroker.store.paging import Cursor

SETS: Final[Mapping[str, str]] = {"dead": "dead", "retry": "retries", "schedule": "scheduled"}
_FIRST_AT_S: Final = 4_000_000_000
"""Far ahead, so that nothing becomes due."""
_EACH_S: Final = 4
"""Jobs of one second."""
_JID: Final = "0" * 24
_STEP: Final = 50_000
_FILL: Final = """
local head, tail, first, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
for number = first, first + count - 1 do
  redis.call('ZADD', KEYS[1], ARGV[5] + number / ARGV[6], head .. string.format('%024x', number) .. tail)
end
"""
_LOOKED_AT: Final = re.compile(r"of ([\d,]+) searched jobs")


@attrs.frozen
class Site:
    """A broker whose sets have so many jobs each."""

    size: int
    pid: int
    client: http.client.HTTPConnection

    def page(self, address: str) -> tuple[float, str]:
        """How long the page took, in milliseconds, and the page."""
        began_s = time.perf_counter()
        self.client.request("GET", address, headers={"Accept": "text/html"})
        with self.client.getresponse() as answer:
            html = answer.read().decode()
            if answer.status != http.HTTPStatus.OK:
                raise SystemExit(f"{address} was answered with {answer.status}:\n{html[:500]}")
        return (time.perf_counter() - began_s) * 1000, html


@attrs.frozen
class Cost:
    """What a page cost on one site: medians. `looked_at`: at how many jobs, where it is a search."""

    ms: float
    cpu_ms: float
    looked_at: str


def main() -> None:
    """Runs what the command line says, and prints what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paging", description=__doc__)
    parser.add_argument("--pages", type=int, default=60, help="how often each is asked for")
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--many", type=int, default=1_000_000, help="in each of the three sets: 1.5 GB of memory")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, surroundings(Path(directory)) as around:
        say(table(measure(around, (wanted.few, wanted.many), wanted.pages)))


def measure(around: Surroundings, sizes: Sequence[int], pages: int) -> Mapping[tuple[str, str], Sequence[Cost]]:
    """By set and page, one for each size."""
    found: dict[tuple[str, str], Sequence[Cost]] = {}
    with ExitStack() as stack:
        sites = [stack.enter_context(_site(around, number, size)) for number, size in enumerate(sizes)]
        for zset, path in SETS.items():
            for name, addresses in _pages(path, sizes).items():
                found[zset, name] = _costs(sites, addresses, pages)
                say(f"  {zset}, {name}: " + ", ".join(f"{cost.ms:.1f} ms" for cost in found[zset, name]))
    return found


def table(found: Mapping[tuple[str, str], Sequence[Cost]]) -> str:
    """As docs/appendix/performance.md has it."""
    lines = [
        "| set | page | few, ms | many, ms | many/few | few, CPU ms | many, CPU ms | looked at |",
        "|---" * 8 + "|",
    ]
    for (zset, name), (few, many) in found.items():
        times = f"{few.ms:.1f} | {many.ms:.1f} | {many.ms / few.ms:.2f} | {few.cpu_ms:.1f} | {many.cpu_ms:.1f}"
        lines.append(f"| {zset} | {name} | {times} | {few.looked_at} and {many.looked_at} |")
    return "\n".join(lines)


def _pages(path: str, sizes: Sequence[int]) -> Mapping[str, Sequence[str]]:
    """Addresses of each kind of page, one for each size."""

    def address(**query: str) -> str:
        return f"/{path}?{urlencode(query)}"

    deep = [address(after=str(Cursor(_FIRST_AT_S + size / _EACH_S / 2, 2))) for size in sizes]
    return {
        "the first": [address()] * len(sizes),
        "in the middle": deep,
        "a search that one in 16 answers": [address(where="jid = *7")] * len(sizes),
        "a search that none answers": [address(where="jid = nobody")] * len(sizes),
    }


def _costs(sites: Sequence[Site], addresses: Sequence[str], pages: int) -> Sequence[Cost]:
    html = [site.page(address)[1] for site, address in zip(sites, addresses, strict=True)]
    before_s = [cpu_s(site.pid) for site in sites]
    times: list[list[float]] = [[] for _ in sites]
    for _ in range(pages):
        for every, site, address in zip(times, sites, addresses, strict=True):
            every.append(site.page(address)[0])
    cpu_ms = [(cpu_s(site.pid) - before) / pages * 1000 for site, before in zip(sites, before_s, strict=True)]
    looked_at = [found[1] if (found := _LOOKED_AT.search(one)) else "a page" for one in html]
    return [Cost(statistics.median(ms), cpu, seen) for ms, cpu, seen in zip(times, cpu_ms, looked_at, strict=True)]


@contextmanager
def _site(around: Surroundings, number: int, size: int) -> Iterator[Site]:
    """A broker on the database of this number."""
    directory = around.directory / f"site-{number}"
    directory.mkdir()
    with redis.Redis(port=around.redis_port, db=number, retry=Retry(NoBackoff(), 0)) as store:
        _fill(store, size)
    own = attrs.evolve(around, directory=directory, redis_url=f"redis://127.0.0.1:{around.redis_port}/{number}")
    bench, port = Bench(own, 20, sys.executable), _free_port()
    command = restbroker(bench, Stats=True, StatsPort=port)
    with worker(PEERS[0], bench, command) as pid:
        # Returns when it serves.
        with visited(port, Visit.follow):
            pass
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            yield Site(size, pid, client)
        finally:
            client.close()


def _fill(store: "redis.Redis", size: int) -> None:
    store.flushdb()
    job = json.loads(payload(jid=_JID)) | {
        "error_class": "ServerError",
        "error_message": "The server answered with status 500: it is out of order.",
        "failed_at": 1_795_190_233.512,
        "retry_count": 3,
    }
    head, _, tail = json.dumps(job).encode().partition(_JID.encode())
    script = store.register_script(_FILL)
    for zset in SETS:
        for start in range(0, size, _STEP):
            script([zset], [head, tail, start, min(_STEP, size - start), _FIRST_AT_S, _EACH_S])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


if __name__ == "__main__":
    main()
