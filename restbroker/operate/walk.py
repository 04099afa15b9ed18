"""A walk through all places where jobs are, within limits: sets, queues, jobs in progress, and how others ended.

Used by `explain` and `follow`, for jobs of known ids, and by `search`, for what a person typed. Always holds: changes
nothing; where a job is found for little comes first, and the middle of the queues last; places that were not searched
to the end are recorded, and so is what Redis does not let be read.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Final, Literal, TypeAlias, TypeVar

import attrs

from restbroker.errors import StoreRefused
from restbroker.job import hiding
from restbroker.light import define, field, frozen
from restbroker.operate import find
from restbroker.operate.context import ConfigContext
from restbroker.operate.find import LinePlace, SearchLimits
from restbroker.operate.job import StoredJob
from restbroker.operate.names import display_name
from restbroker.operate.throttle import Throttle
from restbroker.store import history, identities, key_queues, paging, queues, sets, survey
from restbroker.store.client import Client
from restbroker.store.history import JobEnd
from restbroker.store.in_progress import read_jobs_in_pieces
from restbroker.store.key_queues import KeyQueue, count_before, newest_first, read_key_queues
from restbroker.store.keys import QueueName, SortedSet
from restbroker.store.paging import rested
from restbroker.store.queues import QueueSize
from restbroker.store.tickets import queue_of

T = TypeVar("T")
R = TypeVar("R")
Kind: TypeAlias = Literal["queue", "in progress", "retry", "schedule", "dead"]
SETS: Final[tuple[SortedSet, ...]] = ("dead", "retry", "schedule")
_PIECE: Final = 200
_QUEUED: Final = 50
"""How many jobs of a queue are read at once.

To read from the middle of a list of a million costs Redis most of a millisecond for each twenty.
"""
_AT_END: Final = 5000
"""How many jobs at each end of a queue are looked at first: a retried one is behind the others, or before them."""
_ENDS_PAGE: Final = 1000
_NAMED: Final = 10
"""So many places that there was no time for are named, the others counted."""


@frozen
class FoundEnd:
    """How and when (epoch seconds, Redis' clock) a job ended that is stored nowhere else, from `store.history`."""

    at_s: float
    ending: JobEnd

    @property
    def said(self) -> Mapping[str, str | float | None]:
        """What conditions are compared with, by the names of their fields."""
        one = self.ending
        words = {"jid": one.jid, "command": one.command, "target": one.target, "outcome": one.outcome}
        numbers = {"status": one.status, "took": one.took_ms, "attempts": one.times.tries, "at": self.at_s}
        return {**one.arguments, **words, "error": one.code, **numbers}


def masked(end: FoundEnd, known: ConfigContext) -> FoundEnd:
    """Return the end with its secrets masked."""
    jid, command = (hiding.mask_secrets(word, known.secrets) for word in (end.ending.jid, end.ending.command))
    kept = {name: hiding.mask_secrets(value, known.secrets) for name, value in end.ending.arguments.items()}
    return FoundEnd(end.at_s, attrs.evolve(end.ending, jid=jid, command=command, arguments=kept))


@frozen(eq=False)
class SearchQuery:
    """Tests for the jobs searched for. `may_be_in` quickly excludes a job by its bytes.

    `may_be_end` quickly excludes the record of an end, in which nothing is masked. `jid`: the id of the one job, which
    Redis looks for in sets by itself.
    """

    may_be_in: Callable[[bytes], bool]
    is_job: Callable[[StoredJob], bool]
    is_end: Callable[[FoundEnd], bool]
    may_be_end: Callable[[bytes], bool] = lambda _record: True
    jid: str | None = None


@frozen(eq=False)
class Match:
    """A job that matches. `name`: the queue or set, or the process that has the job in progress.

    `number`: how many jobs come before it there, as far as that is known. `line`: its place in a line of the queue;
    None: it is in none.
    """

    kind: Kind
    name: str
    view: StoredJob
    number: int
    line: LinePlace | None = None


_LineJob: TypeAlias = tuple[StoredJob, KeyQueue, int]
_Places: TypeAlias = Iterator[tuple[KeyQueue, int]]


@frozen(eq=False)
class _Rest:
    """A queue of which only its `newest` jobs, the `oldest`, and the newest jobs `in_lines` were searched."""

    own: QueueName
    newest: int
    oldest: frozenset[bytes]
    in_lines: int


@define(eq=False)
class Walk:
    """One search. `unseen`: places not searched to the end. `refused`: places that Redis refuses to show, with why.

    Each of its iterators raises `StoreUnavailable`, and notes a refusal of Redis in `refused`.
    `read_counts`: {place: how many jobs were read}.
    """

    client: Client
    context: ConfigContext
    bounds: SearchLimits
    query: SearchQuery
    unseen: list[str] = field(factory=list)
    refused: list[str] = field(factory=list)
    read_counts: dict[str, int] = field(factory=dict)
    _rests: dict[str, _Rest] = field(factory=dict, init=False)
    _deadline: float = field(init=False)
    _throttle: Throttle | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Start the time of the search."""
        self._deadline = time.monotonic() + self.bounds.seconds
        self._throttle = Throttle() if self.bounds.gives_way else None

    @property
    def remaining_s(self) -> float:
        """How many seconds are left."""
        return max(0.0, self._deadline - time.monotonic())

    def all_places(self) -> Iterator[Match]:
        """Yield matches in all places: the likely ones, then the rest of the queues."""
        yield from self.likely_places()
        yield from self.rest_of_queues()

    def likely_places(self) -> Iterator[Match]:
        """Yield matches at the ends of the queues, in progress, and in the sets.

        That is the order in which a job goes: one that moves meanwhile is met at its next place. No backlog hides one
        that was put to an end of its queue.
        """
        announced: frozenset[str] = self.ask(queues.names, frozenset())
        odd: Mapping[str, QueueName] = self.ask(queues.read_odd_names, {})
        for queue in self._in_time("queues", "the queue {}", announced | set(self.context.targets)):
            yield from self._at_ends(queue, odd.get(queue, queue))
        yield from self.in_progress()
        yield from self.sorted_sets()

    def sorted_sets(self) -> Iterator[Match]:
        """Yield matches in Sidekiq's sorted sets: dead jobs newest first, the others next due first."""
        for zset in SETS:
            if self.query.jid is not None:
                yield from self.readable(self._located(zset, self.query.jid))
                continue
            yield from self._matches(zset, zset, f"the {zset} set", self._members(zset))

    def rest_of_queues(self) -> Iterator[Match]:
        """Yield matches between the ends of the queues that were searched before, the newest first."""
        rests, self._rests = self._rests, {}
        for queue in self._in_time("queues", "the queue {}", rests):
            yield from self._between_ends(queue, rests[queue])

    def places_behind(self) -> Iterator[Match]:
        """Yield matches where a job may be that went back during `all_places`: the likely places, and all lines.

        It goes back to an end of a list, from where a process may put it into any line.
        """
        yield from self.likely_places()
        self._rests = {queue: rest for queue, rest in self._rests.items() if rest.in_lines}
        yield from self.rest_of_queues()

    def in_unlisted_queues(self) -> Iterator[Match]:
        """Yield matches in queues that Redis does not list, made by LPUSH alone. This reads the names of all keys."""
        announced: frozenset[str] = self.ask(queues.names, frozenset())
        found: frozenset[str] = self.ask(survey.lists, frozenset())
        for queue in self._in_time("queues", "the queue {}", found - announced - set(self.context.targets)):
            yield from self._at_ends(queue, queue)
        yield from self.rest_of_queues()

    def in_progress(self) -> Iterator[Match]:
        """Yield matches among the jobs that restbroker's processes have fetched."""
        alive: Mapping[str, int] = self.ask(identities.live_identities, {})
        dying: Mapping[str, int] = self.ask(identities.fenced_identities, {})
        for identity in self._in_time("processes", "jobs in progress of {}", {*alive, *dying}):
            known = self._registration(identity)
            # As everything else calls it; the identity itself if its record is missing.
            name = identity if known is None else f"{known.process.hostname}:{known.process.pid}"
            held = self._in_progress(identity, () if known is None else known.queues)
            yield from self._matches("in progress", name, f"what {identity} has in progress", held)

    def ends(self, since_s: float = 0.0) -> Iterator[FoundEnd]:
        """Yield the records of finished jobs, newest first, back to `since_s` (epoch seconds)."""
        found = self._through("finished jobs", rested(self._ended_since(since_s)), self._end, most=self.bounds.ends)
        return (end for _, end in self.readable(found))

    def readable(self, found: Iterable[T]) -> Iterator[T]:
        """Yield these until Redis refuses to show more; then note that in `refused`."""
        try:
            yield from found
        except StoreRefused as error:
            self._note(error)

    def ask(self, question: Callable[[Client], T], instead: T) -> T:
        """Return what `question` returns, or `instead` if Redis refuses it. Raise `StoreUnavailable`."""
        try:
            return question(self.client)
        except StoreRefused as error:
            self._note(error)
            return instead

    def _in_time(self, all_of: str, one: str, names: Collection[str]) -> Iterator[str]:
        """Yield these until the time is up: of thousands, one question each would take long."""
        left = sorted(names)
        while left and self.remaining_s:
            yield left.pop(0)
        self.unseen += [one.format(name) for name in left[:_NAMED]]
        if len(left) > _NAMED:
            self.unseen.append(f"{len(left) - _NAMED} more {all_of}")

    def _note(self, error: StoreRefused) -> None:
        # Several questions may meet one key.
        if str(error) not in self.refused:
            self.refused.append(str(error))

    def _at_ends(self, queue: str, own: QueueName) -> Iterator[Match]:
        """Yield matches at the ends of the queue's list, then of its lines, into which jobs of the list move meanwhile.

        What lies between them, if anything, is noted for `rest_of_queues`.
        """
        gaps, size, newest = len(self.unseen), self._size(queue, own), min(_AT_END, self.bounds.jobs)
        count = min(size.in_list - newest, _AT_END, self.bounds.jobs - newest)
        oldest: list[bytes] = self.ask(lambda client: _oldest(client, own, count), [])
        pieces = [rested(self._newest_first(queue, own, 0, newest)), [self._views(queue, oldest)]]
        for match in self._matches("queue", queue, f"the queue {queue}", chain.from_iterable(pieces)):
            behind = match.number + (size.in_list - newest - len(oldest) if match.number >= newest else 0)
            yield attrs.evolve(match, number=max(0, size.total - 1 - behind))
        lines = self._lines(queue, own)
        places = tuple(islice(newest_first(lines), newest))
        yield from self._in_lines(queue, own, lines, iter(places))
        is_whole = size.in_list <= newest + len(oldest) and sum(line.jobs for line in lines) <= len(places)
        if not is_whole and gaps == len(self.unseen):
            self._rests[queue] = _Rest(own, newest, frozenset(oldest), len(places))

    def _between_ends(self, queue: str, rest: _Rest) -> Iterator[Match]:
        size, seen = self._size(queue, rest.own), rest.newest + len(rest.oldest)
        pieces = rested(self._newest_first(queue, rest.own, rest.newest, passed=rest.oldest))
        for match in self._matches("queue", queue, f"the queue {queue}", pieces, seen=seen):
            yield attrs.evolve(match, number=max(0, size.total - 1 - (match.number - len(rest.oldest))))
        lines = self._lines(queue, rest.own)
        places = islice(newest_first(lines), rest.in_lines, None)
        yield from self._in_lines(queue, rest.own, lines, places, seen=rest.in_lines)

    def _in_lines(
        self, queue: str, own: QueueName, lines: Sequence[KeyQueue], places: _Places, seen: int = 0
    ) -> Iterator[Match]:
        cost = self.context.cost(queue)
        pieces = self._line_jobs(queue, own, places)
        what = f"the lines of the queue {queue}"
        found = self._through(what, pieces, lambda job: job if self._match_or_none(job[0]) else None, seen=seen)
        for _, (view, line, number) in self.readable(found) if lines else ():
            ahead = count_before(lines, line, number, cost)
            key = display_name(line.name, self.context)
            yield Match("queue", queue, view, ahead, line=LinePlace(key, line.jobs - number, line.jobs, len(lines)))

    def _size(self, queue: str, own: QueueName) -> QueueSize:
        lists = {queue: self.client.keys.queue_of(own)}
        # What is no list is refused when it is read.
        return self.ask(lambda client: queues.waiting_of(client, lists)[queue], None) or QueueSize(0, 0)

    def _lines(self, queue: str, own: QueueName) -> tuple[KeyQueue, ...]:
        none: tuple[KeyQueue, ...] = ()
        return self.ask(lambda client: read_key_queues(client, own, self.context.target(queue)), none)

    def _located(self, zset: SortedSet, jid: str) -> Iterator[Match]:
        found = find.locate(self.client, zset, jid, self.remaining_s)
        self.read_counts[f"the {zset} set"] = sets.size(self.client, zset)
        if found.member is not None:
            yield Match(zset, zset, StoredJob(*found.member, self.context), 0)
        elif not found.complete:
            self.unseen.append(f"the {zset} set")

    def _matches(
        self, kind: Kind, name: str, what: str, pieces: Iterable[Sequence[StoredJob]], seen: int = 0
    ) -> Iterator[Match]:
        found = self._through(what, pieces, self._match_or_none, seen=seen)
        return (Match(kind, name, view, number) for number, view in self.readable(found))

    def _through(
        self,
        what: str,
        pieces: Iterable[Sequence[T]],
        pick: Callable[[T], R | None],
        *,
        most: int | None = None,
        seen: int = 0,
    ) -> Iterator[tuple[int, R]]:
        """Yield what is picked of these, each with its number, until it is enough; `seen` were looked at before."""
        most, left = self.bounds.jobs if most is None else most, self.bounds.hits
        for piece in pieces:
            # Of equal jobs a piece may have none that is new; its time counts, too.
            if not piece and not self.remaining_s:
                self.unseen.append(what)
                return
            for found in piece:
                if not left or self._is_enough(seen, most):
                    self.unseen.append(f"{what}, after {seen:,} jobs" if seen else what)
                    return
                picked = pick(found)
                if picked is not None:
                    left -= 1
                    yield seen, picked
                seen += 1
                self.read_counts[what] = seen

    def _is_enough(self, seen: int, most: int) -> bool:
        if self._throttle is not None:
            self._throttle.step()
        return seen >= most or time.monotonic() >= self._deadline

    def _match_or_none(self, view: StoredJob) -> StoredJob | None:
        return view if self.query.may_be_in(view.raw) and self.query.is_job(view) else None

    def _end(self, entry: history.HistoryEntry) -> FoundEnd | None:
        ending = history.read(entry.record) if self.query.may_be_end(entry.record) else None
        end = None if ending is None else masked(FoundEnd(entry.at_s, ending), self.context)
        return end if end is not None and self.query.is_end(end) else None

    def _members(self, zset: SortedSet) -> Iterator[Sequence[StoredJob]]:
        for part in paging.pieces(self.client, zset, _PIECE):
            yield [StoredJob(raw, score, self.context) for raw, score in part.members]

    def _newest_first(
        self, queue: str, own: QueueName, skip: int, end: int | None = None, passed: Collection[bytes] = ()
    ) -> Iterator[Sequence[StoredJob]]:
        """Yield the jobs of a list but for its newest `skip`, up to the number `end`, and not those `passed`."""
        before: Collection[bytes] = ()
        while page := queues.peek(
            self.client, own, skip, _QUEUED if end is None else min(_QUEUED, end - skip), newest_first=True
        ):
            # What is pushed meanwhile moves all others: none is missed, and what the last page had is not shown again.
            yield self._views(queue, (raw for raw in page if raw not in passed and raw not in before))
            skip, before = skip + len(page), frozenset(page)

    def _views(self, queue: str, raws: Iterable[bytes]) -> Sequence[StoredJob]:
        return [StoredJob(raw, 0.0, self.context, queue) for raw in raws]

    def _line_jobs(self, queue: str, own: QueueName, places: _Places) -> Iterator[Sequence[_LineJob]]:
        for piece in rested(key_queues.pieces(self.client, own, places)):
            yield [(StoredJob(raw, 0.0, self.context, queue), line, number) for line, number, raw in piece]

    def _registration(self, identity: str) -> identities.Registration | None:
        return self.ask(lambda client: identities.read(client, identity), None)

    def _in_progress(self, identity: str, queues: Sequence[str]) -> Iterator[Sequence[StoredJob]]:
        """Yield what a worker pool has in progress, with the queue that each came from, which it need not name."""
        for piece in rested(read_jobs_in_pieces(self.client, identity)):
            yield [StoredJob(raw, 0.0, self.context, queue_of(ticket, queues)) for ticket, raw in piece.items()]

    def _ended_since(self, since_s: float) -> Iterator[Sequence[history.HistoryEntry]]:
        for page in history.pieces(self.client, _ENDS_PAGE):
            yield (recent := [entry for entry in page if entry.at_s >= since_s])
            if len(recent) < _ENDS_PAGE:
                return


def _oldest(client: Client, own: QueueName, count: int) -> list[bytes]:
    """Return so many jobs that are taken next, the next one last."""
    found: list[bytes] = []
    while len(found) < count and (page := queues.peek(client, own, len(found), min(_QUEUED, count - len(found)))):
        found += page
    return found[::-1]
