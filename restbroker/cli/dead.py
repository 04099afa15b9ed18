"""`restbroker dead`: the parked jobs, newest first."""

import typer

from restbroker.cli import jobs
from restbroker.cli.configured import ConfigOption, JsonOption, quietly

app = typer.Typer(add_completion=False)


@app.command()
def dead(config: ConfigOption = None, limit: jobs.LimitOption = 20, json: JsonOption = False) -> None:
    """Show the parked jobs, newest first. Arguments and tokens are not shown.

    In a pipe each line is: when it was parked (UTC), job id, command, error class, message.
    """
    jobs.show(quietly(config), "dead", limit, as_json=json)
