"""Who may ask for a page, and whose forms are obeyed. `web.site` has every request pass here first.

Always holds: a request under a foreign name, without the login that is configured, or with a form that no page of ours
made, reaches no page, and of `/healthz` and `/readyz` only what anybody may know; nobody learns by the time or the text
of a refusal what was wrong with a login.
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
from restbroker.telemetry.events import Report, Warned
from restbroker.web import health, hosts
from restbroker.web.sessions import LIFE_S, Sessions, Tries, is_same
from restbroker.web.settings import Settings

FOR_PROGRAMS = frozenset({"/stats", "/metrics"})
"""These take Basic and bearer as well, and are refused with a status instead of a form."""
OPEN = frozenset({"/login"})
_COOKIE = "restbroker-visit"
_READ_AGAIN_S = 10.0
TOO_MANY = "Too many wrong attempts. Wait a minute."
_WAIT_S = 60.0
_CURE = "Fix the login of that client; if you do not know it, restrict access to the port."


@attrs.define(eq=False)
class Guard:
    """One for an app. `to_login` makes the answer for a person who has to log in first, `refuse` any other."""

    settings: Settings
    report: Report
    refuse: Refuse
    to_login: Callable[[], Response]
    visits: Sessions = attrs.field(factory=lambda: Sessions(trio.current_time))
    tries: Tries = attrs.field(factory=lambda: Tries(trio.current_time))
    _turn: trio.Lock = attrs.field(factory=trio.Lock)
    """One login is looked at at a time: else more could be tried at once than one after the other."""
    _password: bytes | None = attrs.field(default=None, repr=False)
    """A digest of it, as it was read last, at `_read_at_s`."""
    _read_at_s: float = float("-inf")
    _told_at_s: float = float("-inf")

    async def before(self) -> Response | None:
        """What to answer instead of the page; None lets the request pass."""
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
        """Whether the visitor of a path that is open to anybody could see the pages too."""
        return self._is_own_name() and await self._is_logged_in()

    def mark(self) -> str:
        """The mark for the forms of this answer; gives the visitor a name where there is none."""
        name: str = g.new_visit or g.visit
        if not name:
            name = g.new_visit = self.visits.new()
        return self.visits.mark(name)

    def may_stay(self) -> Callable[[], bool]:
        """For what outlasts its request: whether the visitor may still see it."""
        name: str = g.visit
        return lambda: self.settings.login is None or self.visits.is_logged_in(name)

    async def log_in(self, user: str, password: str, *, visit: bool = True) -> str | None:
        """Logs the visitor in: None. Else why not, for the visitor. `visit`: for more than this request."""
        async with self._turn:
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
        if visit:
            g.new_visit = self.visits.log_in()
        return None

    def log_out(self) -> None:
        """Ends the visitor's login."""
        self.visits.log_out(g.visit)
        g.new_visit = self.visits.new()

    async def after(self, response: Response) -> Response:
        """Gives the visitor the cookie that `mark` or `log_in` made."""
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
        """None: it is let in, for this request. Else why not; "" where no login came that counts."""
        login, given = self.settings.login, request.authorization
        if login is None or given is None or request.path not in FOR_PROGRAMS:
            return ""
        if given.type == "bearer":
            user, password = login.user, given.token or ""
        else:
            user, password = given.username or "", given.password or ""
        return await self.log_in(user, password, visit=False)

    def _is_own_name(self) -> bool:
        return hosts.is_own(request.headers.get("Host", ""), self.settings.bind, self.settings.names)

    def _tell(self) -> None:
        """Tells of logins that are not heard, once a minute; by whom they were tried, nobody knows."""
        if trio.current_time() - self._told_at_s >= _WAIT_S:
            self._told_at_s = trio.current_time()
            message = (
                "There were so many wrong logins to the pages, /stats or /metrics that all are rejected for a while."
            )
            self.report(Warned("LoginsThrottled", f"{message} The last came from {_address()}.", _CURE))

    async def _is_logged_in(self) -> bool:
        """Whether the visitor is, or need not. Who was with a password that is changed since is not, seconds later."""
        login = self.settings.login
        if login is None:
            return True
        if self.visits.is_logged_in(g.visit) and trio.current_time() - self._read_at_s >= _READ_AGAIN_S:
            # Where it cannot be read nobody is logged out.
            with suppress(ConfigError):
                await self._read(login)
        return self.visits.is_logged_in(g.visit)

    async def _fits(self, user: str, password: str) -> bool:
        """Whether this is the configured login. Raises `ConfigError` when its file cannot be read."""
        login = self.settings.login
        if login is None:
            return False
        wanted = await self._read(login)
        right_user, right_password = is_same(user, login.user), is_same(password, wanted)
        return right_user and right_password

    async def _read(self, login: Basic) -> str:
        """The password as it is now; one that is another than before ends all visits. Raises `ConfigError`."""
        self._read_at_s = trio.current_time()
        try:
            # A slow disk must not hold up deliveries.
            wanted = await trio.to_thread.run_sync(login.password.reveal)
        except ConfigError as error:
            self.report(Warned("LoginUnreadable", error.message, error.cure))
            raise
        digest = sha256(wanted.encode()).digest()
        if self._password not in (None, digest):
            self.visits.end_all()
        self._password = digest
        return wanted

    def _refusal(self, why: str) -> Response:
        if request.method == "GET" and request.path not in FOR_PROGRAMS and request.path != "/live":
            return self.to_login()
        if why == TOO_MANY:
            refused = self.refuse(429, "TooManyTries", why)
            refused.headers["Retry-After"] = f"{_WAIT_S:.0f}"
            return refused
        refused = self.refuse(401, "LoginNeeded", "Log in first.", "Use StatsUser and its password.")
        if request.path in FOR_PROGRAMS:
            refused.headers["WWW-Authenticate"] = 'Basic realm="restbroker", charset="UTF-8"'
        return refused

    async def _look_at_form(self) -> Response | None:
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin" or not _is_own_origin():
            return self.refuse(
                403,
                "ForeignForm",
                "This request came from a page of another site, or the browser uses another address than the "
                "one that arrives here.",
                "Behind a reverse proxy, let it pass on name and port: proxy_set_header Host $http_host.",
            )
        mark = (await request.form).get("mark", "")
        if not self.visits.is_marked(g.visit, mark):
            return self.refuse(
                403, "StaleForm", "This form is too old, or not from restbroker.", "Load the page again."
            )
        if self.settings.is_read_only and request.path not in {"/login", "/logout"}:
            return self.refuse(403, "ReadOnly", "These pages change nothing (StatsReadOnly).")
        return None


def _address() -> str:
    return request.remote_addr or ""


def _is_own_origin() -> bool:
    """Whether `Origin`, where a browser sends it, names the host that was asked."""
    origin = request.headers.get("Origin")
    return origin is None or origin.partition("://")[2].lower() == request.headers.get("Host", "").lower()


def _is_encrypted() -> bool:
    """Whether the visitor's way here is, as far as a proxy tells. Who lies about that harms only himself."""
    return request.headers.get("X-Forwarded-Proto", request.scheme).lower() == "https"
