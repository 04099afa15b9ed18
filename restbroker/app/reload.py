"""Loads the configuration again while the process runs, and reports the changes. Every process has one `Reload`.

Always holds: a configuration that cannot be used changes nothing, and reaches no worker; a change of other keys than
the targets' takes effect without disturbing them; a change that needs a restart is reported and not made; where the
targets stay the same, they read their secret files again; once restbroker's files were replaced, nothing more is loaded
of them, since another version's would not fit.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import attrs
import trio

from restbroker.config.core import Config, LoadedConfig
from restbroker.config.values import duration_text
from restbroker.errors import ConfigError, StoreRefused
from restbroker.light import define, field
from restbroker.operate.connect import store_settings
from restbroker.telemetry.events import ConfigRefused, ConfigReloaded, ConfigUnchanged, OperatorWarning, Report
from restbroker.telemetry.log import LogSink

if TYPE_CHECKING:  # 7 MB that deliver jobs, which a supervisor does not
    from restbroker.broker.plan import BrokerPlan
    from restbroker.broker.target_plan import TargetPlan

AT_START: Final[Mapping[str, str]] = {
    "stats": "Stats",
    "stats_bind": "StatsBind",
    "stats_port": "StatsPort",
    "stats_login": "StatsUser or StatsPass",
    "metrics_token": "MetricsToken",
    "stats_hosts": "StatsHosts",
    "stats_prefix": "StatsPrefix",
    "stats_read_only": "StatsReadOnly",
    "health_bind": "HealthBind",
    "roster": "Roster",
    "events": "Events",
    "tell": "Tell",
    "processes": "Processes",
}
"""The fields of a configuration that only a restart changes, each with its key."""
_BESIDE: Final = ("log_level", *AT_START)
"""The fields that do not concern the targets."""
_LOAD_S = 10.0


def installed() -> tuple[int, int] | None:
    """Return what differs once an upgrade has replaced restbroker's files; None if they are gone, or no files."""
    try:
        found = Path(__file__).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


class ReloadObserver(Protocol):
    """Something that must know when a reload begins and when it is over."""

    def reload_began(self) -> None:
        """Note that a reload begins."""

    def reload_ended(self) -> None:
        """Note that the reload is over, successful or not."""


@define(eq=False)
class Reload:
    """The reload of one process. `config` is what counts now. `load` may block, and raises `ConfigError`.

    `plan` makes a broker of a configuration, and raises `ConfigError` or `StoreRefused`; `targets` are those that count
    now. None: the process delivers nothing. `reload_workers` has a supervisor's workers do so: these report what
    changed, and the supervisor (`warns`) what matters in it.
    """

    config: Config
    load: Callable[[], LoadedConfig]
    log: LogSink
    report: Report
    plan: "Callable[[Config], Awaitable[BrokerPlan]] | None" = None
    targets: "Sequence[TargetPlan]" = ()
    observers: Sequence[ReloadObserver] = ()
    warns: bool = True
    reload_workers: Callable[[], Awaitable[None]] | None = None
    _started: Config = field(init=False, default=attrs.Factory(lambda self: self.config, takes_self=True))
    """The configuration of the start, whose events are taken in."""
    late: Sequence[str] = ()
    """The keys that have changed since the start and take effect only after a restart."""
    _installed: tuple[int, int] | None = field(factory=installed)
    _limiter: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1))
    _hindrance: OperatorWarning | None = None

    async def reload(self) -> "BrokerPlan | None":
        """Load the configuration; return the plan that takes over, or None if the targets stay as they are."""
        for observer in self.observers:
            observer.reload_began()
        try:
            result = await self._take(await self._read())
            if self.reload_workers is not None:
                await self.reload_workers()
            return result
        except (ConfigError, StoreRefused) as error:
            self.report(ConfigRefused(error.message, error.hint))
            return None
        finally:
            for observer in self.observers:
                observer.reload_ended()

    async def may_start(self) -> bool:
        """Tell whether a worker can be started with the configuration; a reason why not is reported once.

        A worker of another version is started without asking: it reads the configuration itself.
        """
        if self._is_replaced:
            return True
        hindrance = None
        try:
            _require_queues(self._started, (await self._read()).config)
        except ConfigError as error:
            message = f"A worker cannot be restarted until the configuration is valid. {error.message}"
            hindrance = OperatorWarning("StartRefused", message, error.hint)
            if hindrance != self._hindrance:
                self.report(hindrance)
        self._hindrance = hindrance
        return hindrance is None

    @property
    def _is_replaced(self) -> bool:
        return installed() != self._installed

    async def _read(self) -> LoadedConfig:
        """Return what `load` returns, run in a thread. Raise `ConfigError` if the configuration cannot be used.

        A slow disk must not hold up the heartbeats. When cancelled, or after 10 s, it leaves a `load` that hangs
        behind; the limiter is for this alone, so that such threads do not pile up, nor take the places of others.
        """
        if self._is_replaced:
            raise ConfigError(
                "restbroker's files were replaced since this process started, so that it cannot load a configuration "
                "any more. It goes on with the one it has.",
                "Restart restbroker. No job is lost.",
            )
        with trio.move_on_after(_LOAD_S):
            return await trio.to_thread.run_sync(self.load, abandon_on_cancel=True, limiter=self._limiter)
        raise ConfigError(
            f"The configuration could not be read within {duration_text(_LOAD_S)}: its file, or one that it names, does"
            " not answer.",
            "Check the file system of these files (a mount that hangs?), then send SIGHUP again.",
        )

    async def _take(self, loaded: LoadedConfig) -> "BrokerPlan | None":
        old, new = self.config, loaded.config
        require_reloadable(self._started, old, new)
        result = await self._replan(new)
        self.config, self.late = new, late_keys(self._started, new)
        self.log.set_level(new.log_level)
        if self.reload_workers is None:
            is_same = new == old
            self.report(ConfigUnchanged() if is_same else ConfigReloaded(tuple(target.name for target in new.targets)))
        if self.warns and new != old:
            for warned in warnings_of(self._started, loaded):
                self.report(warned)
        return result

    async def _replan(self, new: Config) -> "BrokerPlan | None":
        """Return the plan that takes over, or None if the targets stay as they are and read their files again."""
        if self.plan is None:
            return None
        if attrs.evolve(new, **{name: getattr(self.config, name) for name in _BESIDE}) == self.config:
            for target in self.targets:
                target.tokens.reread()
            return None
        plan = await self.plan(new)
        self.targets = plan.targets
        return plan


def require_reloadable(started: Config, old: Config, new: Config) -> None:
    """Raise `ConfigError` if a process that uses `old` cannot use `new` until it is started again."""
    if store_settings(new) != store_settings(old):
        raise ConfigError(
            "The configuration names another Redis (its address, database, namespace, login or sentinels), which a "
            "process cannot change while it runs. The new configuration is not used.",
            "Restart restbroker. Jobs stay in the Redis that it used before.",
        )
    _require_queues(started, new)


def takes_effect(place: str) -> str:
    """Return when a change at this place in the file, such as `Events.Listen`, takes effect."""
    key = place.partition(".")[0].removesuffix("File")
    if key.startswith("Redis"):
        return "after a restart; until then a reload refuses the whole file"
    return "after a restart" if any(key in keys.split(" or ") for keys in AT_START.values()) else "at a reload"


def _require_queues(started: Config, new: Config) -> None:
    """Raise `ConfigError` if another target, or one of another kind, would get the jobs of events that are commands.

    They are made by the configuration of the start: so, too, if their token counts no more.
    """
    known = {(target.name, target.kind) for target in started.targets}
    for place, _, route in () if started.events is None else started.events.handovers:
        owner = next((target for target in new.targets if route.queue in target.queues), None)
        if owner is not None and (owner.name != route.handover.target or (owner.name, owner.kind) not in known):
            raise ConfigError(
                f"{place}: its events are jobs in the queue {route.queue!r}, which would be the target {owner.name}'s "
                f"(of kind {owner.kind}). The new configuration is not used.",
                "Restart restbroker when no such job waits any more, or give the target another queue.",
            )
    from restbroker.operate.handovers import CommandJobs  # slow to load

    for token in CommandJobs(started).tokens:
        if not any(other.name == token.name and token.secrets[0] in other.secrets for other in new.tokens):
            raise ConfigError(
                f"Events become jobs with the token {token.name or 'Token'} of the start, which would not count any "
                "more. The new configuration is not used.",
                "Restart restbroker, or let its old secret count until then (PreviousSecret).",
            )


def late_keys(started: Config, new: Config) -> list[str]:
    """Return the keys of which a process that was started so takes those of `new` only after a restart."""
    return [key for name, key in AT_START.items() if getattr(new, name) != getattr(started, name)]


def warnings_of(started: Config, new: LoadedConfig) -> Iterator[OperatorWarning]:
    """Yield warnings about a configuration that counts from now on: its notes, and what needs a restart."""
    for note in new.notes:
        yield OperatorWarning(note.code, note.message, note.hint)
    if late := late_keys(started, new.config):
        message = f"{', '.join(late)}: the change takes effect after a restart."
        yield OperatorWarning("NeedsRestart", message, "Restart restbroker when convenient.")
