"""Sidekiq's sorted sets: the members that are due, and moving members. Used by the scheduler and by `operate`.

Always holds: due is decided by Redis' clock; a member is in the set or at its new place, never both, never neither.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal, Self, TypeAlias

import attrs

from restbroker.light import frozen
from restbroker.store.client import Argument, Client, as_score, integer, items, members
from restbroker.store.codes import Code, as_code
from restbroker.store.keys import SortedSet
from restbroker.store.tickets import MAX_BATCH, MAX_BYTES


@frozen
class Due:
    """What is due at `now_s` (Redis' clock, epoch seconds): members as stored, with their scores, earliest first.

    `more`: others may be due too.
    """

    now_s: float
    members: list[tuple[bytes, float]]
    more: bool = False


@frozen
class Position:
    """A place in a set: behind all members below this score, and behind the first `ties` members that have it."""

    score: float = -math.inf
    ties: int = 0

    def behind(self, staying: Sequence[float]) -> Self:
        """Return the position behind the members that were read from here and stay; `staying` has their scores."""
        if not staying:
            return self
        last = staying[-1]
        return attrs.evolve(self, score=last, ties=staying.count(last) + (self.ties if last == self.score else 0))


BEGINNING: Final = Position()


@frozen
class Placement:
    """Where a member moves: to `queue`, to `zset`, or (both None) nowhere; as `new`, or unchanged.

    `score` (epoch seconds) is for a set; None: the one that it has. What goes to a set must be a JSON object: a bare
    value breaks pages of Sidekiq Web. `first`: it is taken from the queue before those that wait there.
    """

    old: bytes
    queue: str | None = None
    zset: SortedSet | None = None
    new: bytes | None = None
    score: float | None = None
    first: bool = False


Source: TypeAlias = SortedSet | Literal["goretry"]
"""A set that a person moves members of: one of Sidekiq's, or the Go original's retries."""
_PLACES: Final[Mapping[SortedSet, str]] = {"retry": "zr", "schedule": "zs", "dead": "zd"}


def due(client: Client, zset: Literal["retry", "schedule"], limit: int, after: Position = BEGINNING) -> Due:
    """Return up to `limit` members that are due, behind those that were passed over; fewer if they are large.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    key = client.keys.sorted_set(zset)
    place: list[Argument] = [limit, repr(after.score), after.ties, MAX_BYTES]
    seconds, micros, listed, more = items(client.run("due", [key], place), 4)[:4]
    return Due(integer(seconds) + integer(micros) / 1e6, members(listed), more == 1)


def with_due(client: Client, by_s: float) -> list[Literal["schedule", "retry"]]:
    """Return which of the two sets have members that are due by this time (Redis' clock, epoch seconds).

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    names: list[Literal["schedule", "retry"]] = ["schedule", "retry"]
    most = "-inf", as_score(by_s), "LIMIT", 0, 1
    replies = client.commands([("ZRANGEBYSCORE", client.keys.sorted_set(name), *most) for name in names])
    return [name for name, found in zip(names, replies, strict=True) if items(found)]


def size(client: Client, zset: SortedSet) -> int:
    """Return how many members the set has. Raise `StoreUnavailable` or `StoreRefused`."""
    return integer(client.command("ZCARD", client.keys.sorted_set(zset)))


def place(client: Client, zset: Source, moves: Sequence[Placement]) -> list[Code]:
    """Move each member by itself to its place; return one code each. `Gone`: it is there no more.

    Raise `StoreUnavailable`: call it again, `Gone` is then fine.
    """
    codes: list[Code] = []
    for start in range(0, len(moves), MAX_BATCH):
        codes += _place(client, zset, moves[start : start + MAX_BATCH])
    return codes


def _place(client: Client, zset: Source, moves: Sequence[Placement]) -> list[Code]:
    keys = client.keys
    lists: dict[str, int] = {}
    arguments: list[Argument] = []
    for move in moves:
        index = 0 if move.queue is None else lists.setdefault(keys.queue(move.queue), len(lists) + 1)
        queued = "f" if move.first else "q"
        where = queued if move.queue is not None else "x" if move.zset is None else _PLACES[move.zset]
        score = "" if move.score is None else as_score(move.score)
        arguments += [move.old, where, index, move.queue or "", move.new or b"", score]
    places = [keys.sorted_set(name) for name in _PLACES]
    source = keys.go_retry if zset == "goretry" else keys.sorted_set(zset)
    fixed = [source, *places, keys.queues, keys.dead_copies]
    return [as_code(code) for code in items(client.run("place", [*fixed, *lists], arguments))]
