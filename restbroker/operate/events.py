"""What servers reported lately, for a person who watches. Called by `restbroker events tail`.

Always holds: it changes nothing, and no text of a message is there to be shown; what other programs wrote into the
stream is shown as far as it can be read.
"""

from collections.abc import Iterator
from typing import Final

import attrs

from restbroker.job import rubyjson
from restbroker.store import events
from restbroker.store.client import Client

NO_SOURCE: Final = "No source of events is configured."
ADD_SOURCE: Final = "Add one to Sources of the section Events (docs/events.md)."
_LONGEST = 500


@attrs.frozen
class ShownEvent:
    """One event. `at_s`: when its job was pushed, by Redis' clock (epoch seconds). A missing text is ""."""

    at_s: float
    source: str
    type: str
    sender: str
    receiver: str
    room: str
    id: str
    queue: str
    jid: str


@attrs.define(eq=False)
class Tail:
    """The stream of events after the last one that was read. `source`: return only this source's events; None: all.

    `sources`: the sources of all events read, including those not returned.
    """

    client: Client
    source: str | None = None
    sources: set[str] = attrs.field(factory=set)
    _last: str = ""

    def read_new(self) -> Iterator[ShownEvent]:
        """Yield the events since the last call, oldest first; at the first call, all events that Redis keeps.

        Raise `StoreUnavailable` or `StoreRefused`.
        """
        for noted in events.newest(self.client, self._last):
            self._last = noted.name
            seen = _read_event(noted)
            self.sources.add(seen.source)
            if self.source in (None, seen.source):
                yield seen


def _read_event(noted: events.RecentEvent) -> ShownEvent:
    fields = rubyjson.object_of(noted.event) or {}

    def text(name: str) -> str:
        value = fields.get(name)
        return value[:_LONGEST] if isinstance(value, str) else ""

    return ShownEvent(
        at_s=int(noted.name.partition("-")[0]) / 1000,
        source=text("source"),
        type=text("type"),
        sender=text("from"),
        receiver=text("to"),
        room=text("room"),
        id=text("id"),
        queue=text("queue"),
        jid=text("jid"),
    )
