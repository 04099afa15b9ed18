"""httpx's client over our sockets: the same answers as over its own, its errors, and a pool that stays clean."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import httpx
import pytest
import trio

from restbroker.config.target import Target, Url
from restbroker.transport.client import open_transport
from restbroker.transport.httpx_face import LeanTransport
from restbroker.transport.lean import LeanClient
from restbroker.transport.stock import StockClient
from tests.support import recorder
from tests.support.recorder import Recorder, recording
from tests.transport.answers import SHAPES, Shape
from tests.transport.test_answers import in_two

by_name = pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
TIMEOUT = httpx.Timeout(5.0)


def target(port: int, **changes: object) -> Target:
    made = Target("t", "ejabberd", Url("http", "127.0.0.1", port), ("rest",), concurrency=1, connect_timeout_s=10.0)
    return attrs.evolve(made, **changes)  # type: ignore[arg-type]  # the tests name real fields


@asynccontextmanager
async def ours(port: int, **changes: object) -> AsyncIterator[tuple[httpx.AsyncClient, LeanClient]]:
    made = target(port, **changes)
    pool = open_transport(made)
    assert isinstance(pool, LeanClient)
    face = LeanTransport(pool, made.url, body_limit_bytes=1024 * 1024)
    base = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(transport=face, base_url=base, timeout=TIMEOUT) as client:
        yield client, pool


@asynccontextmanager
async def both() -> AsyncIterator[tuple[Recorder, httpx.AsyncClient, httpx.AsyncClient]]:
    """A server, httpx's client over our sockets, and over its own."""
    async with recording() as server, ours(server.port) as (face, _):
        base = f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=TIMEOUT) as stock:
            yield server, face, stock


@attrs.frozen
class Answered:
    status: int
    body: bytes
    headers: list[tuple[str, str]]


async def outcome(client: httpx.AsyncClient, method: str) -> Answered | type[Exception]:
    try:
        answer = await client.request(method, "/api/x?a=b%20c", content=b"{}")
    except httpx.TransportError as error:
        return type(error)
    return Answered(answer.status_code, answer.content, answer.headers.multi_items())


@by_name
async def test_an_answer_is_the_same_as_over_httpxs_own_transport(shape: Shape) -> None:
    async with both() as (server, face, stock):
        server.default = recorder.raw(shape.raw, keep=not shape.closes)
        assert await outcome(face, shape.method) == await outcome(stock, shape.method)


@by_name
async def test_an_answer_is_the_same_wherever_the_network_cuts_it(shape: Shape) -> None:
    async with both() as (server, face, stock):
        server.default = recorder.raw(shape.raw, keep=not shape.closes)
        expected = await outcome(stock, shape.method)
        for place in range(1, len(shape.raw), max(1, len(shape.raw) // 150)):
            server.script.append(in_two(shape, place))
            assert await outcome(face, shape.method) == expected, place


async def test_cookies_stay_apart_and_are_kept_by_httpx() -> None:
    async with both() as (server, face, _):
        server.script.append(recorder.answer(headers=(("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"))))
        answer = await face.get("/")
        assert answer.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2"]
        await face.get("/")
        assert server.requests[1].headers["cookie"] == "a=1; b=2"


async def test_a_compressed_answer_is_read_as_httpx_reads_it() -> None:
    zipped = bytes.fromhex("1f8b0800000000000003cb48cdc9c9070086a6103605000000")
    async with both() as (server, face, _):
        server.script.append(recorder.answer(body=zipped, headers=(("Content-Encoding", "gzip"),)))
        assert (await face.get("/")).content == b"hello"


async def test_a_stream_is_read_first_and_sent_with_its_length() -> None:
    async def parts() -> AsyncIterator[bytes]:
        for part in (b"one ", b"two"):
            await trio.lowlevel.checkpoint()
            yield part

    async with both() as (server, face, _):
        assert (await face.post("/", content=parts())).content == b"0"
        headers = server.requests[0].headers
        assert (headers["content-length"], server.requests[0].body) == ("7", b"one two")
        assert "transfer-encoding" not in headers


async def test_the_targets_own_host_is_named_unless_the_caller_names_one() -> None:
    async with recording() as server, ours(server.port, host_header="example.org") as (client, _):
        await client.get("/")
        await client.get("/", headers={"Host": "other.example"})
        assert [request.headers["host"] for request in server.requests] == ["example.org", "other.example"]


async def test_connections_are_those_of_the_pool() -> None:
    async with recording() as server, ours(server.port) as (client, pool):
        for _ in range(3):
            await client.get("/")
        assert server.connections == 1
        assert len(pool._idle) == 1
        await client.aclose()
        with trio.fail_after(20):
            await server.all_closed.wait()


async def test_a_refused_connection_is_a_connect_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with ours(taken.getsockname()[1]) as (client, _):
            with pytest.raises(httpx.ConnectError, match="refused"):
                await client.get("/")


async def test_a_connection_that_is_not_accepted_is_a_connect_time_out() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # A backlog of 0 holds one connection on Linux; the next handshake is not answered.
        with socket.create_connection(full.getsockname()):
            async with ours(full.getsockname()[1]) as (client, _):
                with pytest.raises(httpx.ConnectTimeout):
                    await client.get("/")


async def test_no_free_connection_is_a_pool_time_out_and_no_answer_a_read_time_out() -> None:
    async with recording() as server, ours(server.port, concurrency=0) as (client, _), trio.open_nursery() as nursery:
        server.default = recorder.stall()

        async def wait_for_an_answer() -> None:
            with pytest.raises(httpx.ReadTimeout):
                await client.post("/", timeout=2.0)

        nursery.start_soon(wait_for_an_answer)
        await server.arrived.wait()
        with pytest.raises(httpx.PoolTimeout):
            await client.post("/", timeout=0.1)
    assert len(server.requests) == 1


async def test_without_time_out_an_answer_may_take_long() -> None:
    async with recording() as server, ours(server.port) as (client, _):
        server.script.append(recorder.answer(after_s=0.3))
        assert (await client.get("/", timeout=None)).content == b"0"


async def test_a_reset_is_a_read_error_and_a_hang_up_a_protocol_error() -> None:
    async with both() as (server, face, stock):
        for client in (face, stock):
            server.script.append(recorder.reset())
            with pytest.raises(httpx.ReadError):
                await client.post("/")
            server.script.append(recorder.raw(b""))
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post("/")


async def test_a_header_that_http_forbids_is_a_local_protocol_error() -> None:
    async with both() as (server, face, stock):
        for client in (face, stock):
            with pytest.raises(httpx.LocalProtocolError):
                await client.post("/", headers={"X-Bad": "a\r\nInjected: 1"})
    assert not server.requests


async def test_an_answer_beyond_the_limit_is_an_error() -> None:
    async with recording() as server, ours(server.port) as (client, _):
        server.script.append(recorder.endless(2 * 1024 * 1024))
        with pytest.raises(httpx.ReadError, match="more than 1048576 bytes"):
            await client.get("/")


async def test_another_server_is_not_spoken_to() -> None:
    async with recording() as server, ours(server.port) as (client, _):
        for url in (f"http://localhost:{server.port}/", f"https://127.0.0.1:{server.port}/", "http://127.0.0.1/"):
            with pytest.raises(httpx.UnsupportedProtocol, match="only"):
                await client.get(url)
    assert not server.requests


@pytest.mark.parametrize(("method", "sent"), [("GET", 3), ("POST", 2)])
async def test_only_a_safe_method_is_sent_again_where_a_kept_connection_ends(method: str, sent: int) -> None:
    async with recording() as server, ours(server.port) as (client, _):
        await client.get("/")
        server.script.append(recorder.raw(b""))
        if method == "GET":
            assert (await client.get("/")).content == b"0"
        else:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post("/")
        assert len(server.requests) == sent


async def test_a_cancelled_caller_leaves_the_pool_clean() -> None:
    async with recording() as server, ours(server.port) as (client, pool):
        server.script.append(recorder.stall())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get, "/")
            await server.arrived.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(20):
            await server.all_closed.wait()
        assert pool._places.value == 2
        assert not pool._idle
        assert not pool._ramp._begun
        assert (await client.get("/")).content == b"0"


async def test_it_works_over_the_other_engine_too() -> None:
    async with recording() as server:
        made = target(server.port, engine="httpx")
        pool = open_transport(made)
        assert isinstance(pool, StockClient)
        async with httpx.AsyncClient(transport=LeanTransport(pool, made.url)) as client:
            answer = await client.get(f"http://127.0.0.1:{server.port}/")
        assert (answer.content, answer.headers["content-length"]) == (b"0", "1")
