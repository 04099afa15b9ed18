"""The lean HTTP/1.1 client of one target: a pool of kept-alive connections, each with one request at a time.

`client` opens it unless the configuration names another engine. Always holds: no redirect is followed, no proxy of the
environment is used, no cookie is kept, no content coding is requested, nothing is pipelined; a failure says exactly
whether the server can have seen any of the request; and a connection with any irregularity is closed.

httpx's pool costs 0.9 to 3 ms of CPU for a request (measured at 50 connections); this costs 14 to 15 µs, over TLS not
quite twice as much, where a bare loop over sockets and the same parser costs 11 to 12 (measured at 20 connections).
"""

import ssl
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import trio

from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.transport.answer import AnswerReader, MalformedAnswer
from restbroker.transport.coding import decode
from restbroker.transport.connect_ramp import ConnectRamp, RampClosed, connections_for
from restbroker.transport.dial import dial
from restbroker.transport.errors import MaybeSent, NotSent, Withdrawn, reason_of
from restbroker.transport.head import Heads
from restbroker.transport.idle import Connection, Idle, PartialExchange
from restbroker.transport.message import Request, Response, Sender
from restbroker.transport.tls import refuses_certificate
from restbroker.transport.upkeep import Readiness, Upkeep
from restbroker.transport.wire import PlainWire, Wire

_BROKEN: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, MalformedAnswer)

_FEW: Final = 8
"""Up to this many connections each listens for itself: for one, a task beside it costs 13 µs a job; for 8, nothing."""


class _StaleConnection(Exception):
    """A used connection ended before any byte of an answer. `has_sent`: a part of the request was sent over it."""

    def __init__(self, *, has_sent: bool, why: str) -> None:
        super().__init__(why)
        self.has_sent = has_sent
        self.why = why


class LeanClient:
    """The `Transport` of one target over its own pool of connections."""

    def __init__(self, target: Target, tls: ssl.SSLContext, shared: Upkeep | None = None) -> None:
        self._target = target
        self._secrets = target.all_secrets
        self._tls = tls
        self._heads = Heads(target)
        self._places = trio.Semaphore(connections_for(target))
        self._idle = Idle()
        self._ramp = ConnectRamp(self._idle.put)
        self._is_alone = shared is None
        self._upkeep = shared or Upkeep()
        self._deadlines = self._upkeep.deadlines
        self.readiness = Readiness()
        """What new connections are watched by; one that no task runs lets each listen for itself."""
        self._now_s: Callable[[], float] = trio.current_time
        self._is_plain = target.url.scheme == "http"
        self._lends = False
        self._closed = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep deadlines and close spent connections while it runs, as `Transport.run` promises."""
        # What `trio.current_time` reads, at a third of its price: each request asks twice.
        self._now_s = trio.lowlevel.current_clock().current_time
        if self._lends or connections_for(self._target) > _FEW:
            self.readiness = self._upkeep.readiness
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._idle.run)
            if self._is_alone:
                await nursery.start(self._upkeep.run)
            task_status.started()

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        """Send one request and return its whole answer, as `Transport.send` promises.

        Over connections that turn out to be stale, the request is sent again as long as that does no harm.
        """
        message = self._heads.message(request)
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            await self._enter(request.timeout_s)
        try:
            now_s = self._now_s()
            connection = self._idle.take(now_s)
            if connection is None:
                connection = await self._take(sender)
                now_s = trio.current_time()
            due_s = now_s + request.timeout_s
            try:
                return await self._exchange_in_time(connection, message, request, due_s, sender)
            except _StaleConnection as stale:
                return await self._again(message, request, due_s, stale, sender)
        finally:
            self._places.release()

    def expect_borrower(self) -> None:
        """Have `run`, when it is called, listen for all connections, however few, so that `lend` may be used."""
        self._lends = True

    def head_of(self, request: Request) -> bytes:
        """Return the head of this request's message, but for the length of its body; raise `NotSent` as `send` does."""
        return self._heads.head(request)

    def message_of(self, request: Request) -> bytes:
        """Return the bytes of this request; raise `NotSent` as `send` does."""
        return self._heads.message(request)

    def lend(self, now_s: float) -> Connection | None:
        """Return an idle connection that is fit for use, for an exchange by events; None if there is none now.

        The borrower sends one request over its plain wire, after `watch`; then `take_back` or `resume` must follow.
        `now_s` is Trio's time.
        """
        if not (self._is_plain and self.readiness.is_kept and self._deadlines.is_kept):
            return None
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            return None
        connection = self._idle.take(now_s)
        if connection is None:
            self._places.release()
        return connection

    def lend_again(self, connections: Iterable[Connection], now_s: float) -> list[Connection]:
        """Return those lent connections that may carry another request at once; the others must be taken back.

        The answer of each came whole, and nothing came since.
        """
        if self._closed or self._ramp.waiting_count:
            return []
        return [one for one in connections if one.ramp_owner is None and now_s <= one.old_at_s]

    def watch(self, connection: Connection, due_s: float) -> None:
        """Have a lent connection closed once `due_s` (on Trio's clock) has passed, for the request just begun."""
        connection.wire.has_sent = False
        self._deadlines.watch(connection, due_s)

    def take_back(self, connection: Connection, now_s: float, *, fit: bool) -> None:
        """Take a lent connection back; `fit`: its answer came whole, so that it may serve another request."""
        assert isinstance(connection.wire, PlainWire)  # noqa: S101 - no other is lent
        connection.wire.listen(None)
        self._deadlines.forget(connection)
        self._give_back(connection, now_s, fit=fit)
        self._places.release()

    async def resume(self, partial: PartialExchange, request: Request, sender: Sender | None = None) -> Response:
        """Send the rest of a request that was begun over a lent connection, and return the answer, or raise as `send`.

        The request is sent again only where `send` would do that too. When cancelled, the connection is closed.
        """
        try:
            try:
                return await self._exchange_in_time(
                    partial.connection, partial.message, request, partial.due_s, sender, partial=partial
                )
            except _StaleConnection as stale:
                return await self._again(partial.message, request, partial.due_s, stale, sender)
        finally:
            self._places.release()

    async def _again(
        self, message: bytes, request: Request, due_s: float, stale: _StaleConnection, sender: Sender | None
    ) -> Response:
        """Send the message over other connections, as long as these are stale too, and where sending it does no harm.

        `stale` is what happened to the first one. Raise `MaybeSent` if a part was sent and the request is not
        `repeatable`.
        """
        left = False
        while True:
            left = left or stale.has_sent
            if left and not request.repeatable:
                raise MaybeSent(f"The connection broke before a whole answer came: {stale.why}.") from stale
            try:
                connection = await self._take_until(due_s, request, sender)
                return await self._exchange_in_time(connection, message, request, due_s, sender)
            except _StaleConnection as another:
                stale = another
            except Withdrawn as error:
                if left:
                    raise MaybeSent(f"The connection broke before a whole answer came: {stale.why}.") from error
                raise
            except NotSent as error:
                if left:
                    why = f"The connection broke before a whole answer came: {stale.why}; then: {error.message}"
                    raise MaybeSent(why, timed_out=error.timed_out) from error
                raise

    async def keep_none(self) -> None:
        """Close the idle connections and keep none from now on, as `Transport.keep_none` promises."""
        self._idle.close()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close the idle connections now and those in use after their exchange; waiting sends raise `NotSent`."""
        self._closed = True
        self._idle.close()
        self._ramp.close()
        await trio.lowlevel.checkpoint()

    async def _enter(self, timeout_s: float) -> None:
        with trio.move_on_after(timeout_s):
            await self._places.acquire()
            return
        raise NotSent(f"Every connection to {self._target.url} was busy for {duration_text(timeout_s)}.") from None

    async def _take(self, sender: Sender | None) -> Connection:
        """Return an idle connection, or a new one when it may connect, whichever comes first.

        Tasks are served in the order in which they came. Raise `NotSent` if the client is closed or no connection comes
        about.
        """
        if (connection := self._idle.take(trio.current_time())) is not None:
            return connection
        owner, again = object(), False
        try:
            while (connection := await self._ramp.acquire(owner, again=again)) is not None:
                if connection.wire.is_quiet():
                    return connection
                connection.wire.close()
                again = True
                # What was given back meanwhile rests, since no one was in line.
                if (connection := self._idle.take(trio.current_time())) is not None:
                    return connection
        except RampClosed:
            raise NotSent(f"The connections to {self._target.url} are closed.") from None
        if sender is not None:
            try:
                sender.may_send()
            except BaseException:
                self._ramp.release(owner)
                raise
        return await self._open(owner)

    async def _take_until(self, due_s: float, request: Request, sender: Sender | None) -> Connection:
        """Return a connection as `_take` does; raise `NotSent` too if `due_s` has passed by then."""
        connection = await self._take(sender)
        now_s = trio.current_time()
        if now_s < due_s:
            return connection
        self._give_back(connection, now_s, fit=False)
        raise NotSent(f"Nothing could be sent within {duration_text(request.timeout_s)}.", timed_out=True)

    async def _open(self, owner: object) -> Connection:
        try:
            wire = await dial(self._target, self._tls, self._target.connect_timeout_s, self.readiness)
        except BaseException:
            self._ramp.end(owner)
            raise
        return Connection(wire, trio.current_time() + self._target.max_connection_age_s, owner)

    def _exchange_in_time(
        self,
        connection: Connection,
        message: bytes,
        request: Request,
        due_s: float,
        sender: Sender | None,
        *,
        partial: PartialExchange | None = None,
    ) -> Coroutine[Any, Any, Response]:
        """Return one exchange, to be awaited at once, that ends at its deadline; `partial`: how far it is already.

        The one task for all deadlines keeps it, or, where that does not run, a cancel scope of its own.
        """
        exchange = self._exchange if self._deadlines.is_kept else self._exchange_in_scope
        return exchange(connection, message, request, due_s, sender, partial=partial)

    async def _exchange_in_scope(
        self,
        connection: Connection,
        message: bytes,
        request: Request,
        due_s: float,
        sender: Sender | None,
        partial: PartialExchange | None,
    ) -> Response:
        with trio.CancelScope(deadline=due_s):
            return await self._exchange(connection, message, request, due_s, sender, partial=partial)
        raise _too_late(connection, request)

    async def _exchange(
        self,
        connection: Connection,
        message: bytes,
        request: Request,
        due_s: float,
        sender: Sender | None,
        partial: PartialExchange | None,
    ) -> Response:
        reader, wire, data = connection.reader, connection.wire, b""
        reader.begin(request.body_limit_bytes, is_head=request.method == "HEAD")
        fit = False
        if partial is None:
            # Kept for others, should the request not leave after all.
            wire.has_sent, fit = False, connection.is_used
            if self._deadlines.is_kept:
                self._deadlines.watch(connection, due_s)
        try:
            # Sending does not wait, so that nothing else keeps a cancelled caller's request back.
            await trio.lowlevel.checkpoint_if_cancelled()
            if partial is not None:
                message, data = partial.rest, partial.received
            elif sender is not None:
                sender.may_send()
                sender.note_sending()
            fit = False
            went = await _send(wire, message)
            if not (data and reader.feed(data)):
                if partial is not None and partial.error is not None:
                    raise partial.error
                while not (reader.feed(data) if (data := await wire.receive()) else _is_whole_at_end(reader)):
                    pass
            fit = went and reader.keep
        except _BROKEN as error:
            raise self._failure(connection, request, error) from error
        finally:
            self._deadlines.forget(connection)
            now_s = self._now_s()
            self._give_back(connection, now_s, fit=fit)
        if sender is not None and not 200 <= reader.status < 300:
            sender.note_refused()
        duration_s = now_s - (due_s - request.timeout_s)
        said = request.headers + request.query
        body, cut = decode(reader.coding_names, reader.body, request.body_limit_bytes, cut=reader.body_cut)
        return Response(reader.status, reader.headers, body, duration_s, cut, said, self._secrets)

    def _give_back(self, connection: Connection, now_s: float, *, fit: bool) -> None:
        owner, connection.ramp_owner = connection.ramp_owner, None
        has_begun = connection.reader.has_begun
        if not fit or self._closed or now_s > connection.old_at_s:
            connection.wire.close()
        else:
            connection.note_idle(now_s, self._target.idle_expiry_s)
            # Before there is room for one more: who is first in line takes what is there already.
            self._ramp.give(connection)
        if owner is not None:
            (self._ramp.note_answered if has_begun else self._ramp.end)(owner)

    def _failure(self, connection: Connection, request: Request, error: Exception) -> Exception:
        why = reason_of(error)
        if connection.is_late:
            return _too_late(connection, request)
        if connection.is_used and not connection.reader.has_begun:
            return _StaleConnection(has_sent=connection.wire.has_sent, why=why)
        if not connection.reader.has_begun and refuses_certificate(error):
            return NotSent(f"TLS with {self._target.url} failed: {why}.", tls=True)
        if connection.wire.has_sent:
            return MaybeSent(f"The connection broke before a whole answer came: {why}.")
        return NotSent(f"No connection to {self._target.url}: {why}.")


async def _send(wire: Wire, message: bytes) -> bool:
    """Send the message; return False if the server closed before it had everything, or raise if none of it left.

    The server may have answered all the same, which is read then.
    """
    try:
        if message:
            await wire.send_all(message)
    except (OSError, trio.BrokenResourceError):
        if not wire.has_sent:
            raise
        return False
    return True


def _is_whole_at_end(reader: AnswerReader) -> bool:
    """Return True if the answer is whole now that the connection has ended; raise `MalformedAnswer` if it is not."""
    if reader.end():
        return True
    raise MalformedAnswer("it ended early" if reader.has_begun else "the server closed it")


def _too_late(connection: Connection, request: Request) -> MaybeSent | NotSent:
    if connection.wire.has_sent:
        return MaybeSent(f"No whole answer within {duration_text(request.timeout_s)}.", timed_out=True)
    return NotSent(f"Nothing could be sent within {duration_text(request.timeout_s)}.", timed_out=True)
