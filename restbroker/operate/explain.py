"""A job's timeline: where it is now or how it ended, the results of its tries, and what people did with it.

Called by `restbroker explain` and by a job's page. Always holds: changes nothing; reads no more than its limits allow,
and says where it did not search to the end; shows nothing that must stay hidden. If Redis refuses one question, as for
a key of another type, the rest is returned, and the refusal.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final

import attrs

from restbroker.config.core import Config
from restbroker.job import rubyjson
from restbroker.job.json_types import Json
from restbroker.light import field, frozen
from restbroker.operate import audit, claims, order_wait
from restbroker.operate.audit import StoredEntry
from restbroker.operate.claims import Twin
from restbroker.operate.context import ConfigContext
from restbroker.operate.enqueue import ServingProcess, find_holder, find_process
from restbroker.operate.events import ShownEvent, Tail
from restbroker.operate.find import LinePlace, SearchLimits
from restbroker.operate.job import ShownJob, StoredJob
from restbroker.operate.order_wait import OrderWait
from restbroker.operate.walk import FoundEnd, Kind, Match, SearchQuery, Walk
from restbroker.operate.words import PAUSED, pause_sentence
from restbroker.store import events, history, processes, queues, survey
from restbroker.store.client import Client
from restbroker.store.history import HistoryEntry
from restbroker.store.pauses import Pause, paused_queues, paused_targets

TOLD: Final = {"receipt": "received by", "displayed": "read by"}
"""What an event of this type says of a message."""
_REVISIONS: Final = 9
"""Of so many edits of a job the messages are looked for."""
_LARGEST: Final = 10**15
"""A higher number is no time that a process writes."""


@frozen
class Location:
    """A place where a job is. `name`: the queue, or the process that has the job in progress.

    `entry.at_s`: when the job is due, or died. `ahead`: how many jobs are taken before it. `line`: its place in the
    line of its key, in a queue that is served fairly. `since_s`: when its process fetched it (epoch seconds; None:
    unknown). `serving`: a process that serves its queue; None if there is none, or if the job is not in a queue.
    `pause`, `target_pauses`: the pauses of its queue and of its target. `order`: what it waits for, or holds up, if
    the jobs of its key are done one after the other. `twin`: the job that has its idempotency key.
    """

    kind: Kind
    name: str
    entry: ShownJob
    ahead: int | None = None
    since_s: float | None = None
    serving: ServingProcess | None = None
    pause: Pause | None = None
    target_pauses: tuple[Pause, ...] = ()
    line: LinePlace | None = None
    order: OrderWait | None = None
    twin: Twin | None = None

    @property
    def pause_texts(self) -> tuple[str, ...]:
        """The pauses in words: who paused the queue or the target, until when and why."""
        of_queue = () if self.pause is None else (pause_sentence(f"The queue {self.name}", self.pause),)
        target = f"The target {self.entry.target or '?'}"
        return (*of_queue, *(pause_sentence(target, pause) for pause in self.target_pauses))

    @property
    def hindrance(self) -> str | None:
        """Why the target gets no jobs now; None if it does. Details of a pause are in `pause_texts`."""
        why = None if self.serving is None else self.serving.hindrance
        return "it is paused." if why == PAUSED and self.pause_texts else why


@frozen
class Receipts:
    """What devices said of the job's message, oldest first, in the recent events, which reach back to `since_s`.

    `receivers`: {id: whom it went to}, for the job as it is and as it was before edits; "": not known, or several.
    """

    receivers: Mapping[str, str] = field(factory=dict)
    since_s: float | None = None
    told: tuple[ShownEvent, ...] = ()

    @property
    def receiver(self) -> str:
        """Whom the last message went to, if it is one person, its job asked within a day, and that could be noted."""
        return next(filter(None, reversed(list(self.receivers.values()))), "")

    def warning(self, event: ShownEvent) -> str:
        """Return a warning if the message went to somebody else."""
        from restbroker.job.event import address_of  # few jobs are messages

        receiver = self.receivers[event.id or ""]
        is_other = receiver and address_of(event.words["from"]) != address_of(receiver)
        return f"somebody else: it went to {receiver}" if is_other else ""


@frozen
class Timeline:
    """What is known of one job. `locations` has several entries if a job was pushed twice, or moved during the search.

    `acts`: people's actions on the job, newest first. `ends`: how it ended, from the History, newest first, if it is
    nowhere or in the dead set (a delivered job's copy may have been restored). `unseen`: places that were not searched
    to the end. `refused`: what Redis refused to show, and what to do. `is_searched`: all was searched where the job may
    be, or how it ended; without that, no one knows that it is nowhere. `looked_at`: {place: how many jobs were read}.
    `receipts`: what its receivers said.
    """

    jid: str
    locations: tuple[Location, ...]
    acts: tuple[StoredEntry, ...]
    unseen: tuple[str, ...]
    ends: tuple[FoundEnd, ...] = ()
    refused: tuple[str, ...] = ()
    is_searched: bool = True
    looked_at: Mapping[str, int] = field(factory=dict)
    receipts: Receipts = Receipts()


@frozen
class HistoryExtent:
    """The History of finished jobs: it keeps the last `for_s` seconds (None: off).

    `ends`: how many it has, the oldest from `since_s` (epoch seconds). Brokers with another configuration may have
    written them.
    """

    for_s: float | None
    ends: int = 0
    since_s: float | None = None


@frozen
class NotFound:
    """Where else a job may be. `namespaces`: others on this Redis that have queues; "" is none."""

    namespaces: tuple[str, ...]
    history: HistoryExtent


def explain(client: Client, jid: str, known: ConfigContext, bounds: SearchLimits | None = None) -> Timeline:
    """Search for the job with this id and return its timeline. Raise `StoreUnavailable`."""
    search = _Search(Walk(client, known, bounds or SearchLimits(), _of_id(jid)), jid)
    walk = search.walk
    places = list(search.locations(walk.likely_places()))
    ends = tuple(walk.ends()) if all(place.kind == "dead" for place in places) else ()
    if not places:
        places = list(search.locations(walk.rest_of_queues()))
        # Once more where it is likely: it may have moved back meanwhile.
        places = places or list(search.locations(chain(walk.in_unlisted_queues(), walk.likely_places())))
        ends = () if places else ends
    is_searched = not walk.unseen and not walk.refused
    acts = tuple(walk.readable(search.acts()))
    receipts = walk.ask(lambda client: _receipts(client, jid), Receipts())
    unseen = tuple(dict.fromkeys(walk.unseen))
    return Timeline(
        jid,
        tuple(places),
        acts,
        unseen,
        ends=ends,
        refused=tuple(walk.refused),
        is_searched=is_searched,
        looked_at=walk.read_counts,
        receipts=receipts,
    )


def _receipts(client: Client, jid: str) -> Receipts:
    """Return what the recent events have of the messages of this job, before and after edits."""
    identities = [jid, *(f"{jid}-r{number}" for number in range(1, _REVISIONS + 1))]
    asking = events.read_asking(client, identities)
    receivers = dict(asking.get(identity, (identity, "")) for identity in identities)
    recent = list(Tail(client).read_new())
    told = tuple(event for event in recent if event.words["type"] in TOLD and event.id in receivers)
    return Receipts(receivers, recent[0].at_s if recent else None, told)


def acts_with(client: Client, jid: str, notes: int) -> tuple[StoredEntry, ...]:
    """Return people's actions on this job id, newest first, from the last `notes` entries of the audit log.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    return tuple(written for written in audit.entries(client, notes) if jid in written.note.jids)


def _of_id(jid: str) -> SearchQuery:
    word = jid.encode() if jid.isascii() and jid.isalnum() else b""
    # Most are others: their bytes tell, unless the id has letters that JSON may write in several ways.

    def may_be_in(raw: bytes) -> bool:
        return word in raw

    return SearchQuery(may_be_in, lambda view: view.jid == jid, lambda end: end.ending.jid == jid, may_be_in, jid=jid)


@frozen(eq=False)
class _Search:
    walk: Walk
    jid: str

    def locations(self, met: Iterable[Match]) -> Iterator[Location]:
        """Yield a location, with details, for each match."""
        for match in met:
            place = Location(match.kind, match.name, match.view.shown(), twin=self._twin(match.view))
            match match.kind:
                case "queue":
                    order = self._order(match.view, match.line)
                    yield self._waits(attrs.evolve(place, ahead=match.number, line=match.line, order=order))
                case "in progress":
                    yield self._in_progress(attrs.evolve(place, since_s=self.walk.ask(self._since, None)))
                case "dead":
                    yield attrs.evolve(place, order=self._order(match.view, None, is_dead=True))
                case _:
                    yield place

    def _order(self, view: StoredJob, line: LinePlace | None, *, is_dead: bool = False) -> OrderWait | None:
        return self.walk.ask(lambda client: order_wait.of_job(client, view, line, is_dead=is_dead), None)

    def _twin(self, view: StoredJob) -> Twin | None:
        return self.walk.ask(lambda client: claims.twin(client, view), None)

    def _waits(self, place: Location) -> Location:
        """Return the location with what holds its queue up, as far as that can be read."""
        target, ask = place.entry.target, self.walk.ask
        of_targets: Mapping[str, tuple[Pause, ...]] = {}
        if target is not None:
            of_targets = ask(lambda client: paused_targets(client, [target]), {})
        of_queues: Mapping[str, Pause] = ask(paused_queues, {})
        served = ask(lambda client: find_process(client, place.name), None)
        of_target = of_targets.get(target or "", ())
        return attrs.evolve(place, serving=served, pause=of_queues.get(place.name), target_pauses=of_target)

    def _in_progress(self, place: Location) -> Location:
        """Return the location with what its process says of the target, which may be down since it fetched the job."""
        queue = place.entry.queue
        if queue is None:
            return place
        return attrs.evolve(place, serving=self.walk.ask(lambda client: find_holder(client, queue, place.name), None))

    def acts(self) -> Iterator[StoredEntry]:
        """Yield people's actions on this job id; an action on very many jobs names only the first of them."""
        notes = self.walk.bounds.notes
        for seen, written in enumerate(audit.entries(self.walk.client, notes + 1)):
            if seen == notes or not self.walk.remaining_s:
                self.walk.unseen.append(f"what people did before the last {seen} entries")
                return
            if self.jid in written.note.jids:
                yield written

    def _since(self, client: Client) -> float | None:
        """Return when a process last began with it, as the records for Sidekiq's pages say; None if they do not.

        The record of a process that was killed stays until it expires, beside that of the one that has the job now.
        """
        begun: list[float] = []
        for shown in processes.work_of(client):
            work = rubyjson.object_of(shown) or {}
            payload, began_s = work.get("payload"), _moment(work.get("run_at"))
            fields = rubyjson.object_of(payload.encode()) if isinstance(payload, str) else None
            if began_s is not None and fields is not None and fields.get("jid") == self.jid:
                begun.append(began_s)
        return max(begun, default=None)


def _moment(value: Json) -> float | None:
    """Return a time as epoch seconds, None if it is none; Sidekiq 8 writes milliseconds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LARGEST:
        return None
    return value / 1000 if value >= queues.LEAST_MILLISECONDS else float(value)


def not_found(client: Client, config: Config) -> NotFound:
    """Return where else the job may be. Raise `StoreUnavailable`."""
    from restbroker.operate.system import unless_refused  # of no use to a job that is somewhere

    unknown: tuple[int | None, HistoryEntry | None] = None, None
    ends, oldest = unless_refused(lambda: history.extent(client), unknown)
    others = unless_refused(lambda: survey.namespaces(client), frozenset[str]()) - {config.namespace}
    since_s = None if oldest is None else oldest.at_s
    return NotFound(tuple(sorted(others)), HistoryExtent(config.history_s, ends or 0, since_s))
