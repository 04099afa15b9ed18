"""`/healthz` and `/readyz`: for supervisors and load balancers, on an address of their own, without login.

Assembly makes the app when `HealthBind` is set. Always holds: the answers say how the process is, why Redis cannot be
used (with its address, without a secret), and name targets that are down, and nothing else; no request to Redis or to a
target is made for them.
"""

from collections.abc import Callable

from quart import Response
from quart_trio import QuartTrio

from restbroker.broker.status.view import View
from restbroker.rules.json_types import Json
from restbroker.serving.app import answer, new_app
from restbroker.telemetry.events import Report


def health_app(view: Callable[[], View], report: Report, is_alive: Callable[[], bool] = lambda: True) -> QuartTrio:
    """The app: /healthz answers while the event loop turns, /readyz 200 while jobs are taken or waited for, else 503.

    `is_alive`: whether the event loops of the workers turn, where the process itself has none.
    A broker that was told to be quiet is ready: it is as it should be. So is one whose target is down: jobs wait.
    """
    app = new_app("health", report)

    async def healthz() -> Response:
        alive = is_alive()
        return answer({"alive": alive}, 200 if alive else 503)

    async def readyz() -> Response:
        now = view()
        body: dict[str, Json] = {"ready": now.unready is None, "phase": now.phase}
        if now.unready is not None:
            body["reason"] = now.unready
        if now.closed:
            body["closed_targets"] = now.closed
        return answer(body, 200 if now.unready is None else 503)

    app.add_url_rule("/healthz", view_func=healthz, methods=["GET"])
    app.add_url_rule("/readyz", view_func=readyz, methods=["GET"])
    return app
