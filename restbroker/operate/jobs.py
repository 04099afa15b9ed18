"""What waits in Sidekiq's sets, as an operator may see it: dead jobs, and those that wait for their next try.

Called by `tokens`, and for jobs that wait or are in progress. Always holds: reads page by page and never the whole set,
changes nothing, and shows neither arguments nor a token.
"""

from collections.abc import Collection, Iterator

import attrs

from restbroker.job import display, hiding, redact, rubyjson
from restbroker.store import sets
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet

PAGE = 20
"""Members read at once: each may have a megabyte, and a page must arrive within the connection's time-out."""
_WORD_LIMIT = 120


@attrs.frozen
class StoredJob:
    """One job. `at_s`: when it died, or is due (epoch seconds). Missing texts are None."""

    at_s: float
    jid: str | None
    command: str | None
    error_class: str | None
    message: str | None


def list_jobs(client: Client, zset: SortedSet, limit: int, secrets: Collection[str]) -> Iterator[StoredJob]:
    """Yield at most `limit` jobs, dead ones newest first, others next due first, with `secrets` masked.

    Raise `StoreUnavailable`.
    """
    members = read(client, zset, limit, newest_first=zset == "dead")
    return (display_job(raw, at_s, secrets) for raw, at_s in members)


def read(client: Client, zset: SortedSet, limit: int, *, newest_first: bool) -> Iterator[tuple[bytes, float]]:
    """Yield at most `limit` members of a set as (bytes, score). Raise `StoreUnavailable`."""
    skip = 0
    while skip < limit and (
        page := sets.list_members(client, zset, skip, min(PAGE, limit - skip), newest_first=newest_first)
    ):
        yield from page
        skip += len(page)


def display_job(raw: bytes, at_s: float, secrets: Collection[str]) -> StoredJob:
    """Return the job in these bytes, with `secrets` masked. `at_s` (epoch seconds) is its `StoredJob.at_s`."""
    return display.show_or_explain(
        lambda: _display(raw, at_s, secrets), lambda line: StoredJob(at_s, None, None, error_class=None, message=line)
    )


def _display(raw: bytes, at_s: float, secrets: Collection[str]) -> StoredJob:
    fields = rubyjson.object_of(raw)
    if fields is None:
        return StoredJob(
            at_s, None, None, error_class=None, message="This entry is not a job: it is not a JSON object."
        )
    job = redact.job(fields)
    args = job.get("args")
    command = args[0] if isinstance(args, list) and args else None

    def text(value: object, limit: int = _WORD_LIMIT) -> str | None:
        # Also what the job itself does not call a token: a producer may have put it into the wrong place.
        return hiding.text(value, secrets, limit) if isinstance(value, str) and value else None

    return StoredJob(
        at_s=at_s,
        jid=text(job.get("jid")),
        command=None if command == hiding.MASK else text(command),
        error_class=text(job.get("error_class")),
        message=text(job.get("error_message"), hiding.EXCERPT_LIMIT),
    )
