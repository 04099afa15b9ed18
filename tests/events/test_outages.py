"""Redis fails, the process stops, or someone holds every place: no event is called taken that is not, in bounds."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import httpx
import pytest
import trio
import trio.testing

from restbroker.config.events import EventSource
from restbroker.config.secret import Secret
from restbroker.errors import StoreUnavailable
from restbroker.events.deliver import PATIENCE_S, Deliverer
from restbroker.events.webhook import AT_ONCE, Webhooks
from restbroker.job.event import ServerEvent
from restbroker.servers.event_contract import Delivery
from restbroker.serving.plain import HttpRequest
from restbroker.serving.runner import GRACE_S, Server
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.store.events import IncomingEvent, PushResult
from restbroker.transport.room import RECEIVED_BYTES, STEP_BYTES, Holding, Room
from tests.events.conftest import EVENT, MESSAGE, PATH, SOURCE, Hall, Open, sent
from tests.support.process import Stopwatch
from tests.support.wait import until_async

GUARDED = attrs.evolve(SOURCE, secret=Secret("a-secret-of-sixteen"))
SIGN_IN = {"Authorization": "Bearer a-secret-of-sixteen"}
OTHER = attrs.evolve(SOURCE, name="guarded", path="/events/guarded", secret=Secret("a-secret-of-sixteen"))
_FLOOD = 2 * AT_ONCE
"""When the first places are free again after ten seconds, others of them wait for these."""


async def posted(one: Hall, answers: list[httpx.Response], number: int = 0) -> None:
    answers.append(await one.post(dict(MESSAGE, id=str(number))))


@pytest.mark.promise("Events", "Redis is frozen, back soon, full, or has another type")
async def test_while_redis_is_frozen_the_server_hears_of_it_in_time(hall: Open) -> None:
    async with hall(hurried=True) as one:
        assert (await one.post()).status_code == 202
        one.redis.suspend()
        try:
            watch = Stopwatch.start()
            answer = await one.post()
            took_s, passed_s = watch.took_s(), watch.passed_s()
        finally:
            one.redis.resume()
        assert answer.status_code == 503
        assert took_s < PATIENCE_S + 3
        assert passed_s >= PATIENCE_S - 0.1
        assert one.outcomes() == ["accepted", "unavailable"]
        (warned,) = one.warnings()
        assert warned.code == "EventNotTaken"
        assert "did not answer in time" in warned.message or "within 2 s" in warned.message
        await until_async(lambda: one.redis.command("PING"), "Redis answers")
        assert (await one.post()).status_code == 202


@pytest.mark.promise("Events", "Redis is frozen, back soon, full, or has another type")
async def test_a_redis_that_is_back_within_two_seconds_is_not_noticed(hall: Open) -> None:
    async with hall() as one:
        assert (await one.post()).status_code == 202
        # It hangs up on everybody, and is there again.
        one.store.command("CLIENT", "KILL", "TYPE", "normal")
        assert (await one.post(dict(MESSAGE, id="m2"))).status_code == 202
        one.redis.suspend()
        answers: list[httpx.Response] = []
        try:
            async with trio.open_nursery() as nursery:
                for number in range(5):
                    nursery.start_soon(posted, one, answers, number)
                await trio.sleep(0.3)
                one.redis.resume()
        finally:
            one.redis.resume()
    assert [answer.status_code for answer in answers] == [202] * 5
    assert one.warnings() == []


async def test_an_event_whose_sender_left_is_not_pushed_later(deliverer: Deliverer, store: Client) -> None:
    event = attrs.evolve(EVENT, id="left")
    with trio.move_on_after(0.05):
        await deliverer.deliver(SOURCE, event)
    async with trio.open_nursery() as nursery:
        await nursery.start(deliverer.run)
        await deliverer.deliver(SOURCE, EVENT)
        nursery.cancel_scope.cancel()
    assert store.command("LLEN", f"queue:{SOURCE.queue}") == 1


@pytest.mark.promise("Events", "the answer of Redis is lost: one job")
async def test_a_push_whose_answer_is_lost_makes_one_job(
    deliverer: Deliverer, store: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    hear = Connection.push_events

    async def lossy(connection: Connection, arrivals: Sequence[IncomingEvent]) -> list[PushResult]:
        calls.append(len(arrivals))
        answers = await hear(connection, arrivals)
        if len(calls) == 1:
            raise StoreUnavailable("The answer is lost.")
        return answers

    monkeypatch.setattr(Connection, "push_events", lossy)
    async with trio.open_nursery() as nursery:
        await nursery.start(deliverer.run)
        assert (await deliverer.deliver(SOURCE, EVENT)).verdict == "accepted"
        nursery.cancel_scope.cancel()
    assert (calls, store.command("LLEN", f"queue:{SOURCE.queue}")) == ([1, 1], 1)


async def test_events_that_come_together_go_to_redis_together(deliverer: Deliverer, store: Client) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(500):
            nursery.start_soon(deliverer.deliver, SOURCE, attrs.evolve(EVENT, id=str(number)))
        await trio.testing.wait_all_tasks_blocked()
        store.command("CONFIG", "RESETSTAT")
        await nursery.start(deliverer.run)
        await until_async(lambda: store.command("LLEN", f"queue:{SOURCE.queue}") == 500, "all are pushed", 60)
        nursery.cancel_scope.cancel()
    stats = store.command("INFO", "commandstats")
    assert isinstance(stats, bytes)
    calls = sum(int(line.split(b"calls=")[1].split(b",")[0]) for line in stats.splitlines() if b"stat_evalsha:" in line)
    assert 3 <= calls <= 5


async def test_stop_is_soon_over_despite_open_connections(hall: Open) -> None:
    async with hall() as one:
        assert (await one.post()).status_code == 202
        idle = await one.connect()
        half = await one.connect()
        await half.send_all(sent(b"", length=5))
        watch = Stopwatch.start()
    assert watch.took_s() < 1 + GRACE_S
    for stream in (idle, half):
        await stream.aclose()


@pytest.mark.promise("Events", "the process is told to stop")
async def test_stop_reports_events_waiting_for_a_frozen_redis(hall: Open) -> None:
    answers: list[httpx.Response | httpx.TransportError] = []

    async def post(one: Hall) -> None:
        try:
            answers.append(await one.post(dict(MESSAGE, id="late")))
        except httpx.TransportError as error:
            answers.append(error)

    async with hall(hurried=True) as one:
        one.redis.suspend()
        try:
            async with trio.open_nursery() as outer:
                outer.start_soon(post, one)
                await trio.sleep(0.2)
                one.stop()
        finally:
            one.redis.resume()
    (answer,) = answers
    assert isinstance(answer, httpx.TransportError) or answer.status_code == 503


@pytest.mark.promise("Security: who can reach the ports", "as a server, to write into the log or use up memory")
@pytest.mark.parametrize(
    ("source", "headers", "room"), [(GUARDED, SIGN_IN, AT_ONCE), (SOURCE, {}, AT_ONCE // 2)], ids=["secret", "none"]
)
async def test_more_at_once_than_there_is_room_for_wait_their_turn(
    source: EventSource, headers: dict[str, str], room: int
) -> None:
    inside: list[int] = []
    go = trio.Event()

    async def take(_source: EventSource, _event: ServerEvent, /) -> Delivery:
        inside.append(len(inside))
        await go.wait()
        return Delivery("accepted")

    app = Webhooks([source], take, _ignore, _ignore, Room()).app
    server = Server("events", "Events.Listen", "127.0.0.1", 0, app, _ignore)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        port = int(server.addresses[0].rpartition(":")[2])
        async with trio.open_nursery() as senders:
            for _ in range(room + 30):
                senders.start_soon(taken, port, headers)
            await until_async(lambda: len(inside) >= room, "there is no more room")
            await trio.sleep(0.1)
            assert len(inside) == room
            go.set()
        nursery.cancel_scope.cancel()
    assert len(inside) == room + 30


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b"x" * 100_000, (503, 400, 400)),
        (b"[" + b"[]," * 100_000 + b"[]]", (503, 503, 400)),
        (b"[" + b"[]," * 150_000 + b"[]]", (503, 413, 413)),
        (b"<r>" + b"<i>5</i>" * 40_000 + b"</r>", (503, 413, 413)),
        (b"x" * 1000, (400, 400, 400)),
    ],
    ids=["long", "much to parse", "more JSON than a share", "more XML than a share", "short"],
)
async def test_no_room_now_is_said_only_of_what_others_hold(body: bytes, statuses: tuple[int, ...]) -> None:
    """With others' requests, with fewer of them, and alone, where it is read (and here is no event)."""

    async def take(_source: EventSource, _event: ServerEvent, /) -> Delivery:
        return Delivery("accepted")

    room, parts = Room(), list[bytes]()
    app = Webhooks([SOURCE], take, _ignore, _ignore, room).app
    headers = ((b"host", b"localhost"), (b"content-type", b"application/json"))

    async def status() -> int:
        parts[:] = [body[:60_000], body[60_000:], b""]

        async def read_part() -> bytes:
            return parts.pop(0)

        return (await app.respond(HttpRequest("POST", PATH.encode(), headers, "127.0.0.1", read_part))).status

    held = Holding(room.share(f"source {SOURCE.name}"))
    found = list[int]()
    for size in (RECEIVED_BYTES, RECEIVED_BYTES - STEP_BYTES, 0):
        held.hold(size)
        found.append(await status())
        held.free()
    assert (tuple(found), room.held_bytes) == (statuses, 0)


async def taken(port: int, headers: dict[str, str]) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(sent(b'{"kind":"message"}', path=PATH, length=18, **headers))
        assert (await stream.receive_some()).split()[1] == b"202"


def _ignore(_event: object) -> None:
    pass


async def test_a_source_says_how_long_redis_may_take(deliverer: Deliverer) -> None:
    began_s = trio.current_time()
    with pytest.raises(StoreUnavailable, match="within 50 ms"):
        await deliverer.deliver(attrs.evolve(SOURCE, patience_s=0.05), EVENT)
    assert trio.current_time() - began_s < 30


@asynccontextmanager
async def flooded(one: Hall, path: str, places: int, headers: dict[str, str]) -> AsyncIterator[None]:
    """From 127.0.0.1 so many requests stand there whose bodies do not come, until the block ends."""
    reading: list[bytes] = []

    async def hold() -> None:
        async with await one.connect() as stream:
            await stream.send_all(sent(b"", path=path, length=5, Expect="100-continue", **headers))
            reading.append(await stream.receive_some())
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for _ in range(_FLOOD):
            nursery.start_soon(hold)
        await until_async(lambda: len(reading) >= places, "all places are taken")
        assert all(answer.startswith(b"HTTP/1.1 100 ") for answer in reading)
        yield
        nursery.cancel_scope.cancel()


@pytest.mark.promise("Security: who can reach the ports", "to hold all places for events")
async def test_a_flood_without_a_secret_keeps_out_no_others(
    hall: Open,
) -> None:
    async with hall(SOURCE, OTHER) as one, flooded(one, str(SOURCE.path), AT_ONCE // 4, {}):
        assert (await one.post(path=str(OTHER.path), **SIGN_IN)).status_code == 202
        transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
        async with httpx.AsyncClient(timeout=60, transport=transport) as elsewhere:
            answer = await elsewhere.post(f"{one.url}{SOURCE.path}", json=dict(MESSAGE))
        assert answer.status_code == 202
        assert [job["args"][0]["id"] for job in one.jobs()] == ["m1", "m1"]
    assert "EventNotTaken" not in {warned.code for warned in one.warnings()}


@pytest.mark.promise("Security: who can reach the ports", "to hold all places for events")
async def test_a_flood_with_a_secret_takes_no_place_of_others(hall: Open) -> None:
    async with hall(SOURCE, OTHER) as one, flooded(one, str(OTHER.path), AT_ONCE // 2, SIGN_IN):
        assert (await one.post()).status_code == 202
    assert "EventNotTaken" not in {warned.code for warned in one.warnings()}
