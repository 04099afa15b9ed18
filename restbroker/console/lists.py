"""Groups of commands: what they say of an option or a verb in the wrong place, and which list when no verb is named.

`Group` is the command line itself; `Verbs` each command that has verbs; `ListsFirst` is for `queues`, `targets`,
`processes` and `roster`, where `restbroker queues --json` is `restbroker queues list --json`. Always holds: no option
before a command's name is silently ignored.
"""

from typing import Any

from typer.core import TyperGroup

from restbroker.errors import UsageError


class Group(TyperGroup):
    """Says where an option belongs that stands before the command that has it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - see cli.app
        """As click's. Raises `UsageError` for such an option."""
        names = self.list_commands(ctx)
        at = next((place for place, word in enumerate(args) if word in names), 0)
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        options = (word.partition("=")[0] for word in reversed(args[:at]) if word.startswith("--"))
        wrong = next((option for option in options if option not in own), None)
        if wrong is not None and not ctx.resilient_parsing:
            value = "" if args[at - 1] == wrong else " …"
            cure = f"Put it behind: {ctx.command_path} {args[at]} {wrong}{value}"
            raise UsageError(f"{wrong} stands before the command {args[at]}.", cure)
        return super().parse_args(ctx, args)


class Verbs(Group):
    """Answers a verb that it has not with those that it has."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - see cli.app
        """As click's. Raises `UsageError` where there is no such verb."""
        verbs = self.list_commands(ctx)
        if args[0] not in verbs and not args[0].startswith("-") and not ctx.resilient_parsing:
            from restbroker.operate.names import require

            require(f"{ctx.command_path} command", args[0], verbs)
        return super().resolve_command(ctx, args)


class ListsFirst(Verbs):
    """Takes options without a command for those of `list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - see cli.app
        """As click's; `--help` is about the group, and so is the shell's question what may follow its name."""
        is_list = (args[0].startswith("-") and args[0] != "--help") if args else not ctx.resilient_parsing
        verbs = {*self.list_commands(ctx)}
        return super().parse_args(ctx, ["list", *args] if is_list and verbs.isdisjoint(args) else args)
