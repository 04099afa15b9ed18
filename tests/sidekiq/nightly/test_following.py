"""`dead retry --wait` and `edit --retry --wait`: what a running broker made of the jobs that a person sent again."""

import time
from typing import Any

from restbroker.store.sets import size
from tests.support import process
from tests.support.scripted import Citizen, job


def park(citizen: Citizen, *users: str) -> None:
    for number, user in enumerate(users):
        failed: dict[str, Any] = {"error_class": "ServerError", "error_message": "It was down.", "retry_count": 2}
        raw = job(user, failed_at=time.time() - 9, **failed)
        citizen.client.command("ZADD", "dead", time.time() - 900 + number, raw)


def command(citizen: Citizen, *words: str) -> tuple[int, str, str]:
    done = process.run([*words, "--config", str(citizen.config)], directory=citizen.directory)
    return done.returncode, done.stdout, done.stderr


def test_a_retry_that_waits_tells_what_was_done_and_what_failed(citizen: Citizen) -> None:
    citizen.start()
    park(citizen, "anna", "refused1", "bert", "refused2", "hangs")
    words = ["dead", "retry", "--all", "--yes", "--wait", "--config", str(citizen.config)]
    with process.started(words, directory=citizen.directory) as running:
        running.wait_for("5 jobs retried")
        citizen.wait_until_in("dead", 2)
        citizen.wait_until_sent(5)
        citizen.script.released.set()
        assert running.wait() == 7
        told = running.output()
    assert "3 jobs done, 2 failed again." in told
    assert "2 jobs: Refused: 400 The server says: 0" in told
    assert "(restbroker dead list --where 'failure_group = " in told


def test_an_edit_that_waits_ends_well_when_all_are_done(citizen: Citizen) -> None:
    citizen.start()
    park(citizen, "refused1", "refused2")
    words = ("dead", "edit", "--all", "user=anna", "--retry", "--yes", "--wait")
    code, _, told = command(citizen, *words)
    assert (code, size(citizen.client, "dead")) == (0, 0)
    assert "2 jobs done." in told
    assert [arrival.arguments["user"] for arrival in citizen.server.arrivals] == ["anna", "anna"]
