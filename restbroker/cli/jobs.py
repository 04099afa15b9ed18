"""Shows jobs of one of Sidekiq's sets: in lines for people, in columns or JSON for programs.

Called by `dead` and `retries`. Always holds: neither arguments nor a token is shown.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from restbroker.admin import jobs
from restbroker.admin.connect import open_store
from restbroker.admin.jobs import Stored
from restbroker.cli import output
from restbroker.config.core import Config
from restbroker.store.keys import SortedSet
from restbroker.store.sets import size

LimitOption = Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)]


def show(settings: Config, zset: SortedSet, limit: int, *, as_json: bool) -> None:
    """Shows at most `limit` jobs. Raises `StoreUnavailable`."""
    with open_store(settings) as client:
        found = list(jobs.listed(client, zset, limit, tokens(settings)))
        total = size(client, zset)
    write(found, as_json=as_json)
    more = f"{len(found)} of {total} jobs" if total > len(found) else f"{total} job{'' if total == 1 else 's'}"
    output.say(f"{more} {'parked' if zset == 'dead' else 'waiting for their next try'}.")


def tokens(settings: Config) -> frozenset[str]:
    """What must not be shown."""
    return frozenset(secret.reveal() for token in settings.tokens for secret in token.secrets)


def write(found: Sequence[Stored], *, as_json: bool) -> None:
    """Shows these jobs."""
    if as_json:
        output.as_json([_fields(job) for job in found])
    elif sys.stdout.isatty():
        _draw(found)
    else:
        for job in found:
            output.row(value or "-" for value in _fields(job).values())


def _fields(job: Stored) -> dict[str, str | None]:
    when = datetime.fromtimestamp(job.at_s, UTC)
    return {
        "when": f"{when:%Y-%m-%dT%H:%M:%SZ}",
        "jid": job.jid,
        "command": job.command,
        "error_class": job.error_class,
        "message": job.message,
    }


def _draw(found: Sequence[Stored]) -> None:
    """Two lines for each job, in the terminal's own time, for a table would not fit."""
    for job in found:
        when = datetime.fromtimestamp(job.at_s).astimezone()
        words = (job.command, job.error_class, job.jid)
        output.data(f"{when:%Y-%m-%d %H:%M:%S}  " + "  ".join(word for word in words if word is not None))
        if job.message is not None:
            output.data(f"    {job.message}")
