"""A stand-in for MongooseIM's GraphQL endpoints, in threads of the test: no package of a distribution has the server.

It checks types against the schema, holds accounts, rosters, rooms and messages, and errs as MongooseIM 6.8 was measured
to err; what was not measured is said in its schema files. `with MongooseIM() as server:` serves; `stop`, `kill` and
`start` play a restart; `server.faults` is what goes wrong, `server.world` what it knows, `server.asked` what came.

Always holds: nothing of restbroker is imported; a request is in `asked` before it is answered; the port stays the same.
"""

import base64
import binascii
import json
import socket
import threading
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, Self

import attrs
from graphql import GraphQLSchema

from tests.support.lines import HEAD_END, Asked, Doors, Gone, Reader
from tests.support.mongooseim import execution
from tests.support.mongooseim.checking import Refused, Request
from tests.support.mongooseim.execution import Caller, Endpoint, Run
from tests.support.mongooseim.faults import Faults
from tests.support.mongooseim.scalars import Jid
from tests.support.mongooseim.world import World
from tests.support.ports import free_port

PATH: Final = "/api/graphql"
_ACCEPTED: Final = frozenset({"*/*", "application/*", "text/*", "application/json", "text/html"})
_LARGEST: Final = 8_000_000
"""7.5 MB were taken, more than 8 MB not."""
_REQUESTS_OF_A_CONNECTION: Final = 1000


@attrs.frozen
class Said:
    """One answer. `typed` leaves the content type out where that server does."""

    status: int
    body: bytes = b""
    typed: bool = True

    def bytes(self, *, is_last: bool) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += ["connection: close"] if is_last else []
        lines += [f"content-length: {len(self.body)}"]
        lines += ["content-type: application/json"] if self.typed and self.body else []
        lines += [f"date: {formatdate(usegmt=True)}", "server: Cowboy", "vary: accept"]
        return "\r\n".join(lines).encode() + HEAD_END + self.body


@attrs.define(eq=False)
class MongooseIM:
    """One listener. `user` with an empty `password`: everybody is an administrator; `host` may be `_`, for any."""

    endpoint: Endpoint = "admin"
    user: str = "admin"
    password: str = "secret"
    host: str = "localhost"
    port: int = attrs.field(factory=free_port)
    world: World = attrs.field(factory=World)
    faults: Faults = attrs.field(factory=Faults)
    unloaded: set[str] = attrs.field(factory=set)
    """Modules and services that are not there."""
    idle_s: float = 5.0
    asked: list[Asked] = attrs.field(factory=list)
    operations: list[str] = attrs.field(factory=list)
    """What was asked for and understood, as `category.operation`, in order."""
    _schema: GraphQLSchema = attrs.field(init=False)
    _doors: Doors = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._schema = execution.schema_of(self.endpoint)
        self._doors = Doors(self._talk)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}{PATH}"

    @property
    def connections(self) -> int:
        """How many were accepted."""
        return self._doors.connections

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._doors.join()

    def start(self) -> None:
        """Listens; the first request is answered at once, as there."""
        self._doors.begin()
        self._doors.open("graphql", self.port)

    def stop(self) -> None:
        """As after SIGTERM: refuses at once, and no connection lives on."""
        self._doors.end(self.faults.release, abruptly=False)

    def kill(self) -> None:
        """As after SIGKILL: connections are reset."""
        self._doors.end(self.faults.release, abruptly=True)

    def _talk(self, line: socket.socket, port: str, gone: threading.Event) -> None:
        reader = Reader(line, port)
        line.settimeout(self.idle_s)
        for count in range(1, _REQUESTS_OF_A_CONNECTION + 1):
            asked = reader.next()
            if asked is None or gone.is_set():
                return
            said = self._said(asked, gone)
            if gone.is_set():
                return
            line.sendall(said.bytes(is_last=count == _REQUESTS_OF_A_CONNECTION))

    def _said(self, asked: Asked, gone: threading.Event) -> Said:
        self.asked.append(asked)
        if asked.path != PATH or self.host not in ("_", asked.host):
            return Said(404)
        try:
            return self._answer(asked, gone)
        except Refused as refused:
            if refused.code is None:
                return Said(refused.status)
            error = {
                "errors": [
                    {"extensions": {"code": refused.code}, "message": refused.message, "path": list(refused.path)}
                ]
            }
            return Said(refused.status, _json(error), typed=refused.status != 401)

    def _answer(self, asked: Asked, gone: threading.Event) -> Said:
        if asked.method != "POST":
            return Said(405)
        caller = self._caller(asked.headers.get("authorization"))
        wanted = {part.partition(";")[0].strip() for part in asked.accept.split(",")}
        if not wanted & _ACCEPTED:
            return Said(406)
        if asked.headers.get("content-type") != "application/json":
            return Said(415)
        if len(asked.body) > _LARGEST:
            return Said(500)
        request = execution.read(self._schema, json.loads(asked.body))
        execution.permitted(self._schema, request, caller)
        return self._executed(request, caller, gone)

    def _caller(self, authorization: str | None) -> Caller:
        if self.endpoint == "admin" and not self.password:
            return Caller("admin")
        scheme, _, given = (authorization or "bearer").partition(" ")
        match scheme.lower():
            case "bearer":
                return Caller(None)
            case "basic":
                return self._logged_in(*_pair(given))
        raise Refused(401, "request_error", "Malformed authorization header")

    def _logged_in(self, user: str, password: str) -> Caller:
        match self.endpoint:
            case "admin":
                if (user, password) == (self.user, self.password):
                    return Caller("admin")
            case "domain_admin":
                if "service_domain_db" in self.unloaded:
                    raise Refused(500)
                name, _, domain = user.partition("@")
                found = self.world.domains.get(domain)
                if name == "admin" and found is not None and found.password == password:
                    return Caller("domain_admin", domain)
            case "user":
                if self.world.accounts.get(user) == password:
                    return Caller("user", user.partition("@")[2], Jid.read(user))
        raise Refused(401, "wrong_credentials", "The provided credentials are wrong")

    def _executed(self, request: Request, caller: Caller, gone: threading.Event) -> Said:
        operations = execution.names(request)
        self.operations += operations
        fault = next(filter(None, map(self.faults.of, operations)), None)
        if fault is not None:
            fault.reached.set()
            fault.release.wait()
            raise Gone
        needs_database = not all(name == "checkAuth" or name.startswith("server.") for name in operations)
        away = needs_database and self.faults.meets_no_database()
        if away and "checkAuth" not in operations and self.faults.is_silent():
            gone.wait()
            raise Gone
        run = Run(self.world, caller, frozenset(self.unloaded), crashes=away)
        return Said(200, _json(execution.run(self._schema, request, run)))


def _pair(given: str) -> tuple[str, str]:
    try:
        user, colon, password = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise Refused(401, "request_error", "Malformed authorization header")
    return user, password


def _json(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
