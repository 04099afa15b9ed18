"""The keys inside of `Targets` and `Tokens`, described like those of the file itself.

`config.reader` makes instances of these classes, `config.build_targets` and `config.build_tokens` judge them. Always
holds: a default that a flat key shares is written here only.
"""
# ruff: noqa: RUF009  `key` is attrs.field with a key's facts, not a shared default

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from restbroker.config import forms, values
from restbroker.config.key import key
from restbroker.config.kinds import ObjectOf, OptionsOf
from restbroker.config.target import Engine, Rate
from restbroker.job.json_types import Json

_NO_SLOTS: Mapping[str, int] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class BasicKeys:
    """HTTP Basic."""

    user: str | None = key("User", values.text(), "The user, e.g. admin@example.org.", mandatory="always")
    password: str | None = key("Pass", values.text(), "The password.", secret=True, mandatory="or PassFile")
    password_file: str | None = key("PassFile", values.text(), "A file that holds the password.", instead_of=("Pass",))


@attrs.frozen(kw_only=True)
class BearerKeys:
    """A bearer token, or the login for which the server issues one."""

    token: str | None = key("Token", values.text(), "The token.", secret=True, mandatory="or TokenFile or User")
    token_file: str | None = key("TokenFile", values.text(), "A file that holds the token.", instead_of=("Token",))
    user: str | None = key(
        "User", values.text(), "A user for whom the server issues tokens.", instead_of=("Token", "TokenFile")
    )
    password: str | None = key("Pass", values.text(), "That user's password.", secret=True, mandatory="with User")
    password_file: str | None = key("PassFile", values.text(), "A file that holds that password.", instead_of=("Pass",))


@attrs.frozen(kw_only=True)
class AuthKeys:
    """One way to log in."""

    basic: BasicKeys | None = key("Basic", ObjectOf("object", BasicKeys), "User and password.", secret=True)
    bearer: BearerKeys | None = key(
        "Bearer", ObjectOf("object", BearerKeys), "A token.", secret=True, instead_of=("Basic",)
    )
    auto: BasicKeys | None = key(
        "Auto",
        ObjectOf("object", BasicKeys),
        "User and password, and a token in their place while the server issues one.",
        secret=True,
        instead_of=("Basic", "Bearer"),
    )


@attrs.frozen(kw_only=True)
class TlsKeys:
    """How the server and this client show who they are."""

    ca_file: str | None = key(
        "CAFile", values.text(), "Certificates (PEM) that the server's is checked against, instead of the system's."
    )
    cert_file: str | None = key(
        "CertFile", values.text(), "This client's own certificate (PEM), for a server that asks for one."
    )
    key_file: str | None = key(
        "KeyFile", values.text(), "Its key (PEM, without a passphrase), if that is not in CertFile."
    )


@attrs.frozen(kw_only=True)
class TargetKeys:
    """One entry of `Targets`."""

    kind: str | None = key("Kind", values.text(), "The kind of server: one of Options below.", mandatory="always")
    url: str | None = key("URL", values.text(), "The server's HTTP API, as RestURL.", secret=True, mandatory="always")
    host_header: str | None = key("HostHeader", values.text(), "The Host header, where it is not Domain.")
    domain: str | None = key(
        "Domain", values.text(), "The virtual host: fills a missing `host` argument, and the Host header."
    )
    auth: AuthKeys | None = key(
        "Auth", ObjectOf("object", AuthKeys), "How to log in: exactly one of its members.", secret=True
    )
    queues: tuple[str, ...] | Mapping[str, int] = key(
        "Queues",
        forms.queues(),
        "The queues to take jobs from, without `queue:`. A list: the first is served first. Weights, such as"
        ' {"high": 3, "rest": 1}: each is served first in its share of all fetches. A queue belongs to one target.',
        (),
        shown=None,
        mandatory="always",
    )
    concurrency: int | None = key(
        "Concurrency",
        values.whole(1, 1000),
        "How many requests at once, per process; of some kinds another default.",
        shown=20,
    )
    request_timeout: float | None = key(
        "RequestTimeout", values.duration(), "For one request; of some kinds another default.", shown="10s"
    )
    connect_timeout: float = key("ConnectTimeout", values.duration(), "For connecting.", 3.0, shown="3s")
    idle_expiry: float | None = key(
        "IdleExpiry",
        values.duration(),
        "How long an unused connection is kept; of some kinds another default.",
        shown="240s",
    )
    max_connection_age: float = key(
        "MaxConnectionAge",
        values.duration(),
        "How long any connection is used: names come to mean other addresses, and balancers other servers.",
        600.0,
        shown="10m",
    )
    engine: Engine = key(
        "Engine",
        values.choice("lean", "httpx"),
        "The HTTP client: our own, or httpx where a server is at odds with ours. It costs a job several times the CPU.",
        "lean",
    )
    rate_limit: Rate | None = key(
        "RateLimit",
        forms.rate(),
        'How many jobs all processes together start: "200/s", "6000/min", or {"Rate": "200/s", "Burst": 20}. '
        "Burst, which may start at once after a rest, is otherwise what 100 ms hold.",
    )
    max_in_flight: int | None = key(
        "MaxInFlight",
        values.whole(1, 1_000_000),
        "How many jobs all processes together have in hand; without it each process up to Concurrency.",
    )
    slots: Mapping[str, int] = key(
        "Slots",
        forms.slots(),
        'How many requests at once for single commands, e.g. {"register": 2, "get_*": 5}, on top of Concurrency.',
        _NO_SLOTS,
        shown=None,
    )
    at_most_once: tuple[str, ...] = key(
        "AtMostOnce",
        values.patterns(),
        "Commands that are never sent again when they may have run; they are parked. Costs a write to Redis for each.",
        ("announce_*",),
        shown=["announce_*"],
    )
    tls: TlsKeys | None = key("TLS", ObjectOf("object", TlsKeys), "Certificates, for https.")
    options: Json = key("Options", OptionsOf("object"), "What this kind takes beyond these: see Options below.")


@attrs.frozen(kw_only=True)
class TokenKeys:
    """One entry of `Tokens`."""

    secret: str | None = key(
        "Secret",
        values.text(),
        "What the job carries, or signs with.",
        secret=True,
        mandatory="or SecretFile",
    )
    secret_file: str | None = key("SecretFile", values.text(), "A file that holds it.", instead_of=("Secret",))
    previous: str | None = key(
        "PreviousSecret", values.text(), "The secret before this one, valid too during a rotation.", secret=True
    )
    previous_file: str | None = key(
        "PreviousSecretFile", values.text(), "A file that holds it.", instead_of=("PreviousSecret",)
    )
    allow: tuple[str, ...] = key(
        "Allow",
        forms.allowed(),
        "Commands that its jobs may ask for, with * and ?. Those that touch the server itself are allowed by "
        '"dangerous:" and their tag, or "dangerous:*"; "*" never includes them.',
        ("*",),
        shown=["*"],
    )
    hosts: tuple[str, ...] = key(
        "Hosts", forms.hosts(), "Virtual hosts that its jobs may name, with * and ?; without it any.", (), shown=None
    )
    targets: tuple[str, ...] = key(
        "Targets",
        forms.some_targets(),
        "Targets that its jobs may be for, with * and ?; without it any.",
        (),
        shown=None,
    )
    queues: tuple[str, ...] = key(
        "Queues",
        forms.some_queues(),
        "Queues that its jobs may be taken from, with * and ?; without it any.",
        (),
        shown=None,
    )
    signed: bool | str = key(
        "Signed",
        forms.signed(),
        'Jobs carry a signature instead of the secret, which then never lies in Redis; "queue": one that covers the'
        " queue.",
        False,
    )
    window: float = key(
        "Window",
        values.duration(most_days=30),
        "How old a signature may be when a broker first sees it.",
        7 * values.DAY_S,
        shown="7d",
    )
