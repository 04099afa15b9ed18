"""`restbroker run`: the broker itself, in one process or several. Everything it does is in `app` and below."""

import socket
import sys
from collections.abc import Callable
from typing import Annotated, get_args

import typer

from restbroker.config.core import Config, LoadedConfig
from restbroker.config.values import LogLevel
from restbroker.console.exits import Exit
from restbroker.console.load_config import load_to_serve, print_notices
from restbroker.console.options import ConfigOption, JsonLogsOption, option
from restbroker.errors import UsageError
from restbroker.job.json_types import Json

app = typer.Typer(add_completion=False)

_WORKER = "--worker"
MOST_PROCESSES = 256
"""The limit of the key Processes, which thus need not be imported for `--help`."""
# Of its own: a supervisor that is older than its workers gives none.
_NUMBER = "--number"


@app.command()
def run(
    processes: Annotated[
        # As text: what is no such number is told in our own words.
        str | None,
        option(
            "N", f"Run this many processes, 1 to {MOST_PROCESSES}, under one supervisor. (default: Processes, or 1)"
        ),
    ] = None,
    log_level: Annotated[str | None, option("--log-level LEVEL", "debug, info, warning or error.")] = None,
    worker: Annotated[bool, typer.Option(_WORKER, hidden=True, help="Started by a supervisor.")] = False,
    number: Annotated[int | None, typer.Option(_NUMBER, hidden=True, help="The worker's number, for its log.")] = None,
    test: Annotated[
        bool, option("--test", "Load the configuration as a start does, and end: with 2 if it cannot be used.")
    ] = False,
    json_logs: JsonLogsOption = False,
    config: ConfigOption = None,
) -> None:
    """Serve the queues until SIGTERM or Ctrl-C, then finish jobs in progress within ShutdownTimeout.

    A second signal stops at once. Jobs that were not sent return to their queues. SIGHUP reloads the configuration.

    With --test nothing is connected or served: a package tries so whether the next start can use the configuration.
    """
    if number is not None and not worker:
        raise UsageError(f"{_NUMBER} is only for processes that a supervisor starts.", "Use --processes.")
    flags: dict[str, Json] = {"LogLevel": _level(log_level), "Processes": _count(processes)}
    given = {name: value for name, value in flags.items() if value is not None}
    found, load = load_to_serve(config, given)
    if worker:
        raise typer.Exit(_as_worker(found.config, load, json_logs=json_logs, number=number))
    print_notices(found)
    if test:
        from restbroker.app.build import require_usable

        require_usable(found.config)
        return
    serve = _as_broker if found.config.processes == 1 else _as_supervisor
    raise typer.Exit(serve(found.config, load, json_logs=json_logs))


# Trio and the HTTP client take a quarter of a second to import: not for `--help` or a wrong configuration.


def _as_broker(
    config: Config,
    load: Callable[[], LoadedConfig],
    *,
    json_logs: bool,
    line: socket.socket | None = None,
    number: int | None = None,
) -> int:
    from restbroker.app.build import run as serve

    ended = serve(config, load, json_logs=json_logs, line=line, worker=number)
    if ended.second_signal is not None:
        return 128 + ended.second_signal
    return Exit.OK if ended.clean else Exit.FAILED


def _as_supervisor(config: Config, load: Callable[[], LoadedConfig], *, json_logs: bool) -> int:
    from restbroker.app.no_delivery import supervise

    # The very same interpreter, options of Python's own and arguments.
    command = [sys.executable, *sys.orig_argv[1:], _WORKER, _NUMBER]
    return supervise(config, load, command, json_logs=json_logs)


def _as_worker(config: Config, load: Callable[[], LoadedConfig], *, json_logs: bool, number: int | None) -> int:
    try:
        line = socket.socket(fileno=0)
    except OSError as error:
        raise UsageError(f"{_WORKER} is only for processes that a supervisor starts.", "Use --processes.") from error
    return _as_broker(config, load, json_logs=json_logs, line=line, number=number)


# Flags are refused here where they are wrong, since the file is not to blame for them.


def _level(given: str | None) -> Json:
    levels = get_args(LogLevel)
    if given is None or given in levels:
        return given
    message = f"--log-level: expected one of {', '.join(levels)}, found {given[:20]!r}."
    raise UsageError(message, "Give one of these, or leave it out to use the key LogLevel, or info.")


def _count(processes: str | None) -> Json:
    if processes is None:
        return None
    if len(processes) < 10 and processes.isdecimal() and 1 <= int(processes) <= MOST_PROCESSES:
        return int(processes)
    raise UsageError(
        f"--processes: expected a whole number from 1 to {MOST_PROCESSES}, found {processes[:20]!r}.",
        "Give such a number, or leave it out to use the key Processes, or 1.",
    )
