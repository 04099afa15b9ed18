"""The web services that a configuration asks for. Called by `build`.

Always holds: Quart and Hypercorn are imported only where something is served; they cost start-up time and memory.
"""

from collections.abc import Callable

from restbroker.broker.service import Service
from restbroker.broker.status import Status
from restbroker.config.core import Config
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Report


def web_services(
    current: Callable[[], Config], open_connection: Callable[[], Connection], status: Status, report: Report
) -> list[Service]:
    """The stats page and the health pages, if configured now. `open_connection` should have a short time-out."""
    found: list[Service] = []
    config = current()
    if config.stats:
        found.append(_stats(current, open_connection(), status, report))
    if config.health_bind is not None:
        found.append(_health(config.health_bind, status, report))
    return found


def _stats(current: Callable[[], Config], connection: Connection, status: Status, report: Report) -> Service:
    from restbroker.serving.runner import Server
    from restbroker.web.stats import StatsSettings, stats_app

    config = current()

    def settings() -> StatsSettings:
        now = current()
        queues = tuple(queue for target in now.targets for queue in target.queues)
        return StatsSettings(config.stats_bind, queues, now.show_bodies)

    app = stats_app(settings, connection, status, report)
    return Server("/stats", "StatsPort", config.stats_bind, config.stats_port, app, report)


def _health(bind: tuple[str, int], status: Status, report: Report) -> Service:
    from restbroker.serving.runner import Server
    from restbroker.web.health import health_app

    host, port = bind
    return Server("/healthz and /readyz", "HealthBind", host, port, health_app(status, report), report)
