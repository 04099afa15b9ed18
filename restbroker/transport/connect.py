"""Opens connections to one server: a few at a time, faster while it keeps up, and each within its time.

Both clients use the ramp, for all their connections. Always holds: at most `ConnectLimit.limit` connections are open on
which the server has not answered and still has time to (`patience_s`); a task stands in line until it has a connection
or may connect, or is cancelled; a connection that is given back, and the permission to connect, go straight to the
first task in line, so that none is overtaken or forgotten, and each is woken once.

ejabberd 23.01 listens with a backlog of 5. With 50 connects at once (measured on loopback), some waited 1 s for TCP to
try again, and 5 were reset after they had sent their request: five commands that may have run, for nothing.

Of `dial` always holds: a failure is a `NotSent` that says what happened, and leaves no socket behind. Of a name's
addresses, IPv6 and IPv4 in turn, the next one is tried when the last has not answered for 250 ms, and the first to
answer is taken (RFC 8305, done by Trio). A name is looked up for every connection; only `MaxConnectionAge` keeps old
answers in use. An address that carries an IPv4 address (mapped, NAT64, 6to4) is as public as that one; one that is not
known to be public is not.
"""

import contextlib
import math
import socket
import ssl
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Generic, TypeVar

import attrs
import trio

from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.transport.errors import NotSent, reason_of
from restbroker.transport.tls import TlsWire
from restbroker.transport.wire import Wire

START: Final = 4
GAP_S: Final = 0.001
PATIENCE_S: Final = 0.25
MOST_PATIENCE_S: Final = 10.0
REST_S: Final = 1.0
_LATE: Final = 2
"""A first answer is late if it takes more than this many times as long as the quickest one."""


@attrs.define(eq=False)
class ConnectLimit:
    """The limit on simultaneous connects to one server; times are on Trio's clock.

    `limit`: how many connections the server may be busy with accepting. `patience_s`: for how many seconds one of them
    counts as such.
    """

    limit: int = START
    patience_s: float = PATIENCE_S
    _quickest_s: float = math.inf
    _next_s: float = 0.0
    _moved_at_s: float = 0.0

    def from_s(self, young: int) -> float:
        """Return the time from which one more may connect beside `young` others, by the gap between two; 0.0: now."""
        return 0.0 if young < START else self._next_s

    def note_begun(self, now_s: float) -> None:
        """Count a connect that begins now; after `REST_S` seconds without one, reset the limit first."""
        if now_s - self._moved_at_s > REST_S:
            self.limit, self.patience_s, self._quickest_s = START, PATIENCE_S, math.inf
        self._moved_at_s = now_s
        self._next_s = max(self._next_s, now_s - (START - 1) * GAP_S) + GAP_S

    def note_answered(self, now_s: float, took_s: float) -> None:
        """Note the first answer on a connection, `took_s` seconds after its connect began.

        Raise the limit, or halve it if that is late.
        """
        self._moved_at_s = now_s
        self._quickest_s = min(self._quickest_s, took_s)
        # A busy server needs longer to accept too, and a slow one must not hold all others up.
        self.patience_s = min(max(PATIENCE_S, _LATE * took_s), MOST_PATIENCE_S)
        if took_s > _LATE * self._quickest_s:
            self._halve()
        else:
            # A server that answers within a few milliseconds frees its turns so quickly that it needs no more of them.
            most = int(self._quickest_s / GAP_S) - START
            self.limit = max(START, min(self.limit + 1, most))

    def note_failed(self, now_s: float) -> None:
        """Halve the limit, down to `START`: a connection was refused, broke, or had no answer when it was given up."""
        self._moved_at_s = now_s
        self._halve()

    def _halve(self) -> None:
        self.limit = max(START, self.limit // 2)


_PROBES: Final = 1

C = TypeVar("C")


def connections_for(target: Target) -> int:
    """Return how many connections a target may have: one for each worker, and one for the probe."""
    return target.concurrency + sum(target.slots.values()) + _PROBES


class RampClosed(Exception):
    """The ramp is closed: no task in line gets a connection, or the permission to connect, any more."""


@attrs.define(eq=False)
class RampTicket(Generic[C]):
    """The place of one task in line, which waits for the permission to connect as `who`.

    `connection`: one that another task gave back. `is_served`: it has got one of the two.
    """

    who: object
    connection: C | None = None
    is_served: bool = False
    _parked: trio.lowlevel.Task | None = None

    async def park(self) -> None:
        """Wait until `wake` is called; when cancelled, the ticket is not parked any more."""
        self._parked = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def wake(self) -> bool:
        """Wake the task, so that it reads its ticket; return False if it is not parked and will read that anyway."""
        if self._parked is None:
            return False
        trio.lowlevel.reschedule(self._parked)
        self._parked = None
        return True

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED


@attrs.define(eq=False)
class ConnectRamp(Generic[C]):
    """Which tasks connect, those that began longest ago first; times are on Trio's clock.

    `_spare` gets the connections that no task waits for. `_begun`: since when each connects; `_young`: those of them
    that the server still has time for. `_keeper`: the one task in line that has a timer, which ends when there is room
    for one more though nothing happens. It came late and stays long: a timer for each would cost more than all the
    rest.
    """

    _spare: Callable[[C], None]
    limiter: ConnectLimit = attrs.Factory(ConnectLimit)
    _begun: dict[object, float] = attrs.Factory(dict)
    _young: dict[object, float] = attrs.Factory(dict)
    line: dict[RampTicket[C], None] = attrs.Factory(dict)
    """The tasks that stand in line."""
    _keeper: RampTicket[C] | None = None
    _timer: trio.CancelScope = attrs.Factory(trio.CancelScope)
    _closed: bool = False

    async def acquire(self, who: object, *, again: bool = False) -> C | None:
        """Wait in line, then return a connection that was given back, or None if `who` may connect now.

        After None, the caller must call `note_answered`, `end` or `release` for `who`. `again`: the connection that the
        last call returned was not fit for use, so that the caller is first in line. Raise `RampClosed` if the ramp is
        closed. When cancelled, the caller has neither a connection nor the permission to connect.
        """
        return await self._acquire(RampTicket(who), again=again)

    def give(self, connection: C) -> None:
        """Give a connection that is fit for use to the first in line, or else to `_spare`."""
        if (place := next(iter(self.line), None)) is None:
            self._spare(connection)
        else:
            place.connection = connection
            self._serve(place)

    def close(self) -> None:
        """Close the ramp: wake all in line, which raise `RampClosed`, as does each later `acquire`."""
        self._closed = True
        for place in self.line:
            place.wake()
        self.line.clear()

    def note_answered(self, who: object) -> None:
        """Note the server's first answer to `who`; do nothing if `who` never began, or has ended."""
        if (began_s := self._begun.pop(who, None)) is not None:
            now_s = trio.current_time()
            self.limiter.note_answered(now_s, now_s - began_s)
            self._leave(who)

    def end(self, who: object) -> None:
        """Note that the connection of `who` broke or was given up; do nothing if `who` never began, or has ended."""
        if self._begun.pop(who, None) is not None:
            self.limiter.note_failed(trio.current_time())
            self._leave(who)

    def release(self, who: object) -> None:
        """Withdraw the permission to connect from `who`, which has not used it; do nothing if it has none."""
        if self._begun.pop(who, None) is not None:
            self._leave(who)

    async def _acquire(self, place: RampTicket[C], *, again: bool = False) -> C | None:
        if self._closed:
            raise RampClosed
        if (again or not self.line) and self._room_from_s() <= trio.current_time():
            self._begin(place.who)
            return None
        if again:
            self.line = {place: None, **self.line}
        self.line[place] = None
        try:
            while not place.is_served and not self._closed:
                await (place.park() if self._keeper is not None else self._keep(place))
        except BaseException:
            self._pass_on(place)
            raise
        finally:
            self._appoint_keeper()
        return self._give_to(place)

    def _give_to(self, place: RampTicket[C]) -> C | None:
        if self._closed:
            self._pass_on(place)
            raise RampClosed
        return place.connection

    async def _keep(self, place: RampTicket[C]) -> None:
        """Wait in line until served, and meanwhile let others in when there is room, as the one task with a timer."""
        self._keeper = place
        try:
            while not place.is_served and not self._closed:
                with trio.CancelScope(deadline=self._room_from_s()) as self._timer:
                    await place.park()
                self._let_in()
        finally:
            self._keeper = None

    def _appoint_keeper(self) -> None:
        """Have another task keep the time, if none does: the last in line, unless it is awake and checks by itself."""
        if self._keeper is None:
            for place in reversed(self.line):
                if place.wake():
                    break

    def _pass_on(self, place: RampTicket[C]) -> None:
        """Give what this ticket got to others: its task is gone, perhaps between being served and seeing it."""
        self.line.pop(place, None)
        if place.connection is not None:
            self.give(place.connection)
        elif place.is_served:
            self.release(place.who)

    def _begin(self, who: object) -> None:
        now_s = trio.current_time()
        self.limiter.note_begun(now_s)
        self._begun[who] = self._young[who] = now_s

    def _leave(self, who: object) -> None:
        self._young.pop(who, None)
        self._let_in()

    def _let_in(self) -> None:
        """Let the first in line connect, one after the other, as far as there is room."""
        if not self.line:
            return
        while self.line and self._room_from_s() <= trio.current_time():
            first = next(iter(self.line))
            self._begin(first.who)
            self._serve(first)
        self._timer.deadline = self._room_from_s()

    def _serve(self, place: RampTicket[C]) -> None:
        del self.line[place]
        place.is_served = True
        place.wake()

    def _room_from_s(self) -> float:
        """Return the time since or from which there is room for one more, if none leaves before."""
        now_s = trio.current_time()
        while len(self._young) >= self.limiter.limit:
            who, since_s = next(iter(self._young.items()))
            until_s = since_s + self.limiter.patience_s
            if now_s < until_s:
                return until_s
            del self._young[who]
        return self.limiter.from_s(len(self._young))


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
