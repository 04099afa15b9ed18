"""`restbroker run`: the broker itself. Everything it does is in `assembly` and below."""

import signal
import sys
from typing import Annotated

import typer

from restbroker.cli.configured import ConfigOption, loaded, tell_notes
from restbroker.cli.exits import Exit
from restbroker.errors import RestbrokerError
from restbroker.rules.json_types import Json

app = typer.Typer(add_completion=False)


@app.command()
def run(
    config: ConfigOption = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Write logs as JSON lines.")] = False,
) -> None:
    """Serve the queues until SIGTERM or Ctrl-C; then finish what is running, within ShutdownTimeout.

    A second signal stops at once; jobs that were not sent go back to their queue. SIGHUP loads the configuration anew.
    """
    flags: dict[str, Json] = {} if log_level is None else {"LogLevel": log_level}
    found = loaded(config, flags)
    tell_notes(found)
    # A stop during the start has nothing to drain; later the broker listens for itself. SIGHUP: see `__main__`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(Exit.OK))
    # Trio and the HTTP client take a quarter of a second to import: not for `--help` or a wrong configuration.
    from restbroker.assembly.build import run as serve

    try:
        ended = serve(found.config, lambda: loaded(found.path or config, flags), json_logs=json_logs)
    except BaseExceptionGroup as group:
        raise _only_error(group) or group from None
    if ended.second_signal is not None:
        raise typer.Exit(128 + ended.second_signal)
    raise typer.Exit(Exit.OK if ended.clean else Exit.FAILED)


def _only_error(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """What a person can act on, if the group that the nurseries made holds nothing else."""
    known, unknown = group.split(RestbrokerError)
    found: BaseException | None = known if unknown is None else None
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
