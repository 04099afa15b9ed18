"""A job's story: where it is now or how it ended, what became of its tries, and what people did with it.

Called by `restbroker explain` and by a job's page. Always holds: changes nothing; looks at no more than its bounds
allow, and says where it did not look to the end; shows nothing that must stay hidden. Where Redis refuses one question,
as for a key of another type, the rest is told, and that.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias, TypeVar

import attrs

from restbroker.errors import StoreRefused
from restbroker.job import hiding, rubyjson
from restbroker.job.json_types import Json
from restbroker.operate import audit, find, pauses
from restbroker.operate.audit import Written
from restbroker.operate.enqueue import PAUSED, Serving, serving
from restbroker.operate.entry import Entry, Look
from restbroker.operate.jobs import PAGE
from restbroker.operate.known import Known
from restbroker.operate.pace import Pace
from restbroker.store import history, jobs, parked, processes, queues, registered, survey
from restbroker.store.client import Client
from restbroker.store.history import Ending
from restbroker.store.keys import QueueName, SortedSet
from restbroker.store.pauses import Pause, paused_queues, paused_targets
from restbroker.store.tickets import queue_of

T = TypeVar("T")
Kind: TypeAlias = Literal["queue", "in hand", "retry", "schedule", "dead", "copy"]
_SETS: Final[tuple[SortedSet, ...]] = ("dead", "retry", "schedule")
_ENDS_PAGE: Final = 1000
_LARGEST: Final = 10**15
"""What is higher is no time that a process tells."""


@attrs.frozen
class Bounds:
    """How far is looked: `seconds` in all, so many jobs of each queue, ends and copies of jobs, and notes of people.

    `gives_way`: it is not alone in its process, and rests as long as it works.
    """

    seconds: float = 10.0
    jobs: int = 10_000
    ends: int = 1_000_000
    copies: int = 5000
    notes: int = 5000
    gives_way: bool = False


@attrs.frozen
class Place:
    """Where it is. `name`: of the queue, or of the process that has it in hand. `entry.at_s`: when it is due, or was
    parked.

    `ahead`: so many jobs are taken before it. `since_s`: when its process took it up (epoch seconds), if it tells.
    `served`: what is known of a process that serves its queue, None: nobody does, or it is in no queue. `pause`,
    `target_pauses`: why its queue and its target get no jobs taken.
    """

    kind: Kind
    name: str
    entry: Entry
    ahead: int | None = None
    since_s: float | None = None
    served: Serving | None = None
    pause: Pause | None = None
    target_pauses: tuple[Pause, ...] = ()

    @property
    def paused(self) -> tuple[str, ...]:
        """In words: who paused its queue or its target, until when and why."""
        of_queue = () if self.pause is None else (pauses.of_queue(self.name, self.pause),)
        target = self.entry.target or "?"
        return (*of_queue, *(pauses.of_target(target, pause) for pause in self.target_pauses))

    @property
    def held_up(self) -> str | None:
        """Why its target gets no jobs now; for why that is paused there is `paused`, where it is known."""
        why = None if self.served is None else self.served.held_up
        return "it is paused." if why == PAUSED and self.paused else why


@attrs.frozen
class End:
    """How and when (epoch seconds, Redis' clock) it ended, so that it is nowhere any more. As of `store.history`."""

    at_s: float
    ending: Ending


@attrs.frozen
class Story:
    """What was found. `places` has more than one where a job was pushed twice, or moved while it was looked for.

    `acts`: what people did with it, newest first. `unseen`: where was not looked to the end. `ends`: how it ended,
    where that is kept and it is nowhere, or parked (a copy of what was delivered can be put back); newest first.
    `refused`: what Redis did not let be read, and what to do.
    """

    jid: str
    places: tuple[Place, ...]
    acts: tuple[Written, ...]
    unseen: tuple[str, ...]
    ends: tuple[End, ...] = ()
    refused: tuple[str, ...] = ()


def explain(client: Client, jid: str, known: Known, bounds: Bounds | None = None) -> Story:
    """Looks for the job of this id. Raises `StoreUnavailable`."""
    search = _Search(client, jid, known, bounds or Bounds())
    # In the order in which a job goes, so that one which moves meanwhile is met at its next place.
    places = [*search.sorted_sets(), *search.waiting(), *search.in_hand()]
    places = places or [*search.unannounced(), *search.sorted_sets()]
    is_nowhere = not places
    places = places or list(search.readable(search.copies()))
    acts = tuple(search.readable(search.acts()))
    # Last, since it may take all the time that is left.
    has_ended = is_nowhere or all(place.kind == "dead" for place in places)
    ends = tuple(search.readable(search.ends())) if has_ended else ()
    return Story(jid, tuple(places), acts, tuple(search.unseen), ends, tuple(search.refused))


def acts_with(client: Client, jid: str, notes: int) -> tuple[Written, ...]:
    """What people did with this job by its name, newest first, among the last `notes` notes of what people did."""
    return tuple(written for written in audit.listed(client, notes) if jid in written.note.jids)


@attrs.define(eq=False)
class _Search:
    client: Client
    jid: str
    known: Known
    bounds: Bounds
    unseen: list[str] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)
    _deadline: float = attrs.field(init=False)
    _pace: Pace | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """The time runs from now on."""
        self._deadline = time.monotonic() + self.bounds.seconds
        self._pace = Pace() if self.bounds.gives_way else None

    def sorted_sets(self) -> Iterator[Place]:
        """Those where Sidekiq keeps jobs by their times."""
        for zset in _SETS:
            yield from self.readable(self._in_set(zset))

    def in_hand(self) -> Iterator[Place]:
        """What the processes have taken."""
        alive: Mapping[str, int] = self._try(registered.live, {})
        dying: Mapping[str, int] = self._try(registered.dying, {})
        for identity in sorted({*alive, *dying}):
            yield from self.readable(self._in_hands_of(identity))

    def waiting(self) -> Iterator[Place]:
        """Those that anybody named or the configuration serves."""
        announced: frozenset[str] = self._try(queues.names, frozenset())
        odd: Mapping[str, QueueName] = self._try(queues.unreadable, {})
        for queue in sorted(announced | set(self.known.targets)):
            yield from self.readable(self._in_queue(queue, odd.get(queue, queue)))

    def unannounced(self) -> Iterator[Place]:
        """Those that somebody made with a push alone. To find them takes a look at all keys."""
        announced: frozenset[str] = self._try(queues.names, frozenset())
        found: frozenset[str] = self._try(survey.lists, frozenset())
        for queue in sorted(found - announced - set(self.known.targets)):
            yield from self.readable(self._in_queue(queue, queue))

    def readable(self, found: Iterable[T]) -> Iterator[T]:
        """These, as far as Redis lets them be read."""
        try:
            yield from found
        except StoreRefused as error:
            self._note(error)

    def _try(self, ask: Callable[[Client], T], instead: T) -> T:
        try:
            return ask(self.client)
        except StoreRefused as error:
            self._note(error)
            return instead

    def _note(self, error: StoreRefused) -> None:
        # Several questions may meet one key.
        if str(error) not in self.refused:
            self.refused.append(str(error))

    def _in_set(self, zset: SortedSet) -> Iterator[Place]:
        found = find.locate(self.client, zset, self.jid, max(0.0, self._deadline - time.monotonic()))
        if found.member is not None:
            yield Place(zset, zset, Look(*found.member, self.known).entry())
        elif not found.complete:
            self.unseen.append(f"the {zset} set")

    def _in_hands_of(self, identity: str) -> Iterator[Place]:
        known = self._try(lambda client: registered.facts(client, identity), None)
        # As everything else calls it; the identity itself if its record is missing.
        name = identity if known is None else f"{known.facts.hostname}:{known.facts.pid}"
        for look in self._held(identity, () if known is None else known.queues):
            yield Place("in hand", name, look.entry(), since_s=self._try(self._since, None))

    def _in_queue(self, queue: str, own: QueueName) -> Iterator[Place]:
        for number, raw in enumerate(self._listed(queue, own)):
            look = self._look(raw, queue)
            if look is not None:
                yield self._waits(Place("queue", queue, look.entry(), ahead=number))

    def _waits(self, place: Place) -> Place:
        """With what holds its queue up, as far as that can be read."""
        target = place.entry.target
        of_targets: Mapping[str, tuple[Pause, ...]] = {}
        if target is not None:
            of_targets = self._try(lambda client: paused_targets(client, [target]), {})
        of_queues: Mapping[str, Pause] = self._try(paused_queues, {})
        served = self._try(lambda client: serving(client, place.name), None)
        of_target = of_targets.get(target or "", ())
        return attrs.evolve(place, served=served, pause=of_queues.get(place.name), target_pauses=of_target)

    def ends(self) -> Iterator[End]:
        """What was written of it when it was settled for good."""
        seen, page = 0, history.newest(self.client, _ENDS_PAGE)
        while page:
            for entry in page:
                ending = history.read(entry.record) if self._may_have(entry.record) else None
                if ending is not None and ending.jid == self.jid:
                    yield End(entry.at_s, self._shown(ending))
            seen += len(page)
            if len(page) < _ENDS_PAGE or self._is_enough(
                seen, self.bounds.ends, f"how jobs ended, behind the newest {seen}"
            ):
                return
            page = history.newest(self.client, _ENDS_PAGE, before=page[-1].name)

    def _shown(self, ending: Ending) -> Ending:
        def hide(word: str) -> str:
            return hiding.without(word, self.known.secrets)

        return attrs.evolve(ending, jid=hide(ending.jid), command=hide(ending.command))

    def copies(self) -> Iterator[Place]:
        """The newest copy of a parked job that is nowhere else any more."""
        seen, page = 0, parked.newest(self.client, PAGE)
        while page:
            for copy in page:
                look = self._look(copy.payload)
                if look is not None:
                    yield Place("copy", "restbroker:parked", attrs.evolve(look, score=copy.at_s).entry())
                    return
            seen += len(page)
            if self._is_enough(seen, self.bounds.copies, f"copies of parked jobs, behind the newest {seen}"):
                return
            page = parked.newest(self.client, PAGE, before=page[-1].entry)

    def acts(self) -> Iterator[Written]:
        """What people did with it by its name; what was done to very many at once names only the first of them."""
        for seen, written in enumerate(audit.listed(self.client, self.bounds.notes + 1), start=1):
            if self._is_enough(seen, self.bounds.notes + 1, f"what people did before the last {seen} entries"):
                return
            if self.jid in written.note.jids:
                yield written

    def _held(self, identity: str, queues_of_lane: Sequence[str]) -> Iterator[Look]:
        """Those of the sought id that a lane has in hand, and the queue that each came from, which it need not name."""
        seen = 0
        for piece in jobs.held_by_pieces(self.client, identity):
            if seen and self._is_enough(seen, self.bounds.jobs, f"what {identity} has in hand, behind {seen} jobs"):
                return
            looks = (self._look(raw, queue_of(ticket, queues_of_lane)) for ticket, raw in piece.items())
            yield from filter(None, looks)
            seen += len(piece)

    def _listed(self, queue: str, own: QueueName) -> Iterator[bytes]:
        skip = 0
        while page := queues.listed(self.client, own, skip, PAGE):
            yield from page
            skip += len(page)
            if self._is_enough(skip, self.bounds.jobs, f"the queue {queue}, behind its next {skip} jobs"):
                return

    def _is_enough(self, seen: int, most: int, what: str) -> bool:
        if self._pace is not None:
            self._pace.step()
        if seen < most and time.monotonic() < self._deadline:
            return False
        self.unseen.append(what)
        return True

    def _look(self, raw: bytes, queue: str | None = None) -> Look | None:
        if not self._may_have(raw):
            return None
        look = Look(raw, 0.0, self.known, queue)
        return look if look.jid == self.jid else None

    def _may_have(self, raw: bytes) -> bool:
        # Most are others: their bytes tell, unless the id has letters that JSON may write in several ways.
        return not (self.jid.isascii() and self.jid.isalnum()) or self.jid.encode() in raw

    def _since(self, client: Client) -> float | None:
        """When its process began with it, as its record for Sidekiq's pages says."""
        for shown in processes.at_work(client):
            work = rubyjson.object_of(shown) or {}
            payload, run_at = work.get("payload"), work.get("run_at")
            fields = rubyjson.object_of(payload.encode()) if isinstance(payload, str) else None
            if fields is not None and fields.get("jid") == self.jid:
                return _moment(run_at)
        return None


def _moment(value: Json) -> float | None:
    """As epoch seconds; Sidekiq 8 writes milliseconds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LARGEST:
        return None
    return value / 1000 if value >= queues.LEAST_MILLISECONDS else float(value)
