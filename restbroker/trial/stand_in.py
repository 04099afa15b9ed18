"""A stand-in for ejabberd, with the few commands that `demo` and `verify` use; it breaks on command.

Answers and their order of checks were measured on ejabberd 23.01 (Debian 12), and tests/trial compares both; of
requests only those that a broker sends are known, with a login and a JSON object of texts. A trap of the real server
that it shares: it checks that the command exists, then the login, then the arguments; so a wrong password on an unknown
command is a 404.

Always holds: it listens on loopback only, and keeps everything in memory; while it is down its port refuses connections
as that of a stopped server does; a request is recorded before a fault can hit it, and counts as answered before the
answer's first byte is sent; one that is not answered ends in a reset, so that its client cannot know whether it was
executed.
"""

import json
import random
import socket
import struct
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import trio

from restbroker.job.json_types import Json
from restbroker.light import define, field

Answer: TypeAlias = tuple[int, Json]
_MOST_BYTES: Final = 65536
_QUICK_S: Final = (0.0, 0.02)
_SLOW_S: Final = (0.3, 0.8)
_STATUS: Final = "The node nonode@nohost is started. Status: startedejabberd 23.01-1 is running in that node"


@define(eq=False)
class StandInRequest:
    """A request. `job`: the id of the job that it is for, as its traceparent says; None: a probe's, or the demo's.

    `status`: that of the answer; None: there is none yet.
    """

    command: str
    arguments: Mapping[str, Any]
    authorization: str
    job: str | None
    status: int | None = None


@define(eq=False)
class StandIn:
    """The server: its administrator, its accounts, and what came to it.

    `accounts`: (user, host) → password. `jobs`: the requests for each job, in order; `requests`: all, of which those
    that say no job are answered at once. `done`: the jobs that were answered. `slow` makes answers take their time, so
    that the brokers are busy when something breaks. `resets`: how many more requests for jobs will get no answer;
    `cut`: how many got none because of that, or because the server went down.
    """

    nursery: trio.Nursery
    user: str
    password: str
    rng: random.Random = field(factory=random.Random)
    online: int = 3
    slow: bool = False
    resets: int = 0
    cut: int = 0
    port: int = 0
    accounts: dict[tuple[str, str], str] = field(factory=dict)
    requests: list[StandInRequest] = field(factory=list)
    jobs: dict[str, list[StandInRequest]] = field(factory=lambda: defaultdict(list))
    done: set[str] = field(factory=set)
    _serving: trio.CancelScope = field(factory=trio.CancelScope)
    _down: trio.Event = field(factory=trio.Event)

    async def come_up(self) -> None:
        """Serve until `go_down`, on the same port each time; return once it accepts connections."""
        (listener,) = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        self._serving, self._down = trio.CancelScope(), trio.Event()
        self.nursery.start_soon(self._run, listener)

    async def go_down(self) -> None:
        """Cut every connection and refuse new ones, as a killed server does; return once it is down."""
        self._serving.cancel()
        # Until then a request may still come in, and be cut off without an answer.
        await self._down.wait()

    async def _run(self, listener: trio.SocketListener) -> None:
        with self._serving:
            await trio.serve_listeners(self._serve, [listener])
        self._down.set()

    async def _serve(self, stream: trio.SocketStream) -> None:
        request, is_answered = None, True
        try:
            while (request := await _receive(stream)) is not None:
                is_answered = False
                self.requests.append(request)
                if request.job is not None and not await self._is_served(request, self.jobs[request.job]):
                    return
                await stream.send_all(self._answer(request))
                is_answered = True
        except trio.BrokenResourceError:
            pass  # the client was killed
        except trio.Cancelled:
            self.cut += request is not None and request.job is not None and not is_answered
            raise
        finally:
            if not is_answered:
                # Makes a reset of the close that follows.
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await trio.aclose_forcefully(stream)

    async def _is_served(self, request: StandInRequest, of_job: list[StandInRequest]) -> bool:
        """Record a request for a job, and wait; tell whether it is to be answered."""
        of_job.append(request)
        await trio.sleep(self.rng.uniform(*(_SLOW_S if self.slow else _QUICK_S)))
        if self.resets > 0:
            self.resets -= 1
            self.cut += 1
            return False
        return True

    def _answer(self, request: StandInRequest) -> bytes:
        """Execute a request, note it as answered, and return the answer, written as ejabberd writes JSON."""
        request.status, value = self._execute(request)
        if request.job is not None:
            self.done.add(request.job)
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        lines = [f"HTTP/1.1 {request.status} {HTTPStatus(request.status).phrase}", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(body)}", "", ""]
        return "\r\n".join(lines).encode() + body

    def _execute(self, request: StandInRequest) -> Answer:
        names, run = _COMMANDS.get(request.command, ((), None))
        if run is None:
            return 404, {"status": "error", "code": 40, "message": "Endpoint not found."}
        if request.authorization != f"Basic {b64encode(f'{self.user}:{self.password}'.encode()).decode()}":
            return 401, {"status": "error", "code": 10, "message": "You are not authorized to call this command."}
        if (missing := next((name for name in names if name not in request.arguments), None)) is not None:
            return 400, f"Request have missing argument: {missing}"
        return run(self, request.arguments)


def _register(server: StandIn, arguments: Mapping[str, str]) -> Answer:
    account = (arguments["user"], arguments["host"])
    address = "@".join(account)
    if account in server.accounts:
        return 409, {"status": "error", "code": 10090, "message": f"User {address} already registered"}
    server.accounts[account] = arguments["password"]
    return 200, f"User {address} successfully registered"


def _check_account(server: StandIn, arguments: Mapping[str, str]) -> Answer:
    return 200, 0 if (arguments["user"], arguments["host"]) in server.accounts else 1


_COMMANDS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[StandIn, Mapping[str, str]], Answer]]]] = {
    "status": ((), lambda _, __: (200, _STATUS)),
    "connected_users_number": ((), lambda server, _: (200, {"num_sessions": server.online})),
    "user_sessions_info": (("user", "host"), lambda _, __: (200, [])),
    "register": (("user", "host", "password"), _register),
    "check_account": (("user", "host"), _check_account),
    "send_message": (("type", "from", "to", "subject", "body"), lambda _, __: (200, 0)),
}
"""The commands, each with its arguments."""


async def _receive(stream: trio.SocketStream) -> StandInRequest | None:
    """Return the next request, None after the last; a client sends one when the one before was answered."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (more := await stream.receive_some(_MOST_BYTES)):
            return None
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    request, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        if not (more := await stream.receive_some(_MOST_BYTES)):
            return None
        body += more
    command = request.split(" ")[1].rpartition("/")[2]
    return StandInRequest(command, json.loads(body), headers.get("authorization", ""), headers.get("traceparent"))
