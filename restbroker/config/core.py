"""The finished, checked configuration, and what the operator should know of it.

Made by `config.load`; `app` and the command line get a `Config`. Always holds: no `repr` shows a secret.
"""

from pathlib import Path

import attrs

from restbroker.config.events import Events
from restbroker.config.review import Note
from restbroker.config.roster import Roster
from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target
from restbroker.config.tokens import Token
from restbroker.config.values import LogLevel
from restbroker.job.retry import Backoff


@attrs.frozen(kw_only=True)
class Config:
    """What the operator wrote, checked as a whole. Durations are seconds.

    `redis_url` never holds a password; it is in `redis_password`. `tokens` has at least one, the first is what the
    command line pushes with.
    """

    redis_url: str
    redis_password: Secret | None
    namespace: str
    targets: tuple[Target, ...]
    tokens: tuple[Token, ...]
    response_queue: str | None
    response_details: bool
    response_class: str
    backoff: Backoff
    uncertain_retries: int
    shutdown_timeout_s: float
    stats: bool
    stats_bind: str
    stats_port: int
    health_bind: tuple[str, int] | None
    log_level: LogLevel
    show_bodies: bool
    dead_limit: int = 100_000
    """Nothing is fetched while the dead set holds so many; 0: no limit."""
    history_s: float | None = None
    """For how long it is kept how jobs ended; None: it is not."""
    processes: int = 1
    """How many `run` starts; of more than one, each is a worker under a supervisor."""
    redis_sentinels: tuple[tuple[str, int], ...] = ()
    """Host and port of each; empty: `redis_url` names the server itself."""
    redis_master: str | None = None
    redis_sentinel_password: Secret | None = None
    stats_login: Basic | None = None
    """Who may see the pages; None: whoever reaches them, which is this machine only."""
    stats_hosts: tuple[str, ...] = ()
    stats_prefix: str = ""
    stats_read_only: bool = False
    roster: Roster | None = None
    """How rosters are served; None: they are not."""
    events: Events | None = None
    """None: no server's events are taken in."""

    @property
    def queues(self) -> tuple[str, ...]:
        """Those of all targets."""
        return tuple(queue for target in self.targets for queue in target.queues)


@attrs.frozen
class Loaded:
    """A configuration, the notes to show with it, and its file (None: it came from the environment alone)."""

    config: Config
    notes: tuple[Note, ...]
    path: Path | None
