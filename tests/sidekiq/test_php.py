"""PHP producers, as in the README of the original broker: pushed by real PHP and Predis, delivered by restbroker.

PHP cannot tell an empty object from an empty list: parameters without any member arrive as `[]`. The original's
example says `retry: false`; with Sidekiq such a job vanishes when it fails.
"""

import json
import shutil
import subprocess
from typing import Any

import pytest

from restbroker.job.json_types import Json
from tests.support.beside_ruby import Beside
from tests.support.ruby import SCRIPTS
from tests.support.shared import TOKEN
from tests.support.wait import until

QUEUE = "rest"


def push(one: Beside, args: list[Json]) -> bytes:
    """Pushes a job by PHP, and returns what it stored."""
    php = shutil.which("php")
    assert php, "php is not installed; `make test` installs it, or: sudo apt-get install php-cli php-nrk-predis"
    request: dict[str, Json] = {"redis": one.redis_url, "namespace": one.namespace, "queue": QUEUE, "args": args}
    done = subprocess.run(
        [php, "-d", "display_errors=stderr", str(SCRIPTS / "push.php")],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr + done.stdout
    return str(json.loads(done.stdout)).encode()


def delivered(one: Beside) -> list[dict[str, Any]]:
    return [{"command": arrival.command, **arrival.arguments} for arrival in one.server.http.arrivals]


PARAMETERS: dict[str, Json] = {
    "user": "jürgen",
    "host": "example.org",
    "password": "a/b\\c\"d'☃😀",
    "age": 42,
    "share": 0.5,
    "whole": 2.0,
    "yes": True,
    "none": None,
}


@pytest.mark.promise("Defects of the Go original", "the example in PHP lost its job")
@pytest.mark.promise("Sidekiq: queues", "other clients: PHP")
@pytest.mark.parametrize("beside", ["", pytest.param("app", marks=pytest.mark.nightly)], indirect=True)
def test_parameters_pushed_by_php_arrive_as_they_were_meant(beside: Beside) -> None:
    beside.broker()
    raw = push(beside, ["register", PARAMETERS, TOKEN])
    assert rb"a\/b" in raw
    assert rb"j\u00fcrgen" in raw
    assert rb"\u2603\ud83d\ude00" in raw
    until(lambda: beside.server.http.arrivals, "it is delivered")
    beside.wait_until_finished()
    assert delivered(beside) == [{"command": "register", **PARAMETERS}]
    assert beside.number("stat:processed") == 1
    assert beside.number("stat:failed") == 0


@pytest.mark.promise("Sidekiq: queues", "other clients: PHP")
@pytest.mark.nightly
def test_a_job_of_php_without_parameters_is_delivered_with_none(beside: Beside) -> None:
    beside.broker()
    for command in ("connected_users", "status_list"):
        raw = push(beside, [command, {}, TOKEN])
        assert f'"{command}",[],'.encode() in raw
    until(lambda: len(beside.server.http.arrivals) == 2, "both are delivered")
    beside.wait_until_finished()
    assert sorted(arrival["command"] for arrival in delivered(beside)) == ["connected_users", "status_list"]
    assert all(arrival.keys() == {"command"} for arrival in delivered(beside))
