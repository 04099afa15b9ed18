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
the answers were got, and `assumed` why one is not of a real server. `step`, where `tests.record` wrote it, is what
restbroker did; what follows without one belongs to it.
"""

import json
import socket
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from tests.support.receiver import Answer, Received, Server

FOLDER: Final = Path(__file__).parents[1] / "recorded"
UNEXPECTED: Final = 599


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

    def fits(self, request: Received) -> bool:
        """Whether it is this request."""
        return (
            (self.method, self.path) == (request.method, request.target)
            and all(request.headers.get(name.lower()) == value for name, value in self.headers.items())
            and (self.body is None or parsed(self.body) == parsed(request.body.decode("utf-8", "replace")))
        )


def recorded(*names: str) -> list[Exchange]:
    """Return the exchanges of these files, in order: `openfire-rest/1.3.10/users`."""
    return [
        _exchange(exchange)
        for name in names
        for exchange in json.loads((FOLDER / f"{name}.json").read_text("utf-8"))["exchanges"]
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
class Player(Server):
    """Serves the exchanges while its `with` block runs. More can be added meanwhile, and `faults`."""

    exchanges: Sequence[Exchange]
    idle_s: float | None = attrs.field(default=5.0, kw_only=True)
    played: list[Exchange] = attrs.field(factory=list)
    """What was answered, in order."""
    _numbers: set[int] = attrs.field(factory=set)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    @property
    def requests(self) -> list[Received]:
        return self.received

    def sent(self, method: str, path: str = "") -> list[Received]:
        return self.of(method, path)

    def answer(self, request: Received, _line: socket.socket) -> bytes:
        with self._lock:
            exchange = self._next(request)
        words = f"No exchange fits {request.method} {request.target}"
        return written(exchange or Exchange("", "", UNEXPECTED, words))

    def _next(self, request: Received) -> Exchange | None:
        fitting = [number for number, exchange in enumerate(self.exchanges) if exchange.fits(request)]
        if not fitting:
            self.unexpected.append(request)
            return None
        number = next((number for number in fitting if number not in self._numbers), fitting[-1])
        self._numbers.add(number)
        self.played.append(self.exchanges[number])
        return self.exchanges[number]


def written(exchange: Exchange) -> bytes:
    """Return the answer as it goes over the connection."""
    return Answer(exchange.status, exchange.answer.encode(), exchange.answer_headers).to_bytes()
