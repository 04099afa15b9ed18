"""Who may request a page, and whose forms are obeyed; `web.site` passes every request through here first.

Always holds: a request under a foreign host name, without the login that is configured, or with a form that none of our
pages made, reaches no page, and of `/healthz` and `/readyz` only what everyone may know; neither the time nor the text
of a refusal shows what was wrong with a login.
"""

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

import attrs
import trio
from quart import Response, g, request

from restbroker.config.target import Basic
from restbroker.errors import ConfigError
from restbroker.serving.app import Refuse
from restbroker.telemetry.events import OperatorWarning, Report
from restbroker.web import health, hosts
from restbroker.web.sessions import LIFE_S, LoginAttempts, Sessions, is_same
from restbroker.web.settings import Settings

FOR_PROGRAMS = frozenset({"/stats", "/metrics"})
"""Paths that also accept Basic and bearer logins, and are refused with a status instead of a login form."""
OPEN = frozenset({"/login"})
_COOKIE = "restbroker-visit"
_READ_AGAIN_S = 10.0
TOO_MANY = "Too many wrong tries. Wait a minute."
_WAIT_S = 60.0
_HINT = "Fix the login of that client; if you do not know it, restrict access to the port."


@attrs.define(eq=False)
class Guard:
    """The guard of one app; `to_login` makes the answer for a person who has to log in first, `refuse` any other."""

    settings: Settings
    report: Report
    refuse: Refuse
    to_login: Callable[[], Response]
    sessions: Sessions = attrs.field(factory=lambda: Sessions(trio.current_time))
    tries: LoginAttempts = attrs.field(factory=lambda: LoginAttempts(trio.current_time))
    _lock: trio.Lock = attrs.field(factory=trio.Lock)
    """One login is checked at a time: otherwise more could be tried at once than one after the other."""
    _password: bytes | None = attrs.field(default=None, repr=False)
    """A digest of the password as it was last read, at `_read_at_s`."""
    _read_at_s: float = float("-inf")
    _reported_at_s: float = float("-inf")

    async def before_request(self) -> Response | None:
        """Return the answer to send instead of the page; None lets the request pass."""
        g.visit = request.cookies.get(_COOKIE, "")
        g.new_visit = None
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
        if not (request.path in OPEN or await self._is_logged_in()):
            why = await self._program_logs_in()
            if why is not None:
                return self._refusal(why)
        # Where nothing takes a form, none is read.
        takes_form = request.method == "POST" and request.routing_exception is None
        return await self._look_at_form() if takes_form else None

    async def may_see(self) -> bool:
        """Tell whether the visitor of a path that is open to everyone could see the pages too."""
        return self._is_own_name() and await self._is_logged_in()

    def mark(self) -> str:
        """Return the mark for the forms of this answer; a visitor without a name gets one, as a cookie."""
        name: str = g.new_visit or g.visit
        if not name:
            name = g.new_visit = self.sessions.new()
        return self.sessions.mark(name)

    def may_stay(self) -> Callable[[], bool]:
        """Return a function that tells whether the visitor may still see an answer that outlasts its request."""
        name: str = g.visit
        return lambda: self.settings.login is None or self.sessions.is_logged_in(name)

    async def log_in(self, user: str, password: str, *, keeps: bool = True) -> str | None:
        """Log the visitor in and return None, or return why not, as a text for them.

        With `keeps` the login lasts beyond this request, by a cookie. Wait until other logins have been checked.
        """
        async with self._lock:
            if not self.tries.may_try(_address()):
                self._tell()
                return TOO_MANY
            try:
                right = await self._fits(user, password)
            except ConfigError:
                return "No one can log in now: the password cannot be read. The log says why."
            if not right:
                self.tries.note_failed(_address())
                return "User or password is wrong."
            self.tries.note_right(_address())
        if keeps:
            g.new_visit = self.sessions.log_in()
        return None

    def log_out(self) -> None:
        """End the visitor's login."""
        self.sessions.log_out(g.visit)
        g.new_visit = self.sessions.new()

    async def after_request(self, response: Response) -> Response:
        """Add the cookie that `mark`, `log_in` or `log_out` made to the response, and return it."""
        if g.get("new_visit"):
            response.set_cookie(
                _COOKIE,
                g.new_visit,
                max_age=round(LIFE_S),
                path=f"{self.settings.prefix}/",
                secure=_is_encrypted(),
                httponly=True,
                samesite="Strict",
            )
        return response

    async def _program_logs_in(self) -> str | None:
        """Log a program in for this request and return None, or return why not; "" if it sent no login that counts."""
        login, given = self.settings.login, request.authorization
        if given is None or request.path not in FOR_PROGRAMS:
            return ""
        user, password = given.username or "", given.password or ""
        if given.type == "bearer":
            # Not `given.token`: that is None if there is an equals sign within.
            user, password = login.user if login else "", request.headers["Authorization"].partition(" ")[2].strip()
            if await self._is_metrics_token(password):
                return None
        return await self.log_in(user, password, keeps=False) if login else ""

    async def _is_metrics_token(self, given: str) -> bool:
        """Tell whether this opens /metrics. Tries are not limited: it is too long to guess, and none may block it."""
        token = self.settings.metrics_token
        if token is None or request.path != "/metrics":
            return False
        async with self._lock:
            try:
                return is_same(given, await trio.to_thread.run_sync(token.reveal))
            except ConfigError as error:
                self.report(OperatorWarning("LoginUnreadable", error.message, error.hint))
                return False

    def _is_own_name(self) -> bool:
        return hosts.is_own(request.headers.get("Host", ""), self.settings.bind, self.settings.names)

    def _tell(self) -> None:
        """Report, at most once a minute, that logins of an address are not checked."""
        if trio.current_time() - self._reported_at_s >= _WAIT_S:
            self._reported_at_s = trio.current_time()
            message = f"There were so many wrong logins from {_address()} that its logins are rejected for a while."
            self.report(OperatorWarning("LoginsThrottled", message, _HINT))

    async def _is_logged_in(self) -> bool:
        """Tell whether the visitor is logged in, or needs no login.

        If the password has changed, everyone is logged out within seconds.
        """
        login = self.settings.login
        if login is None:
            return self.settings.metrics_token is None or request.path != "/metrics"
        if self.sessions.is_logged_in(g.visit) and trio.current_time() - self._read_at_s >= _READ_AGAIN_S:
            # Where it cannot be read no one is logged out.
            with suppress(ConfigError):
                await self._read(login)
        return self.sessions.is_logged_in(g.visit)

    async def _fits(self, user: str, password: str) -> bool:
        """Tell whether this is the configured login; raise `ConfigError` if its file cannot be read."""
        login = self.settings.login
        if login is None:
            return False
        wanted = await self._read(login)
        right_user, right_password = is_same(user, login.user), is_same(password, wanted)
        return right_user and right_password

    async def _read(self, login: Basic) -> str:
        """Return the password as it is now, and end all sessions if it changed; raise `ConfigError` if unreadable."""
        self._read_at_s = trio.current_time()
        try:
            # A slow disk must not hold up deliveries.
            wanted = await trio.to_thread.run_sync(login.password.reveal)
        except ConfigError as error:
            self.report(OperatorWarning("LoginUnreadable", error.message, error.hint))
            raise
        digest = sha256(wanted.encode()).digest()
        if self._password not in (None, digest):
            self.sessions.end_all()
        self._password = digest
        return wanted

    def _refusal(self, why: str) -> Response:
        if request.method == "GET" and request.path not in FOR_PROGRAMS and request.path != "/live":
            return self.to_login()
        if why == TOO_MANY:
            refused = self.refuse(429, "TooManyTries", why)
            refused.headers["Retry-After"] = f"{_WAIT_S:.0f}"
            return refused
        hint = "Use StatsUser and its password, or for /metrics MetricsToken."
        refused = self.refuse(401, "LoginNeeded", "Log in first.", hint)
        if request.path in FOR_PROGRAMS:
            refused.headers["WWW-Authenticate"] = 'Basic realm="restbroker", charset="UTF-8"'
        return refused

    async def _look_at_form(self) -> Response | None:
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin" or not _is_own_origin():
            return self.refuse(
                403,
                "ForeignForm",
                "This request came from a page of another site, or the address in the browser is not the "
                "one that reaches restbroker.",
                "Behind a reverse proxy, let it pass on name and port: proxy_set_header Host $http_host.",
            )
        mark = (await request.form).get("mark", "")
        if not self.sessions.is_marked(g.visit, mark):
            return self.refuse(
                403, "StaleForm", "This form is too old, or not from restbroker.", "Load the page again."
            )
        if self.settings.is_read_only and request.path not in {"/login", "/logout"}:
            return self.refuse(403, "ReadOnly", "These pages change nothing (StatsReadOnly).")
        return None


def _address() -> str:
    return request.remote_addr or ""


def _is_own_origin() -> bool:
    """Tell whether the header `Origin`, if a browser sends it, names the host of this request."""
    origin = request.headers.get("Origin")
    return origin is None or origin.partition("://")[2].lower() == request.headers.get("Host", "").lower()


def _is_encrypted() -> bool:
    """Tell whether the visitor's connection is encrypted, as far as a proxy says; a lie harms only its sender."""
    return request.headers.get("X-Forwarded-Proto", request.scheme).lower() == "https"
