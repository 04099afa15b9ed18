"""The table of all HTTP requests that restbroker answers, for docs/web-paths.md; `dev.tools.codes_page` writes it.

Addresses and what each is for stand on the views (`web.route`); who needs a login is asked of the app itself. Always
holds: no address is left out, and none is told of that there is not.
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
from restbroker.web.pages import SET
from restbroker.web.route import routes_of
from restbroker.web.site import site_app

PAGE: Final = "docs/web-paths.md"
HEAD: Final = "\n| request | what it shows or does |\n|---|---|\n"


@attrs.frozen
class _Row:
    """An address with the methods that it answers to, what it is for, and what the page says of its login."""

    methods: frozenset[str]
    about: str
    login: str


def renewed(text: str) -> str:
    """Return the page's text with the table as it is now."""
    before, table = text.split(HEAD, 1)
    return f"{before}{HEAD}" + "\n".join([*rows(), "", table.partition("\n\n")[2]])


def rows() -> list[str]:
    """Return the rows of the table, by address; raise `ValueError` for one of which no view says what it is for."""
    found = trio.run(_rows)
    if silent := [address for address, row in found.items() if not row.about]:
        raise ValueError(f"No @page says what these are for: {silent}")
    return [*(_row(address, found[address]) for address in sorted(found, key=str.casefold)), *_others()]


def _row(address: str, row: _Row) -> str:
    methods = "" if row.methods == {"GET"} else f"{'/'.join(sorted(row.methods))} "
    return f"| `{methods}{address}` | {row.about}{row.login} |"


def _others() -> Iterator[str]:
    """Yield the rows of what has ports of its own, and no routes: its paths are configured."""
    events, rosters = ("/".join(sorted(set(methods) - {"HEAD"})) for methods in (webhook.METHODS, service.METHODS))
    meaning = "tells that it is there, or takes an event, with [its secret](events.md#who-may-post)"
    yield f"| `{events}` to a source's `Path` | {meaning} |"
    yield f"| `{rosters} /roster/USER` | a roster, with its [`Auth`](roster-service.md#the-login) |"


async def _rows() -> Mapping[str, _Row]:
    """Return the row of each address of the pages' port, with names in capitals, and `SET` for that of a set."""
    events: list[Event] = []
    # Nobody is logged in: no request comes as far as Redis.
    connections = [Connection(open_client(StoreSettings("redis://127.0.0.1:1"))) for _ in range(2)]
    desk = AdminConnection(connections[0], lambda: ConfigContext({}), Config)
    watch = SnapshotWatch(connections[1], _never, events.append)
    settings = PageSettings("127.0.0.1", login=Basic("ops", Secret("x")))
    app = site_app(settings, watch, desk, _never, events.append, health=HealthSources(Status().view))
    add_metrics(app, connections[1], dict, _never)
    found: dict[str, _Row] = {}
    for rule in app.url_map.iter_rules():
        routes = routes_of(app.view_functions[rule.endpoint])
        (route,) = [route for route in routes if route.path == rule.rule and route.method in (rule.methods or ())]
        address = re.sub("<([a-z]+)>", lambda match: match[1].upper(), route.shown.replace(SET, "SET"))
        login = await _login(app, route.method, route.path.replace(SET, "dead"))
        before = found.get(address, _Row(frozenset(), "", login))
        if before.login != login:
            raise ValueError(f"{address} needs a login for some methods only")
        found[address] = _Row(before.methods | {route.method}, before.about or route.about, login)
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
