"""The memory for what strangers send: who gets of it, and exchanges that wait for it."""

import gzip
from collections.abc import Callable
from functools import partial

import pytest
import trio

from restbroker.transport import room as rooms
from restbroker.transport.client import LeanClient, open_transport
from restbroker.transport.exchange import Exchange
from restbroker.transport.http1 import AnswerReader
from restbroker.transport.message import TRUNCATED, UNPARSED, MaybeSent
from restbroker.transport.readiness import Readiness, Upkeep
from restbroker.transport.room import (
    FREE_BYTES,
    MOST_BYTES,
    RECEIVED_BYTES,
    SHARE_BYTES,
    STEP_BYTES,
    Holding,
    Room,
)
from tests.support import recorder
from tests.support.recorder import recording
from tests.support.rows import rows
from tests.support.wait import until_async
from tests.transport.authority import Authority
from tests.transport.test_client import post, target
from tests.transport.test_exchange import Noting, leaves_nothing, running, service

BODY = b"[" + b"1," * 50_000 + b"1]"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)


def full(room: Room, name: str = "t") -> Holding:
    """All that this sender may receive is held."""
    held = Holding(room.share(name))
    assert held.take(RECEIVED_BYTES)
    return held


def test_of_one_number_no_sender_holds_more_than_its_share() -> None:
    room = Room()
    held = [full(room, str(number)) for number in range((MOST_BYTES - RECEIVED_BYTES) // RECEIVED_BYTES)]
    assert not Holding(room.share("0")).take(1)
    assert not Holding(room.share("late")).take(1)
    assert held[0].share.spare_bytes == RECEIVED_BYTES
    assert held[0].take_to_parse(RECEIVED_BYTES)
    assert (held[0].share.held_bytes, room.held_bytes) == (SHARE_BYTES, MOST_BYTES)
    assert not held[1].take_to_parse(1)
    for holding in held:
        holding.free()
    assert room.held_bytes == 0


def test_room_is_given_in_the_order_of_arrival() -> None:
    """Who waits for their own share alone holds up nobody else."""
    room, came = Room(), list[str]()
    held = [full(room, str(number)) for number in range(7)]
    for number, (name, size) in enumerate([("0", 5), ("a", RECEIVED_BYTES), ("b", 7), ("a", 7)]):
        Holding(room.share(name)).stand_in_line(size, partial(came.append, f"{number}{name}"))
    assert not Holding(room.share("c")).take(1)
    held[1].free()
    assert came == ["1a"]
    held[2].free()
    assert came == ["1a", "2b"]
    held[0].free()
    assert came == ["1a", "2b", "00"]


async def test_a_wait_in_httpx_that_is_cancelled_leaves_nothing() -> None:
    """One that is not comes whole once there is room."""
    async with recording() as server, trio.open_nursery() as waiting:
        room = Room()
        client = open_transport(target(server.port, engine="httpx", concurrency=1), shared=Upkeep(room))
        held, server.default = full(room), recorder.answer(200, BODY)
        for _ in range(3):  # it has two connections
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send, post())
                await until_async(lambda: room.line, "it waits")
                nursery.cancel_scope.cancel()
        assert (room.held_bytes, room.line) == (RECEIVED_BYTES, {})

        async def send() -> None:
            response = await client.send(post())
            assert (response.body, response.note, room.held_bytes) == (BODY, None, 0)

        waiting.start_soon(send)
        await until_async(lambda: room.line, "it waits")
        held.free()
    await client.aclose()


def room_of(client: LeanClient) -> Room:
    return client._upkeep.room  # noqa: SLF001 - what is held is seen nowhere else


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_long_answer_waits_for_room_unread(ours: Authority, scheme: str) -> None:
    """It holds none meanwhile, and comes whole once there is some."""
    async with running(ours if scheme == "https" else None) as (client, server):
        server.script.append(recorder.answer(200, BODY))
        held, sink = full(room_of(client)), Noting()
        service(client).start(post(), sink)
        await until_async(lambda: room_of(client).line, "it waits")
        assert await turns(0.1) <= 3
        assert (sink.response, room_of(client).held_bytes) == (None, RECEIVED_BYTES)
        held.free()
        await sink.end()
        assert sink.response is not None
        assert (sink.response.body, sink.response.note, room_of(client).held_bytes) == (BODY, None, 0)
        assert leaves_nothing(client)


async def turns(seconds: float) -> int:
    """How often tasks run within so many seconds."""
    count = 0

    class Steps(trio.abc.Instrument):
        def before_task_step(self, _task: trio.lowlevel.Task) -> None:
            nonlocal count
            count += 1

    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    await trio.sleep(seconds)
    trio.lowlevel.remove_instrument(steps)
    return count


async def test_a_task_that_attends_waits_for_room_too(ours: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Readiness, descriptor: int, who: object) -> None:
        raise OSError("no more")

    monkeypatch.setattr(Readiness, "watch", refuse)
    await test_a_long_answer_waits_for_room_unread(ours, "http")


def cancel(exchange: Exchange, client: LeanClient) -> None:
    exchange.cancel()


def abandon(exchange: Exchange, client: LeanClient) -> None:
    exchange.abandon()


def expire(exchange: Exchange, client: LeanClient) -> None:
    assert exchange._connection is not None  # noqa: SLF001 - what its deadline cuts off
    exchange._connection.expire()  # noqa: SLF001


def close(exchange: Exchange, client: LeanClient) -> None:
    service(client).close()


@rows(("end", "said"), [(cancel, None), (abandon, "abandoned"), (expire, "answered"), (close, "abandoned")])
async def test_what_waits_for_room_leaves_none_held_at_its_end(
    end: Callable[[Exchange, LeanClient], None], said: str | None
) -> None:
    async with running() as (client, server):
        server.script.append(recorder.raw(HEAD + BODY[:100], keep=True))
        held, sink = full(room_of(client)), Noting()
        exchange = service(client).start(post(), sink)
        await until_async(lambda: room_of(client).line, "it waits")
        end(exchange, client)
        assert sink.said == ["may send", "may send", "sending", *([said] if said else [])]
        assert not room_of(client).line
        held.free()
        assert room_of(client).held_bytes == 0
        assert leaves_nothing(client)
        if sink.response is not None:
            assert (sink.response.status, sink.response.body, sink.response.note) == (200, BODY[:100], TRUNCATED)


@rows("end", [cancel, expire, close])
async def test_what_is_being_received_leaves_none_held(end: Callable[[Exchange, LeanClient], None]) -> None:
    async with running() as (client, server):
        server.script.append(recorder.raw(HEAD + BODY[:100], keep=True))
        sink = Noting()
        exchange = service(client).start(post(), sink)
        await until_async(lambda: room_of(client).held_bytes, "it is received")
        end(exchange, client)
        assert room_of(client).held_bytes == 0
        if end is expire:
            assert isinstance(sink.error, MaybeSent)


async def test_an_answer_that_breaks_off_after_a_wait_is_cut() -> None:
    async with running() as (client, server):
        server.script.append(recorder.raw(HEAD + BODY[:-1]))
        held, sink = full(room_of(client)), Noting()
        service(client).start(post(), sink)
        await until_async(lambda: room_of(client).line, "it waits")
        held.free()
        await sink.end()
        assert sink.response is not None
        assert sink.response.note == TRUNCATED
        assert room_of(client).held_bytes == 0


def chunks(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"2000\r\n%b\r\n" % (b"x" * 8192) * (size // 8192)


@pytest.mark.parametrize("engine", ["lean", "httpx"])
@rows(("answer", "most"), [
    (chunks(STEP_BYTES) + b"0\r\n\r\n", 4 * FREE_BYTES),
    (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * STEP_BYTES, 4 * FREE_BYTES),
    (HEAD + BODY, 2 * FREE_BYTES),
])  # fmt: skip
async def test_an_answer_that_gets_no_room_is_cut(engine: str, answer: bytes, most: int) -> None:
    async with recording() as server:
        room = Room()
        client = open_transport(target(server.port, engine=engine), shared=Upkeep(room))
        held = full(room)
        server.script.append(recorder.raw(answer, keep=True))
        response = await client.send(post(timeout_s=0.4))
        assert (response.status, response.note) == (200, TRUNCATED)
        assert len(response.body) <= most
        assert room.held_bytes == RECEIVED_BYTES
        held.free()
        server.script.append(recorder.answer(200, BODY))
        whole = await client.send(post())
        assert (whole.body, whole.note, room.held_bytes) == (BODY, None, 0)
        await client.aclose()


@rows(("body", "note"), [
    (b"[" + b"[]," * 60_000 + b"[]]", UNPARSED),
    (b"\n<iq>" + b"<a/>" * 30_000, UNPARSED),
    (b'"' + b"x" * 180_000 + b'"', None),
    (b"[" + b"[]," * 20_000 + b"[]]", None),
])  # fmt: skip
async def test_an_answer_is_parsed_only_where_there_is_room(
    body: bytes, note: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as (client, server):
        Holding(room_of(client).share("t")).hold(SHARE_BYTES - STEP_BYTES)
        monkeypatch.setattr(rooms, "RECEIVED_BYTES", SHARE_BYTES)
        server.script.append(recorder.answer(200, body))
        response = await client.send(post())
        assert (response.body, response.note) == (body, note)
        assert response.parsable == (b"" if note else body)


async def test_no_more_is_decoded_than_there_is_room_for() -> None:
    async with running() as (client, server):
        held = Holding(room_of(client).share("t"))
        held.hold(SHARE_BYTES - STEP_BYTES)
        packed = gzip.compress(b"x" * 4 * STEP_BYTES)
        server.script.append(recorder.answer(200, packed, (("Content-Encoding", "gzip"),)))
        response = await client.send(post())
        assert (len(response.body), response.note) == (STEP_BYTES, TRUNCATED)


def exhaust(*_given: object) -> None:
    raise MemoryError


async def test_an_exhausted_parser_cuts_its_answer_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (client, server):
        server.script.append(recorder.answer(200, BODY))
        with monkeypatch.context() as patched:
            patched.setattr(AnswerReader, "on_body", exhaust)
            response = await client.send(post())
        assert (response.status, response.body, response.note) == (200, b"", TRUNCATED)
        assert (await client.send(post())).body == b"0"
        assert room_of(client).held_bytes == 0


async def test_a_listener_without_memory_ends_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (client, _server):
        with monkeypatch.context() as patched:
            patched.setattr(type(service(client).known_heads), "read", exhaust)
            with pytest.raises(MemoryError):
                await client.send(post())
        assert (await client.send(post())).body == b"0"
        assert leaves_nothing(client)
