"""`restbroker roster`: rosters for Prosody."""

import typer

from restbroker.cli.roster_serve import serve

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Serve rosters to Prosody.")


@app.callback()
def roster() -> None:
    """Serve rosters to Prosody."""


app.command()(serve)
