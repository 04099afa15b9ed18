"""Dead jobs are edited and sent again while the command, the broker and Redis are killed."""

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.process import clean_environment
from tests.support.redis_server import RedisServer
from tests.support.scripted import Citizen, job, ready
from tests.support.wait import until

JOBS = 20_000
_NEVER_S = 240


def dead(number: int) -> tuple[bytes, float]:
    why = "Argument 'host' is wrong."
    raw = job(f"u{number}", arguments={"host": "exmaple.org"}, error_class="BadArgument", error_message=why)
    return raw, 1_700_000_000 + number


@pytest.fixture
def citizen(tmp_path: Path, make_redis: Callable[..., RedisServer]) -> Iterator[Citizen]:
    with ready(tmp_path, make_redis(appendonly="yes", appendfsync="always")) as citizen:
        yield citizen


def jids(raw: Any) -> Counter[str]:
    """Of all places of jobs."""
    sets = (raw.zrange(zset, 0, -1) for zset in ("retry", "schedule", "dead"))
    return Counter(json.loads(one)["jid"] for one in chain(raw.lrange("queue:rest", 0, -1), *sets))


def test_each_job_is_done_as_edited_or_in_one_place_though_all_are_killed(citizen: Citizen) -> None:
    members = dict(dead(number) for number in range(JOBS))
    with redis.Redis(port=citizen.redis.port) as raw:
        raw.zadd("dead", members)
    command = [sys.executable, "-m", "restbroker", "dead", "edit", "--where", "host = exmaple.org"]
    command += ["host=example.net", "--retry", "--yes", "--config", str(citizen.config)]
    chance, broker = random.Random(7), citizen.start()
    for attempt in range(9):
        running = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=clean_environment(None)
        )
        try:
            running.wait(timeout=chance.uniform(0.8, 1.6))
        except subprocess.TimeoutExpired:
            if attempt % 3 == 1:
                broker.signal(signal.SIGKILL)
                broker = citizen.start()
            elif attempt % 3 == 2:
                citizen.redis.kill()
                citizen.redis.start()
            running.kill()
        running.communicate()
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_NEVER_S, check=False, env=clean_environment(None)
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    until(lambda: not citizen.queued() and not citizen.in_hand(), "nothing waits any more", _NEVER_S)
    assert broker.stop() == 0
    sent = {arrival.arguments["user"]: arrival.arguments["host"] for arrival in citizen.server.arrivals}
    with redis.Redis(port=citizen.redis.port) as raw:
        places = jids(raw)
    users = {json.loads(member)["jid"]: json.loads(member)["args"][1]["user"] for member in members}
    assert len(users) == JOBS
    assert max(places.values(), default=1) == 1, "none is in two places"
    assert {jid for jid, user in users.items() if user not in sent} <= set(places), "none is lost"
    assert set(sent.values()) == {"example.net"}, "none is sent as it was"
    assert len(sent) > JOBS * 0.9
