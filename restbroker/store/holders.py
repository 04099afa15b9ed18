"""Looks for the job that holds a lock, since who deletes a job in Sidekiq's pages gives up no lock.

Used by `operate.enqueue` and `broker.periodic`, which take the lock over if two looks five seconds apart find the job
nowhere, and if the lock still has the value that it had before the first. Always holds: it changes nothing, but for
jobs in hands, which go back to their queues; what could not be searched to the end within two seconds, or may not be
read, counts as unsearched, and the lock is believed.

Why no job is taken for deleted that is being moved: its moves lead from a set to a queue's list, perhaps into a line,
and into progress; and from there, by a settlement, back to any of these. Each settlement renews the lock's moment, so
that its value is another one, and nothing is taken over. Without a settlement a job only moves in that one direction,
and a look goes through the places in it: wherever the job is when a place was read, it is met there or at a later one.
Within a list, jobs move from the head to the tail, and are read from the oldest on by ranks that pushes do not change
(`store.waiting`). What moves against the direction without a settlement (what a stopping or dead process had fetched
and not begun, lines that a person returns) is met on the way back, unless it moves on in between: to be missed, a job
would have to be fetched and given back in the very course of both looks. Nor does a job renew its lock whose token is
refused, or which a person moved to another target. One that Sidekiq's poller has taken from a set and not pushed yet is
nowhere: for a moment, hence the second look, or while a Ruby process is frozen; then both are done. A dead job holds no
lock.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store import identities, in_progress, key_queues, paging, queues, waiting
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet

Sight: TypeAlias = Literal["found", "missing", "unsearched"]
AGAIN_S: Final = 5.0
"""The least number of seconds between the two looks."""
_MOST_S: Final = 2.0
_PIECE: Final = 50
"""To read from the middle of a list of a million costs Redis most of a millisecond for each twenty."""
_SETS: Final[tuple[SortedSet, ...]] = ("retry", "schedule")
_Pieces: TypeAlias = Iterator[Sequence[bytes]]


def search(client: Client, jid: str, queue: str) -> Sight:
    """Look once for the job of this id, which may be in `queue` also where Redis does not list that. Raise nothing."""
    word, end_s = jid.encode(), time.monotonic() + _MOST_S
    try:
        alive, dying = identities.live_identities(client), identities.fenced_identities(client)
        known = [identities.read(client, identity) for identity in {*alive, *dying}]
        targets = {name: record.process.target for record in known if record is not None for name in record.queues}
        names = sorted({*queues.names(client), *targets, queue})
        way: tuple[Callable[[], _Pieces], ...] = (
            lambda: _in_sets(client, jid),
            lambda: paging.rested(_in_lists(client, names)),
            lambda: paging.rested(_in_lines(client, names, targets)),
            lambda: paging.rested(_in_progress(client)),
        )
        for pieces in (*way, *reversed(way[:-1])):
            for piece in pieces():
                # What only names the id counts, too: that lets the lock be.
                if any(word in raw for raw in piece):
                    return "found"
                if time.monotonic() >= end_s:
                    return "unsearched"
        is_whole = all(name in targets or not key_queues.has_key_queues(client, name) for name in names)
    except (StoreRefused, StoreUnavailable):
        return "unsearched"
    # Of a queue that no process serves, no one knows which groups are held.
    return "missing" if is_whole else "unsearched"


def search_twice(client: Client, jid: str, queue: str) -> Sight:
    """Look for a job, and again after five seconds if it is missing. Raise nothing."""
    sight = search(client, jid, queue)
    if sight == "missing":
        time.sleep(AGAIN_S)
        sight = search(client, jid, queue)
    return sight


def _in_sets(client: Client, jid: str) -> _Pieces:
    for zset in _SETS:
        for members in paging.members_with_word(client, zset, jid):
            yield [raw for raw, _ in members]


def _in_lists(client: Client, names: Sequence[str]) -> _Pieces:
    queues.empty_hands(client, names)
    for name in names:
        snapshot = waiting.take_snapshot(client, name)
        rank = snapshot.size - 1
        while rank >= 0:
            piece = waiting.piece(client, snapshot, rank, _PIECE)
            if piece is None:
                # Its newest job was taken, which the ranks are counted from.
                snapshot = waiting.take_snapshot(client, name)
                rank = snapshot.size - 1
                yield ()
            else:
                yield piece.jobs
                rank = piece.rank - len(piece.jobs)


def _in_lines(client: Client, names: Sequence[str], targets: Mapping[str, str]) -> _Pieces:
    for name in names:
        lines = key_queues.read_key_queues(client, name, targets.get(name))
        for piece in key_queues.pieces(client, name, key_queues.newest_first(lines)):
            yield [raw for _, _, raw in piece]


def _in_progress(client: Client) -> _Pieces:
    # Read anew: a process that began meanwhile may have it.
    for identity in {*identities.live_identities(client), *identities.fenced_identities(client)}:
        for piece in in_progress.read_jobs_in_pieces(client, identity):
            yield list(piece.values())
