"""What an idle process asks of Redis, as docs/redis.md lists it: Redis counts no other command."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support import process
from tests.support.answering import AnsweringServer
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.several import target
from tests.support.shared import TOKEN
from tests.support.wait import until

PAGE: Final = (Path(__file__).parents[2] / "docs/redis.md").read_text()
MINUTE_S: Final = 60.0
PROMISE: Final = re.compile(r"at most (\d+) commands a second.*?sends at most (\d+)\.", re.DOTALL)
ONCE: Final = {"SCRIPT|LOAD", "CLIENT|SETNAME", "CONFIG|RESETSTAT", "HLEN", "SET", "HDEL", "SMEMBERS", "SCARD"} | {
    *("HVALS", "SISMEMBER", "LMOVE"),  # a fetch that does not stand
}
"""What is called at the start alone, or where no queue has ever had a job."""

Keys = Mapping[str, object]
NONE: Final[Keys] = {}


def is_near(times: int, expected: float) -> bool:
    """One minute differs from another, and the start asks for some things once."""
    return abs(times - expected) <= 0.15 * expected + 6


def rows() -> list[tuple[float, list[str], list[str]]]:
    """Of each row: seconds, the commands that are sent, and those that the script runs."""
    table = PAGE.partition("## While nothing happens")[2].partition("## ")[0]
    found = re.findall(r"^\| [^|]+ \| ([0-9.]+) \| ([^|]*)\| ([^|]*)\|$", table, re.MULTILINE)
    return [(float(each_s), re.findall("[A-Z]+", sent), re.findall("[A-Z]+", inside)) for each_s, sent, inside in found]


def counted(redis: RedisServer) -> Counter[str]:
    """How often each command was called, that which asks for it aside."""
    lines = redis.command("INFO commandstats")
    found = Counter({name.upper(): int(calls) for name, calls in re.findall(r"cmdstat_([a-z|]+):calls=(\d+)", lines)})
    return found - Counter(["INFO"])


@contextmanager
def idle(redis: RedisServer, place: Path, targets: int, of_target: Keys = NONE, more: Keys = NONE) -> Iterator[None]:
    """A process that runs, and has nothing to do. `of_target`: what its targets have besides, `more`: what it has."""
    with AnsweringServer(lambda _: 200) as server:
        document = {
            "RedisURL": redis.url,
            "Token": TOKEN,
            "LogLevel": "error",
            "Targets": {f"t{number}": target(server.port, f"q{number}", **of_target) for number in range(targets)},
            **more,
        }
        (place / "env.json").write_text(json.dumps(document))
        with process.started(["run", "--config", str(place / "env.json")], directory=place):
            until(lambda: redis.command("HLEN restbroker:beats") == f":{targets}\r\n", "it runs")
            yield


@pytest.mark.nightly  # a minute is measured
def test_idle_process_runs_only_the_commands_that_docs_list(
    tmp_path: Path, make_redis: Callable[..., RedisServer]
) -> None:
    redis, expected, sent = make_redis(), dict[str, float](), 0.0
    for each_s, commands, inside in rows():
        sent += len(commands) / each_s
        for name in (*commands, *inside):
            expected[name] = expected.get(name, 0.0) + MINUTE_S / each_s
    with idle(redis, tmp_path, 1):
        redis.command("CONFIG RESETSTAT")
        time.sleep(MINUTE_S)
        calls = counted(redis)
    promise = PROMISE.search(PAGE.replace("**", ""))
    assert promise is not None
    assert calls.total() <= int(promise[1]) * MINUTE_S
    assert sent <= int(promise[2])
    far = {name: (calls[name], round(often)) for name, often in expected.items() if not is_near(calls[name], often)}
    assert (far, calls.keys() - expected.keys() - ONCE) == ({}, set())


LIMITS: Final[Keys] = {"RateLimit": "100/s", "MaxInFlight": 5}
DAILY: Final = {"Cron": "30 4 * * *", "Command": "delete_old_messages", "Arguments": {"days": 30}}
SOURCE: Final = {"Kind": "prosody-rest", "Path": "/prosody", "Queue": "events", "Class": "Event", "Secret": "s" * 32}


@pytest.mark.nightly
@pytest.mark.parametrize("what", ["order", "fairness", "limits", "all"])
def test_keys_of_a_target_cost_no_more_while_nothing_happens(
    tmp_path: Path, make_redis: Callable[..., RedisServer], what: str
) -> None:
    """A fetch that stands learns by one question that nothing waits."""
    redis, promise, document = make_redis(), PROMISE.search(PAGE.replace("**", "")), dict[str, object]()
    of_targets: Mapping[str, Keys] = {
        "order": {"OrderBy": ["user"]},
        "fairness": {"FairBy": ["user"]},
        "limits": LIMITS,
        "all": {"FairBy": ["host"], "OrderBy": ["host", "user"], **LIMITS},
    }
    if what == "all":
        events = {"Listen": f"127.0.0.1:{free_port()}", "Sources": {"prosody": SOURCE}}
        document = {"History": "1h", "Periodic": {"daily": DAILY}, "Events": events}
    with idle(redis, tmp_path, 1, of_targets[what], document):
        redis.command("CONFIG RESETSTAT")
        time.sleep(MINUTE_S)
        assert promise is not None
        assert counted(redis).total() <= int(promise[1]) * MINUTE_S


@pytest.mark.nightly
def test_a_hundred_idle_targets_run_few_commands(tmp_path: Path, make_redis: Callable[..., RedisServer]) -> None:
    """Each fetch stands for half a minute, and one call beats for all."""
    redis = make_redis()
    with idle(redis, tmp_path, 100):
        time.sleep(MINUTE_S / 2)
        redis.command("CONFIG RESETSTAT")
        time.sleep(MINUTE_S)
        assert counted(redis).total() <= 120 * MINUTE_S
