"""Groups of commands: whose options may stand before the verb's name too, and which list if no verb is named.

`Group` is the command line itself; `Verbs` each command that has verbs; `ListsFirst` is for `queues`, `targets`,
`processes` and `roster`, where `restbroker queues --json` means `restbroker queues list --json`. Always holds: an
option before a command's name counts as one behind it, so that the command gets it, or refuses it if it has no such
option.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from typer.core import TyperCommand, TyperGroup, TyperOption

HELP: Final = ("--help", "-h")
_SENTENCE: Final = 300
INSTEAD: Final = {
    "setup": "config init",
    "configure": "config init",
    "cron": "periodic",
    "help": "--help",
    "version": "--version",
    "check": "restbroker check",
}
"""What people type for a command that is called differently."""


class Group(TyperGroup):
    """A group that accepts options before the name of the command that has them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - see cli.app
        """Parse the words as click does, after moving the command's name before its options."""
        return super().parse_args(ctx, self.move_name_first(ctx, args))

    def move_name_first(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - see cli.app
        """Return the words with the command's name in front; unchanged if no name stands behind options alone."""
        if not args or not args[0].startswith("-") or args[0] in self._own_options(ctx):
            return args
        names = self.list_commands(ctx)
        found = [(place, [*_options(self.real_command(ctx, word))]) for place, word in enumerate(args) if word in names]
        # An option's value may be called like a command. And a command tells best that an option is none of its own.
        place = next((place for place, options in found if _end_of_options(args, options) == place), None)
        if place is None:
            place = next((place for place, options in found if _has_another(args[:place], options)), None)
        return args if place is None else [args[place], *args[:place], *args[place + 1 :]]

    def real_command(self, ctx: Any, name: str) -> Any:  # noqa: ANN401 - see cli.app
        """Return the command of this name, which must be one of `list_commands`."""
        return self.get_command(ctx, name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002 - see cli.app; its signature
        """Write the names of the commands, each with the first sentence of its help, however long it is."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.get_short_help_str(_SENTENCE)) for name, verb in self.commands.items()])

    def _own_options(self, ctx: Any) -> set[str]:  # noqa: ANN401 - see cli.app
        """Return the options that work without a command: `--help`, `--version`."""
        return {name for parameter in self.get_params(ctx) if parameter.is_eager for name in parameter.opts}


class Verbs(Group):
    """A group that answers an unknown verb with a list of the known ones."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - see cli.app
        """Return the verb's name, its command and the words after it, as click does; raise `UsageError` if unknown."""
        verbs = self.list_commands(ctx)
        if args[0] not in verbs and not args[0].startswith("-") and not ctx.resilient_parsing:
            from restbroker.errors import UsageError

            raise UsageError(f"`{ctx.command_path}` has no command {args[0]!r}.", self.hint(args[0], verbs))
        return super().resolve_command(ctx, args)

    def hint(self, word: str, verbs: Sequence[str]) -> str:
        """Return what may be meant by a word that is none of these verbs."""
        from restbroker.operate.names import suggestion

        return f"Did you mean {INSTEAD[word]}?" if word in INSTEAD else suggestion(word, verbs)


class ListsFirst(Verbs):
    """A group that takes options without a command for those of `list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - see cli.app
        """Parse the words as click does, with `list` in front if there is no verb.

        `--help` concerns the group, and so does the shell's request for what may follow its name.
        """
        is_list = (args[0].startswith("-") and args[0] not in HELP) if args else not ctx.resilient_parsing
        verbs = {*self.list_commands(ctx)}
        return super().parse_args(ctx, ["list", *args] if is_list and verbs.isdisjoint(args) else args)


def _end_of_options(words: Sequence[str], options: Sequence[TyperOption]) -> int:
    """Return the place of the first word that is neither an option nor the value of one."""
    valued = {name for option in options if not option.is_flag for name in option.opts}
    place = 0
    while place < len(words) and _is_option(words[place]):
        place += 2 if words[place] in valued else 1
    return place


def _has_another(words: Sequence[str], options: Sequence[TyperOption]) -> bool:
    """Tell whether one of these words is an option that is not among `options`."""
    known = {name for option in options for name in (*option.opts, *option.secondary_opts)} | {*HELP}
    return any(_is_option(word) and word.partition("=")[0] not in known for word in words)


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "--"


def _options(command: object) -> Iterator[TyperOption]:
    """Yield the options of a command and of its verbs."""
    if isinstance(command, TyperCommand | TyperGroup):
        yield from (parameter for parameter in command.params if isinstance(parameter, TyperOption))
    if isinstance(command, TyperGroup):
        for verb in command.commands.values():
            yield from _options(verb)
