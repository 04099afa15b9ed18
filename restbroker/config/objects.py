"""The keys inside of `Targets`, and those that the flat form shares with them.

`config.check_targets` makes a `Target` of them. Always holds: a default that a flat key shares is written here only.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import attrs

from restbroker.config import forms
from restbroker.config.form import OptionsOf, whole
from restbroker.config.key import inline, key, secret
from restbroker.config.kind import Defaults
from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Engine, TlsFiles
from restbroker.job.json_types import Json

_NO_SLOTS: Mapping[str, int] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class BearerKeys:
    """A bearer token, or the login for which the server issues one."""

    token: Secret | None = secret(
        "Token", "The token.", "A file that holds the token.", mandatory="or TokenFile or User"
    )
    user: str | None = key("User", "A user for whom the server issues tokens.", instead_of=("Token", "TokenFile"))
    password: Secret | None = secret(
        "Pass", "That user's password.", "A file that holds that password.", mandatory="with User"
    )


@attrs.frozen(kw_only=True)
class AuthKeys:
    """One way to log in."""

    basic: Basic | None = key("Basic", "User and password.", secret=True)
    bearer: BearerKeys | None = key("Bearer", "A token.", secret=True, instead_of=("Basic",))
    auto: Basic | None = key(
        "Auto",
        "User and password, and a token in their place while the server issues one.",
        secret=True,
        instead_of=("Basic", "Bearer"),
    )


@attrs.frozen(kw_only=True)
class Limits:
    """How a target is asked, whether its keys are flat or in an entry of `Targets`. None: as its kind has it."""

    concurrency: forms.Thousand | None = key(
        "Concurrency", "How many requests at once, per process; of some kinds another default.", shown=20
    )
    timeout_s: forms.Duration | None = key(
        "RequestTimeout", "For one request; of some kinds another default.", shown="10s"
    )
    connect_timeout_s: forms.Duration = key("ConnectTimeout", "For connecting.", 3.0, shown="3s")
    idle_expiry_s: forms.Duration | None = key(
        "IdleExpiry", "How long an unused connection is kept; of some kinds another default.", shown="240s"
    )
    max_connection_age_s: forms.Duration = key(
        "MaxConnectionAge",
        "How long any connection is used: names come to mean other addresses, and balancers other servers.",
        600.0,
        shown="10m",
    )
    engine: Engine = key(
        "Engine",
        "The HTTP client: our own, or httpx where a server is at odds with ours. It costs a job several times the CPU.",
        "lean",
    )
    rate: forms.RateLimit | None = key(
        "RateLimit",
        'How many jobs all processes together start: "200/s", "6000/min", or {"Rate": "200/s", "Burst": 20}. '
        "Burst, which may start at once after a rest, is otherwise what 100 ms hold.",
    )
    max_in_flight: Annotated[int, whole(1, 1_000_000)] | None = key(
        "MaxInFlight", "How many jobs all processes together have in hand; without it each process up to Concurrency."
    )
    slots: forms.Slots = key(
        "Slots",
        'How many requests at once for single commands, e.g. {"register": 2, "get_*": 5}, on top of Concurrency.',
        _NO_SLOTS,
        shown=None,
    )
    at_most_once: forms.Commands = key(
        "AtMostOnce",
        "Commands that are never sent again when they may have run; they are parked. Costs a write to Redis for each.",
        ("announce_*",),
        shown=["announce_*"],
    )

    def of(self, defaults: Defaults) -> Mapping[str, Any]:
        """The fields of a target whose kind has these defaults."""
        return {
            **attrs.asdict(self, recurse=False),
            "concurrency": self.concurrency or defaults.concurrency,
            "timeout_s": self.timeout_s or defaults.timeout_s,
            "idle_expiry_s": self.idle_expiry_s or defaults.idle_expiry_s,
        }


@attrs.frozen(kw_only=True)
class TargetKeys:
    """One entry of `Targets`."""

    kind: str = key("Kind", "The kind of server: one of Options below.", "", shown=None, mandatory="always")
    url: str = key("URL", "The server's HTTP API, as RestURL.", "", shown=None, secret=True, mandatory="always")
    host_header: str | None = key("HostHeader", "The Host header, where it is not Domain.")
    domain: str | None = key("Domain", "The virtual host: fills a missing `host` argument, and the Host header.")
    auth: AuthKeys | None = key("Auth", "How to log in: exactly one of its members.", secret=True)
    queues: forms.Queues = key(
        "Queues",
        "The queues to take jobs from, without `queue:`. A list: the first is served first. Weights, such as"
        ' {"high": 3, "rest": 1}: each is served first in its share of all fetches. A queue belongs to one target.',
        (),
        shown=None,
        mandatory="always",
    )
    limits: Limits = inline(Limits, Limits())
    tls: TlsFiles | None = key("TLS", "Certificates, for https.")
    options: Annotated[Json, OptionsOf("targets")] | None = key(
        "Options", "What this kind takes beyond these: see Options below."
    )
