"""Makes what a process serves beside the delivery of jobs: pages, rosters, the intake of events, health.

Called by `build` and `no_delivery`. Always holds: Quart, Hypercorn and what serves are imported only where
something is served; they cost start-up time and memory.
"""

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs
import trio

from restbroker.broker.plan import Service
from restbroker.broker.status.view import RunningJob, View
from restbroker.config.core import Config
from restbroker.config.roster import Roster
from restbroker.errors import ConfigError
from restbroker.light import frozen
from restbroker.operate.connect import store_settings
from restbroker.store.client import Client, open_client
from restbroker.store.connection import Connection, MasterWatch
from restbroker.store.sentinel import open_sentinels
from restbroker.telemetry.events import Report
from restbroker.telemetry.metrics import Samples
from restbroker.transport.room import Room

if TYPE_CHECKING:  # where rosters are served only
    from restbroker.rosters.refresh_target import RefreshTarget

_TIMEOUT_S = 1.0


Part: TypeAlias = Literal["rosters", "pages", "health", "events"]
"""What a process serves, as far as its configuration has it."""


def parts_of(config: Config) -> set[Part]:
    """Return what a broker serves, or the supervisor of several for all of them."""
    found: set[Part] = {"health", "events"}
    if config.roster is not None and config.roster.served:
        found.add("rosters")
    return found | {"pages"} if config.stats else found


@frozen
class ProcessView:
    """The sources of what the pages show about a process: its state (`view`), its event loop, and jobs in delivery.

    `running_jobs` returns its own jobs; or `pids` the processes of this host whose jobs are shown; or `all_processes`:
    the jobs of all processes on the same Redis. `samples` copies the values for /metrics.
    """

    view: Callable[[], View]
    running_jobs: Callable[[], Sequence[RunningJob]] = tuple
    pids: Callable[[], Collection[int]] | None = None
    all_processes: bool = False
    is_alive: Callable[[], bool] = lambda: True
    samples: Callable[[], Samples] = dict


@frozen
class RosterService:
    """The services that are to run, and the values for /metrics."""

    services: tuple[Service, ...]
    samples: Callable[[], Samples]


def services(
    current: Callable[[], Config],
    parts: Collection[Part],
    view: ProcessView,
    report: Report,
    open_connection: Callable[[], Connection],
    room: Room,
) -> list[Service]:
    """Return the services of these parts.

    `open_connection` makes a connection with a short time-out. `room`: the memory for what strangers send.
    """
    config = current()
    found: list[Service] = []
    if "rosters" in parts and config.roster is not None:
        rosters = roster_service(config.roster, open_connection, report, _refresh_target_of(config))
        found += rosters.services
        own, of_rosters = view.samples, rosters.samples
        view = attrs.evolve(view, samples=lambda: {**own(), **of_rosters()})
    if "pages" in parts:
        found += _site(current, open_connection, view, report)
    if "health" in parts and config.health_bind is not None:
        found.append(_health(config.health_bind, view, report))
    if "events" in parts and config.tell is not None:
        from restbroker.operate.tell import Teller

        found.append(Teller(current, open_connection(), report))
    if "events" in parts and config.events is not None:
        from restbroker.app.events import event_services
        from restbroker.operate.handovers import CommandJobs

        found += event_services(config.events, open_connection, report, room, CommandJobs(config))
    return found


def local_services(
    current: Callable[[], Config], parts: Collection[Part], view: ProcessView, report: Report
) -> list[Service]:
    """Return the services of a process that delivers nothing, with connections to Redis of their own.

    With sentinels, the service that finds the Redis master is among them.
    """
    settings = store_settings(current())
    sentinels = open_sentinels(settings)

    def open_connection() -> Connection:
        return Connection(open_client(settings, _TIMEOUT_S, sentinels=sentinels))

    found = services(current, parts, view, report, open_connection, Room())
    return found if sentinels is None or not found else [MasterWatch(sentinels), *found]


def roster_service(
    config: Roster, open_connection: Callable[[], Connection], report: Report, refreshing: "RefreshTarget | None" = None
) -> RosterService:
    """Return the roster service.

    `open_connection` makes a connection with a short time-out. `refreshing` refreshes users who got an older copy.
    """
    from restbroker.rosters.reader import BOUND_S, Copies, RosterReader
    from restbroker.rosters.service import service
    from restbroker.serving.plain import PlainApp
    from restbroker.serving.runner import Server

    copies = Copies(config.copy_age_s, config.copies_mib * 1024 * 1024)
    refresh = None if refreshing is None else refreshing.push
    # Time is left for a copy before the answer would come too late.
    bound_s = min(BOUND_S, config.longest_s / 2)
    reader = RosterReader(open_connection(), report, config.domain, copies=copies, refresh=refresh, bound_s=bound_s)
    made = service(config, reader, report)
    app = PlainApp("rosters", made.answer, report, reads_bodies=False)
    server = Server("rosters", "Listen of Roster", *config.bind, app, report, at_stop=reader.stop)
    return RosterService((reader, server), made.samples)


def _refresh_target_of(config: Config) -> "RefreshTarget | None":
    """Return the target that refreshes rosters; None without one, or if no token allows it, which brokers report."""
    from restbroker.rosters.refresh_target import RefreshTarget

    try:
        return RefreshTarget.from_config(config)
    except ConfigError:
        return None


def _site(
    current: Callable[[], Config], open_connection: Callable[[], Connection], view: ProcessView, report: Report
) -> tuple[Service, Service]:
    from restbroker.operate.context import context_of
    from restbroker.serving.runner import Server
    from restbroker.web import metrics_view
    from restbroker.web.connection import AdminConnection
    from restbroker.web.guard import PageSettings
    from restbroker.web.health import HealthSources
    from restbroker.web.live import IDLE_S, SnapshotWatch
    from restbroker.web.metrics import add_metrics, read_redis
    from restbroker.web.metrics_view import Glance, Question
    from restbroker.web.site import site_app
    from restbroker.web.views import samples

    def question() -> Question:
        now = current()
        if view.all_processes:
            jobs = metrics_view.in_all_processes(lambda: context_of(now))
        elif view.pids is not None:
            jobs = metrics_view.in_worker_processes(view.pids())
        else:
            jobs = metrics_view.in_this_process(view.running_jobs(), show_bodies=now.show_bodies)
        return partial(metrics_view.metrics, served=now.queues, in_delivery=jobs, unready=view.view().unready)

    def read() -> Callable[[Client], Samples]:
        now = current()
        fair = [queue for target in now.targets if target.fair_by is not None for queue in target.queues]
        targets = {target.name: () if target.order is None else target.queues for target in now.targets}
        periodic = {command.name: command.schedule for command in now.periodic}
        of_redis = partial(read_redis, served=now.queues, targets=targets, fair=fair, periodic=periodic)
        # In the thread of the connection, since there may be many queues.
        return lambda client: {**of_redis(client), **samples(watch.state)}

    began_s = time.monotonic()

    def glance() -> Glance:
        # A broker's first look comes before its own record.
        starts = not view.all_processes and time.monotonic() - began_s < IDLE_S
        return partial(metrics_view.live_figures, config=current(), unready=view.view().unready, starts=starts)

    config = current()
    settings = PageSettings(
        bind=config.stats_bind,
        names=config.stats_hosts,
        prefix=config.stats_prefix,
        login=config.stats_login,
        metrics_token=config.metrics_token,
        is_read_only=config.stats_read_only,
    )
    live = open_connection()
    desk = AdminConnection(open_connection(), lambda: context_of(current()), current)
    watch = SnapshotWatch(live, glance, report, desk.causes)
    app = site_app(
        settings, watch, desk, question=question, report=report, health=HealthSources(view.view, view.is_alive)
    )
    add_metrics(app, watch.connection, view.samples, read)
    server = Server("/stats", "StatsPort", config.stats_bind, port=config.stats_port, app=app, report=report)
    return watch, server


def _health(bind: tuple[str, int], view: ProcessView, report: Report) -> Service:
    from restbroker.serving.runner import Server
    from restbroker.web.health import HealthSources, health_app

    app = health_app(HealthSources(view.view, view.is_alive), report)
    return Server("/healthz and /readyz", "HealthBind", *bind, app, report)


_SUMMARY_S: Final = 10.0


@frozen
class LogTicker:
    """A service that calls `tick`, the log's, every ten seconds."""

    tick: Callable[[float], None]

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Write summaries until cancelled, and the last one then."""
        task_status.started()
        try:
            while True:
                await trio.sleep(_SUMMARY_S)
                self.tick(trio.current_time())
        finally:
            self.tick(trio.current_time())
