"""`restbroker version`: the same as `--version`, which `__main__` answers without loading this."""

import typer

from restbroker import __version__
from restbroker.console import output

app = typer.Typer(add_completion=False)


@app.command()
def version() -> None:
    """Print the version: the same as --version."""
    output.data(f"restbroker {__version__}")
