"""Makes the roster service that a configuration has. Called by `build`, `group` and `single`.

Always holds: Hypercorn and what serves are imported only where rosters are served.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from restbroker.app.store_access import store_access
from restbroker.broker.service import Service
from restbroker.config.core import Config
from restbroker.config.roster import Roster
from restbroker.errors import ConfigError
from restbroker.telemetry.events import Report
from restbroker.telemetry.metrics import Samples

if TYPE_CHECKING:  # a supervisor that serves nothing needs no Redis
    from restbroker.rosters.refresh_target import RefreshTarget
    from restbroker.store.client import Client
    from restbroker.store.connection import Connection


@attrs.frozen
class RosterService:
    """The services that are to run, and the values for /metrics."""

    services: tuple[Service, ...] = ()
    samples: Callable[[], Samples] = dict


def roster_service(
    config: Roster | None,
    open_connection: "Callable[[], Connection]",
    report: Report,
    refreshing: "RefreshTarget | None" = None,
) -> RosterService:
    """Return the roster service; an empty one without the section `Roster`.

    `open_connection` makes a connection with a short time-out. `refreshing` refreshes users who got an older copy.
    """
    if config is None:
        return RosterService()
    from restbroker.rosters.service.copies import Copies
    from restbroker.rosters.service.copies_file import CopiesFile
    from restbroker.rosters.service.reader import BOUND_S, Reader
    from restbroker.rosters.service.service import service
    from restbroker.serving.plain import plain_app
    from restbroker.serving.runner import Server

    host, port = config.bind
    copies = Copies(config.copy_age_s, config.copies_mib * 1024 * 1024)
    reader = Reader(
        open_connection(),
        report,
        config.domain,
        copies=copies,
        refresh=None if refreshing is None else partial(_refresh, refreshing),
        # Time is left for a copy before the answer would come too late.
        bound_s=min(BOUND_S, config.longest_s / 2),
    )
    made = service(config, reader, report)
    app = plain_app("rosters", made.answer, report)
    server = Server(
        "rosters",
        "Listen of Roster",
        host,
        port=port,
        app=app,
        report=report,
        at_stop=reader.stop,
        reads_bodies=False,
        is_plain=True,
    )
    keeper = () if config.copies_file is None else (CopiesFile(Path(config.copies_file), copies, report),)
    return RosterService((*keeper, reader, server), made.samples)


def local_roster_service(config: Config, report: Report) -> RosterService:
    """Return the roster service of a process that delivers nothing.

    With sentinels, the service that finds the Redis master is among its services.
    """
    watch, open_connection = store_access(config)
    found = roster_service(config.roster, open_connection, report, refresh_target_of(config))
    return attrs.evolve(found, services=(*watch, *found.services))


def refresh_target_of(config: Config) -> "RefreshTarget | None":
    """Return the target that refreshes rosters, with its token; None without the section `Roster` or such a target.

    None also if no token allows a refresh, which brokers report.
    """
    if config.roster is None:
        return None
    from restbroker.rosters.refresh_target import RefreshTarget

    try:
        return RefreshTarget.from_config(config)
    except ConfigError:
        return None


def _refresh(refreshing: "RefreshTarget", client: "Client", users: Sequence[str]) -> None:
    refreshing.push(client, users)


def is_served_with_brokers(config: Config) -> bool:
    """Tell whether `restbroker run` serves rosters too."""
    return config.roster is not None and config.roster.served


def merge_samples(own: Callable[[], Samples], more: Callable[[], Samples]) -> Callable[[], Samples]:
    """Return a function that merges the values of both."""
    return lambda: {**own(), **more()}
