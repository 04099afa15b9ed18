"""A job in this process's hands: what Redis lists as ours, how far we got with it, and which worker has it.

The fetcher makes items, workers fill them, the committer removes them. Always holds: `sending` is set before the
first byte of the effect can leave, and `settlement` before the item reaches the committer, so that at a stop every
item tells by itself what must become of it.
"""

import attrs
import trio

from restbroker.broker.delivery.tokens import Proof
from restbroker.job.job import Job, memory_bytes
from restbroker.job.policy import Context
from restbroker.job.settlement import Fingerprint, Settlement
from restbroker.telemetry.events import JobFinished


@attrs.define(eq=False)
class Item:
    """One ticket. `number` is the ticket's first part; it rises and is never used again by an identity.

    `started_at_s` (epoch) is when a worker took it up; None until then. It is shown, and a life that is replaced gives
    back what no worker took up (`leftovers.give_back`).
    """

    ticket: str
    number: int
    queue: str
    raw: bytes
    size_bytes: int = 0
    """Of a job that is too large: its bytes are in Redis alone, and `raw` is empty."""
    granted_at_s: float = 0.0
    """When it was taken (boot time): by then the rate limit was charged for it."""
    started_at_s: float | None = None
    job: Job | None = None
    command: str = ""
    proof: Proof | None = None
    """What it was let in by."""
    admitted: bool = False
    fingerprint: Fingerprint | None = None
    """What is remembered of it once it is done, if it is signed."""
    reply_id: str | int | float | None = None
    recovered: str | None = None
    """The digest under which its runs before a crash are counted; None if there are none."""
    forgotten: bool = False
    """Redis has it again although it was sent or settled before: it has run already."""
    at_most_once: bool = False
    in_slot: bool = False
    """It has a place in its command's slot, beside the gate's limit."""
    sending: bool = False
    effected: bool = False
    """A part of it is done and the rest is not: never false again."""
    settlement: Settlement | None = None
    asked: bool = False
    """Redis was asked to settle it and did not answer: if it is gone by the next time, it was settled then."""
    context: Context | None = None
    status: int | None = None
    """What the server answered that delivered it, if nothing else is to be told of it but `took_s`, how long it took.
    """
    took_s: float = 0.0
    event: JobFinished | None = None
    """What is to be told of it otherwise."""
    memory_bytes: int = attrs.field(init=False)
    """About what it takes while it is in progress."""

    def __attrs_post_init__(self) -> None:
        """Looks through it once, however often somebody asks."""
        self.memory_bytes = memory_bytes(self.raw)

    @property
    def is_uncertain(self) -> bool:
        """Whether it must not go back to its queue: it may be running, or a part of what must not run twice is done."""
        return self.sending or (self.effected and self.at_most_once)


@attrs.define(eq=False)
class Hand:
    """What one worker has: the `item` that it took last. `scope` is open until somebody cancels a job in it.

    `cancelled`: the item that it was cancelled for.
    """

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    item: Item | None = None
    cancelled: Item | None = None
