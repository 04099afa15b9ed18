"""Jobs that ended and are stored nowhere else, from the History: newest first and by conditions, or as they end.

Called by `restbroker history` and the page of finished jobs. Always holds: changes nothing; reads no more than its
limits allow, and says how far it came; what is masked satisfies no condition.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from restbroker.errors import UsageError
from restbroker.light import frozen
from restbroker.operate import find, where
from restbroker.operate.context import ConfigContext
from restbroker.operate.find import SearchLimits
from restbroker.operate.walk import FoundEnd, masked
from restbroker.operate.where import Where
from restbroker.store import history
from restbroker.store.client import Client
from restbroker.store.history import HistoryEntry
from restbroker.store.paging import rested

FIELDS: Final = ("jid", "command", "target", "outcome", "error", "status", "took", "attempts", "at")
OFF: Final = "restbroker does not record how jobs end."
SWITCH_ON: Final = 'With "History": "24h" in env.json it does, for a day.'
_PIECE: Final = 1000
_NEW: Final = 20_000
PLACE: Final = re.compile(r"(?!0+-0+$)\d{1,15}-\d{1,15}", re.ASCII)
"""The name of an entry of a stream, which may have older ones."""
_FIRST: Final = "0-0"


@frozen
class EndsPage:
    """One page of ends. `after` is the next page's place; None: this is the last one. `total`: how many are kept.

    `looked_at`: how many records were read. `newest`: the name of the newest of them.
    """

    ends: tuple[FoundEnd, ...]
    after: str | None
    looked_at: int
    total: int
    newest: str


def read(typed: Sequence[str], now_s: float, known: ConfigContext) -> Where:
    """Return the conditions that were typed. Raise `UsageError`, also for a field that finished jobs do not have."""
    found = where.read(typed, now_s)
    hint = "Of finished jobs only arguments are kept that HistoryArguments names."
    where.require_fields(found, (*FIELDS, *known.kept), "Finished jobs have", hint)
    return found


def page(
    client: Client, wanted: Where, known: ConfigContext, *, after: str = "", limit: int, limits: SearchLimits
) -> EndsPage:
    """Return at most `limit` ends for which all conditions hold, newest first, older than the entry `after`.

    Raise `StoreUnavailable` or `StoreRefused`, and `UsageError` for an `after` that is no entry's name.
    """
    if after and PLACE.fullmatch(after) is None:
        raise UsageError("This place in the History cannot be read.", "Begin with the newest, without it.")
    total, oldest = history.extent(client)
    newest = ""

    def entries() -> Iterator[tuple[HistoryEntry, str]]:
        nonlocal newest
        for piece in rested(history.pieces(client, _PIECE if wanted else limit, after)):
            newest = newest or piece[0].name
            yield from ((entry, entry.name) for entry in piece)

    ends, looked_at, place = find.choose(entries(), lambda entry: _end(entry, wanted, known), limit, limits)
    is_last = oldest is None or place == oldest.name
    return EndsPage(ends, None if is_last else place, looked_at, total, newest=newest or _FIRST)


def _end(entry: HistoryEntry, wanted: Where, known: ConfigContext) -> FoundEnd | None:
    """Return the end in a record if all conditions hold for it."""
    ending = history.read(entry.record)
    if ending is None:
        return None
    end = masked(FoundEnd(entry.at_s, ending), known)
    said = end.said if wanted else {}
    return end if all(term.holds(said.get(term.argument or term.field)) for term in wanted) else None


def tail(client: Client, wanted: Where, known: ConfigContext, last: str) -> Iterator[list[FoundEnd]]:
    """Yield without end those that came since, oldest first, at first after the entry `last`, if all conditions hold.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    while True:
        piece = history.newer(client, _NEW, last)
        last = piece[-1].name if piece else last
        yield [end for entry in piece if (end := _end(entry, wanted, known)) is not None]
