"""One connection to a server's listener for components: TLS, the handshake, and what comes then. `reader` opens it.

Always holds: a failure is a `Problem` that says what happened and what to do; the password is in none of them, and only
its digest is sent. Beyond loopback the server proves who it is before anything is sent (`options`).
"""

import hashlib
import ssl
from collections import deque
from typing import Final
from xml.sax.saxutils import quoteattr

import trio

from restbroker.config.target import TlsFiles
from restbroker.config.tls import context_of
from restbroker.errors import ConfigError
from restbroker.light import define, field
from restbroker.servers.component.options import Options
from restbroker.servers.component.stanzas import Accepted, Broken, Item, Opened, StreamParser
from restbroker.servers.findings import Problem
from restbroker.transport.connect import cause_of

_CONNECT_S: Final = 10.0
_SILENCE_S: Final = 60.0
"""Seconds without a byte after which the connection counts as dead: the component's own heartbeats come back before."""
_SENDING_S: Final = 5.0
_PIECE_BYTES: Final = 16_384
"""What is read between two steps of jobs: a stranger's elements take 5 ms of it, and a larger piece is no cheaper."""


@define(eq=False)
class ComponentStream:
    """An open connection of the component."""

    where: str
    _stream: trio.abc.Stream
    _parser: StreamParser
    _came: deque[Item] = field(factory=deque)
    _sending: trio.Lock = field(factory=trio.Lock)

    async def next(self) -> Item:
        """Return the next item; raise `Problem` once the stream is over. Safe to cancel: nothing is lost."""
        while not self._came:
            self._came.extend(self._parser.feed(await self._receive()))
        item = self._came.popleft()
        if isinstance(item, Broken):
            raise Problem("ComponentAway", f"{self.where} ended the stream: {item.why}.", _AGAIN)
        return item

    async def send(self, xml: str) -> None:
        """Send a stanza, or close the connection if the server does not take it; `next` says so then."""
        try:
            with trio.fail_after(_SENDING_S):
                async with self._sending:
                    await self._stream.send_all(xml.encode())
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            await trio.aclose_forcefully(self._stream)

    async def aclose(self) -> None:
        """Close the connection at once."""
        await trio.aclose_forcefully(self._stream)

    async def _receive(self) -> bytes:
        with trio.move_on_after(_SILENCE_S):
            try:
                data = await self._stream.receive_some(_PIECE_BYTES)
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                raise Problem("ComponentAway", f"{self.where} closed the connection.", _AGAIN)
            return bytes(data)
        raise Problem("ComponentAway", f"{self.where} sends nothing, not even our own heartbeats.", _AGAIN)


_AGAIN: Final = "restbroker connects again."


async def open_stream(settings: Options) -> ComponentStream:
    """Connect, and return the stream once the component is accepted. Raise `Problem`; nothing stays open then."""
    host, port = settings.address
    server = settings.server
    where = f"{server.name} at {host}:{port}"
    try:
        with trio.fail_after(_CONNECT_S):
            stream = await _connect(settings)
            try:
                parser = StreamParser(settings.name, settings.hosts, settings.limit_bytes)
                opened = ComponentStream(where, stream, parser)
                await _shake_hands(opened, settings)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
    except trio.TooSlowError:
        raise Problem("ComponentAway", f"{where} does not answer within {_CONNECT_S:g} s.", server.no_answer) from None
    except (trio.BrokenResourceError, ssl.SSLError) as error:
        cause = error if isinstance(error, ssl.SSLError) else error.__cause__
        why = f": {cause.reason or cause}" if isinstance(cause, ssl.SSLError) else ""
        raise Problem("ComponentAway", f"TLS with {where} failed{why}.", server.no_tls) from None
    except (OSError, UnicodeError) as error:
        raise Problem("ComponentAway", f"No connection to {where}: {cause_of(error)}.", server.no_answer) from None
    return opened


async def _connect(settings: Options) -> trio.abc.Stream:
    host, port = settings.address
    stream = await trio.open_tcp_stream(host, port)
    if not settings.is_tls:
        return stream
    context = await trio.to_thread.run_sync(context_of, TlsFiles(settings.ca))
    secured = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await secured.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secured


async def _shake_hands(stream: ComponentStream, settings: Options) -> None:
    try:
        secret = await trio.to_thread.run_sync(settings.password.reveal)
    except ConfigError as error:
        raise Problem("ComponentDenied", error.message, error.hint or "") from None
    # What reads lines, such as an HTTP server, answers after the end of this one.
    await stream.send(
        "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' "
        f"to={quoteattr(settings.name)}>\n"
    )
    is_xmpp = False
    try:
        while True:
            match await stream.next():
                case Opened(stream_id):
                    is_xmpp = True
                    # The protocol's own digest (XEP-0114).
                    digest = hashlib.sha1((stream_id + secret).encode(), usedforsecurity=False).hexdigest()
                    await stream.send(f"<handshake>{digest}</handshake>")
                case Accepted():
                    return
                case _:
                    continue
    except Problem as problem:
        for fault, (message, hint) in settings.server.faults.items():
            if problem.message.endswith(f": {fault}."):
                texts = (text.format(name=settings.name) for text in (message, hint))
                raise Problem("ComponentDenied", *texts) from None
        other = "" if is_xmpp else " It is no listener for components, or one with `tls: true`."
        raise Problem(problem.code, problem.message + other, settings.server.no_answer) from None
