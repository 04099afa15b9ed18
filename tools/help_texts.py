"""Makes the ready-made help of every command, for `restbroker.cli.help_pages`. `make reference` writes it."""

import json
from collections.abc import Iterator

from typer import _click
from typer.core import TyperGroup, TyperOption

from restbroker.cli.app import COMMANDS, command_line, load
from restbroker.cli.examples import walk
from restbroker.cli.help_pages import FILE, WIDTH, size


def pages() -> dict[str, str]:
    """Each page by its command's path, as it is printed for a terminal that is wide enough."""
    root = command_line()
    top = _click.Context(root, info_name="restbroker", terminal_width=WIDTH - 2)
    found = {"": root.get_help(top)}
    for name in COMMANDS:
        found.update(_below(load(name), top, name))
    return found


def _below(command: _click.Command, parent: _click.Context, path: str) -> Iterator[tuple[str, str]]:
    name = path.rpartition(" ")[2]
    context = _click.Context(command, parent=parent, info_name=name, terminal_width=WIDTH - 2)
    yield path, command.get_help(context)
    if isinstance(command, TyperGroup):
        for below, part in command.commands.items():
            yield from _below(part, context, f"{path} {below}")


def lines() -> dict[str, str]:
    """What the list of commands says of each, by its path."""
    paths = (pair for name in COMMANDS for pair in walk(load(name), name))
    return {path: COMMANDS.get(path) or command.get_short_help_str(200) for path, command in paths}


def flags() -> dict[str, str]:
    """The options that take no value, by the command's path; only where completion asks for them."""
    options = (one for one in load("enqueue").params if isinstance(one, TyperOption) and one.is_flag)
    return {"enqueue": " ".join(name for one in options for name in one.opts)}


def written() -> str:
    """The file's text."""
    found = {"size": size(), "flags": flags(), "lines": lines(), "pages": pages()}
    return json.dumps(found, ensure_ascii=False, indent=0) + "\n"


if __name__ == "__main__":
    FILE.write_text(written(), encoding="utf-8")
