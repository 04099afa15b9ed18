"""`/healthz` and `/readyz`: for supervisors and load balancers, on an address of their own, without login.

Assembly makes the app when `HealthBind` is set. Always holds: the answers say how the process is and name targets
that are down, and nothing else; no request to Redis or to a target is made for them.
"""

from quart import Response
from quart_trio import QuartTrio

from restbroker.broker.status import Status
from restbroker.rules.json_types import Json
from restbroker.serving.app import answer, new_app
from restbroker.telemetry.events import Report


def health_app(status: Status, report: Report) -> QuartTrio:
    """The app: /healthz answers while the event loop turns, /readyz 200 while jobs are taken or waited for, else 503.

    A broker that was told to be quiet is ready: it is as it should be. So is one whose target is down: jobs wait.
    """
    app = new_app("health", report)

    async def healthz() -> Response:
        return answer({"alive": True})

    async def readyz() -> Response:
        view = status.view()
        body: dict[str, Json] = {"ready": view.unready is None, "phase": view.phase}
        if view.unready is not None:
            body["reason"] = view.unready
        if view.closed:
            body["closed_targets"] = view.closed
        return answer(body, 200 if view.unready is None else 503)

    app.add_url_rule("/healthz", view_func=healthz, methods=["GET"])
    app.add_url_rule("/readyz", view_func=readyz, methods=["GET"])
    return app
