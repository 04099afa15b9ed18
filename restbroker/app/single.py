"""Serves the pages, or rosters, without a broker. `cli.web` calls `run`, `cli.roster` `run_rosters`.

Always holds: nothing is fetched, delivered or recovered here; a stop waits for nothing but answers that are being
written; a changed configuration that cannot be used changes nothing.
"""

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import trio

from restbroker import __version__
from restbroker.app.reload_config import OTHER_REDIS, ReloadObserver, read, warnings_of
from restbroker.app.roster_service import local_roster_service, merge_samples
from restbroker.app.sdnotify import notifiers
from restbroker.app.services import ProcessView, site_services
from restbroker.app.summaries import Summaries
from restbroker.broker.service import Service
from restbroker.broker.signals import STOP, dump
from restbroker.broker.status.view import View
from restbroker.config.core import Config, LoadedConfig
from restbroker.operate.connect import store_settings
from restbroker.telemetry.events import ConfigReloaded, ConfigUnchanged
from restbroker.telemetry.log import LogSettings, LogSink
from restbroker.telemetry.metrics import Samples

_WATCHED = (*STOP, signal.SIGHUP, signal.SIGTTIN)
# Whether jobs are taken is for the brokers to say.
_VIEW = View("serving", store_up=True, heartbeat_fresh=True, down_targets={})


def run(config: Config, load: Callable[[], LoadedConfig], *, json_logs: bool = False) -> None:
    """Serve the pages until the process gets a signal to stop.

    `load` returns the configuration as it is now, and is called at each SIGHUP.
    """
    trio.run(_main, config, load, LogSettings(config.log_level, json_logs), _pages)


def run_rosters(
    config: Config, load: Callable[[], LoadedConfig], *, json_logs: bool = False, stats: bool = False
) -> None:
    """Serve rosters, as `run` serves the pages; with `stats`, serve the pages beside them."""
    parts = partial(_rosters, stats=stats)
    trio.run(_main, config, load, LogSettings(config.log_level, json_logs), parts)


def _pages(current: Callable[[], Config], log: LogSink) -> list[Service]:
    return site_services(current, ProcessView(lambda: _VIEW, all_processes=True, samples=_samples), log)


def _rosters(current: Callable[[], Config], log: LogSink, *, stats: bool) -> list[Service]:
    found = local_roster_service(current(), log)
    if not stats:
        return [*found.services]
    view = ProcessView(lambda: _VIEW, all_processes=True, samples=merge_samples(_samples, found.samples))
    return [*found.services, *site_services(current, view, log)]


async def _main(
    config: Config,
    load: Callable[[], LoadedConfig],
    logged: LogSettings,
    parts: Callable[[Callable[[], Config], LogSink], list[Service]],
) -> None:
    log = LogSink(logged)
    systemd = notifiers(os.environ, lambda: _VIEW)
    reloader = _Reloader(config, load, log, systemd)
    services: list[Service] = [Summaries(log), *parts(lambda: reloader.config, log), *systemd]
    # Around all else: a second signal must not cut the stop of the first short.
    with trio.open_signal_receiver(*_WATCHED) as signals:
        async with trio.open_nursery() as nursery:
            for service in services:
                await nursery.start(service.run)
            async for number in signals:
                if number in STOP:
                    break
                if number == signal.SIGTTIN:
                    dump("")
                else:
                    nursery.start_soon(reloader.reload)
            nursery.cancel_scope.cancel()


def _samples() -> Samples:
    """Return the version alone, since this process counts nothing itself."""
    return {"restbroker_build_info": {(__version__,): 1}}


@attrs.define(eq=False)
class _Reloader:
    """The reload of this process. `config` is what the pages show."""

    config: Config
    load: Callable[[], LoadedConfig]
    log: LogSink
    systemd: Sequence[ReloadObserver]
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))

    async def reload(self) -> None:
        """Put the configuration as it is now in force, if it can be used."""
        for one in self.systemd:
            one.reload_began()
        try:
            loaded = await read(self.load, self._limiter)
            if isinstance(loaded, LoadedConfig):
                self._take(loaded)
            else:
                self.log(loaded)
        finally:
            for one in self.systemd:
                one.reload_ended()

    def _take(self, loaded: LoadedConfig) -> None:
        old, new = self.config, loaded.config
        if new == old:
            self.log(ConfigUnchanged())
            return
        if store_settings(new) != store_settings(old):
            self.log(OTHER_REDIS)
            return
        self.config = new
        self.log.settings = attrs.evolve(self.log.settings, level=new.log_level)
        self.log(ConfigReloaded(tuple(target.name for target in new.targets)))
        for warned in warnings_of(old, loaded):
            self.log(warned)
