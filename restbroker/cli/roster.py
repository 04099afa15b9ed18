"""`restbroker roster serve`: serve only rosters, where no broker serves them. All of it is in `app` and below."""

import signal
import sys
from typing import Annotated

import typer

from restbroker.config.core import LoadedConfig
from restbroker.console.exits import Exit
from restbroker.console.load_config import ConfigOption, load_with_notices, print_notices
from restbroker.console.options import JsonLogsOption
from restbroker.errors import ConfigError
from restbroker.rosters.command import app


@app.command()
def serve(
    stats: Annotated[bool, typer.Option("--stats", help="Serve the web pages and /metrics too.")] = False,
    json_logs: JsonLogsOption = False,
    config: ConfigOption = None,
) -> None:
    """Serve rosters to Prosody, and deliver nothing.

    Stops on SIGTERM or Ctrl-C. The section Roster of the configuration says what is served where. SIGHUP reloads it.
    """
    found = load_with_notices(config)
    if found.config.roster is None:
        raise ConfigError(
            "The configuration has no section Roster, which says where to serve rosters.", 'Add "Roster": {}.'
        )

    def load() -> LoadedConfig:
        return load_with_notices(found.path or config)

    # A stop during the start has nothing to end; later the service listens for itself. SIGHUP: see `__main__`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(Exit.OK))
    print_notices(found)
    # Trio and the web libraries take long to import: not for `--help` or a wrong configuration.
    from restbroker.app.services import Parts
    from restbroker.app.single import run

    run(found.config, load, Parts(rosters=True, pages=stats), json_logs=json_logs)
