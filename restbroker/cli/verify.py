"""`restbroker verify`: the crash test on the user's own Redis."""

import random
import signal
from pathlib import Path
from typing import Annotated, Final

import attrs
import typer

from restbroker.config.urls import BadUrl, redis_address
from restbroker.config.values import duration_text
from restbroker.console import columns, output
from restbroker.console.exits import Exit
from restbroker.console.load_config import load_quietly
from restbroker.console.options import Output, command, option
from restbroker.console.progress import progress
from restbroker.errors import UsageError
from restbroker.operate.connect import store_settings
from restbroker.store.client import StoreSettings
from restbroker.trial.result import TrialResult

app = typer.Typer(add_completion=False)

_VISIBLE: Final = "note: the password is visible in the command line, to `ps` and in the shell's history; use --config."
_BROKEN: Final = "NOT AS PROMISED: see lost, unexpected and unfinished,\nand duplicated, which must not exceed bound."
_UNTESTED: Final = (
    "NOTHING WAS TESTED: no fault hit a job.\n"
    "Run it again with more jobs (--jobs): all may have finished before the first fault."
)


@command(app)
def verify(
    *,
    redis: Annotated[str | None, option("--redis URL", "The URL of Redis, instead of a configuration.")] = None,
    jobs: Annotated[int, option("N", "Push this many jobs.", min=1, max=1_000_000)] = 2000,
    kills: Annotated[int, option("N", "Kill a broker this many times; with 0, nothing breaks.", min=0)] = 5,
    processes: Annotated[int, option("N", "Run this many brokers at once.", min=1, max=64)] = 2,
    seed: Annotated[int | None, option("N", "Repeat the faults of an earlier run.")] = None,
    how: Output,
) -> None:
    """Run brokers on your Redis, kill and freeze them, cut connections, and account for every job.

    Works in a private namespace (restbroker-verify-...), which it removes at the end, and against a private server. It
    does not touch your queues, your XMPP server or other keys. Exits with 0: every promise was kept; 1: a job was lost,
    unexpected or unfinished, too many ran twice, no fault hit a job, or a broker ended unexpectedly; 2: wrong command
    line or configuration, or a Redis that is too old, a replica, part of a cluster or short of memory; 3: Redis is
    unreachable.
    """
    settings = _settings(how.config, redis)
    from restbroker.trial.verify import RunPlan, run  # Trio takes its time: not for `--help`

    wanted = RunPlan(jobs, kills, processes, random.randrange(2**32) if seed is None else seed)  # noqa: S311 - no secret
    with progress() as show:
        result = run(settings, wanted, show)
    if result is None:
        output.say("Interrupted. Its processes and keys are removed.")
        raise typer.Exit(128 + signal.SIGINT)
    if how.json:
        output.as_json(result.as_json())
    else:
        _show(result)
    raise typer.Exit(Exit.OK if result.is_kept and result.is_tested else Exit.FAILED)


def _settings(config: Path | None, redis: str | None) -> StoreSettings:
    if redis is None:
        return store_settings(load_quietly(config))
    if config is not None:
        raise UsageError("--config and --redis both name a Redis.", "Keep one of them.")
    try:
        address = redis_address(redis)
    except BadUrl as bad:
        raise UsageError(f"--redis cannot be used: {bad}") from bad
    if address.password is not None:
        output.say(_VISIBLE)
    return StoreSettings(address.url, password=address.password)


def _show(result: TrialResult) -> None:
    columns.rows(("JOBS", ""), list(attrs.asdict(result.verdict).items()))
    for name, times in result.recovery().items():
        output.row((f"requeued after {name}", *(f"{part} {value:g}" for part, value in times.items())))
    faults = ", ".join(f"{count} {name}" for name, count in result.faults.items()) or "none"
    output.say(f"Faults: {faults}. It took {duration_text(result.took_s)}; the same order again: --seed {result.seed}")
    if result.dead_by_code:
        why = ", ".join(f"{count} {name}" for name, count in result.dead_by_code.items())
        output.say(f"Dead jobs, by code: {why}.")
    said = _BROKEN if not result.is_kept else "Every promise was kept." if result.is_tested else _UNTESTED
    output.say(*said.split("\n"))
