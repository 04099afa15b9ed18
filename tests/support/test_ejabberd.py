"""The ejabberd that people keep running beside restbroker."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.support.ports import accepts, free_port
from tests.support.process import clean_environment
from tests.support.wait import until


def test_an_ejabberd_that_a_script_started_in_the_background_ends_by_sigterm(tmp_path: Path) -> None:
    port = free_port()
    said = tmp_path / "said"
    # What a shell does for "... &" in a script.
    command = f"trap '' INT; exec {sys.executable} -m tests.support.ejabberd --port {port}"
    with said.open("wb") as output:
        process = subprocess.Popen(["sh", "-c", command], env=clean_environment(), cwd=tmp_path, stdout=output)
    try:
        until(lambda: "ejabberd answers" in said.read_text(), "it answers", timeout_s=60)
        assert accepts(port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert not accepts(port)
    finally:
        process.kill()
        process.wait()
