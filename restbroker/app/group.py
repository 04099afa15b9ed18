"""Runs a supervisor and its workers, for a configuration with more than one process. `cli.run` calls `run`.

Always holds: the supervisor serves the pages, takes in events and speaks to systemd for all of them, the workers for
none; a changed configuration is checked here first, so that one that cannot be used is reported once and reaches no
worker, neither one that runs nor one that is about to be started again.
"""

import os
from collections.abc import Callable, Sequence

import trio

from restbroker import __version__
from restbroker.app.reload import Reload
from restbroker.app.sdnotify import notifiers
from restbroker.app.services import Parts, ProcessView, is_served_with_brokers, local_services
from restbroker.app.summaries import Summaries
from restbroker.broker.group.supervisor import Supervisor
from restbroker.broker.service import Service
from restbroker.config.core import Config, LoadedConfig
from restbroker.telemetry.counters import Counters
from restbroker.telemetry.events import Event, GroupStarted, GroupStopped
from restbroker.telemetry.log import LogSettings, LogSink
from restbroker.telemetry.metrics import Samples


def run(config: Config, load: Callable[[], LoadedConfig], command: Sequence[str], *, json_logs: bool = False) -> int:
    """Serve until the group gets a signal to stop, and return the exit code: the worst of all, or 0.

    `load` returns the current configuration; `command` plus a worker's number starts a worker.
    """
    return trio.run(_main, config, load, command, LogSettings(level=config.log_level, json=json_logs))


async def _main(config: Config, load: Callable[[], LoadedConfig], command: Sequence[str], logged: LogSettings) -> int:
    log = LogSink(logged)
    # Of what it counts itself there are only events: it takes them in for all.
    counters = Counters()
    supervisor = Supervisor(command, config.processes, log)
    # Not `is_alive`: a group that has no worker tries to start one, and systemd could do no more than end that.
    systemd = notifiers(os.environ, supervisor.view, lambda: not supervisor.any_hangs())
    reload: Reload[None] = Reload(config, load, log, log, observers=systemd, reload_workers=supervisor.reload_workers)

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

    view = ProcessView(supervisor.view, pids=supervisor.pids, is_alive=supervisor.is_alive, samples=samples)
    parts = Parts(rosters=is_served_with_brokers(config), pages=config.stats, health=True, events=True)
    services: list[Service] = [Summaries(log), *local_services(lambda: reload.config, parts, view, report), *systemd]
    log(GroupStarted(os.getpid(), __version__, config.processes))
    code = await supervisor.run(services, reload.reload, reload.may_start)
    log(GroupStopped(code))
    return code
