"""A thousand processes are told to stop at random instants of their start: each ends within a second, with 0 or 143.

TERM_STARTS is how many. Beside the first of them jobs wait in Redis: the server gets each of them once.
"""

import json
import os
import random
import select
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Final

import attrs
import pytest

from restbroker.store.client import StoreSettings, integer, open_client
from tests.support.answering import AnsweringServer, Arrival
from tests.support.ports import free_port
from tests.support.process import Stopwatch, started
from tests.support.redis_server import RedisServer
from tests.support.shared import TOKEN
from tests.support.wait import NEVER_S, until

STARTS: Final = int(os.environ.get("TERM_STARTS", "1000"))
JOBS: Final = 2000
WORKERS: Final = 4
RUN, GROUP = ("run",), ("run", "--processes", "3")
_OF_A_GROUP: Final = 4
"""Its supervisor and its workers: so many processes start at once, however they are told to."""


@attrs.frozen
class Places:
    """Addresses: of Redis, of one that accepts and is silent, of one that drops what comes, and of none."""

    redis: str
    silent: str
    drops: str
    nobody: str


@pytest.fixture
def places(redis_server: RedisServer) -> Iterator[Places]:
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096))
        drops = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # They fill its backlog: Linux drops what comes then.
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(drops.getsockname())
        at = [f"127.0.0.1:{port}" for port in (silent.getsockname()[1], drops.getsockname()[1], free_port())]
        yield Places(redis_server.url.split("/")[2], at[0], at[1], at[2])


def configuration(redis: str, server: str, **more: object) -> Mapping[str, object]:
    target = {"Kind": "ejabberd", "URL": f"http://{server}/api", "Queues": ["rest"], "Domain": "example.org"}
    return {"RedisURL": f"redis://{redis}/0", "Token": TOKEN, "Targets": {"one": target}, **more}


def component(server: str) -> Mapping[str, object]:
    options = {"Address": server, "Name": "events.example.org", "Hosts": ["example.org"], "Pass": "x", "Target": "one"}
    return {"Sources": {"e": {"Kind": "ejabberd-component", "Queue": "events", "Class": "Event", "Options": options}}}


def end_of(words: Sequence[str], config: Mapping[str, object], place: Path, number: int) -> tuple[int, float, str]:
    """The exit code of a process that is told to stop, the seconds that took (no wait for a core), and what it said."""
    place.mkdir()
    (place / "env.json").touch(0o600)
    (place / "env.json").write_text(json.dumps(config))
    moment_s = random.Random(number).uniform(0.0, 3.0)
    with started([*words, "--config", "env.json"], directory=place) as running:
        time.sleep(moment_s)
        watch = Stopwatch.start(running)
        end = os.pidfd_open(running.process.pid)
        running.signal(signal.SIGTERM)
        select.select([end], [], [], NEVER_S)
        took_s = watch.took_s()  # Before its exit code is taken, with which the system forgets how long it waited.
        os.close(end)
        return running.wait(), took_s, running.output()


@pytest.mark.parametrize(
    ("words", "redis", "server"),
    [
        (RUN, "redis", "nobody"),
        (RUN, "silent", "nobody"),
        (RUN, "drops", "nobody"),
        (RUN, "nobody", "nobody"),
        (RUN, "redis", "silent"),
        (RUN, "redis", "drops"),
        (GROUP, "redis", "nobody"),
        (GROUP, "silent", "silent"),
        (("web",), "silent", "nobody"),
        (("roster", "serve", "--stats"), "silent", "nobody"),
    ],
)
def test_a_start_ends_within_a_second_of_a_stop(
    words: Sequence[str], redis: str, server: str, places: Places, tmp_path: Path
) -> None:
    at = getattr(places, server)
    config = configuration(
        getattr(places, redis), at, StatsPort=0, Stats=True, Roster={"Listen": "127.0.0.1:0"}, Events=component(at)
    )
    at_once = _OF_A_GROUP if words == GROUP else 1
    with ThreadPoolExecutor(WORKERS // at_once) as pool:
        tries = range(STARTS // 10 // at_once)
        ends = list(pool.map(lambda number: end_of(words, config, tmp_path / str(number), number), tries))
    wrong = [end for end in ends if end[0] not in (0, -signal.SIGTERM) or end[1] > 1.0 or "Traceback" in end[2]]
    assert wrong == []


def answer_late(_arrival: Arrival) -> int:
    time.sleep(0.01)
    return 200


def test_no_job_is_lost_or_doubled_by_stops_of_starts(redis_server: RedisServer, tmp_path: Path) -> None:
    client, users = open_client(StoreSettings(redis_server.url)), iter(range(JOBS))
    with AnsweringServer(answer_late) as server:
        config = configuration(redis_server.url.split("/")[2], f"127.0.0.1:{server.port}")
        ends = []
        for number in range(STARTS // 20):
            for user in islice(users, JOBS * 20 // STARTS):
                args = ["check_account", {"user": f"u{user}", "host": "example.org"}, TOKEN]
                client.command("LPUSH", "queue:rest", json.dumps({"class": "Add", "jid": f"j{user}", "args": args}))
            ends.append(end_of(RUN, config, tmp_path / str(number), number))
        with started(["run", "--config", str(tmp_path / "0" / "env.json")], directory=tmp_path / "last") as last:
            pushed = next(users, JOBS)
            until(lambda: len({arrival.arguments["user"] for arrival in server.arrivals}) >= pushed, "all came", 120.0)
            assert last.stop() == 0
    assert {code for code, _, _ in ends} <= {0, -signal.SIGTERM}
    times = Counter(arrival.arguments["user"] for arrival in server.arrivals)
    assert (len(times), max(times.values())) == (pushed, 1)
    assert not any(integer(client.command("ZCARD", name)) for name in ("retry", "dead"))
