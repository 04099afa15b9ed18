"""`restbroker web`: only the pages, for a host on which no broker runs. All of it is in `app` and below."""

import signal
import sys

import typer

from restbroker.config.core import LoadedConfig
from restbroker.console.exits import Exit
from restbroker.console.load_config import ConfigOption, load_with_notices, print_notices
from restbroker.console.options import JsonLogsOption
from restbroker.job.json_types import Json

app = typer.Typer(add_completion=False)


@app.command()
def web(
    json_logs: JsonLogsOption = False,
    config: ConfigOption = None,
) -> None:
    """Serve the web pages, /stats and /metrics until SIGTERM or Ctrl-C, without delivering jobs.

    They show and control all brokers on the configured Redis. The keys are those of `run` (StatsBind, StatsPort,
    StatsUser, …), with Stats true. SIGHUP reloads the configuration.
    """
    given: dict[str, Json] = {"Stats": True}
    found = load_with_notices(config, given)

    def load() -> LoadedConfig:
        return load_with_notices(found.path or config, given)

    # A stop during the start has nothing to end; later the pages listen for themselves. SIGHUP: see `__main__`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(Exit.OK))
    print_notices(found)
    # Trio and the web libraries take long to import: not for `--help` or a wrong configuration.
    from restbroker.app.no_delivery import serve
    from restbroker.app.services import Parts

    serve(found.config, load, Parts(pages=True), json_logs=json_logs)
