"""`restbroker retries`: the jobs that wait for their next try, next due first."""

import typer

from restbroker.cli import jobs
from restbroker.cli.configured import ConfigOption, JsonOption, quietly

app = typer.Typer(add_completion=False)


@app.command()
def retries(config: ConfigOption = None, limit: jobs.LimitOption = 20, json: JsonOption = False) -> None:
    """Show the jobs that wait for their next try, next due first. Arguments and tokens are not shown.

    In a pipe each line is: when it is due (UTC), job id, command, error class, message.
    """
    jobs.show(quietly(config), "retry", limit, as_json=json)
