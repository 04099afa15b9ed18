"""A group of commands that lists when none is named: `restbroker queues --json` is `restbroker queues list --json`.

Used by `queues`, `targets`, `processes` and `roster`. Always holds: no option before a command's name is
silently ignored.
"""

from typing import Any

from typer.core import TyperGroup


class ListsFirst(TyperGroup):
    """Takes options without a command for those of `list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - see cli.app
        """As click's; `--help` is about the group, and so is the shell's question what may follow its name."""
        is_list = (args[0].startswith("-") and args[0] != "--help") if args else not ctx.resilient_parsing
        return super().parse_args(ctx, ["list", *args] if is_list else args)
