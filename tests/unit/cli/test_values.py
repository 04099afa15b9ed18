"""Values of the command line are read without pydantic, and as Typer would have read them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer import _click
from typer._click.exceptions import BadParameter
from typer._coercion import RuntimeParam, build_runtime_param
from typer.core import TyperGroup, _TyperParameter

from restbroker.cli.app import COMMANDS, command_line, load
from restbroker.cli.values import Plain

TEXTS = ("", "x", "-", "5", " 5 ", "0", "-3", "+3", "007", "1_000", "1.0", "65", "9" * 5000, "٣", "²", "a\udcff")


def test_every_value_of_every_option_is_read_and_refused_as_typer_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is not readable is refused where it must be; root may read everything.
    monkeypatch.setattr(os, "access", lambda *_how, **_more: False)
    single, several = [*TEXTS, str(tmp_path), f"{tmp_path}/missing", None], [(), ("a", ""), ["a"], None]
    commands = [("restbroker", command_line()), *((name, load(name)) for name in COMMANDS)]
    wrong = list[object]()
    for name, context, parameter in (found for command in commands for found in parameters(*command)):
        typers, ours = build_runtime_param(parameter.type_descriptor), parameter.get_runtime_param()
        assert isinstance(ours, Plain), name
        values = several if parameter.multiple or parameter.nargs == -1 else single
        wrong += [
            (name, value)
            for value in [*values, parameter.get_default(context)]
            if read(ours, value, parameter, context) != read(typers, value, parameter, context)
        ]
    assert not wrong


def parameters(name: str, command: _click.Command) -> Iterator[tuple[str, _click.Context, _TyperParameter]]:
    context = _click.Context(command, info_name=name)
    for parameter in command.get_params(context):
        if isinstance(parameter, _TyperParameter):
            yield f"{name} {parameter.name}", context, parameter
    if isinstance(command, TyperGroup):
        for verb, part in command.commands.items():
            yield from parameters(f"{name} {verb}", part)


def read(runtime: RuntimeParam, value: object, parameter: _TyperParameter, context: _click.Context) -> object:
    try:
        found = runtime.coerce(value, parameter, context)
    except BadParameter as error:
        return error.format_message()
    return type(found), found
