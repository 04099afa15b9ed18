"""The stand-in for MongooseIM that people keep running beside restbroker."""

import signal
import sys
from pathlib import Path

from tests.support.ports import accepts, free_port
from tests.support.process import started
from tests.support.wait import until


def test_a_stand_in_to_work_with_answers_and_ends_by_sigterm(tmp_path: Path) -> None:
    port = free_port()
    command = (sys.executable, "-m", "tests.support.mongooseim.serve")
    with started([f"--port={port}", "alice@localhost"], directory=tmp_path, command=command) as running:
        running.wait_for(f"stand-in answers at http://localhost:{port}/api/graphql", timeout_s=60)
        assert accepts(port)
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
    until(lambda: not accepts(port), "nothing of it is left")
