"""One target: a server to deliver to, with its address, credentials, limits and queues.

An entry of `Targets`, which `config.check_targets` completes; used by `app`, worker pools and connectors. Always holds
of a complete one: the URL is absolute, has no query and no user in it, and its path has no trailing slash.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal, TypeVar, assert_never
from urllib.parse import quote

import attrs

from restbroker.config import forms
from restbroker.config.forms import File
from restbroker.config.key import OptionsOf, inline, key, secret, whole
from restbroker.config.problems import Problems, at
from restbroker.config.secret import NO_SECRET, Secret, place_of
from restbroker.job.fairness import FAIR_KEY, Fairness
from restbroker.job.order import ORDER_KEY, Order, key_rules
from restbroker.light import frozen

T = TypeVar("T")
_COLON: Final = "must not hold a colon, which HTTP Basic cannot carry."


@frozen
class Basic:
    """HTTP Basic credentials."""

    user: str = key("User", default="", mandatory="always")
    """The user, e.g. admin@example.org."""
    password: Secret = secret("Pass", default=NO_SECRET, mandatory="or PassFile")
    """The password."""

    def check(self, place: str, problems: Problems) -> "Basic | None":
        """Return user and password as they are to be used; None after a problem, which is added to `problems`."""
        if not self.user:
            problems.refuse(at(place, "User"), "is missing or empty; it is the user to log in as.")
        elif ":" in self.user:
            problems.refuse(at(place, "User"), _COLON)
        missing = "it is that user's password (or use PassFile)"
        password = problems.try_secret(at(place, "Pass"), self.password, missing=missing)
        return Basic(self.user, password) if self.user and password is not None else None


def check_login(user: str | None, password: Secret | None, keys: tuple[str, str], problems: Problems) -> Basic | None:
    """Return the login that two flat keys of these names make; None without either, or after a problem."""
    user_key, password_key = keys
    usable = problems.try_secret(password_key, password)
    if user is None and password is not None:
        problems.refuse(user_key, f"is missing or empty, although {password_key} is given.")
    elif user is not None and ":" in user:
        problems.refuse(user_key, _COLON)
    if password is None and user is not None:
        why = f"is missing or empty, although {user_key} is given (or use {password_key}File)."
        problems.refuse(password_key, why)
    return None if user is None or usable is None else Basic(user, usable)


@frozen
class IssuedLogin:
    """A login for which the server issues bearer tokens; with `fallback`, HTTP Basic is used if it issues none."""

    login: Basic
    fallback: bool


_BEARER: Final = re.compile(r"[\x21-\x7e]+")


@frozen
class Bearer:
    """A bearer token as it is written, or the login for which the server issues one."""

    token: Secret = secret("Token", default=NO_SECRET, mandatory="or TokenFile or User")
    """The token."""
    _user: str | None = key("User", instead_of=("Token", "TokenFile"))
    """A user for whom the server issues tokens."""
    _password: Secret | None = secret("Pass", mandatory="with User")
    """That user's password."""

    def check(self, place: str, problems: Problems) -> "Bearer | IssuedLogin | None":
        """Return the token, or the login for which tokens are issued; None after a problem (in `problems`)."""
        if self._user is not None or self._password is not None:
            login = Basic(self._user or "", self._password or NO_SECRET).check(place, problems)
            return None if login is None else IssuedLogin(login, fallback=False)
        where = at(place, "Token")
        missing = "it is the token to log in with (or use TokenFile)"
        return check_bearer(where, problems.try_secret(where, self.token, missing=missing), problems)


def check_bearer(place: str, token: Secret | None, problems: Problems) -> Bearer | None:
    """Return the token as credentials; None if there is none. A text that is no bearer token becomes a problem."""
    if token is None:
        return None
    if not _BEARER.fullmatch(token.reveal()):
        problems.refuse(place, "must be printable ASCII without blanks, as a bearer token is.")
    return Bearer(token)


@frozen
class Auth:
    """How to log in to a target, as it is written."""

    basic: Basic | None = key("Basic", secret=True)
    """User and password."""
    bearer: Bearer | None = key("Bearer", secret=True, instead_of=("Basic",))
    """A token."""
    auto: Basic | None = key("Auto", secret=True, instead_of=("Basic", "Bearer"))
    """A token if the server issues one, else user and password."""


Engine = Literal["lean", "httpx"]
"""The HTTP client for a target: our own, or httpx for servers that ours cannot read."""
OnExpiry = Literal["drop", "dead"]

Login = Basic | Bearer | None
"""The credentials that one request carries; None: no login."""

Credentials = Login | IssuedLogin


@frozen
class Url:
    """The address of a target; `path` is "" or begins with "/" and does not end with it.

    `socket` is the path of a unix socket; None: `host` and `port` count.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    socket: str | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port, as in the header `Origin`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __str__(self) -> str:
        start = self.origin if self.socket is None else f"http+unix://{quote(self.socket, safe='')}"
        return start + self.path


@frozen
class Proxy:
    """The HTTP proxy before a target: its address, such as `http://proxy.example.org:3128`, and its login."""

    origin: str
    login: Basic | None = None


@frozen
class TlsFiles:
    """PEM files for TLS to a server; `ca` has the authorities to verify its certificate with (None: the system's).

    `cert` is our own certificate, with the intermediate ones, that is shown to the server; `key` is its key, if that is
    not in the same file.
    """

    ca: File | None = key("CAFile")
    """Certificates (PEM) to verify the server's, instead of the system's."""
    cert: File | None = key("CertFile")
    """This client's certificate (PEM), for servers that require one."""
    key: File | None = key("KeyFile")
    """Its key (PEM, without a passphrase), if that is not in CertFile."""


@frozen
class CertFiles:
    """The certificate with which a server of restbroker identifies itself; `key` is None if it is in the same file."""

    cert: File = key("CertFile", default=Path())
    """The certificate (PEM) for Listen, with intermediates; only TLS is then accepted. A renewed one is used within
    seconds."""
    key: File | None = key("KeyFile")
    """Its key (PEM, without a passphrase), if that is not in CertFile."""


USUALLY_AT_MOST_ONCE: Final = ("announce_*",)


@frozen(kw_only=True)
class WrittenKeys:
    """Keys of a target as written; `config.check_targets` makes fields of `Target` from them.

    None: the default of the target's kind applies.
    """

    url: str = key("URL", default="", secret=True, mandatory="always")
    """The server's HTTP API, as RestURL."""
    auth: Auth | None = key("Auth", secret=True)
    """How to log in: exactly one member."""
    queues: forms.Queues = key("Queues", default=(), mandatory="always")
    """The queues to serve, without `queue:`; no two targets share one. A list: in strict priority. Weights, such as
    {"high": 3, "rest": 1}: each comes first in its share of the fetches."""
    concurrency: forms.Thousand | None = key("Concurrency", shown=20)
    """Requests at once, per process; some kinds have another default."""
    timeout_s: forms.Duration | None = key("RequestTimeout", shown="10s")
    """The timeout of one request; some kinds have another default."""
    idle_expiry_s: forms.Duration | None = key("IdleExpiry", shown="240s")
    """How long idle connections are kept; some kinds have another default."""
    proxy: str | None = key("Proxy", secret=True)
    """An HTTP proxy on the way to the server, such as http://proxy.example.org:3128. As with Engine httpx, a request
    then costs several times the CPU."""
    proxy_user: str | None = key("ProxyUser")
    """The user for Proxy."""
    proxy_pass: Secret | None = secret("ProxyPass")
    """That user's password."""
    at_most_once: forms.Commands = key("AtMostOnce", default=USUALLY_AT_MOST_ONCE, shown=[*USUALLY_AT_MOST_ONCE])
    """Commands never sent again if they may have run; their jobs die instead. Costs one Redis write per job."""


_MEMBERS: Mapping[str, str] = {
    "RestURL": "URL",
    "RestUser": "Auth.Basic.User",
    "RestPass": "Auth.Basic.Pass",
    "RestToken": "Auth.Bearer.Token",
    "JabberDomain": "Domain",
    "ServerVersion": "Options.ServerVersion",
    "ApiVersion": "Options.ApiVersion",
}
_FLAT = re.compile(rf"\b({'|'.join(_MEMBERS)})(File)?\b")
"""Matches flat keys in texts for operators, in whose place the members of a target are named."""
_LOGIN = re.compile(r"(?<=\()Auth(, or Rest[^)]*)?(?=[,)])")
"""Matches the keys of a login in such texts, in whose place those are named that this target uses."""


@frozen
class Target:
    """One configured server; durations are seconds. `host_header` is sent as `Host`; None: the URL's host is.

    In a complete target, `written` has no meaning any more.
    """

    name: str = ""
    kind: str = key("Kind", default="", mandatory="always")
    """The server's kind: one of Options below, or of an installed package."""
    url: Url = Url("http", "localhost", 80)
    queues: tuple[str, ...] = ()
    credentials: Credentials = None
    login_in_url: bool = False
    """Whether the URL has the login."""
    written: WrittenKeys = inline(WrittenKeys, WrittenKeys())
    host_header: forms.HostHeader | None = key("HostHeader")
    """The Host header, if it is not the virtual host."""
    default_host: forms.Name | None = key("Domain")
    """The virtual host: for a missing `host` argument, and the Host header."""
    concurrency: int = 20
    timeout_s: float = 10.0
    connect_timeout_s: forms.Duration = key("ConnectTimeout", default=3.0, shown="3s")
    """For connecting."""
    idle_expiry_s: float = 240.0
    max_connection_age_s: forms.Duration = key("MaxConnectionAge", default=600.0, shown="10m")
    """The greatest age of a connection; then changes of DNS and balancers take effect."""
    engine: Engine = key("Engine", default="lean")
    """The HTTP client: lean, or httpx if lean rejects the server's answers; it costs several times the CPU."""
    proxy: Proxy | None = None
    at_most_once: tuple[str, ...] = ()
    """Commands, as names with wildcards, that are never sent again if they may have run."""
    rate: forms.RateLimit | None = key("RateLimit")
    """How fast all processes together start jobs: "200/s", "6000/min", or {"Rate": "200/s", "Burst": 20}. Burst: how
    many at once after a pause (default: 100 ms' worth)."""
    max_in_flight: Annotated[int, whole(1, 1_000_000)] | None = key("MaxInFlight")
    """Jobs in progress of all processes together; by default Concurrency per process."""
    slots: forms.Slots = key("Slots", default=MappingProxyType({}))
    """Lower limits of requests at once for some commands: {"register": 2, "get_*": 5}."""
    expire_s: forms.Durations = key("Expire", default=MappingProxyType({}))
    """How long after their creation jobs of these commands expire, unless they have an `expiry`:
    {"send_message": "10m"}."""
    on_expiry: OnExpiry = key("OnExpiry", default="drop")
    """What becomes of jobs that expire: drop (counted, in the log, the metrics and the History) or dead. One that may
    have run always dies."""
    idempotency_s: forms.DurationOrNone = key("IdempotencyFor", default=86_400.0, shown="24h")
    """How long an `idempotency_key` of a job counts, from its last try on; 0: never."""
    fair_by: forms.FairBy | None = key("FairBy")
    """Jobs of one queue take turns by these arguments (["host"]), or by their own member "fair_key"; by default they
    are served as they came."""
    fair_weights: forms.FairWeights = key("FairWeights", default=MappingProxyType({}))
    """The shares of some keys, 1 to 100, in place of 1: {"vip.example.org": 4}."""
    order_by: forms.OrderBy | None = key("OrderBy")
    """Jobs with the same values of these arguments (["user", "host"]), or with the same "order_key" as their own
    member, are done one after the other, in their order."""
    on_dead: forms.DeathRule = key("OnDead", default="go")
    """With OrderBy, what becomes of the jobs behind one that dies: go (the next one starts) or stop (they wait for a
    person; cancel is read so too)."""
    tls: TlsFiles = key("TLS", default=TlsFiles())
    """Certificates, for https."""
    public_only: bool = False
    """Whether connections to addresses of private networks are refused, whatever the URL's name resolves to then."""
    is_local: bool = False
    """Whether its commands are done in Redis, so that no server is asked and none has to work."""
    options: Annotated[object, OptionsOf("targets")] = key("Options")
    """Further keys: see Options below."""
    secrets: tuple[Secret, ...] = ()
    """The secrets in its options."""
    weights: Mapping[str, int] = MappingProxyType({})
    """The chance of each queue to be served first; empty: the queues are served strictly in their order."""
    is_flat: bool = False
    """Whether the flat keys of the Go original make it, in place of an entry of `Targets`."""

    def name_own_keys(self, text: str) -> str:
        """Return a text for operators with the keys that this target has in place of the flat ones.

        Those of its login are the keys from which it came.
        """
        login, kind = self.credentials, "Basic"
        if isinstance(self.credentials, IssuedLogin):
            login, kind = self.credentials.login, "Auto" if self.credentials.fallback else "Bearer"
        match login:
            case Bearer(token=token):
                text = _LOGIN.sub(place_of("RestToken", token), text)
            case Basic(password=password):
                keys = "RestURL" if self.login_in_url else f"RestUser and {place_of('RestPass', password)}"
                text = _LOGIN.sub(keys, text)
        if self.is_flat:
            return text
        members = {**_MEMBERS, "RestUser": f"Auth.{kind}.User", "RestPass": f"Auth.{kind}.Pass"}
        return _FLAT.sub(lambda found: f"Targets.{self.name}.{members[found[1]]}{found[2] or ''}", text)

    @property
    def fairness(self) -> Fairness | None:
        """How the jobs of one queue take turns; None: they are served as they came."""
        if self.fair_by is None:
            return None
        return attrs.evolve(self.fair_by, default_host=self.default_host, weights=self.fair_weights)

    @property
    def takes_fair_key(self) -> bool:
        """Whether jobs take turns by their own member `fair_key`."""
        return self.fair_by is not None and not self.fair_by.names

    @property
    def order(self) -> Order | None:
        """How jobs of one key are done one after the other; None: they are not."""
        if self.order_by is None:
            return None
        return attrs.evolve(self.order_by, default_host=self.default_host, on_dead=self.on_dead)

    @property
    def key_rules(self) -> str:
        """What it says of its fairness and its order, as the store takes it; "": nothing."""
        return key_rules(self.order, self.fairness)

    @property
    def takes_order_key(self) -> bool:
        """Whether jobs are kept in order by their own member `order_key`."""
        return self.order_by is not None and not self.order_by.names

    @property
    def unread_keys(self) -> dict[str, str]:
        """{member of a job that has no effect here: the key of the configuration that would give it one}."""
        order = {} if self.takes_order_key else {ORDER_KEY: "OrderBy"}
        return order if self.takes_fair_key else {**order, FAIR_KEY: "FairBy"}

    def expire_of_s(self, command: str) -> float | None:
        """Return how long after its creation this command is worth doing, in seconds; None: for ever.

        Of several patterns that it fits, the shortest time counts.
        """
        return min((lasts_s for glob, lasts_s in self.expire_s.items() if fnmatchcase(command, glob)), default=None)

    @property
    def all_secrets(self) -> tuple[Secret, ...]:
        """The secrets in its options, and those of its login and of its proxy's."""
        login = None if self.proxy is None else self.proxy.login
        secrets = self.secrets if login is None else (*self.secrets, login.password)
        match self.credentials:
            case Basic(_, one) | Bearer(one) | IssuedLogin(Basic(_, one), _):
                return (*secrets, one)
            case None:
                return secrets
            case _:
                assert_never(self.credentials)

    def options_as(self, kind: type[T]) -> T:
        """Return its options if they are of the class `kind`, otherwise that class's defaults."""
        return self.options if isinstance(self.options, kind) else kind()
