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
from restbroker.demo.environment import PROGRAM, TOKEN, Environment, describe, open_environment
from restbroker.demo.printer import Printer, open_printer
from restbroker.demo.scenario import QUEUE, SCENES, Scenario
from restbroker.demo.steps import STORY, stop
from restbroker.errors import RestbrokerError


def run(environ: Mapping[str, str], server: str = "ejabberd", *, stay: bool) -> int:
    """Play the demo and return the exit code; `stay` keeps everything up until SIGINT or SIGTERM.

    `server` is one of `SCENES`. Raise a group of `RestbrokerError` when a part does not start or a promise is not kept.
    """
    return trio.run(partial(_main, SCENES[server], open_printer(environ), environ, stay=stay))


async def _main(scene: Scenario, speaker: Printer, environ: Mapping[str, str], *, stay: bool) -> int:
    finished = False
    with (
        tempfile.TemporaryDirectory(prefix="restbroker-demo-") as folder,
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
    ):
        async with trio.open_nursery() as nursery:
            story = trio.CancelScope()
            nursery.start_soon(_cancel_at_signals, signals, (story, nursery.cancel_scope), speaker)
            async with open_environment(scene, speaker, environ, Path(folder)) as stage:
                # Only what is in here ends at the first signal: the stage then ends the broker before its Redis.
                with story:
                    await _tell(stage, stay=stay)
                    finished = True
                    if stay:
                        await _stay(stage)
            nursery.cancel_scope.cancel()
    return 0 if finished else 128 + signal.SIGINT


async def _tell(stage: Environment, *, stay: bool) -> None:
    """Play the story; without `stay`, end the broker too, and print a summary."""
    began_s = time.monotonic()
    for step in STORY:
        await step(stage)
    if not stay:
        await stop(stage)
    took_s = time.monotonic() - began_s
    stage.voice.write(f"\nAll as promised: {stage.voice.kept} checks in {duration_text(took_s)}.")


async def _stay(stage: Environment) -> None:
    """Print what can be tried, and show what arrives at the server, until cancelled."""
    scene = stage.scene
    lines = [
        f"export RESTBROKER_CONFIG={shlex.quote(str(stage.config))}",
        f"printf s3cret | {PROGRAM} enqueue {scene.create} {scene.user}=mary password=-",
        f"{PROGRAM} enqueue --wait {scene.look} {scene.user}=mary",
        f"{PROGRAM} stats",
        f"{PROGRAM} dead",
    ]
    client = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if client is not None:
        job = json.dumps({"args": [scene.ping, {}, TOKEN], "retry": True})
        lines.append(f"{Path(client).name} -p {stage.redis_port} lpush queue:{QUEUE} {shlex.quote(job)}")
    shown = "\n".join(f"  {line}" for line in lines)
    stage.voice.write(f"\nEverything stays up until Ctrl-C. In another terminal:\n\n{shown}\n\nWhat the server gets:")
    seen = len(stage.stand_in.arrivals)
    while True:
        for arrival in stage.stand_in.arrivals[seen:]:
            stage.voice.show(describe(arrival))
            seen += 1
        if stage.broker.poll() is not None:
            raise RestbrokerError(f"The broker ended unexpectedly, with {stage.broker.returncode}.", f"See {stage.log}")
        await trio.sleep(0.1)


async def _cancel_at_signals(
    signals: AsyncIterator[int], scopes: tuple[trio.CancelScope, ...], speaker: Printer
) -> None:
    """Cancel one more scope at each signal."""
    remaining = list(scopes)
    async for _ in signals:
        speaker.write("\nStopping.")
        if remaining:
            remaining.pop(0).cancel()
