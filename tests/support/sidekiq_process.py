"""A real `sidekiq` process (Debian's 6.4.1) that runs tests/sidekiq/worker.rb, as a neighbour of restbroker.

Used by the tests of tests/sidekiq/. Always holds: a missing `sidekiq` is a failure that says how to install it, and the
process does not outlive its `with` block.
"""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from restbroker.store import processes
from restbroker.store.client import Client
from tests.support import process
from tests.support.process import Running
from tests.support.ruby import SCRIPTS, environment
from tests.support.wait import until

SLOW_POLL_S: Final = 3600.0
"""With it a process never moves a due job while a test lasts."""

_MOVED = re.compile(r"enqueued (?:retry|schedule): (\{.*\})$", re.MULTILINE)


@attrs.frozen
class SidekiqProcess:
    """A running process. `identity` is its name in `processes`; `witness` the file of what it and others executed."""

    running: Running
    identity: str
    witness: Path

    def moved(self) -> list[dict[str, Any]]:
        """Each job that it moved out of the retry or schedule set, as it was there, in order."""
        return [json.loads(found[1]) for found in _MOVED.finditer(self.running.output())]

    def kill(self) -> None:
        self.running.process.kill()
        self.running.wait()


def executions(witness: Path) -> list[dict[str, Any]]:
    text = witness.read_text(encoding="utf-8") if witness.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def how_many(witness: Path) -> int:
    """How many executions a witness file has: cheap enough to be asked again and again."""
    return witness.read_bytes().count(b"\n") if witness.exists() else 0


def sidekiq_command() -> str:
    """Debian's `sidekiq`; fails with the way to install it."""
    command = shutil.which("sidekiq", path="/usr/bin")
    assert command, "sidekiq is not installed; `make test` installs it, or: sudo apt-get install ruby-sidekiq"
    return command


@contextmanager
def sidekiq_process(
    client: Client,
    redis_url: str,
    directory: Path,
    *queues: str,
    poll_s: float = 1.0,
    namespace: str = "",
    options: Sequence[str] = ("-c", "5"),
) -> Iterator[SidekiqProcess]:
    """Runs `sidekiq` for these queues, from its first beat on. `client` looks into the same database and namespace.

    Its first look at the due jobs comes up to 5 s later, the next ones each 0.5 to 1.5 times `poll_s` seconds.
    """
    command = sidekiq_command()
    directory.mkdir(parents=True, exist_ok=True)
    witness = directory / "witness"
    extra = {"POLL_S": str(poll_s), "WITNESS": str(witness)}
    environ = environment(redis_url, namespace=namespace, extra=extra)
    arguments = ["-r", str(SCRIPTS / "worker.rb"), *(part for queue in queues for part in ("-q", queue)), *options]
    with process.started(arguments, directory=directory, environ=environ, command=[command]) as running:
        yield SidekiqProcess(running, _identity(client, running), witness)


def _identity(client: Client, running: Running) -> str:
    def found() -> str | None:
        assert running.process.poll() is None, f"sidekiq ended:\n{running.output()}"
        names = (record.name for record in processes.read_all(client, with_work=False))
        return next((name for name in names if name.split(":")[1] == str(running.process.pid)), None)

    identity = until(found, "the sidekiq process is in `processes`")
    assert identity is not None
    return identity
