"""The proxy that makes the way to Redis longer adds its time to every round trip, and takes nothing else away."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks.delay import delayed

ROUND_TRIP_MS = 40.0
TIMEOUT_S = 20.0


@pytest.fixture
def echo() -> Iterator[socket.socket]:
    """A connection through the proxy to a server that sends back what comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server,))
        thread.start()
        with delayed(server.getsockname()[1], ROUND_TRIP_MS) as port:
            connection = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
            with connection:
                yield connection
            thread.join(TIMEOUT_S)
    assert not thread.is_alive(), "the end of a connection was not passed on"


def _serve(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        while data := connection.recv(2**16):
            connection.sendall(data)


def _received(connection: socket.socket, size_bytes: int) -> bytes:
    data = b""
    while len(data) < size_bytes:
        data += connection.recv(2**16)
    return data


def test_every_round_trip_takes_the_time_that_is_asked_for(echo: socket.socket) -> None:
    for _ in range(5):
        began_s = time.monotonic()
        echo.sendall(b"ping")
        assert _received(echo, 4) == b"ping"
        assert time.monotonic() - began_s >= ROUND_TRIP_MS / 1000


def test_what_follows_does_not_wait_for_what_went_before(echo: socket.socket) -> None:
    pieces = 200
    began_s = time.monotonic()
    for _ in range(pieces):
        echo.sendall(b"ping")
        time.sleep(0.001)  # each in a packet of its own
    assert _received(echo, 4 * pieces) == b"ping" * pieces
    one_after_the_other_s = pieces * ROUND_TRIP_MS / 1000
    assert time.monotonic() - began_s < one_after_the_other_s / 2


def test_all_bytes_come_in_their_order(echo: socket.socket) -> None:
    sent = b"".join(number.to_bytes(4) for number in range(500_000))
    sending = threading.Thread(target=echo.sendall, args=(sent,))
    sending.start()
    assert _received(echo, len(sent)) == sent
    sending.join(TIMEOUT_S)
