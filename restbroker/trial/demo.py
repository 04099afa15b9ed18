"""`restbroker demo`: the main job end to end, on a Redis and a server of its own.

Called by `cli.demo`. Always holds: it ends with an error if anything was not as promised, and leaves nothing running
and nothing on disk.
"""

import json
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

import trio

from restbroker.config.values import duration_text
from restbroker.trial.environment import (
    PASSWORD,
    PROGRAM,
    TOKEN,
    Environment,
    Printer,
    describe,
    open_environment,
    open_printer,
)
from restbroker.trial.steps import STEPS, stop
from restbroker.trial.workload import QUEUE


def run(environ: Mapping[str, str], *, stay: bool) -> int:
    """Run the demo and return the exit code; `stay` keeps everything up until SIGINT or SIGTERM.

    Raise a group of `RestbrokerError` when a part does not start or a promise is not kept.
    """
    return trio.run(partial(_main, open_printer(environ), environ, stay=stay))


async def _main(printer: Printer, environ: Mapping[str, str], *, stay: bool) -> int:
    finished = False
    with (
        tempfile.TemporaryDirectory(prefix="restbroker-demo-") as folder,
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
    ):
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            nursery.start_soon(_cancel_at_signals, signals, (scope, nursery.cancel_scope), printer)
            async with open_environment(printer, environ, Path(folder)) as environment:
                # Only what is in here ends at the first signal: the environment then ends the broker before its Redis.
                with scope:
                    await _run_steps(environment, stay=stay)
                    finished = True
                    if stay:
                        await _keep_running(environment)
            nursery.cancel_scope.cancel()
    return 0 if finished else 128 + signal.SIGINT


async def _run_steps(environment: Environment, *, stay: bool) -> None:
    """Run the steps; without `stay`, end the broker too, and print a summary."""
    began_s = time.monotonic()
    for step in STEPS:
        await step(environment)
    if not stay:
        await stop(environment)
    took_s = time.monotonic() - began_s
    environment.printer.write(
        f"\nAll as promised: {environment.printer.promises_kept} checks in {duration_text(took_s)}."
    )
    if not stay:
        environment.printer.write(
            "Next: `make demo STAY=1` (installed: `restbroker demo --stay`) keeps it running; "
            "then README, Your first job."
        )


async def _keep_running(environment: Environment) -> None:
    """Print what can be tried, and show what arrives at the server, until cancelled."""
    lines = [
        f"export RESTBROKER_CONFIG={shlex.quote(str(environment.broker.config))}",
        f"printf {PASSWORD} | {PROGRAM} enqueue register user=mary password=-",
        f"{PROGRAM} enqueue --wait check_account user=mary",
        f"{PROGRAM} stats",
        f"{PROGRAM} dead",
    ]
    client = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if client is not None:
        job = json.dumps({"args": ["status", {}, TOKEN], "retry": True})
        lines.append(f"{Path(client).name} -p {environment.redis_port} lpush queue:{QUEUE} {shlex.quote(job)}")
    shown = "\n".join(f"  {line}" for line in lines)
    environment.printer.write(
        f"\nEverything stays up until Ctrl-C. In another terminal:\n\n{shown}\n\nWhat the server gets:"
    )
    seen = len(environment.ejabberd.requests)
    while True:
        for request in environment.ejabberd.requests[seen:]:
            environment.printer.show(describe(request))
            seen += 1
        environment.broker.require_alive()
        await trio.sleep(0.1)


async def _cancel_at_signals(
    signals: AsyncIterator[int], scopes: tuple[trio.CancelScope, ...], printer: Printer
) -> None:
    """Cancel one more scope at each signal."""
    remaining = list(scopes)
    async for _ in signals:
        printer.write("\nStopping.")
        if remaining:
            remaining.pop(0).cancel()
