"""How commands print: data on stdout, messages on stderr; `columns` prints tables.

Used by every command. Always holds: what reaches a terminal or a table went through `one_line`, so no text of a
stranger controls the terminal, or begins a line of its own: only our own code says where a line ends, and a file whose
text is all that is printed (`pieces`).
"""

import errno
import os
import select
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, TextIO

from restbroker.errors import ConfigError, OutputLost, RestbrokerError

_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE, errno.EBADF, errno.EAGAIN})

_FOLLOW_EVERY_S: Final = 0.25


def data(*lines: str) -> None:
    """Print lines of data as they are; on a terminal, as `one_line` shows them.

    Raise `OutputLost` if stdout cannot be written.
    """
    _out("\n".join(map(one_line, lines) if sys.stdout.isatty() else lines))


def as_json(value: object) -> None:
    """Print a value as JSON, indented on a terminal and otherwise on one line; invisible characters become escapes.

    Raise `OutputLost` if stdout cannot be written.
    """
    _out_json(value, indent=2 if sys.stdout.isatty() else None)


def json_line(value: object) -> None:
    """Print a value as JSON on one line, also on a terminal, as one of many; raise `OutputLost` as `data` does."""
    _out_json(value, indent=None)


def _out_json(value: object, indent: int | None) -> None:
    import json

    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # json.dumps has an escape for all that is not seen, but for DEL.
    _out("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1].replace("\x7f", "\\u007f") for c in text))


def pieces(texts: Iterable[str]) -> None:
    """Print the pieces of a file, whose tabs and line breaks are its own, without line breaks between them."""
    on_terminal = sys.stdout.isatty()
    for text in texts:
        _out(printable(text) if on_terminal else text, end="")


def say_how_far(done: int, past: str, error: BaseException) -> None:
    """Print how far an action came that `error` ended. Where nothing is done yet, an error says so itself."""
    if done:
        say(f"{jobs(done)} {past}. Run the same command again for the rest.")
    elif isinstance(error, KeyboardInterrupt):
        say("Stopped before the end of the first batch. Run the same command again for the rest.")


def say(*lines: str | None) -> None:
    """Print lines (None: none) for people on stderr, never a part of the data; if it fails, only the exit code is left.

    What was printed before comes first, also where both go into one file or pipe. Raise `OutputLost`, once the message
    is printed, if that could not be written: Python has dropped it, and no later flush would tell.
    """
    lost: OSError | None = None
    try:
        sys.stdout.flush()
    except OSError as error:
        lost = error
    try:
        _write(sys.stderr, "\n".join(one_line(line) for line in lines if line is not None))
    except OSError:
        # What is left of it would be written once more at the end, and Python would end with 120 for that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    if lost is not None:
        raise output_lost(lost)


def say_error(error: RestbrokerError) -> None:
    """Print what went wrong and what to do next; nothing if the reader of stdout has closed it (`| head`)."""
    if not (isinstance(error, OutputLost) and error.by_reader):
        with suppress(OutputLost):
            # The configuration's has a line for each problem; in others, a line break can only be a stranger's.
            message = error.message.split("\n") if isinstance(error, ConfigError) else [error.message]
            say(f"restbroker: {message[0]}", *message[1:], error.hint)


def row(cells: Iterable[object]) -> None:
    """Print one line of cells for a program, separated by tabs; a tab or line break in a cell becomes a blank."""
    _out("\t".join(one_line(cell) for cell in cells))


@contextmanager
def require_written() -> Iterator[None]:
    """Write out what was printed in the block when it ends; raise `OutputLost` and print no more if that fails."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        # Typer prints its help itself, and where nothing is buffered (PYTHONUNBUFFERED) it learns of it first.
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        raise output_lost(error) from None
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # for which Typer ends with 1
            raise output_lost(ended.__context__) from None
        raise


def report(words: str, fields: Mapping[str, object], *, as_json: bool, dry_run: bool) -> None:
    """Print on stderr what was done, or would be; `as_json` also prints these fields on stdout."""
    if as_json:
        _out_json({**fields, "dry_run": dry_run}, indent=2 if sys.stdout.isatty() else None)
    say(words)


def wait(timeout_s: float) -> bool:
    """Wait at most this long, and tell whether the reader of a pipe went away meanwhile, so that the wait ended."""
    reader = select.poll()
    # Errors are always reported, and nothing else is waited for.
    reader.register(sys.stdout.fileno(), 0)
    return bool(reader.poll(timeout_s * 1000))


def follow(show_new: Callable[[], None]) -> None:
    """Call `show_new` four times a second until Ctrl-C; raise `OutputLost` once the reader of a pipe went away."""
    with suppress(KeyboardInterrupt):
        is_lost = False
        while not is_lost:
            # Anyone who reads a pipe wants to see it now.
            with require_written():
                show_new()
            is_lost = wait(_FOLLOW_EVERY_S)
        raise output_lost(BrokenPipeError())


def jobs(count: int) -> str:
    """Return a count of jobs as `1 job` or `1,234 jobs`."""
    return counted(count, "job")


def counted(count: int, what: str) -> str:
    """Return a count with its noun: `1 user`, `5,000 users`."""
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def one_line(value: object) -> str:
    """Return a value as it is shown in a line: tabs and line breaks become blanks, other control characters escapes."""
    return printable(str(value)).replace("\t", " ").replace("\n", " ")


def _out(text: str, end: str = "\n") -> None:
    try:
        _write(sys.stdout, text, end)
    except OSError as error:
        raise output_lost(error) from None


def output_lost(error: OSError) -> OutputLost:
    """Return the error to raise when stdout cannot be written, and discard everything that is printed from now on."""
    # What is still buffered must go somewhere, or Python complains of it at the end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OutputLost(error)


def _write(stream: TextIO, text: str, end: str = "\n") -> None:
    # A half surrogate pair, and in a POSIX locale any letter beyond ASCII, cannot be encoded; as an escape it can.
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + end)


def printable(text: str) -> str:
    """Return the text with every control character but tab and line break as an escape, e.g. ESC as x1b."""
    return "".join(c if c.isprintable() or c in "\t\n" else c.encode("unicode_escape").decode("ascii") for c in text)
