"""The command line as scripts know it: commands, arguments, options, defaults, and exit codes. Not the words of help.

`python -m tests.golden` writes and compares it. Exit codes are those of the program's own entry, in this process: with
a wrong option, without a configuration, with one that cannot be used, and with a Redis that refuses connections.
"""

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest import mock

import typer
from typer.core import TyperGroup

from restbroker.__main__ import main
from restbroker.cli.app import COMMANDS, command_line, load
from restbroker.console.exits import MEANINGS, Exit
from restbroker.errors import RestbrokerError
from tests.support.process import clean_environment

_GIVEN: Final[Mapping[str, str]] = {
    "commands": "register", "completion": "bash", "config diff": "good.json", "ctl": "status", "enqueue": "register user=a host=b password=c", "explain": "a", "find": "a",
    "processes cancel": "a --yes", "processes quiet": "a --yes", "processes stop": "a --yes",
    "dead restore": "a", "keys drop": "h --yes", "keys retry": "h", "keys return": "rest --yes", "keys show": "h", "keys skip": "h --yes",
    "queues clear": "rest --yes", "queues pause": "rest", "queues peek": "rest", "queues resume": "rest",
    "roster add": "ann bob@example.org", "roster delete": "ann --yes",
    "roster import": "roster.ndjson --yes", "roster refresh": "ann", "roster remove": "ann bob@example.org",
    "roster set": "ann roster.json", "roster show": "ann",
    "periodic pause": "a", "periodic resume": "a", "periodic run": "a",
    "targets pause": "ejabberd", "targets resume": "ejabberd",
    **{
        f"{name} {verb}": words
        for name in ("dead", "retries", "scheduled")
        for verb, words in (
            *(("show", "a"), ("retry", "a --yes"), ("delete", "a --yes"), ("kill", "a --yes")),
            *(("reschedule", "a --in 5m --yes"), ("move", "a --to rest --yes")),
        )
    },
}  # fmt: skip
"""What a command is given where it needs something, or asks before it acts."""
_ENDLESS: Final = frozenset({"demo", "run", "verify", "web", "roster serve", "config init", "token new"})
"""They serve until they are stopped, or make something that lasts: tried with wrong options alone."""
_TYPE: Final = re.compile(r" <(?:str|path|list\[str\]|int range)>")
"""What Typer, and not we, call a value."""
_FLAT: Final = {
    "RestURL": "http://127.0.0.1:1/api",
    "RestQueue": "rest",
    "Token": "t",
    "RedisURL": "redis://127.0.0.1:1",
}


def text() -> str:
    """All of it."""
    return "\n".join([*_codes(), "", *_parameters(), "", *_ends()]) + "\n"


def commands() -> Iterator[tuple[str, Any]]:
    """Each command by its words, groups before what is in them."""
    for name in COMMANDS:
        yield from _below(load(name), name)


def _below(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    if isinstance(command, TyperGroup):
        for name, part in command.commands.items():
            yield from _below(part, f"{path} {name}")


def _codes() -> Iterator[str]:
    yield "== exit codes"
    names = {int(code): code.name for code in Exit}
    yield from (f"  {int(code):<4} {names.get(int(code), 'a signal')}" for code in MEANINGS)


def _parameters() -> Iterator[str]:
    for path, command in [("", command_line()), *commands()]:
        yield f"== restbroker {path}".rstrip() + (" (hidden)" if command.hidden else "")
        context = typer.Context(command)
        for parameter in command.get_params(context):
            yield f"  {_written(parameter, context)}"


def _written(parameter: Any, context: typer.Context) -> str:
    shown = parameter.get_help_record(context)
    is_flag = bool(getattr(parameter, "is_flag", False))
    facts = [_TYPE.sub("", shown[0]).strip() if shown else f"{'/'.join(parameter.opts)} (hidden)"]
    facts += ["argument"] if parameter.param_type_name == "argument" else []
    facts += ["flag"] if is_flag else []
    facts += ["required"] if parameter.required else []
    facts += ["several"] if getattr(parameter, "multiple", False) or parameter.nargs != 1 else []
    facts += [f"variable {parameter.envvar}"] if parameter.envvar else []
    if parameter.default not in (None, False) and not callable(parameter.default):
        facts.append(f"default {json.dumps(parameter.default, default=str)}")
    return "  ".join(facts)


def _ends() -> Iterator[str]:
    yield "== how each command ends: with a wrong option; without a configuration; with a wrong one; without its Redis"
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("good.json").write_text(json.dumps(_FLAT))
        Path("bad.json").write_text("{}")
        Path("roster.json").write_text("{}")
        Path("roster.ndjson").write_text("")
        for words in ([], ["--help"], ["--version"], ["nonsense"]):
            yield f"  restbroker {' '.join(words)}".rstrip() + f": {_end(words)}"
        for path, command in commands():
            if isinstance(command, TyperGroup) and not command.invoke_without_command:
                yield f"  {path}: {_end([*path.split(), '--nonsense'])}; alone {_end(path.split())}"
                continue
            yield f"  {path}: {'; '.join(_of(path, command))}"


def _of(path: str, command: Any) -> Iterator[str]:
    words = path.split()
    yield _end([*words, "--nonsense"])
    if path in _ENDLESS:
        return
    given = _GIVEN.get(path, "").split()
    yield _end([*words, *given])
    if any("--config" in parameter.opts for parameter in command.params):
        yield _end([*words, "--config", "bad.json", *given])
        yield _end([*words, "--config", "good.json", *given])


def _end(words: Sequence[str]) -> str:
    return typed(words)[0]


def typed(words: Sequence[str]) -> tuple[str, str]:
    """How a command ends that runs in this process: its exit code, or with what kind of error; and its stdout."""
    streams = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO())
    code = "0"
    with (
        mock.patch.object(sys, "argv", ["restbroker", *words]),
        mock.patch.object(sys, "stdin", io.StringIO()),
        mock.patch.dict(os.environ, clean_environment(), clear=True),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
    ):
        try:
            main()
        except SystemExit as end:
            code = str(end.code or 0)
        except RestbrokerError as error:
            code = f"raises {type(error).__name__}"
    streams[0].seek(0)
    return code, streams[0].read()
