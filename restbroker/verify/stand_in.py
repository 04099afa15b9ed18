"""The server that the jobs of a run go to: it answers as ejabberd 23.01 does, and breaks when it is told to.

Used by `verify.run` and `verify.faults`. It is the judge of what ran how often. Always holds: listens on loopback
only; a request is noted before anything can break it, and counts as answered before its first byte is sent.
"""

import json
import random
import socket
import struct
from collections import defaultdict
from typing import Final

import attrs
import trio

USER: Final = "admin@example.org"
_STATUS: Final = "The node nonode@nohost is started. Status: startedejabberd 23.01-1 is running in that node"
_MOST_BYTES: Final = 65536
_QUICK_S: Final = (0.0, 0.02)
_SLOW_S: Final = (0.3, 0.8)


@attrs.define(eq=False)
class StandIn:
    """`statuses`: for each job what its requests were answered with, in their order; None: not, or not yet.

    `resets` is how many requests more will get no answer, `were_reset` how many got none. `slow` makes answers take
    their time, so that the brokers' hands are full when something breaks.
    """

    rng: random.Random
    port: int = 0
    slow: bool = False
    resets: int = 0
    were_reset: int = 0
    statuses: dict[str, list[int | None]] = attrs.field(factory=lambda: defaultdict(list))
    done: set[str] = attrs.field(factory=set)
    open_exchanges: int = 0
    _accounts: set[str] = attrs.field(factory=set)
    _serving: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _up: trio.Event = attrs.field(factory=trio.Event)

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until cancelled, with a gap for each `go_down`; reports its port, which stays the same."""
        self._up.set()
        while True:
            await self._up.wait()
            (listener,) = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
            self.port = listener.socket.getsockname()[1]
            task_status.started(self.port)
            task_status = trio.TASK_STATUS_IGNORED
            with trio.CancelScope() as self._serving:
                await trio.serve_listeners(self._serve, [listener])

    def go_down(self) -> int:
        """Cuts every connection and refuses new ones; returns how many requests had no answer yet."""
        self._up = trio.Event()
        self._serving.cancel()
        return self.open_exchanges

    def come_up(self) -> None:
        """Serves again."""
        self._up.set()

    async def _serve(self, stream: trio.SocketStream) -> None:
        buffered = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffered:
                    if not (more := await stream.receive_some(_MOST_BYTES)):
                        return
                    buffered += more
                head, _, rest = buffered.partition(b"\r\n\r\n")
                headers = _headers(head)
                length = int(headers.get("content-length", "0"))
                while len(rest) < length:
                    if not (more := await stream.receive_some(_MOST_BYTES)):
                        return
                    rest += more
                body, buffered = rest[:length], rest[length:]
                await self._exchange(stream, head, headers.get("traceparent", ""), body)
        except trio.BrokenResourceError:
            return  # the client was killed
        finally:
            await trio.aclose_forcefully(stream)

    async def _exchange(self, stream: trio.SocketStream, head: bytes, job: str, body: bytes) -> None:
        command = head.split(b" ", 2)[1].rpartition(b"/")[2].decode()
        if not job:  # a probe
            await _send(stream, 200, _STATUS if command == "status" else {"num_sessions": 0})
            return
        statuses = self.statuses[job]
        statuses.append(None)
        number = len(statuses) - 1
        self.open_exchanges += 1
        answered = False
        try:
            await trio.sleep(self.rng.uniform(*(_SLOW_S if self.slow else _QUICK_S)))
            if self.resets > 0:
                self.resets -= 1
                self.were_reset += 1
                raise trio.BrokenResourceError
            status, answer = self._do(command, body)
            statuses[number] = status
            self.done.add(job)
            await _send(stream, status, answer)
            answered = True
        finally:
            self.open_exchanges -= 1
            if not answered:
                # The close that follows is a reset: the client cannot know whether it ran.
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _do(self, command: str, body: bytes) -> tuple[int, object]:
        user = str(json.loads(body or b"{}").get("user", ""))
        match command:
            case "register" if user in self._accounts:
                address = f"User {user}@example.org already registered"
                return 409, {"status": "error", "code": 10090, "message": address}
            case "register":
                self._accounts.add(user)
                return 200, f"User {user}@example.org successfully registered"
            case _:
                return 200, 0


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines)
    return {name.lower(): value.strip() for name, _, value in pairs}


async def _send(stream: trio.SocketStream, status: int, value: object) -> None:
    body = json.dumps(value, separators=(",", ":")).encode()
    reason = {200: "OK", 409: "Conflict"}[status]
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    await stream.send_all(head.encode() + body)
