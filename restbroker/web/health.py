"""`/healthz` and `/readyz`: for supervisors and load balancers, without login.

`app` makes an app of only these when `HealthBind` is set; `web.site` has them beside the pages. Always holds: the
answers say how the process is, why Redis cannot be used (with its address, without a secret), and which targets are
down, and nothing else; they cause no request to Redis or to a target.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from quart import Response
from quart_trio import QuartTrio

from restbroker.broker.status.view import View
from restbroker.job.json_types import Json
from restbroker.light import frozen
from restbroker.serving.app import answer, new_app
from restbroker.telemetry.events import Report
from restbroker.web.route import add_views, page

PATHS: Final = frozenset({"/healthz", "/readyz"})


@frozen
class HealthSources:
    """The sources of the answers; `is_alive` tells whether the event loops of the workers turn, if there are any."""

    view: Callable[[], View]
    is_alive: Callable[[], bool] = lambda: True


def health_app(health: HealthSources, report: Report) -> QuartTrio:
    """Return an app of only these two paths, whose answers say everything to everyone."""
    app = new_app("health", report)
    add_health(app, health)
    return app


def add_health(app: QuartTrio, health: HealthSources, may_see: Callable[[], Awaitable[bool]] | None = None) -> None:
    """Add both: /healthz answers while the event loop turns, /readyz 200 while jobs are taken or waited for, else 503.

    A broker that was set to quiet is ready, since that is intended; so is one whose target is down, since its jobs
    wait. `may_see` tells whether the visitor may also know why it is not ready, and which targets are down; None: each
    may.
    """

    @page("/healthz", "[alive or not](stats.md#healthz-and-readyz), also on `HealthBind`")
    async def healthz() -> Response:
        alive = health.is_alive()
        return answer({"alive": alive}, 200 if alive else 503)

    @page("/readyz", "[ready or not](stats.md#healthz-and-readyz), also on `HealthBind`")
    async def readyz() -> Response:
        now = health.view()
        body: dict[str, Json] = {"ready": now.unready is None, "phase": now.phase}
        if may_see is None or await may_see():
            if now.unready is not None:
                body["reason"] = now.unready
            if now.down_targets:
                body["down_targets"] = now.down_targets
        return answer(body, 200 if now.unready is None else 503)

    add_views(app, healthz, readyz)
