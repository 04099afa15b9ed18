"""The entry point of `restbroker` and `python -m restbroker`.

Always holds: what a person can act on ends as a message on stderr and an exit code of `cli.exits`; anything else is
a bug of restbroker and ends with its traceback.
"""

import sys


def main() -> None:
    """Runs the command line; ends the process with its exit code."""
    if sys.argv[1:2] == ["run"]:
        # Until the broker listens for SIGHUP itself: the default would end the process during its slow imports.
        import signal

        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from restbroker.cli.output import say_error, whole
    from restbroker.errors import RestbrokerError

    try:
        with whole():
            _run()
    except RestbrokerError as error:
        from restbroker.cli.exits import code_of

        say_error(error)
        sys.exit(code_of(error))


def _run() -> None:
    if sys.argv[1:] == ["--version"]:
        # Asked for by scripts in loops: answered before anything slow is imported.
        from restbroker import __version__

        sys.stdout.write(f"restbroker {__version__}\n")
        return
    from restbroker.cli.app import command_line

    command_line().main(prog_name="restbroker")


if __name__ == "__main__":
    main()
