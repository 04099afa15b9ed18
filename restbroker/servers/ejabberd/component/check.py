"""Checks a source of kind `ejabberd-component`, by what the processes that read it say. Called by `operate.check`.

Always holds: nothing connects here, since a second connection of the name would take a share of the copies.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from restbroker.config.events import EventSource
from restbroker.servers.findings import Cause, Finding, findings_of
from restbroker.store.sources import SourceState

_WHY: Final = "ejabberd's events do not become jobs."
_CAUSES: Final[dict[str, Cause]] = {"EjabberdAway": "target", "EjabberdDenied": "refused"}


def check(source: EventSource, states: Sequence[SourceState] = ()) -> Iterator[Finding]:
    """Return what `states`, those of the reading processes, say is wrong."""
    del source
    return findings_of(states, (), _WHY, _CAUSES)
