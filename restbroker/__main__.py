"""The entry point of `restbroker` and `python -m restbroker`.

Always holds: what a person can act on ends as a message on stderr and an exit code of `cli.exits`; anything else is
a bug of restbroker and ends with its traceback.
"""

import sys


def main() -> None:
    """Runs the command line; ends the process with its exit code."""
    if sys.argv[1:] == ["--version"]:
        # Asked for by scripts in loops: answered before anything slow is imported.
        from restbroker import __version__

        sys.stdout.write(f"restbroker {__version__}\n")
        return
    from restbroker.cli.app import command_line
    from restbroker.errors import RestbrokerError

    try:
        command_line().main(prog_name="restbroker")
    except RestbrokerError as error:
        from restbroker.cli.exits import code_of
        from restbroker.cli.output import say_error

        say_error(error)
        sys.exit(code_of(error))


if __name__ == "__main__":
    main()
