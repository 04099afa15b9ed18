"""`restbroker run`: what its environment may say, what its first line says, and `restbroker health` beside it."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Shell, configure
from tests.support.ports import free_port
from tests.support.process import started
from tests.support.wait import until


def test_a_running_broker_says_how_it_is(place: Path, shell: Shell) -> None:
    configure(place, HealthBind=f"[::]:{free_port()}")
    with started(["run", "--json-logs"], directory=place) as broker:
        until(lambda: shell("health", "--ready").returncode == 0, "it is ready")
        lives, ready = shell("health"), shell("health", "--ready")
        assert (lives.returncode, json.loads(lives.stdout)) == (0, {"alive": True})
        # A target that is down does not make it unready.
        assert (ready.returncode, json.loads(ready.stdout)["ready"]) == (0, True)
        assert broker.stop() == 0
    gone = shell("health")
    assert (gone.returncode, gone.stdout[:15]) == (1, "No answer from ")


@pytest.mark.parametrize("number", ["0", "-1", "257", "abc", "1.5", "9" * 5000])
def test_a_wrong_number_of_processes_is_blamed_on_the_flag(place: Path, number: str) -> None:
    with started(["run", "--processes", number], directory=place) as broker:
        assert broker.wait() == 2
        said = f"--processes: expected a whole number from 1 to 256, found {number[:20]!r}."
        assert (said in broker.output(), "cannot be used" in broker.output()) == (True, False)
