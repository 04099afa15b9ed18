"""A job in this process' hands: what Redis lists as ours, how far its delivery got, and which worker has it.

The fetcher makes items, workers fill them, the committer removes them. Always holds: `sending` is set before the first
byte of the effect can leave, and `settlement` before the item reaches the committer, so that at a stop every item shows
by itself what must become of it.
"""

import attrs
import trio

from restbroker.broker.tokens import Proof
from restbroker.job.job import Job, memory_bytes
from restbroker.job.policy import Context
from restbroker.job.settlement import Fingerprint, Settlement
from restbroker.telemetry.events import JobFinished


@attrs.define(eq=False)
class JobInProgress:
    """One job under its ticket. `number` is the ticket's first part; it rises and is never used again by an identity.

    `started_at_s` (epoch seconds) is when a worker took it up; None until then. It is shown, and a life that is
    replaced gives back what no worker took up (`leftovers.give_back`).
    """

    ticket: str
    number: int
    queue: str
    raw: bytes
    size_bytes: int = 0
    """The size of a job that is too large, whose bytes are in Redis alone: `raw` is empty. 0 for every other job."""
    granted_at_s: float = 0.0
    """When it was taken (boot time in seconds), or later paid for a start: the rate limit was charged for it then."""
    started_at_s: float | None = None
    job: Job | None = None
    command: str = ""
    proof: Proof | None = None
    """The token, secret and signature that it was let in by; None until it is let in."""
    admitted: bool = False
    fingerprint: Fingerprint | None = None
    """What is remembered of it once it is done, if it is signed; else None."""
    reply_id: str | int | float | None = None
    recovered: str | None = None
    """The digest under which its runs before a crash are counted; None if there are none."""
    forgotten: bool = False
    """Whether Redis has it again although it was sent or settled before, so that it counts as having run."""
    at_most_once: bool = False
    in_slot: bool = False
    """Whether it has a place in its command's slot, beside the breaker's limit."""
    sending: bool = False
    effected: bool = False
    """Whether a part of it is done and the rest is not; never False again."""
    settlement: Settlement | None = None
    asked: bool = False
    """Whether Redis got its settlement and did not answer: if it is gone by the next time, it was settled then."""
    context: Context | None = None
    status: int | None = None
    """The status of the server's answer, if the job was delivered and only `took_s` is reported of it; else None.

    `took_s` is how many seconds the delivery took.
    """
    took_s: float = 0.0
    event: JobFinished | None = None
    """What is reported of it otherwise; None if nothing is, or not yet."""
    memory_bytes: int = attrs.field(init=False)
    """About how many bytes of memory it takes while it is in progress."""

    def __attrs_post_init__(self) -> None:
        """Estimate its memory once, however often that is read."""
        self.memory_bytes = memory_bytes(self.raw)

    @property
    def is_uncertain(self) -> bool:
        """Whether it must not be requeued: it may be running, or a part of what must not run twice is done."""
        return self.sending or (self.effected and self.at_most_once)


@attrs.define(eq=False)
class Worker:
    """What one worker has: the `item` that it took last. `scope` is open until a person cancels a job in it.

    `cancelled`: the item for which it was cancelled; None: it was not.
    """

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    item: JobInProgress | None = None
    cancelled: JobInProgress | None = None
