"""The six outcomes of a delivery, the ends of a job that expired or is a duplicate, and the result of a probe.

Connectors return an outcome; `job.settle` turns it into a settlement. Always holds: a `Reason.code` is stable (it
becomes `error_class` in Sidekiq's sets) and a `Reason.message` holds no secret.
"""

from typing import Literal, TypeAlias

from restbroker.job.json_types import Json
from restbroker.job.reason import Reason
from restbroker.light import frozen, frozen_plain

__all__ = [
    "Deferred",
    "Delivered",
    "Denied",
    "Duplicate",
    "Expired",
    "Outcome",
    "Probe",
    "Reason",
    "Rejected",
    "Uncertain",
    "Unsent",
]

Ran: TypeAlias = Literal["no", "unlikely", "maybe"]
"""Whether a command ran that was answered with "not now". "no": the server's own words, or more, prove that it did not.

"unlikely": it counts as not run, though the answer is no proof: a gateway may have passed the command on before it gave
it. "maybe": the server itself failed, and may have done some of it.
"""


@frozen_plain
class Delivered:
    """The server did it. `text` is the answer's text as sent, `body` the same parsed (None if it is not JSON).

    `negative`: the server answered "no" to a question (ejabberd's `check_account` with 1). `note`: how it was done,
    where that is not plain ("already done", "answer truncated", "answer not parsed"). `by_us`: nothing was sent to the
    server, so that nothing follows about its health.
    """

    text: str
    body: Json
    status: int
    negative: bool = False
    note: str | None = None
    by_us: bool = False


@frozen
class Rejected:
    """The server refused it and repeating cannot cure it: the job dies.

    `text` is the server's answer, if there was one.
    """

    reason: Reason
    text: str | None = None


@frozen
class Deferred:
    """Not now. `counts`: it uses up a try. `retry_after_s`: the wait in seconds that the server wants.

    `max_attempts` bounds the tries below what the job allows (ejabberd's 500 "internal_error": 3). `pause_target`: the
    whole target is unhealthy (starting, stopping, overloaded), not this command. `of_job`: the target is well and
    answered as it should; for example, a third party behind it cannot be reached. `ran`: unless it is "no", a command
    that must run at most once is not sent again.
    """

    reason: Reason
    retry_after_s: float | None = None
    counts: bool = True
    max_attempts: int | None = None
    pause_target: bool = False
    text: str | None = None
    of_job: bool = False
    ran: Ran = "no"


@frozen
class Uncertain:
    """Sent and not answered by the server: it may or may not have run. `pause_target`: the target was unhealthy then.

    `by_gateway`: what answered may stand in front of the server. `is_final`: it is not to be sent again, even if it is
    safe to repeat.
    """

    reason: Reason
    pause_target: bool = False
    by_gateway: bool = False
    is_final: bool = False


@frozen
class Unsent:
    """Nothing was sent. The worker keeps the job until the breaker admits jobs again; no try is used up."""

    reason: Reason


@frozen
class Denied:
    """401, or a 403 that may concern the broker itself. The connector's probe decides.

    `ran` as of `Deferred`: "unlikely" of a page or a redirect, which a gateway may give for a server that died.
    """

    reason: Reason
    text: str | None = None
    ran: Ran = "no"


@frozen
class Expired:
    """Its expiry passed before it could be sent, or would pass before its next try: no connector returns it.

    `reason` says which, with the last error; `text` is the server's last answer, if there was one. `maybe_run`: the
    last try may have run.
    """

    reason: Reason
    text: str | None = None
    maybe_run: bool = False


@frozen
class Duplicate:
    """Another job has its idempotency key, or the same one that was pushed twice: no connector returns it.

    `jid` is that of the job that has it. `first`: its id, as it may be shown, with its outcome, status and note, if it
    is done; () otherwise.
    """

    reason: Reason
    jid: str
    first: tuple[Json, ...] = ()


Outcome: TypeAlias = Delivered | Rejected | Deferred | Uncertain | Unsent | Denied


@frozen
class Probe:
    """The result of a harmless request to the target. `ok`: it works for us; `denied`: it works, but refuses us.

    `version` is the server's version text if it says one; `detail` is the result in words, `hint` what to do
    where it does not work.
    """

    ok: bool
    denied: bool
    version: str | None
    detail: str
    hint: str | None = None
