"""The examples in every `--help` and on the man pages, read from `examples.txt` beside this file.

Called by `cli.app` when a command is loaded. Always holds: a command's help has them as its epilog, which is made only
then; a test makes each line be read by its own command.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from typer.core import TyperCommand, TyperGroup

_FILE: Final = Path(__file__).with_name("examples.txt")
Command = TyperCommand | TyperGroup
_AS_IT_IS: Final = "\b\n"
"""The mark that makes click keep the line breaks of a paragraph."""


def add(command: Command, path: str) -> None:
    """Add the examples to the help of the command with this path (such as `dead retry`), and of those below it."""
    found = examples()
    for name, node in walk(command, path):
        lines = found.get(name)
        if lines:
            node.epilog = epilog(lines)


def walk(command: Command, path: str) -> Iterator[tuple[str, Command]]:
    """Yield the command and all below it, each behind its path."""
    yield path, command
    for name, part in parts(command).items():
        yield from walk(part, f"{path} {name}")


def parts(command: Command) -> Mapping[str, Command]:
    """Return the commands directly below this one, by their names."""
    found: Mapping[str, Any] = command.commands if isinstance(command, TyperGroup) else {}
    return found


@cache
def examples() -> dict[str, tuple[str, ...]]:
    """Return the example lines of each command by its path; a line with `#` in front is a comment on the next one."""
    found: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in _FILE.read_text("utf-8").splitlines():
        if line.startswith("["):
            lines = found.setdefault(line.strip("[]"), [])
        elif line and lines is not None:
            lines.append(line)
    return {path: tuple(lines) for path, lines in found.items()}


def epilog(lines: tuple[str, ...]) -> str:
    """Return the lines below a heading, in a form that click leaves as it is."""
    return _AS_IT_IS + "\n".join(["Examples:", *(f"  {line}" for line in lines)])
