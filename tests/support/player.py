"""Plays what real servers were recorded to answer: a small HTTP server in threads of the test that knows nothing else.

`recorded` reads files below `tests/recorded/SERVER/VERSION`; `with Player(recorded(…)) as server:` serves them. State
is a list of exchanges: of those that fit a request, the first one that was not played yet answers it, and the last one
again once all were. So "made, then there already" is two exchanges in this order.

Always holds: a request is in `requests` before it is answered; one that no exchange fits is answered with 599 and
fails the test at the end of the block; the port stays the same when it stops and starts again.

A file is `{"server", "source", "exchanges"}`. An exchange is `{"request": {"method", "path", "headers"?, "body"?},
"response": {"status", "headers"?, "body"?}, "about"?, "command"?, "arguments"?, "assumed"?, "step"?}`. `path` has the
query; a request fits where method, path, each header that is named and the body (where it is named: as JSON if it is
some) are the same. Bodies are texts. `command` and `arguments` are the job that makes the request. `source` says how
the answers were got, and `assumed` why one is not of a real server. `step`, where `make record` wrote the file, is what
restbroker did; what follows without one belongs to it.

`python -m tests.support.player PORT NAME…` serves such files until Ctrl-C, to try things by hand.
"""

import enum
import json
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self

import attrs

from tests.support.daemon import watch
from tests.support.lines import HEAD_END, Asked, Doors, Faults, Gone, Reader
from tests.support.ports import free_port

FOLDER: Final = Path(__file__).parents[1] / "recorded"
UNEXPECTED: Final = 599
_IDLE_S: Final = 5.0
_PHRASES: Final = {one.value: one.phrase for one in HTTPStatus}


class Kind(enum.Enum):
    """What goes wrong for a request, by its `METHOD /path`, or by that, a blank and its body.

    `LOST` counts as played and is then reset; `HANG` is never answered, `RESET` is reset before it is played; `LATE` is
    answered when it is released.
    """

    LATE = enum.auto()
    LOST = enum.auto()
    HANG = enum.auto()
    RESET = enum.auto()


@attrs.frozen
class Exchange:
    """A request and its answer. `body` None: whatever it is, it fits."""

    method: str
    path: str
    status: int
    answer: str = ""
    answer_headers: Mapping[str, str] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: str | None = None
    about: str = ""
    command: str = ""
    arguments: Mapping[str, Any] | None = None
    assumed: str = ""

    def fits(self, request: Asked) -> bool:
        """Whether it is this request."""
        return (
            (self.method, self.path) == (request.method, request.target)
            and all(request.headers.get(name.lower()) == value for name, value in self.headers.items())
            and (self.body is None or parsed(self.body) == parsed(request.body.decode("utf-8", "replace")))
        )


def recorded(*names: str) -> list[Exchange]:
    """Return the exchanges of these files, in order: `openfire-rest/1.3.10/users`."""
    return [
        _exchange(one)
        for name in names
        for one in json.loads((FOLDER / f"{name}.json").read_text("utf-8"))["exchanges"]
    ]


def files(folder: str) -> list[str]:
    """Return the names of the recorded files in a folder such as `openfire-rest/*`, as `recorded` takes them."""
    return sorted(str(file.relative_to(FOLDER).with_suffix("")) for file in FOLDER.glob(f"{folder}/*.json"))


def _exchange(one: Mapping[str, Any]) -> Exchange:
    request, response = one["request"], one["response"]
    return Exchange(
        request["method"],
        request["path"],
        response["status"],
        answer=response.get("body", ""),
        answer_headers=response.get("headers", {}),
        headers=request.get("headers", {}),
        body=request.get("body"),
        about=one.get("about", ""),
        command=one.get("command", ""),
        arguments=one.get("arguments"),
        assumed=one.get("assumed", ""),
    )


def parsed(body: str) -> Any:
    """Return what this is as JSON; the text itself if it is none."""
    try:
        return json.loads(body)
    except ValueError:
        return body


@attrs.define(eq=False)
class Player:
    """Serves the exchanges while its `with` block runs. More can be added meanwhile, and `faults`."""

    exchanges: Sequence[Exchange]
    port: int = attrs.field(factory=free_port)
    faults: Faults = attrs.field(factory=Faults)
    requests: list[Asked] = attrs.field(factory=list)
    unexpected: list[Asked] = attrs.field(factory=list)
    played: list[Exchange] = attrs.field(factory=list)
    """What was answered, in order."""
    _numbers: set[int] = attrs.field(factory=set)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _doors: Doors = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._doors = Doors(self._talk)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many were accepted."""
        return self._doors.connections

    def sent(self, method: str, path: str = "") -> list[Asked]:
        """Return the requests of this method, and of this path if one is given, in order."""
        return [one for one in list(self.requests) if one.method == method and path in ("", one.path)]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
        self._doors.join()
        if kind is None:
            assert not self.unexpected, f"no exchange fits {self.unexpected[0]}"

    def start(self) -> None:
        """Listens."""
        self._doors.begin()
        self._doors.open("http", self.port)

    def stop(self) -> None:
        """Refuses at once, and ends the connections."""
        self._doors.end(self.faults.release, abruptly=False)

    def kill(self) -> None:
        """The same, with resets."""
        self._doors.end(self.faults.release, abruptly=True)

    def _talk(self, line: socket.socket, port: str, gone: threading.Event) -> None:
        reader = Reader(line, port)
        line.settimeout(_IDLE_S)
        while (request := reader.next()) is not None and not gone.is_set():
            line.sendall(self._answer(request))

    def _answer(self, request: Asked) -> bytes:
        whole = f"{request.line} {request.body.decode('utf-8', 'replace')}"
        fault = self.faults.of(request.line) or self.faults.of(whole)
        with self._lock:
            self.requests.append(request)
            is_unplayed = fault is not None and fault.kind in (Kind.HANG, Kind.RESET)
            exchange = None if is_unplayed else self._next(request)
        if fault is not None:
            fault.reached.set()
            if fault.kind in (Kind.HANG, Kind.LATE):
                fault.release.wait()
            if fault.kind is not Kind.LATE:
                raise Gone(reset=fault.kind is not Kind.HANG)
        if exchange is None:
            return written(Exchange("", "", UNEXPECTED, f"No exchange fits {request.method} {request.target}"))
        return written(exchange)

    def _next(self, request: Asked) -> Exchange | None:
        fitting = [number for number, one in enumerate(self.exchanges) if one.fits(request)]
        if not fitting:
            self.unexpected.append(request)
            return None
        number = next((one for one in fitting if one not in self._numbers), fitting[-1])
        self._numbers.add(number)
        self.played.append(self.exchanges[number])
        return self.exchanges[number]


def written(exchange: Exchange) -> bytes:
    """Return the answer as it goes over the connection."""
    status, body = exchange.status, exchange.answer.encode()
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, '')}"]
    lines += [f"{name}: {value}" for name, value in exchange.answer_headers.items()]
    if status >= 200 and status not in (204, 304):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + HEAD_END + body


def main() -> None:
    """Serves what the arguments name, and prints each request."""
    port, *names = sys.argv[1:]
    server = Player(recorded(*names), int(port))
    watch(server, f"Recorded answers are played at {server.url}", lambda: [one.line for one in list(server.requests)])


if __name__ == "__main__":
    main()
