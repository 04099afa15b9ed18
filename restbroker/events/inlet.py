"""How a source that fetches by itself has Redis take what it got. `deliver.Deliverer` is one; `contract` has the rest.

Always holds: an event that was offered is pushed once, however often Redis has to be asked; what is not wanted any more
is not pushed later.
"""

from collections.abc import Sequence
from typing import Protocol

from restbroker.config.events import EventSource
from restbroker.errors import RestbrokerError
from restbroker.events.contract import Verdict
from restbroker.rules.event import ServerEvent


class Offer(Protocol):
    """Events that were offered together."""

    async def done(self) -> None:
        """Returns when all of them are decided; however long Redis is away."""
        ...

    async def leave(self) -> None:
        """Nobody waits any more: what is not on its way is not pushed. Returns when the rest is decided, in seconds."""
        ...

    def verdicts(self) -> list[Verdict | RestbrokerError | None]:
        """Of each, in the order of the events: what became of it, or why not, by now; None: nothing yet."""
        ...


class Inlet(Protocol):
    """The way to Redis."""

    def offer(self, source: EventSource, events: Sequence[ServerEvent], /) -> Offer:
        """They are pushed in this order. Raises `ValueError` for what no JSON can hold."""
        ...

    async def park(self, jobs: Sequence[bytes], /) -> None:
        """Returns when these jobs are in the dead set; however long Redis is away."""
        ...
