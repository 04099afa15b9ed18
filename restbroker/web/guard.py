"""Who may request a page, and whose forms are obeyed; `web.site` passes every request through here first.

Always holds: a request under a foreign host name, without the login that is configured, or with a form that no page of
ours sent, reaches no page, and of `/healthz` and `/readyz` only what everyone may know; neither the time nor the text
of a refusal shows what was wrong with a login; no login outlasts its request.

A foreign page may let its own host name point to 127.0.0.1 (DNS rebinding), but cannot change the name that its
requests carry in `Host`; and a browser sends our login with the requests of any page, but says in `Sec-Fetch-Site` or
`Origin` whose they are.
"""

import hmac
from collections import OrderedDict
from collections.abc import Callable, Collection
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import Final, TypeVar

import trio
from quart import Response, request

from restbroker.config.secret import Secret
from restbroker.config.target import Basic
from restbroker.errors import ConfigError
from restbroker.light import define, field, frozen
from restbroker.serving.app import Refuse
from restbroker.telemetry.events import OperatorWarning, Report
from restbroker.web import health


@frozen
class PageSettings:
    """How the pages are served: `bind` is the address or name to listen on, `names` are further names to answer to.

    `prefix` is the path that a reverse proxy puts before ours, "" for none. `login`: None lets everyone in.
    `metrics_token`: what else opens /metrics, as a bearer token; with it no one reads /metrics without a login.
    """

    bind: str
    names: tuple[str, ...] = ()
    prefix: str = ""
    login: Basic | None = None
    metrics_token: Secret | None = None
    is_read_only: bool = False


T = TypeVar("T")
FOR_PROGRAMS: Final = frozenset({"/stats", "/metrics"})
"""Paths that also accept the password as a bearer token."""
_REPORT_EVERY_S: Final = 60.0
_HINT: Final = "Fix the login of that client; if you do not know it, restrict access to the port."
_PORT_DIGITS: Final = 5
_MOST_KNOWN: Final = 1000
_MOST_ADDRESSES: Final = 16_384
"""All of these may try 1,365 logins a second together, as many as can be checked: to forget the oldest frees none."""
_KNOWN_S: Final = 24 * 60 * 60.0


@define
class _Bucket:
    """How many tries were left at the time `at_s`."""

    tokens: float
    at_s: float


@define(eq=False)
class LoginAttempts:
    """Limits how often a wrong login may be tried from one address (IPv6: one /64); right ones do not count.

    An address from which someone logged in within a day has ten tries a second: behind a proxy everyone has the same
    one. No address uses up the tries of another. `now_s` returns seconds that never jump.
    """

    now_s: Callable[[], float]
    per_address: int = 5
    per_known_address: int = 10
    _buckets: OrderedDict[str, _Bucket] = field(factory=OrderedDict)
    _known: OrderedDict[str, float] = field(factory=OrderedDict)
    """When someone last logged in from an address."""

    def may_try(self, address: str) -> bool:
        """Tell whether another try from this address is allowed."""
        return self._tokens_left(_network(address)) >= 1

    def count_failure(self, address: str) -> None:
        """Count a wrong try from this address."""
        network = _network(address)
        left = self._tokens_left(network)
        _put_last(self._buckets, network, _Bucket(left - 1, self.now_s()), _MOST_ADDRESSES)

    def trust(self, address: str) -> None:
        """Note that someone logged in from this address."""
        _put_last(self._known, _network(address), self.now_s(), _MOST_KNOWN)

    def _tokens_left(self, network: str) -> float:
        is_known = self.now_s() - self._known.get(network, -_KNOWN_S) < _KNOWN_S
        most, refill_s = (self.per_known_address, 1.0) if is_known else (self.per_address, 60.0)
        bucket = self._buckets.get(network)
        return most if bucket is None else min(most, bucket.tokens + (self.now_s() - bucket.at_s) * most / refill_s)


@define(eq=False)
class Guard:
    """The guard of one app; `refuse` makes the answer for a request that reaches no page."""

    settings: PageSettings
    report: Report
    refuse: Refuse
    tries: LoginAttempts = field(factory=lambda: LoginAttempts(trio.current_time))
    _reported_at_s: dict[str, float] = field(factory=dict)
    """When each warning was last reported, by its code."""

    async def before_request(self) -> Response | None:
        """Return the answer to send instead of the page; None lets the request pass."""
        if request.path in health.PATHS:
            return None
        if not self._is_own_name():
            return self.refuse(
                421,
                "UnknownHost",
                "This page is not available under that host name.",
                "Use its address, localhost, or a name in StatsBind or StatsHosts.",
            )
        if request.path.startswith("/static/"):
            return None
        return await self._refused_login() or self._refused_form()

    async def may_see(self) -> bool:
        """Tell whether the visitor of a path that is open to everyone could see the pages too."""
        return self._is_own_name() and await self._refused_login() is None

    def _is_own_name(self) -> bool:
        return is_own(request.headers.get("Host", ""), self.settings.bind, self.settings.names)

    async def _refused_login(self) -> Response | None:
        """Return the refusal of a request without the login that is configured; None if it has it, or needs none."""
        login, token = self.settings.login, self.settings.metrics_token
        is_metrics = request.path == "/metrics"
        if login is None and (token is None or not is_metrics):
            return None
        given = request.authorization
        user = password = None
        if given is not None and given.type == "basic":
            user, password = given.username, given.password
        elif given is not None and given.type == "bearer" and request.path in FOR_PROGRAMS:
            # Not `given.token`: that is None if there is an equals sign within.
            bearer = request.headers["Authorization"].partition(" ")[2].strip()
            # Tries of it are not limited: it is too long to guess, and none may block it.
            if token is not None and is_metrics and is_same(bearer, await self._read(token)):
                return None
            user, password = login.user if login else None, bearer
        if login is None or user is None or password is None:
            return self._login_needed()
        wanted = await self._read(login.password)
        # Nothing is waited for from here on: more could be tried at once than one after the other.
        if not self.tries.may_try(_address()):
            message = f"There were so many wrong logins from {_address()} that its logins are rejected for a while."
            self._warn(OperatorWarning("LoginsThrottled", message, _HINT))
            refused = self.refuse(429, "TooManyTries", "Too many wrong tries. Wait a minute.")
            refused.headers["Retry-After"] = f"{_REPORT_EVERY_S:.0f}"
            return refused
        if wanted is None:
            return self.refuse(
                503, "LoginUnreadable", "No one can log in now: the password cannot be read.", "See the log."
            )
        right_user, right_password = is_same(user, login.user), is_same(password, wanted)
        if not (right_user and right_password):
            self.tries.count_failure(_address())
            return self._login_needed()
        self.tries.trust(_address())
        return None

    async def _read(self, secret: Secret) -> str | None:
        """Return the secret as it is now; report that it cannot be read, and return None."""
        try:
            # A slow disk must not hold up deliveries.
            return await trio.to_thread.run_sync(secret.reveal)
        except ConfigError as error:
            self._warn(OperatorWarning("LoginUnreadable", error.message, error.hint))
            return None

    def _warn(self, warning: OperatorWarning) -> None:
        """Report a warning, at most once a minute."""
        if trio.current_time() - self._reported_at_s.get(warning.code, float("-inf")) >= _REPORT_EVERY_S:
            self._reported_at_s[warning.code] = trio.current_time()
            self.report(warning)

    def _login_needed(self) -> Response:
        hint = "Use StatsUser and its password, or for /metrics MetricsToken."
        refused = self.refuse(401, "LoginNeeded", "Log in first.", hint)
        refused.headers["WWW-Authenticate"] = 'Basic realm="restbroker", charset="UTF-8"'
        return refused

    def _refused_form(self) -> Response | None:
        """Return the refusal of a form; None for one that a page of ours sent, and for what is no form."""
        # Where nothing takes a form, the method is refused.
        if request.method != "POST" or request.routing_exception is not None:
            return None
        if not _is_own_form():
            return self.refuse(
                403,
                "ForeignForm",
                "This request came from a page of another site, or the address in the browser is not the "
                "one that reaches restbroker.",
                "Behind a reverse proxy, let it pass on name, port and scheme: proxy_set_header Host $http_host, "
                "X-Forwarded-Proto $scheme. From a shell: curl -H 'Sec-Fetch-Site: same-origin'.",
            )
        if self.settings.is_read_only:
            return self.refuse(403, "ReadOnly", "These pages change nothing (StatsReadOnly).")
        return None


def is_own(host: str, bind: str, names: Collection[str] = ()) -> bool:
    """Tell whether `host` (a Host header, "" without one) names an address, `localhost`, `bind` or one of `names`."""
    name = _without_port(host).lower()
    own = {"localhost", bind.lower(), *(other.lower() for other in names)}
    return name in own - {""} or _is_address(name)


def is_same(given: str, wanted: str | None) -> bool:
    """Tell whether two texts are the same, in a time that does not show where they differ; None is like no text."""
    return wanted is not None and hmac.compare_digest(_digest(given), _digest(wanted))


def _is_own_form() -> bool:
    """Tell whether a page of ours sent the request: no other page can set or leave out either header.

    Browsers leave `Sec-Fetch-Site` out for http beyond loopback, and old ones always.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    scheme = request.headers.get("X-Forwarded-Proto", request.scheme)
    return request.headers.get("Origin", "").lower() == f"{scheme}://{request.headers.get('Host', '')}".lower()


def _address() -> str:
    return request.remote_addr or ""


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if colon and port.isascii() and port.isdigit() and len(port) <= _PORT_DIGITS and not name.endswith(":"):
        return name
    return host


def _is_address(name: str) -> bool:
    bracketed = name.startswith("[") and name.endswith("]")
    try:
        address = ip_address(name[1:-1] if bracketed else name)
    except ValueError:
        return False
    return bracketed == isinstance(address, IPv6Address)


def _put_last(found: OrderedDict[str, T], name: str, value: T, most: int) -> None:
    """Set the newest of at most `most` values; the oldest makes room."""
    found.pop(name, None)
    while len(found) >= most:
        found.popitem(last=False)
    found[name] = value


def _network(address: str) -> str:
    """Return the network whose addresses one person has: of IPv6 the first 64 bits."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    return f"{int(found) >> 64:x}::/64" if found.ipv4_mapped is None else str(found.ipv4_mapped)


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
