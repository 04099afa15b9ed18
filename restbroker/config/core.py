"""The configuration: every key of the file, and what the operator should know of each.

`Config` is the one definition: the loader, the JSON schema, the sample's check and the reference page come from it.
`Targets`, `Tokens`, `Periodic`, `Roster` and `Events` have modules of their own. Always holds: any other key is an
error; no `repr` shows a secret.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs

from restbroker.config import forms
from restbroker.config.flat import FlatKeys
from restbroker.config.key import Key, LateBound, inline, key, keys_of, secret, whole
from restbroker.config.problems import Notice, Problems, at
from restbroker.config.redis import Redis
from restbroker.config.secret import Secret, place_of
from restbroker.config.target import Basic, check_login
from restbroker.config.urls import is_loopback
from restbroker.config.values import LogLevel
from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.names import BODY_NAMES, is_secret
from restbroker.light import frozen

if TYPE_CHECKING:  # each is loaded when the file has it, or is judged without it
    from restbroker.config.events import Events, Handover
    from restbroker.config.periodic import PeriodicCommand
    from restbroker.config.roster import Roster
    from restbroker.config.target import Target
    from restbroker.config.tokens import Token

_ANY = ("0.0.0.0", "::")  # noqa: S104 (nothing is bound to it here)
_LEAST_PASSWORD = 12
_LEAST_TOKEN = 16
_HINT = "give StatsUser and StatsPassFile, or use a loopback address with a reverse proxy in front of it"


@frozen(kw_only=True)
class _IgnoredKeys:
    """Keys of the Go original that are understood and have no effect."""

    redis_pool_count: forms.AnyValue = key(
        "RedisPoolCount", ignored="restbroker opens as many connections to Redis as it needs"
    )
    """Was the size of a connection pool."""
    process_id: forms.AnyValue = key("ProcessID", ignored="every process creates its own unique identity")
    """Was the process's name."""
    max_idle_connections: forms.AnyValue = key(
        "MaxIdleConnections", ignored="restbroker keeps one connection per worker (Concurrency)"
    )
    """Was the number of idle connections kept."""
    jabber_rest_host: forms.AnyValue = key("JabberRestHost", ignored="use HostHeader to set the Host header")
    """Was derived from RestURL."""


@frozen(kw_only=True)
class _Login:
    """The login for the web pages, as it is written."""

    user: str | None = key("StatsUser", mandatory="for a StatsBind that others reach")
    """The user for the pages."""
    password: Secret | None = secret("StatsPass")
    """That user's password."""
    token: Secret | None = secret(
        "MetricsToken", meaning=f"Opens /metrics alone, as a bearer token; at least {_LEAST_TOKEN} characters."
    )


@frozen(kw_only=True, repr=False)
class Config:
    """The whole configuration; the one that `config.load` returns is checked. Durations are seconds.

    `redis_url` never holds a password; it is in `redis_password`. `tokens` has at least one token; the command line
    pushes with the first. Fields that begin with `_` hold what was written; in a checked configuration they are empty.
    """

    _redis: Redis = inline(Redis, Redis())
    redis_url: str = ""
    redis_password: Secret | None = None
    redis_sentinels: tuple[tuple[str, int], ...] = ()
    """Host and port of each Sentinel; empty: `redis_url` names the Redis server itself."""
    redis_master: str | None = None
    redis_sentinel_password: Secret | None = None
    namespace: forms.Name = key("RedisNamespace", default="")
    """A prefix for all keys, as redis-namespace's: `ns` makes `ns:KEY`."""
    _ignored: _IgnoredKeys = inline(_IgnoredKeys, _IgnoredKeys())

    _flat: FlatKeys = inline(FlatKeys, FlatKeys())
    _token: Secret | None = secret("Token", mandatory="or TokenFile or Tokens")
    """The token that every job must carry."""
    tokens: "tuple[Token, ...]" = key(
        "Tokens", default=(), secret=True, type=forms.objects_by_name("tokens", LateBound("tokens", "Token"))
    )
    """Several tokens, each with its rights. Token is the one named `default`."""
    targets: "tuple[Target, ...]" = key(
        "Targets", default=(), secret=True, type=forms.objects_by_name("targets", LateBound("target", "Target"))
    )
    """Several servers; the flat keys (RestURL, RestQueue, …) define the one named `ejabberd`."""
    response_queue: forms.Name | None = key("ResponseQueue")
    """The queue for answers to jobs with a reply id."""
    response_details: bool = key("ResponseDetails", default=False)
    """Answers get a third argument: status, outcome and error."""
    response_class: forms.Name = key("ResponseClass", default="Add")
    """The class of the jobs that carry answers."""
    taken_elsewhere: forms.SomeQueues = key("TakenElsewhere", default=())
    """Queues, with `*` and `?`, that a program takes which Redis does not list: nobody is told that none takes them."""

    events: "Events | None" = key("Events", secret=True, type=LateBound("events", "Events"))
    """Events from servers, each as a job for your application (docs/events.md)."""

    periodic: "tuple[PeriodicCommand, ...]" = key(
        "Periodic",
        default=(),
        type=forms.objects_by_name("periodic commands", LateBound("periodic", "PeriodicCommand")),
    )
    """Commands that become jobs at set times (docs/periodic.md)."""

    tell: "Handover | None" = key("Tell", secret=True, type=LateBound("events", "Handover"))
    """The command that tells you what is wrong (docs/get-told.md)."""

    shutdown_timeout_s: forms.Duration = key("ShutdownTimeout", default=25.0, shown="25s")
    """How long a stop waits for running requests; longer ones are cut off."""
    backoff: forms.BackoffRule = key("Backoff", default=SidekiqBackoff(), shown="sidekiq")
    """Waits between tries: "sidekiq" (n⁴ + 15 s + jitter) or {"Base": "1s", "Factor": 2, "Cap": "1h"}."""
    uncertain_retries: Annotated[int, whole(0, 1_000_000)] = key("UncertainRetries", default=2)
    """How often a command that is not safe to repeat is sent again after no answer."""
    dead_limit: Annotated[int, whole(0, 10_000_000)] = key("DeadLimit", default=100_000)
    """Take no jobs while this many are dead; 0: no limit."""
    history_s: forms.Month | None = key("History")
    """How long Redis keeps records of finished jobs, at most a million (docs/find.md); unset: none."""
    history_arguments: forms.ArgumentNames = key("HistoryArguments", default=())
    """Arguments that these records keep, up to 200 bytes of each (docs/find.md); never secrets or message texts."""

    processes: Annotated[int, whole(1, 256)] = key("Processes", default=1)
    """How many processes `run` starts under one supervisor, each with Concurrency (docs/processes.md)."""

    stats: bool = key("Stats", default=False)
    """Serve the web pages and /stats (docs/web.md)."""
    stats_port: Annotated[int, whole(0, 65535)] = key("StatsPort", default=8080)
    """Their port; 0 takes any free port."""
    stats_bind: forms.PageAddress = key("StatsBind", default="127.0.0.1")
    """Their address; without a login, a loopback one."""
    _login: _Login = inline(_Login, _Login())
    stats_login: "Basic | None" = None
    """The login for the pages; None: they need none, and only this machine reaches them."""
    metrics_token: Secret | None = None
    stats_hosts: forms.OwnNames = key("StatsHosts", default=())
    """Additional host names of the pages."""
    stats_prefix: forms.Prefix = key("StatsPrefix", default="", shown="")
    """The pages' path behind a reverse proxy, e.g. /restbroker."""
    stats_read_only: bool = key("StatsReadOnly", default=False)
    """Make the pages read-only."""
    roster: "Roster | None" = key("Roster", secret=True, type=LateBound("roster", "Roster"))
    """Serve rosters from Redis to Prosody (docs/roster-service.md); all members have defaults."""
    health_bind: forms.Bind | None = key("HealthBind")
    """host:port that serves only /healthz and /readyz, without login."""
    log_level: LogLevel = key("LogLevel", default="info")
    """The lowest level that is logged."""
    show_bodies: bool = key("ShowBodies", default=False)
    """Show message texts in logs, on pages and in Sidekiq Web's Busy."""

    def __repr__(self) -> str:
        # Among all that it holds are free texts, in which an operator may have written an address with its login.
        return "Config(…)"

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues of all targets."""
        return tuple(queue for target in self.targets for queue in target.queues)

    @property
    def queues_for_others(self) -> frozenset[str]:
        """The queues of answers and events, whose jobs an application takes."""
        sources = () if self.events is None else self.events.sources
        named = {queue for source in sources for _, queue in source.more_queues} | {self.response_queue or ""}
        named |= {queue for source in sources for queue in (source.queue, *(route.queue for route in source.routes))}
        return frozenset(named - {""})

    def check(self, given: Collection[str], problems: Problems) -> "Config":
        """Return the configuration as it is to be used, which is valid only if no problem was added to `problems`.

        `given` has the names of the keys that the operator wrote.
        """
        from restbroker.config.check_targets import check_targets
        from restbroker.config.tokens import check_tokens

        redis = self._redis.check(problems)
        flat = [described.name for described in all_keys().values() if described.of_target and described.name in given]
        targets = check_targets(self._flat, flat, self.targets, problems, response_queue=self.response_queue)
        roster = None if self.roster is None else self.roster.check(targets, problems)
        events = None
        if self.events is not None:
            from restbroker.config.check_events import check_events

            events = check_events(self.events, targets, problems)
        for queue in (queue for target in targets for queue in target.queues if queue in self.taken_elsewhere):
            problems.refuse("TakenElsewhere", f"names the queue {queue!r}, which a target here serves.")
        tokens = check_tokens(self._token, self.tokens, problems)
        for command in self.periodic:
            command.check(problems)
        for name in self.history_arguments:
            if is_secret(name) or name.lower() in BODY_NAMES:
                problems.refuse(
                    "HistoryArguments", f"names {name!r}, a secret or a message text: no record keeps these."
                )
        if self.history_arguments and self.history_s is None:
            problems.refuse("HistoryArguments", "has no effect without History.")
        login, metrics_token = self._check_login(problems), self._check_metrics_token(problems)
        self._check_listens(problems)
        slow = [target.name for target in targets if self.shutdown_timeout_s < target.timeout_s]
        if slow:
            of = "" if len(targets) == 1 else f" of {', '.join(slow)}"
            problems.note(
                "ShortShutdown",
                f"ShutdownTimeout is shorter than RequestTimeout{of}: a stop may cut off running requests.",
                "Make ShutdownTimeout longer.",
            )
        return attrs.evolve(
            self,
            **_AS_WRITTEN,
            **redis,
            targets=targets,
            tokens=tokens,
            stats_login=login,
            metrics_token=metrics_token,
            roster=roster,
            events=events,
        )

    def _check_listens(self, problems: Problems) -> None:
        """Refuse the address of a section if something else in the same process listens there.

        Otherwise the second one would fail to start while the broker works. Addresses are only compared, no name is
        looked up.
        """
        taken: dict[str, tuple[str, int]] = {}
        for place, bind in (
            ("StatsPort", (self.stats_bind, self.stats_port) if self.stats else None),
            ("HealthBind", self.health_bind),
            *_event_binds(self.events),
            # Without Serve another process listens for them, maybe on another machine.
            ("Roster.Listen", None if self.roster is None or not self.roster.served else self.roster.bind),
        ):
            if bind is None:
                continue
            host, port = bind
            # StatsPort and HealthBind are not compared with one another.
            for other in [earlier for earlier, bound in taken.items() if "." in place and _clash(bind, bound)]:
                at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                problems.refuse(place, f"{at} is taken by {problems.as_written(other)}; give each its own port.")
            taken[place] = bind

    def _check_login(self, problems: Problems) -> Basic | None:
        """Return the pages' login; None if none is configured, or if it has a problem, which is added to `problems`."""
        login = check_login(self._login.user, self._login.password, ("StatsUser", "StatsPass"), problems)
        open_to_others = not is_loopback(self.stats_bind)
        if self._login.user is None and self._login.password is None:
            if self.stats and open_to_others:
                why = f"{self.stats_bind} is open to others, and the pages have no login; {_HINT}."
                problems.refuse("StatsBind", why)
            return None
        if self.stats and open_to_others:
            problems.note(
                "PlainPages",
                f"The login of the pages on {self.stats_bind} goes unencrypted.",
                "Listen on a loopback address, with a reverse proxy with TLS in front of it.",
            )
        if login is not None and len(login.password.reveal()) < _LEAST_PASSWORD:
            problems.note(
                "WeakStatsPass",
                f"StatsPass has fewer than {_LEAST_PASSWORD} characters: an address from which someone logged in may "
                "try ten a second.",
                "Take a longer one.",
            )
        return login

    def _check_metrics_token(self, problems: Problems) -> Secret | None:
        """Return the token of /metrics; one that could be guessed is a problem, as no number of tries blocks it."""
        token = problems.try_secret("MetricsToken", self._login.token)
        if token is not None and len(token.reveal()) < _LEAST_TOKEN:
            problems.refuse(
                place_of("MetricsToken", token), f"expected at least {_LEAST_TOKEN} characters, found fewer."
            )
        return token


def _event_binds(events: "Events | None") -> Iterator[tuple[str, tuple[str, int]]]:
    """Yield each address for events once: its place, and host and port."""
    if events is None:
        return
    yield "Events.Listen", events.listen
    for bind, (source, *_) in events.webhook_sources.items():
        if source.listen is not None:
            yield at(at(at("Events", "Sources"), source.name), "Listen"), bind


def _clash(one: tuple[str, int], other: tuple[str, int]) -> bool:
    if one[1] != other[1] or one[1] == 0:
        return False
    hosts = one[0].lower(), other[0].lower()
    if hosts[0] == hosts[1]:
        return True
    if "localhost" in hosts:
        return all(is_loopback(host) or host in _ANY for host in hosts)
    is_same_family = (":" in hosts[0]) == (":" in hosts[1])
    return is_same_family and any(host in _ANY for host in hosts)


_AS_WRITTEN: Mapping[str, Any] = {
    name.removeprefix("_"): field.default for name, field in attrs.fields_dict(Config).items() if name.startswith("_")
}
"""The defaults of the fields that hold what was written: checking resets them to these."""


def all_keys() -> Mapping[str, Key]:
    """Return every key of the file by its name, in the order of the reference page."""
    return keys_of(Config)


@frozen
class LoadedConfig:
    """A configuration, the notes to show with it, and its file (None: it came from the environment alone)."""

    config: Config
    notes: tuple[Notice, ...]
    path: Path | None
