"""Opens connections to one server: four at a time, and each within its time.

Always holds: at most `AT_ONCE` connections that were begun within the last `PATIENCE_S` seconds have no answer yet; a
task stands in line until it has a connection or may connect, or is cancelled; a connection that is given back, and the
permission to connect, go straight to the first task in line, so that none is overtaken or forgotten.

ejabberd 23.01 listens with a backlog of 5. With 50 connects at once (measured on loopback), some waited 1 s for TCP to
try again, and 5 were reset after they had sent their request: five commands that may have run, for nothing.

Of `dial` always holds: a failure is a `NotSent` that says what happened, and leaves no socket behind. Of a name's
addresses, IPv6 and IPv4 in turn, the next one is tried when the last has not answered for 250 ms, and the first to
answer is taken (RFC 8305, done by Trio). A name is looked up for every connection; only `MaxConnectionAge` keeps old
answers in use. An address that carries an IPv4 address (mapped, NAT64, 6to4) is as public as that one; one that is not
known to be public is not.
"""

import contextlib
import socket
import ssl
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Generic, TypeVar

import trio

from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.light import define, field
from restbroker.transport.message import NotSent, reason_of
from restbroker.transport.tls import TlsWire
from restbroker.transport.wire import Wire

AT_ONCE: Final = 4
PATIENCE_S: Final = 0.25
"""A server that has not answered on a connection by then does not hold up the others any longer."""
_PROBES: Final = 1

C = TypeVar("C")


def connections_for(target: Target) -> int:
    """Return how many connections a target may have: one for each worker, and one for the probe."""
    return target.concurrency + sum(target.slots.values()) + _PROBES


class RampClosed(Exception):
    """The ramp is closed: no task in line gets a connection, or the permission to connect, any more."""


@define(eq=False)
class _Place(Generic[C]):
    """The place of one task in line. `connection`: one that another task gave back; without it, `who` may connect."""

    who: object
    connection: C | None = None
    is_served: trio.Event = field(factory=trio.Event)


@define(eq=False)
class ConnectRamp(Generic[C]):
    """Which tasks connect, those that began longest ago first.

    `_spare` gets the connections that no task waits for. `_begun`: since when (on Trio's clock) each connects.
    """

    _spare: Callable[[C], None]
    line: dict[_Place[C], None] = field(factory=dict)
    """The tasks that stand in line."""
    _begun: dict[object, float] = field(factory=dict)
    _closed: bool = False

    async def acquire(self, who: object, *, again: bool = False) -> C | None:
        """Wait in line, then return a connection that was given back, or None if `who` may connect now.

        After None, the caller must call `leave` for `who`. `again`: the connection that the last call returned was not
        fit for use, so that the caller is first in line. Raise `RampClosed` if the ramp is closed. When cancelled, the
        caller has neither a connection nor the permission to connect.
        """
        self._require_open()
        if (again or not self.line) and self._has_room():
            self._begun[who] = trio.current_time()
            return None
        place = _Place[C](who)
        self.line = {place: None, **self.line} if again else self.line
        self.line[place] = None
        try:
            while not place.is_served.is_set():
                with trio.move_on_after(PATIENCE_S):
                    await place.is_served.wait()
                self._let_in()
            self._require_open()
        except (trio.Cancelled, RampClosed):
            self._withdraw(place)
            raise
        return place.connection

    def give(self, connection: C) -> None:
        """Give a connection that is fit for use to the first in line, or else to `_spare`."""
        if self.line:
            place = next(iter(self.line))
            place.connection = connection
            self._serve(place)
        else:
            self._spare(connection)

    def close(self) -> None:
        """Close the ramp: wake all in line, which raise `RampClosed`, as does each later `acquire`."""
        self._closed = True
        for place in [*self.line]:
            self._serve(place)

    def leave(self, who: object) -> None:
        """Note that the server answered `who`, or that `who` does not connect any more; no matter if it never did."""
        self._begun.pop(who, None)
        self._let_in()

    def _require_open(self) -> None:
        if self._closed:
            raise RampClosed

    def _has_room(self) -> bool:
        late_s = trio.current_time() - PATIENCE_S
        self._begun = {who: since_s for who, since_s in self._begun.items() if since_s > late_s}
        return len(self._begun) < AT_ONCE

    def _let_in(self) -> None:
        """Let the first in line connect, one after the other, as far as there is room."""
        while self.line and self._has_room():
            place = next(iter(self.line))
            self._begun[place.who] = trio.current_time()
            self._serve(place)

    def _serve(self, place: _Place[C]) -> None:
        del self.line[place]
        place.is_served.set()

    def _withdraw(self, place: _Place[C]) -> None:
        """Give what this place got to others: its task is gone, perhaps after it was served."""
        self.line.pop(place, None)
        if place.connection is not None:
            self.give(place.connection)
        self.leave(place.who)


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
    if not target.public_only or target.proxy is not None:
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


# IANA's registry of special-purpose addresses, with multicast and what is reserved.
_SPECIAL_4: Final = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24"
    " 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3"
)
# Azure's own services for a machine, though the registry has it as public; other clouds' are in 169.254.0.0/16.
_AZURE: Final = "168.63.129.16/32"
_NOT_PUBLIC_4: Final = tuple(map(ip_network, (*_SPECIAL_4.split(), _AZURE)))
# All that was ever given out is in here; what else there is of IPv6 is for one link, one site, or several receivers.
_PUBLIC_6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_6: Final = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")


def is_public(address: str) -> bool:
    """Tell whether this IP address, as text, can be reached from everywhere; False for a text that is no address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        carried = _embedded_address(found)
        if carried is None:
            return found in _PUBLIC_6 and not any(found in network for network in _NOT_PUBLIC_6)
        found = carried
    return not any(found in network for network in _NOT_PUBLIC_4)


def _embedded_address(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64 or address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
