"""Ten thousand copies a second from a recorded stream, for a minute: read, judged and pushed with a bounded effort."""

import gzip
import hashlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast
from xml.etree.ElementTree import Element, XMLPullParser

import attrs
import pytest

from tests.events.component.mix import NAME
from tests.events.component.test_ejabberd import configure, reads
from tests.support.ejabberd import SECRET, Ejabberd
from tests.support.player import FOLDER
from tests.support.process import Running, started
from tests.support.redis_server import RedisServer
from tests.support.wait import until

PER_S: Final = 10_000
LASTS_S: Final = float(os.environ.get("COPIES_S", "60"))
MOST_TIMES: Final = 10
"""How much more CPU than Python's own parser needs for the same bytes."""
MOST_MIB: Final = 64
"""How much memory it may take besides what it has at the beginning: 32 MiB of events may wait."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


RECORDED: Final = min(FOLDER.glob("ejabberd/*/component.xml.gz"))


def stream() -> tuple[bytes, bytes, int]:
    """The recorded stream's head, what follows its handshake, and how many stanzas that is."""
    whole = gzip.decompress(RECORDED.read_bytes())
    head, _, rest = whole.partition(b"<handshake/>")
    return head, rest, rest.count(f"<message to='{NAME}'".encode())


def loops(rest: bytes, count: int) -> Iterator[bytes]:
    """The same, so many times, each with other marks, so that its events are others."""
    for number in range(count):
        yield rest.replace(b"mix-", f"mix-{number}x".encode()).replace(b"end-", f"end-{number}x".encode())


@attrs.define(eq=False)
class Player:
    """Plays the stream to the one who connects."""

    count: int
    listener: socket.socket = attrs.field(factory=lambda: socket.create_server(("127.0.0.1", 0)))
    took_s: float = 0.0

    def play(self) -> None:
        with self.listener, self.listener.accept()[0] as line:
            self._talk(line)

    def _talk(self, line: socket.socket) -> None:
        head, rest, stanzas = stream()
        line.recv(4096)
        line.sendall(head)
        number = re.search(rb"<stream:stream id='([^']+)'", head)
        assert number is not None
        digest = hashlib.sha1(number[1] + SECRET.encode(), usedforsecurity=False).hexdigest()
        assert digest.encode() in line.recv(4096)
        line.sendall(b"<handshake/>")
        began_s = time.monotonic()
        for played, data in enumerate(loops(rest, self.count), 1):
            line.sendall(data)
            time.sleep(max(0.0, began_s + played * stanzas / PER_S - time.monotonic()))
        self.took_s = time.monotonic() - began_s
        while line.recv(65_536):
            pass


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def highest_mib(pid: int) -> float:
    (found,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found) / 1024


def parser_s(rest: bytes, count: int) -> float:
    """The CPU that Python's own parser needs for all of it."""
    parser: XMLPullParser[Element] = XMLPullParser(["start", "end"])
    began_s = time.process_time()
    parser.feed(stream()[0])
    stanzas: list[Element] = []
    for data in loops(rest, count):
        for at in range(0, len(data), 65_536):
            parser.feed(data[at : at + 65_536])
            for kind, element in cast("Iterator[tuple[str, Element]]", parser.read_events()):
                if kind == "start":
                    stanzas.append(element)
                elif len(stanzas) == 2:
                    stanzas.pop()
                    stanzas[0].clear()
                else:
                    stanzas.pop()
    return time.process_time() - began_s


@contextmanager
def playing(place: Path, redis: RedisServer, lasts_s: float, **options: object) -> Iterator[tuple[Player, Running]]:
    """Plays to a broker for so long, and then until nothing more comes into the queue."""
    redis.flush()
    player = Player(int(PER_S * lasts_s / stream()[2]) + 1)
    configure(place, Ejabberd(place, component_port=player.listener.getsockname()[1]), redis, **options)
    threading.Thread(target=player.play, daemon=True).start()
    with started(["run"], directory=place) as broker:
        reads(broker)
        yield player, broker


def jobs(server: RedisServer, after_s: float = 0.0) -> int:
    """How many jobs are in the queue after these seconds."""
    time.sleep(after_s)
    return int(server.command("LLEN queue:xmpp_events")[1:])


def end(player: Player, redis: RedisServer) -> None:
    """Returns once all is sent and pushed."""
    until(lambda: player.took_s, "all is sent", 20 * LASTS_S)
    # Behind the last event the queue does not grow.
    until(lambda: jobs(redis) == jobs(redis, 2.0), "all is pushed", 60)


@pytest.mark.promise
def test_ten_thousand_copies_a_second_take_ten_times_a_parser(redis_server: RedisServer, tmp_path: Path) -> None:
    with playing(tmp_path, redis_server, LASTS_S) as (player, broker):
        began_s, began_mib = cpu_s(broker.process.pid), highest_mib(broker.process.pid)
        end(player, redis_server)
        took_s = cpu_s(broker.process.pid) - began_s
        grown_mib = highest_mib(broker.process.pid) - began_mib
    _, rest, stanzas = stream()
    least_s = parser_s(rest, player.count)
    copies, expected = (
        player.count * stanzas,
        player.count * RECORDED.with_name("component.jsonl").read_text().count("\n"),
    )
    summary = f"{copies} copies in {player.took_s:.1f} s, CPU {took_s:.1f} s, parser alone {least_s:.1f} s"
    summary += f", {took_s / least_s:.1f} times, {began_mib:.0f} and {grown_mib:.0f} MiB more"
    print(summary)  # noqa: T201  what was measured
    assert jobs(redis_server) >= expected, "and presences without a mark"
    assert took_s <= MOST_TIMES * least_s, summary
    assert copies / took_s >= PER_S, summary
    assert grown_mib < MOST_MIB, summary


@pytest.mark.promise
def test_memory_is_bounded_while_redis_stands_still(redis_server: RedisServer, tmp_path: Path) -> None:
    """Some seconds fill what may wait; then it is left unread, and then read and lost."""
    with playing(tmp_path, redis_server, 15.0, MaxUnread="2s") as (player, broker):
        began_mib = highest_mib(broker.process.pid)
        redis_server.suspend()
        until(lambda: player.took_s, "all is sent", 300)
        grown_mib = highest_mib(broker.process.pid) - began_mib
        redis_server.resume()
        lost = int(broker.wait_for(r"(\d+) events between \S+ and \S+ are lost")[1])
        end(player, redis_server)
    pushed = jobs(redis_server)
    print(f"{pushed} pushed, {lost} lost, {grown_mib:.0f} MiB more")  # noqa: T201  what was measured
    assert grown_mib < MOST_MIB
