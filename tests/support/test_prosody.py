"""The Prosody that people keep running beside restbroker."""

import signal
import sys
from pathlib import Path

from tests.support.ports import accepts, free_port
from tests.support.process import started
from tests.support.wait import until
from tests.support.xmpp import Clients


def test_a_prosody_to_work_with_has_accounts_and_ends_by_sigterm(tmp_path: Path) -> None:
    port, c2s_port, roster_port, hook_port = (free_port() for _ in range(4))
    ports = [f"--port={port}", f"--c2s-port={c2s_port}", f"--roster-port={roster_port}", f"--hook-port={hook_port}"]
    command = (sys.executable, "-u", "-m", "tests.support.prosody")
    with started([*ports, "john"], directory=tmp_path, command=command) as running:
        running.wait_for("Prosody answers", timeout_s=60)
        with Clients(c2s_port) as clients:
            clients.login("john", "test", roster=False)
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
    until(lambda: not accepts(port), "nothing of it is left")
