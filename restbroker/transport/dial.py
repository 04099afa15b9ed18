"""Opens one connection to a target. Used by the lean client.

Always holds: a failure is a `NotSent` that says what happened, and leaves no socket behind. Of a name's addresses, IPv6
and IPv4 in turn, the next one is tried when the last has not answered for 250 ms, and the first to answer is taken (RFC
8305, done by Trio). A name is looked up for every connection; only `MaxConnectionAge` keeps old answers in use.
"""

import contextlib
import socket
import ssl
from typing import Final

import trio

from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.transport.addresses import is_public
from restbroker.transport.errors import NotSent, reason_of
from restbroker.transport.tls import TlsWire
from restbroker.transport.wire import Wire

NEXT_S: Final = 0.5
"""Seconds for each of several public addresses but the last.

Trio does not try these side by side, as it does with the addresses of a name.
"""
_ROOM_S: Final = 0.02
"""Seconds between two tries to connect to a unix socket whose listener had no room."""


async def dial(target: Target, tls: ssl.SSLContext, timeout_s: float) -> Wire:
    """Connect to the target within `timeout_s` seconds, TLS included, and return the connection.

    Raise `NotSent` if it cannot connect; when cancelled, nothing stays open.
    """
    what = "did not accept a connection"
    with trio.move_on_after(timeout_s):
        connected = await _connect(target)
        what = "accepted a connection, and did not answer with TLS"
        return await _start_tls(target, tls, connected) if target.url.scheme == "https" else Wire(connected)
    raise NotSent(f"{target.url} {what} within {duration_text(timeout_s)}.", timed_out=True)


async def _connect(target: Target) -> socket.socket:
    url = target.url
    try:
        if url.socket is not None:
            return await _open_unix(url.socket)
        stream = await _open_tcp(await addresses_of(target), url.port)
    # A name that cannot be one (a label of 64 letters) is a UnicodeError.
    except (OSError, UnicodeError) as error:
        raise NotSent(f"No connection to {url}: {cause_of(error)}.") from error
    taken = stream.socket
    # Told what it is, Python does not ask the kernel, which could fail and leave the descriptor to no one.
    family, kind, protocol = taken.family, taken.type, taken.proto
    return socket.socket(family, kind, protocol, fileno=taken.detach())


async def addresses_of(target: Target) -> list[str]:
    """Return the addresses to connect to, in this order: the URL's host itself, or its addresses that are public.

    Where the addresses must be public (`target.public_only`), exactly these are dialled: the name is not looked up
    again, when it may mean another one. Raise `NotSent` if there are none, and OSError or UnicodeError if the lookup
    fails.
    """
    url = target.url
    if not target.public_only:
        return [url.host]
    known = await trio.socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    found = dict.fromkeys(str(address[0]) for *_, address in known)
    if public := [address for address in found if is_public(address)]:
        return public
    where = "" if url.host in found else f" is at {', '.join(found)}, which"
    why = f"{url.host}{where} is not a public address, and the target's Options do not set AllowPrivate"
    raise NotSent(f"No connection to {url}: {why}.")


async def _open_tcp(hosts: list[str], port: int) -> trio.SocketStream:
    *others, last = hosts
    for host in others:
        with contextlib.suppress(OSError), trio.move_on_after(NEXT_S):
            return await trio.open_tcp_stream(host, port)
    return await trio.open_tcp_stream(last, port)


async def _open_unix(path: str) -> socket.socket:
    """Return a socket that is connected to a unix socket; raise OSError if that fails.

    While the listener's backlog is full, Linux says EAGAIN and does nothing, and this waits and tries again; Trio 0.35
    would wait for its end, and take the socket for connected.
    """
    made = socket.socket(socket.AF_UNIX)
    try:
        made.setblocking(False)
        while True:
            try:
                made.connect(path)
            except BlockingIOError:
                await trio.sleep(_ROOM_S)
            else:
                return made
    except BaseException:
        made.close()
        raise


async def _start_tls(target: Target, tls: ssl.SSLContext, connected: socket.socket) -> Wire:
    try:
        wire = TlsWire(connected, tls, target.url.host)
    except ValueError as error:
        connected.close()
        raise NotSent(f"TLS with {target.url} failed: {cause_of(error)}.", tls=True) from error
    try:
        await wire.shake_hands()
    except BaseException as error:
        wire.close()
        if isinstance(error, ssl.SSLError):
            raise NotSent(f"TLS with {target.url} failed: {cause_of(error)}.", tls=True) from error
        if isinstance(error, OSError):
            raise NotSent(f"No connection to {target.url}: it broke during the TLS handshake.") from error
        raise
    return wire


def cause_of(error: BaseException) -> str:
    """Return why a connection failed, as text without a full stop, by the last address that was tried."""
    # Trio tries every address of a name and wraps what became of each.
    while isinstance(error.__cause__, OSError | BaseExceptionGroup):
        cause: BaseException = error.__cause__
        error = cause.exceptions[-1] if isinstance(cause, BaseExceptionGroup) else cause
    return reason_of(error)
