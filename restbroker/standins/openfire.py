"""A stand-in for Openfire's REST API plugin: the few requests that the demo makes, answered as plugin 1.3.10 does.

Behind a `standins.server.Server`. Statuses, headers and bodies were measured on 1.3.10 with an Openfire 4.1.6; of
requests only those that a broker sends are known. Always holds: keeps everything in memory.

Traps of the real server that the stand-in shares: the answer to a write has an empty body and no `Content-Type`; a user
without a name is a 500 without a word; a 401 does not say how to log in; each answer sets a cookie until the client
sends it.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import attrs

from restbroker.job.json_types import Json
from restbroker.standins.server import Exchange, ReceivedCommand

BASE: Final = "/plugins/restapi/v1"
Arguments: TypeAlias = dict[str, Json]
Answer: TypeAlias = tuple[int, Json]
"""A status, and a value that is None where the body is empty."""

_COOKIE: Final = "JSESSIONID"
_XML: Final = "application/xml"


@attrs.define(eq=False)
class Openfire:
    """The server: its administrator, its accounts by user, and the requests so far."""

    user: str
    password: str
    online: int = 3
    """The number of sessions."""
    accounts: dict[str, Arguments] = attrs.field(factory=dict)
    requests: list[ReceivedCommand] = attrs.field(factory=list)

    async def handle(self, exchange: Exchange) -> None:
        """Answer a request at once."""
        status, value = self._execute(exchange)
        headers = {} if _COOKIE in exchange.headers.get("cookie", "") else {"Set-Cookie": f"{_COOKIE}=1;path=/plugins"}
        if value is None:
            await exchange.send(status, b"", headers)
            return
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        await exchange.send(status, body, {**headers, "Content-Type": "application/json"})

    def _execute(self, exchange: Exchange) -> Answer:
        wanted = f"Basic {b64encode(f'{self.user}:{self.password}'.encode()).decode()}"
        if exchange.headers.get("authorization") != wanted:
            return 401, None
        found = _route(exchange)
        if found is None:
            return 404, None
        route, arguments = found
        try:
            arguments |= _fields(exchange)
        except (ValueError, ET.ParseError):
            return 500, None
        status, value = route.run(self, arguments)
        self.requests.append(ReceivedCommand(route.command, arguments, status, f"{exchange.method} {exchange.path}"))
        return status, value


def _create_user(server: Openfire, arguments: Arguments) -> Answer:
    name, password = arguments.get("username"), arguments.get("password")
    if not isinstance(name, str) or not name or password == "":
        return 500, None
    if name in server.accounts:
        return _refusal(409, name, "Could not create new user", "UserAlreadyExistsException")
    if password is None:
        return _refusal(400, name, "Could not create new user, because password is null", "PasswordIsNull")
    server.accounts[name] = arguments
    return 201, None


def _get_user(server: Openfire, arguments: Arguments) -> Answer:
    name = str(arguments["username"])
    account = server.accounts.get(name)
    if account is None:
        return _refusal(404, name, "Could not get user", "UserNotFoundException")
    return 200, {"username": name, "name": account.get("name", ""), "password": None, "properties": []}


def _broadcast(_: Openfire, arguments: Arguments) -> Answer:
    if not arguments.get("body"):
        return _refusal(400, "", "Message content/body is null or empty", "IllegalArgumentException")
    return 201, None


def _refusal(status: int, resource: str, message: str, exception: str) -> Answer:
    return status, {"resource": resource, "message": message, "exception": exception}


@attrs.frozen
class _Route:
    """A request that is known. `parts`: of the path behind `BASE`; one in braces is the argument of that name."""

    method: str
    parts: Sequence[str]
    command: str
    run: Callable[[Openfire, Arguments], Answer]


_ROUTES: Final = (
    _Route("POST", ("users",), "create_user", _create_user),
    _Route("GET", ("users", "{username}"), "get_user", _get_user),
    _Route("POST", ("messages", "users"), "broadcast_message", _broadcast),
    _Route(
        "GET",
        ("system", "statistics", "sessions"),
        "session_statistics",
        lambda server, _: (200, {"localSessions": server.online, "clusterSessions": server.online}),
    ),
)


def _route(exchange: Exchange) -> tuple[_Route, Arguments] | None:
    """Return which known request this is, with the arguments in its path; None if it is not known."""
    base, slash, rest = exchange.path.partition("?")[0].partition(f"{BASE}/")
    if base or not slash:
        return None
    said = rest.split("/")
    for route in _ROUTES:
        if route.method == exchange.method and len(route.parts) == len(said):
            pairs = list(zip(route.parts, map(unquote, said), strict=True))
            if all(part == one or part.startswith("{") for part, one in pairs):
                return route, {part.strip("{}"): one for part, one in pairs if part.startswith("{")}
    return None


def _fields(exchange: Exchange) -> Arguments:
    """Return the fields of the body, in XML or JSON; raise `ValueError` or `ParseError` if it is neither."""
    if not exchange.body:
        return {}
    if exchange.headers.get("content-type", "").partition(";")[0] == _XML:
        return {one.tag: one.text or "" for one in ET.fromstring(exchange.body)}  # noqa: S314 - from our own broker
    said: Arguments = json.loads(exchange.body)
    return said
