"""`restbroker dead`: the dead jobs, newest first; those that others have trimmed from the dead set; and the verbs.

Always holds: without a verb nothing is changed, except by `--restore`.
"""

from typing import Annotated

import typer

from restbroker.cli.edit_verb import add_edit
from restbroker.cli.failure_summary import add_summary
from restbroker.cli.selection import all_conditions
from restbroker.cli.set_verbs import add_verbs, listing
from restbroker.config.core import Config
from restbroker.console import completion, jobs, output
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
    WhyOption,
)
from restbroker.console.who import who
from restbroker.errors import UsageError
from restbroker.operate.connect import open_store

app = typer.Typer(cls=Verbs, add_completion=False)
add_verbs(app, "dead")
add_edit(app, "dead")
add_summary(app, "dead")

TrimmedOption = Annotated[
    bool, typer.Option("--trimmed", help="Show jobs that left the dead set: trimmed, retried or deleted.")
]
RestoreOption = Annotated[
    str | None,
    typer.Option(
        "--restore",
        metavar="JID",
        help="Put a job that left the dead set back into it; it does not run.",
        autocompletion=completion.jids,
    ),
]


@app.callback(invoke_without_command=True)
def dead(
    ctx: typer.Context,
    where: WhereOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    group: GroupOption = None,
    limit: LimitOption = 20,
    only_trimmed: TrimmedOption = False,
    restored: RestoreOption = None,
    why: WhyOption = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show dead jobs, newest first, or act on them. Arguments and tokens are not listed.

    In a pipe each line is: time of death (UTC), job id, command, error class, message.
    """
    if ctx.invoked_subcommand is not None:
        return
    settings = load_quietly(config)
    conditions = where or since or until or older_than or newer_than or group
    if conditions and (only_trimmed or restored is not None):
        raise UsageError(
            "--trimmed and --restore are for jobs that have left the dead set; conditions cannot select these.",
            "Use one or the other. `restbroker find TEXT` also searches the copies.",
        )
    if restored is not None:
        _restore(settings, restored, why)
    elif only_trimmed:
        _show_trimmed(settings, limit, as_json=json)
    else:
        meant = all_conditions(where, "dead", (since, until), ages=(older_than, newer_than), group=group)
        listing(settings, "dead", where=meant, limit=limit, after=None, as_json=json)


def _restore(settings: Config, jid: str, why: str) -> None:
    from restbroker.operate.dead_copies import restore

    with open_store(settings) as client:
        restore(client, jid, who(), why)
    output.say(f"{jid} is in the dead set again. It may have run since it died: restbroker explain {jid}")
    output.say(f"To run it: restbroker dead retry {jid}")


def _show_trimmed(settings: Config, limit: int, *, as_json: bool) -> None:
    from restbroker.operate.dead_copies import trimmed_jobs

    with open_store(settings) as client:
        found = trimmed_jobs(client, limit, jobs.tokens(settings))
    jobs.write(found, as_json=as_json)
    count = "1 job is" if len(found) == 1 else f"{len(found)} jobs are"
    output.say(f"{count} no longer in the dead set: trimmed by other Sidekiq processes, or retried or deleted.")
