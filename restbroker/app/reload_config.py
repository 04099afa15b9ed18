"""Reads the configuration again while a process runs: the part that all processes share, the supervisor too.

Always holds: no code that delivers jobs is imported here, so that a supervisor stays small.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

import trio

from restbroker.config.core import Config, LoadedConfig
from restbroker.config.values import duration_text
from restbroker.errors import ConfigError
from restbroker.telemetry.events import ConfigRefused, OperatorWarning

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
    "processes": "Processes",
}
"""The fields of a configuration that only a restart changes, each with its key."""
OTHER_REDIS: Final = ConfigRefused(
    "The configuration names another Redis (its address, database, namespace, login or sentinels), which a "
    "process cannot change while it runs. The new configuration is not used.",
    "Restart restbroker. Jobs stay in the Redis that it used before.",
)
_LOAD_S = 10.0
_TOO_SLOW = ConfigRefused(
    f"The configuration could not be read within {duration_text(_LOAD_S)}: its file, or one that it names, does not"
    " answer.",
    "Check the file system of these files (a mount that hangs?), then send SIGHUP again.",
)


class ReloadObserver(Protocol):
    """Something that must know when a reload begins and when it is over."""

    def reload_began(self) -> None:
        """Note that a reload begins."""

    def reload_ended(self) -> None:
        """Note that the reload is over, successful or not."""


def warnings_of(old: Config, new: LoadedConfig) -> Iterator[OperatorWarning]:
    """Yield warnings about a configuration that counts from now on: its notes, and what needs a restart."""
    for note in new.notes:
        yield OperatorWarning(note.code, note.message, note.hint)
    late = [key for name, key in AT_START.items() if getattr(new.config, name) != getattr(old, name)]
    if late:
        message = f"{', '.join(late)}: the change takes effect after a restart."
        yield OperatorWarning("NeedsRestart", message, "Restart restbroker when convenient.")


async def read(load: Callable[[], LoadedConfig], limiter: trio.CapacityLimiter) -> LoadedConfig | ConfigRefused:
    """Return what `load` returns, run in a thread, or why the configuration cannot be used.

    A slow disk must not hold up the heartbeats. When cancelled, or after 10 s, it leaves a `load` that hangs behind;
    `limiter` is for this alone, so that such threads do not pile up, nor take the places of others.
    """
    try:
        with trio.move_on_after(_LOAD_S):
            return await trio.to_thread.run_sync(load, abandon_on_cancel=True, limiter=limiter)
    except ConfigError as error:
        return ConfigRefused(error.message, error.hint)
    return _TOO_SLOW
