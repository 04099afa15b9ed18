"""`restbroker web`: only the pages, for a host on which no broker runs. All of it is in `app` and below."""

import typer

from restbroker.console.load_config import load_to_serve, print_notices
from restbroker.console.options import ConfigOption, JsonLogsOption

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
    found, load = load_to_serve(config, {"Stats": True})
    print_notices(found)
    # Trio and the web libraries take long to import: not for `--help` or a wrong configuration.
    from restbroker.app.no_delivery import serve

    serve(found.config, load, {"pages"}, json_logs=json_logs)
