"""The events that rooms report; sinks (`telemetry.log`, `telemetry.counters`) turn them into lines and numbers.

The `log` of a class is its row in log_events.toml: its line, level and meaning, and the metrics that it moves. Always
holds: `report` is synchronous, never blocks and never raises; no event holds a secret or a message's text.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, Final, TypeAlias

from restbroker.light import field, frozen, frozen_plain
from restbroker.telemetry.log_events import LOG_EVENTS, LogEvent


def _tenths(time_s: float) -> float:
    return round(time_s, 1)


def _seconds(time_s: float) -> int:
    return round(time_s)


def _ms(time_s: float | None) -> float | None:
    return None if time_s is None else round(time_s * 1000, 2)


class OneEvent:
    """Something that happened once."""

    __slots__ = ()
    log: ClassVar[LogEvent]


@frozen_plain
class JobFinished(OneEvent):
    """A try ended: one line for each.

    `outcome` is the target's answer (`delivered`, `rejected`, `deferred`, `uncertain`), `duplicate` (not sent: a
    signed job was done before, or its `idempotency_key` came before), or `expired` (its expiry had passed, or would
    before its next try). `fate` is what happened to the job (`ack`: done, a duplicate, or dropped as it expired;
    `retry`, `dead`, `schedule`: deferred, `back`: requeued, `drop`: gone, as it asked).
    """

    log = LOG_EVENTS["job.done"]
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

    @property
    def duration_ms(self) -> float | None:
        """How long the try took, as the line says it."""
        return _ms(self.duration_s)


@frozen_plain
class JobsDelivered:
    """Jobs of a target that were delivered and settled together, with nothing to report about any of them.

    These are most jobs of most groups. `took_s`: {command: seconds that each job took}. `each` makes the event of each
    job, which costs more than all the rest; it is called at once, or never.
    """

    target: str
    took_s: Mapping[str, Sequence[float]]
    each: Callable[[], Iterable[JobFinished]] = tuple


@frozen
class TargetDown(OneEvent):
    """A target is down; an error if it refuses the broker's login, which needs a person (`denied`).

    Each process logs this itself: a group has a line for each worker.
    """

    log = LOG_EVENTS["target.down"]
    target: str
    code: str
    message: str
    hint: str | None = None
    denied: bool = False


@frozen
class TargetUp(OneEvent):
    """A target is up again."""

    log = LOG_EVENTS["target.up"]
    target: str
    down_for_s: float = field(converter=_tenths)


@frozen
class VersionReported(OneEvent):
    """A target reported its version."""

    log = LOG_EVENTS["target.found"]
    target: str
    version: str | None
    detail: str


@frozen
class StoreLost(OneEvent):
    """Redis is unavailable; once per outage, by each process."""

    log = LOG_EVENTS["redis.lost"]
    message: str


@frozen
class StoreOutageChanged(OneEvent):
    """An outage of Redis lasts, and its reason has changed; it began `for_s` seconds ago."""

    log = LOG_EVENTS["still"]._replace(
        levels=("error",),
        fields="what for_s message hint",
        texts={"what": "redis.lost", **LOG_EVENTS["redis.lost"].texts},
    )
    message: str
    for_s: float = field(converter=_seconds)


@frozen
class StoreBack(OneEvent):
    """Redis is available again."""

    log = LOG_EVENTS["redis.back"]
    outage_s: float = field(converter=_tenths)


@frozen
class StoreRewrite(OneEvent):
    """This process asked Redis to rewrite its append-only file."""

    log = LOG_EVENTS["redis.rewrite"]


@frozen
class IdentityFenced(OneEvent):
    """This process lost its identity, and continues under another."""

    log = LOG_EVENTS["fenced"]
    identity: str


@frozen
class JobsRecovered(OneEvent):
    """Jobs of a dead process were requeued or are dead now.

    Most of the `jobs` were requeued; `maybe_run` of them may have been sent; `dead` were about to be sent under
    `AtMostOnce`, and are in the dead set. `waits_s`: how many seconds each job waits that was in several crashes.
    """

    log = LOG_EVENTS["jobs.recovered"]
    identity: str
    jobs: int
    maybe_run: int
    dead: int = 0
    waits_s: Sequence[float] = ()

    @property
    def waiting(self) -> int:
        """How many wait before they run again."""
        return len(self.waits_s)


@frozen
class JobsClassified(OneEvent):
    """Jobs of a queue's list moved into the lines of their keys; `without_key` of them have no key of their own.

    `took_s`: how long that took; None: they were moved by a fetch.
    """

    log = LOG_EVENTS["jobs.classified"]
    target: str
    queue: str
    without_key: int
    took_s: float | None = None

    @property
    def duration_ms(self) -> float | None:
        """How long that took, as the line says it."""
        return _ms(self.took_s)


@frozen
class JobDied(OneEvent):
    """A job of a dead process died too, since it must not run again."""

    log = LOG_EVENTS["job.failed"]._replace(fields="code command jid queue message fate", texts={"fate": "dead"})
    code: str
    command: str | None
    jid: str
    queue: str
    message: str


@frozen
class JobsPromoted(OneEvent):
    """Due jobs went from `retry` or `schedule` to their queues; a warning if unreadable ones died (`dead`)."""

    log = LOG_EVENTS["jobs.promoted"]
    zset: str
    jobs: int
    dead: int = 0


@frozen
class PauseEnded(OneEvent):
    """A pause by `who` of a queue, a target or a periodic command (`kind`) has ended."""

    log = LOG_EVENTS["pause.ended"]
    kind: str
    name: str
    who: str | None
    why: str | None


@frozen
class PeriodicDue(OneEvent):
    """A periodic command was due `at` this time, and this process dealt with it: `outcome` is that of `store.periodic`.

    `jid`: the job that was pushed. `missed_before`: how many moments before this one no process dealt with.
    `alarming`: no job was pushed, though no person wanted that.
    """

    log = LOG_EVENTS["periodic.due"]
    name: str
    outcome: str
    at: str
    jid: str | None
    missed_before: int | None
    alarming: bool


@frozen
class BrokerStarted(OneEvent):
    """The process takes jobs. `down`: the targets that its breakers have already reported as down."""

    log = LOG_EVENTS["broker.started"]
    pid: int
    version: str
    targets: tuple[str, ...]
    queues: tuple[str, ...]
    concurrency: int
    down: tuple[str, ...] = ()


@frozen
class BrokerStopping(OneEvent):
    """A drain started; jobs that are not done after `timeout_s` seconds are cut off."""

    log = LOG_EVENTS["broker.stopping"]
    why: str
    timeout_s: float


@frozen
class BrokerQuiet(OneEvent):
    """The process takes no more jobs until a restart; `why` names the signal."""

    log = LOG_EVENTS["broker.quiet"]
    why: str


@frozen
class BrokerStopped(OneEvent):
    """The end of the process; a warning if Redis did not accept the results (not `clean`).

    `requeued` jobs returned to their queues unsent; `uncertain` jobs were sent but not answered in time, so they may
    have run; those that are safe to repeat were requeued too. `reserved` jobs stay in progress until another process
    requeues them.
    """

    log = LOG_EVENTS["broker.stopped"]
    clean: bool
    requeued: int
    uncertain: int
    reserved: int = 0

    @property
    def remaining(self) -> int | None:
        """The jobs that are still in progress in Redis, if any may be."""
        return None if self.clean else self.reserved

    @property
    def message(self) -> str | None:
        """What Redis did not accept, if anything."""
        return None if self.clean else self.log.texts["left" if self.reserved else "listed"]

    @property
    def hint(self) -> str | None:
        """What to do about that."""
        return None if self.clean else self.log.texts["left_hint" if self.reserved else "listed_hint"]


@frozen
class GroupStarted(OneEvent):
    """The supervisor of `--processes` is about to start its workers."""

    log = LOG_EVENTS["group.started"]
    pid: int
    version: str
    processes: int


@frozen
class GroupStopping(OneEvent):
    """The supervisor asks all its workers to end."""

    log = LOG_EVENTS["group.stopping"]
    why: str


@frozen
class GroupFailed(OneEvent):
    """The group ends, with `code`, because none of its workers was ever ready."""

    log = LOG_EVENTS["group.failed"]
    code: int
    message: str
    hint: str


@frozen
class GroupStopped(OneEvent):
    """No worker of the group is left; `code` is the supervisor's exit code (a warning unless 0)."""

    log = LOG_EVENTS["group.stopped"]
    code: int


@frozen
class ConfigReloaded(OneEvent):
    """A reloaded configuration is in use from now on, for these targets."""

    log = LOG_EVENTS["config.reloaded"]
    targets: tuple[str, ...]


@frozen
class ConfigUnchanged(OneEvent):
    """The configuration was reloaded and is the same."""

    log = LOG_EVENTS["config.unchanged"]


@frozen
class ConfigRefused(OneEvent):
    """The configuration was reloaded and cannot be used; the previous one stays."""

    log = LOG_EVENTS["config.refused"]
    message: str
    hint: str | None = None


@frozen
class ListenerStarted(OneEvent):
    """A web app listens at these URLs."""

    log = LOG_EVENTS["listening"]
    what: str
    addresses: tuple[str, ...]


@frozen
class SourceOpened(OneEvent):
    """restbroker reads events from this source for the first time; later times are `RabbitMQBack`, `OpenfireBack`."""

    log = LOG_EVENTS["source.opened"]
    source: str
    server: str


@frozen_plain
class EventHandled(OneEvent):
    """A server reported something; log_events.toml has the outcomes.

    `took_s`: seconds until a server that waits was answered.
    """

    log = LOG_EVENTS["event"]
    source: str
    outcome: str
    took_s: float | None = None

    @property
    def duration_ms(self) -> float | None:
        """How long that took, as the line says it."""
        return _ms(self.took_s)


ORDER_STOPPED: Final = "OrderStopped"
"""The code of the warning that a death stopped a key, which has a target."""


@frozen
class OperatorWarning(OneEvent):
    """An operator should know this: its code says what to do."""

    log = LOG_EVENTS["warning"]
    code: str
    message: str
    hint: str | None = None
    target: str | None = None


Event: TypeAlias = OneEvent | JobsDelivered
Report: TypeAlias = Callable[[Event], None]


def report_bug(report: Report, bug: Exception) -> None:
    """Warn of what was raised behind an answer, where nothing may be."""
    report(bug_warning(bug, "behind an answer; its job may lack an end until the restart"))


def bug_warning(bug: Exception, when: str) -> OperatorWarning:
    """Return the warning of what was raised, and `when`; its text, which may hold a secret, is left out."""
    return OperatorWarning("Bug", f"restbroker failed with {type(bug).__name__} {when}.", "Please report this.")
