"""The keys of `env.json`, each with its kind, default, unit and meaning; and the finished, checked configuration.

`Keys` is the one definition: the loader, the JSON schema, the sample's check and the reference page come from it.
Assembly and the command line get a `Config`. Always holds: keys beyond these are an error, and no `repr` shows a
secret.
"""
# ruff: noqa: RUF009  `_key` is attrs.field with a key's facts, not a shared default

from pathlib import Path
from typing import Any

import attrs

from restbroker.config import values
from restbroker.config.secret import Secret
from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.config.values import Kind, LogLevel
from restbroker.rules.json_types import Json
from restbroker.rules.retry import Backoff


@attrs.frozen
class Key:
    """What is known of one key. `ignored`: why it is understood and has no effect; `aliases`: other spellings."""

    name: str
    kind: Kind
    meaning: str
    default: Json = None
    unit: str | None = None
    secret: bool = False
    mandatory: str | None = None
    ignored: str | None = None
    aliases: tuple[str, ...] = ()


def _key(name: str, kind: Kind, meaning: str, default: object = None, **more: Any) -> Any:  # noqa: ANN401  as attrs.field
    shown = more.pop("shown", default)
    return attrs.field(default=default, metadata={"key": Key(name, kind, meaning, shown, **more)})


_COUNT = values.whole(0, 1_000_000)
_UNREAD = values.anything()


@attrs.frozen(kw_only=True)
class Keys:
    """The values of all keys, typed and checked one by one; what they mean together is judged by `config.build`."""

    redis_url: str | None = _key(
        "RedisURL",
        values.text(),
        "Where Redis is: redis://[user:password@]host[:port][/database], rediss:// for TLS, unix:///path for a socket.",
        shown="redis://localhost:6379/0",
        secret=True,
    )
    redis_host: str | None = _key("RedisHost", values.text(), "The older form of RedisURL: host or host:port.")
    redis_database: int | None = _key("RedisDatabase", values.whole(0, 999_999), "The database's number.", shown=0)
    redis_pass: str | None = _key("RedisPass", values.text(), "The password for Redis.", secret=True)
    redis_pass_file: str | None = _key("RedisPassFile", values.text(), "A file that holds the password for Redis.")
    redis_namespace: str | None = _key(
        "RedisNamespace", values.text(), "A prefix: `ns` makes every key `ns:KEY`, as redis-namespace does."
    )
    redis_pool_count: Json = _key(
        "RedisPoolCount", _UNREAD, "Was the size of a pool.", ignored="connections to Redis are counted by need"
    )
    process_id: Json = _key(
        "ProcessID", _UNREAD, "Was the process's name.", ignored="every process makes its own unique identity"
    )
    max_idle_connections: Json = _key(
        "MaxIdleConnections",
        _UNREAD,
        "Was the number of idle connections kept.",
        ignored="one connection per worker is kept (Concurrency)",
    )

    rest_url: str | None = _key(
        "RestURL",
        values.text(),
        "The server's HTTP API. A command's name is appended: RestURL/register. For ejabberd usually …/api.",
        shown="http://localhost:5281",
        secret=True,
    )
    rest_auth: str = _key(
        "RestAuth", values.choice("auto", "basic", "bearer"), "How to log in; auto: by what is given.", "auto"
    )
    rest_user: str | None = _key("RestUser", values.text(), "The user for HTTP Basic, e.g. admin@example.org.")
    rest_pass: str | None = _key("RestPass", values.text(), "The password for HTTP Basic.", secret=True)
    rest_pass_file: str | None = _key("RestPassFile", values.text(), "A file that holds that password.")
    rest_token: str | None = _key("RestToken", values.text(), "A bearer token for the server.", secret=True)
    rest_token_file: str | None = _key("RestTokenFile", values.text(), "A file that holds that token.")
    server_version: str = _key(
        "ServerVersion", values.text(), "The server's version, e.g. 24.12; auto: ask the server.", "auto"
    )
    jabber_domain: str | None = _key(
        "JabberDomain", values.text(), "The virtual host: fills a missing `host` argument, and the Host header."
    )
    host_header: str | None = _key("HostHeader", values.text(), "The Host header, where it is not JabberDomain.")
    jabber_rest_host: Json = _key(
        "JabberRestHost", _UNREAD, "Was derived from RestURL.", ignored="use HostHeader to set the Host header"
    )

    rest_queue: str | None = _key(
        "RestQueue", values.text(), "The queue to take jobs from, without `queue:`.", mandatory="the queue to serve"
    )
    token: str | None = _key(
        "Token",
        values.text(),
        "The token that each job must carry.",
        secret=True,
        mandatory="the token that each job must carry (or TokenFile)",
    )
    token_file: str | None = _key("TokenFile", values.text(), "A file that holds that token.")
    response_queue: str | None = _key("ResponseQueue", values.text(), "The queue for answers to jobs with a reply id.")
    response_details: bool = _key(
        "ResponseDetails", values.switch(), "Answers get a third argument with status, outcome and error.", False
    )
    response_class: str = _key("ResponseClass", values.text(), "The class of the jobs that carry answers.", "Add")

    concurrency: int = _key(
        "Concurrency", values.whole(1, 1000), "How many requests at once, per process.", 20, aliases=("Concurreny",)
    )
    request_timeout: float = _key("RequestTimeout", values.duration(), "For one request.", 10.0, shown="10s")
    connect_timeout: float = _key("ConnectTimeout", values.duration(), "For connecting.", 3.0, shown="3s")
    idle_expiry: float = _key(
        "IdleExpiry", values.duration(), "How long an unused connection is kept.", 240.0, shown="240s"
    )
    shutdown_timeout: float = _key(
        "ShutdownTimeout", values.duration(), "How long a stop waits for running requests.", 25.0, shown="25s"
    )
    backoff: Backoff = _key(
        "Backoff",
        values.backoff(),
        'Waits between tries: "sidekiq" (n⁴ + 15 s + jitter) or {"Base": "1s", "Factor": 2, "Cap": "1h"}.',
        values.read_backoff("sidekiq"),
        shown="sidekiq",
    )
    uncertain_retries: int = _key(
        "UncertainRetries",
        _COUNT,
        "How often a command that must not run twice is sent again after a time-out without an answer.",
        2,
    )
    at_most_once: tuple[str, ...] = _key(
        "AtMostOnce",
        values.patterns(),
        "Commands that are never sent again when they may have run; they are parked. Costs a write to Redis for each.",
        ("announce_*",),
        shown=["announce_*"],
    )

    stats: bool = _key("Stats", values.switch(), "Serve /stats.", False)
    stats_port: int = _key("StatsPort", values.whole(0, 65535), "Where; 0 takes any free port.", 8080)
    stats_bind: str = _key("StatsBind", values.text(), "The loopback address that /stats is served on.", "127.0.0.1")
    health_bind: tuple[str, int] | None = _key(
        "HealthBind", values.bind(), "host:port that serves /healthz and /readyz alone, without login."
    )
    log_level: LogLevel = _key(
        "LogLevel", values.choice("debug", "info", "warning", "error"), "What is logged.", "info"
    )
    show_bodies: bool = _key("ShowBodies", values.switch(), "Do not mask message texts in logs and pages.", False)


@attrs.frozen
class Note:
    """Something the operator should know about the configuration; it is used all the same."""

    code: str
    message: str
    cure: str | None = None


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
    redis_sentinels: tuple[tuple[str, int], ...] = ()
    """Host and port of each; empty: `redis_url` names the server itself."""
    redis_master: str | None = None
    redis_sentinel_password: Secret | None = None


@attrs.frozen
class Loaded:
    """A configuration, the notes to show with it, and its file (None: it came from the environment alone)."""

    config: Config
    notes: tuple[Note, ...]
    path: Path | None


def all_keys() -> dict[str, Key]:
    """Every key by the name of its field in `Keys`, in the order of the reference page."""
    return {field.name: field.metadata["key"] for field in attrs.fields(Keys)}


EXCLUSIVE = (
    ("RedisURL", "RedisHost"),
    ("RedisPass", "RedisPassFile"),
    ("RestPass", "RestPassFile"),
    ("RestToken", "RestTokenFile"),
    ("Token", "TokenFile"),
)
"""Two ways to say one thing. In one place both are an error; a flag or variable for one replaces the file's other."""
