"""Reads sorted sets piece by piece, from a place that stays valid while others change the set. Used by `operate`.

Always holds: a piece costs the same wherever it begins and however large the set is; a member that is there all the
while is found exactly once, unless its neighbours of the same score change: then it may be found twice, never not at
all.
"""

import hashlib
import math
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final, Self, TypeAlias

import attrs

from restbroker.errors import UsageError
from restbroker.store.client import Client, integer, items, members, pair, text
from restbroker.store.keys import SortedSet
from restbroker.store.tickets import MAX_BYTES

Member: TypeAlias = tuple[bytes, float]
"""A member as stored, with its score."""
_FORM: Final = re.compile(r"([0-9a-z.+-]{1,40}):(\d{1,9}):([0-9a-f]{40})?", re.ASCII)


@attrs.frozen
class Cursor:
    """A place in a set: behind `offset` members of this score, the last of which has this digest ("": not known)."""

    score: float
    offset: int
    digest: str = ""

    def __str__(self) -> str:
        """Return the cursor as text for the address of a page; it reveals nothing of any member."""
        return f"{self.score!r}:{self.offset}:{self.digest}"

    @classmethod
    def parse(cls, written: str) -> Self:
        """Return the cursor that was written as this text. Raise `UsageError` for any other text."""
        found = _FORM.fullmatch(written)
        try:
            if found is not None and (score := float(found[1])) == score:
                return cls(score, int(found[2]), found[3] or "")
        except ValueError:
            pass
        raise UsageError("This place in the list cannot be read.", "Start at the list's first page.")


@attrs.frozen
class SetPiece:
    """Some members in their order. `size`: of the whole set. `start`: where they begin, None: at its beginning.

    No members: the end is reached.
    """

    members: tuple[Member, ...]
    size: int
    start: Cursor | None

    def behind(self, count: int | None = None, gone: Collection[int] = ()) -> Cursor | None:
        """Return the place behind the first `count` members (None: behind all); None: the set's beginning.

        `gone`: the indices of those of them that are not in the set any more.
        """
        members = self.members if count is None else self.members[:count]
        if not members:
            return self.start
        score = members[-1][1]
        left = [member for n, (member, at) in enumerate(members) if at == score and n not in gone]
        start = self.start
        before, digest = (start.offset, start.digest) if start is not None and start.score == score else (0, "")
        return Cursor(score, before + len(left), digest_of(left[-1]) if left else digest)


def digest_of(member: bytes) -> str:
    """Return a name for a member that reveals nothing of it."""
    return hashlib.sha1(member, usedforsecurity=False).hexdigest()


def piece(client: Client, zset: SortedSet, after: Cursor | None, limit: int, *, newest_first: bool) -> SetPiece:
    """Return up to `limit` members behind `after` (None: from the beginning), fewer if they are large.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    place = ("", 0, "") if after is None else (repr(after.score), after.offset, after.digest)
    order = "down" if newest_first else "up"
    reply = client.run("page", [client.keys.sorted_set(zset)], [order, *place, limit, MAX_BYTES])
    size, passed, *flat = items(reply, 2)
    start = None if after is None else attrs.evolve(after, offset=integer(passed))
    return SetPiece(tuple(members(flat)), integer(size), start)


def pieces(
    client: Client, zset: SortedSet, limit: int, after: Cursor | None = None, *, newest_first: bool | None = None
) -> Iterator[SetPiece]:
    """Yield the members behind `after` in pieces of up to `limit`; None: dead jobs newest first, others next due first.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    is_down = zset == "dead" if newest_first is None else newest_first
    while (part := piece(client, zset, after, limit, newest_first=is_down)).members:
        yield part
        after = part.behind()


def counts(client: Client, zset: SortedSet, ranges: Sequence[tuple[float, float]]) -> list[int]:
    """Return for each range how many members have a score from its first number on and below the second.

    The second may be infinite. Raise `StoreUnavailable` or `StoreRefused`.
    """
    key = client.keys.sorted_set(zset)
    commands = [("ZCOUNT", key, repr(low), "+inf" if high == math.inf else f"({high!r}") for low, high in ranges]
    return [integer(reply) for reply in client.commands(commands)]


def members_with_word(client: Client, zset: SortedSet, word: str) -> Iterator[Sequence[Member]]:
    """Go through the whole set, in no order, and yield in each step the members that have this word in their bytes.

    A step costs Redis little, however large the members are, and covers some thousand usual ones, so that the caller
    may stop anywhere. A member may come twice. Raise `StoreUnavailable` or `StoreRefused`.
    """
    key, cursor = client.keys.sorted_set(zset), "0"
    while True:
        position, found = pair(client.run("find", [key], [cursor, word, MAX_BYTES]))
        yield members(found)
        cursor = text(position)
        if cursor == "0":
            return
