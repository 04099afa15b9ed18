"""Finds jobs by a text or by conditions, in all places where jobs are, and those that have ended.

Called by `restbroker find` and the pages' search box. Always holds: changes nothing; reads no more than its limits
allow, and says where it did not search; what is hidden is not found, neither by a text nor by a condition, and neither
the time nor what was read depends on it.
"""

import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Final

from restbroker.light import define, frozen
from restbroker.operate import where
from restbroker.operate.context import ConfigContext
from restbroker.operate.explain import Location
from restbroker.operate.find import SearchLimits
from restbroker.operate.job import SHOWN_BYTES, StoredJob
from restbroker.operate.walk import FoundEnd, Match, SearchQuery, Walk
from restbroker.operate.where import Condition
from restbroker.store import processes
from restbroker.store.client import Client

_MOST: Final = 1000
_PLAIN: Final = re.compile(r"[0-9e.: -]*[a-df-z_@][a-z0-9_.:@ -]*", re.ASCII)
"""What JSON writes in one way only, once it is ASCII without escapes; a number may be written in several."""
_INSTEAD: Final = "not shown"
"""The words that stand for what is too large to show; they are not in the job."""
_IN_BYTES: Final = ("jid", "command", "error", "message")
"""Fields that stand in a job as they are."""
_OF_ENDS: Final = ("jid", "command", "target", "error", "at")


@frozen
class SearchResult:
    """What a search found. `ends`: finished jobs, newest first. `looked_at`: {place: how many jobs were read}.

    `unseen`: places not searched, or not to the end. `refused`: places that Redis refuses to show, and what to do.
    `kept`: which arguments finished jobs have, in words.
    """

    hits: tuple[Location, ...]
    ends: tuple[FoundEnd, ...]
    looked_at: dict[str, int]
    unseen: tuple[str, ...]
    refused: tuple[str, ...]
    kept: str

    @property
    def jobs(self) -> int:
        """How many jobs were found: a job counts once, even if it also has an end."""
        named = {hit.entry.jid for hit in self.hits} | {end.ending.jid for end in self.ends}
        return len(named - {None}) + sum(hit.entry.jid is None for hit in self.hits)


def search(client: Client, sought: where.SearchTerms, known: ConfigContext, bounds: SearchLimits) -> SearchResult:
    """Search everywhere for jobs that contain all texts and match all conditions. Raise `StoreUnavailable`.

    What Redis refuses to show is in `SearchResult.refused`.
    """
    asked = _Query(sought, tuple(_needed_words(sought)), any(condition.field == "at" for condition in sought.where))
    walk = Walk(client, known, bounds, SearchQuery(asked.note, asked.is_job, asked.is_end, asked.may_have_ended))
    hits = list(islice(map(_hit, walk.all_places()), _MOST))
    if not hits and not walk.remaining_s:
        walk.unseen.append("queues missing from Sidekiq's list of queues")
    elif not hits:
        hits = list(islice(map(_hit, walk.in_unlisted_queues()), _MOST))
    if len(hits) == _MOST:
        walk.unseen.append(f"anything after the first {_MOST} jobs found")
    about = {condition.field for condition in sought.where if condition.argument not in known.kept} - set(_OF_ENDS)
    ends = () if about else tuple(walk.ends())
    if about:
        names = ", ".join(sorted(field.removeprefix(where.ARGUMENT) for field in about))
        keep_none = any(field.startswith(where.ARGUMENT) for field in about)
        why = f"keep no arguments ({names})" if keep_none else f"do not contain {names}"
        walk.unseen.append(f"finished jobs, whose records {why}")
    if walk.ask(_has_others, instead=False):
        walk.unseen.append("jobs in progress of Ruby's processes")
    kept = f"of arguments only {', '.join(known.kept)}" if known.kept else "no arguments"
    unseen, refused = (*walk.unseen, *asked.gaps()), tuple(walk.refused)
    return SearchResult(tuple(hits), ends, walk.read_counts, unseen=unseen, refused=refused, kept=kept)


@define(eq=False)
class _Query:
    """What is searched for."""

    terms: where.SearchTerms
    needed_words: tuple[bytes, ...]
    is_timed: bool
    _large: int = 0
    _unread: int = 0

    def note(self, raw: bytes) -> bool:
        """Count jobs that cannot be searched. Return True: bytes may contain secrets, so none is excluded by them."""
        self._large += bool(self.terms.texts) and len(raw) > SHOWN_BYTES
        self._unread += raw[:1] not in b"{[ \t\r\n"
        return True

    def may_have_ended(self, record: bytes) -> bool:
        """Tell whether the record of an end may be that of a matching job."""
        return self._may_match(record.lower())

    def is_job(self, view: StoredJob) -> bool:
        """Tell whether the job matches."""
        if self.needed_words and (shown := view.open_text) is not None and not self._may_match(shown):
            return False
        timed = view.timed if self.is_timed else view
        return timed.matches(self.terms.where) and all(timed.says(text) for text in self.terms.texts)

    def is_end(self, end: FoundEnd) -> bool:
        """Tell whether this is the end of a matching job. `end` has its secrets masked."""
        one = end.ending
        words = [word.casefold() for word in (one.jid, one.command, one.code or "", *one.arguments.values())]
        texts = all(any(text.casefold() in word for word in words) for text in self.terms.texts)
        values = (end.said.get(condition.argument or condition.field) for condition in self.terms.where)
        return texts and all(map(Condition.holds, self.terms.where, values))

    def _may_match(self, lower: bytes) -> bool:
        return not lower.isascii() or b"\\u" in lower or all(word in lower for word in self.needed_words)

    def gaps(self) -> Iterator[str]:
        """Yield what could not be searched."""
        if self._large:
            yield f"the arguments of {self._large} jobs that have more than {SHOWN_BYTES // 1024} KiB"
        if self._unread:
            yield f"{self._unread} entries that are not jobs: not a JSON object"


def _needed_words(sought: where.SearchTerms) -> Iterator[bytes]:
    """Yield what must stand in the open text of a job that matches."""
    for word in chain(sought.texts, *map(_word_of, sought.where)):
        if _PLAIN.fullmatch(word.lower()) and word.lower() not in _INSTEAD:
            yield word.lower().encode()


def _word_of(condition: Condition) -> Iterator[str]:
    is_there = condition.field in _IN_BYTES or condition.argument is not None
    if is_there and condition.op in ("=", "~") and isinstance(condition.value, str):
        yield condition.value


def _has_others(client: Client) -> bool:
    return any(not process.is_restbroker for process in processes.read_all(client, with_work=False))


def _hit(met: Match) -> Location:
    return Location(met.kind, met.name, met.view.timed.shown(), ahead=met.number)
