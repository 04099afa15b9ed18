"""`restbroker demo`: everything at work on this machine, with nothing to install or configure."""

from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    stay: Annotated[bool, typer.Option("--stay", help="Keep everything running afterwards, until Ctrl-C.")] = False,
) -> None:
    """Show in six scenes what restbroker does, and check it, with a private Redis and a stand-in for ejabberd.

    Starts $RESTBROKER_REDIS_SERVER, else valkey-server or redis-server from PATH, else the server of the extra [demo].
    """
    # Trio takes its time to import: not for `--help`.
    from restbroker.trial.demo import run

    raise typer.Exit(run(stay=stay))
