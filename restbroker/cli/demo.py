"""`restbroker demo`: everything at work on this machine, with nothing to install or configure."""

import os
from typing import Annotated, Literal

import typer

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    server: Annotated[
        Literal["ejabberd", "openfire"], typer.Option("--server", help="Which server to play on a stand-in of.")
    ] = "ejabberd",
    stay: Annotated[bool, typer.Option("--stay", help="Keep everything up afterwards, until Ctrl-C.")] = False,
) -> None:
    """Run the whole thing on a Redis of its own and a stand-in for a server, check it, and end.

    Takes $RESTBROKER_REDIS_SERVER, valkey-server or redis-server from PATH, or that of requirements/demo.lock.
    """
    # Trio takes its time to import: not for `--help`.
    from restbroker.demo.demo import run

    raise typer.Exit(run(os.environ, server, stay=stay))
