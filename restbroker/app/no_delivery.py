"""Runs a process that delivers no jobs itself: the supervisor of workers, or one that only serves pages or rosters.

`cli.run` calls `supervise` for a configuration with more than one process, `cli.web` and `cli.roster` call `serve`.
Always holds: nothing is fetched, delivered or recovered here; a supervisor serves the pages, takes in events and speaks
to systemd for all its workers, the workers for none; a changed configuration is checked here first, so that one that
cannot be used is reported once, changes nothing and reaches no worker, neither one that runs nor one that is about to
be started again.
"""

import os
import signal
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import trio

from restbroker import __version__
from restbroker.app.reload import Reload
from restbroker.app.sdnotify import notifiers
from restbroker.app.services import LogTicker, Part, ProcessView, local_services, parts_of
from restbroker.broker.plan import Service, start_all
from restbroker.broker.signals import dump, receive
from restbroker.broker.status.view import View
from restbroker.broker.workers.supervisor import Supervisor
from restbroker.config.core import Config, LoadedConfig
from restbroker.start import STOP
from restbroker.telemetry.counters import Reporter
from restbroker.telemetry.events import GroupStarted, GroupStopped
from restbroker.telemetry.log import LogSettings, LogSink
from restbroker.telemetry.metrics import Samples

_WATCHED = (*STOP, signal.SIGHUP, signal.SIGTTIN)
# Whether jobs are taken is for the brokers to say.
_VIEW = View("serving", store_up=True, heartbeat_fresh=True, down_targets={})

Load: TypeAlias = Callable[[], LoadedConfig]


def supervise(config: Config, load: Load, command: Sequence[str], *, json_logs: bool = False) -> int:
    """Serve until a signal stops all workers, and return the exit code: the worst of all, or 0.

    `load` returns the current configuration; `command` plus a worker's number starts a worker.
    """
    return trio.run(_supervise, config, load, command, LogSink(LogSettings(config.log_level, json_logs)))


def serve(config: Config, load: Load, parts: Collection[Part], *, json_logs: bool = False) -> None:
    """Serve these parts until the process gets a signal to stop; that waits only for answers that are being written.

    `load` returns the configuration as it is now, and is called at each SIGHUP.
    """
    trio.run(_serve, config, load, parts, LogSink(LogSettings(config.log_level, json_logs)))


async def _supervise(config: Config, load: Load, command: Sequence[str], log: LogSink) -> int:
    # Of what it counts itself there are only events: it takes them in for all.
    report = Reporter(log)
    supervisor = Supervisor(command, config.processes, log)
    systemd = notifiers(os.environ, supervisor.view)

    def samples() -> Samples:
        return {
            **supervisor.metrics.samples(),
            "restbroker_ready": {(): float(supervisor.view().unready is None)},
            "restbroker_build_info": {(__version__,): 1},
            **report.counters.event_samples(),
        }

    view = ProcessView(supervisor.view, pids=supervisor.pids, is_alive=supervisor.is_alive, samples=samples)
    reload = Reload(config, load, log, log, observers=systemd, reload_workers=supervisor.reload_workers)
    services: list[Service] = [
        LogTicker(report.tick),
        *local_services(lambda: reload.config, parts_of(config), view, report),
        *systemd,
    ]
    log(GroupStarted(os.getpid(), __version__, config.processes))
    code = await supervisor.run(services, reload.reload, reload.may_start)
    log(GroupStopped(code))
    return code


async def _serve(config: Config, load: Load, parts: Collection[Part], log: LogSink) -> None:
    systemd = notifiers(os.environ, lambda: _VIEW)
    reload = Reload(config, load, log, log, observers=systemd)
    # The version alone: this process counts nothing itself.
    samples: Samples = {"restbroker_build_info": {(__version__,): 1}}
    view = ProcessView(lambda: _VIEW, all_processes=True, samples=lambda: samples)
    services: list[Service] = [LogTicker(log.tick), *local_services(lambda: reload.config, parts, view, log), *systemd]
    # Around all else: a second signal must not cut the stop of the first short.
    with receive(*_WATCHED) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_all, services, nursery, trio.Event())
            async for number in signals:
                if number in STOP:
                    break
                if number == signal.SIGTTIN:
                    dump("")
                else:
                    nursery.start_soon(reload.reload)
            nursery.cancel_scope.cancel()
