"""A pytest that is killed leaves no process behind, whatever its tests have started."""

import signal
import sys
from pathlib import Path

import pytest

from tests.support.process import started
from tests.support.wait import until

KINDS = {"python", "redis-server", "sidekiq", "tmux", "beam", "lua", "epmd", "chromedriver", "chromium"}
"""How the names of their programs begin."""


def processes(variable: str) -> dict[int, str]:
    """The names of the living processes with this in their environment, and of what these have started."""
    named, parents, found = {}, {}, set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (process / "stat").read_text().partition("(")[2].rpartition(")")
            if rest.split()[0] == "Z":
                continue
            pid = int(process.name)
            named[pid], parents[pid] = name, int(rest.split()[1])
            found |= {pid} if variable.encode() in (process / "environ").read_bytes() else set()
        except OSError:
            continue
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: named[pid] for pid in found}


@pytest.mark.slow
def test_a_killed_pytest_leaves_no_process(tmp_path: Path) -> None:
    variable = f"KILLED_IN={tmp_path}"
    tests = Path(__file__).with_name("one_of_each.py")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n", "2", str(tests)]
    pytest_itself = started([], directory=tmp_path / "run", environ={"KILLED_IN": str(tmp_path)}, command=command)
    with pytest_itself as running:

        def all_started() -> bool:
            assert running.process.poll() is None, running.output()
            return (tmp_path / "brokers").exists() and (tmp_path / "servers").exists()

        until(all_started, "everything is started")
        before = processes(variable)
        missing = {kind for kind in KINDS if not any(name.startswith(kind) for name in before.values())}
        assert not missing, f"it did not start {missing}, but {before}"
        running.process.send_signal(signal.SIGKILL)
        until(lambda: not left(before), f"nothing is left of {before}", 10)
        assert not processes(variable)


def left(before: dict[int, str]) -> dict[int, str]:
    return {pid: name for pid, name in before.items() if is_alive(pid)}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
