"""Makes a running broker of a configuration. `cli.run` calls `run`.

Always holds: nothing is connected or served before the configuration is complete; the exit code says how it ended.
"""

import gc
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from functools import lru_cache, partial

import attrs
import trio

from restbroker.app.metrics import LoopLag, catalogue_commands, process_samples, snapshot
from restbroker.app.reload import Reload
from restbroker.app.sdnotify import notifiers
from restbroker.app.services import LogTicker, ProcessView, parts_of, services
from restbroker.broker import broker
from restbroker.broker.broker import BrokerEnd
from restbroker.broker.periodic import PeriodicJob
from restbroker.broker.plan import BrokerPlan, Service
from restbroker.broker.signals import Control
from restbroker.broker.status.record import SidekiqRecord
from restbroker.broker.target_plan import TargetPlan
from restbroker.broker.tokens import Tokens
from restbroker.broker.workers.worker_channel import WorkerChannel
from restbroker.config.core import Config, LoadedConfig
from restbroker.config.target import Target
from restbroker.errors import StoreUnavailable
from restbroker.job.policy import Policy
from restbroker.kinds import TARGETS
from restbroker.operate.connect import store_settings
from restbroker.operate.enqueue import payload
from restbroker.operate.request import periodic_requests
from restbroker.operate.written_commands import unfit_commands
from restbroker.rosters.in_redis import RostersInRedis, rosters_of
from restbroker.servers import registry
from restbroker.servers.contract import Ports
from restbroker.servers.in_redis import LoginsInRedis, SentMessagesInRedis, logins_of, sent_messages_of
from restbroker.store import scripts
from restbroker.store.client import open_client
from restbroker.store.connection import Connection, MasterWatch
from restbroker.store.jobs import Limits
from restbroker.store.older_form import require_none
from restbroker.store.sentinel import open_sentinels
from restbroker.store.waiter import Waiter
from restbroker.telemetry.counters import Counters, Reporter
from restbroker.telemetry.events import Report, report_bug
from restbroker.telemetry.log import LogSettings, LogSink
from restbroker.telemetry.metrics import Samples
from restbroker.transport.client import open_transport
from restbroker.transport.readiness import Upkeep

_CONTROL_TIMEOUT_S = 1.0
_COLLECTED_AFTER = (10_000, 20, 20)
"""The thresholds of garbage collection.

First, how many objects more than before start a collection; then, after how many collections of the youngest, and of
those that outlived them, the next older generation follows.
"""


def run(
    config: Config,
    load: Callable[[], LoadedConfig],
    *,
    json_logs: bool = False,
    line: socket.socket | None = None,
    worker: int | None = None,
) -> BrokerEnd:
    """Serve until the process gets a signal to stop, and return how it ended.

    `load` returns the configuration as it is now, and is called at each SIGHUP. `line`: the connection to the
    supervisor, if there is one, and `worker`: the number that it gave. Unforeseen errors are raised after everything
    was put in order.
    """
    return trio.run(_main, config, load, LogSettings(config.log_level, json_logs, worker), line)


def require_usable(config: Config) -> None:
    """Make all that a start makes before it connects; raise `ConfigError` if it cannot be made."""
    report = Reporter(LogSink(LogSettings(config.log_level)))
    plan = plan_of(config, report, report.counters)
    view = ProcessView(plan.status.view)
    services(lambda: config, parts_of(config), view, report, plan.open_control, plan.upkeep.room)


async def _main(
    config: Config, load: Callable[[], LoadedConfig], logged: LogSettings, line: socket.socket | None
) -> BrokerEnd:
    log = LogSink(logged)
    # Commands are shown by /metrics alone.
    commands_of = catalogue_commands(lambda: reload.config) if config.stats else None
    report = Reporter(log, trio.current_time, commands_of)
    counters = report.counters
    control = Control() if line is None else Control(name=f"worker={logged.worker}" if logged.worker else "worker")

    plan = plan_of(config, report, counters, timed=config.stats, late=lambda: reload.late)
    samples: Callable[[], Samples] = partial(process_samples, counters, plan.status, logged.worker)
    systemd = notifiers(os.environ, plan.status.view)
    sent = samples if config.stats else None
    channel = partial(WorkerChannel, view=plan.status.view, control=control, report=report, samples=sent)
    supervisors = systemd if line is None else [channel(line)]

    async def replan(new: Config) -> BrokerPlan:
        # While Redis is away no one can tell: the generation that takes over asks again.
        with suppress(StoreUnavailable):
            async with aclosing(plan.open_control()) as connection:
                await connection.call(require_none, {target.name: target.queues for target in new.targets})
        # Events are taken in, and become commands, as at the start.
        return _replanned(plan, attrs.evolve(new, events=config.events))

    reload = Reload(config, load, log, report, replan, plan.targets, observers=supervisors, warns=line is None)
    # What there is one of for all workers, their supervisor serves, and reports.
    parts = parts_of(config) if line is None else set()
    view = ProcessView(plan.status.view, plan.status.running_jobs, samples=samples)
    served = services(lambda: reload.config, parts, view, report, plan.open_control, plan.upkeep.room)
    record = SidekiqRecord(plan.open_control(), plan.status, control, report, lambda: reload.config.show_bodies)
    lag = [LoopLag(counters.loop_lag)] if config.stats else []
    own: list[Service] = [LogTicker(report.tick), record, *lag]
    plan = attrs.evolve(plan, services=[report, *plan.services, *own, *served, *supervisors])
    # All that is loaded by now stays. Full collections that leave it out take 5 to 9 ms of CPU, not 55; and looking for
    # cycles among the last 700 objects all the time took a twentieth of a busy broker's CPU (both measured).
    gc.freeze()
    gc.set_threshold(*_COLLECTED_AFTER)
    return await broker.run(plan, control, reload.reload)


def plan_of(
    config: Config,
    report: Report,
    counters: Counters,
    *,
    timed: bool = False,
    late: Callable[[], Sequence[str]] = tuple,
) -> BrokerPlan:
    """Return the broker's parts for this configuration, without its web services; open no connection.

    `timed`: how long Redis takes to answer is counted. `late`: the keys that wait for a restart. Raise `ConfigError` if
    the configuration cannot be used.
    """
    scripts.read_all()
    settings = store_settings(config)
    sentinels = open_sentinels(settings)
    watch = [] if sentinels is None else [MasterWatch(sentinels)]

    def open_connection() -> Connection:
        return Connection(open_client(settings, sentinels=sentinels), counters.add_redis_call if timed else None)

    def open_control() -> Connection:
        return Connection(open_client(settings, _CONTROL_TIMEOUT_S, sentinels))

    plan = BrokerPlan(
        targets=(),
        services=watch,
        open_connection=open_connection,
        open_control=open_control,
        open_waiter=lambda: Waiter(lambda: open_client(settings, sentinels=sentinels)),
        report=report,
        snapshot=lambda pool: snapshot(pool, counters, late()),
    )
    return _replanned(plan, config)


def _replanned(broker_plan: BrokerPlan, config: Config) -> BrokerPlan:
    """Return the plan with the parts that a reload makes again, for this configuration."""
    report = broker_plan.report
    open_connection, open_control = broker_plan.open_connection, broker_plan.open_control
    # Of its own: that of the generation before ends with it. Its answers lie in the memory of the same process.
    upkeep = Upkeep(broker_plan.upkeep.room, partial(report_bug, report))
    tokens = Tokens(config.tokens, report)

    handovers = [place.handover for _, _, place in (() if config.events is None else config.events.handovers)]

    def plan(target: Target) -> TargetPlan:
        http = open_transport(target, shared=upkeep)
        sent = sent_messages_of(config.events, target, open_control, report)
        rosters, logins = rosters_of(config, target, open_connection), logins_of(target, open_connection)
        services = {RostersInRedis: rosters, SentMessagesInRedis: sent, LoginsInRedis: logins}
        return TargetPlan(
            target,
            registry.open_connector(target, Ports(report, time.time, http, services)),
            http,
            tokens=tokens,
            policy=_policy(config, target),
            limits=_limits(config, target),
            services=tuple(service for service in services.values() if service is not None),
            history_s=config.history_s,
            history_arguments=config.history_arguments,
            shows_bodies=config.show_bodies,
            bug=partial(registry.bug, target.kind),
            is_ours=target.kind in TARGETS,
            is_xmpp=registry.is_xmpp(target.kind),
            # Asked with each heartbeat.
            unfit_commands=lru_cache(maxsize=1)(partial(unfit_commands, config, target)),
            event_commands=frozenset(handover.command for handover in handovers if handover.target == target.name),
        )

    targets, periodic = [plan(target) for target in config.targets], _periodic(config)
    shutdown_timeout_s = config.shutdown_timeout_s
    return attrs.evolve(
        broker_plan, targets=targets, upkeep=upkeep, shutdown_timeout_s=shutdown_timeout_s, periodic=periodic
    )


def _periodic(config: Config) -> list[PeriodicJob]:
    return [
        PeriodicJob(
            request.name,
            request.command.schedule,
            request.job.queue,
            late_s=request.command.late_s,
            make=partial(payload, request.job),
            lock=None if request.job.lock is None else request.job.lock.name,
            keep_s=0.0 if request.job.lock is None else request.job.lock.keep_s,
        )
        for request in periodic_requests(config)
    ]


def _policy(config: Config, target: Target) -> Policy:
    return Policy(
        backoff=config.backoff,
        reply_queue=config.response_queue,
        reply_details=config.response_details,
        reply_class=config.response_class,
        uncertain_retries=config.uncertain_retries,
        keeps_expired=target.on_expiry == "dead",
    )


def _limits(config: Config, target: Target) -> Limits:
    rate = target.rate
    return Limits(
        emission_us=0 if rate is None else max(1, round(1e6 / rate.per_s)),
        burst=1 if rate is None else rate.burst,
        in_flight=target.max_in_flight or 0,
        dead=config.dead_limit,
    )
