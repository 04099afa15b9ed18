"""A broker as a child process: `restbroker run` as users run it.

Used by `demo` and `crashtest`. Always holds: a child has a process group of its own. Ctrl-C reaches the process that
started it, which then ends it in good order.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trio

COMMAND: Final = (sys.executable, "-m", "restbroker")


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables that would count as configuration (RESTBROKER_*)."""
    return {name: value for name, value in environ.items() if not name.startswith("RESTBROKER_")}


async def spawn(config: Path, log: Path, environ: Mapping[str, str]) -> trio.Process:
    """Start a broker that writes its output to `log`, and return its process."""
    with log.open("wb") as output:
        return await trio.lowlevel.open_process(
            [*COMMAND, "run", "--config", str(config)],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
        )


async def end(process: trio.Process, patience_s: float = 5.0) -> None:
    """Send a process SIGTERM, and kill it after `patience_s` seconds. Goes on to the end when cancelled."""
    with trio.CancelScope(shield=True):
        process.terminate()
        with trio.move_on_after(patience_s) as patience:
            await process.wait()
        if patience.cancelled_caught:
            process.kill()
            await process.wait()


def last_words(log: Path) -> str:
    """Return the last ten lines that a child wrote."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:])
