"""What one kind of event source has to offer. `registry` has the kinds, `webhook` uses them.

A kind that servers post to is a `Hook`: pure functions, in a module of this folder. A kind that fetches by itself (a
broker's queue, a stream of a server) is a service with the method `run`, which calls a `Deliver` for what it got and
tells the server only then that it has it. Always holds: no kind knows Redis; an event that no `Deliver` took is not
confirmed.
"""

from collections.abc import Mapping
from typing import Literal, Protocol

import attrs

from restbroker.config.events import EventSource
from restbroker.rules.event import ServerEvent

Verdict = Literal["accepted", "duplicate", "ignored"]
"""Redis has its job; it had one already (`DropDuplicates`); nobody wants it (`Only`)."""


class Malformed(ValueError):
    """What was posted is none of the server's events. The text says why, and repeats nothing of it."""


@attrs.frozen
class Answer:
    """What is answered: a status, and a body of this type, if there is one."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Told:
    """What was posted. `asks`: its sender waits for an answer, which a queue cannot give."""

    event: ServerEvent
    asks: bool


class Hook(Protocol):
    """One kind of webhook."""

    @property
    def CONTENT_TYPE(self) -> str:  # noqa: N802  a module's constant
        """What a body must be."""
        ...

    def read(self, body: bytes, source: str, now_s: float) -> Told:
        """The event. Raises `Malformed`."""
        ...

    def probed(self) -> Answer:
        """To a question whether anybody is there (OPTIONS)."""
        ...

    def taken(self, told: Told) -> Answer:
        """To an event that is in good hands, or that nobody wants."""
        ...

    def refused(self, told: Told) -> Answer:
        """To one that asks, where nobody answers."""
        ...

    def not_now(self, told: Told, retry_after_s: int) -> Answer:
        """To one that could not be taken: its sender should know."""
        ...


class Deliver(Protocol):
    """Has Redis take an event."""

    async def __call__(self, source: EventSource, event: ServerEvent, /) -> Verdict:
        """Returns when Redis has its job. Raises `StoreUnavailable` or `StoreRefused`, in some seconds at most."""
        ...
