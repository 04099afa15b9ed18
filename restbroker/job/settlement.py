"""The settlements: what the store is to do with a job in progress, such as `Ack`, `Retry` and `Dead`.

Made by `job.settle`, executed by `store.settling`; for jobs of a dead process by `store.heartbeats`. Always holds:
exactly one settlement per ticket, and it is idempotent in the store. `claims` of each: what becomes of the job's, and
what is recorded of its signature.
"""

from typing import Literal, TypeAlias

from restbroker.job.format import ResponseQueue
from restbroker.light import field, frozen, frozen_plain


@frozen_plain
class Reply:
    """One answer to push, atomically with the settlement. `payload` is the bytes to push.

    Either a complete Sidekiq job for `queue` (then the queue's name is added to the set of queues), or the detailed
    answer for the list `key`, which expires after `ttl_s` seconds. Exactly one of `queue`, `key` is set; both are names
    without a namespace.
    """

    payload: bytes
    queue: str | None = None
    key: str | None = None
    ttl_s: int = 0


@frozen
class OrphanedJob:
    """A job that a dead identity had in progress.

    `responses` and `queues` are those of its target, as the identity wrote them down at its start.
    """

    identity: str
    ticket: str
    queue: str
    raw: bytes
    responses: ResponseQueue | None = None
    queues: tuple[str, ...] = ()


@frozen_plain
class Fingerprint:
    """What is recorded of a signed job for `keep_s` seconds: that it is done, so that a copy of it is not run.

    `token` names its token (`signing.token_digest`), `text` its signature (`signing.fingerprint`), `queue` the one from
    which it was admitted first. `is_stored`: a mark of acceptance was stored in Redis with the job. `is_done` False: no
    more than that is recorded.
    """

    token: str
    queue: str
    text: str
    keep_s: float
    is_stored: bool = False
    is_done: bool = True


@frozen_plain
class ClaimChange:
    """What becomes of a lock or a claim (`job.claims`) of this kind and name, if it has one of the values in `was`.

    It gets the value `becomes`, and lasts `keep_s` seconds from then on, or longer if it did anyway; "": it is gone.
    `later_s`: in how many seconds the moment is that stands behind the value (`parts/moments.lua`); None: none does.
    """

    kind: Literal["unique", "once"]
    name: str
    was: tuple[str, ...]
    becomes: str = ""
    keep_s: float = 0.0
    later_s: float | None = None


Change: TypeAlias = ClaimChange | Fingerprint


@frozen_plain
class Ack:
    """Done: counted as processed. `effect`: as of `Dead`; what expired opens no key that its own death stopped."""

    replies: tuple[Reply, ...] = ()
    claims: tuple[Change, ...] = ()
    effect: Literal["", "refused"] = ""
    is_plain: bool = field(init=False, eq=False, repr=False)
    """Whether there is nothing else to write, as mostly."""

    @is_plain.default
    def _has_no_more(self) -> bool:
        return not (self.replies or self.claims or self.effect)


@frozen
class Retry:
    """To the retry set, due `delay_s` seconds after Redis settles it: counted as processed and failed.

    A job that was handed out under a key goes back before its key's line instead, as with `Schedule`.
    """

    delay_s: float
    payload: bytes
    replies: tuple[Reply, ...] = ()
    claims: tuple[Change, ...] = ()


@frozen
class Dead:
    """To the dead set, with the present time `at_s` (epoch seconds): counted as processed and failed.

    `large`: the name of the job's own bytes, which the store alone has and keeps under `format.large_key`; "": they are
    in the payload. `effect`: what becomes of its key, if it has one (`job.order`); "refused": it was not let in, which
    stops no key; "": the next one may start. `unadmitted_in`: its queue, if it is counted by itself
    (`store.unadmitted`), else "".
    """

    at_s: float
    payload: bytes
    replies: tuple[Reply, ...] = ()
    large: str = ""
    unadmitted_in: str = ""
    claims: tuple[Change, ...] = ()
    effect: Literal["", "stop", "refused"] = ""


@frozen
class Drop:
    """Gone because the job itself says `"dead": false`: counted as processed and failed. `effect`: as of `Dead`."""

    replies: tuple[Reply, ...] = ()
    claims: tuple[Change, ...] = ()
    effect: Literal["", "refused"] = ""


@frozen
class Schedule:
    """To the schedule set, due `delay_s` seconds after Redis settles it: not a try, not counted."""

    delay_s: float
    payload: bytes
    claims: tuple[Change, ...] = ()


@frozen
class Requeue:
    """Back to the end of its queue from which jobs are taken first: not a try, not counted.

    `payload` replaces the job's bytes, where more is known of the job by now; empty: it goes back as it came.
    """

    payload: bytes = b""
    claims: tuple[Change, ...] = ()


Settlement: TypeAlias = Ack | Retry | Dead | Drop | Schedule | Requeue


def is_unchanged_requeue(settlement: Settlement | None) -> bool:
    """Tell whether the settlement puts the very bytes that came back into their queue."""
    return isinstance(settlement, Requeue) and not settlement.payload
