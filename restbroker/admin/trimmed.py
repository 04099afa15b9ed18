"""Parked jobs that are no longer in the dead set: finding them among the copies, and putting one back.

Called by `restbroker dead`. Always holds: reads page by page, shows neither arguments nor a token, and puts a job back
where it is seen, not where it is run.
"""

from collections.abc import Collection, Iterator
from itertools import islice

from restbroker.admin.jobs import PAGE, Stored, shown
from restbroker.errors import UsageError
from restbroker.rules import rubyjson
from restbroker.store import parked
from restbroker.store.client import Client
from restbroker.store.parked import Copy


def trimmed(client: Client, limit: int, secrets: Collection[str]) -> list[Stored]:
    """At most `limit` of them, newest first; none of `secrets` is shown. Raises `StoreUnavailable`."""
    return [shown(copy.payload, copy.at_s, secrets) for copy in islice(_missing(client), limit)]


def restore(client: Client, jid: str) -> None:
    """Puts the newest copy of a job back into the dead set.

    Raises `UsageError` if there is none that the dead set does not have already, `StoreUnavailable` if it may be back
    all the same.
    """
    found = next((copy for copy in _missing(client) if _jid(copy.payload) == jid), None)
    if found is None or not parked.restore(client, found):
        raise UsageError(
            f"There is no copy of a parked job {jid} that the dead set does not have already.",
            "restbroker dead --trimmed lists those that there are.",
        )


def _missing(client: Client) -> Iterator[Copy]:
    page = parked.newest(client, PAGE)
    while page:
        yield from parked.missing(client, page)
        page = parked.newest(client, PAGE, before=page[-1].entry)


def _jid(payload: bytes) -> object:
    try:
        fields = rubyjson.loads(payload)
    except rubyjson.Unreadable:
        return None
    return fields.get("jid") if isinstance(fields, dict) else None
