"""`restbroker forget`: take one person out of Redis.

Always holds: nothing is taken out that was not counted before; the audit entry comes first, and does not have the name.
"""

import time
from typing import Annotated, Final

import typer

from restbroker.console import columns, output
from restbroker.console.confirmation import confirm
from restbroker.console.exits import Exit
from restbroker.console.load_config import load_quietly
from restbroker.console.options import ConfigOption, Consent, ForeignQueuesOption, argument, command, option
from restbroker.console.who import who
from restbroker.errors import UsageError
from restbroker.job.hosts import plain
from restbroker.operate.act_job import Action
from restbroker.operate.audit import AuditedAction, AuditEntry
from restbroker.operate.connect import open_store
from restbroker.operate.context import context_of
from restbroker.operate.forget import Person, erase, look
from restbroker.rosters.operate import Rosters, without

app = typer.Typer(add_completion=False)
_BEYOND: Final = (
    "note: not reached: jobs in progress, jobs of Ruby's and the Go original's processes, env.json, logs, backups, and"
    " Redis' snapshot and append-only file (BGSAVE, BGREWRITEAOF)."
)


@command(app)
def forget(
    *,
    name: Annotated[str, argument("NAME", "The user's name, without the host.")],
    host: Annotated[str, option("--host HOST", "Their virtual host.")],
    foreign_queues: ForeignQueuesOption = False,
    consent: Consent,
    config: ConfigOption = None,
) -> None:
    """Take a person out of Redis: out of jobs, copies of dead jobs, answers, events, rosters and the audit log.

    It finds their address in any text, and their name where it is the whole of an argument: alice is not in malice. It
    deletes every job that names them. First it shows in which places they are, how often, and asks. It ends with 7 if
    something is left, such as a job in progress: run it again then.
    """
    if not name or not host or "@" in name or not f"{name}{host}".isprintable():
        raise UsageError("A person is a name and a host.", "For example: restbroker forget alice --host example.org")
    settings = load_quietly(config, "Roster")
    known = context_of(settings)
    person = Person(plain(name), plain(host), {queue: one.default_host for queue, one in known.targets.items()})
    with open_store(settings) as client:
        rosters = Rosters.make(settings, client, who(), only_looks=consent.dry_run)
        found, changes = look(client, settings, known, person, foreign_queues=foreign_queues), without(rosters, person)
        columns.rows(("PLACE", "FOUND"), [*found.counts.items(), *([("rosters", len(changes))] if changes else [])])
        if not consent.dry_run and (found.counts or changes):
            confirm("Delete all of it?", yes=consent.yes)
            entry = AuditEntry(who=who(), action="forget", place="Redis", why=consent.why)
            with AuditedAction(client, entry) as noted:
                for verb, change in changes:
                    rosters.change(verb, change)
                action = Action("delete", who(), why=consent.why, foreign_queues=True)
                for step in erase(client, settings, known, person, found, action):
                    time.sleep(step.rest_s)
                noted.state, noted.done = "ended", sum(found.counts.values()) + len(changes)
            found = look(client, settings, known, person, foreign_queues=foreign_queues)
    left = {**found.staying, **({} if consent.dry_run else found.counts)}
    output.say(*(f"note: left: {place}: {count}" for place, count in left.items()), _BEYOND)
    if left and not consent.dry_run:
        raise typer.Exit(Exit.PARTLY)
