"""TLS: which side shows which certificate, and that connections are kept whatever TLS says in between."""

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from restbroker.config.target import Engine, TlsFiles, Url
from restbroker.config.tls import context_of
from restbroker.transport.client import open_transport
from restbroker.transport.message import NotSent, Transport, Withdrawn
from restbroker.transport.readiness import Readiness
from restbroker.transport.tls import TlsWire
from tests.support import recorder
from tests.support.recorder import Recorder
from tests.support.rows import rows
from tests.transport.authority import Authority, recording_tls
from tests.transport.senders import Sender
from tests.transport.test_client import MIB, post, target
from tests.transport.wires import receive, send_all

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
on_both = rows("engine", ["lean", "httpx"])
in_both = rows("version", VERSIONS)


@asynccontextmanager
async def pair(
    context: ssl.SSLContext, files: TlsFiles, engine: Engine = "lean", host: str = "127.0.0.1", **changes: object
) -> AsyncIterator[tuple[Transport, Recorder]]:
    async with recording_tls(context) as server:
        made = target(server.port, url=Url("https", host, server.port), tls=files, engine=engine, **changes)
        transport = open_transport(made)
        yield transport, server
        await transport.aclose()


@on_both
@in_both
async def test_a_connection_is_kept_and_large_bodies_go_both_ways(
    ours: Authority, engine: Engine, version: ssl.TLSVersion
) -> None:
    async with pair(ours.served(version), TlsFiles(ours.ca), engine) as (transport, server):
        for _ in range(3):
            assert (await transport.send(post())).body == b"0"
        body = bytes(range(256)) * 4 * 1024 * 3
        server.script.append(recorder.answer(body=body))
        assert (await transport.send(post(body=body))).body == body
        assert server.requests[-1].body == body
        assert server.connections == 1


@on_both
@in_both
async def test_a_server_that_asks_for_a_certificate_gets_it(
    ours: Authority, engine: Engine, version: ssl.TLSVersion
) -> None:
    files = TlsFiles(ours.ca, *ours.pair("client"))
    async with pair(ours.served(version, asks=True), files, engine) as (transport, server):
        assert (await transport.send(post())).status == 200
        assert (await transport.send(post())).status == 200
        assert server.connections == 1


@in_both
@rows("shown", [None, "stranger"])
async def test_server_refusing_our_certificate_did_not_get_the_request(
    ours: Authority, shown: str | None, version: ssl.TLSVersion
) -> None:
    files = TlsFiles(ours.ca, *(ours.pair(shown) if shown else ()))
    async with pair(ours.served(version, asks=True), files) as (transport, server):
        for _ in range(2):
            with pytest.raises(NotSent, match="TLS") as caught:
                await transport.send(post())
            assert caught.value.tls
    assert not server.requests


@pytest.mark.promise("Security: who controls DNS, or the network between", "to be the server, or to read along")
@on_both
async def test_certificate_of_other_authority_or_name_is_not_accepted(ours: Authority, engine: Engine) -> None:
    for files, host in ((TlsFiles(ours.pair("stranger")[0]), "127.0.0.1"), (TlsFiles(ours.ca), "127.0.0.2")):
        context = ours.served()
        async with recording_tls(context) as server:
            listening = Url("https", "127.0.0.1", server.port)
            tls = context_of(files)
            if host == "127.0.0.2":
                # The server listens at one address only: the name that is wanted is changed instead.
                context.load_cert_chain(*ours.pair("stranger"))
                tls.load_verify_locations(ours.pair("stranger")[0])
            transport = open_transport(target(server.port, url=listening, engine=engine), tls=tls)
            with pytest.raises(NotSent, match="certificate") as caught:
                await transport.send(post())
            assert caught.value.tls
            assert not server.requests


@on_both
async def test_request_withdrawn_while_connecting_is_not_sent(ours: Authority, engine: Engine) -> None:
    sender, context = Sender(), ours.served()
    # In the middle of connecting, which may have taken long.
    context.sni_callback = lambda *_: sender.forbid()
    async with pair(context, TlsFiles(ours.ca), engine) as (transport, server):
        with pytest.raises(Withdrawn):
            await transport.send(post(), sender)
        context.sni_callback = None
        assert (await transport.send(post(), Sender())).status == 200
        assert len(server.requests) == 1


@on_both
async def test_tls_asks_for_the_urls_host_whatever_the_host_header(ours: Authority, engine: Engine) -> None:
    names: list[str | None] = []
    context = ours.served()
    context.sni_callback = lambda _tls, name, _context: names.append(name)
    async with pair(context, TlsFiles(ours.ca), engine, "localhost", host_header="example.org") as (transport, server):
        await transport.send(post())
        assert server.requests[0].headers["host"] == "example.org"
    assert names == ["localhost"]


@rows("how", ["closes", "resets"])
async def test_server_leaving_during_the_handshake_was_sent_nothing(how: str, nursery: trio.Nursery) -> None:
    async def leave(stream: trio.SocketStream) -> None:
        await stream.receive_some(1 if how == "resets" else 65536)
        await stream.aclose()

    listeners: list[trio.SocketListener] = await nursery.start(trio.serve_tcp, leave, 0)
    port = listeners[0].socket.getsockname()[1]
    transport = open_transport(target(port, url=Url("https", "127.0.0.1", port), engine="lean"))
    with pytest.raises(NotSent, match=r": (the server closed it|it broke) during the.* handshake\.$") as caught:
        await transport.send(post())
    # Who closes may speak no TLS at all; a reset says nothing about that.
    assert caught.value.tls == (how == "closes")


@attrs.define
class Peer:
    """The server's end of one connection, whose every byte is sent when the test says so."""

    tls: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    end: trio.socket.SocketType

    async def send(self) -> None:
        while self.outgoing.pending:
            data = self.outgoing.read()
            assert await self.end.send(data) == len(data)

    async def shake_hands(self) -> None:
        """All but the last thing that the server says: the session tickets."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.send()
                self.incoming.write(await self.end.recv(65536))
            else:
                return


@asynccontextmanager
async def wired(ours: Authority, *, asks_late: bool = False) -> AsyncIterator[tuple[TlsWire, Peer]]:
    """Both ends; `asks_late`: the server may request a certificate after the handshake."""
    here, there = socket.socketpair()
    served, context = ours.served(asks=asks_late), context_of(TlsFiles(ours.ca, *ours.pair("client")))
    served.post_handshake_auth = context.post_handshake_auth = asks_late
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = trio.socket.from_stdlib_socket(there)
    peer = Peer(served.wrap_bio(incoming, outgoing, server_side=True), incoming, outgoing, end)
    wire = TlsWire(here, context, "localhost")
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.shake_hands)
            await wire.shake_hands()
        yield wire, peer
    finally:
        wire.close()
        end.close()


async def test_session_tickets_that_come_late_leave_a_connection_fit(ours: Authority) -> None:
    async with wired(ours) as (wire, peer):
        assert wire.is_quiet()
        assert peer.outgoing.pending
        await peer.send()
        assert wire.is_quiet()
        peer.tls.write(b"answer")
        await peer.send()
        assert await receive(wire) == b"answer"


async def test_byte_of_an_answer_or_goodbye_makes_a_connection_unfit(ours: Authority) -> None:
    async with wired(ours) as (wire, peer):
        peer.tls.write(b"x")
        await peer.send()
        assert not wire.is_quiet()
    for is_read in (False, True):
        async with wired(ours) as (wire, peer):
            with pytest.raises(ssl.SSLWantReadError):
                peer.tls.unwrap()
            await peer.send()
            assert not is_read or await receive(wire) == b""
            assert not wire.is_quiet()


async def test_garbage_makes_a_connection_unfit_and_fails_its_reader(ours: Authority) -> None:
    for is_read in (False, True):
        async with wired(ours) as (wire, peer):
            await peer.send()
            await peer.end.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            if is_read:
                with pytest.raises(ssl.SSLError):
                    await receive(wire)
            else:
                assert not wire.is_quiet()


async def test_closing_says_goodbye_and_may_be_repeated(ours: Authority) -> None:
    async with wired(ours) as (wire, peer):
        await send_all(wire, b"request")
        wire.close()
        wire.close()
        assert not wire.is_quiet()
        with pytest.raises(trio.ClosedResourceError):
            await receive(wire)
        while data := await peer.end.recv(65536):
            peer.incoming.write(data)
        assert peer.tls.read(100) == b"request"
        # Without a goodbye it would want to read more.
        assert peer.tls.read(100) == b""


async def test_an_end_without_goodbye_is_an_end_after_what_came(ours: Authority) -> None:
    for is_together in (True, False):
        async with wired(ours) as (wire, peer):
            got: list[bytes | Exception] = []
            async with trio.open_nursery() as nursery:
                assert not wire.listen(got.append, Readiness())
                peer.tls.write(b"last words")
                await peer.send()
                if is_together:
                    peer.end.shutdown(socket.SHUT_WR)
                nursery.start_soon(wire.attend)
                await wait_all_tasks_blocked()
                if not is_together:
                    peer.end.shutdown(socket.SHUT_WR)
            assert got == [b"last words", b""]
            assert not wire.is_quiet()


async def test_nothing_has_left_while_the_kernel_took_nothing(ours: Authority) -> None:
    async with wired(ours) as (wire, peer):
        wire.has_sent = False
        peer.end.close()
        with pytest.raises(OSError, match="pipe"):
            await send_all(wire, bytes(MIB))
        assert not wire.has_sent


async def test_tls_output_goes_behind_what_waits_to_be_sent(ours: Authority) -> None:
    """As new keys do; here it is a certificate that is requested late, which a test can have done at will."""
    async with wired(ours, asks_late=True) as (wire, peer), trio.open_nursery() as nursery:
        body, got = bytes(4 * MIB), 0
        assert not wire.begin(body)
        nursery.start_soon(wire.send_rest)
        await wait_all_tasks_blocked()
        peer.tls.verify_client_post_handshake()
        peer.tls.write(b"early")
        await peer.send()
        assert await receive(wire) == b"early"
        while got < len(body):
            peer.incoming.write(await peer.end.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                while part := peer.tls.read(65536):
                    got += len(part)
        assert peer.tls.getpeercert()
