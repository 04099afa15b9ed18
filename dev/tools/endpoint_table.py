"""The table of all HTTP requests that restbroker answers, for docs/web-paths.md; `dev.tools.codes_page` writes it.

Paths and methods are those of the routes, and who needs a login is asked of the app itself; what a path is for is said
here. Always holds: no path is left out, and none is told of that there is not.
"""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Final, NoReturn

import attrs
import trio
from quart_trio import QuartTrio

from restbroker.broker.status.status import Status
from restbroker.config.core import Config
from restbroker.config.secret import Secret
from restbroker.config.target import Basic
from restbroker.events import webhook
from restbroker.operate.context import ConfigContext
from restbroker.rosters import service
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Event
from restbroker.web.connection import AdminConnection
from restbroker.web.guard import FOR_PROGRAMS, PageSettings
from restbroker.web.health import HealthSources
from restbroker.web.live import SnapshotWatch
from restbroker.web.metrics import add_metrics
from restbroker.web.pages import SETS
from restbroker.web.site import site_app

PAGE: Final = "docs/web-paths.md"
HEAD: Final = "\n| request | what it shows or does |\n|---|---|\n"
MEANINGS: Final[Mapping[str, str]] = {
    "/": "what is wrong and what to do; totals, causes, charts",
    "/targets /target?name=…": "all targets; one, with its charts",
    "/jobs /queue?name=…": "waiting jobs, why a queue does not move",
    "/processes": "processes, also Ruby's",
    "/events": "[event sources](events.md#watch-them-come)",
    "/in-progress": "jobs in progress, the longest first",
    "/retries /scheduled /dead": "jobs by [conditions](conditions.md), with the "
    "[periodic commands](periodic.md), or the [causes](jobs.md#see-why-they-failed) of death",
    "/SET/KEY": "one job: what happened, arguments, last tries",
    "/SET/KEY/edit /edit/SET": "the edit of one job; of all that match",
    "/SET/act /queue/act /steer": "actions on jobs; on all else",
    "/find?q=…": "[search](find.md#find-a-job)",
    "/job?jid=…": "[a timeline](find.md#see-what-happened-to-one-job)",
    "/activity /activity/NAME /activity/NAME/stop": "the [audit log](find.md#see-who-changed-what); "
    "one action, its Stop",
    "/live?page=…": "parts of an open page",
    "/static/NAME": "style sheet, script",
    "/stats /metrics": "[figures as JSON](stats-format.md#stats); [for Prometheus](telemetry.md#metrics)",
    "/healthz /readyz": "[health checks](stats.md#healthz-and-readyz), also on `HealthBind`",
}
"""What each path is for: paths of one item, with the parameter that they need."""


@attrs.frozen
class _Route:
    """A path with the methods that it answers to, and what the page says of their login."""

    methods: frozenset[str]
    login: str


def renewed(text: str) -> str:
    """Return the page's text with the table as it is now."""
    before, table = text.split(HEAD, 1)
    return f"{before}{HEAD}" + "\n".join([*rows(), "", table.partition("\n\n")[2]])


def rows() -> list[str]:
    """Return the rows of the table; raise `ValueError` if a route has no meaning here, or a meaning no route."""
    found = trio.run(_routes)
    told = {_plain(path) for paths in MEANINGS for path in paths.split()}
    if told != set(found):
        raise ValueError(f"dev/tools/endpoint_table.py: {sorted(told ^ set(found))}")
    return [*(row for paths, meaning in MEANINGS.items() for row in _rows(paths.split(), found, meaning)), *_others()]


def _rows(paths: list[str], found: Mapping[str, _Route], meaning: str) -> Iterator[str]:
    """Yield the row of these paths, which have one login; those that differ in methods are told one by one."""
    groups: dict[frozenset[str], list[str]] = {}
    for path in paths:
        groups.setdefault(found[_plain(path)].methods, []).append(path)
    requests = ", ".join(
        ", ".join(f"`{'' if methods == {'GET'} else '/'.join(sorted(methods)) + ' '}{path}`" for path in group)
        for methods, group in groups.items()
    )
    (login,) = {found[_plain(path)].login for path in paths}
    yield f"| {requests} | {meaning}{login} |"


def _others() -> Iterator[str]:
    """Yield the rows of what has ports of its own, and no routes: its paths are configured."""
    events, rosters = ("/".join(sorted(set(methods) - {"HEAD"})) for methods in (webhook.METHODS, service.METHODS))
    meaning = "tells that it is there, or takes an event, with [its secret](events.md#who-may-post)"
    yield f"| `{events}` to a source's `Path` | {meaning} |"
    yield f"| `{rosters} /roster/USER` | a roster, with its [`Auth`](roster-service.md#the-login) |"


def _plain(path: str) -> str:
    return path.partition("?")[0]


async def _routes() -> Mapping[str, _Route]:
    """Each path of the pages' port, with what is between `<` and `>` in capitals, and `SET` for the name of a set."""
    events: list[Event] = []
    # Nobody is logged in: no request comes as far as Redis.
    connections = [Connection(open_client(StoreSettings("redis://127.0.0.1:1"))) for _ in range(2)]
    desk = AdminConnection(connections[0], lambda: ConfigContext({}), Config)
    watch = SnapshotWatch(connections[1], _never, events.append)
    settings = PageSettings("127.0.0.1", login=Basic("ops", Secret("x")))
    app = site_app(settings, watch, desk, _never, events.append, health=HealthSources(Status().view))
    add_metrics(app, connections[1], dict, _never)
    found: dict[str, _Route] = {}
    for rule in app.url_map.iter_rules():
        path = re.sub(rf"(?<=/)({'|'.join(SETS)})(?=/)|(?<=/edit/)({'|'.join(SETS)})$", "SET", rule.rule)
        path = re.sub("<([a-z]+)>", lambda match: match[1].upper(), path)
        for method in (rule.methods or set()) - {"HEAD"}:
            login = await _login(app, method, rule.rule)
            before = found.get(path, _Route(frozenset(), login))
            if before.login != login:
                raise ValueError(f"{path} needs a login for some methods only")
            found[path] = _Route(before.methods | {method}, login)
    for connection in connections:
        await connection.aclose()
    return found


async def _login(app: QuartTrio, method: str, path: str) -> str:
    """What the page says of the login of this request: nothing if it needs that of the pages."""
    client = app.test_client()
    answer = await (client.get if method == "GET" else client.post)(path, headers={"Host": "127.0.0.1"})
    if answer.status_code != HTTPStatus.UNAUTHORIZED:
        return "; without a login"
    return "; also with a bearer token" if path in FOR_PROGRAMS else ""


def _never() -> NoReturn:
    raise AssertionError("Without a login nobody is told anything.")
