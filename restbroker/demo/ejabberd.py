"""A stand-in for ejabberd's HTTP API: the few commands that the demo shows, answered as ejabberd 23.01 does.

Called by `demo.stage`. Answers and their order of checks were measured on ejabberd 23.01 (Debian 12), and
tests/demo compares both; of requests only those that a broker sends are known, with a JSON object. Always holds:
listens on loopback, keeps everything in memory, and while it is down its port refuses connections as that of a stopped
server does.

A trap of the real server that the stand-in shares: it checks that the command exists, then who asks, then the
arguments; so a wrong password on an unknown command is a 404.
"""

import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, request
from quart_trio import QuartTrio

from restbroker.rules.json_types import Json

Arguments: TypeAlias = Mapping[str, str]
Answer: TypeAlias = tuple[int, Json]

_STATUS = "The node nonode@nohost is started. Status: startedejabberd 23.01-1 is running in that node"


@attrs.frozen
class Arrival:
    """One request as it came in: the command, its arguments, and what was answered."""

    command: str
    arguments: Mapping[str, Json]
    status: int


@attrs.define
class StandIn:
    """One server: its administrator, its virtual hosts and accounts, what arrived, and whether it is up."""

    user: str
    password: str
    hosts: frozenset[str]
    online: int = 3
    """What `connected_users_number` says."""
    accounts: dict[tuple[str, str], str] = attrs.field(factory=dict)
    arrivals: list[Arrival] = attrs.field(factory=list)
    port: int = 0
    _wanted_up: trio.Event = attrs.field(factory=trio.Event)
    _serving: trio.CancelScope | None = None
    _up: trio.Event = attrs.field(factory=trio.Event)
    _down: trio.Event = attrs.field(factory=trio.Event)

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until cancelled, with a gap for each `go_down`; reports its port, which stays the same."""
        self._wanted_up.set()
        while True:
            await self._wanted_up.wait()
            with trio.CancelScope() as self._serving:
                async with trio.open_nursery() as nursery:
                    binds: list[str] = await nursery.start(serve, _app(self), _config(self.port))
                    self.port = int(binds[0].rpartition(":")[2])
                    self._up.set()
                    task_status.started(self.port)
                    task_status = trio.TASK_STATUS_IGNORED
            self._down.set()

    async def go_down(self) -> None:
        """Cuts every connection and refuses new ones, as a killed server does; returns when it is so."""
        self._wanted_up = trio.Event()
        self._up = trio.Event()
        self._down = trio.Event()
        if self._serving is not None:
            self._serving.cancel()
            # Until then a request may still come in, and be cut off without an answer.
            await self._down.wait()

    async def come_up(self) -> None:
        """Serves again on the same port; returns when it does."""
        self._wanted_up.set()
        await self._up.wait()

    def answer(self, command: str, authorization: str, arguments: Mapping[str, Any]) -> Answer:
        """Status and value of the answer."""
        entry = _COMMANDS.get(command)
        if entry is None:
            return 404, {"status": "error", "code": 40, "message": "Endpoint not found."}
        if refusal := self._refusal(authorization):
            return refusal
        if complaint := _complaint(entry.arguments, arguments):
            return 400, complaint
        return entry.run(self, arguments)

    def _refusal(self, authorization: str) -> Answer | None:
        if not authorization:
            denied = "AccessRules: Account does not have the right to perform the operation."
            return 403, {"status": "error", "code": 32, "message": denied}
        if _credentials(authorization) != f"{self.user}:{self.password}":
            return 401, {"status": "error", "code": 10, "message": "You are not authorized to call this command."}
        return None


def _register(server: StandIn, arguments: Arguments) -> Answer:
    account = (arguments["user"], arguments["host"])
    if account[1] not in server.hosts:
        return 500, {"status": "error", "code": 10001, "message": "Unknown virtual host"}
    address = "@".join(account)
    if account in server.accounts:
        return 409, {"status": "error", "code": 10090, "message": f"User {address} already registered"}
    server.accounts[account] = arguments["password"]
    return 200, f"User {address} successfully registered"


def _check_account(server: StandIn, arguments: Arguments) -> Answer:
    return 200, 0 if (arguments["user"], arguments["host"]) in server.accounts else 1


def _send_message(_: StandIn, arguments: Arguments) -> Answer:
    for name in ("from", "to"):
        user, at, host = arguments[name].rpartition("@")
        if not host or (at and not user):
            tag = "tag <message/> qualified by namespace 'jabber:client'"
            return 400, f"Bad value of attribute '{name}' in {tag}"
    return 200, 0


@attrs.frozen
class _Command:
    arguments: tuple[str, ...]
    run: Callable[[StandIn, Arguments], Answer]


_COMMANDS = {
    "status": _Command((), lambda _, __: (200, _STATUS)),
    "connected_users_number": _Command((), lambda server, _: (200, {"num_sessions": server.online})),
    "user_sessions_info": _Command(("user", "host"), lambda _, __: (200, [])),
    "register": _Command(("user", "host", "password"), _register),
    "check_account": _Command(("user", "host"), _check_account),
    "send_message": _Command(("type", "from", "to", "subject", "body"), _send_message),
}


def _complaint(names: tuple[str, ...], arguments: Mapping[str, Json]) -> str | None:
    """What ejabberd finds wrong with the arguments; it names the first one that is missing, all that are unknown."""
    for name in names:
        if name not in arguments:
            return f"Request have missing argument: {name}"
    if unknown := [name for name in arguments if name not in names]:
        return f"Request have unknown arguments: [{','.join(unknown)}]"
    for name in names:
        if not isinstance(arguments[name], str):
            return f"Arg {json.dumps(arguments[name])} is not in format binary"
    return None


def _credentials(authorization: str) -> str:
    scheme, _, encoded = authorization.partition(" ")
    try:
        return b64decode(encoded).decode() if scheme == "Basic" else ""
    except ValueError:
        return ""


def _app(server: StandIn) -> QuartTrio:
    app = QuartTrio("restbroker.demo.ejabberd")

    @app.post("/api/<command>")
    async def call(command: str) -> Response:
        arguments: Mapping[str, Json] = json.loads(await request.body)
        status, value = server.answer(command, request.headers.get("Authorization", ""), arguments)
        server.arrivals.append(Arrival(command, arguments, status))
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return Response(text, status, mimetype="application/json")

    return app


def _config(port: int) -> Config:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    # Hypercorn would announce itself on stderr in the middle of the demo's own lines.
    config.errorlog = None
    config.graceful_timeout = 0.1
    return config
