"""Failed jobs by their causes: how many of the retry or the dead set there are of each, since when, and one of them.

Called by the command line and the pages. Always holds: changes nothing; what was read once is read again only where the
number of jobs has changed, or a person changed jobs in their places; what is shown has no secrets.

The set is cut into slices by score. Redis counts a slice in microseconds, and only one whose count has changed is read
again; all are after an edit or a move, which the audit log shows: it has an entry after each batch that was changed.
Equal counts of other jobs are taken for the same: in the dead set, whose new jobs come on top, that can only happen if
an older one is put back while another one goes.

Who has read many jobs shares the slices in Redis, so that another process need not read them: a command begins with the
counts that the pages have. They count for a configuration with the same targets, and are masked again with its secrets.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import Any, Final, TypeVar

import attrs

from restbroker import __version__
from restbroker.errors import StoreNotNow, StoreRefused
from restbroker.job import hiding
from restbroker.job.json_types import Json
from restbroker.light import define, field, frozen
from restbroker.operate import audit
from restbroker.operate.context import ConfigContext
from restbroker.operate.job import StoredJob
from restbroker.operate.throttle import Throttle, throttle_items
from restbroker.operate.where import Where
from restbroker.store import paging
from restbroker.store.client import Client, raw
from restbroker.store.keys import SortedSet
from restbroker.store.paging import Cursor, Member
from restbroker.store.tickets import MAX_BYTES

T = TypeVar("T")
_SLICE: Final = 1000
_PIECE: Final = 250
"""So many jobs are read at once: a thousand hold up Redis for 7 ms."""
_MOST_CAUSES: Final = 1000
"""Producers can invent commands, and messages may be of all kinds: jobs of further causes are only counted."""
_NOT_READ: Final = -1
_IN_PLACE: Final = ("edit", "move")
"""Actions, as the audit log names them, after which as many jobs have the same scores."""
HOUR_S: Final = 3600
_CHARTED_S: Final = 30 * 24 * HOUR_S
_SHARED_AFTER: Final = 20_000
"""So many jobs are read in a moment; the slices of twice as many are a message of some 10 KB."""
_SHARED_S: Final = 86_400
_OF_JOBS: Final = ("jid", "command", "code", "message")
_ALL: Final = 10**9
"""More than the members of any one score: a place behind so many is behind all of them."""


@define
class Cause:
    """A group of failed jobs. `first_s`, `last_s`: when the first and the last of them died or failed (epoch seconds).

    `said_to`: where what the server said ends in `message`, 0 if that is unknown. `hours`: {hour since the epoch: how
    many failed in it}, of the last 30 days. All else is from the newest of them, with secrets masked: `key` identifies
    it as a job id would; `command` is its class if it names no command; `code` is its `error_class`.
    """

    group: str
    key: str
    jid: str | None
    target: str | None
    command: str | None
    code: str | None
    message: str | None
    jobs: int = 0
    first_s: float = inf
    last_s: float = -inf
    hours: dict[int, int] = field(factory=dict)
    said_to: int = 0

    def add(self, jobs: int, first_s: float, last_s: float, hours: Mapping[int, int]) -> None:
        """Count `jobs` more, which failed between `first_s` and `last_s`."""
        self.jobs += jobs
        self.first_s, self.last_s = min(self.first_s, first_s), max(self.last_s, last_s)
        for hour, count in hours.items():
            self.hours[hour] = self.hours.get(hour, 0) + count


@frozen
class Summary:
    """The causes of failure in a set, largest first.

    Jobs that did not fail have no cause; at most a thousand causes are counted. `matching`: how many of the jobs read
    match the conditions. `looked_at` is less than `total` if time ran out; `is_counted`: it did not, nor were jobs that
    have changed since they were read left as they were.
    """

    causes: tuple[Cause, ...]
    matching: int
    looked_at: int
    total: int
    is_counted: bool = True

    @property
    def main(self) -> Sequence[Cause]:
        """The fewest causes that explain 95 % of the matching jobs; all causes if they explain less."""
        jobs = 0
        for number, cause in enumerate(self.causes, start=1):
            jobs += cause.jobs
            if jobs >= 0.95 * self.matching:
                return self.causes[:number]
        return self.causes


@define
class _ScoreSlice:
    """Members whose scores are from `low` on and below `high`: how many, how many are meant, and their causes by id."""

    low: float
    high: float
    jobs: int
    meant: int = 0
    causes: dict[str, Cause] = field(factory=dict)
    is_stale: bool = False


@define(eq=False)
class Summaries:
    """The causes of failure of jobs that match conditions, kept up to date.

    Reading rests as long as it works: others on the machine, Redis among them, wait for no long turn of it.
    """

    zset: SortedSet
    context: ConfigContext
    where: Where = ()
    _slices: list[_ScoreSlice] = field(factory=lambda: [_ScoreSlice(-inf, inf, _NOT_READ)])
    _noted: str | None = None
    """The newest entry of the audit log that was seen."""
    _unshared: int = 0
    """How many jobs were read since the slices were shared."""

    def now(self, client: Client, seconds: float = 60.0) -> Summary:
        """Return the summary of what can be read in `seconds`; the next call continues.

        Raise `StoreUnavailable` or `StoreRefused`.
        """
        deadline = time.monotonic() + seconds
        if self._slices[0].jobs == _NOT_READ and not self.where:
            self._begin_with_shared(client)
        if self._was_changed(client):
            for part in self._slices:
                part.is_stale = True
        counts = paging.counts(client, self.zset, [(part.low, part.high) for part in self._slices])
        slices: list[_ScoreSlice] = []
        is_begun = is_late = False  # however little time there is, it goes on
        for old, count in zip(self._slices, counts, strict=True):
            is_known = old.jobs == count and not old.is_stale
            is_late = is_late or (not is_known and is_begun and time.monotonic() >= deadline)
            is_begun = is_begun or not is_known
            for part in (old,) if is_known or is_late else self._read(client, old, deadline):
                if slices and not part.jobs:
                    slices[-1].low = part.low
                else:
                    slices.append(part)
        self._slices = slices
        found = _summary(self._paced(slices), sum(counts))
        is_counted = not is_late and all(part.jobs != _NOT_READ for part in slices)
        if is_counted and self._unshared >= _SHARED_AFTER and not self.where:
            self._share(client)
        return attrs.evolve(found, is_counted=is_counted)

    @property
    def _view(self) -> list[Json]:
        """What must be the same where the slices are shared."""
        targets: dict[str, Json] = {queue: self.context.target(queue) for queue in self.context.targets}
        return [__version__, self.context.show_bodies, targets]

    def _share(self, client: Client) -> None:
        lines = [json.dumps([self._view, self._noted]), *(json.dumps(attrs.asdict(part)) for part in self._slices)]
        shared, key, self._unshared = "\n".join(lines), client.keys.causes, 0
        if len(shared) <= MAX_BYTES:
            with suppress(StoreRefused, StoreNotNow):  # not everyone may write it, and no one while Redis is full
                client.commands([("HSET", key, self.zset, shared), ("EXPIRE", key, _SHARED_S)])

    def _begin_with_shared(self, client: Client) -> None:
        with suppress(StoreRefused, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            head, *lines = raw(client.command("HGET", client.keys.causes, self.zset) or b"[0, 0]").splitlines()
            view, noted = json.loads(head)
            if view == self._view and lines:
                slices = [self._slice_of(json.loads(line)) for line in lines]
                _summary(slices, 0)  # it fails if others wrote what they like
                self._slices, self._noted = slices, noted

    def _slice_of(self, kept: Any) -> _ScoreSlice:  # noqa: ANN401 - as it was read
        causes: dict[str, Cause] = {}
        for name, cause in kept["causes"].items():
            masked = {word: cause[word] and hiding.mask_secrets(cause[word], self.context.secrets) for word in _OF_JOBS}
            hours = {int(hour): jobs for hour, jobs in cause["hours"].items()}
            causes[name] = Cause(**{**cause, **masked, "hours": hours})
        return _ScoreSlice(**{**kept, "low": float(kept["low"]), "high": float(kept["high"]), "causes": causes})

    def _was_changed(self, client: Client) -> bool:
        """Tell whether a person changed jobs of the set in their places since the last call, as far as can be seen."""
        try:
            found = [*audit.entries(client, 1)] if self._noted is None else audit.entries_after(client, self._noted)
        except StoreRefused:
            # Its key is none of restbroker's: the causes can be told all the same.
            return False
        self._noted = found[-1].name if found else self._noted or ""
        is_of_it = (entry.note.place == self.zset and entry.note.action in _IN_PLACE for entry in found)
        return len(found) == audit.MOST_BEHIND or any(is_of_it)

    def _read(self, client: Client, old: _ScoreSlice, deadline: float) -> Iterator[_ScoreSlice]:
        """Yield what is in a slice, in slices of a thousand jobs; the last is not read where time is up."""
        part, last = _ScoreSlice(old.low, old.high, 0), inf
        for member, score in self._paced(self._members(client, old)):
            # Jobs of one score stay together. To mask what is shown of a cause may take long.
            is_late = bool(part.jobs) and score < last and time.monotonic() >= deadline
            if is_late or (part.jobs >= _SLICE and score < last):
                part.low = last
                yield part
                part = _ScoreSlice(old.low, last, _NOT_READ if is_late else 0)
            if is_late:
                break
            part.jobs, last, self._unshared = part.jobs + 1, score, self._unshared + 1
            view = StoredJob(member, score, self.context)
            if not self.where or view.matches(self.where):
                part.meant += 1
                _count(part.causes, view, self.zset)
        yield part

    def _members(self, client: Client, part: _ScoreSlice) -> Iterator[Member]:
        """Yield the members of a slice, the highest score first."""
        place = None if part.high == inf else Cursor(part.high, _ALL)
        for piece in paging.pieces(client, self.zset, _PIECE, place, newest_first=True):
            for member in piece.members:
                if member[1] < part.low:
                    return
                yield member

    def _paced(self, found: Iterable[T]) -> Iterable[T]:
        return throttle_items(found, Throttle(), per_step=1)


def _summary(slices: Iterable[_ScoreSlice], total: int) -> Summary:
    together, meant, looked_at = dict[str, Cause](), 0, 0
    for part in slices:
        meant, looked_at = meant + part.meant, looked_at + max(part.jobs, 0)
        for name, cause in part.causes.items():
            if name not in together and len(together) < _MOST_CAUSES:
                together[name] = attrs.evolve(cause, jobs=0, first_s=inf, last_s=-inf, hours={})
            if name in together:
                together[name].add(cause.jobs, cause.first_s, cause.last_s, cause.hours)
    causes = sorted(together.values(), key=lambda cause: -cause.jobs)
    return Summary(tuple(causes), meant, looked_at, max(total, looked_at))


def _count(causes: dict[str, Cause], view: StoredJob, zset: SortedSet) -> None:
    group = view.group
    if group is None:
        return
    cause = causes.get(group)
    if cause is None:
        if len(causes) >= _MOST_CAUSES:
            return
        target, command, code = view.context.target(view.queue), view.shown_command, view.shown_code
        cause = causes[group] = Cause(
            group, view.key, view.shown_jid, target=target, command=command, code=code, message=view.message
        )
        cause.said_to = view.said_to
    at_s = view.score if zset == "dead" else view.last_failure_s or view.score
    now_s = time.time()
    cause.add(1, at_s, at_s, {int(min(at_s, now_s) // HOUR_S): 1} if at_s > now_s - _CHARTED_S else {})
