"""`restbroker help`: show the same as `--help` behind a command."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from restbroker.console.completion import Offer, offer
from restbroker.console.lists import Group

app = typer.Typer(add_completion=False)


@offer
def _names(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:  # noqa: ARG001 - Typer hands it over
    """Offer the commands, and behind one of them its verbs."""
    words = ctx.params.get("words") or ()
    path, group = _find_command(ctx, words)
    if isinstance(group, Group) and len(path) == len(words):
        yield from ((name, group.commands[name].get_short_help_str()) for name in group.list_commands(ctx))


@app.command("help")
def help_(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COMMAND [VERB]]", help="The command. (default: list all commands)", autocompletion=_names
        ),
    ] = None,
) -> None:
    """Show a command's help, like COMMAND --help."""
    path, _ = _find_command(ctx, words or ())
    root: Any = ctx.find_root()
    root.command.main([*path, "--help"], prog_name=root.info_name)


def _find_command(ctx: typer.Context, words: Sequence[str]) -> tuple[list[str], Any]:
    """Return the words that name a command, up to the first that names none, and the last command that exists.

    The words behind are left out: `ctl` would take `--help` there for a word of the other program.
    """
    path: list[str] = []
    command: Any = ctx.find_root().command
    for word in words:
        if not isinstance(command, Group):
            break
        path.append(word)
        if word not in command.list_commands(ctx):
            break
        command = command.real_command(ctx, word)
    return path, command
