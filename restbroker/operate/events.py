"""What servers reported lately, and the state of their sources. Called by `restbroker events`, and the pages.

Always holds: it changes nothing, and no text of a message is there to be shown; what other programs wrote into the
stream is shown as far as it can be read.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import attrs

from restbroker.job import rubyjson
from restbroker.light import define, field, frozen
from restbroker.store import events
from restbroker.store.client import Client
from restbroker.store.sources import SourceState

if TYPE_CHECKING:  # loaded when the file has it
    from restbroker.config.core import Config
    from restbroker.config.events import Events
    from restbroker.operate.summary import Cause

NO_SOURCE: Final = "No source of events is configured."
ADD_SOURCE: Final = "Add one to Sources of the section Events (docs/events.md)."
_LONGEST = 500
_DEAD_S: Final = 2.0
_WORDS: Final = ("source", "type", "from", "to", "room", "queue", "jid")


@frozen
class ShownEvent:
    """One event. `at_s`: when its job was pushed, by Redis' clock (epoch seconds). `words`: its texts, by their names.

    A missing text is None.
    """

    at_s: float
    id: str | None
    words: Mapping[str, str | None]


@define(eq=False)
class Tail:
    """The stream of events after the last one that was read. `source`: return only this source's events; None: all.

    `sources`: the sources of all events read, including those not returned.
    """

    client: Client
    source: str | None = None
    sources: set[str] = field(factory=set)
    _last: str = ""

    def read_new(self) -> Iterator[ShownEvent]:
        """Yield the events since the last call, oldest first; at the first call, all events that Redis keeps.

        Raise `StoreUnavailable` or `StoreRefused`.
        """
        for noted in events.newest(self.client, self._last):
            self._last = noted.name
            seen = _read_event(noted)
            source = seen.words["source"] or ""
            self.sources.add(source)
            if self.source in (None, source):
                yield seen


def _read_event(noted: events.RecentEvent) -> ShownEvent:
    fields = rubyjson.object_of(noted.event) or {}

    def text(name: str) -> str | None:
        value = fields.get(name)
        return value[:_LONGEST] or None if isinstance(value, str) else None

    return ShownEvent(int(noted.name.partition("-")[0]) / 1000, text("id"), {name: text(name) for name in _WORDS})


def source_rows(
    states: Sequence[SourceState], events: "Events | None", dead: Sequence["Cause"] = ()
) -> list[SourceState]:
    """Return the states, and one for each source of the file without any; the first of a source has all its counts.

    So it has, by the causes of the `dead` jobs, how many of its command are dead at its target, whoever pushed them.
    """
    kinds = {} if events is None else {source.name: source.kind for source in events.sources}
    missing = kinds.keys() - {state.source for state in states}
    rows = [*states, *(SourceState(name, kinds[name], "", message="no process") for name in sorted(missing))]
    sums: dict[str, Counter[str]] = {}
    for row in rows:
        sums.setdefault(row.source, Counter()).update(row.outcomes)
    handed = [] if events is None else [(source.name, route.handover) for _, source, route in events.handovers]
    for name, target, command in {(name, said.target, said.command) for name, said in handed}:
        jobs = sum(cause.jobs for cause in dead if (cause.target, cause.command) == (target, command))
        sums[name] += Counter({f"dead {command}": jobs})
    return [attrs.evolve(row, outcomes=sums.pop(row.source, {})) for row in rows]


def dead_causes(client: Client, config: "Config") -> "Sequence[Cause]":
    """Return why jobs are dead, as far as that is soon told, if events become commands; nothing if not.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    from restbroker.operate.context import context_of  # slow to load, as are causes
    from restbroker.operate.summary import Summaries

    if config.events is None or not any(config.events.handovers):
        return ()
    return Summaries("dead", context_of(config)).now(client, _DEAD_S).causes


def outcomes_text(row: SourceState) -> str | None:
    """Return how many events of a source had which outcome, those accepted first; None if none came."""
    counts = sorted(row.outcomes.items(), key=lambda one: (one[0] != "accepted", -one[1]))
    return ", ".join(f"{outcome} {count:,}" for outcome, count in counts) or None
