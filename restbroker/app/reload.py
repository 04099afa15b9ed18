"""Loads the configuration again while the process runs, and reports the changes. The broker calls `reload`.

Always holds: a configuration that cannot be used changes nothing; a change of other keys than the targets' takes effect
without disturbing them; a change that needs a restart is reported and not made; where the targets stay the same, they
read their secret files again.
"""

from collections.abc import Callable, Sequence

import attrs
import trio

from restbroker.app.reload_config import AT_START, OTHER_REDIS, ReloadObserver, read, warnings_of
from restbroker.broker.plan import BrokerPlan
from restbroker.broker.target_plan import TargetPlan
from restbroker.config.core import Config, LoadedConfig
from restbroker.errors import ConfigError
from restbroker.operate.connect import store_settings
from restbroker.telemetry.events import ConfigRefused, ConfigReloaded, ConfigUnchanged, Report

_BESIDE = ("log_level", *AT_START)
"""The fields that do not concern the targets."""


@attrs.define(eq=False)
class Reloader:
    """The reload of one process. `config` is what counts now. `load` may block, and raises `ConfigError`.

    Unless it is `alone`, its supervisor warns of what matters in a new configuration. `plan` makes the targets of a
    configuration and raises `ConfigError`; `apply` does what counts at once. `targets` are those that count now.
    """

    config: Config
    load: Callable[[], LoadedConfig]
    plan: Callable[[Config], BrokerPlan]
    apply: Callable[[Config], None]
    report: Report
    supervisors: Sequence[ReloadObserver] = ()
    targets: Sequence[TargetPlan] = ()
    alone: bool = True
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))

    async def reload(self) -> BrokerPlan | None:
        """Load the configuration; return the plan that takes over, or None if the targets stay as they are."""
        for supervisor in self.supervisors:
            supervisor.reload_began()
        try:
            loaded = await read(self.load, self._limiter)
            if isinstance(loaded, LoadedConfig):
                return self._take(loaded)
            self.report(loaded)
            return None
        except ConfigError as error:
            self.report(ConfigRefused(error.message, error.hint))
            return None
        finally:
            for supervisor in self.supervisors:
                supervisor.reload_ended()

    def _take(self, loaded: LoadedConfig) -> BrokerPlan | None:
        old, new = self.config, loaded.config
        if new == old:
            self._reread()
            self.report(ConfigUnchanged())
            return None
        if store_settings(new) != store_settings(old):
            self.report(OTHER_REDIS)
            return None
        same_lanes = attrs.evolve(new, **{name: getattr(old, name) for name in _BESIDE}) == old
        plan = None if same_lanes else self.plan(new)
        self.config = new
        if plan is None:
            self._reread()
        else:
            self.targets = plan.targets
        self.apply(new)
        self.report(ConfigReloaded(tuple(target.name for target in new.targets)))
        if self.alone:
            for warned in warnings_of(old, loaded):
                self.report(warned)
        return plan

    def _reread(self) -> None:
        for one in self.targets:
            one.tokens.reread()
