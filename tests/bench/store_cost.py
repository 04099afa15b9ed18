"""What a job costs Redis: `make bench-store`. Prints a table; nothing here is a test.

Each round takes and settles jobs in batches of 100, acknowledged in random order, with so many in progress as the table
says. The figure is the CPU time of the server's main thread per job, reading and answering included, as the server
itself counts it: other processes on the machine do not enter into it.
"""

import random
import sys
import tempfile
from pathlib import Path

import attrs

from restbroker.job.settlement import Ack, Retry, Settlement
from restbroker.store import queues
from restbroker.store.client import Client, StoreSettings, open_client, text
from restbroker.store.codes import Applied
from restbroker.store.identities import ProcessInfo
from restbroker.store.jobs import FetchRequest, FetchResult, Limits, register
from restbroker.store.server import server as ask_server
from restbroker.store.settling import FinishRequest
from tests.support.redis_server import RedisServer, redis_binary, valkey_binary
from tests.support.store_calls import fetch, finish

BATCH, BATCHES, ROUNDS = 100, 100, 5
LANE, TARGET, QUEUE = "host:1:bench:t", "t", "rest"
FAST = 1_000_000
"""Jobs per emission of one microsecond: tokens enough, so that the arithmetic is paid and nothing waits."""
LIMITS = {
    "none": Limits(),
    "rate": Limits(emission_us=1, burst=FAST),
    "in flight": Limits(in_flight=FAST),
    "all": Limits(emission_us=1, burst=FAST, in_flight=FAST, dead=FAST),
}
JOB = (
    b'{"class":"Add","args":["register",{"user":"user%06d","host":"example.org","password":"a password"},"a token"],'
    b'"jid":"%024x","queue":"rest","retry":true,"created_at":1700000000.123,"enqueued_at":1700000000.123}'
)
FAILED = b'%s,"error_class":"Deferred","error_message":"503: starting","retry_count":0,"failed_at":1700000000.%06d}'


@attrs.define
class Bench:
    """One pool on one server. `in_hand`: its tickets and their bytes."""

    client: Client
    limits: Limits
    in_hand: dict[str, bytes] = attrs.field(factory=dict)
    base: int = 0

    def take(self, count: int) -> None:
        request = FetchRequest(LANE, TARGET, (QUEUE,), self.base, count, self.base + count, self.limits)
        answer = fetch(self.client, request)
        assert isinstance(answer, FetchResult), answer
        assert len(answer.jobs) == count, "the queue ran dry"
        self.base += count
        self.in_hand |= {job.ticket: job.raw for job in answer.jobs}

    def settle(self, count: int, retries: float) -> None:
        tickets = random.sample(list(self.in_hand), count)
        items = [(ticket, self.settlement(ticket, again=n < count * retries)) for n, ticket in enumerate(tickets)]
        codes = finish(self.client, FinishRequest(LANE, TARGET, (QUEUE,), self.base, items), 1_700_000_000.0)
        assert codes == [Applied()] * count
        for ticket in tickets:
            del self.in_hand[ticket]

    def settlement(self, ticket: str, *, again: bool) -> Settlement:
        number = int(ticket.partition(":")[0])
        return Retry(1e6 + number, FAILED % (self.in_hand[ticket][:-1], number)) if again else Ack()

    def cpu_us(self) -> float:
        """Of the server's main thread so far."""
        lines = text(self.client.command("INFO", "cpu")).split()
        found = dict(line.split(":", 1) for line in lines if ":" in line)
        return sum(float(found[f"used_cpu_{kind}_main_thread"]) for kind in ("user", "sys")) * 1e6


def cost_us(client: Client, limits: Limits, in_hand: int, retries: float) -> float:
    """CPU time per job in the least disturbed of some rounds: caches are shared with other processes."""
    client.command("FLUSHALL", "SYNC")
    assert register(client, LANE, ProcessInfo(1, "host", "boot", "ns", 1, TARGET), [QUEUE])
    bench, total = Bench(client, limits), in_hand + BATCH * (1 + BATCHES * ROUNDS)
    for start in range(0, total, 1000):
        queues.push(client, QUEUE, [JOB % (n, n) for n in range(start, start + 1000)])
    while len(bench.in_hand) < in_hand:
        bench.take(BATCH)
    costs = []
    for _ in range(ROUNDS):
        before = bench.cpu_us()
        for _ in range(BATCHES):
            bench.settle(BATCH, retries)
            bench.take(BATCH)
        costs.append((bench.cpu_us() - before) / (BATCH * BATCHES))
    return min(costs)


def say(line: str) -> None:
    """To standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measures each combination on Redis and on Valkey."""
    for binary in (redis_binary(), valkey_binary()):
        with tempfile.TemporaryDirectory() as directory:
            server = RedisServer(binary, Path(directory)).start()
            client = open_client(StoreSettings(server.url))
            try:
                say(f"{ask_server(client).product}\nin progress  retries  limits      µs a job")
                for in_hand in (100, 1000):
                    for retries in (0.0, 0.1):
                        for name, limits in LIMITS.items():
                            cost = cost_us(client, limits, in_hand, retries)
                            say(f"{in_hand:7}  {retries:6.0%}  {name:10}  {cost:8.2f}")
            finally:
                client.close()
                server.close()


if __name__ == "__main__":
    main()
