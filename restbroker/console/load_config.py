"""How every command gets its configuration: it is found and loaded, and its notes are shown.

Always holds: no connector is loaded; keys that do not exist are refused, no matter which sections are read.
"""

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, Literal

from restbroker.config.core import Config, LoadedConfig
from restbroker.config.load import CollectedKeys, load
from restbroker.config.problems import Problems
from restbroker.console.output import say
from restbroker.events import registry as sources
from restbroker.job.json_types import Json
from restbroker.operate.unknown_names import unknown_names
from restbroker.servers import registry

Section = Literal["Events", "Periodic", "Roster", "Stats", "Tell"]
_OF_SERVICES: Final[Mapping[Section, Collection[str]]] = {
    "Events": ("Events",),
    "Periodic": ("Periodic",),
    "Roster": ("Roster",),
    "Stats": ("Stats", "StatsUser", "StatsPass", "StatsPassFile", "MetricsToken", "MetricsTokenFile"),
    "Tell": ("Tell",),
}
"""The keys of each section that does not concern the jobs of others."""


def load_with_notices(path: Path | CollectedKeys | None, overrides: Mapping[str, Json] | None = None) -> LoadedConfig:
    """Return the configuration with its notes, which the caller prints or keeps; raise `ConfigError` if unusable.

    `overrides` has the values of flags by the names of their keys.
    """
    return load(
        path, os.environ, overrides or {}, kinds=registry.kinds(), sources=sources.kinds(), check=_check_commands
    )


def load_to_serve(
    path: Path | None, overrides: Mapping[str, Json] | None = None
) -> tuple[LoadedConfig, Callable[[], LoadedConfig]]:
    """Return the configuration of a process that serves until stopped, and what loads it again; raise as above."""
    found = load_with_notices(path, overrides)
    return found, lambda: load_with_notices(found.path or path, overrides)


def _check_commands(config: Config, problems: Problems) -> None:
    """Check what only the catalogues of the servers tell; they are loaded where they are needed."""
    if config.periodic:
        from restbroker.operate.request import check_periodic

        check_periodic(config, problems)
    if config.events is not None or config.tell is not None:
        from restbroker.operate.handovers import check_handovers

        check_handovers(config, problems)
    for notice in unknown_names(config):
        problems.note(notice.code, notice.message, notice.hint)


def load_quietly(path: Path | None, *sections: Section) -> Config:
    """Return the configuration for a short command, without its notes, which are for `run` and `config show`.

    Of the sections that serve others, only `sections` are read, and the others have their defaults: a mistake in one of
    them, or in a file that it names, keeps people from neither pushing nor viewing jobs. `run` and `check` read all
    sections. Raise `ConfigError` if it is unusable.
    """
    without = [key for section, keys in _OF_SERVICES.items() if section not in sections for key in keys]
    return load(path, os.environ, {}, kinds=registry.kinds(), sources=sources.kinds(), without=without).config


def print_notices(found: LoadedConfig) -> None:
    """Print each note on stderr."""
    for note in found.notes:
        say(f"note: {note.message}" + (f" {note.hint}" if note.hint else ""))
