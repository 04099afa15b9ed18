"""The arguments of a settlement besides job and outcome: the operator's choices, and facts about one job."""

from restbroker.job.backoff import Backoff
from restbroker.job.format import ResponseQueue
from restbroker.light import frozen, frozen_plain


@frozen
class Policy:
    """The operator's choices. `reply_queue` None: there is no response queue.

    `reply_details`: replies carry a third element with status and error, and dead jobs are answered too.
    `keeps_expired`: jobs that expired go to the dead set, and are not dropped.
    `uncertain_retries`: how often a command that is not repeat-safe is sent again after it was sent and not answered.
    """

    backoff: Backoff
    reply_queue: str | None = None
    reply_details: bool = False
    reply_class: str = "Add"
    uncertain_retries: int = 2
    keeps_expired: bool = False

    @property
    def responses(self) -> ResponseQueue | None:
        """The queue that reply jobs of dead jobs go to; None if no queue is named or no details are sent."""
        if self.reply_queue is None or not self.reply_details:
            return None
        return ResponseQueue(self.reply_queue, self.reply_class)


@frozen_plain
class Context:
    """Facts about one settlement. `now_s` is in epoch seconds, `jitter` random in [0, 1).

    `unique`: a number of microseconds that is added to times, so that equal jobs that fail at once stay different.

    `reply_jid` is the same each time the same ticket is settled; only a job with a `reply_id` needs one. `duration_s`
    is the delivery's. `queues` are those of the job's target: a `retry_queue` counts only if it is among them.
    `unadmitted_in` is the job's queue if its dead jobs are counted by themselves (`store.unadmitted`), else "".
    """

    policy: Policy
    now_s: float
    jitter: float
    unique: int
    reply_jid: str
    duration_s: float = 0.0
    command: str = ""
    reply_id: str | int | float | None = None
    at_most_once: bool = False
    queues: tuple[str, ...] = ()
    unadmitted_in: str = ""
