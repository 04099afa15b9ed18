"""Reads sorted sets piece by piece, from a place that stays valid while others change the set. Used by `operate`.

Always holds: who goes through a whole set does it by `rested`, in steps that take Redis two milliseconds at most, if no
member is larger, and with a rest behind each, so that others have Redis for four fifths of the time. A piece costs the
same wherever it begins and however large the set is; a member that is there all the while is found exactly once, unless
its neighbours of the same score change: then it may be found twice, never not at all.
"""

import math
import re
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Final, Self, TypeAlias, TypeVar

import attrs

from restbroker.errors import UsageError
from restbroker.job import job
from restbroker.light import frozen
from restbroker.store.client import Argument, Client, integer, items, members, text
from restbroker.store.keys import SortedSet

T = TypeVar("T")
Member: TypeAlias = tuple[bytes, float]
"""A member as stored, with its score."""
STEP_BYTES: Final = 128 * 1024
"""What Redis reads in a millisecond or two."""
_SEARCHED: Final = 2000
"""So many members, of four times as many bytes, it searches for a word in that time: it copies none."""
_LONGEST_REST_S: Final = 0.01
"""What takes longer is a slow network, or a machine with too much to do: no rest helps Redis there."""
_FORM: Final = re.compile(r"([0-9a-z.+-]{1,40}):(\d{1,9}):([0-9a-f]{40})?", re.ASCII)


@frozen
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


@frozen
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
        return Cursor(score, before + len(left), job.digest(left[-1]) if left else digest)


def rested(steps: Iterator[T]) -> Iterator[T]:
    """Yield what these steps read; leave Redis alone behind each for four times as long as it took, at most 10 ms."""
    began_s = time.monotonic()
    for found in steps:
        ended_s = time.monotonic()
        yield found
        until_s = ended_s + min(4 * (ended_s - began_s), _LONGEST_REST_S)
        time.sleep(max(0.0, until_s - time.monotonic()))
        began_s = time.monotonic()


def piece(client: Client, zset: SortedSet, after: Cursor | None, limit: int, *, newest_first: bool) -> SetPiece:
    """Return up to `limit` members behind `after` (None: from the beginning), fewer if they are large.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    place = ("", 0, "") if after is None else (repr(after.score), after.offset, after.digest)
    order = "down" if newest_first else "up"
    reply = client.run("page", [client.keys.sorted_set(zset)], [order, *place, limit, STEP_BYTES, ""])
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

    def steps(place: Cursor | None) -> Iterator[SetPiece]:
        looked_at = 0
        while (part := piece(client, zset, place, limit, newest_first=is_down)).members:
            looked_at, place = looked_at + len(part.members), part.behind()
            client.tell(looked_at, part.size, f"{looked_at:,} looked at")
            yield part

    return rested(steps(after))


def counts(client: Client, zset: SortedSet, ranges: Sequence[tuple[float, float]]) -> list[int]:
    """Return for each range how many members have a score from its first number on and below the second.

    The second may be infinite. Raise `StoreUnavailable` or `StoreRefused`.
    """
    key = client.keys.sorted_set(zset)
    commands = [("ZCOUNT", key, repr(low), "+inf" if high == math.inf else f"({high!r}") for low, high in ranges]
    return [integer(reply) for reply in client.commands(commands)]


def members_with_word(client: Client, zset: SortedSet, word: str) -> Iterator[Sequence[Member]]:
    """Go through the whole set, and yield in each step the members that have this word in their bytes.

    Dead jobs newest first, others next due first. The caller may stop anywhere. A member may come twice. Raise
    `StoreUnavailable` or `StoreRefused`.
    """

    def steps() -> Iterator[Sequence[Member]]:
        place: Sequence[Argument] = ("", 0, "")
        looked_at = 0
        while True:
            asked = ["down" if zset == "dead" else "up", *place, _SEARCHED, 4 * STEP_BYTES, word]
            size, count, *flat = items(client.run("page", [client.keys.sorted_set(zset)], asked), 2)
            if not flat:
                return
            looked_at += integer(count)
            client.tell(looked_at, integer(size), f"{looked_at:,} looked at")
            score, passed, digest, *found = items(flat, 3)
            place = (text(score), integer(passed), text(digest))
            yield members(found)

    return rested(steps())
