"""The command group: it knows every command by name and loads a command's module only when it is run.

Called by `__main__`. Always holds: `--help`, completion of names and "did you mean" load no command. A command's module
has `app`, a `typer.Typer(add_completion=False)`, and imports at its top only what every use of it needs.
"""

import gc
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from restbroker import __version__
from restbroker.cli import examples
from restbroker.console.exits import MEANINGS
from restbroker.console.lists import HELP, INSTEAD, Group

# Older releases of Typer take them from click, newer ones bring their own: no name is public in all of them.
_Context = Any
_Command = Any

PANELS: Final = {
    "Run and inspect": {
        "run": "Serve the queues until stopped.",
        "stats": "Show totals, queues, processes and their targets.",
        "queues": "Show the queues; inspect, pause, resume or clear one.",
        "keys": "Show the keys whose jobs are done in order or take turns; help one that waits.",
        "periodic": "Show the periodic commands; run one now, pause or resume it.",
        "targets": "Show the targets; pause or resume one, in all processes.",
        "processes": "Show the processes and their jobs in progress; quiet or stop them.",
        "web": "Serve only the web pages, without delivering jobs.",
        "health": "Ask the local broker for its health, for supervisors.",
    },
    "Jobs": {
        "enqueue": "Queue one command for a server; with --wait, print its answer.",
        "commands": "List the server's commands, or show one with its arguments.",
        "ctl": "Run a command of ejabberdctl or mongooseimctl as a job.",
        "dead": "Show dead jobs and why they died; retry, edit or delete them.",
        "retries": "Show jobs that wait for their next try; run, edit or delete them.",
        "scheduled": "Show jobs that run later; run, edit or delete them.",
        "find": "Find jobs by text or argument in every queue and set.",
        "history": "Show the jobs that ended lately, and those that end now.",
        "explain": "Show where a job is, what happened to it, and who changed it; or explain a code or a key.",
        "forget": "Take a person out of Redis: out of jobs, copies, answers, rosters and logs of actions.",
        "audit": "Show the audit log: who changed jobs, queues and targets.",
    },
    "Events and rosters": {
        "events": "Show events from servers as they become jobs, and the state of their sources.",
        "roster": "Show, change, import, export or serve Prosody's rosters.",
    },
    "Set up": {
        "config": "Create, show, compare or describe the configuration.",
        "check": "Test the configuration, Redis and the targets.",
        "token": "Create a token, or list the configured ones and their use.",
        "completion": "Print the completion script for your shell.",
        "migrate": "Take over the jobs of the Go original.",
        "demo": "Try everything out on a private Redis and a stand-in server.",
        "verify": "Crash-test restbroker on your Redis, in a private namespace.",
    },
}
"""The headings of `restbroker --help`, each with its commands and their lines.

A command is a module of this folder; those of Sidekiq's sets are in `jobs`.
"""
_SETS: Final = ("dead", "retries", "scheduled")
_ALIKE: Final = 0.75
"""How alike, from 0 to 1, a word must be to a verb to stand for it: short words resemble many."""
COMMANDS: Final = {name: line for panel in PANELS.values() for name, line in panel.items()}


class LazyGroup(Group):
    """A group whose commands are stand-ins with a name and a help line until one of them is resolved."""

    def parse_args(self, ctx: _Context, args: list[str]) -> list[str]:
        """Parse the words as any group does; drop a `--config` in front of a command that reads no configuration.

        Raise click's UsageError if nothing but options follows it.
        """
        rest = args[1:] if args and args[0].startswith("--config=") else args[2:] if args[:1] == ["--config"] else args
        needs_none = rest is not args and bool(rest) and (rest[0] in self._own_options(ctx) or _reads_none(rest))
        if rest is args or needs_none or ctx.resilient_parsing or self.move_name_first(ctx, args) != args:
            return super().parse_args(ctx, rest if needs_none else args)
        if not rest or rest[0].startswith("-"):
            ctx.fail("A command is missing.")
        return super().parse_args(ctx, rest)

    def list_commands(self, ctx: _Context) -> list[str]:  # noqa: ARG002  the overridden method's signature
        """Return the names of all commands of the table, in the table's order."""
        for name, line in COMMANDS.items():
            # "Did you mean" reads `self.commands` itself, so the stand-ins must be there, not only be made on demand.
            if name not in self.commands:
                self.add_command(TyperCommand(name, help=line, short_help=line))
        return list(COMMANDS)

    def get_command(self, ctx: _Context, cmd_name: str) -> _Command:
        """Return the stand-in of this name, or None."""
        self.list_commands(ctx)
        return super().get_command(ctx, cmd_name)

    def real_command(self, ctx: _Context, name: str) -> _Command:  # noqa: ARG002  as above
        """Return the real command of this name, loaded now."""
        return load(name)

    def format_commands(self, ctx: _Context, formatter: Any) -> None:  # noqa: ANN401, ARG002  as `_Context`; as above
        """Write each heading with its commands, and what exit codes mean."""
        for heading, commands in PANELS.items():
            with formatter.section(heading):
                formatter.write_dl(list(commands.items()))
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANINGS.items()])

    def resolve_command(self, ctx: _Context, args: list[str]) -> tuple[str | None, _Command, list[str]]:
        """Return the real command in place of its stand-in.

        Raise `UsageError`, with a suggestion, for an unknown one.
        """
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from restbroker.errors import UsageError

            raise UsageError(f"`restbroker` has no command {args[0]!r}.", _suggestion(args[0]))
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else load(name), rest


def _suggestion(word: str) -> str:
    """Return a sentence with the commands, and the verbs of commands, that this word may stand for."""
    from difflib import get_close_matches

    from restbroker.job.endpoint import either

    verbs: dict[str, list[str]] = {}
    for path in examples.examples():
        if " " in path:
            verbs.setdefault(path.partition(" ")[2], []).append(path)
    if word in INSTEAD:
        return f"Did you mean {INSTEAD[word]}?"
    near = verbs.get(word) or get_close_matches(word, COMMANDS) or get_close_matches(word, verbs, n=1, cutoff=_ALIKE)
    meant = [path for name in near for path in verbs.get(name, [name])]
    return f"Did you mean {either(meant)}?" if meant else "`restbroker --help` lists them all."


def _reads_none(words: list[str]) -> bool:
    """Tell whether these words, a command and what follows it, have no use for `--config`."""
    if words[0] not in COMMANDS:
        return False
    command: Any = load(words[0])
    while isinstance(command, TyperGroup):
        verbs = command.commands
        verb = next((word for word in words[1:] if word in verbs), None)
        if verb is None:
            # Of a word that is no verb, the group says so.
            return len(words) > 1 and (words[1] in HELP or not words[1].startswith("-"))
        command = verbs[verb]
    return not any("--config" in option.opts for option in command.params)


def load(name: str) -> examples.Command:
    """Import and return the command of this name, which must be in the table."""
    module = import_module(f"restbroker.cli.{'jobs' if name in _SETS else name}")
    app: typer.Typer = module.set_app(name) if name in _SETS else module.app
    gc.freeze()  # what is imported stays: to look through it again and again costs a quick command a tenth of its CPU
    gc.enable()
    app.rich_markup_mode = None  # plain, so that lines stay whole in a pipe
    command: Any = typer.main.get_command(app)
    command.name = name
    examples.add(command, name)
    found: examples.Command = command
    return found


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"restbroker {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    # A noun, since Typer prints it as the help of `restbroker`.
    """The durable bridge between Sidekiq-format job queues in Redis and the HTTP APIs of XMPP servers."""  # noqa: D401


def command_line() -> TyperGroup:
    """Return the whole command line, ready for `.main(args)`."""
    # Plain, as are then all errors of the command line.
    app = typer.Typer(
        cls=LazyGroup,
        context_settings={"help_option_names": [*HELP]},
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
    )
    app.callback()(_root)
    root: Any = typer.main.get_command(app)
    # Typer answers the shell's questions where it has these options; their scripts are not for us (see completion.py).
    root.params = [option for option in root.params if option.name not in ("install_completion", "show_completion")]
    root.epilog = examples.epilog(examples.examples()["restbroker"])
    found: TyperGroup = root
    return found
