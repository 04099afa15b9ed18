"""Finds jobs by a text or by conditions, wherever they are, and those that have ended.

Called by `restbroker find` and the pages' search box. Always holds: changes nothing; looks at no more than its bounds
allow, and says where it did not look; what is hidden is not found, neither by a text nor by a condition.
"""

import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Final

import attrs

from restbroker.operate import places, where
from restbroker.operate.entry import SHOWN_BYTES, Entry, Look
from restbroker.operate.known import Known
from restbroker.operate.places import Bounds, End, Kind, Met, Walk
from restbroker.operate.where import Condition
from restbroker.store import parked, survey
from restbroker.store.client import Client
from restbroker.store.parked import Copy

_MOST: Final = 1000
_PLAIN: Final = re.compile(r"[a-z0-9_.:@ -]*[a-df-z_@][a-z0-9_.:@ -]*", re.ASCII)
"""What JSON writes in one way only, once it is ASCII without escapes; a number may be written in several."""
_IN_BYTES: Final = ("jid", "command", "error", "message")
"""Fields that stand in a job as they are."""
_OF_ENDS: Final = ("jid", "command", "target", "error", "at")


@attrs.frozen
class Hit:
    """A job, and where it is. `name`: of the queue or set, or of the process that has it in hand. `number`: so many
    come before it there. `entry.at_s`: when it is due, was parked or was pushed.
    """

    kind: Kind
    name: str
    number: int
    entry: Entry


@attrs.frozen
class Found:
    """`ends`: how jobs ended, newest first. `looked_at`: how many of each place. `unseen`: what was not looked at, or
    not to the end. `refused`: what Redis did not let be read, and what to do.
    """

    hits: tuple[Hit, ...]
    ends: tuple[End, ...]
    looked_at: dict[str, int]
    unseen: tuple[str, ...]
    refused: tuple[str, ...]


def search(client: Client, sought: where.Sought, known: Known, bounds: Bounds) -> Found:
    """Looks everywhere for jobs that have all texts and for which all conditions hold. Raises `StoreUnavailable`."""
    asked = _Asked(sought, tuple(_words(sought)))
    walk = Walk(client, known, bounds, places.Sought(asked.may_be_in, asked.is_job, asked.is_end))
    # In the order in which a job goes, so that one which moves meanwhile is met at its next place.
    hits = list(islice(map(_hit, chain(walk.sorted_sets(), walk.waiting(), walk.in_hand())), _MOST))
    if not hits and not walk.left_s:
        walk.unseen.append("queues that nobody announced")
    elif not hits:
        hits = list(islice(map(_hit, walk.unannounced()), _MOST))
    if len(hits) == _MOST:
        walk.unseen.append(f"what comes behind {_MOST} jobs that were found")
    hits += _gone(walk, {hit.entry.jid for hit in hits})
    about = {one.field for one in sought.where} - set(_OF_ENDS)
    ends = () if about else tuple(walk.ends())
    if about:
        walk.unseen.append(f"how jobs ended, which is kept without {', '.join(sorted(map(_plainly, about)))}")
    if walk.ask(_has_others, instead=False):
        walk.unseen.append("what Ruby's processes have in hand")
    return Found(tuple(hits), ends, walk.looked_at, (*walk.unseen, *asked.passed_over()), tuple(walk.refused))


@attrs.define(eq=False)
class _Asked:
    sought: where.Sought
    words: tuple[bytes, ...]
    _large: int = 0
    _unread: int = 0

    def may_be_in(self, raw: bytes) -> bool:
        """Whether these bytes have all words. What cannot be looked through is counted, whatever is in it."""
        self._large += bool(self.sought.texts) and len(raw) > SHOWN_BYTES
        self._unread += raw[:1] not in b"{[ \t\r\n"
        if not raw.isascii() or b"\\u" in raw:
            return True
        lower = raw.lower()
        return all(word in lower for word in self.words)

    def is_job(self, look: Look) -> bool:
        """Whether it is one of the jobs that are looked for."""
        timed = _timed(look)
        return timed.matches(self.sought.where) and all(timed.says(text) for text in self.sought.texts)

    def is_end(self, end: End) -> bool:
        """Whether a job ended so. `end` is as it may be shown."""
        one = end.ending
        said = {"jid": one.jid, "command": one.command, "target": one.target, "error": one.code, "at": end.at_s}
        words = [word.casefold() for word in (one.jid, one.command, one.code or "")]
        texts = all(any(text.casefold() in word for word in words) for text in self.sought.texts)
        return texts and all(condition.holds(said.get(condition.field)) for condition in self.sought.where)

    def passed_over(self) -> Iterator[str]:
        """What lies there and could not be looked through."""
        if self._large:
            yield f"the arguments of {self._large} jobs that have more than {SHOWN_BYTES // 1024} KiB"
        if self._unread:
            yield f"{self._unread} entries that are no jobs: not a JSON object"


def _words(sought: where.Sought) -> Iterator[bytes]:
    """What must stand in the bytes of a job that is meant: to look for it costs a tenth of reading the job."""
    for word in chain(sought.texts, *map(_word_of, sought.where)):
        if _PLAIN.fullmatch(word.lower()):
            yield word.lower().encode()


def _word_of(condition: Condition) -> Iterator[str]:
    is_there = condition.field in _IN_BYTES or condition.argument is not None
    if is_there and condition.op in ("=", "~") and isinstance(condition.value, str):
        yield condition.value


def _gone(walk: Walk, met: set[str | None]) -> list[Hit]:
    """Copies of parked jobs that are nowhere else any more."""
    copies = (_hit(one) for one in walk.copies() if _is_missing(walk, one))
    return list(islice((hit for hit in copies if hit.entry.jid not in met), walk.bounds.hits))


def _is_missing(walk: Walk, met: Met) -> bool:
    copy = Copy("", met.look.raw)
    return walk.ask(lambda client: bool(parked.missing(client, [copy])), instead=False)


def _has_others(client: Client) -> bool:
    return any(not process.is_restbroker for process in survey.processes(client))


def _hit(met: Met) -> Hit:
    return Hit(met.kind, met.name, met.number, _timed(met.look).entry())


def _timed(look: Look) -> Look:
    return look if look.score else look.since_pushed


def _plainly(field: str) -> str:
    return field.removeprefix(where.ARGUMENT)
