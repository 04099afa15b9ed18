"""`restbroker retries`: the jobs that wait for their next try, next due first; and the verbs.

Always holds: without a verb nothing is changed.
"""

import typer

from restbroker.cli.edit_verb import add_edit
from restbroker.cli.failure_summary import add_summary
from restbroker.cli.selection import all_conditions
from restbroker.cli.set_verbs import add_verbs, listing
from restbroker.console.lists import Verbs
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import (
    GroupOption,
    JsonOption,
    LimitOption,
    NewerOption,
    OlderOption,
    SinceOption,
    UntilOption,
    WhereOption,
)

app = typer.Typer(cls=Verbs, add_completion=False)
add_verbs(app, "retry")
add_edit(app, "retry")
add_summary(app, "retry")


@app.callback(invoke_without_command=True)
def retries(
    ctx: typer.Context,
    where: WhereOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    group: GroupOption = None,
    limit: LimitOption = 20,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show jobs that wait for their next try, next one first, or act on them. Arguments and tokens are not listed.

    In a pipe each line is: due time (UTC), job id, command, error class, message.
    """
    if ctx.invoked_subcommand is not None:
        return
    settings = load_quietly(config)
    meant = all_conditions(where, "retry", (since, until), ages=(older_than, newer_than), group=group)
    listing(settings, "retry", where=meant, limit=limit, after=None, as_json=json)
