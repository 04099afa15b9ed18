"""Refreshes are claimed and ended over a client, as `app.rosters` does it over its connection."""

from collections.abc import Collection, Mapping, Sequence

from restbroker.rosters.store import RefreshDelay, claim_call, end_call, read_claims
from restbroker.store.client import Client, integer


def claim(client: Client, users: Sequence[str], holder: str, lease_ms: int, delay: RefreshDelay) -> Mapping[str, int]:
    call = claim_call(client.keys, users, holder, lease_ms=lease_ms, delay=delay)
    return read_claims(users, client.run(*call))


def end_refreshes(client: Client, holder: str, done: Collection[str], again: Collection[str] = ()) -> int:
    return integer(client.run(*end_call(client.keys, holder, done, again)))
