"""The table of commands: everything that `--help`, completion and "did you mean" need without loading a command.

Used by `cli.app`. Always holds: each module has `app`, a `typer.Typer(add_completion=False)` with one or more
commands, and imports at its top only what every use of it needs.
"""

from typing import NamedTuple


class Entry(NamedTuple):
    """Where a command lives, and the line that `restbroker --help` shows for it."""

    module: str
    help: str


# A plain tuple class: importing attrs here would cost more than the rest of `--help`.
COMMANDS = {
    "run": Entry("restbroker.cli.run", "Serve the queues until told to stop."),
    "enqueue": Entry("restbroker.cli.enqueue", "Queue one command for a server; with --wait, print its answer."),
    "stats": Entry("restbroker.cli.stats", "Show totals, queues, processes and their targets."),
    "dead": Entry("restbroker.cli.dead", "Show the parked jobs and why they were parked."),
    "retries": Entry("restbroker.cli.retries", "Show the jobs that wait for their next try."),
    "commands": Entry("restbroker.cli.commands", "List the server's commands, or show one with its arguments."),
    "check": Entry("restbroker.cli.check", "Test the configuration, Redis and the targets."),
    "config": Entry("restbroker.cli.config", "Make, show or describe the configuration file."),
    "token": Entry("restbroker.cli.token", "Make a token, or list those of the configuration and their use."),
    "migrate": Entry("restbroker.cli.migrate", "Take over what the Go original left in Redis."),
    "demo": Entry("restbroker.cli.demo", "Run the whole thing on an embedded Redis and a stand-in server."),
    "verify": Entry("restbroker.cli.verify", "Crash-test restbroker on your Redis, in a namespace of its own."),
}
