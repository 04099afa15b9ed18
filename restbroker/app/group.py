"""Runs a supervisor and its workers, for a configuration with more than one process. `cli.run` calls `run`.

Always holds: the supervisor serves the pages, takes in events and speaks to systemd for all of them, the workers for
none; a changed configuration is checked here first, so that one that cannot be used is reported once and reaches no
worker, neither one that runs nor one that is about to be started again.
"""

import os
from collections.abc import Callable, Sequence

import attrs
import trio

from restbroker import __version__
from restbroker.app.events import local_event_services
from restbroker.app.reload_config import ReloadObserver, read, warnings_of
from restbroker.app.roster_service import RosterService, is_served_with_brokers, local_roster_service, merge_samples
from restbroker.app.sdnotify import notifiers
from restbroker.app.services import ProcessView, site_services, web_services
from restbroker.app.summaries import Summaries
from restbroker.broker.group.supervisor import Supervisor
from restbroker.broker.service import Service
from restbroker.config.core import Config, LoadedConfig
from restbroker.telemetry.counters import Counters
from restbroker.telemetry.events import Event, GroupStarted, GroupStopped, OperatorWarning
from restbroker.telemetry.log import LogSettings, LogSink
from restbroker.telemetry.metrics import Samples


def run(config: Config, load: Callable[[], LoadedConfig], command: Sequence[str], *, json_logs: bool = False) -> int:
    """Serve until the group gets a signal to stop, and return the exit code: the worst of all, or 0.

    `load` returns the current configuration; `command` plus a worker's number starts a worker.
    """
    return trio.run(_main, config, load, command, LogSettings(level=config.log_level, json=json_logs))


async def _main(config: Config, load: Callable[[], LoadedConfig], command: Sequence[str], logged: LogSettings) -> int:
    log = LogSink(logged)
    supervisor = Supervisor(command, config.processes, log)
    # Not `is_alive`: a group that has no worker tries to start one, and systemd could do no more than end that.
    systemd = notifiers(os.environ, supervisor.view, lambda: not supervisor.any_hangs())
    reloader = GroupReloader(config, load, log, supervisor=supervisor, systemd=systemd)

    # Of what it counts itself there are only events: it takes them in for all.
    counters = Counters()

    def report(event: Event) -> None:
        log(event)
        counters(event)

    def samples() -> Samples:
        return {
            **supervisor.metrics.samples(),
            "restbroker_ready": {(): float(supervisor.view().unready is None)},
            "restbroker_build_info": {(__version__,): 1},
            **counters.event_samples(),
        }

    def current() -> Config:
        return reloader.config

    rosters = local_roster_service(config, log) if is_served_with_brokers(config) else RosterService()
    all_samples = merge_samples(samples, rosters.samples)
    view = ProcessView(supervisor.view, pids=supervisor.pids, is_alive=supervisor.is_alive, samples=all_samples)
    services: list[Service] = [Summaries(log), *rosters.services, *web_services(current, None, view, log), *systemd]
    services += local_event_services(config, report)
    if config.stats:
        services += site_services(current, view, log)
    log(GroupStarted(os.getpid(), __version__, config.processes))
    code = await supervisor.run(services, reloader.reload, reloader.may_start)
    log(GroupStopped(code))
    return code


@attrs.define(eq=False)
class GroupReloader:
    """The reload of a group. `config` is what the pages show.

    What only a restart can change is reported here, all else by the workers.
    """

    config: Config
    load: Callable[[], LoadedConfig]
    log: LogSink
    supervisor: Supervisor
    systemd: Sequence[ReloadObserver]
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))
    _hindrance: OperatorWarning | None = None

    async def reload(self) -> None:
        """Let the workers load the configuration again, if it can be used; return when they have."""
        for one in self.systemd:
            one.reload_began()
        try:
            loaded = await read(self.load, self._limiter)
            if isinstance(loaded, LoadedConfig):
                self._take(loaded)
                await self.supervisor.reload_workers()
            else:
                self.log(loaded)
        finally:
            for one in self.systemd:
                one.reload_ended()

    async def may_start(self) -> bool:
        """Tell whether a worker can be started with the configuration; a reason why not is logged once."""
        loaded = await read(self.load, self._limiter)
        hindrance: OperatorWarning | None = None
        if not isinstance(loaded, LoadedConfig):
            message = f"A worker cannot be restarted until the configuration is valid. {loaded.message}"
            hindrance = OperatorWarning("StartRefused", message, loaded.hint)
            if hindrance != self._hindrance:
                self.log(hindrance)
        self._hindrance = hindrance
        return hindrance is None

    def _take(self, loaded: LoadedConfig) -> None:
        for warned in warnings_of(self.config, loaded):
            self.log(warned)
        self.config = loaded.config
        self.log.settings = attrs.evolve(self.log.settings, level=loaded.config.log_level)
