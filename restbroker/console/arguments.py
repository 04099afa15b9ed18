"""Read a command's arguments as typed in a shell, in HTTPie's notation.

Called by `enqueue`. Always holds: a name that occurs twice is refused, and no error shows a value.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from restbroker.config import secret as secret_files
from restbroker.console import output
from restbroker.errors import UsageError
from restbroker.job import rubyjson
from restbroker.job.command import CommandSpec
from restbroker.job.json_types import Json
from restbroker.light import frozen

_PAIR = re.compile(r"([^:=]+)(:=|=)(.*)", re.DOTALL)
HOW = "Write name=text, name:=JSON, name=@FILE, or name=- to read standard input."


@frozen
class TypedArguments:
    """The arguments by name, and the names of those whose value stood in the command line, where others can see it."""

    values: Mapping[str, Json]
    in_the_open: frozenset[str]


def read(words: Sequence[str]) -> TypedArguments:
    """Return the arguments of words such as `user=richard`, `days:=30`, `password=@file` and `body=-`.

    Values stay strings here; `job.coerce` converts what a command takes as integer or list. A string from a file or
    from standard input loses one final line break, which no editor lets one leave out. On a terminal, `-` asks for the
    value without showing it. Raise `UsageError` for a word that cannot be read, or a name that occurs twice.
    """
    values: dict[str, Json] = {}
    in_the_open: set[str] = set()
    for word in words:
        parts = _PAIR.fullmatch(word)
        if parts is None:
            hint = f"{HOW} A command's name is one word: account.registerUser."
            raise UsageError(f"The argument {_printable(word)} has no name.", hint)
        name, sign, text = parts.groups()
        if name in values:
            raise UsageError(f"The argument {name} is given twice.", "Keep one of the two.")
        match sign, text:
            case "=", "-":
                if sum(word.partition("=")[1:] == ("=", "-") for word in words) > 1:
                    message = "Standard input can be read for one argument only."
                    raise UsageError(message, "Use name=@FILE for the others.")
                values[name] = text_of(name, Path("-"))
            case "=", _ if text.startswith("@"):
                values[name] = text_of(name, Path(text[1:]))
            case _:
                values[name] = _json(name, text) if sign == ":=" else _check(name, text)
                in_the_open.add(name)
    return TypedArguments(values, frozenset(in_the_open))


def note_secrets(spec: CommandSpec | None, typed: TypedArguments) -> None:
    """Note which secret arguments, of a known command or of any, were typed where others can see them."""
    for name in sorted(typed.in_the_open):
        known = spec.argument(name) if spec else None
        if known.secret if known else _is_secret(name, typed.values[name]):
            instead = f"use {name}=- or {name}=@FILE."
            output.say(f"note: {name} is visible in the command line, to `ps` and in the shell's history; {instead}")


def _is_secret(name: str, value: Json) -> bool:
    from restbroker.job import redact  # slow to load; the catalogue says it of the arguments that it knows

    return bool(redact.secret_values(None, {name: value}))


def is_assignment(word: str) -> bool:
    """Tell whether this word of a command line is an argument, such as `user=richard`."""
    return _PAIR.fullmatch(word) is not None


def _json(name: str, text: str) -> Json:
    try:
        return rubyjson.loads(text.encode("utf-8", "surrogateescape"))
    except rubyjson.Unreadable as error:
        hint = f"Quote strings twice ({name}:='\"text\"'), or write {name}=text."
        raise UsageError(f"The argument {name} is not JSON after := ({error}).", hint) from error


def text_of(name: str, path: Path) -> str:
    """Return the content of a file, or of standard input for `-`, without its last line break; a terminal is asked.

    Raise `UsageError`, which calls it the value of `name`, if it cannot be read.
    """
    if str(path) == "-" and sys.stdin.isatty():
        import getpass

        return getpass.getpass(f"{name}: ")
    try:
        raw = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return secret_files.text_of(raw).removesuffix("\n").removesuffix("\r")
    except OSError as error:
        hint = (
            "Check its path." if name.startswith("--") else f"For a string that begins with @ write {name}:='\"@…\"'."
        )
        raise UsageError(f"The file for {name} cannot be read: {error.strerror} ({path}).", hint) from error
    except ValueError as error:  # no text, or a NUL in the path
        raise UsageError(f"The value of {name} cannot be read: {error}.", "Convert it first.") from None


def bytes_of(file: Path) -> bytes:
    """Return what is in a file, or on stdin for `-`; raise `UsageError` if it cannot be read."""
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", "Check the name and the rights.") from error


def _check(name: str, text: str) -> str:
    # Bytes of the command line that are not UTF-8 arrive as half surrogate pairs, which JSON cannot hold.
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise UsageError(f"The argument {name} is not UTF-8 text.", "Check the terminal's encoding.")
    return text


def _printable(word: str) -> str:
    return repr(word if len(word) <= 20 else word[:19] + "…")
