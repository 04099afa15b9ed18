"""Reads rosters from Redis, and writes them as Prosody takes them. `rosters.service.reader` calls it, in threads.

Always holds: a user whose key or entries have another form than restbroker's affects no other user's roster. An entry
that cannot be read is left out: with it Prosody would answer neither its user's login nor a refresh.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TypeAlias

import attrs

from restbroker.errors import StoreRefused
from restbroker.rosters import store as rosters
from restbroker.rosters.rules import BadRoster, as_prosody, roster_of
from restbroker.store.client import Client

RosterHash: TypeAlias = Mapping[bytes, bytes]
"""A roster as it lies in Redis."""


@attrs.frozen
class PreparedRoster:
    """A roster as JSON, and an error for each of its entries that was left out."""

    body: bytes
    bad: tuple[BadRoster, ...] = ()


def choose_users(client: Client, users: Sequence[str], most: int) -> list[str]:
    """Return the users to read first: those with the fewest contacts, up to `most` contacts together; at least one.

    Raise `StoreUnavailable` if Redis does not answer.
    """
    try:
        sizes = rosters.sizes(client, users)
    except StoreRefused:
        return list(users)  # `read` finds out whose key is of another type
    ordered = sorted(zip(sizes, users, strict=True))
    together = accumulate(size for size, _ in ordered)
    return [user for (_, user), sum_ in zip(ordered, together, strict=True) if sum_ <= most] or [ordered[0][1]]


def read(client: Client, users: Sequence[str]) -> dict[str, RosterHash | StoreRefused]:
    """Return the roster of each user, empty for one who has none, or the error that reading it raises.

    Raise `StoreUnavailable` if Redis does not answer.
    """
    try:
        stored = rosters.read(client, users)
    except StoreRefused as error:
        if len(users) == 1:
            return {users[0]: error}
        # Someone's key is of another type, say, and it is not told whose.
        half = len(users) // 2
        return {**read(client, users[:half]), **read(client, users[half:])}
    return dict(zip(users, stored, strict=True))


def prepare_rosters(stored: Mapping[str, RosterHash], domain: str | None) -> list[PreparedRoster]:
    """Return these users' rosters for Prosody, in the same order. `domain`: theirs, where it is known."""
    found: list[PreparedRoster] = []
    for user, one in stored.items():
        roster, bad = roster_of(one, user, domain)
        found.append(PreparedRoster(as_prosody(roster), bad))
    return found
