"""The progress of one exchange over httpx, by httpcore's trace. Used by the client on httpx.

Always holds: `has_begun` is set before the first byte of a request leaves, and the sender said right then that it may.
"""

import math
from typing import Generic, TypeVar

import attrs
import trio

from restbroker.transport.connect import ConnectRamp
from restbroker.transport.message import Sender

C = TypeVar("C")


@attrs.define(eq=False)
class Progress(Generic[C]):
    """The progress of one exchange within `scope`; times are on Trio's clock.

    `attempt` is the scope of the attempt at one address: from `since_s` on it has `patience_s` seconds until the
    attempt `is_connected`.
    """

    connect_ramp: ConnectRamp[C]
    sender: Sender | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    attempt: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    patience_s: float = math.inf
    since_s: float = 0.0
    is_connected: bool = False
    has_begun: bool = False

    def next(self, patience_s: float) -> trio.CancelScope:
        """Begin an attempt at the next address and return its cancel scope."""
        self.attempt = trio.CancelScope()
        self.patience_s = patience_s
        self.is_connected = False
        return self.attempt

    async def trace(self, name: str, _info: object) -> None:
        """Note a step that httpcore reports; "started" comes before the step, and a connect waits here for its turn.

        What the sender raises ends the exchange: a connection may have come long after the request for it.
        """
        match name:
            case "connection.connect_tcp.started" | "connection.connect_unix_socket.started":
                # Waiting for a turn is ours, not the server's: a slow one would otherwise look like a dead one.
                remaining_s = self.scope.deadline - trio.current_time()
                self.scope.deadline = math.inf
                await self.connect_ramp.begin(self)
                self.since_s = trio.current_time()
                self.scope.deadline = self.since_s + remaining_s
                self.attempt.deadline = self.since_s + self.patience_s
            case "connection.connect_tcp.complete":
                self.attempt.deadline = math.inf
                self.is_connected = True
            case "http11.send_request_headers.started":
                if self.sender is not None:
                    self.sender.may_send()
                    self.sender.note_sending()
                self.has_begun = True
            case "http11.receive_response_headers.complete":
                self.connect_ramp.note_answered(self)
            case _:
                pass
