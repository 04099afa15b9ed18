"""The headings of `--help`: for options by what they are for, for commands by what people want to do.

Used by the commands, which name a heading as Typer's `rich_help_panel`, and by `cli.app`. Typer shows those only
through Rich, which costs each `--help` 80 ms of CPU; here the formatter of plain help writes them. Always holds: what
has no heading stands last, under Options; a command's line in a list is its whole first sentence, on as many lines as
that takes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

from restbroker.console.completion import paths

WHICH: Final = "Which jobs"
WHAT: Final = "What to do"
ANSWER: Final = "The answer"
BULK: Final = "Many jobs"
SAFETY: Final = "Safety"
OUTPUT: Final = "Output"
_ARGUMENTS: Final = "Arguments"
_OPTIONS: Final = "Options"
_UNCUT: Final = 10_000
_ORDER: Final = (_ARGUMENTS, WHICH, WHAT, ANSWER, BULK, SAFETY, OUTPUT, _OPTIONS)
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The configuration file. [default: $RESTBROKER_CONFIG, ./env.json, /etc/restbroker/env.json]",
        autocompletion=paths,
        # Not tested by Typer, which would say less than our own message does.
        readable=False,
    ),
]
"""Here, since a command that may work without a configuration does not import `console.load_config`."""

_METAVARS: Final = {
    "text": "TEXT",
    "str": "TEXT",
    "list[str]": "TEXT",
    "int": "N",
    "integer": "N",
    "int range": "N",
    "integer range": "N",
    "float": "N",
    "float range": "N",
    "path": "FILE",
    "Path": "FILE",
}

_Row = tuple[str, str]
# Older releases of Typer take them from click, newer ones bring their own: no name is public in all of them.
_Context = Any
_Formatter = Any
_Option = Any


class Command(TyperCommand):
    """A command whose options stand under their headings, and whose line is not cut in the list of its group."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  what Typer gives to each command
        """Create the command; an option's value without a name is named after its type: `N`, `TEXT`, `FILE`."""
        super().__init__(*args, **options)
        for param in self.params:
            if isinstance(param, TyperOption) and param.metavar is None and not param.is_flag:
                param.metavar = _METAVARS.get(_type_name(param))

    def collect_usage_pieces(self, ctx: _Context) -> list[str]:
        """Return the words behind the command's name: a metavar as it is, where Typer writes `{JID}`."""
        pieces = [self.options_metavar or ""]
        for param in self.get_params(ctx):
            named = isinstance(param, TyperArgument) and param.metavar
            pieces += [named] if named else param.get_usage_pieces(ctx)
        return [piece.removeprefix("{").removesuffix("}") for piece in pieces]

    def get_short_help_str(self, limit: int = _UNCUT) -> str:  # noqa: ARG002  click would cut it at this length
        """Return the first sentence of its help, whatever the `limit`."""
        return super().get_short_help_str(_UNCUT)

    def format_options(self, ctx: _Context, formatter: _Formatter) -> None:
        """Write the arguments, and the options under each heading."""
        rows: dict[str, list[_Row]] = {heading: [] for heading in _ORDER}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                name = param.metavar if isinstance(param, TyperArgument) else None
                rows[_heading(param)].append((name or record[0], record[1]))
        write(formatter, rows)


def _type_name(option: _Option) -> str:
    """Return Typer's word for the values of an option: that of its `type`, which options have until Typer 0.28."""
    match option:
        case TyperOption(type=kind):
            return str(kind.name)
        case _:
            return str(option.bare_type())


def _heading(param: object) -> str:
    match param:
        case TyperArgument():
            return _ARGUMENTS
        case TyperOption(rich_help_panel=str(panel)):
            return panel
        case _:
            return _OPTIONS


def write(formatter: _Formatter, rows: Mapping[str, Sequence[_Row]]) -> None:
    """Write each heading that has rows, followed by them."""
    for heading, below in rows.items():
        if below:
            with formatter.section(heading):
                formatter.write_dl(below)
