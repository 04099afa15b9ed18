"""The events that rooms report. Sinks (`telemetry.log`, the stats of a process) turn them into lines and figures.
`log_events` says what the lines mean, for those who read the log.

Always holds: `report` is synchronous, never blocks and never raises; no event holds a secret or a message's text.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import attrs

from restbroker.light import light


@light
class JobFinished:
    """A try ended, whatever came of it: one line for each. `outcome` is what the target said (`delivered`, `rejected`,
    `deferred`, `uncertain`), or `duplicate`: a signed job was done before, and not sent. `fate`: what became of the job
    (`ack`: done, `retry`, `dead`: parked, `schedule`: put off, `back`: into its queue, `drop`: gone, as it asked).
    """

    target: str
    queue: str
    command: str
    jid: str
    outcome: str
    fate: str
    attempt: int
    duration_s: float
    status: int | None = None
    code: str | None = None
    message: str | None = None
    cure: str | None = None
    note: str | None = None
    admitted: bool = False
    """It was let in: its form, its token and what it asks for were right."""


@light
class JobsDelivered:
    """Jobs of a target that were delivered and settled together, with nothing to tell of any: most jobs of most groups.

    `took_s`: how long each took, by command. `each` makes the event of each job, which costs more than all the rest.
    """

    target: str
    took_s: Mapping[str, Sequence[float]]
    each: Callable[[], Iterable[JobFinished]]


@attrs.frozen
class GateClosed:
    """A target gets no jobs for now; an error where it refuses the broker's login, which needs a person. Each process
    says so for itself: of a group there is a line for each worker.
    """

    target: str
    code: str
    message: str
    cure: str | None = None
    denied: bool = False


@attrs.frozen
class GateOpened:
    """A target gets jobs again."""

    target: str
    closed_for_s: float


@attrs.frozen
class TargetFound:
    """A target told its version: what the server says it is."""

    target: str
    version: str | None
    detail: str


@attrs.frozen
class StoreLost:
    """Redis cannot be used; once per outage, by each process."""

    message: str


@attrs.frozen
class StoreLostOtherwise:
    """An outage of Redis goes on for another reason."""

    message: str
    for_s: float


@attrs.frozen
class StoreBack:
    """Redis can be used again."""

    outage_s: float


@attrs.frozen
class StoreRewrite:
    """This process asked Redis to write its append-only file again."""


@attrs.frozen
class IdentityFenced:
    """This process lost its identity, and goes on with another."""

    identity: str


@attrs.frozen
class JobsRecovered:
    """Jobs of a dead process: most went back to their queues, `maybe_run` may have been sent, `parked` were about to be
    sent under `AtMostOnce`, or are `Poison`, and are in the dead set.
    """

    identity: str
    jobs: int
    maybe_run: int
    parked: int = 0


@attrs.frozen
class JobDied:
    """A job of a dead process was parked, since it must not run again."""

    code: str
    command: str | None
    jid: str
    queue: str
    message: str


@attrs.frozen
class JobsPromoted:
    """Due jobs went from `retry` or `schedule` to their queues; a warning if some were unreadable and are `parked`."""

    zset: str
    jobs: int
    parked: int = 0


@attrs.frozen
class PauseEnded:
    """The time of a pause is over that `who` made of a queue or a target (`kind`): jobs are taken again."""

    kind: str
    name: str
    who: str | None
    why: str | None


@attrs.frozen
class BrokerStarted:
    """Intake is open."""

    pid: int
    version: str
    targets: tuple[str, ...]
    queues: tuple[str, ...]
    concurrency: int


@attrs.frozen
class BrokerStopping:
    """A drain began; what is not done after `timeout_s` seconds is cut off."""

    why: str
    timeout_s: float


@attrs.frozen
class BrokerQuiet:
    """No more jobs are taken until a restart; `why` names the signal."""

    why: str


@attrs.frozen
class BrokerStopped:
    """The end: `pushed_back` jobs went back unsent; of `uncertain` nobody knows whether they have run, since they were
    sent and not answered in time: those that are safe to repeat went back too. A warning where Redis could not
    be told: `left` jobs that were in hand stay so until another process gives them back.
    """

    clean: bool
    pushed_back: int
    uncertain: int
    left: int = 0


@attrs.frozen
class GroupStarted:
    """The supervisor of `--processes` is about to start its workers."""

    pid: int
    version: str
    processes: int


@attrs.frozen
class GroupStopping:
    """All workers of the group are asked to end."""

    why: str


@attrs.frozen
class GroupFailed:
    """The group ends, with `code`, since none of its workers was ever ready."""

    code: int
    message: str
    cure: str


@attrs.frozen
class GroupStopped:
    """No worker of the group lives any more; `code` is what the supervisor ends with (a warning unless 0)."""

    code: int


@attrs.frozen
class ConfigReloaded:
    """A configuration that was loaded while the process runs counts from now on, for these targets."""

    targets: tuple[str, ...]


@attrs.frozen
class ConfigUnchanged:
    """The configuration was loaded again and is the same."""


@attrs.frozen
class ConfigRefused:
    """The configuration was loaded again and cannot be used; the one before stays."""

    message: str
    cure: str | None = None


@attrs.frozen
class Listening:
    """A web app can be reached at these URLs."""

    what: str
    addresses: tuple[str, ...]


@attrs.frozen
class SourceOpened:
    """Events of a source are read from there, for the first time; later times are `RabbitMQBack`, `OpenfireBack`."""

    source: str
    server: str


@light
class EventHandled:
    """A server told of something; `log_events` has the outcomes. `took_s`: until a server that waits was answered."""

    source: str
    outcome: str
    took_s: float | None = None


@attrs.frozen
class Warned:
    """Something an operator should know: its code says what to do."""

    code: str
    message: str
    cure: str | None = None


OneEvent: TypeAlias = (
    JobFinished
    | GateClosed
    | GateOpened
    | TargetFound
    | StoreLost
    | StoreLostOtherwise
    | StoreBack
    | StoreRewrite
    | IdentityFenced
    | JobsRecovered
    | JobDied
    | JobsPromoted
    | PauseEnded
    | BrokerStarted
    | BrokerStopping
    | BrokerQuiet
    | BrokerStopped
    | GroupStarted
    | GroupStopping
    | GroupFailed
    | GroupStopped
    | ConfigReloaded
    | ConfigUnchanged
    | ConfigRefused
    | Listening
    | SourceOpened
    | EventHandled
    | Warned
)
"""What happened once."""
Event: TypeAlias = OneEvent | JobsDelivered
Report: TypeAlias = Callable[[Event], None]
