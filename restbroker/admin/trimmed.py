"""Parked jobs that are no longer in the dead set: finding them among the copies, and putting one back.

Called by `restbroker dead` and the pages. Always holds: reads page by page, shows no token, and puts a job back where
it is seen, not where it is run, and never beside itself.
"""

import sys
from collections.abc import Collection, Iterator
from itertools import islice

import attrs

from restbroker.admin import audit
from restbroker.admin.audit import Note
from restbroker.admin.entry import Entry, Look
from restbroker.admin.jobs import PAGE, Stored, read, shown
from restbroker.admin.known import Known
from restbroker.errors import UsageError
from restbroker.rules import rubyjson
from restbroker.store import parked
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet
from restbroker.store.parked import Copy


def trimmed(client: Client, limit: int, secrets: Collection[str]) -> list[Stored]:
    """At most `limit` of them, newest first; none of `secrets` is shown. Raises `StoreUnavailable`."""
    return [shown(copy.payload, copy.at_s, secrets) for copy in islice(_missing(client), limit)]


@attrs.frozen
class Copied:
    """A copy of a parked job. `name` is its place among the copies; `is_there`: the dead set has just these bytes."""

    name: str
    entry: Entry
    is_there: bool


def copies(client: Client, known: Known, before: str = "") -> list[Copied]:
    """The newest `PAGE` copies, whether or not the dead set has them, of those older than the copy `before` if given.

    Raises `StoreUnavailable` or `StoreRefused`.
    """
    page = parked.newest(client, PAGE, before)
    missing = {copy.entry for copy in parked.missing(client, page)}
    return [
        Copied(copy.entry, Look(copy.payload, copy.at_s, known).entry(), copy.entry not in missing) for copy in page
    ]


def restore(client: Client, jid: str, who: str) -> None:
    """Puts the newest copy of a job back into the dead set, and writes down who did.

    Raises `UsageError` if there is none, or if the job is there or waits for its next try: whoever retries all would
    run it twice. Raises `StoreUnavailable` if it may be back all the same.
    """
    if jid in _jids(client, "retry"):
        raise UsageError(
            f"The job {jid} waits for its next try; put back beside it, it could run twice.",
            "restbroker retries lists those that wait; if it fails for good, it is parked again by itself.",
        )
    found = next((copy for copy in _missing(client) if _jid(copy.payload) == jid), None)
    if found is not None:
        audit.write(client, Note(who=who, action="restore", place="dead", where=jid, jids=(jid,)))
    if found is None or not parked.restore(client, found):
        raise UsageError(
            f"There is no copy of a parked job {jid} that the dead set does not have already.",
            "restbroker dead --trimmed lists those that there are.",
        )


def _missing(client: Client) -> Iterator[Copy]:
    """The newest copy of each job that the dead set does not have, newest first.

    A job that was retried and parked again is there with other bytes than its older copies have.
    """
    known: set[str] | None = None
    page = parked.newest(client, PAGE)
    while page:
        for copy in parked.missing(client, page):
            known = _jids(client, "dead") if known is None else known
            jid = _jid(copy.payload)
            if jid is None or jid not in known:
                yield copy
            if jid is not None:
                known.add(jid)
        page = parked.newest(client, PAGE, before=page[-1].entry)


def _jids(client: Client, zset: SortedSet) -> set[str]:
    """Of all jobs in one of Sidekiq's sets."""
    members = read(client, zset, sys.maxsize, newest_first=True)
    return {jid for payload, _ in members if (jid := _jid(payload)) is not None}


def _jid(payload: bytes) -> str | None:
    jid = (rubyjson.object_of(payload) or {}).get("jid")
    return jid if isinstance(jid, str) else None
