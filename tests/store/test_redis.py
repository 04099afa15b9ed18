"""The way to Redis alone: cut answers, servers that close, stall or refuse, a cancellation at each wait."""

import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio

from restbroker.errors import ConnectionEnded, RestbrokerError, StoreNotNow, StoreRefused, StoreUnavailable
from restbroker.store import jobs, redis
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection, on_trio
from restbroker.store.failures import ErrorReply
from restbroker.store.in_progress import read_jobs
from restbroker.store.jobs import FetchRequest, FetchResult
from restbroker.store.paging import members_with_word
from restbroker.store.queues import clear
from restbroker.store.redis import RedisLink
from restbroker.store.server import time_s
from restbroker.store.survey import scan
from tests.store.pools import FACTS, QUEUES, Server, redis_over_tls
from tests.support.redis_server import RedisServer
from tests.support.store_calls import fetch
from tests.support.wait import NEVER_S, until

ANSWERS = (
    b"+OK\r\n:-5\r\n$-1\r\n*-1\r\n*3\r\n$1\r\na\r\n-ERR x\r\n*0\r\n$4\r\n\xff\r\n\x00\r\n-WRONGTYPE \xe9\r\n$0\r\n\r\n"
)
WANTED = FetchRequest("h:1:abc:t", "t", QUEUES, base=0, count=5, hwm=2)


def read(*pieces: bytes) -> list[Any]:
    """The answers in these pieces, of which the last one is needed for the last of them."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    link = RedisLink(ours, "here", 1.0, (BlockingIOError,))
    link.expected = 8
    with theirs, closing(link):
        for piece in pieces[:-1]:
            theirs.sendall(piece)
            assert link.receive() is None
        theirs.sendall(pieces[-1])
        replies = link.receive()
    assert replies is not None
    return [str(reply) if isinstance(reply, ErrorReply) else reply for reply in replies]


def test_answers_that_are_cut_anywhere_are_the_same_answers() -> None:
    whole = read(ANSWERS)
    assert whole[:4] == [b"OK", -5, None, None]
    assert [type(item) for item in whole[4]] == [bytes, ErrorReply, list]
    assert whole[5] == b"\xff\r\n\x00"
    assert whole[6].startswith("WRONGTYPE ")
    assert whole[7] == b""
    for place in range(1, len(ANSWERS)):
        assert repr(read(ANSWERS[:place], ANSWERS[place:])) == repr(whole)
    assert repr(read(*(bytes([byte]) for byte in ANSWERS))) == repr(whole)


@contextmanager
def server_that_says(*answers: bytes) -> Iterator[tuple[StoreSettings, list[bytes]]]:
    """One that sends each connection the next of these answers to the first thing it gets, and closes.

    The last one stands for all connections after it. What came is gathered.
    """
    left, came = list(answers), list[bytes]()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            with near:
                came.append(near.recv(65536))
                near.sendall(left.pop(0) if len(left) > 1 else left[0])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield StoreSettings(f"redis://127.0.0.1:{listener.getsockname()[1]}", client_name=""), came
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_server_closing_inside_its_answer_is_unavailable() -> None:
    """It is asked no second time."""
    answer = b"*2\r\n$3\r\nabc\r\n:12\r\n"
    for length in range(len(answer)):
        with server_that_says(answer[:length], answer) as (settings, came):
            client = open_client(settings, 10.0)
            with pytest.raises(StoreUnavailable, match="Connection closed by server"):
                client.command("PING")
            assert not client.is_open
            assert len(came) == 1
            assert client.command("PING") == [b"abc", 12]
            client.close()


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (b"-MOVED 5 10.0.0.1:6379\r\n", StoreRefused, "Redis Cluster cannot hold"),
        (b"-NOAUTH Authentication required.\r\n", StoreUnavailable, "does not accept the login"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", StoreNotNow, "is loading its data"),
        (b"-READONLY You can't write against a read only replica.\r\n", StoreNotNow, "read only replica"),
        (b"-BUSY Redis is busy running a script.\r\n", StoreNotNow, "SCRIPT KILL"),
        (b"-ERR max number of clients reached\r\n", StoreUnavailable, "max number of clients"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", StoreRefused, "Protocol error"),
    ],
)
def test_refusal_is_passing_or_lasting_at_login_as_at_a_command(
    answer: bytes, kind: type[RestbrokerError], message: str
) -> None:
    # A refused CLIENT SETNAME passes, so the choice of a database stands for the login.
    for database in ("0", "1"):
        with server_that_says(answer) as (settings, _):
            url = f"{settings.url.removesuffix('/0')}/{database}"
            client = open_client(StoreSettings(url, client_name=""), 10.0)
            with pytest.raises(kind) as caught:
                client.command("PING")
            assert message in str(caught.value) + str(caught.value.hint)
            client.close()


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (time_s, b"*0\r\n"),
        (lambda client: scan(client, "*", "list"), b"*0\r\n"),
        (lambda client: clear(client, "q", b"last", 1), b"*0\r\n"),
        (lambda client: list(members_with_word(client, "dead", "word")), b"*0\r\n"),
        (lambda client: fetch(client, WANTED), b"*0\r\n"),
        (lambda client: jobs.mark(client, "h:1:abc:t", ["1:0"]), b"*0\r\n"),
        (lambda client: client.transaction([("DEL", "a")]), b"+OK\r\n+QUEUED\r\n*0\r\n"),
        (lambda client: client.transaction([("DEL", "a")]), b":7\r\n:7\r\n:7\r\n"),
    ],
)
def test_an_answer_with_too_little_in_it_is_refused_by_name(ask: Callable[[Client], object], answer: bytes) -> None:
    with server_that_says(answer) as (settings, _):
        client = open_client(settings, 10.0)
        with pytest.raises(StoreRefused, match=r"Redis answered .* where a list of"):
            ask(client)
        client.close()


def test_bytes_behind_an_answer_are_not_the_next_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = open_client(StoreSettings(f"redis://127.0.0.1:{listener.getsockname()[1]}", client_name=""), 10.0)

        def serve() -> None:
            near, _ = listener.accept()
            with near:
                near.recv(65536)
                near.sendall(b"+first\r\n+surplus\r\n")
                near.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        assert client.command("PING") == b"first"
        with pytest.raises(ConnectionEnded):
            client.command("PING")
        thread.join()


async def blocking(steps: redis.Steps[object]) -> object:
    return redis.run_blocking(steps)


@pytest.mark.parametrize("every_s", [0.01, 0.0])
@pytest.mark.parametrize("take", [blocking, on_trio])
async def test_endless_answer_is_given_up_however_steadily_it_drips(
    monkeypatch: pytest.MonkeyPatch, every_s: float, take: Callable[[redis.Steps[Any]], Awaitable[object]]
) -> None:
    monkeypatch.setattr(redis, "LONGEST_ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = open_client(StoreSettings(f"redis://127.0.0.1:{listener.getsockname()[1]}", client_name=""), 10.0)
        given_up = threading.Event()

        def serve() -> None:
            near, _ = listener.accept()
            with near, suppress(OSError):
                near.recv(65536)
                near.sendall(b"$500000000\r\n")
                # With nothing between its pieces there is always something to be read.
                while not given_up.wait(every_s):
                    near.sendall(b"x" if every_s else bytes(1000))

        thread = threading.Thread(target=serve)
        thread.start()
        watchdog = threading.Timer(20.0, given_up.set)
        watchdog.start()
        try:
            with pytest.raises(StoreUnavailable, match="did not answer in time"):
                await take(client.steps_to_run([("due", ["ns:retry"], [])]))
        finally:
            given_up.set()
            watchdog.cancel()
            thread.join()
        assert not client.is_open


async def test_fetch_cancelled_at_any_wait_takes_its_jobs_or_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.raw.lpush("ns:queue:a", *(str(number) for number in range(40)))
    cancelled, taken = 0, 0
    for number in range(10):
        server.raw.script_flush()
        calls = Connection(open_client(server.settings, 10.0))
        identity = f"h:1:{number}:t"
        await calls.call(jobs.register, identity, FACTS, QUEUES)
        server.raw.script_flush()
        await calls.aclose()
        before = server.raw.llen("ns:queue:a")
        scope = trio.CancelScope()
        with monkeypatch.context() as patch:
            waits = count()
            for name in ("wait_readable", "wait_writable"):
                wait = getattr(trio.lowlevel, name)
                patch.setattr(trio.lowlevel, name, partial(cancelling, wait, waits, number, scope))
            with scope:
                request = FetchRequest(identity, "t", QUEUES, base=0, count=2, hwm=2)
                got = await calls.fetch(request)
        if scope.cancelled_caught:
            cancelled += 1
            assert server.raw.llen("ns:queue:a") == before
            # Nothing is left that a later call could take for its answer.
            assert (await calls.call(read_jobs, identity)).jobs == {}
        else:
            taken += 1
            assert isinstance(got, FetchResult)
            assert len(got.jobs) == 2
            assert (await calls.call(read_jobs, identity)).jobs.keys() == {job.ticket for job in got.jobs}
        await calls.aclose()
    assert cancelled
    assert taken


async def cancelling(
    wait: Callable[[Any], Awaitable[None]], waits: Iterator[int], number: int, scope: trio.CancelScope, what: object
) -> None:
    """The same wait, begun within a scope that was cancelled if it is the one of this number."""
    if next(waits) == number:
        scope.cancel()
    await wait(what)


def test_a_message_larger_than_the_kernels_buffers_is_sent_whole(server: Server) -> None:
    client = open_client(server.settings)
    values: Sequence[bytes] = [bytes([65 + number]) * 3_000_000 for number in range(5)]
    assert client.commands([("RPUSH", "ns:queue:big", value) for value in values]) == [1, 2, 3, 4, 5]
    assert client.command("LRANGE", "ns:queue:big", 0, -1) == list(values)
    client.close()


def test_a_closed_connection_is_closed_in_redis_too(server: Server) -> None:
    client = open_client(server.settings)
    number = client.command("CLIENT", "ID")
    client.close()
    until(lambda: not server.raw.client_list(client_id=[number]), "Redis knows that it ended")


def test_server_stalling_in_the_tls_handshake_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis, "LONGEST_ANSWER_S", 2 * NEVER_S)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = StoreSettings(f"rediss://127.0.0.1:{listener.getsockname()[1]}")
        failed: list[RestbrokerError] = []

        def ask() -> None:
            with closing(open_client(settings, 0.05)) as client:
                try:
                    client.command("PING")
                except RestbrokerError as error:
                    failed.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(NEVER_S)
    assert ["did not answer in time" in error.message for error in failed] == [True]


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
async def test_connecting_can_be_cancelled_at_each_wait(
    make_redis: Callable[..., RedisServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    over_tls, own = redis_over_tls(make_redis, tmp_path)
    settings = over_tls if scheme == "rediss" else StoreSettings(own.url)

    async def stalled(wait: Callable[[Any], Awaitable[None]], what: object) -> None:
        if next(waits) != number:
            await wait(what)
        else:
            scope.cancel()
            await trio.sleep_forever()

    number, is_through = -1, False
    while not is_through:
        number += 1
        client, waits, scope = open_client(settings, 5.0), count(), trio.CancelScope()
        with monkeypatch.context() as patch:
            for name in ("wait_readable", "wait_writable"):
                wait = getattr(trio.lowlevel, name)
                patch.setattr(trio.lowlevel, name, partial(stalled, wait))
            with scope:
                await on_trio(client.steps_to_connect())
        assert scope.cancelled_caught == scope.cancel_called
        assert client.is_open != scope.cancelled_caught
        client.close()
        is_through = not scope.cancel_called
    # What is there at once is not waited for, so that there may be fewer the next time.
    assert number
