"""A server of HTTP in the test's own loop that answers each job as a mood says which the job itself carries.

For tests that compare two ways of sending the same jobs. Always holds: a request is noted whole, before it is answered;
the mood is for the first request of its job, and each later one is answered well.
"""

import json
import os
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable
from typing import Final

import attrs
import trio

from tests.transport.answers import SHAPES

_HEAD: Final = b"\r\n\r\n"
_LATE_S: Final = 5.0
"""Longer than a request may take in these tests."""
_TURNS: Final = 4
"""How many turns of the loop the other side has to read a piece before the next one comes."""
_LONG_BYTES: Final = 10_000
_LATE_SHARE: Final = 0.1
"""The share of late answers: each takes a second."""

GOOD: Final = (
    *("0", '{"num_sessions":3}', '["a@example.org","b@example.org"]', '""', "1", "[]"),
    *('{"res":1}', '{"res":0}', "true", "1.0", " 1", '"\\u00e9"', "1" * 65),
)
BAD: Final = (
    (400, '{"status":"error","code":10,"message":"You have provided an unknown argument"}'),
    (403, '{"status":"error","code":32,"message":"AccessRules: Account does not have the right"}'),
    (404, '{"status":"error","code":44,"message":"User unknown"}'),
    (409, '{"status":"error","code":10090,"message":"User already exists"}'),
    (500, '{"status":"error","code":-500,"message":"Internal Server Error"}'),
    (503, "busy"),
    (301, ""),
    (302, "0"),
    (200, "<html>not the API</html>"),
    (200, ""),
)


@attrs.frozen
class Mood:
    """The bytes of an answer; how they are cut into pieces, and what follows: `stay`, `close`, `reset` or `late`;
    `held`: it waits.
    """

    answer: bytes
    cuts: tuple[int, ...] = ()
    then: str = "stay"

    def to_text(self) -> str:
        return json.dumps([self.answer.decode("latin-1"), self.cuts, self.then])

    @staticmethod
    def of_text(text: str) -> "Mood":
        answer, cuts, then = json.loads(text)
        return Mood(answer.encode("latin-1"), tuple(cuts), then)


def fine(body: str = "0", *more: str) -> bytes:
    return written(200, body, *more)


def written(status: int, body: str, *more: str, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    lines = (f"HTTP/1.1 {status} So", "Content-Type: application/json", f"Content-Length: {size}", *more, "", body)
    return "\r\n".join(lines).encode()


def mood(chance: random.Random, trouble: float) -> Mood:
    """Return a mood; with the probability `trouble` it is anything but a plain answer."""
    body = chance.choice(GOOD)
    if chance.random() >= trouble:
        return Mood(fine(body))
    return chance.choice(_TROUBLES)(chance, body, fine(body))


def _refused(chance: random.Random, _body: str, good: bytes) -> Mood:
    return Mood(written(*chance.choice(BAD)), chance.choice([(), (chance.randrange(len(good)),)]))


def _late(chance: random.Random, _body: str, good: bytes) -> Mood:
    at = chance.randrange(len(good))
    return Mood(good[:at], then="late") if chance.random() < _LATE_SHARE else Mood(good, (at, at))


def _with_header(chance: random.Random, body: str, _good: bytes) -> Mood:
    length = f"Content-Length: {len(body)}"
    return Mood(fine(body, chance.choice((*_HEADERS, length, length + "0"))), then=chance.choice(("stay", "close")))


def _of_any_shape(chance: random.Random, _body: str, _good: bytes) -> Mood:
    shape = chance.choice(_SHAPES)
    return Mood(shape.raw.replace(b"abc", b"0  "), then="close" if shape.closes else "stay")


_HEADERS: Final = (
    "Connection: Keep-Alive",
    "Connection: Upgrade",
    "Keep-Alive: timeout=0",
    "Upgrade: h2c",
    "Retry-After: 1",
    "Content-Encoding: gzip",
    "Content-Type: text/html; charset=utf-16",
    "X: a\r\n b",
    "X: a\0b",
)
_SHAPES: Final = [shape for shape in SHAPES if shape.method == "POST" and len(shape.raw) < _LONG_BYTES]
_CHUNK: Final = b"HTTP/1.1 200 So\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
_TROUBLES: Final[tuple[Callable[[random.Random, str, bytes], Mood], ...]] = (
    lambda chance, _body, good: Mood(good, (chance.randrange(len(good)),)),
    lambda _chance, _body, good: Mood(good, tuple(range(len(good)))),
    lambda _chance, _body, good: Mood(good, (good.index(_HEAD) + len(_HEAD),)),
    lambda chance, _body, good: Mood(good[: chance.randrange(len(good))], then="close"),
    lambda chance, _body, good: Mood(good[: chance.randrange(len(good))], then="reset"),
    lambda _chance, _body, good: Mood(good, then="close"),
    lambda _chance, body, _good: Mood(fine(body, "Connection: close"), then="close"),
    lambda chance, body, _good: Mood(written(200, body, length=len(body) + chance.randrange(1, 9)), then="close"),
    lambda chance, _body, good: Mood(good + b"HTTP/1.1 200 OK\r\n"[: chance.randrange(1, 17)], then="close"),
    lambda chance, body, _good: Mood(_CHUNK % (len(body), body.encode()), (chance.randrange(60),)),
    lambda chance, _body, _good: Mood(fine(json.dumps("x" * chance.randrange(60_000, 70_000)))),
    lambda _chance, _body, good: Mood(b"HTTP/1.1 103 Early\r\n\r\n" + good),
    lambda _chance, body, _good: Mood(b"HTTP/1.0 200 So\r\n\r\n" + body.encode(), then="close"),
    lambda _chance, body, _good: Mood(b"HTTP/1.1 202 So\r\nContent-length:%d\r\n\r\n%s" % (len(body), body.encode())),
    lambda chance, _body, _good: Mood(written(200, chance.choice(("abc", "", "NaN", "0,")))),
    _with_header,
    _of_any_shape,
    _late,
    _refused,
)


@attrs.define(eq=False)
class MoodyServer:
    """`requests`: {bytes of a request: how often it came}, probes apart. `status`: the body of each probe's answer."""

    requests: Counter[bytes] = attrs.field(factory=Counter)
    port: int = 0
    status: str = '{"num_sessions":0}'
    let: trio.Event = attrs.field(factory=trio.Event)
    """What is asked with the mood `held` is answered once it is set."""
    _answered: set[str] = attrs.field(factory=set)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(self.port, host="127.0.0.1", backlog=1000)
            self.port = listener.socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, self._serve, [listener])
            task_status.started()

    async def _serve(self, stream: trio.SocketStream) -> None:
        data = b""
        try:
            while True:
                while (end := data.find(_HEAD)) < 0 or len(data) < end + 4 + _length(data[:end]):
                    if not (got := await stream.receive_some()):
                        return
                    data += got
                size = end + 4 + _length(data[:end])
                request, data = data[:size], data[size:]
                if not await self._answer(stream, request, request[end + 4 :]):
                    return
        except trio.BrokenResourceError:
            pass
        finally:
            await stream.aclose()

    async def _answer(self, stream: trio.SocketStream, request: bytes, body: bytes) -> bool:
        arguments = json.loads(body or b"{}")
        if "mood" not in arguments:
            return await _say(stream, Mood(fine(self.status)))
        self.requests[request] += 1
        name = arguments["user"]
        said = Mood(fine()) if name in self._answered else Mood.of_text(arguments["mood"])
        self._answered.add(name)
        if said.then == "held":
            await self.let.wait()
            said = Mood(said.answer)
        return await _say(stream, said)


def _length(head: bytes) -> int:
    found = head.lower().partition(b"\r\ncontent-length:")[2]
    return int(found.partition(b"\r\n")[0] or b"0")


async def _say(stream: trio.SocketStream, said: Mood) -> bool:
    """Say what the mood says; return whether the connection stays."""
    start = 0
    for cut in said.cuts:
        await stream.send_all(said.answer[start:cut])
        for _ in range(_TURNS):
            await trio.lowlevel.checkpoint()
        start = cut
    rest = said.answer[start:]
    if said.then == "stay":
        await stream.send_all(rest)
        return True
    # At once with what follows, so that nobody has sent another request meanwhile.
    os.write(stream.socket.fileno(), rest)
    if said.then == "late":
        await trio.sleep(_LATE_S)
    elif said.then == "reset":
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()
    return False
