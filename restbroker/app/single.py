"""Serves the pages, or rosters, without a broker. `cli.web` and `cli.roster` call `run`.

Always holds: nothing is fetched, delivered or recovered here; a stop waits for nothing but answers that are being
written; a changed configuration that cannot be used changes nothing.
"""

import os
import signal
from collections.abc import Callable

import trio

from restbroker import __version__
from restbroker.app.reload import Reload
from restbroker.app.sdnotify import notifiers
from restbroker.app.services import Parts, ProcessView, local_services
from restbroker.app.summaries import Summaries
from restbroker.broker.service import Service
from restbroker.broker.signals import STOP, dump
from restbroker.broker.status.view import View
from restbroker.config.core import Config, LoadedConfig
from restbroker.telemetry.log import LogSettings, LogSink
from restbroker.telemetry.metrics import Samples

_WATCHED = (*STOP, signal.SIGHUP, signal.SIGTTIN)
# Whether jobs are taken is for the brokers to say.
_VIEW = View("serving", store_up=True, heartbeat_fresh=True, down_targets={})


def run(config: Config, load: Callable[[], LoadedConfig], parts: Parts, *, json_logs: bool = False) -> None:
    """Serve these parts until the process gets a signal to stop.

    `load` returns the configuration as it is now, and is called at each SIGHUP.
    """
    trio.run(_main, config, load, parts, LogSettings(config.log_level, json_logs))


async def _main(config: Config, load: Callable[[], LoadedConfig], parts: Parts, logged: LogSettings) -> None:
    log = LogSink(logged)
    systemd = notifiers(os.environ, lambda: _VIEW)
    reload: Reload[None] = Reload(config, load, log, log, observers=systemd)
    view = ProcessView(lambda: _VIEW, all_processes=True, samples=_samples)
    services: list[Service] = [Summaries(log), *local_services(lambda: reload.config, parts, view, log), *systemd]
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
                    nursery.start_soon(reload.reload)
            nursery.cancel_scope.cancel()


def _samples() -> Samples:
    """Return the version alone, since this process counts nothing itself."""
    return {"restbroker_build_info": {(__version__,): 1}}
