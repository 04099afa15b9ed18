"""The events that rooms report; sinks (`telemetry.log`, the stats of a process) turn them into lines and numbers.

`log_events` says what the lines mean, for those who read the log. Always holds: `report` is synchronous, never blocks
and never raises; no event holds a secret or a message's text.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from restbroker.light import light


@light
class JobFinished:
    """A try ended: one line for each.

    `outcome` is the target's answer (`delivered`, `rejected`, `deferred`, `uncertain`), `duplicate` (not sent: a
    signed job was done before, or its `idempotency_key` came before), or `expired` (its expiry had passed, or would
    before its next try). `fate` is what happened to the job (`ack`: done, a duplicate, or dropped as it expired;
    `retry`, `dead`, `schedule`: deferred, `back`: requeued, `drop`: gone, as it asked).
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
    hint: str | None = None
    note: str | None = None
    admitted: bool = False
    """Whether the job was let in: its form, its token and what it asks for were right."""


@light
class JobsDelivered:
    """Jobs of a target that were delivered and settled together, with nothing to report about any of them.

    These are most jobs of most groups. `took_s`: {command: seconds that each job took}. `each` makes the event of each
    job, which costs more than all the rest.
    """

    target: str
    took_s: Mapping[str, Sequence[float]]
    each: Callable[[], Iterable[JobFinished]]


@attrs.frozen
class TargetDown:
    """A target is down; an error if it refuses the broker's login, which needs a person (`denied`).

    Each process logs this itself: a group has a line for each worker.
    """

    target: str
    code: str
    message: str
    hint: str | None = None
    denied: bool = False


@attrs.frozen
class TargetUp:
    """A target is up again."""

    target: str
    down_for_s: float


@attrs.frozen
class VersionReported:
    """A target reported its version."""

    target: str
    version: str | None
    detail: str


@attrs.frozen
class StoreLost:
    """Redis is unavailable; once per outage, by each process."""

    message: str


@attrs.frozen
class StoreOutageChanged:
    """An outage of Redis lasts, and its reason has changed; it began `for_s` seconds ago."""

    message: str
    for_s: float


@attrs.frozen
class StoreBack:
    """Redis is available again."""

    outage_s: float


@attrs.frozen
class StoreRewrite:
    """This process asked Redis to rewrite its append-only file."""


@attrs.frozen
class IdentityFenced:
    """This process lost its identity, and continues under another."""

    identity: str


@attrs.frozen
class JobsRecovered:
    """Jobs of a dead process were requeued or are dead now.

    Most of the `jobs` were requeued; `maybe_run` of them may have been sent; `dead` were about to be sent under
    `AtMostOnce`, or are `Poison`, and are in the dead set.
    """

    identity: str
    jobs: int
    maybe_run: int
    dead: int = 0


@attrs.frozen
class JobsClassified:
    """Jobs of a queue's list moved into the lines of their keys; `without_key` of them have no key of their own.

    `took_s`: how long that took; None: they were moved by a fetch.
    """

    target: str
    queue: str
    without_key: int
    took_s: float | None = None


@attrs.frozen
class JobDied:
    """A job of a dead process died too, since it must not run again."""

    code: str
    command: str | None
    jid: str
    queue: str
    message: str


@attrs.frozen
class JobsPromoted:
    """Due jobs went from `retry` or `schedule` to their queues; a warning if unreadable ones died (`dead`)."""

    zset: str
    jobs: int
    dead: int = 0


@attrs.frozen
class PauseEnded:
    """A pause by `who` of a queue, a target or a periodic command (`kind`) has ended."""

    kind: str
    name: str
    who: str | None
    why: str | None


@attrs.frozen
class PeriodicDue:
    """A periodic command was due `at` this time, and this process dealt with it: `outcome` is that of `store.periodic`.

    `jid`: the job that was pushed. `missed_before`: how many moments before this one no process dealt with.
    `alarming`: no job was pushed, though no person wanted that.
    """

    name: str
    outcome: str
    at: str
    jid: str | None
    missed_before: int | None
    alarming: bool


@attrs.frozen
class BrokerStarted:
    """The process takes jobs. `down`: the targets that its breakers have already reported as down."""

    pid: int
    version: str
    targets: tuple[str, ...]
    queues: tuple[str, ...]
    concurrency: int
    down: tuple[str, ...] = ()


@attrs.frozen
class BrokerStopping:
    """A drain started; jobs that are not done after `timeout_s` seconds are cut off."""

    why: str
    timeout_s: float


@attrs.frozen
class BrokerQuiet:
    """The process takes no more jobs until a restart; `why` names the signal."""

    why: str


@attrs.frozen
class BrokerStopped:
    """The end of the process; a warning if Redis did not accept the results (not `clean`).

    `requeued` jobs returned to their queues unsent; `uncertain` jobs were sent but not answered in time, so they may
    have run; those that are safe to repeat were requeued too. `remaining` jobs stay in progress until another process
    requeues them.
    """

    clean: bool
    requeued: int
    uncertain: int
    remaining: int = 0


@attrs.frozen
class GroupStarted:
    """The supervisor of `--processes` is about to start its workers."""

    pid: int
    version: str
    processes: int


@attrs.frozen
class GroupStopping:
    """The supervisor asks all its workers to end."""

    why: str


@attrs.frozen
class GroupFailed:
    """The group ends, with `code`, because none of its workers was ever ready."""

    code: int
    message: str
    hint: str


@attrs.frozen
class GroupStopped:
    """No worker of the group is left; `code` is the supervisor's exit code (a warning unless 0)."""

    code: int


@attrs.frozen
class ConfigReloaded:
    """A reloaded configuration is in use from now on, for these targets."""

    targets: tuple[str, ...]


@attrs.frozen
class ConfigUnchanged:
    """The configuration was reloaded and is the same."""


@attrs.frozen
class ConfigRefused:
    """The configuration was reloaded and cannot be used; the previous one stays."""

    message: str
    hint: str | None = None


@attrs.frozen
class ListenerStarted:
    """A web app listens at these URLs."""

    what: str
    addresses: tuple[str, ...]


@attrs.frozen
class SourceOpened:
    """restbroker reads events from this source for the first time; later times are `RabbitMQBack`, `OpenfireBack`."""

    source: str
    server: str


@light
class EventHandled:
    """A server reported something; `log_events` has the outcomes.

    `took_s`: seconds until a server that waits was answered.
    """

    source: str
    outcome: str
    took_s: float | None = None


ORDER_STOPPED: Final = "OrderStopped"
"""The code of the warning that a death stopped a key, which has a target."""


@attrs.frozen
class OperatorWarning:
    """An operator should know this: its code says what to do."""

    code: str
    message: str
    hint: str | None = None
    target: str | None = None


OneEvent: TypeAlias = (
    JobFinished
    | TargetDown
    | TargetUp
    | VersionReported
    | StoreLost
    | StoreOutageChanged
    | StoreBack
    | StoreRewrite
    | IdentityFenced
    | JobsRecovered
    | JobDied
    | JobsClassified
    | JobsPromoted
    | PauseEnded
    | PeriodicDue
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
    | ListenerStarted
    | SourceOpened
    | EventHandled
    | OperatorWarning
)
"""Something that happened once."""
Event: TypeAlias = OneEvent | JobsDelivered
Report: TypeAlias = Callable[[Event], None]
