"""Our own client of Redis' protocol: sockets, RESP2 and time-outs. It knows nothing of the data.

Used by `client` and `sentinel`. Each operation that waits is written once, as a generator of steps (`Wait`, `Lookup`):
`run_blocking` takes them in the calling thread, `connection.on_trio` on Trio's loop. Always holds: nothing is sent
twice, and only `connect` connects. A link must be closed after an exchange that failed, since an answer left unread
would be taken for the next one's.
"""

import math
import os
import select
import socket
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

import hiredis

from restbroker.light import define
from restbroker.store.failures import ErrorReply
from restbroker.store.settings import Endpoint, Tls

if TYPE_CHECKING:  # costs a tenth of a quick command, and few need it
    import ssl

_PIECE_BYTES: Final = 65536
_PIECES: Final = 4
"""Pieces that are read in one go: an answer of a hundred large jobs would hold Trio's loop until all of it has come."""
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
"""Seconds, seconds, and a number of probes: while waiting for a server that is gone, the client notices that."""
_INCOMPLETE: Final = object()

LONGEST_ANSWER_S = 30.0
"""Seconds that answers may take in all, however steadily they drip: nothing else ends the call before that."""

T = TypeVar("T")
# Why: docs/design.md#redis-client
Argument: TypeAlias = bytes | str | int | float
Reply: TypeAlias = int | bytes | None | list["Reply"]
"""An answer in RESP2: numbers, bytes, nil, lists of these."""
Commands: TypeAlias = Sequence[Sequence[Argument]]
Replies: TypeAlias = list[Reply | ErrorReply]


@define(eq=False)
class Wait:
    """A step that waits to read a socket, or to write it if `for_writing`, for `timeout_s` seconds.

    After that, `TimeoutError` is thrown into the generator. `is_cancellable`: no command whose answer matters was sent.
    """

    socket: socket.socket
    timeout_s: float
    for_writing: bool = False
    is_cancellable: bool = False

    def remaining_s(self, spent_s: float) -> float:
        """Return how many seconds it may take after earlier steps took `spent_s`; 0 or less: it is overdue."""
        return min(self.timeout_s, LONGEST_ANSWER_S - spent_s)


@define(eq=False)
class Lookup:
    """A step that blocks, and changes nothing: to look up a name, to read certificates. Its result is sent back."""

    function: Callable[[], Any]


Steps: TypeAlias = Generator[Wait | Lookup, Any, T]


def run_blocking(steps: Steps[T]) -> T:
    """Take these steps in this thread, blocking; return their result or raise their error."""
    began_s = time.monotonic()
    try:
        step = next(steps)
        while True:
            try:
                result = _take(step, began_s)
            except BaseException as error:  # noqa: BLE001 - also a KeyboardInterrupt ends them
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        steps.close()


def _take(step: Wait | Lookup, began_s: float) -> Any:  # noqa: ANN401 - as the step has it
    if isinstance(step, Lookup):
        return step.function()
    poll = select.poll()
    poll.register(step.socket, select.POLLOUT if step.for_writing else select.POLLIN)
    remaining_s = step.remaining_s(time.monotonic() - began_s)
    if remaining_s <= 0 or not poll.poll(remaining_s * 1000):
        raise TimeoutError
    return None


class RedisLink:
    """An open connection to Redis. It raises `OSError`, also `TimeoutError`, and must be closed after any error."""

    def __init__(self, connected: socket.socket, address: str, timeout_s: float, unready: "Unready") -> None:
        self.socket = connected
        """What to watch for an answer."""
        # Also where a client is dropped as it is.
        self._closing = weakref.finalize(self, _close, connected)
        self._closing.atexit = False
        self._address = address
        self._unready = unready
        self.expected = 0
        """How many answers are to come, including those that came."""
        self.received_bytes = 0
        """How many bytes came of them."""
        self._replies: Replies = []
        self._reader = hiredis.Reader(protocolError=ErrorReply, replyError=ErrorReply, notEnoughData=_INCOMPLETE)
        self._buffer = bytearray(_PIECE_BYTES)
        self.timeout_s = timeout_s
        """Seconds that an answer, or more of it, may take."""

    def exchange(self, commands: Commands, *, is_cancellable: bool = False) -> Steps[Replies]:
        """Send commands in one go, and return their answers."""
        if not commands:
            return []
        message = pack(commands)
        # Before anything is sent: whatever interrupts it, an answer that may come is known of.
        self.expected = len(commands)
        sent = self._send(message)
        if sent < len(message):
            rest = memoryview(message)
            while rest := rest[sent:]:
                yield Wait(self.socket, self.timeout_s, for_writing=True, is_cancellable=is_cancellable)
                sent = self._send(rest)
        wait = Wait(self.socket, self.timeout_s, is_cancellable=is_cancellable)
        yield wait
        while (replies := self.receive()) is None:
            yield wait
        return replies

    def ask(self, commands: Commands, most_bytes: float = math.inf) -> bool:
        """Send commands without waiting for their answers, which `receive` returns. Nothing else may be sent meanwhile.

        Return False, and send nothing, if they are longer than `most_bytes`. Never blocks, since they are short, and
        what was sent before has been answered.
        """
        message = pack(commands)
        if len(message) > most_bytes:
            return False
        self.expected = len(commands)
        if self._send(message) < len(message):
            raise TimeoutError
        return True

    def receive(self) -> Replies | None:
        """Read what is there, at most 256 KiB; return all replies, in their order, with the last of them, else None.

        Raise `TimeoutError`, `ConnectionError` if the connection has ended, or `ErrorReply` if the bytes are no RESP.
        """
        for _ in range(_PIECES):
            try:
                count = self.socket.recv_into(self._buffer)
            except self._unready:
                return None
            except TimeoutError:
                raise
            except OSError as error:
                raise ConnectionError(f"Error while reading from {self._address} : {error.args}") from error
            if not count:
                raise ConnectionError("Connection closed by server.")
            self.received_bytes += count
            self._reader.feed(self._buffer, 0, count)  # type: ignore[arg-type]  # it takes any buffer
            while len(self._replies) < self.expected and (reply := self._reader.gets()) is not _INCOMPLETE:
                self._replies.append(reply)
            if len(self._replies) == self.expected:
                replies, self._replies, self.expected, self.received_bytes = self._replies, [], 0, 0
                return replies
        return None

    def has_ended(self) -> bool:
        """Tell whether it ended while no answer was due; also if there is anything to read, which is no answer then."""
        if self._reader.has_data():
            return True
        try:
            self.socket.recv_into(self._buffer, 1)
        except self._unready:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """Close the connection, for the other side at once, even if a forked process has it as well."""
        self._closing()

    def _send(self, message: bytes | memoryview) -> int:
        try:
            return self.socket.send(message)
        except self._unready:
            return 0
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionError(f"Error {_number(error)} while writing to socket. {_text(error)}.") from error


def _close(connected: socket.socket) -> None:
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
    connected.close()


Unready: TypeAlias = tuple[type[OSError], ...]
"""The errors that a socket raises instead of waiting."""


def connect(endpoint: Endpoint) -> Steps[RedisLink]:
    """Connect, log in, and choose the database. Can be cancelled.

    A login that is refused is tried once more if the password's file holds another one by now. Raise `OSError`, or
    `ErrorReply` if the server refuses one of these.
    """
    used = endpoint.last_password
    try:
        return (yield from _connect_once(endpoint))
    except ErrorReply as error:
        if endpoint.password is None or not error.is_login:
            raise
        if not (yield Lookup(partial(endpoint.password.is_other_than, used))):
            raise
    return (yield from _connect_once(endpoint))


def _connect_once(endpoint: Endpoint) -> Steps[RedisLink]:
    try:
        connected = yield from (_to_address(endpoint) if endpoint.path is None else _to_path(endpoint, endpoint.path))
        unready: Unready = (BlockingIOError,)
        if endpoint.tls is not None:
            connected, unready = yield from _secure(connected, endpoint, endpoint.tls)
    except TimeoutError:
        raise
    except OSError as error:
        text = f"Error {_number(error)} connecting to {endpoint.address}."
        raise ConnectionError(f"{text} {_text(error)}." if len(error.args) > 1 else text) from error
    link = RedisLink(connected, endpoint.address, endpoint.timeout_s, unready)
    yield from answers(link, endpoint.greeting)
    return link


def answers(link: RedisLink, commands: Commands) -> Steps[list[Reply]]:
    """Return the answers to commands that change nothing. Can be cancelled.

    Raise `OSError`, or the first `ErrorReply`; the link is closed then. `CLIENT`, which names a connection, may be
    refused: some proxies do not know it.
    """
    try:
        replies = yield from link.exchange(commands, is_cancellable=True)
    except BaseException:
        link.close()
        raise
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, ErrorReply) and (command[0] != "CLIENT" or reply.is_away):
            link.close()
            raise reply
    return cast("list[Reply]", replies)


def pack(commands: Commands) -> bytes:
    """Return commands as the bytes that are sent."""
    # hiredis 3.5 types its argument as a tuple of exactly one word.
    return b"".join(map(hiredis.pack_command, map(tuple, commands)))  # type: ignore[arg-type]


def _to_address(endpoint: Endpoint) -> Steps[socket.socket]:
    """Connect to the first of a host's addresses that accepts; raise the last `OSError` if none does."""
    problem = OSError("The name has no address")
    for family, kind, protocol, _, address in (yield from _addresses(endpoint.host, endpoint.port)):
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):  # not on every system
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        try:
            return (yield from _connect(made, address, endpoint.connect_timeout_s))
        except OSError as error:
            problem = error
    raise problem


def _to_path(endpoint: Endpoint, path: str) -> Steps[socket.socket]:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    return (yield from _connect(made, path, endpoint.connect_timeout_s))


def _connect(made: socket.socket, address: tuple[Any, ...] | str, timeout_s: float) -> Steps[socket.socket]:
    try:
        made.setblocking(False)
        try:
            made.connect(address)
        except BlockingIOError:
            yield Wait(made, timeout_s, for_writing=True, is_cancellable=True)
            if number := made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(number, os.strerror(number)) from None
    except BaseException:
        made.close()
        raise
    return made


def _addresses(host: str, port: int) -> Steps[list[Any]]:
    # As bytes: for a text Python loads its tables of IDNA, and fails otherwise than by an `OSError` where these do.
    name = host.encode()
    try:
        return socket.getaddrinfo(name, port, family=0, type=socket.SOCK_STREAM, proto=0, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found: list[Any] = yield Lookup(partial(socket.getaddrinfo, name, port, 0, socket.SOCK_STREAM))
        return found


def _secure(plain: socket.socket, endpoint: Endpoint, tls: Tls) -> "Steps[tuple[ssl.SSLSocket, Unready]]":
    secured = plain
    try:
        import ssl

        context: ssl.SSLContext = yield Lookup(partial(_context, tls))
        secured = context.wrap_socket(plain, server_hostname=endpoint.host, do_handshake_on_connect=False)
        while True:
            try:
                secured.do_handshake()
            except ssl.SSLWantReadError:
                yield Wait(secured, endpoint.timeout_s, is_cancellable=True)
            except ssl.SSLWantWriteError:
                yield Wait(secured, endpoint.timeout_s, for_writing=True, is_cancellable=True)
            else:
                return secured, (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
    except BaseException:
        secured.close()
        raise


def _context(tls: Tls) -> "ssl.SSLContext":
    """Return a context for this TLS; files are read for each connection, since certificates are renewed."""
    import ssl

    context = ssl.create_default_context()
    if tls.verification != "required":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE if tls.verification == "none" else ssl.CERT_OPTIONAL
    context.check_hostname = tls.checks_name
    if tls.certificate is not None or tls.key is not None:
        context.load_cert_chain(tls.certificate or "", tls.key)
    if tls.authorities is not None:
        context.load_verify_locations(tls.authorities)
    return context


def _number(error: OSError) -> object:
    return error.args[0] if error.args else "UNKNOWN"


def _text(error: OSError) -> object:
    return error.args[-1] if error.args else type(error).__name__
