"""`restbroker dead`: the parked jobs, newest first; and those that others have trimmed from the dead set."""

from typing import Annotated

import typer

from restbroker.admin.connect import open_store
from restbroker.admin.trimmed import restore, trimmed
from restbroker.cli import jobs, output
from restbroker.cli.configured import ConfigOption, JsonOption, quietly
from restbroker.config.core import Config

app = typer.Typer(add_completion=False)

TrimmedOption = Annotated[
    bool, typer.Option("--trimmed", help="Those that are no longer in the dead set: trimmed, retried or deleted.")
]
RestoreOption = Annotated[
    str | None, typer.Option("--restore", metavar="JID", help="Put such a job back into the dead set; it does not run.")
]


@app.command()
def dead(
    config: ConfigOption = None,
    limit: jobs.LimitOption = 20,
    json: JsonOption = False,
    only_trimmed: TrimmedOption = False,
    restored: RestoreOption = None,
) -> None:
    """Show the parked jobs, newest first. Arguments and tokens are not shown.

    In a pipe each line is: when it was parked (UTC), job id, command, error class, message.
    """
    settings = quietly(config)
    if restored is not None:
        _restore(settings, restored)
    elif only_trimmed:
        _show_trimmed(settings, limit, as_json=json)
    else:
        jobs.show(settings, "dead", limit, as_json=json)


def _restore(settings: Config, jid: str) -> None:
    with open_store(settings) as client:
        restore(client, jid)
    output.say(f'{jid} is in the dead set again. To run it, press "Retry" in Sidekiq Web.')


def _show_trimmed(settings: Config, limit: int, *, as_json: bool) -> None:
    with open_store(settings) as client:
        found = trimmed(client, limit, jobs.tokens(settings))
    jobs.write(found, as_json=as_json)
    count = "1 job is" if len(found) == 1 else f"{len(found)} jobs are"
    output.say(f"{count} no longer in the dead set: trimmed by other Sidekiq processes, or retried or deleted.")
