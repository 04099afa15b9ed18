"""The keys of `env.json`, each with its kind, default and meaning.

`Keys` is the one definition: the loader, the JSON schema, the sample's check and the reference page come from it. What
is inside of `Targets` is in `config.objects`; `Tokens`, `Roster` and `Events` have modules of their own. Always holds:
keys beyond these are an error.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

import attrs

from restbroker.config import forms
from restbroker.config.events import Events
from restbroker.config.form import whole
from restbroker.config.forms import Rate
from restbroker.config.key import Key, key, keys_of, same, secret
from restbroker.config.objects import TargetKeys
from restbroker.config.roster import Roster
from restbroker.config.secret import Secret
from restbroker.config.target import Engine
from restbroker.config.tokens import Token
from restbroker.config.values import LogLevel
from restbroker.job.retry import SidekiqBackoff

_NO_TARGETS: Mapping[str, TargetKeys] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class Keys:
    """The values of all keys, typed and checked one by one; what they mean together is judged by `config.build`."""

    redis_url: str | None = key(
        "RedisURL",
        "Where Redis is: redis://[user:password@]host[:port][/database], rediss:// for TLS, unix:///path for a socket;"
        " redis://user@host where RedisPass or RedisPassFile gives the password.",
        shown="redis://localhost:6379/0",
        secret=True,
    )
    redis_url_file: str | None = key(
        "RedisURLFile",
        "A file that holds the URL, for one with a password; read once, at the start.",
        instead_of=("RedisURL",),
    )
    redis_host: str | None = key(
        "RedisHost",
        "The older form of RedisURL: host or host:port.",
        secret=True,
        instead_of=("RedisURL", "RedisURLFile"),
    )
    redis_database: Annotated[int, whole(0, 999_999)] | None = key("RedisDatabase", "The database's number.", shown=0)
    redis_pass: str | None = key("RedisPass", "The password for Redis.", secret=True)
    redis_pass_file: str | None = key(
        "RedisPassFile", "A file that holds the password for Redis.", instead_of=("RedisPass",)
    )
    redis_sentinels: forms.Sentinels = key(
        "RedisSentinels",
        "Sentinels that name the current Redis; RedisURL then says all but its host and port (docs/failover.md).",
        (),
        shown=None,
    )
    redis_master: str | None = key(
        "RedisMaster", "The name under which Sentinel knows that Redis.", mandatory="with RedisSentinels"
    )
    redis_sentinel_pass: str | None = key(
        "RedisSentinelPass", "The password for the Sentinels themselves.", secret=True
    )
    redis_sentinel_pass_file: str | None = key(
        "RedisSentinelPassFile", "A file that holds that password.", instead_of=("RedisSentinelPass",)
    )
    redis_namespace: str | None = key(
        "RedisNamespace", "A prefix: `ns` makes every key `ns:KEY`, as redis-namespace does."
    )
    redis_pool_count: forms.Unread = key(
        "RedisPoolCount", "Was the size of a pool.", ignored="connections to Redis are counted by need"
    )
    process_id: forms.Unread = key(
        "ProcessID", "Was the process's name.", ignored="every process makes its own unique identity"
    )
    max_idle_connections: forms.Unread = key(
        "MaxIdleConnections",
        "Was the number of idle connections kept.",
        ignored="one connection per worker is kept (Concurrency)",
    )

    rest_url: str | None = key(
        "RestURL",
        "The server's HTTP API. A command's name is appended: RestURL/register. For ejabberd usually …/api.",
        shown="http://localhost:5281",
        secret=True,
        of_target="URL",
    )
    rest_auth: Literal["auto", "basic", "bearer"] | None = key(
        "RestAuth",
        "How to log in; without it, by what is given. basic: RestUser. bearer: RestToken, else a token that the server"
        " issues for RestUser. auto: RestUser, and such a token in its place while the server issues one.",
        of_target="Auth",
    )
    rest_user: str | None = key("RestUser", "The user for HTTP Basic, e.g. admin@example.org.", of_target="Auth")
    rest_pass: str | None = key("RestPass", "The password for HTTP Basic.", secret=True, of_target="Auth")
    rest_pass_file: str | None = key(
        "RestPassFile", "A file that holds that password.", instead_of=("RestPass",), of_target="Auth"
    )
    rest_token: str | None = key("RestToken", "A bearer token for the server.", secret=True, of_target="Auth")
    rest_token_file: str | None = key(
        "RestTokenFile", "A file that holds that token.", instead_of=("RestToken",), of_target="Auth"
    )
    server_version: str | None = key(
        "ServerVersion", "The server's version, e.g. 24.12; auto: ask the server.", shown="auto", of_target="Options"
    )
    api_version: Annotated[int, whole(0, 9999)] | None = key(
        "ApiVersion",
        "The version of the API to which commands are posted, as COMMAND/vN, where a job names none; needs ejabberd"
        " 24.02 or newer.",
        of_target="Options",
    )
    jabber_domain: str | None = same(TargetKeys, "Domain", "JabberDomain")
    host_header: str | None = key(
        "HostHeader", "The Host header, where it is not JabberDomain.", of_target="HostHeader"
    )
    jabber_rest_host: forms.Unread = key(
        "JabberRestHost", "Was derived from RestURL.", ignored="use HostHeader to set the Host header"
    )

    rest_queue: str | None = key(
        "RestQueue", "The queue to take jobs from, without `queue:`.", mandatory="without Targets", of_target="Queues"
    )
    token: Secret | None = secret(
        "Token",
        "The token that each job must carry.",
        "A file that holds that token.",
        mandatory="or TokenFile or Tokens",
    )
    tokens: Annotated[tuple[Token, ...], forms.named("tokens")] = key(
        "Tokens",
        "Several tokens, each with what it allows. Token is the one of the name `default`.",
        (),
        shown=None,
        secret=True,
    )
    response_queue: str | None = key("ResponseQueue", "The queue for answers to jobs with a reply id.")
    response_details: bool = key(
        "ResponseDetails", "Answers get a third argument with status, outcome and error.", False
    )
    response_class: str = key("ResponseClass", "The class of the jobs that carry answers.", "Add")

    concurrency: int = same(TargetKeys, "Concurrency", aliases=("Concurreny",))
    request_timeout: float = same(TargetKeys, "RequestTimeout")
    connect_timeout: float = same(TargetKeys, "ConnectTimeout")
    idle_expiry: float | None = same(TargetKeys, "IdleExpiry")
    max_connection_age: float = same(TargetKeys, "MaxConnectionAge")
    engine: Engine = same(TargetKeys, "Engine")
    rate_limit: Rate | None = same(TargetKeys, "RateLimit")
    max_in_flight: int | None = same(TargetKeys, "MaxInFlight")
    slots: Mapping[str, int] = same(TargetKeys, "Slots")
    at_most_once: tuple[str, ...] = same(TargetKeys, "AtMostOnce")
    targets: Annotated[Mapping[str, TargetKeys], forms.named("targets")] = key(
        "Targets",
        "Several servers. The flat keys (RestURL, RestQueue, Concurrency, …) make the one of the name `ejabberd`.",
        _NO_TARGETS,
        shown=None,
        secret=True,
    )

    events: Events | None = key(
        "Events",
        "Take in what servers tell of by themselves, each event as a job for your application (docs/events.md).",
        secret=True,
    )

    shutdown_timeout: forms.Duration = key(
        "ShutdownTimeout", "How long a stop waits for running requests.", 25.0, shown="25s"
    )
    backoff: forms.BackoffRule = key(
        "Backoff",
        'Waits between tries: "sidekiq" (n⁴ + 15 s + jitter) or {"Base": "1s", "Factor": 2, "Cap": "1h"}.',
        SidekiqBackoff(),
        shown="sidekiq",
    )
    uncertain_retries: Annotated[int, whole(0, 1_000_000)] = key(
        "UncertainRetries",
        "How often a command that must not run twice is sent again after a time-out without an answer.",
        2,
    )
    dead_limit: Annotated[int, whole(0, 10_000_000)] = key(
        "DeadLimit", "Nothing is fetched while the dead set holds so many jobs; 0: no limit.", 100_000
    )
    history: forms.Month | None = key(
        "History",
        "So long it is kept in Redis how jobs ended, of a million at most (docs/jobs.md); without it, not at all.",
    )

    processes: Annotated[int, whole(1, 256)] = key(
        "Processes",
        "How many processes `run` starts, each with Concurrency, under one supervisor (docs/operations.md).",
        1,
    )

    stats: bool = key("Stats", "Serve the web pages and /stats (docs/web.md).", False)
    stats_port: Annotated[int, whole(0, 65535)] = key("StatsPort", "Where; 0 takes any free port.", 8080)
    stats_bind: str = key(
        "StatsBind", "The address that they are served on; without a login, a loopback one.", "127.0.0.1"
    )
    stats_user: str | None = key(
        "StatsUser", "Who may log in to the pages.", mandatory="for a StatsBind that others reach"
    )
    stats_pass: str | None = key("StatsPass", "That user's password.", secret=True)
    stats_pass_file: str | None = key("StatsPassFile", "A file that holds that password.", instead_of=("StatsPass",))
    stats_hosts: forms.OwnNames = key(
        "StatsHosts", "Names beside StatsBind under which the pages may be asked for.", (), shown=None
    )
    stats_prefix: forms.Prefix = key(
        "StatsPrefix", "The path under which a reverse proxy offers the pages, e.g. /restbroker.", ""
    )
    stats_read_only: bool = key("StatsReadOnly", "The pages show, and change nothing.", False)
    roster: Roster | None = key(
        "Roster",
        "Serve rosters from Redis to Prosody (docs/roster-service.md). All of its members have defaults.",
        secret=True,
    )
    health_bind: forms.Bind | None = key(
        "HealthBind", "host:port that serves /healthz and /readyz alone, without login."
    )
    log_level: LogLevel = key("LogLevel", "What is logged.", "info")
    show_bodies: bool = key(
        "ShowBodies", "Do not mask message texts in logs, pages and Sidekiq Web's Busy page.", False
    )


def all_keys() -> Mapping[str, Key]:
    """Every key of the file by its name, in the order of the reference page."""
    return keys_of(Keys)
