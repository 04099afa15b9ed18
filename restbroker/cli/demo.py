"""`restbroker demo`: everything at work on this machine, with nothing to install or configure."""

import os
from typing import Annotated, Literal

import typer

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    server: Annotated[
        Literal["ejabberd", "openfire"],
        typer.Option("--server", metavar="SERVER", help="The server that the stand-in plays: ejabberd or openfire."),
    ] = "ejabberd",
    stay: Annotated[bool, typer.Option("--stay", help="Keep everything running afterwards, until Ctrl-C.")] = False,
) -> None:
    """Run everything on a private Redis and a stand-in for a server, check the result, and exit.

    Takes $RESTBROKER_REDIS_SERVER, valkey-server or redis-server from PATH, or that of requirements/demo.lock.
    """
    # Trio takes its time to import: not for `--help`.
    from restbroker.demo.demo import run

    raise typer.Exit(run(os.environ, server, stay=stay))
