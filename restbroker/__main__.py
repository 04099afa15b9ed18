"""The entry point of `restbroker` and `python -m restbroker`.

Always holds: an error that a user can act on ends as a message on stderr and an exit code of `console.exits`; anything
else is a bug of restbroker and ends with its traceback.
"""

import gc
import io
import os
import sys

from restbroker.errors import RestbrokerError, UsageError

_VALUED = ("--config", "--processes", "--log-level")
"""The options of these commands that a value follows."""


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    if _serves(sys.argv[1:]):
        from restbroker.start import listen  # no other command waits for what it loads

        listen()
    _replace_streams()
    if sys.argv[1:] == ["--version"]:
        _tell_version()
        return
    gc.disable()  # nothing that is imported is garbage; `cli.app` turns it on again
    from restbroker.console import output

    try:
        with output.require_written():
            from restbroker.cli.app import command_line

            command_line().main(prog_name="restbroker")
    except RestbrokerError as error:
        _end(error)
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is None:
            sys.exit(128 + 2)  # as without nurseries around it
        known, unknown = group.split(RestbrokerError)
        if known is None or unknown is not None:
            raise
        _end(_first(known))


def _serves(words: list[str]) -> bool:
    """Tell whether these words are a command that serves until it is stopped; its options can precede it."""
    before = ["", *words]
    names = [word for last, word in zip(before, words, strict=False) if word[:1] != "-" and last not in _VALUED]
    return names[:1] in (["run"], ["web"]) or names[:2] == ["roster", "serve"]


class _Closed(io.FileIO):
    """Standard input that was closed, as `<&-` does."""

    def readinto(self, _buffer: object, /) -> int:
        return len(self.readall())

    def readall(self) -> bytes:
        raise UsageError("Standard input is closed.", "Redirect it from a file or a pipe: < FILE.")


def _replace_streams() -> None:
    """Replace standard streams that are closed, or that lose what does not fit.

    The first file that is opened gets the lowest number that is free: otherwise a connection would get a stream's
    number, and what is printed or read would go over it.
    """
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(_Closed(os.open(os.devnull, os.O_WRONLY))))
    if sys.stdout is None:
        # Not for writing: who asked for an answer that cannot be had learns of it, as on a full disk.
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    elif isinstance(sys.stdout.buffer, io.RawIOBase):
        # PYTHONUNBUFFERED: a raw file writes a part where not all fits, and says so to no one.
        raw, encoding, errors = sys.stdout.fileno(), sys.stdout.encoding, sys.stdout.errors
        sys.stdout = os.fdopen(raw, "w", encoding=encoding, errors=errors, buffering=1, closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict" and sys.stdout.isatty():
        # A terminal that is not UTF-8 lacks letters, if only the dots of what is cut.
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def _tell_version() -> None:
    # Asked for by scripts in loops: answered before anything slow is imported.
    from restbroker import __version__

    try:
        sys.stdout.write(f"restbroker {__version__}\n")
        sys.stdout.flush()
    except OSError as error:
        from restbroker.console.output import output_lost

        _end(output_lost(error))


def _first(group: BaseExceptionGroup[RestbrokerError]) -> RestbrokerError:
    """Return the first error itself, out of all the groups that nurseries made around it."""
    found: RestbrokerError | BaseExceptionGroup[RestbrokerError] = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def _end(error: RestbrokerError) -> None:
    from restbroker.console.exits import code_of
    from restbroker.console.output import say_error

    say_error(error)
    sys.exit(code_of(error))


if __name__ == "__main__":
    main()
