"""`restbroker demo`: the main job end to end, on a Redis and a server of its own.

Called by `cli.demo`. Always holds: it ends with an error if anything was not as promised, and leaves nothing running
and nothing on disk; the broker is ended before the Redis that holds its jobs.
"""

import json
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from restbroker.config.values import duration_text
from restbroker.store.settings import StoreSettings
from restbroker.trial import redis_server
from restbroker.trial.brokers import Fleet, cancel_at_signal, end
from restbroker.trial.stand_in import StandIn
from restbroker.trial.steps import (
    PASSWORD,
    PROGRAM,
    STEPS,
    TOKEN,
    Environment,
    Printer,
    describe,
    open_printer,
    stop,
)
from restbroker.trial.witness import Witness, open_redis
from restbroker.trial.workload import DOMAIN, QUEUE, USER

_STOP_TIMEOUT_S = 30.0


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
        async with _open(printer, environ, Path(folder)) as environment:
            # Only what is in here ends at a signal: the broker is then ended before its Redis.
            with trio.CancelScope() as scope:
                stopping = partial(printer.write, "\nStopping.")
                environment.fleet.nursery.start_soon(cancel_at_signal, signals, scope, stopping)
                await _run_steps(environment, stay=stay)
                finished = True
                if stay:
                    await _keep_running(environment)
    return 0 if finished else 128 + signal.SIGINT


@asynccontextmanager
async def _open(printer: Printer, environ: Mapping[str, str], folder: Path) -> AsyncIterator[Environment]:
    """Start every part in `folder` for the block, and end it again; raise `RestbrokerError` if one does not start."""
    binary = redis_server.find_server(environ)
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(redis_server.serve, binary, folder)
        stand_in = StandIn(nursery, USER, TOKEN, frozenset({DOMAIN}))
        await stand_in.come_up()
        printer.write(f"Redis     {binary} on port {port}")
        printer.write(f"ejabberd  a stand-in on port {stand_in.port}")
        settings = StoreSettings(f"redis://127.0.0.1:{port}/0")
        with open_redis(settings) as redis:
            url = f"http://127.0.0.1:{stand_in.port}/api"
            fleet = Fleet(settings, folder, Witness(redis), url, TOKEN, nursery=nursery, environ=environ)
            try:
                broker = await fleet.start()
                printer.write(f"broker    {PROGRAM} run --config {broker.config}")
                yield Environment(printer, fleet, stand_in, port)
            finally:
                for broker in fleet.brokers:
                    await end(broker.process, _STOP_TIMEOUT_S)
        nursery.cancel_scope.cancel()


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
    seen = len(environment.stand_in.requests)
    while True:
        for request in environment.stand_in.requests[seen:]:
            environment.printer.show(describe(request))
            seen += 1
        environment.broker.require_alive()
        await trio.sleep(0.1)
