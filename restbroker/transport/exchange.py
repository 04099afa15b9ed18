"""One request on its way to a server, without a task of its own: its sink is called with what comes of it.

`Service.start` makes an exchange. It takes an idle connection or waits for one, sends, reads the answer, and ends:
    CONNECTING  it waits for a connection, in a task of the client's, which asks `may_send` before it connects; or it
                has one of those just answered, and waits for the others that are started in the same step
    SENDING     `may_send`, `start_sending` and the first bytes: one step. A task sends the rest of a large message. It
                stays so if the server closes before it has all of it: it may have answered all the same
    RECEIVING   all was sent; the listener's task passes on what comes, or the task of deadlines that it is late. If
                there is no room for an answer that names its length, it waits for that and its wire is not read; one
                without a length is cut
    OVER        the sink was called, or `cancel` was
Over a used connection that ends before any byte of an answer, it begins anew, where sending again does no harm.

Always holds: the sink is called with one end, once: `answered`, `failed` or `abandoned`, unless `cancel` comes first; a
failure says exactly whether the server can have seen any of the request; what the sink raises costs this exchange
alone. An answer that breaks off or is late for want of room is a cut one, and no failure; what it holds of the room
it gives back at its end, whichever that is.
"""

from collections import deque
from collections.abc import Callable, Collection
from enum import Enum
from functools import partial
from typing import Final, Protocol

import trio

from restbroker.config.secret import Secret
from restbroker.config.values import duration_text
from restbroker.light import define, field
from restbroker.transport.http1 import LONGEST_BYTES, AnswerReader, Headers, Heads, KnownHeads, MalformedAnswer, Rest
from restbroker.transport.message import MaybeSent, NotSent, Request, Response, Sender, Withdrawn, reason_of
from restbroker.transport.pool import HttpConnection, HttpPool
from restbroker.transport.readiness import Deadlines, Readiness
from restbroker.transport.room import FREE_BYTES, RECEIVED_BYTES, Holding, Share
from restbroker.transport.tls import refuses_certificate
from restbroker.transport.wire import Unwatched


class Sink(Sender, Protocol):
    """What is called at the end of an exchange. No method may wait; an end may come before `start` returns.

    What `answered` raises is passed to `failed`; what `failed` and `abandoned` raise is lost.
    """

    def answered(self, response: Response) -> None:
        """Take the whole answer."""
        ...

    def failed(self, error: Exception) -> None:
        """Take why there is no answer: `NotSent`, `MaybeSent`, or what `may_send` or `start_sending` raised."""
        ...

    def abandoned(self) -> None:
        """Note that the client stops, and that nothing will be known of an answer."""
        ...


class ExchangeState(Enum):
    """How far an exchange is."""

    CONNECTING = 0
    SENDING = 1
    RECEIVING = 2
    OVER = 3


# Access to a member of an enum takes as long as a call in Python 3.11.
_CONNECTING: Final = ExchangeState.CONNECTING
_SENDING: Final = ExchangeState.SENDING
_RECEIVING: Final = ExchangeState.RECEIVING
_OVER: Final = ExchangeState.OVER
_MISSING: Final = Rest.MISSING
_ODD: Final = Rest.ODD


class Exchange:
    """One request, as `message`. `left`: some of it may have left, over any connection; also right once it is over.

    `due_s`: when it is late, on Trio's clock; 0.0 until a connection is there. An attrs class costs 1 µs more.
    """

    state = _CONNECTING
    left = False
    due_s = 0.0
    _connection: HttpConnection | None = None
    _has_place = False
    _has_begun = False
    """Some bytes of the answer came."""
    _data = b""
    """All that came, while it may be a plain answer."""
    _reader: AnswerReader | None = None
    """What reads an answer that is no plain one."""
    _holding: Holding | None = None
    """What a long answer holds of the room, or waits for while its wire pauses."""
    _has_waited = False
    _stale = ""
    """How the last stale connection broke."""
    _scope: trio.CancelScope | None = None
    """That of the task that waits for a connection."""

    message: bytes = b""

    def __init__(self, service: "ExchangeService", request: Request, sink: Sink) -> None:
        self._service = service
        self._request = request
        self._sink = sink
        service.exchanges.add(self)

    def cancel(self) -> None:
        """End it and close its connection; the sink is not called. Do nothing if it is over."""
        if self.state is _OVER:
            return
        if self._connection is not None:
            self._part(fit=False)
            self._end()
        else:
            self.state = _OVER
            self._service.exchanges.discard(self)
            if self._scope is not None:
                self._scope.cancel()

    def abandon(self) -> None:
        """End it as `cancel` does, and call the sink."""
        if self.state is not _OVER:
            self.cancel()
            self._call(self._sink.abandoned)

    def refuse(self, error: Exception) -> None:
        """End it, as its connection is given back or was never there; pass the error to the sink."""
        self._end()
        self._fail(error)

    def send_over(self, connection: HttpConnection | None) -> None:
        """Send the request over this connection, which has a place, or over another one where it is stale.

        Where there is none, wait for one.
        """
        if connection is not None:
            self._has_place = True
        while connection is not None:
            if not self._try_over(connection):
                return
            connection = self._service.pool.take(self._service.now_s(), has_place=True)
        self.state = _CONNECTING
        if self._service.is_over:
            self._end()
            self._call(self._sink.abandoned)
        else:
            self._service.connect(self)

    async def connect(self) -> None:
        """Wait for a connection and go on over it; to be run in a task, which has the place meanwhile."""
        service, connection, problem = self._service, None, None
        pool = service.pool
        try:
            with trio.CancelScope() as self._scope:
                if self.state is not _OVER:
                    if not self._has_place:
                        await pool.enter(self._request.timeout_s)
                        self._has_place = True
                    connection = await pool.connect(self._sink)
        except Exception as error:  # noqa: BLE001 - also whatever the sink raises
            problem = error
        finally:
            self._scope = None
            if connection is None or self.state is _OVER:
                if connection is not None:
                    pool.give_back(connection, service.now_s(), fit=connection.is_used)
                if self._has_place:
                    self._has_place = False
                    pool.leave()
        if self.state is _OVER:
            return
        if problem is not None:
            self.refuse(problem)
        elif connection is not None:
            self.send_over(connection)

    def receive(self, got: bytes | Exception) -> None:
        """Go on with what came: some bytes, none at the end, or what broke the connection."""
        if self.state is _OVER:
            return
        if isinstance(got, Exception):
            self._end_broken(got)
            return
        request = self._request
        try:
            if self._reader is None:
                self._data = data = self._data + got if self._data else got
                if got and request.body_limit_bytes >= LONGEST_BYTES and request.method != "HEAD":
                    answer = self._service.known_heads.read(data)
                    if answer is _MISSING:
                        self._has_begun = True
                        return
                    if answer is not _ODD:
                        self._answer(*answer)
                        return
            reader = self._parse(got)
            if reader is None:
                return
            body, note = reader.decode(request.body_limit_bytes, self._service.share.spare_bytes)
        except Exception as error:  # noqa: BLE001 - `MalformedAnswer`, or a bug that must not end the listener
            self._end_broken(error)
            return
        self._answer(reader.status, reader.headers, body, note, keep=reader.keep)
        self._leave_room()

    def _try_over(self, connection: HttpConnection) -> bool:
        """Send the request over this connection, behind what its wire has to send, and listen for the answer.

        Return True if it is stale and another one may be tried.
        """
        service, sink, wire = self._service, self._sink, connection.wire
        self._connection = connection
        wire.has_sent = False
        if service.is_over:
            # All that runs here was cancelled in this very tick.
            self.abandon()
            return False
        now_s = service.now_s()
        self.due_s = self.due_s or now_s + self._request.timeout_s
        problem: Exception | None = self._too_late() if now_s >= self.due_s else None
        try:
            if problem is None:
                sink.may_send()
                sink.start_sending()
        except Exception as error:  # noqa: BLE001 - whatever the sink raises
            problem = error
        if self.state is _OVER:
            return False
        if problem is not None:
            # Kept for others, as the request did not leave.
            self._part(fit=connection.is_used)
            self.refuse(problem)
            return False
        service.deadlines.watch(connection, self.due_s)
        self.state = _SENDING
        try:
            is_watched = wire.listen(self.receive, service.readiness)
            if wire.begin(self.message):
                self.state = _RECEIVING
            else:
                service.nursery.start_soon(self._send_rest, connection)
        except (OSError, trio.ClosedResourceError) as error:
            if not wire.has_sent:
                return self._is_stale_by(error)
            # The server may have answered all the same, which is read.
        if not is_watched:
            service.nursery.start_soon(wire.attend)
        return False

    async def _send_rest(self, connection: HttpConnection) -> None:
        try:
            await connection.wire.send_rest()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            if self._connection is connection and not connection.wire.has_sent:
                self._end_broken(error)
        else:
            if self._connection is connection:
                self.state = _RECEIVING

    def _parse(self, got: bytes) -> AnswerReader | None:
        """Have a reader parse what came; return it if the answer is whole, or raise `MalformedAnswer`."""
        reader = self._reader
        if reader is None:
            request = self._request
            limit_bytes = min(request.body_limit_bytes, RECEIVED_BYTES)
            reader = self._reader = AnswerReader(limit_bytes, is_head=request.method == "HEAD")
            data, self._data = self._data, b""
        else:
            data = got
        if data:
            self._has_begun = True
            if reader.feed(data):
                return reader
        if got:
            if self._has_room(reader):
                return None
            reader.cut()
            return reader
        if reader.end():
            return reader
        raise MalformedAnswer("it ended early" if self._has_begun else "the server closed it")

    def _has_room(self, reader: AnswerReader) -> bool:
        """Take what a long answer needs to be read on, or wait for that; return False if it is to be cut here."""
        length, holding = reader.length if reader.in_body else 0, self._holding
        if max(length, reader.size_bytes) <= FREE_BYTES:
            return True
        if holding is None:
            holding = self._holding = Holding(self._service.share)
        if not length:
            return holding.take_steps(reader.size_bytes)
        size = min(length, self._request.body_limit_bytes, RECEIVED_BYTES)
        if not (holding.held_bytes or holding.take(size)) and self._connection is not None:
            self._has_waited = True
            self._connection.wire.pause()
            holding.stand_in_line(size, self._read_on)
        return True

    def _read_on(self) -> None:
        """Read the answer on, now that what it waited for is held."""
        service, connection = self._service, self._connection
        assert connection is not None  # noqa: S101 - an end leaves the line
        try:
            if not connection.wire.listen(self.receive, service.readiness):
                service.nursery.start_soon(connection.wire.attend)
        except trio.ClosedResourceError as error:
            self._end_broken(error)

    def _leave_room(self) -> None:
        """Let go of what came, give back what it holds of the room, and wait for no more."""
        reader, self._reader = self._reader, None
        holding, self._holding = self._holding, None
        if reader is not None:
            reader.forget_body()
        if holding is not None:
            holding.free()

    def _answer(
        self, status: int, headers: Headers, body: bytes, note: str | None = None, *, keep: bool = True
    ) -> None:
        """Tell the sink the answer. The connection waits for the next request, if it may be used again."""
        service, connection, request, sink = self._service, self._connection, self._request, self._sink
        assert connection is not None  # noqa: S101 - it came over this one
        duration_s = service.now_s() - (self.due_s - request.timeout_s)
        self._has_begun, fit = True, keep and self.state is _RECEIVING
        if fit and service.readiness.is_calling and connection.ramp_owner is None:
            self.left, self.state, self._connection = True, _OVER, None
            service.exchanges.discard(self)
            # It stays ready, until all that came at this time was read.
            connection.is_used = True
            if not (service.resting or service.calls):
                service.readiness.afterwards.append(service.resume)
            service.resting.append(connection)
        else:
            self._part(fit=fit)
            self._end()
        said = request.headers + request.query
        try:
            if not 200 <= status < 300:
                sink.clear_sending()
            sink.answered(Response(status, headers, body, duration_s, note, said, service.secrets))
        except Exception as error:  # noqa: BLE001 - a bug of the sink must not end the listener
            self._call(sink.failed, error)

    def _end_broken(self, error: Exception) -> None:
        reader, lacks_memory = self._reader, isinstance(error, MemoryError)
        if isinstance(error, Unwatched):
            self.abandon()
        elif reader is not None and reader.in_body and (self._has_waited or lacks_memory):
            if lacks_memory:
                reader.forget_body()
            reader.cut()
            body, note = reader.decode(FREE_BYTES, FREE_BYTES)
            self._answer(reader.status, reader.headers, body, note, keep=False)
        elif self._is_stale_by(error):
            self.send_over(self._service.pool.take(self._service.now_s(), has_place=True))

    def _is_stale_by(self, error: Exception) -> bool:
        """Part with a connection that broke; return True if another one may be tried, else call the sink."""
        connection, left = self._connection, self.left
        assert connection is not None  # noqa: S101 - it broke
        self._part(fit=False)
        has_sent, why = connection.wire.has_sent, reason_of(error)
        broke = f"The connection broke before a whole answer came: {why}."
        problem: Exception
        if isinstance(error, MemoryError):
            problem = error
        elif connection.is_late:
            problem = self._too_late(has_sent=has_sent)
        elif connection.is_used and not self._has_begun:
            self._stale = why
            if not self.left or self._request.repeatable:
                self._data, self._reader = b"", None
                return True
            problem = MaybeSent(broke)
        elif not self._has_begun and refuses_certificate(error):
            # It did not read what was sent.
            self.left = left
            problem = NotSent(f"TLS with {self._service.pool.target.url} failed: {why}.", tls=True)
        elif has_sent:
            problem = MaybeSent(broke)
        else:
            problem = NotSent(f"No connection to {self._service.pool.target.url}: {why}.")
        self.refuse(problem)
        return False

    def _too_late(self, *, has_sent: bool = False) -> NotSent | MaybeSent:
        within = duration_text(self._request.timeout_s)
        if has_sent:
            return MaybeSent(f"No whole answer within {within}.", timed_out=True)
        return NotSent(f"Nothing could be sent within {within}.", timed_out=True)

    def _fail(self, error: Exception) -> None:
        """Tell the sink the error; what left over an earlier connection may have run all the same."""
        if self.left and isinstance(error, NotSent | Withdrawn):
            why = f"The connection broke before a whole answer came: {self._stale}"
            if isinstance(error, NotSent):
                error = MaybeSent(f"{why}; then: {error.message}", timed_out=error.timed_out)
            else:
                error = MaybeSent(f"{why}.")
        self._call(self._sink.failed, error)

    def _call(self, say: Callable[..., None], *what: Exception) -> None:
        self._service.call(partial(say, *what))

    def _part(self, *, fit: bool) -> None:
        """Give the connection back, but keep its place."""
        service, connection = self._service, self._connection
        assert connection is not None  # noqa: S101 - asked by the callers
        self._connection = None
        self.left = self.left or connection.wire.has_sent
        service.deadlines.due.pop(connection, None)
        service.pool.give_back(connection, service.now_s(), fit=fit)

    def _end(self) -> None:
        """End it, and give its place back, and what it holds of the room."""
        self.state = _OVER
        self._leave_room()
        self._service.exchanges.discard(self)
        if self._has_place:
            self._has_place = False
            self._service.pool.leave()


@define(eq=False)
class ExchangeService:
    """What serves the exchanges of one client for a time: a nursery for their tasks, a listener, and deadlines.

    It must be closed before its nursery. `now_s` is Trio's clock.
    """

    pool: HttpPool
    heads: Heads
    known_heads: KnownHeads
    secrets: tuple[Secret, ...]
    nursery: trio.Nursery
    readiness: Readiness
    deadlines: Deadlines
    share: Share
    """What its target may take of the room."""
    on_bug: Callable[[Exception], None]
    exchanges: set[Exchange] = field(factory=set)
    is_over: bool = False
    # What `trio.current_time` reads, at a third of its price: each request asks twice.
    now_s: Callable[[], float] = field(factory=lambda: trio.lowlevel.current_clock().current_time)
    resting: list[HttpConnection] = field(factory=list)
    """Those of the requests answered in this batch, each with its place."""
    calls: list[Callable[[], None]] = field(factory=list)
    """What `call_soon` is to call."""
    _line: deque[Exchange] = field(factory=deque)
    _spare: list[HttpConnection] = field(factory=list)
    """Those of `resting` that are known to be quiet, while `calls` are called."""
    _together: list[tuple[Exchange, HttpConnection]] = field(factory=list)
    """What was started meanwhile, each with one of these connections."""

    def start(self, request: Request, sink: Sink, message: bytes | None = None) -> Exchange:
        """Send one request, without a task, as `Transport.send` promises; once it is over, abandon it at once.

        `sink` is called at the end, maybe before this returns. `message`: the bytes of the request, if the caller has
        them. Over connections that turn out to be stale, it is sent again as long as that does no harm.
        """
        exchange = Exchange(self, request, sink)
        try:
            exchange.message = message or self.heads.message(request)
        except NotSent as error:
            exchange.refuse(error)
        else:
            if self._spare:
                self._together.append((exchange, self._spare.pop()))
            else:
                exchange.send_over(self._take())
        return exchange

    def close(self) -> None:
        """Abandon the exchanges under way, and each that begins later."""
        self.is_over = True
        for exchange in tuple(self.exchanges):
            exchange.abandon()

    def connect(self, exchange: Exchange) -> None:
        """Have a task wait for a connection for this exchange, behind those that came before."""
        self._line.append(exchange)
        self.nursery.start_soon(self._connect_first)

    async def _connect_first(self) -> None:
        # Trio begins tasks in any order.
        await self._line.popleft().connect()

    def call_soon(self, call: Callable[[], None]) -> None:
        """Call `call` once all that came at this time was read; at once if nothing is being read.

        What is started in it goes over the connections of those just answered, as cheaply as can be. `on_bug` gets what
        it raises.
        """
        if not self.readiness.is_calling:
            self.call(call)
            return
        if not (self.resting or self.calls):
            self.readiness.afterwards.append(self.resume)
        self.calls.append(call)

    def call(self, call: Callable[[], None]) -> None:
        """Call `call`, whose bug must not end the task that listens."""
        try:
            call()
        except Exception as bug:  # noqa: BLE001
            self.on_bug(bug)

    def resume(self, not_quiet: Collection[object]) -> None:
        """Have the next requests sent over the connections of those answered; `not_quiet`: where something came since.

        That may be a message of TLS itself, which the wire takes in. What the calls start leaves together, after the
        last call: a server that gets one request at a time, and sleeps in between, has to be woken by each, which costs
        us a third of what a request costs the kernel (measured).
        """
        now_s, has_line = self.now_s(), self.pool.has_line
        resting, self.resting = self.resting, []
        calls, self.calls = self.calls, []
        for idle in resting:
            if has_line or now_s > idle.old_at_s or (idle.wire in not_quiet and not idle.wire.is_quiet()):
                self._put_down(idle)
            else:
                self._spare.append(idle)
        for call in calls:
            self.call(call)
        while self._together:
            together, self._together = self._together, []
            for exchange, connection in together:
                if exchange.state is _OVER:
                    self._put_down(connection)
                    continue
                try:
                    exchange.send_over(connection)
                except Exception as error:  # noqa: BLE001 - a bug costs this exchange alone
                    exchange.receive(error)
        while self._spare:
            self._put_down(self._spare.pop())

    def _take(self) -> HttpConnection | None:
        """Return a connection that is fit for use, with its place; None if there is none now."""
        now_s = self.now_s()
        if self.resting:
            connection = self.resting.pop()
            if not self.pool.has_line and now_s <= connection.old_at_s and connection.wire.is_quiet():
                return connection
            self._put_down(connection)
        return self.pool.take(now_s, has_place=False)

    def _put_down(self, connection: HttpConnection) -> None:
        """Give a connection and its place back."""
        self.deadlines.due.pop(connection, None)
        self.pool.give_back(connection, self.now_s(), fit=True, leaves=True)
