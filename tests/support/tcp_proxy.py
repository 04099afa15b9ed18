"""A bad network in front of a TCP server: cut, frozen, slow, or losing single answers. For tests of Redis' outages.

Always holds: nothing is made up and nothing reordered; what is held back while frozen arrives late, as what a kernel
sends again when a network is back; a lost answer is that of a request which the server has executed.
"""

import contextlib
import socket
import threading
from typing import Self

import attrs

from tests.support.ports import free_port
from tests.support.receiver import Doors, shut

_PIECE_BYTES = 65536
_HELD_S = 60.0


@attrs.frozen
class Loss:
    """The answer to the next request that contains `request` is lost, if it contains `answer`; with its connection."""

    request: bytes
    answer: bytes = b""


@attrs.define(eq=False)
class Hold:
    """The next request that contains `request` is held back until `release` is set; `reached` is set when it is.

    `executed`: it is passed on, and its answer is held back instead.
    """

    request: bytes
    executed: bool = False
    reached: threading.Event = attrs.field(factory=threading.Event)
    release: threading.Event = attrs.field(factory=threading.Event)

    def wait(self) -> None:
        self.reached.set()
        self.release.wait(_HELD_S)


@attrs.define(eq=False)
class _Pair:
    """One client's connection and ours to the server. `loss` and `hold` are waiting for their answer."""

    client: socket.socket
    server: socket.socket
    loss: Loss | None = None
    hold: Hold | None = None

    def end(self) -> None:
        shut(self.client)
        shut(self.server)


@attrs.define(eq=False)
class TcpProxy:
    """Stands in front of 127.0.0.1:`upstream_port` while its `with` block runs; `port` stays the same all the time.

    `losses` and `holds` are used up one by one, each as soon as one fits; `delay_s` is waited before each piece is
    passed on.
    """

    upstream_port: int
    port: int = attrs.field(factory=free_port)
    losses: list[Loss] = attrs.field(factory=list)
    holds: list[Hold] = attrs.field(factory=list)
    delay_s: float = 0.0
    _flowing: threading.Event = attrs.field(factory=threading.Event)
    _doors: Doors = attrs.field(init=False)
    _pairs: set[_Pair] = attrs.field(factory=set)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self._doors = Doors(self._serve)

    def __enter__(self) -> Self:
        self._flowing.set()
        self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        self.cut()
        self._doors.join()

    def cut(self) -> None:
        """Ends every connection; new ones are refused."""
        self._doors.end(self._end_pairs)

    def _end_pairs(self) -> None:
        for pair in list(self._pairs):
            pair.end()

    def mend(self) -> None:
        """Lets connections through again."""
        self._doors.open(self.port)

    def freeze(self) -> None:
        """Goes on accepting, and passes nothing on in either direction."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Passes on what was held back, and all that follows."""
        self._flowing.set()

    def _serve(self, client: socket.socket, gone: threading.Event) -> None:
        with socket.create_connection(("127.0.0.1", self.upstream_port)) as server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(client, server)
            self._pairs.add(pair)
            if gone.is_set():  # cut while this one was connecting
                pair.end()
            answers = threading.Thread(target=self._pass_answers, args=(pair,), daemon=True)
            answers.start()
            self._pass_requests(pair)
            answers.join()
            self._pairs.discard(pair)

    def _pass_requests(self, pair: _Pair) -> None:
        with contextlib.suppress(OSError):
            while request := pair.client.recv(_PIECE_BYTES):
                self._hold()
                pair.loss = pair.loss or self._loss_for(request)
                self._hold_request(pair, request)
                pair.server.sendall(request)
        pair.end()

    def _pass_answers(self, pair: _Pair) -> None:
        with contextlib.suppress(OSError):
            while answer := pair.server.recv(_PIECE_BYTES):
                self._hold()
                if self._is_lost(pair, answer):
                    break
                hold, pair.hold = pair.hold, None
                if hold is not None:
                    hold.wait()
                pair.client.sendall(answer)
        pair.end()

    def _hold(self) -> None:
        self._flowing.wait(_HELD_S)
        if self.delay_s:
            threading.Event().wait(self.delay_s)

    def _hold_request(self, pair: _Pair, request: bytes) -> None:
        with self._lock:
            hold = next((hold for hold in self.holds if hold.request in request), None)
            if hold is None:
                return
            self.holds.remove(hold)
        if hold.executed:
            pair.hold = hold
        else:
            hold.wait()

    def _loss_for(self, request: bytes) -> Loss | None:
        return next((loss for loss in list(self.losses) if loss.request in request), None)

    def _is_lost(self, pair: _Pair, answer: bytes) -> bool:
        loss, pair.loss = pair.loss, None
        # After NOSCRIPT the client sends the request again: nothing was executed yet.
        if loss is None or loss.answer not in answer or answer.startswith(b"-NOSCRIPT"):
            # Then it loads the script with the same request, and that answer may come ahead on its own.
            pair.loss = loss if answer.startswith(b"$40\r\n") else None
            return False
        with self._lock:
            if loss not in self.losses:
                return False
            self.losses.remove(loss)
        return True
