"""Makes the web services that a configuration has. Called by `build`, `group` and `single`.

Always holds: Quart and Hypercorn are imported only where something is served; they cost start-up time and memory.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING

import attrs

from restbroker.app.store_access import store_access
from restbroker.broker.service import Service
from restbroker.broker.status.view import RunningJob, View
from restbroker.config.core import Config
from restbroker.telemetry.events import Report
from restbroker.telemetry.metrics import Samples

if TYPE_CHECKING:  # a supervisor without pages needs no Redis
    from restbroker.store.client import Client
    from restbroker.store.connection import Connection


@attrs.frozen
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


def web_services(
    current: Callable[[], Config],
    open_connection: "Callable[[], Connection] | None",
    view: ProcessView,
    report: Report,
) -> list[Service]:
    """Return the pages and /stats, if `open_connection` is set, and /healthz, if it is configured now.

    `open_connection` makes a connection with a short time-out.
    """
    found: list[Service] = []
    if open_connection is not None:
        found += _site(current, open_connection, view, report)
    bind = current().health_bind
    if bind is not None:
        found.append(_health(bind, view, report))
    return found


def site_services(current: Callable[[], Config], view: ProcessView, report: Report) -> list[Service]:
    """Return the pages and /stats of a process that delivers nothing, with connections of their own."""
    watch, open_connection = store_access(current())
    return [*watch, *_site(current, open_connection, view, report)]


def _site(
    current: Callable[[], Config], open_connection: "Callable[[], Connection]", view: ProcessView, report: Report
) -> tuple[Service, Service]:
    from restbroker.operate.context import context_of
    from restbroker.serving.runner import Server
    from restbroker.web import metrics_view
    from restbroker.web.connection import AdminConnection
    from restbroker.web.health import Health
    from restbroker.web.metrics import add_metrics, read_redis
    from restbroker.web.settings import Settings
    from restbroker.web.site import site_app
    from restbroker.web.stats import Question
    from restbroker.web.watch import Watch

    def question() -> Question:
        now = current()
        if view.all_processes:
            jobs = metrics_view.in_all_processes(lambda: context_of(now))
        elif view.pids is not None:
            jobs = metrics_view.in_worker_processes(view.pids())
        else:
            jobs = metrics_view.in_this_process(view.running_jobs(), show_bodies=now.show_bodies)
        return partial(metrics_view.metrics, served=now.queues, in_delivery=jobs, unready=view.view().unready)

    def read() -> Callable[["Client"], Samples]:
        now = current()
        fair = [queue for target in now.targets if target.fair_by is not None for queue in target.queues]
        targets = {target.name: () if target.order is None else target.queues for target in now.targets}
        periodic = {one.name: one.schedule for one in now.periodic}
        return partial(read_redis, served=now.queues, targets=targets, fair=fair, periodic=periodic)

    def glance() -> Question:
        now = current()
        ordered = {target.name: target.queues[0] for target in now.targets if target.order is not None}
        return partial(metrics_view.live_metrics, served=now.queues, unready=view.view().unready, ordered=ordered)

    config = current()
    settings = Settings(
        bind=config.stats_bind,
        names=config.stats_hosts,
        prefix=config.stats_prefix,
        login=config.stats_login,
        metrics_token=config.metrics_token,
        is_read_only=config.stats_read_only,
    )
    live = open_connection()
    desk = AdminConnection(open_connection(), lambda: context_of(current()), current)
    watch = Watch(live, glance, report, desk.causes)
    app = site_app(settings, watch, desk, question=question, report=report, health=Health(view.view, view.is_alive))
    add_metrics(app, watch.connection, view.samples, read)
    server = Server(
        "/stats",
        "StatsPort",
        config.stats_bind,
        port=config.stats_port,
        app=app,
        report=report,
        at_stop=watch.stop,
    )
    return watch, server


def _health(bind: tuple[str, int], view: ProcessView, report: Report) -> Service:
    from restbroker.serving.runner import Server
    from restbroker.web.health import Health, health_app

    host, port = bind
    app = health_app(Health(view.view, view.is_alive), report)
    return Server("/healthz and /readyz", "HealthBind", host, port=port, app=app, report=report)
