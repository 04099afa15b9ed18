"""A small HTTP server in threads of the test: it answers as ejabberd does, notes when each job came, and does more.

For tests with real broker processes whose target must do what no ejabberd does: kill the broker, count arrivals by the
millisecond, or do as each job says. Always holds: an arrival is noted before it is acted on; probes are answered and
not noted.
"""

import json
import time
from collections.abc import Callable
from typing import Any, Self

import attrs

from tests.support.ports import free_port
from tests.support.receiver import Answer, Received, Receiver


@attrs.frozen
class Arrival:
    """One request of a job. `at_s` is monotonic time; `broker` the port that it came from."""

    at_s: float
    command: str
    arguments: dict[str, Any]
    broker: int


@attrs.define(eq=False)
class AnsweringServer:
    """Serves while its `with` block runs. `act` is called for each job after it was noted; its result is the status.

    `body` gives what is said beside it. A connection is closed with its answer number `answers_each`; 0: never.
    """

    act: Callable[[Arrival], int] = lambda _arrival: 200
    body: Callable[[Arrival], bytes] = lambda _arrival: b"0"
    answers_each: int = 0
    arrivals: list[Arrival] = attrs.field(factory=list)
    port: int = attrs.field(factory=free_port)
    _http: Receiver = attrs.field(init=False)

    def __enter__(self) -> Self:
        self._http = Receiver(self._answer, port=self.port).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.__exit__()

    def _answer(self, received: Received) -> Answer:
        status, body = self._said(received.target.rpartition("/")[2], received)
        closes = {"Connection": "close"} if received.number == self.answers_each else {}
        return Answer(status, body, {"Content-Type": "application/json", **closes})

    def _said(self, command: str, received: Received) -> tuple[int, bytes]:
        if command == "status":
            return 200, b'"The node n@h is started. Status: startedejabberd 23.01-1 is running in that node"'
        if command == "connected_users_number":
            return 200, b'{"num_sessions":0}'
        arrival = Arrival(time.monotonic(), command, json.loads(received.body or b"{}"), received.client)
        self.arrivals.append(arrival)
        return self.act(arrival), self.body(arrival)
