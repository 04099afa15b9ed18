"""The entry point of `restbroker` and `python -m restbroker`.

Always holds: what a person can act on ends as a message on stderr and an exit code of `cli.exits`; anything else is
a bug of restbroker and ends with its traceback.
"""

import os
import sys


def main() -> None:
    """Runs the command line; ends the process with its exit code."""
    if sys.argv[1:] == ["--version"]:
        # Asked for by scripts in loops: answered before anything slow is imported.
        from restbroker import __version__

        sys.stdout.write(f"restbroker {__version__}\n")
        return
    if sys.argv[1:2] == ["run"]:
        # Until the broker listens for SIGHUP itself: the default would end the process during its slow imports.
        import signal

        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from restbroker.cli.app import command_line
    from restbroker.errors import RestbrokerError

    try:
        try:
            command_line().main(prog_name="restbroker")
        finally:
            sys.stdout.flush()
    except RestbrokerError as error:
        from restbroker.cli.exits import code_of
        from restbroker.cli.output import say_error

        say_error(error)
        sys.exit(code_of(error))
    except BrokenPipeError:
        # Whoever read us has seen enough (`| head`). What is still buffered must go somewhere at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
