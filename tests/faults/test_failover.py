"""The Redis master fails over to its replica under load: nothing that was replicated is lost, and delivery goes on.

A master, a replica and three sentinels, all real; the broker and the producer know the sentinels only.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.errors import StoreUnavailable
from restbroker.store.client import Client, StoreSettings, integer, open_client
from restbroker.store.redis import run_blocking
from restbroker.store.sentinel import Sentinels, open_sentinels
from tests.support.bench import CONCURRENCY, QUEUE, REPLIES, Bench, job_id, payload
from tests.support.counting_proxy import CountingProxy
from tests.support.ejabberd import Ejabberd
from tests.support.pages import page
from tests.support.ports import free_port
from tests.support.process import Running, Stopwatch
from tests.support.sentinel import MASTER, PASSWORD, Group, start_group
from tests.support.shared import FAST_RETRIES
from tests.support.wait import until

ON_WITHIN_S = 4.0
"""1.2 s were measured."""
ENOUGH = 200
URL = "redis:///0"


@attrs.define(eq=False)
class Producer:
    """Pushes one job after the other to whatever server the sentinels name, until told to stop.

    `sure`: those that the master acknowledged and that had reached a replica by then.
    """

    sentinels: Sentinels
    client: Client
    name: str
    pushed: int = 0
    sure: set[int] = attrs.field(factory=set)
    stop: threading.Event = attrs.field(factory=threading.Event)

    def run(self) -> None:
        while not self.stop.wait(0.005):
            number = self.pushed
            self.pushed += 1
            push = ("LPUSH", f"queue:{QUEUE}", self._job(number))
            try:
                run_blocking(self.sentinels.check_master())
                # In one go: on a connection of its own, WAIT would know of no write.
                _, _, replicas = self.client.commands([("SADD", "queues", QUEUE), push, ("WAIT", 1, 200)])
            except StoreUnavailable:
                continue
            if integer(replicas) >= 1:
                self.sure.add(number)

    def _job(self, number: int) -> bytes:
        fields = {"user": f"{self.name}-{number}", "host": "example.org", "password": "a password"}
        return payload(number, "register", f"reply-{number}", **fields)


@attrs.define(eq=False)
class Scene:
    """A broker in the middle of its work. `started`: jobs whose requests had been sent at some time."""

    bench: Bench
    group: Group
    broker: Running
    producer: Producer
    health_port: int
    report: Callable[[str], None]

    def ready(self) -> int:
        """What /readyz says."""
        return page(self.health_port, "/readyz").status_code

    def sent(self) -> int:
        """How many requests of jobs there were."""
        return sum(1 for exchange in list(self.bench.proxy.exchanges) if exchange.job)

    def repeated(self) -> int:
        """How many of them were not the first of their job."""
        return sum(len(sendings) - 1 for sendings in self.bench.proxy.of_jobs().values())

    def answered(self) -> int:
        """How many answers the second server, master or replica, has."""
        return int(self.group.replica.command(f"LLEN queue:{REPLIES}")[1:])

    def wait_until_known(self) -> None:
        """Returns when a sentinel names the replica as the master."""
        port = str(self.group.replica.port)
        named = ("GET-MASTER-ADDR-BY-NAME", MASTER)
        until(lambda: any(port in sentinel.ask(*named) for sentinel in self.group.sentinels), "the new master is known")

    def assert_delivery_goes_on(self) -> None:
        """The new master is known since just now."""
        watch, answered = Stopwatch.start(self.broker), self.answered()
        until(lambda: self.answered() > answered and self.ready() == 200, "delivery goes on")
        took_s = watch.took_s()
        self.report(f"delivery goes on {took_s:.2f} s after a sentinel names the new master")
        assert took_s <= ON_WITHIN_S

    def finish(self) -> None:
        """Lets some more jobs be done, and returns when nothing is left to do."""
        until(lambda: self.producer.pushed > ENOUGH, "enough is pushed")
        self.producer.stop.set()
        self.bench.wait_until_finished()

    def assert_nothing_sure_is_lost(self) -> None:
        done = {job for job, sendings in self.bench.proxy.of_jobs().items() if any(sent.done for sent in sendings)}
        answered = {reply_id for _, reply_id in self.bench.replies()}
        sure = self.producer.sure
        self.report(f"{self.producer.pushed} jobs pushed, {len(sure)} surely replicated, {self.repeated()} sent again")
        assert {job_id(number) for number in sure} <= done
        assert {f"reply-{number}" for number in sure} <= answered
        assert self.bench.places() == {}
        assert self.bench.members("dead") == []

    def assert_outages(self, least: int) -> None:
        """At most one, a line at each end."""
        output = self.broker.output()
        assert least <= output.count(" redis.lost ") == output.count(" redis.back ") <= 1, output
        assert "Traceback" not in output


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    group = start_group(tmp_path / "redis")
    yield group
    group.close()


@pytest.fixture
def scene(tmp_path: Path, group: Group, ejabberd: Ejabberd, report: Callable[[str], None]) -> Iterator[Scene]:
    secret = Secret(PASSWORD)
    settings = StoreSettings(
        URL, client_name="test", sentinels=group.addresses, master=MASTER, sentinel_password=secret
    )
    password, health_port = tmp_path / "sentinels", free_port()
    password.write_text(PASSWORD)
    sentinels = open_sentinels(settings)
    assert sentinels is not None
    client = open_client(settings, sentinels=sentinels)
    with CountingProxy(ejabberd.port) as proxy:
        bench = Bench(tmp_path, group.master, client, ejabberd, proxy)
        bench.configure(
            Backoff=FAST_RETRIES,
            RedisURL=URL,
            RedisSentinels=[f"{host}:{port}" for host, port in group.addresses],
            RedisMaster=MASTER,
            RedisSentinelPassFile=str(password),
            HealthBind=f"127.0.0.1:{health_port}",
        )
        with bench.stack, _producing(sentinels, settings, f"f{health_port}") as producer:
            scene = Scene(bench, group, bench.start(), producer, health_port, report)
            until(lambda: scene.sent() > 50, "it is in the middle of its work")
            yield scene
    client.close()


@contextmanager
def _producing(sentinels: Sentinels, settings: StoreSettings, name: str) -> Iterator[Producer]:
    producer = Producer(sentinels, open_client(settings, sentinels=sentinels), name)
    thread = threading.Thread(target=producer.run, name="producer")
    thread.start()
    try:
        yield producer
    finally:
        producer.stop.set()
        thread.join(20)
        producer.client.close()


@pytest.mark.promise("No command is lost", "Redis fails over to a replica")
@pytest.mark.slow
def test_killed_master_repeats_at_most_jobs_in_progress(scene: Scene) -> None:
    """It loses no replicated job."""
    scene.group.master.kill()
    scene.wait_until_known()
    scene.assert_delivery_goes_on()
    scene.finish()
    scene.assert_nothing_sure_is_lost()
    assert scene.repeated() <= CONCURRENCY
    scene.assert_outages(1)


@pytest.mark.promise("No command is lost", "Redis fails over to a replica")
@pytest.mark.nightly
def test_orderly_failover_repeats_few_jobs(scene: Scene) -> None:
    """At most the jobs are repeated that the old master took after the promotion."""
    scene.group.failover()
    until(lambda: "master" in scene.group.replica.command("ROLE"), "the replica is promoted")
    sent = scene.sent()
    scene.wait_until_known()
    scene.assert_delivery_goes_on()
    not_replicated = scene.sent() - sent
    scene.finish()
    scene.assert_nothing_sure_is_lost()
    scene.report(f"{not_replicated} jobs were sent until the broker had left the old master")
    assert scene.repeated() <= not_replicated + CONCURRENCY
    scene.assert_outages(0)
