"""A broker with its web apps inside the test: real Hypercorn on loopback, real Redis, httpx as the client.

`configured` is for tests that start a process instead.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
from quart_trio import QuartTrio

from restbroker.app.metrics import LoopLag, process_samples
from restbroker.broker import broker
from restbroker.broker.signals import Control
from restbroker.broker.status.status import Status
from restbroker.config.core import Config
from restbroker.config.load import load
from restbroker.config.target import Target
from restbroker.job.hiding import spellings_of
from restbroker.operate.context import ConfigContext
from restbroker.servers import registry
from restbroker.serving.runner import Server
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.telemetry.counters import Counters
from restbroker.telemetry.events import BrokerStarted, Event
from restbroker.telemetry.metrics import Samples
from restbroker.transport.message import Request, Response
from restbroker.web.connection import AdminConnection
from restbroker.web.guard import PageSettings
from restbroker.web.health import HealthSources, health_app
from restbroker.web.live import SnapshotWatch
from restbroker.web.metrics import add_metrics, read_redis
from restbroker.web.metrics_view import Glance, Question, in_this_process, live_figures, metrics
from restbroker.web.render import LIVE
from restbroker.web.site import site_app
from restbroker.web.views import samples
from tests.broker.conftest import Harness, Scripted, ok
from tests.support.redis_server import RedisServer


@attrs.define(eq=False)
class Site:
    """A running broker and a client for its pages."""

    harness: Harness
    stats: Server
    health: Server
    client: httpx.AsyncClient
    watch: SnapshotWatch

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(f"{self.stats.addresses[0]}{path}", headers=HTML | headers)

    async def ask(self, path: str, **headers: str) -> httpx.Response:
        """As a program does."""
        return await self.client.get(f"{self.stats.addresses[0]}{path}", headers=headers)

    async def post(self, path: str, form: Mapping[str, Any], **headers: str) -> httpx.Response:
        """Sends a form as a browser does that has one of our pages open."""
        address = f"{self.stats.addresses[0]}{path}"
        return await self.client.post(address, data=dict(form), headers=HTML | OWN | headers)

    async def get_ready(self) -> httpx.Response:
        return await self.client.get(f"{self.health.addresses[0]}/readyz")


Open = Callable[..., AbstractAsyncContextManager[Site]]
HTML = {"Accept": "text/html"}
LIVE_PAGES = tuple("/" if name == "overview" else f"/{name}" for name in LIVE)
JOB_PAGES = (
    "/retries",
    "/scheduled",
    "/dead",
    "/in-progress",
    "/finished",
    "/activity",
    "/queue?name=rest",
    "/find?q=j0",
)
OWN = {"Sec-Fetch-Site": "same-origin"}
"""The headers by which a browser marks what a page sends to its own site."""
_PERIODIC = {
    "nightly": {"Cron": "30 4 * * *", "TimeZone": "Europe/Berlin", "Command": "status"},
    "strict": {"Cron": "0 0 29 2 *", "Command": "stats", "Arguments": {"name": "onlineusers"}, "Overlap": "skip"},
}
CONFIG = load(
    None,
    {"RESTBROKER_RestQueue": "rest", "RESTBROKER_Token": "t", "RESTBROKER_Periodic": json.dumps(_PERIODIC)},
    {},
    registry.kinds(),
).config
_BASIC = {"RestURL": "http://127.0.0.1:1/api", "RestQueue": "rest", "Token": "t0ken-4711"}


@pytest.fixture
def configured(tmp_path: Path, redis_url: str) -> Callable[..., Path]:
    """Writes a configuration with these keys, and says where it is."""

    def write(**keys: object) -> Path:
        path = tmp_path / "env.json"
        path.write_text(json.dumps({**_BASIC, "RedisURL": redis_url, **keys}))
        return path

    return write


@pytest.fixture
def harness(redis_server: RedisServer) -> Harness:
    return Harness(redis_server, open_client(StoreSettings(redis_server.url)), Scripted(ok))


def counted(harness: Harness) -> Counters:
    """Counts the events of the harness, and times its calls of Redis; `safe` is the one known command."""
    counters = Counters(lambda _target: {"safe"}, trio.current_time)
    before = harness.report

    def report(event: Event) -> None:
        before(event)
        counters(event)

    harness.report = report
    harness.connect = lambda settings: Connection(open_client(settings), counters.add_redis_call)
    return counters


@pytest.fixture
def settings() -> PageSettings:
    """How the pages are served; tests override it."""
    return PageSettings("127.0.0.1")


@pytest.fixture
def known() -> ConfigContext:
    """What the configuration knows of jobs: the target of their queue, though not their commands."""
    return ConfigContext({"rest": CONFIG.targets[0]}, spellings_of(["t", "a-token-of-4711"]))


def pages_app(
    url: str,
    settings: PageSettings,
    known: ConfigContext,
    question: Callable[[], Question],
    glance: Callable[[], Glance],
    report: Callable[[Event], None] = lambda _: None,
    status: Status = Status(),  # noqa: B008 - of a process that never starts
    config: Config = CONFIG,
) -> tuple[QuartTrio, SnapshotWatch]:
    """The pages, and the look that they share; the app closes what both have open."""
    own, visitors = (Connection(open_client(StoreSettings(url), 1.0)) for _ in range(2))
    admin = AdminConnection(visitors, lambda: known, lambda: config)
    watch = SnapshotWatch(own, glance, report, admin.causes)
    return site_app(settings, watch, admin, question, report, health=HealthSources(status.view)), watch


@pytest.fixture
def site(harness: Harness, settings: PageSettings, known: ConfigContext) -> Open:
    """Opens a site on `harness`, and stops it at the end of the block."""

    @asynccontextmanager
    async def opened(settings: PageSettings = settings) -> AsyncIterator[Site]:
        report = harness.events.append
        status = Status()
        counters = counted(harness)

        def question() -> Question:
            jobs = in_this_process(status.running_jobs(), show_bodies=False)
            return partial(metrics, served=("rest",), in_delivery=jobs, unready=status.view().unready)

        def glance() -> Glance:
            targets = (*known.targets.values(), Target(queues=("rest",)))
            return partial(live_figures, config=Config(targets=targets), unready=status.view().unready)

        app, watch = pages_app(harness.redis.url, settings, known, question, glance, report, status)
        schedules = {command.name: command.schedule for command in CONFIG.periodic}
        of_redis = partial(read_redis, served=("rest",), targets={"t": ("rest",)}, periodic=schedules)

        def read(client: Client) -> Samples:
            return {**of_redis(client), **samples(watch.state)}

        add_metrics(app, watch.connection, partial(process_samples, counters, status), lambda: read)
        stats = Server("/stats", "StatsPort", "127.0.0.1", 0, app, report)
        health = Server("/readyz", "HealthBind", "127.0.0.1", 0, health_app(HealthSources(status.view), report), report)
        harness.control = Control()
        plan = attrs.evolve(harness.plan(), services=[watch, stats, health, LoopLag(counters.loop_lag)], status=status)
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client, trio.open_nursery() as nursery:
            nursery.start_soon(broker.run, plan, harness.control)
            await harness.until(lambda: harness.of(BrokerStarted), "the broker serves")
            yield Site(harness, stats, health, client, watch)
            harness.control.stop.set()

    return opened


async def never(_request: Request) -> Response:
    await trio.sleep_forever()
    raise AssertionError


@pytest.fixture
def slow(harness: Harness) -> Harness:
    """A target that answers nothing, so that jobs stay in delivery; a stop does not wait for it."""
    harness.target.answer = never
    harness.shutdown_timeout_s = 0.1
    return harness
