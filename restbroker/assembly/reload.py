"""Loads the configuration anew while the process runs, and says what of it counts from when. The broker calls `reload`.

Always holds: what cannot be used changes nothing; what is not about the lanes counts without disturbing them; what
needs a restart is said, never half done; where the lanes stay, they read their secret files anew.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs
import trio

from restbroker.admin.connect import store_settings
from restbroker.assembly.sdnotify import Notifier
from restbroker.broker.lane import LanePlan
from restbroker.broker.plan import BrokerPlan
from restbroker.config.core import Config, Loaded
from restbroker.errors import ConfigError
from restbroker.telemetry.events import ConfigRefused, ConfigReloaded, ConfigUnchanged, Report, Warned

_AT_START: Final[Mapping[str, str]] = {
    "stats": "Stats",
    "stats_bind": "StatsBind",
    "stats_port": "StatsPort",
    "health_bind": "HealthBind",
}
"""What is bound to the start of the process, each with its key."""
_BESIDE = ("log_level", "show_bodies", *_AT_START)
"""What does not concern the lanes."""
_LOAD_S = 10.0
_TOO_SLOW = ConfigRefused(
    f"The configuration could not be read within {_LOAD_S:g} s: its file, or one that it names, does not answer.",
    "Check the file system that the files are on (a mount that hangs?), then send SIGHUP again.",
)
_OTHER_REDIS = ConfigRefused(
    "The configuration names another Redis (its address, database, namespace, login or sentinels), which a process"
    " cannot change while it runs. Nothing of the new configuration counts yet.",
    "Restart restbroker; its jobs stay in the Redis that it leaves.",
)


@attrs.define(eq=False)
class Reloader:
    """One per process. `config` is what counts now. `load` may block, and raises `ConfigError`.

    `plan` makes the lanes of a configuration and raises `ConfigError`; `apply` does what counts at once.
    `lanes` are those that count now.
    """

    config: Config
    load: Callable[[], Loaded]
    plan: Callable[[Config], BrokerPlan]
    apply: Callable[[Config], None]
    report: Report
    supervisors: Sequence[Notifier] = ()
    lanes: Sequence[LanePlan] = ()
    # Of its own: threads that hang must not pile up, nor take the places of others.
    _turn: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))

    async def reload(self) -> BrokerPlan | None:
        """What is to take over; None if the lanes stay as they are. Cancelled, it leaves a `load` that hangs behind."""
        for supervisor in self.supervisors:
            supervisor.reloading()
        try:
            with trio.move_on_after(_LOAD_S):
                # In a thread: a slow disk must not hold the beats up.
                loaded = await trio.to_thread.run_sync(self.load, abandon_on_cancel=True, limiter=self._turn)
                return self._take(loaded)
            self.report(_TOO_SLOW)
            return None
        except ConfigError as error:
            self.report(ConfigRefused(error.message, error.cure))
            return None
        finally:
            for supervisor in self.supervisors:
                supervisor.reloaded()

    def _take(self, loaded: Loaded) -> BrokerPlan | None:
        old, new = self.config, loaded.config
        if new == old:
            self._reread()
            self.report(ConfigUnchanged())
            return None
        if store_settings(new) != store_settings(old):
            self.report(_OTHER_REDIS)
            return None
        same_lanes = attrs.evolve(new, **{name: getattr(old, name) for name in _BESIDE}) == old
        plan = None if same_lanes else self.plan(new)
        self.config = new
        if plan is None:
            self._reread()
        else:
            self.lanes = plan.lanes
        self.apply(new)
        self.report(ConfigReloaded(tuple(target.name for target in new.targets)))
        for note in loaded.notes:
            self.report(Warned(note.code, note.message, note.cure))
        late = [key for name, key in _AT_START.items() if getattr(new, name) != getattr(old, name)]
        if late:
            message = f"{', '.join(late)}: the change does not count before a restart."
            self.report(Warned("NeedsRestart", message, "Restart restbroker, when it suits."))
        return plan

    def _reread(self) -> None:
        for lane in self.lanes:
            lane.tokens.reread()
