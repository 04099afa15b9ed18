"""Show jobs of one of Sidekiq's sets: in lines for people, in columns or JSON for programs.

Called by `dead`, `retries` and `scheduled`. Always holds: neither arguments nor a token are shown.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from restbroker.config.core import Config
from restbroker.console import output
from restbroker.console.times import local, utc
from restbroker.operate import jobs
from restbroker.operate.connect import open_store
from restbroker.operate.jobs import StoredJob
from restbroker.store.keys import SortedSet
from restbroker.store.sets import size

_NAMES: Final[Mapping[SortedSet, str]] = {"dead": "dead", "retry": "retries", "schedule": "scheduled"}
_WAITING: Final[Mapping[SortedSet, str]] = {
    "dead": "in the dead set",
    "retry": "waiting for {} next try",
    "schedule": "scheduled for later",
}


def show(settings: Config, zset: SortedSet, limit: int, *, as_json: bool) -> None:
    """Print at most `limit` jobs of the set and how many there are; raise `StoreUnavailable` if Redis is away."""
    with open_store(settings) as client:
        found = list(jobs.list_jobs(client, zset, limit, tokens(settings)))
        total = size(client, zset)
    write(found, as_json=as_json)
    more = f"{len(found)} of {output.jobs(total)}" if total > len(found) else output.jobs(total)
    output.say(f"{more} {_WAITING[zset].format('its' if total == 1 else 'their')}.")
    if found and sys.stderr.isatty():
        jid = next((job.jid for job in found if job.jid), "JID")
        output.say(f"Details of one: restbroker explain {jid}. To run it now: restbroker {_NAMES[zset]} retry {jid}")
    if total > len(found) and zset != "schedule":
        output.say(f"Why they failed: restbroker {_NAMES[zset]} summary")


def tokens(settings: Config) -> frozenset[str]:
    """Return the secrets of all tokens, which must not be shown; raise `ConfigError` if a file is unreadable."""
    return frozenset(secret.reveal() for token in settings.tokens for secret in token.secrets)


def write(found: Sequence[StoredJob], *, as_json: bool) -> None:
    """Print these jobs."""
    if as_json:
        output.as_json([_fields(job) for job in found])
    elif sys.stdout.isatty():
        _draw(found)
    else:
        for job in found:
            output.row(value or "-" for value in _fields(job).values())


def _fields(job: StoredJob) -> dict[str, str | None]:
    return {
        "when": utc(job.at_s),
        "jid": job.jid,
        "command": job.command,
        "error_class": job.error_class,
        "message": job.message,
    }


def _draw(found: Sequence[StoredJob]) -> None:
    """Print two lines for each job, with local times; a table would not fit."""
    for job in found:
        words = (job.command, job.error_class, job.jid)
        output.data(f"{local(job.at_s)}  " + "  ".join(word for word in words if word is not None))
        if job.message is not None:
            output.data(f"    {job.message}")
