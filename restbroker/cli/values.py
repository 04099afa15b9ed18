"""Reads values of the command line that need no library to be read. `cli.app` gives it to each parameter.

Typer 0.29 has pydantic read every value, a plain text and the default of an option too; importing that takes 50 ms, and
8 MiB for as long as `run` lives (measured). Always holds: a value is read as Typer reads it, and what it would refuse,
or look at closer (a file that must be readable), is left to it, so that all messages are Typer's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from typer import _click
from typer._coercion import RuntimeParam, TypeDescriptor, build_runtime_param
from typer.core import TyperGroup, _TyperParameter


def read_plainly(command: _click.Command) -> None:
    """From now on this command, and those below it, read plain values without pydantic."""
    for parameter in _parameters(command):
        kind = parameter.type_descriptor
        # Typer's own place for it, which it fills when the first value is read.
        parameter._runtime_param = Plain(kind.parameter_info, kind.annotation, kind)  # noqa: SLF001


@dataclass(frozen=True)
class Plain(RuntimeParam):
    """Typer's contract for how the values of one parameter are read."""

    kind: TypeDescriptor

    def _coerce_value(self, value: Any, param: _TyperParameter, ctx: _click.Context) -> Any:  # noqa: ANN401 - as in Typer
        info, annotation = self.parameter_info, self.annotation
        match value:
            case str() if annotation is str:
                return value
            case str() if annotation is Path and not (info.readable or info.exists):
                return Path(value)
            case int() if annotation is int:  # a default
                return value
            case str() if annotation is int and _is_number(value, info.min, info.max):
                return int(value)
            case tuple() | list() if annotation == list[str]:
                return [*value]
            case _:
                return build_runtime_param(self.kind)._coerce_value(value, param, ctx)  # noqa: SLF001 - of its class


def _is_number(text: str, least: float | None, most: float | None) -> bool:
    digits = text.isascii() and text.isdigit() and len(text) < 10
    return digits and (-inf if least is None else least) <= int(text) <= (inf if most is None else most)


def _parameters(command: _click.Command) -> Iterator[_TyperParameter]:
    # With that of `--help`, which belongs to a command as soon as its context asks for it.
    for parameter in command.get_params(_click.Context(command)):
        if isinstance(parameter, _TyperParameter):
            yield parameter
    if isinstance(command, TyperGroup):
        for part in command.commands.values():
            yield from _parameters(part)
