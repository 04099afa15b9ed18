"""A walk through all places where jobs are, within limits: sets, queues, jobs in progress, copies, finished jobs.

Used by `explain`, for the job of an id, and by `search`, for what a person typed. Always holds: changes nothing; places
that were not searched to the end are recorded, and so is what Redis does not let be read.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias, TypeVar

import attrs

from restbroker.errors import StoreRefused
from restbroker.job import hiding
from restbroker.operate.context import ConfigContext
from restbroker.operate.entry import JobView
from restbroker.operate.jobs import PAGE
from restbroker.operate.throttle import Throttle
from restbroker.operate.waiting_jobs import LinePlace, lines_of, place_in
from restbroker.store import dead_copies, history, identities, jobs, line_jobs, paging, queues, survey
from restbroker.store.client import Client
from restbroker.store.history import JobEnd
from restbroker.store.keys import QueueName, SortedSet
from restbroker.store.line_jobs import Line, count_before
from restbroker.store.paging import Cursor
from restbroker.store.tickets import queue_of

T = TypeVar("T")
R = TypeVar("R")
Kind: TypeAlias = Literal["queue", "in progress", "retry", "schedule", "dead", "copy"]
SETS: Final[tuple[SortedSet, ...]] = ("dead", "retry", "schedule")
_PIECE: Final = 200
_QUEUED: Final = 50
"""How many jobs of a queue are read at once.

To read from the middle of a list of a million costs Redis most of a millisecond for each twenty.
"""
_ENDS_PAGE: Final = 1000
_NAMED: Final = 10
"""So many places that there was no time for are named, the others counted."""


@attrs.frozen
class SearchLimits:
    """Limits of a search: `seconds` in all, and at most `jobs` of each queue and set.

    At most `ends` and `copies` of jobs and `notes` of the audit log are read; a place is left after `hits` results.
    `gives_way`: the process has other work, so the search rests as long as it works.
    """

    seconds: float = 10.0
    jobs: int = 10_000
    ends: int = 1_000_000
    copies: int = 5000
    notes: int = 5000
    hits: int = 1_000_000
    gives_way: bool = False


@attrs.frozen
class End:
    """How and when (epoch seconds, Redis' clock) a job ended that is stored nowhere else, from `store.history`."""

    at_s: float
    ending: JobEnd


@attrs.frozen(eq=False)
class SearchQuery:
    """Tests for the jobs searched for. `may_be_in` quickly excludes a job by its bytes.

    `may_be_end` quickly excludes the record of an end, in which nothing is masked.
    """

    may_be_in: Callable[[bytes], bool]
    is_job: Callable[[JobView], bool]
    is_end: Callable[[End], bool]
    may_be_end: Callable[[bytes], bool] = lambda _record: True


@attrs.frozen(eq=False)
class Match:
    """A job that matches. `name`: the queue or set, or the process that has the job in progress.

    `number`: how many jobs come before it there, as far as that is known. `line`: its place in a line of the queue;
    None: it is in none.
    """

    kind: Kind
    name: str
    view: JobView
    number: int
    line: LinePlace | None = None


_LineJob: TypeAlias = tuple[JobView, Line, int]


@attrs.define(eq=False)
class JobSearch:
    """One search. `unseen`: places not searched to the end. `refused`: places that Redis refuses to show, with why.

    Each of its iterators raises `StoreUnavailable`, and notes a refusal of Redis in `refused`.
    `read_counts`: {place: how many jobs were read}.
    """

    client: Client
    context: ConfigContext
    bounds: SearchLimits
    query: SearchQuery
    unseen: list[str] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)
    read_counts: dict[str, int] = attrs.field(factory=dict)
    _deadline: float = attrs.field(init=False)
    _throttle: Throttle | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Start the time of the search."""
        self._deadline = time.monotonic() + self.bounds.seconds
        self._throttle = Throttle() if self.bounds.gives_way else None

    @property
    def remaining_s(self) -> float:
        """How many seconds are left."""
        return max(0.0, self._deadline - time.monotonic())

    def sorted_sets(self) -> Iterator[Match]:
        """Yield matches in Sidekiq's sorted sets: dead jobs newest first, the others next due first."""
        for zset in SETS:
            yield from self._matches(zset, zset, f"the {zset} set", most=self.bounds.jobs, pieces=self._members(zset))

    def waiting_jobs(self) -> Iterator[Match]:
        """Yield matches in queues that Redis lists or the configuration serves."""
        announced: frozenset[str] = self.ask(queues.names, frozenset())
        odd: Mapping[str, QueueName] = self.ask(queues.read_odd_names, {})
        for queue in self._in_time("queues", "the queue {}", announced | set(self.context.targets)):
            yield from self._in_queue(queue, odd.get(queue, queue))

    def in_unlisted_queues(self) -> Iterator[Match]:
        """Yield matches in queues that Redis does not list, made by LPUSH alone. This reads the names of all keys."""
        announced: frozenset[str] = self.ask(queues.names, frozenset())
        found: frozenset[str] = self.ask(survey.lists, frozenset())
        for queue in self._in_time("queues", "the queue {}", found - announced - set(self.context.targets)):
            yield from self._in_queue(queue, queue)

    def in_progress(self) -> Iterator[Match]:
        """Yield matches among the jobs that restbroker's processes have fetched."""
        alive: Mapping[str, int] = self.ask(identities.live_identities, {})
        dying: Mapping[str, int] = self.ask(identities.fenced_identities, {})
        for identity in self._in_time("processes", "jobs in progress of {}", {*alive, *dying}):
            known = self._registration(identity)
            # As everything else calls it; the identity itself if its record is missing.
            name = identity if known is None else f"{known.process.hostname}:{known.process.pid}"
            held = self._in_progress(identity, () if known is None else known.queues)
            yield from self._matches(
                "in progress", name, f"what {identity} has in progress", most=self.bounds.jobs, pieces=held
            )

    def copies(self) -> Iterator[Match]:
        """Yield matching copies of dead jobs, newest first, without a limit on results, wherever the jobs are now."""
        most = self.bounds.copies
        found = self._through("copies of dead jobs", most, self._copies(), self._match_or_none, hits=most)
        return (Match("copy", "restbroker:parked", view, number) for number, view in self.readable(found))

    def ends(self, since_s: float = 0.0) -> Iterator[End]:
        """Yield the records of finished jobs, newest first, back to `since_s` (epoch seconds)."""
        found = self._through("finished jobs", self.bounds.ends, self._ended_since(since_s), self._end)
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

    def _in_queue(self, queue: str, own: QueueName) -> Iterator[Match]:
        """Yield matches in the queue's list and then in its lines, into which jobs of the list move meanwhile."""
        what, most = f"the queue {queue}", self.bounds.jobs
        none: tuple[Line, ...] = ()
        in_lines = sum(line.jobs for line in self.ask(lambda client: lines_of(client, own), none))
        for one in self._matches("queue", queue, what, most=most, pieces=self._in_queues(queue, own)):
            yield attrs.evolve(one, number=in_lines + one.number)
        lines = self.ask(lambda client: lines_of(client, own), none)
        cost = self.context.cost(queue)
        found = self._through(f"the lines of {what}", most, self._in_lines(queue, own, lines), self._placed_or_none)
        for _, (view, line, number) in self.readable(found) if lines else ():
            ahead = count_before(lines, line, number, cost)
            place = place_in(lines, line, number)
            yield Match("queue", queue, view, ahead, line=attrs.evolve(place, key=str(view.without_secrets(place.key))))

    def _matches(
        self, kind: Kind, name: str, what: str, most: int, pieces: Iterable[Sequence[JobView]]
    ) -> Iterator[Match]:
        found = self._through(what, most, pieces, self._match_or_none)
        return (Match(kind, name, view, number) for number, view in self.readable(found))

    def _through(
        self,
        what: str,
        most: int,
        pieces: Iterable[Sequence[T]],
        pick: Callable[[T], R | None],
        *,
        hits: int | None = None,
    ) -> Iterator[tuple[int, R]]:
        """Yield what is picked of these, each with its number, until it is enough."""
        seen, left = 0, self.bounds.hits if hits is None else hits
        for piece in pieces:
            for found in piece:
                if not left or self._is_enough(seen, most):
                    self.unseen.append(f"{what}, behind {seen} jobs" if seen else what)
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

    def _match_or_none(self, view: JobView) -> JobView | None:
        return view if self.query.may_be_in(view.raw) and self.query.is_job(view) else None

    def _end(self, entry: history.Entry) -> End | None:
        ending = history.read(entry.record) if self.query.may_be_end(entry.record) else None
        end = None if ending is None else End(entry.at_s, self._display(ending))
        return end if end is not None and self.query.is_end(end) else None

    def _display(self, ending: JobEnd) -> JobEnd:
        def hide(word: str) -> str:
            return hiding.mask_secrets(word, self.context.secrets)

        return attrs.evolve(ending, jid=hide(ending.jid), command=hide(ending.command))

    def _members(self, zset: SortedSet) -> Iterator[Sequence[JobView]]:
        place: Cursor | None = None
        while members := (part := paging.piece(self.client, zset, place, _PIECE, newest_first=zset == "dead")).members:
            yield [JobView(raw, score, self.context) for raw, score in members]
            place = part.behind()

    def _in_queues(self, queue: str, own: QueueName) -> Iterator[Sequence[JobView]]:
        skip = 0
        while page := queues.peek(self.client, own, skip, _QUEUED):
            yield [JobView(raw, 0.0, self.context, queue) for raw in page]
            skip += len(page)

    def _in_lines(self, queue: str, own: QueueName, lines: Sequence[Line]) -> Iterator[Sequence[_LineJob]]:
        for piece in line_jobs.pieces(self.client, own, lines, self.context.cost(queue)):
            yield [(JobView(raw, 0.0, self.context, queue), line, number) for line, number, raw in piece]

    def _placed_or_none(self, placed: _LineJob) -> _LineJob | None:
        return None if self._match_or_none(placed[0]) is None else placed

    def _registration(self, identity: str) -> identities.Registration | None:
        return self.ask(lambda client: identities.read(client, identity), None)

    def _in_progress(self, identity: str, queues: Sequence[str]) -> Iterator[Sequence[JobView]]:
        """Yield what a worker pool has in progress, with the queue that each came from, which it need not name."""
        for piece in jobs.read_jobs_in_pieces(self.client, identity):
            yield [JobView(raw, 0.0, self.context, queue_of(ticket, queues)) for ticket, raw in piece.items()]

    def _copies(self) -> Iterator[Sequence[JobView]]:
        page = dead_copies.newest(self.client, PAGE)
        while page:
            yield [JobView(copy.payload, copy.at_s, self.context) for copy in page]
            page = dead_copies.newest(self.client, PAGE, before=page[-1].entry)

    def _ended_since(self, since_s: float) -> Iterator[Sequence[history.Entry]]:
        page = history.newest(self.client, _ENDS_PAGE)
        while page:
            recent = [entry for entry in page if entry.at_s >= since_s]
            yield recent
            is_all = len(recent) < _ENDS_PAGE
            page = [] if is_all else history.newest(self.client, _ENDS_PAGE, before=page[-1].name)
