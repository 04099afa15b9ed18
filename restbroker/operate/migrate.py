"""Takes over what the Go original left in Redis: the jobs that it had in progress, and those that it would try again.

Called by `restbroker migrate`. Always holds: jobs of other queues than the configured ones stay where they are; what
cannot be read becomes dead or is left to the broker, never dropped; doing it again moves the rest and nothing twice;
the audit log says first that it begins.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Literal, TypeAlias

import attrs

from restbroker.job import job
from restbroker.operate.audit import AuditedAction, AuditEntry
from restbroker.operate.jobs import PAGE
from restbroker.operate.migrate_job import Keep, Kill, Plan, Retry, plan
from restbroker.store import migration
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Clash, Code, Refused
from restbroker.store.migration import Transfer
from restbroker.store.server import time_s

DEFAULT_PROCESS_ID = "1"
"""The original's own default; most installations never changed it (its README wants a text, and shows none)."""
_WATCH_EVERY_S = 0.1
_MOST_CLASHES = 20

Destination = Literal["queue", "retry", "dead", "stays"]
_DESTINATIONS: tuple[Destination, ...] = ("queue", "retry", "dead", "stays")


@attrs.frozen
class Sources:
    """Where to look: the configured queues, and the lists of jobs in progress, as (queue, process id).

    `ambiguous`: keys that may belong to another queue; they are left alone. `complete`: there were few enough keys to
    read them all.
    """

    queues: tuple[str, ...]
    lists: tuple[tuple[str, str], ...]
    ambiguous: tuple[str, ...]
    complete: bool


@attrs.frozen
class Part:
    """Jobs of one key that go to one place. `queue` is None if nothing names it; `source` is the key that has them.

    `repaired`: how many must change for Sidekiq and its web pages to read them. `unreadable`: how many are not jobs:
    those in progress are requeued unchanged, and the broker moves them to the dead set; those of the retry set become
    dead at once.
    """

    source: str
    queue: str | None
    goes_to: Destination
    jobs: int
    repaired: int
    unreadable: int


@attrs.frozen
class Takeover:
    """The jobs to move, or moved. `refused`: Redis' error messages, each with how many jobs stay because of it."""

    parts: tuple[Part, ...]
    refused: tuple[tuple[str, int], ...] = ()

    @property
    def jobs_to_move(self) -> int:
        """How many jobs are moved."""
        return sum(part.jobs for part in self.parts if part.goes_to != "stays")


@attrs.frozen
class OriginalSigns:
    """Signs that the original still runs. `blind`: Redis does not show its clients, so only the lists were watched."""

    signs: tuple[str, ...]
    blind: bool


_Place: TypeAlias = tuple[str, str | None, Destination]


@attrs.define
class _Tally:
    jobs: Counter[_Place] = attrs.field(factory=Counter)
    repaired: Counter[_Place] = attrs.field(factory=Counter)
    unreadable: Counter[_Place] = attrs.field(factory=Counter)
    refused: Counter[str] = attrs.field(factory=Counter)

    def add(self, source: str, planned: Plan) -> None:
        """Count one member of the retry set."""
        match planned:
            case Retry():
                place: _Place = (source, planned.queue, "retry")
                self.repaired[place] += planned.repaired
            case Kill():
                place = (source, None, "dead")
                self.unreadable[place] += 1
            case Keep():
                place = (source, planned.queue, "stays")
        self.jobs[place] += 1

    def takeover(self) -> Takeover:
        """Return all parts: jobs in progress, then members of the retry set that are retried, become dead, and stay."""
        places = sorted(self.jobs, key=lambda place: (_DESTINATIONS.index(place[2]), place[0], place[1] or ""))
        parts = [Part(*place, self.jobs[place], self.repaired[place], self.unreadable[place]) for place in places]
        return Takeover(tuple(parts), tuple(self.refused.items()))


def sources(client: Client, queues: Sequence[str], process_ids: Collection[str]) -> Sources:
    """Return the lists of jobs in progress of `process_ids`; if it is empty, of all processes found in Redis.

    `queues`: the queues to take over. Raise `StoreUnavailable` or `StoreRefused`.
    """
    known = set(queues) | migration.queue_names(client)
    lists: list[tuple[str, str]] = []
    unclear: list[str] = []
    complete = True
    for queue in queues:
        if process_ids:
            lists += [(queue, process_id) for process_id in sorted(process_ids)]
            continue
        search = migration.process_ids(client, queue)
        complete = complete and search.complete
        for process_id in sorted({*search.ids, DEFAULT_PROCESS_ID}):
            if ":" not in process_id:
                lists.append((queue, process_id))
            elif not _of_another(queue, process_id, known):
                unclear.append(client.keys.go_in_progress(queue, process_id))
    return Sources(tuple(queues), tuple(lists), tuple(unclear), complete)


def watch(client: Client, where: Sources, watch_s: float, pause: Callable[[float], None] = time.sleep) -> OriginalSigns:
    """Return the signs that the original still runs, after at most `watch_s` seconds.

    It writes no heartbeat to Redis. Its only signs are jobs that it takes and lists that change. `pause` sleeps. Raise
    `StoreUnavailable` or `StoreRefused`.
    """
    before = migration.states(client, where.lists)
    deadline_s = time.monotonic() + watch_s
    blind = False
    while True:
        found = migration.fetchers(client)
        blind = found is None
        after = migration.states(client, where.lists)
        changed = [pair for pair, old, new in zip(where.lists, before, after, strict=True) if old != new]
        signs = [f"a client at {one} takes jobs with BRPOPLPUSH" for one in found or ()]
        signs += [f"{client.keys.go_in_progress(*pair)} changes" for pair in changed]
        if signs or time.monotonic() >= deadline_s:
            return OriginalSigns(tuple(signs), blind)
        pause(_WATCH_EVERY_S)


def preview(client: Client, where: Sources) -> Takeover:
    """Return what `move` would do; change nothing. Raise `StoreUnavailable`."""
    tally = _Tally()
    for (queue, process_id), state in zip(where.lists, migration.states(client, where.lists), strict=True):
        if state.size:
            place: _Place = (client.keys.go_in_progress(queue, process_id), queue, "queue")
            tally.jobs[place] = state.size
            tally.unreadable[place] = _unreadable(client, queue, process_id)
    now_s = time_s(client)
    skip = 0
    while page := migration.retries(client, skip, PAGE):
        for raw in page:
            tally.add(client.keys.go_retry, plan(raw, where.queues, client.keys.namespace, now_s))
        skip += len(page)
    return tally.takeover()


def move(client: Client, where: Sources, who: str) -> Takeover:
    """Move the original's jobs to the places where restbroker keeps them, and return what was moved.

    What Redis refuses to move is in `Takeover.refused`. Raise `StoreUnavailable`, perhaps halfway: call it again; or
    `StoreRefused` if the audit log takes no entry: nothing is moved then.
    """
    tally = _Tally()
    entry = AuditEntry(who=who, action="migrate", place="the original's keys", where=", ".join(where.queues))
    with AuditedAction(client, entry) as note:
        try:
            _move(client, where, tally)
            note.state = "ended"
        finally:
            note.done = tally.takeover().jobs_to_move
    return tally.takeover()


def _move(client: Client, where: Sources, tally: _Tally) -> None:
    for (queue, process_id), state in zip(where.lists, migration.states(client, where.lists), strict=True):
        if state.size:
            place: _Place = (client.keys.go_in_progress(queue, process_id), queue, "queue")
            unreadable = _unreadable(client, queue, process_id)
            given = migration.give_back(client, queue, process_id, state.size)
            tally.jobs[place], tally.unreadable[place] = given.moved, min(unreadable, given.moved)
            if given.refused is not None:
                tally.refused[given.refused] += state.size - given.moved
    skip = 0
    while page := migration.retries(client, skip, PAGE):
        skip += _move_page(client, page, where.queues, tally)


def _move_page(client: Client, page: Sequence[bytes], queues: Sequence[str], tally: _Tally) -> int:
    """Move these members of the retry set; return how many of them stay there."""
    source, now_s, stay = client.keys.go_retry, time_s(client), 0
    pending = list(page)
    for nudge in range(_MOST_CLASHES):
        planned = {raw: plan(raw, queues, client.keys.namespace, now_s=now_s, nudge=nudge) for raw in pending}
        pending = []
        for raw, code in _transfer(client, planned, now_s):
            match code:
                case Applied():
                    tally.add(source, planned[raw])
                case Clash():
                    pending.append(raw)
                case Refused(text):
                    tally.refused[text] += 1
                    stay += 1
                case None:
                    tally.add(source, planned[raw])
                    stay += 1
                case _:  # Gone: someone else has moved it
                    pass
        if not pending:
            return stay
    tally.refused["an identical job is there already"] += len(pending)
    return stay + len(pending)


def _transfer(client: Client, planned: dict[bytes, Plan], now_s: float) -> Iterator[tuple[bytes, Code | None]]:
    """Yield each member with what became of it; None for those that stay on purpose."""
    transfers: list[Transfer] = []
    for raw, one in planned.items():
        match one:
            case Retry():
                transfers.append(Transfer(raw, one.payload))
            case Kill():
                # A score of its own for each: Sidekiq Web takes out all entries of one score to act on one of them.
                transfers.append(Transfer(raw, one.payload, now_s + len(transfers) / 1e6))
            case Keep():
                yield raw, None
    codes = migration.transfer(client, transfers)
    yield from zip((one.old for one in transfers), codes, strict=True)


def _unreadable(client: Client, queue: str, process_id: str) -> int:
    """Return how many of these jobs in progress are none. The original keeps such entries forever (measured)."""
    count = skip = 0
    while page := migration.in_progress(client, queue, process_id, skip=skip, limit=PAGE):
        count += sum(isinstance(job.read(raw, queue, ""), job.NotAJob) for raw in page)
        skip += len(page)
    return count


def _of_another(queue: str, process_id: str, known: Collection[str]) -> bool:
    """Tell whether a longer name of a known queue explains this key better."""
    return any(f"{queue}:{process_id}".startswith(f"{name}:") for name in known if name.startswith(f"{queue}:"))
