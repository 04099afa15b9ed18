"""What Redis lists as in progress. Used by `store.jobs` to reconcile and to stop, by `store.heartbeats` to recover.

Always holds: no answer has more bytes than one call of `fetch` reads, and of a job that is too large only the length is
read.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.light import field, frozen, frozen_plain
from restbroker.store.client import Client, integer, items, pair, text
from restbroker.store.tickets import MAX_BATCH, MAX_BYTES, is_ticket

_KNOWN: Final = frozenset({"last", "hwm"})
_FEW: Final = 20


@frozen_plain
class FetchedJob:
    """A job that is now in progress. `ticket` names it (`store.tickets`); `raw` are its bytes as pushed.

    `size_bytes`: the length of a job that is too large, whose bytes stay in Redis; `raw` is empty then.
    """

    ticket: str
    number: int
    queue: str
    raw: bytes
    size_bytes: int = 0


@frozen
class JobsInProgress:
    """What Redis lists as in progress for an identity. `last` is its highest ticket number, `jobs` is ticket → raw.

    `hwm`: the highest ticket number that may have reached a worker. `odd`: fields that are no tickets: another program
    wrote them, and the queue they came from is unknown. `large`: ticket → length of the jobs that are too large, which
    are not in `jobs`.
    """

    last: int
    hwm: int
    jobs: Mapping[str, bytes]
    odd: tuple[str, ...] = ()
    large: Mapping[str, int] = field(factory=dict)

    @property
    def tickets(self) -> frozenset[str]:
        """The tickets of all that is in progress, also of the jobs that are too large."""
        return frozenset(self.jobs.keys() | self.large.keys())


@frozen
class TicketsInProgress:
    """The tickets of what is in progress, and the rest of `JobsInProgress`, without the jobs."""

    last: int
    hwm: int
    tickets: tuple[str, ...]
    odd: tuple[str, ...]


def read_tickets(client: Client, identity: str) -> TicketsInProgress:
    """Return the tickets of what an identity has in progress. Raise `StoreUnavailable` or `StoreRefused`."""
    key = client.keys.in_progress(identity)
    found, numbers = client.commands([("HKEYS", key), ("HMGET", key, "last", "hwm")])
    names = [text(field) for field in items(found)]
    last, hwm = map(integer, pair(numbers))
    tickets = tuple(name for name in names if is_ticket(name))
    return TicketsInProgress(last, hwm, tickets, tuple(sorted(set(names) - set(tickets) - _KNOWN)))


def pieces(
    client: Client,
    identity: str,
    tickets: Sequence[str],
    most: int = MAX_BATCH,
    limit_bytes: int = PAYLOAD_LIMIT_BYTES,
) -> Iterator[Mapping[str, bytes | int]]:
    """Yield these jobs, `most` at a time, by their tickets: the bytes of each, or the length of one that is too large.

    A job that is settled meanwhile is left out. Raise `StoreUnavailable` or `StoreRefused`.
    """
    key = client.keys.in_progress(identity)
    while tickets:
        part = tickets[:most]
        found = items(client.run("held", [key], [MAX_BYTES, limit_bytes, *part]))
        there = {ticket: job for ticket, job in zip(part, found, strict=False) if job is not None}
        yield {ticket: job if isinstance(job, bytes) else integer(job) for ticket, job in there.items()}
        tickets = tickets[len(found) :]


def read_jobs(client: Client, identity: str, limit_bytes: int = PAYLOAD_LIMIT_BYTES) -> JobsInProgress:
    """Return all that an identity has in progress. Raise `StoreUnavailable` or `StoreRefused`."""
    known = read_tickets(client, identity)
    jobs: dict[str, bytes] = {}
    large: dict[str, int] = {}
    for piece in pieces(client, identity, known.tickets, limit_bytes=limit_bytes):
        jobs |= {ticket: job for ticket, job in piece.items() if isinstance(job, bytes)}
        large |= {ticket: job for ticket, job in piece.items() if isinstance(job, int)}
    return JobsInProgress(known.last, known.hwm, jobs, odd=known.odd, large=large)


def read_jobs_in_pieces(client: Client, identity: str) -> Iterator[Mapping[str, bytes]]:
    """Yield the jobs that `read_jobs` returns, a few at a time, for callers that may stop early: ticket → raw.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    for piece in pieces(client, identity, read_tickets(client, identity).tickets, _FEW):
        yield {ticket: job for ticket, job in piece.items() if isinstance(job, bytes)}
