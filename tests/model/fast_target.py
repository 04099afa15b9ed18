"""The target of a simulated world as a server of HTTP: the real client speaks with it, in each way.

Always holds: a connection is a pair of sockets inside the process, which hands bytes over at once, so that the mock
clock never jumps while some are on their way.
"""

import contextvars
import socket
import ssl
from collections.abc import Callable, Mapping

import attrs
import pytest
import trio

from restbroker.config.target import Target
from restbroker.job.command import Call
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Reason
from restbroker.servers.contract import Link, Plan
from restbroker.transport import pool
from restbroker.transport.client import LeanClient
from restbroker.transport.message import NotSent, Request
from restbroker.transport.wire import Wire
from tests.model.target import SimulatedTarget

_HEAD = b"\r\n\r\n"
_TIMEOUT_S = 10.0
MANNERS = ("plain", "pieces", "500", "401", "close", "hang")
"""What a server may do with a request: of all but the refusals, the command runs."""


def _plainly() -> str:
    return "plain"


@attrs.define(eq=False)
class FastTarget(SimulatedTarget):
    """`manner` is asked for each request. `up`: if it is not, nobody listens, and all connections are closed.

    `connected` are its ends of the connections.
    """

    manner: Callable[[], str] = _plainly
    nursery: trio.Nursery | None = None
    connected: set[trio.SocketStream] = attrs.field(factory=set)
    _plan: Plan = attrs.field(init=False)

    stepwise = True

    def __attrs_post_init__(self) -> None:
        self._plan = Plan(Request("POST", "/", _TIMEOUT_S), _body, _outcome)

    def plan(self, _endpoint: str) -> Plan | None:
        """Both commands are plain; jobs of `once` are not, since they run at most once."""
        return self._plan

    async def deliver(self, call: Call, link: Link) -> Outcome:
        """As the plan says, and for all else."""
        body = _body(call.command.arguments)
        response = await link.send(attrs.evolve(self._plan.request, body=body))
        if response.status == 401:
            return Denied(Reason("TargetDenied", "401", None, 401))
        done = _outcome(response.status, response.body)
        return done or Deferred(Reason("ServerError", f"status {response.status}", None, response.status))

    def open_transport(self, target: Target) -> LeanClient:
        """The client of one process."""
        return LeanClient(target, ssl.create_default_context())

    def hang_up(self) -> None:
        """Closes all connections."""
        for stream in self.connected:
            stream.socket.close()
        self.connected.clear()

    async def dial(self, _target: Target, _tls: ssl.SSLContext, _timeout_s: float) -> Wire:
        """A new connection."""
        await trio.lowlevel.checkpoint()
        if not self.up:
            raise NotSent("Nobody listens.")
        ours, theirs = socket.socketpair()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        self.connected.add(stream)
        assert self.nursery is not None
        # It is none of the tasks of the process that connects.
        contextvars.Context().run(self.nursery.start_soon, self._serve, stream)
        return Wire(theirs)

    async def _serve(self, stream: trio.SocketStream) -> None:
        data = b""
        try:
            while True:
                while (end := data.find(_HEAD)) < 0 or len(data) < end + len(_HEAD) + _length(data[:end]):
                    if not (got := await stream.receive_some()):
                        return
                    data += got
                size = end + len(_HEAD) + _length(data[:end])
                body, data = data[end + len(_HEAD) : size], data[size:]
                if not await self._answer(stream, body.decode()):
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.connected.discard(stream)
            stream.socket.close()

    async def _answer(self, stream: trio.SocketStream, jid: str) -> bool:
        """Does the command; returns whether the connection stays."""
        manner = self.manner()
        status = int(manner) if manner.isdigit() else self.status
        self.begun.append(jid)
        if status == 200:
            self.ran.append((jid, trio.current_time()))
        await trio.sleep(self.duration_s())
        if manner == "hang":
            await trio.sleep(1.5 * _TIMEOUT_S)
        if manner in {"hang", "close"}:
            return False
        answer = f"HTTP/1.1 {status} So\r\nContent-Length: 1\r\n\r\n0".encode()
        cut = len(answer) // 2 if manner == "pieces" else 0
        for piece in (answer[:cut], answer[cut:]):
            await stream.send_all(piece)
            await trio.sleep(0.001)
        return True


def connect(patch: pytest.MonkeyPatch, target: FastTarget, nursery: trio.Nursery) -> None:
    """All clients connect to this target from now on; `nursery` is that of the world."""
    target.nursery = nursery
    patch.setattr(pool, "dial", target.dial)


def _body(arguments: Mapping[str, Json]) -> bytes:
    return str(arguments.get("jid")).encode()


def _outcome(status: int, body: bytes) -> Delivered | None:
    return Delivered(body.decode(), 0, 200) if status == 200 else None


def _length(head: bytes) -> int:
    found = head.lower().partition(b"\r\ncontent-length:")[2]
    return int(found.partition(b"\r\n")[0] or b"0")
