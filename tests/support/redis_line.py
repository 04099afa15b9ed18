"""Jobs, a broker, and a Redis behind a bad network: what a test of an outage watches, and what must be true after it.

Used by the tests of Redis' faults. Always holds: the tests look at Redis directly, the brokers through the proxy.
"""

import time
from collections.abc import Callable
from typing import TypeAlias

import attrs

from tests.support.bench import Bench, job_id, payload, share_at_rest
from tests.support.pages import page
from tests.support.process import Running, Stopwatch
from tests.support.shared import FAST_RETRIES
from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import until

MOST_CPU = 0.1
"""A hot loop takes a whole core; 1 to 4 % were measured."""
BACK_WITHIN_S = 5.0
"""At most 1.1 s were measured."""

LOAD = 300
"""Enough jobs that a broker is still in the middle of them when a test breaks something."""

Report: TypeAlias = Callable[[str], None]


@attrs.define(eq=False)
class Line:
    """A bench whose brokers reach Redis over `proxy`. `pushed` counts its jobs; `name` is reported with each figure."""

    bench: Bench
    proxy: TcpProxy
    health_port: int
    report: Report
    name: str
    pushed: int = 0

    @property
    def broker(self) -> Running:
        return self.bench.brokers[0]

    def configure(self, **keys: object) -> None:
        """The next brokers to be started reach Redis over `proxy`; `keys` are added to their env.json."""
        where = {"RedisURL": f"redis://127.0.0.1:{self.proxy.port}/0", "HealthBind": f"127.0.0.1:{self.health_port}"}
        self.bench.configure(**{"Backoff": FAST_RETRIES, **where, **keys})

    def under_load(self, brokers: int = 1) -> None:
        """In the middle of its jobs. Only the first of several brokers gets the port of /readyz."""
        for _ in range(brokers):
            self.bench.start()
        until(lambda: self.ready() == 200, "it is ready")
        self.push(LOAD)
        self.bench.wait_until_sent(LOAD // 6)

    def push(self, count: int) -> None:
        self.bench.push([self.job(number) for number in range(self.pushed, self.pushed + count)])
        self.pushed += count

    def job(self, number: int) -> bytes:
        fields = {"user": f"{self.health_port}-{number}", "host": "example.org", "password": "a password"}
        return payload(number, "register", f"reply-{number}", **fields)

    def ready(self) -> int:
        return page(self.health_port, "/readyz").status_code

    def outages(self) -> list[tuple[int, int]]:
        outputs = [broker.output() for broker in self.bench.brokers]
        return [(output.count(" redis.lost "), output.count(" redis.back ")) for output in outputs]

    def wait_until_lost(self) -> None:
        until(lambda: self.ready() == 503, "/readyz says that Redis is away")

    def watch_cpu(self, watched_s: float = 1.0) -> None:
        statuses = set()

        def look() -> None:
            statuses.add(self.ready())

        share = share_at_rest(self.broker.process.pid, watched_s, MOST_CPU, look)
        self.report(f"{self.name}: Redis is away, {share:.1%} of a core")
        assert statuses == {503}

    def wait_until_back(self) -> None:
        watch = Stopwatch.start(self.broker)
        until(lambda: self.ready() == 200, "/readyz says that Redis is back")
        took_s = watch.took_s()
        self.report(f"{self.name}: goes on {took_s:.2f} s after Redis is back")
        assert took_s <= BACK_WITHIN_S

    def assert_each_is_answered_once(self) -> None:
        self.bench.wait_until_finished()
        until(lambda: len(self.bench.replies()) >= self.pushed, "every job is answered")
        assert sorted(reply_id for _, reply_id in self.bench.replies()) == sorted(
            f"reply-{number}" for number in range(self.pushed)
        )
        assert self.bench.places() == {}

    def assert_each_was_sent_once(self) -> None:
        sendings = self.bench.proxy.of_jobs()
        assert {job: len(sent) for job, sent in sendings.items()} == {job_id(n): 1 for n in range(self.pushed)}

    def assert_outages(self, count: int) -> None:
        assert set(self.outages()) == {(count, count)}, self.broker.output()

    def assert_it_goes_on(self) -> None:
        self.wait_until_back()
        self.assert_each_is_answered_once()
        self.assert_each_was_sent_once()
        self.assert_outages(1)


def pause(seconds: float) -> None:
    """Lets a fault last: what is waited for is that nothing happens."""
    time.sleep(max(0.0, seconds))
