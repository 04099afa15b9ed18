"""One target: a server to deliver to, with its address, credentials, limits and queues.

Made by `config.load`; used by `app`, lanes and connectors. Always holds: the URL is absolute, has no query and no
user in it, and its path has no trailing slash.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import attrs

from restbroker.config.forms import File, Rate
from restbroker.config.key import key, secret
from restbroker.config.review import Review, at
from restbroker.config.secret import NO_SECRET, Secret


@attrs.frozen
class Basic:
    """HTTP Basic credentials."""

    user: str = key("User", "The user, e.g. admin@example.org.", "", shown=None, mandatory="always")
    password: Secret = secret(
        "Pass", "The password.", "A file that holds the password.", NO_SECRET, mandatory="or PassFile"
    )

    def check(self, place: str, review: Review) -> "Basic | None":
        """User and password as they are to be used; None where there is a problem in `review`."""
        password = review.try_secret(at(place, "Pass"), self.password)
        if not self.user:
            review.refuse(at(place, "User"), "is missing or empty; it is the user to log in as.")
        elif ":" in self.user:
            review.refuse(at(place, "User"), "must not hold a colon, which HTTP Basic cannot carry.")
        if self.password == NO_SECRET:
            review.refuse(at(place, "Pass"), "is missing or empty; it is that user's password (or use PassFile).")
            return None
        return Basic(self.user, password) if self.user and password is not None else None


@attrs.frozen
class Bearer:
    """A bearer token."""

    token: Secret


@attrs.frozen
class Issued:
    """Bearer tokens that the server issues for this login. `fallback`: Basic counts where there is none."""

    login: Basic
    fallback: bool


Engine = Literal["lean", "httpx"]
"""Which HTTP client speaks to a target: our own, or httpx for odd servers."""

Login = Basic | Bearer | None
"""What a request carries."""

Credentials = Login | Issued


@attrs.frozen
class Url:
    """Where a target listens. `path` is "" or begins with "/" and does not end with one; `socket` is a unix socket."""

    scheme: str
    host: str
    port: int
    path: str = ""
    socket: str | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port, as for an `Origin` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __str__(self) -> str:
        return self.origin + self.path


@attrs.frozen
class TlsFiles:
    """PEM files for TLS. `ca`: the authority that the server's certificate is checked against, instead of the system's.

    `cert`: the certificate (with those between it and its authority) that is shown to the server; `key`: its key, if
    that is not in the same file.
    """

    ca: File | None = key("CAFile", "Certificates (PEM) that the server's is checked against, instead of the system's.")
    cert: File | None = key("CertFile", "This client's own certificate (PEM), for a server that asks for one.")
    key: File | None = key("KeyFile", "Its key (PEM, without a passphrase), if that is not in CertFile.")


@attrs.frozen
class CertFiles:
    """What a server of ours shows who it is with. `key`: None if it is in the certificate's file."""

    cert: File = key(
        "CertFile",
        "The certificate (PEM) that is shown there, with those between it and its authority; then Listen speaks TLS"
        " alone. A renewed one counts within seconds.",
        Path(),
        shown=None,
    )
    key: File | None = key("KeyFile", "Its key (PEM, without a passphrase), if that is not in CertFile.")


@attrs.frozen
class Target:
    """One configured server. Durations are seconds. `host_header` is what `Host` says; None: the URL's host."""

    name: str
    kind: str
    url: Url
    queues: tuple[str, ...]
    credentials: Credentials = None
    host_header: str | None = None
    default_host: str | None = None
    """The virtual host that fills a missing `host` argument (`JabberDomain`)."""
    concurrency: int = 20
    timeout_s: float = 10.0
    connect_timeout_s: float = 3.0
    idle_expiry_s: float = 240.0
    max_connection_age_s: float = 600.0
    """No connection is used for longer: names come to mean other addresses, and balancers other servers."""
    engine: Engine = "lean"
    at_most_once: tuple[str, ...] = ()
    """Commands, as names with wildcards, that are never sent again when they may have run."""
    rate: Rate | None = None
    max_in_flight: int | None = None
    """How many jobs all processes together may have in hand; None: each up to `concurrency`."""
    slots: Mapping[str, int] = MappingProxyType({})
    """How many at once of one command (a name with wildcards), on top of `concurrency`."""
    tls: TlsFiles = TlsFiles()
    public_only: bool = False
    """No connection is opened to an address of a private network, whatever the URL's name means just then."""
    is_local: bool = False
    """Its commands are done in Redis: no server is asked, and none has to work."""
    options: object = None
    secrets: tuple[Secret, ...] = ()
    """Those in its options."""
    weights: Mapping[str, int] = MappingProxyType({})
    """Of each queue, the chance to be served first; empty: they are served strictly in their order."""
