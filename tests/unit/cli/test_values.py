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


def parameters(command: _click.Command, name: str) -> Iterator[tuple[str, _click.Context, _TyperParameter]]:
    context = _click.Context(command, info_name=name)
    for parameter in command.get_params(context):
        if isinstance(parameter, _TyperParameter):
            yield f"{name} {parameter.name}", context, parameter
    if isinstance(command, TyperGroup):
        for verb, part in command.commands.items():
            yield from parameters(part, f"{name} {verb}")


COMMAND_LINE = [
    *parameters(command_line(), "restbroker"),
    *(found for name in COMMANDS for found in parameters(load(name), name)),
]


@pytest.mark.parametrize(
    ("context", "parameter"), [found[1:] for found in COMMAND_LINE], ids=[found[0] for found in COMMAND_LINE]
)
def test_a_value_is_read_and_refused_as_typer_does(
    context: _click.Context, parameter: _TyperParameter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is not readable is refused where it must be; root may read everything.
    monkeypatch.setattr(os, "access", lambda *_how, **_more: False)
    typers, ours = build_runtime_param(parameter.type_descriptor), parameter.get_runtime_param()
    assert isinstance(ours, Plain)
    here = str(tmp_path)
    single = [*TEXTS, here, f"{here}/missing", None, parameter.get_default(context)]
    several = [(), ("a", ""), ["a"], None, parameter.get_default(context)]
    for value in several if parameter.multiple or parameter.nargs == -1 else single:
        assert read(ours, value, parameter, context) == read(typers, value, parameter, context), value


def read(runtime: RuntimeParam, value: object, parameter: _TyperParameter, context: _click.Context) -> object:
    try:
        found = runtime.coerce(value, parameter, context)
    except BadParameter as error:
        return error.format_message()
    return type(found), found
