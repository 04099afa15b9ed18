# ruff: noqa: SLF001 - what a cancelled, cut or crowded connection leaves behind
"""Where a server is: several addresses, dead ones, names that come to mean another server, unix sockets."""

import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from restbroker.config.target import Engine, TlsFiles, Url
from restbroker.transport import connect
from restbroker.transport.client import LeanClient, open_transport
from restbroker.transport.message import MaybeSent, NotSent, Transport
from tests.support import recorder
from tests.support.recorder import Recorder
from tests.support.rows import rows
from tests.transport.authority import Authority, recording_tls
from tests.transport.test_client import post, target

Address = tuple[int, int, int, str, tuple[str, int]]
on_both = rows("engine", ["lean", "httpx"])
public_or_not = rows("public_only", [False, True])
NAME = "chat.example"


@attrs.define
class Names(trio.abc.HostnameResolver):
    """What the name means now."""

    addresses: list[str]
    lookups: int = 0

    async def getaddrinfo(  # type: ignore[override]  # what else may be asked makes no difference here
        self, host: bytes | None, port: object, *_how: object
    ) -> Sequence[Address]:
        assert host in (NAME.encode(), b"localhost")
        assert isinstance(port, int)
        self.lookups += 1
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, (address, port)) for address in self.addresses]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@attrs.define
class Rebinding(Names):
    """A name that means something else each time after it was asked for once."""

    after: list[str] = attrs.field(factory=list)

    async def getaddrinfo(  # type: ignore[override]  # as above
        self, host: bytes | None, port: object, *how: object
    ) -> Sequence[Address]:
        found = await super().getaddrinfo(host, port, *how)
        self.addresses = self.after
        return found


@attrs.define
class Silent(Names):
    """A name server that says nothing."""

    async def getaddrinfo(  # type: ignore[override]  # as above
        self, _host: bytes | None, _port: object, *_how: object
    ) -> Sequence[Address]:
        await trio.sleep_forever()
        raise AssertionError


def meaning(addresses: list[str]) -> Names:
    """Have the name mean this from now on."""
    names = Names(addresses)
    trio.socket.set_custom_hostname_resolver(names)
    return names


async def serving(nursery: trio.Nursery, address: str, port: int = 0) -> Recorder:
    server = Recorder()
    (listener,) = await nursery.start(partial(trio.serve_tcp, server.serve, port, host=address))
    server.port = listener.socket.getsockname()[1]
    return server


def silenced(stack: contextlib.ExitStack, address: str, port: int) -> None:
    """Has nothing there answer: its backlog is full."""
    silent, filling = stack.enter_context(socket.socket()), stack.enter_context(socket.socket())
    silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    silent.bind((address, port))
    silent.listen(0)
    filling.setblocking(False)
    filling.connect_ex((address, port))


@asynccontextmanager
async def reaching(
    engine: Engine, served: Sequence[str], names: Names | None, host: str = NAME, **changes: object
) -> AsyncIterator[tuple[Transport, list[Recorder]]]:
    """A transport to this host, and a server at each of these addresses, on one port."""
    trio.socket.set_custom_hostname_resolver(names)
    async with trio.open_nursery() as nursery:
        servers = [await serving(nursery, served[0])]
        servers += [await serving(nursery, address, servers[0].port) for address in served[1:]]
        url = Url("http", host, servers[0].port)
        transport = open_transport(target(servers[0].port, url=url, engine=engine, **changes))
        yield transport, servers
        await transport.aclose()
        nursery.cancel_scope.cancel()


@on_both
@public_or_not
async def test_refusing_first_address_is_followed_by_the_next(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, *, public_only: bool
) -> None:
    monkeypatch.setattr(connect, "is_public", lambda _address: True)
    names = Names(["127.0.0.2", "127.0.0.3"])
    async with reaching(engine, ["127.0.0.3"], names, public_only=public_only) as (transport, (server,)):
        for _ in range(2):
            assert (await transport.send(post())).status == 200
        assert (server.connections, names.lookups) == (1, 1)


@on_both
@public_or_not
async def test_silent_first_address_is_followed_by_the_next(
    nursery: trio.Nursery, engine: Engine, monkeypatch: pytest.MonkeyPatch, *, public_only: bool
) -> None:
    server = await serving(nursery, "127.0.0.3")
    with contextlib.ExitStack() as stack:
        silenced(stack, "127.0.0.2", server.port)
        monkeypatch.setattr(connect, "is_public", lambda _address: True)
        meaning(["127.0.0.2", "127.0.0.3"])
        # httpx waits that long for each address; ours does not.
        timeout_s = 10.0 if engine == "lean" else 1.0
        made = target(server.port, engine=engine, public_only=public_only, connect_timeout_s=timeout_s)
        transport = open_transport(attrs.evolve(made, url=Url("http", NAME, server.port)))
        began_s = trio.current_time()
        assert (await transport.send(post(timeout_s=20.0))).status == 200
        assert 0.2 <= trio.current_time() - began_s < 9
        await transport.aclose()


@pytest.mark.slow  # the system's own time-outs
async def test_all_public_addresses_share_one_time_out_and_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with contextlib.ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.9.0.2", 0))
        port = taken.getsockname()[1]
        names = meaning([f"127.9.0.{number}" for number in range(2, 12)])
        for address in names.addresses[1:]:
            silenced(stack, address, port)
        monkeypatch.setattr(connect, "is_public", lambda _address: True)
        made = target(port, url=Url("http", NAME, port), engine="lean", public_only=True, connect_timeout_s=4.0)
        transport = open_transport(made)
        assert isinstance(transport, LeanClient)
        ramp = transport._pool._ramp
        began_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_expect_none_accepted, transport)
            await trio.sleep(0.6)  # the second address has had its time
            assert len(ramp._begun) == 1
        # Half a second for each of the others, and four for the last, would be eight.
        assert trio.current_time() - began_s < 7.5
        assert not ramp._begun


async def _expect_none_accepted(transport: Transport) -> None:
    with pytest.raises(NotSent, match="did not accept a connection within 4 s") as caught:
        await transport.send(post(timeout_s=20.0))
    assert caught.value.timed_out


@on_both
async def test_request_sent_to_one_address_is_not_sent_to_the_next(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "is_public", lambda _address: True)
    # On a busy machine even the first may need longer to accept.
    monkeypatch.setattr(connect, "NEXT_S", 1.5)
    both = ["127.0.0.2", "127.0.0.3"]
    async with reaching(engine, both, Names(both), public_only=True) as (transport, (first, second)):
        first.script.append(recorder.reset())
        with pytest.raises(MaybeSent):
            await transport.send(post())
        assert (len(first.requests), second.connections) == (1, 0)
        first.script.append(recorder.answer(after_s=2.0))
        answer = await transport.send(post(timeout_s=20.0))
        assert answer.status == 200, "the time for an address is not for its answer"
        assert (len(first.requests), second.connections) == (2, 0)


@on_both
async def test_a_name_of_which_every_address_refuses_was_not_sent(engine: Engine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        port = taken.getsockname()[1]
        meaning(["127.0.0.2", "127.0.0.3"])
        with pytest.raises(NotSent, match=f"No connection to http://{NAME}"):
            await open_transport(target(port, url=Url("http", NAME, port), engine=engine)).send(post())


@on_both
@public_or_not
async def test_a_name_that_takes_long_to_look_up_was_not_sent(engine: Engine, *, public_only: bool) -> None:
    trio.socket.set_custom_hostname_resolver(Silent([]))
    where = target(80, url=Url("http", NAME, 80), engine=engine, public_only=public_only, connect_timeout_s=0.05)
    with pytest.raises(NotSent, match=f"http://{NAME}:80 did not accept a connection within 50 ms") as refused:
        await open_transport(where).send(post())
    assert refused.value.timed_out


@on_both
async def test_renamed_server_is_followed_after_the_connections_age(engine: Engine, mock_clock: MockClock) -> None:
    names, both = Names(["127.0.0.2"]), ["127.0.0.2", "127.0.0.3"]
    async with reaching(engine, both, names, max_connection_age_s=10.0) as (transport, (first, second)):
        await transport.send(post())
        names.addresses = ["127.0.0.3"]
        await transport.send(post())
        assert (len(first.requests), len(second.requests)) == (2, 0)
        mock_clock.jump(10.05)
        await transport.send(post())
        assert (len(first.requests), len(second.requests), names.lookups) == (2, 1, 2)


async def test_a_unix_socket_with_a_full_backlog_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as filling:
        listening.bind(path)
        listening.listen(0)
        filling.connect(path)
        url = Url("http", "localhost", 80, socket=path)
        with pytest.raises(NotSent, match="accept a connection within") as caught:
            await open_transport(target(80, url=url, engine="lean", connect_timeout_s=0.1)).send(post())
        assert caught.value.timed_out
        transport = open_transport(target(80, url=url, engine="lean"))
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        async with trio.open_nursery() as serving:
            with trio.fail_after(20):
                async with trio.open_nursery() as asking:
                    asking.start_soon(_expect_answer, transport)
                    await trio.testing.wait_all_tasks_blocked()
                    serving.start_soon(trio.serve_listeners, Recorder().serve, [listener])
            serving.cancel_scope.cancel()
        await transport.aclose()


async def _expect_answer(transport: Transport) -> None:
    assert (await transport.send(post())).status == 200


@on_both
@rows(("host", "where"), [(NAME, f"{NAME} is at 127.0.0.2, which"), ("127.0.0.2", "127.0.0.2")])
async def test_public_target_is_not_reached_in_a_private_network(engine: Engine, host: str, where: str) -> None:
    names = Names(["127.0.0.2"])
    async with reaching(engine, ["127.0.0.2"], names, host, public_only=True) as (transport, (server,)):
        with pytest.raises(NotSent, match=f"{where} is not a public address, and .* AllowPrivate"):
            await transport.send(post())
        assert server.connections == 0


@pytest.mark.promise(
    "Security: who controls DNS, or the network between", "to lead an http target into the private network"
)
@on_both
@rows("host", ["localhost", "2130706433", "0x7f.1", "127.1", "0", "::1", "::ffff:127.0.0.1"])
async def test_no_way_to_write_a_private_address_leads_there(engine: Engine, host: str) -> None:
    async with reaching(engine, ["127.0.0.1"], None, host, public_only=True) as (transport, (server,)):
        with pytest.raises(NotSent, match="not a public address"):
            await transport.send(post())
        assert server.connections == 0


@pytest.mark.promise(
    "Security: who controls DNS, or the network between", "to lead an http target into the private network"
)
@on_both
async def test_dialled_address_is_the_checked_one_despite_a_new_name(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "is_public", lambda address: address == "127.0.0.2")
    names, both = Rebinding(["127.0.0.2"], after=["127.0.0.3"]), ["127.0.0.2", "127.0.0.3"]
    async with reaching(engine, both, names, public_only=True) as (transport, (looked_at, rebound)):
        assert (await transport.send(post())).status == 200
        assert looked_at.requests[0].headers["host"] == f"{NAME}:{looked_at.port}"
        await transport.keep_none()
        with pytest.raises(NotSent, match="not a public address"):
            await transport.send(post())
        assert (len(looked_at.requests), rebound.requests) == (1, [])


@pytest.mark.promise(
    "Security: who controls DNS, or the network between", "to lead an http target into the private network"
)
@on_both
async def test_only_public_ones_of_several_addresses_are_dialled(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "is_public", lambda address: address == "127.0.0.3")
    both = ["127.0.0.2", "127.0.0.3"]
    async with reaching(engine, both, Names(both), public_only=True) as (transport, (inner, server)):
        assert (await transport.send(post())).status == 200
        assert (len(server.requests), inner.requests) == (1, [])


@on_both
async def test_certificate_must_name_the_host_though_address_is_used(
    ours: Authority, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording_tls(ours.served()) as server:
        meaning(["127.0.0.1"])
        monkeypatch.setattr(connect, "is_public", lambda _address: True)
        files = TlsFiles(ca=ours.ca)
        for host, works in (("localhost", True), (NAME, False)):
            url = Url("https", host, server.port)
            transport = open_transport(target(server.port, url=url, engine=engine, public_only=True, tls=files))
            if works:
                assert (await transport.send(post())).status == 200
            else:
                with pytest.raises(NotSent) as caught:
                    await transport.send(post())
                assert caught.value.tls
            await transport.aclose()


@on_both
async def test_tls_at_the_next_address_names_the_host_with_more_time(
    ours: Authority, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ours.served()
    named: list[str | None] = []
    context.sni_callback = lambda _tls, name, _context: named.append(name)
    async with recording_tls(context, pause_s=0.7) as server:
        monkeypatch.setattr(connect, "is_public", lambda _address: True)
        meaning(["127.0.0.2", "127.0.0.1", "127.0.0.3"])
        url, files = Url("https", "localhost", server.port), TlsFiles(ca=ours.ca)
        transport = open_transport(target(server.port, url=url, engine=engine, public_only=True, tls=files))
        assert (await transport.send(post())).status == 200
        assert named == ["localhost"]
        await transport.aclose()


@on_both
async def test_tls_failure_at_one_address_does_not_try_the_next(
    ours: Authority, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine even the first may need longer to accept.
    monkeypatch.setattr(connect, "NEXT_S", 30.0)
    async with recording_tls(ours.served()) as server, trio.open_nursery() as nursery:
        other = await serving(nursery, "127.0.0.2", server.port)
        monkeypatch.setattr(connect, "is_public", lambda _address: True)
        meaning(["127.0.0.1", "127.0.0.2"])
        url, files = Url("https", NAME, server.port), TlsFiles(ca=ours.ca)
        transport = open_transport(target(server.port, url=url, engine=engine, public_only=True, tls=files))
        with pytest.raises(NotSent) as caught:
            await transport.send(post())
        assert caught.value.tls
        assert other.connections == 0
        await transport.aclose()
        nursery.cancel_scope.cancel()
