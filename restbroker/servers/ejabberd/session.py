"""Which login a request carries: the configured one, or a bearer token that ejabberd issues for it.

The connector calls `login` before each request, and `next_login` after one that was refused. Always holds: tokens are
in memory only and in no message; one request for a token is under way at a time. After one that failed, or a new token
that was refused, there is a pause, so that requests for tokens never loop; but after a token that had worked, the next
one is requested at once, at most once a minute. With `fallback`, no job waits while another one requests a token, none
fails because there is none, and a warning says why Basic is used, once for each cause.

Why: HTTP Basic costs ejabberd 6.6 ms of CPU a request where passwords are stored as SCRAM does, a token 0.12 ms
(measured on 24.12; 12 ms against 0.35 ms of time on 23.01). `login_cost` measures it for `check`, and once for each
session that uses Basic; if it is slow there, a warning says so.

Traps, all measured on 23.01: `oauth_issue_token` answers 500 "internal_error" while the Erlang application `oauth2` is
missing, and 400 "badpass" while `oauth_access` does not allow the account, as by default; a token has only the rights
that `api_permissions` gives under `oauth`.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from math import inf
from typing import Final

import attrs
import trio

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Bearer, Credentials, IssuedLogin, Login, Target
from restbroker.config.values import duration_text
from restbroker.errors import ConfigError
from restbroker.job.json_types import Json
from restbroker.light import define, field, frozen
from restbroker.servers.api.request import Headers, unsent
from restbroker.servers.api.texts import parse_json
from restbroker.servers.contract import Link
from restbroker.servers.ejabberd.outcomes import CHECK_URL, read
from restbroker.servers.ejabberd.request import headers_of, question
from restbroker.servers.findings import Finding, Texts, ok
from restbroker.telemetry.events import OperatorWarning, Report
from restbroker.transport.message import MaybeSent, NotSent, Request, Response

TEXTS: Final = Texts.beside(__file__)
SCOPE: Final = "ejabberd:admin"
"""The one scope that stands for every command; what a token may do is then up to `api_permissions`."""
LIFE_S: Final = 3600
"""How many seconds a token lives: few, since ejabberd keeps it in its database until then, no matter who has it."""
RENEW_AFTER: Final = 0.75
"""The share of its life after which a token is exchanged; the rest is for servers that are down."""
PAUSE_S: Final = 60.0
"""Basic counts for so many seconds after no token could be had, or one was refused."""
SHORT_PAUSE_S: Final = 1.0
"""The same pause if there is no Basic to fall back on."""
WEAK_PAUSE_S: Final = 600.0
"""Basic counts for so many seconds after it was allowed what a token was not."""
SLOW_LOGIN_S: Final = 0.004
"""A login is slow that costs each request so many seconds; passwords in plain cost none."""
_SAMPLES: Final = 5
_MOST_ROUNDS: Final = 3
NEEDS_OAUTH2: Final = "Install the Erlang application oauth2 (Debian: erlang-p1-oauth2), then restart ejabberd."
_FIXED: Final = "fixed"
"""The state of headers that never change, as their secret is neither issued nor in a file."""


@frozen
class OauthToken:
    """A token, the time from which on it is to be renewed, and that of its end (seconds on Trio's clock)."""

    login: Bearer
    renew_at_s: float
    ends_at_s: float


@frozen
class NoToken:
    """Why there is no token. `denied`: the server works, and a person must do something."""

    message: str
    hint: str
    denied: bool


_REFUSED: Final = NoToken(
    "ejabberd does not accept a token that it issued a short time ago.",
    "Check its log; behind a balancer, its nodes must share their database.",
    denied=True,
)
_HINTS: Final[Mapping[int | str, str]] = {
    401: "Correct the target's login (Auth, or RestUser and RestPass): the user is a whole JID.",
    403: "Allow oauth_issue_token for the account in ejabberd's api_permissions.",
    "badpass": (
        "The password may be right: by default `oauth_access` in ejabberd.yml allows no one tokens (badpass). "
        "`oauth_access: configure` allows administrators; `restbroker check --suggest` prints the lines for this one."
    ),
    "internal_error": NEEDS_OAUTH2,
}
"""What to do if no token is issued, by the answer's status or words."""


@define(eq=False)
class Session:
    """The login of one target in one process."""

    _target: Target
    _report: Report
    _token: OauthToken | None = None
    _unproven_token: Bearer | None = None
    """The token that is held, as long as no request with it was answered well."""
    _no_token: NoToken | None = None
    _ask_at_s: float = float("-inf")
    _spare_at_s: float = float("-inf")
    """From when on the next token is asked for at once if one that worked is refused."""
    _warned_hints: dict[str, str | None] = field(factory=dict)
    """By the code of a warning, the hint that it gave."""
    _token_lock: trio.Lock = field(factory=trio.Lock)
    _measurements_left: int = 3
    fixed_headers: Headers | None = field(init=False, repr=False, default=None)
    """What `current_headers` returns from its first call on, if the secret is neither issued nor in a file."""
    _headers: Headers | None = field(init=False, repr=False, default=None)
    _headers_state: object = field(init=False, default=None)

    @property
    def is_issued(self) -> bool:
        """Whether the server issues tokens for the login."""
        return isinstance(self._target.credentials, IssuedLogin)

    def current_headers(self) -> Headers | None:
        """Return the headers of a request that is sent now, the same object until they change.

        None: they are not known without `login`, or the secret's file cannot be used or has just changed.
        """
        if self.fixed_headers is not None:
            return self.fixed_headers
        login: Credentials = self._target.credentials
        state: object = _FIXED
        match login:
            case IssuedLogin():
                token = self._token
                if token is None or token.login is self._unproven_token or trio.current_time() >= token.renew_at_s:
                    return None
                login, state = token.login, token
            case Basic(password=secret) | Bearer(token=secret) if secret.path is not None:
                state = secret.file_state()
                if state is None:
                    return None
            case _:
                pass
        if self._headers_state != state:
            try:
                self._headers = headers_of(login)
            except ConfigError:
                return None  # told for each request
            self._headers_state = state
            self.fixed_headers = self._headers if state is _FIXED else None
        return self._headers

    async def login(self, link: Link) -> Login | NoToken:
        """Return the login that the next request carries, or why there is none; wait while a token for it is asked for.

        Raise `NotSent` or `MaybeSent` if a token is needed and cannot be asked for. Safe to cancel: another request
        that waits then asks in its place.
        """
        credentials = self._target.credentials
        if not isinstance(credentials, IssuedLogin):
            return credentials
        if self._token is not None and trio.current_time() < self._token.renew_at_s:
            return self._token.login
        if credentials.fallback or self._current_token is not None:
            await self._try_to_renew(credentials, link)
            return self._current_token or credentials.login
        await link.task()
        async with self._token_lock:
            if self._current_token is None and self._may_ask:
                await self._ask(credentials, link)
            found = self._current_token or self._no_token
        if found is None:
            # As for anyone who asked a moment ago.
            raise NotSent("ejabberd has not answered a request for a token.")
        return found

    async def next_login(self, refused: Login, status: int, link: Link, *, first: bool) -> Basic | Bearer | None:
        """Return the login to send the same request with again, after `refused` met this status; None: there is none.

        A request that is refused so was not run: ejabberd checks the login first. `first`: no other login was tried
        for it yet. Raises nothing but Trio's own exceptions.
        """
        credentials = self._target.credentials
        if not isinstance(credentials, IssuedLogin) or not isinstance(refused, Bearer) or status not in (401, 403):
            return None
        if status == 401 and self._token is not None and self._token.login is refused:
            self._drop(credentials)
        if status == 401 and first:
            try:
                found = await self.login(link)
            except (NotSent, MaybeSent):
                return None
            if isinstance(found, Bearer) and found is not refused:
                return found
        return credentials.login if credentials.fallback else None

    def record_answer(self, login: Login, status: int) -> None:
        """Note the HTTP status of a request with this login; with a success, the unproven token is proven."""
        if login is self._unproven_token and 200 <= status < 300:
            self._unproven_token = None

    def compare(self, token_status: int, basic_status: int) -> None:
        """Note the statuses of one request sent with the token and then with Basic.

        If only the token was forbidden, warn, and use Basic for some minutes (`WEAK_PAUSE_S`).
        """
        if token_status == 403 and basic_status not in (401, 403):
            self._token = None
            self._ask_at_s = trio.current_time() + WEAK_PAUSE_S
            message = "ejabberd's tokens lack rights that their account has (status 403)."
            hint = 'Give tokens the same rights in ejabberd\'s api_permissions, under "oauth".'
            self._warn_once("TokenForbidden", message, hint)

    async def warn_if_slow(self, link: Link, request_s: float) -> None:
        """Report, once, that the password is used and what it costs, if it is slow; `request_s`: what a request took.

        Raises nothing but Trio's own exceptions; what could not be measured is measured next time.
        """
        login = self._target.credentials
        why_no_token = None
        if isinstance(login, IssuedLogin) and self._current_token is None:
            login, why_no_token = login.login, self._no_token
            if why_no_token is None or not why_no_token.denied:
                return  # there will be one
        if not self._measurements_left or not isinstance(login, Basic):
            return
        with suppress(NotSent, MaybeSent, ConfigError):
            found = None if request_s < SLOW_LOGIN_S else await login_cost(self._target, login, link.ask)
            # On a busy machine a slow login may look like a fast one.
            self._measurements_left -= 1
            if found is not None and found.level != "ok":
                self._measurements_left = 0
                message = f"Target {self._target.name!r}: {found.message} {found.why}"
                self._report(OperatorWarning(found.code, message, why_no_token.hint if why_no_token else found.hint))

    @property
    def _current_token(self) -> Bearer | None:
        token = self._token
        return token.login if token is not None and trio.current_time() < token.ends_at_s else None

    @property
    def _may_ask(self) -> bool:
        return trio.current_time() >= self._ask_at_s

    def _drop(self, credentials: IssuedLogin) -> None:
        now_s = trio.current_time()
        worked, self._token, self._no_token = self._unproven_token is None, None, _REFUSED
        if worked and now_s >= self._spare_at_s:
            self._ask_at_s, self._spare_at_s = now_s, now_s + PAUSE_S
        elif credentials.fallback:
            self._warn_once("TokenRefused", _REFUSED.message, _REFUSED.hint)

    def _warn_once(self, code: str, message: str, hint: str) -> None:
        """Report that Basic is used, once until the cause is another one or was gone."""
        if self._warned_hints.get(code) != hint:
            self._warned_hints[code] = hint
            meanwhile = f"{message} Commands of target {self._target.name!r} use the password meanwhile."
            self._report(OperatorWarning(code, meanwhile, f"{hint} `restbroker check` says what is missing."))

    def _may_renew(self) -> bool:
        return self._may_ask and not self._token_lock.locked()

    async def _try_to_renew(self, credentials: IssuedLogin, link: Link) -> None:
        if not self._may_renew():
            return
        await link.task()
        if not self._may_renew():
            return  # another one asks, or asked meanwhile
        async with self._token_lock:
            with suppress(NotSent, MaybeSent):  # the request itself finds out whether the server is there
                await self._ask(credentials, link)

    async def _ask(self, credentials: IssuedLogin, link: Link) -> None:
        now_s = trio.current_time()
        # Before the answer: it may never come.
        self._ask_at_s = now_s + (PAUSE_S if credentials.fallback else SHORT_PAUSE_S)
        self._no_token = None
        request = unsent(lambda: token_request(self._target, credentials.login))
        try:
            response = await link.ask(request)
        except trio.Cancelled:
            # It says nothing of the server: anyone who waits asks in its place.
            self._ask_at_s = now_s
            raise
        except NotSent:
            self._ask_at_s = now_s + SHORT_PAUSE_S  # as soon as the server is back
            raise
        found = read_token(response, now_s)
        if isinstance(found, OauthToken):
            self._take(found)
        else:
            self._no_token = found
            if credentials.fallback and found.denied:
                self._warn_once("NoToken", found.message, found.hint)

    def _take(self, token: OauthToken) -> None:
        if self._token is not None and self._unproven_token is None:
            self._warned_hints.clear()  # the one before it served to its end: what was wrong is over
        self._warned_hints.pop("NoToken", None)
        self._token, self._unproven_token = token, token.login


async def login_cost(target: Target, login: Basic, send: Callable[[Request], Awaitable[Response]]) -> Finding:
    """Return what the login costs the server for each request; ejabberd checks it before it refuses the argument.

    Raise `ConfigError` as `request.headers_of` does, and what `send` raises.
    """
    without, login_s = attrs.evolve(target, credentials=None), inf
    for _ in range(_MOST_ROUNDS):
        took_s = await _fastest_s(target, login, send)
        login_s = min(login_s, took_s - await _fastest_s(without, None, send))
        if login_s < SLOW_LOGIN_S:
            return ok(target.name, "Speed", f"It answers in {duration_text(took_s)}.")
    # Never in a single moment in which the machine is busy.
    return TEXTS.finding(target.name, "SlowLogin", rate=1 / login_s, took=duration_text(login_s))


async def _fastest_s(target: Target, login: Login, send: Callable[[Request], Awaitable[Response]]) -> float:
    """Return how many seconds the fastest of some harmless requests took."""
    request = question(target, "status", {"zz_probe": 1}, login)
    return min([(await send(request)).duration_s for _ in range(_SAMPLES)])


def token_request(target: Target, login: Basic, scope: str = SCOPE, life_s: int = LIFE_S) -> Request:
    """Return the request for a token that lives `life_s` seconds; raise `ConfigError` as `request.headers_of` does.

    A list of one scope suits every version of the interface: where `scopes` is a text (v0), ejabberd joins it.
    """
    arguments: Mapping[str, Json] = {"jid": login.user, "ttl": life_s, "scopes": [scope]}
    return question(target, "oauth_issue_token", arguments, login)


def read_token(response: Response, now_s: float) -> OauthToken | NoToken:
    """Return the token in this answer, or why there is none; `now_s` is when it was asked for, by Trio's clock."""
    if response.status == 200:
        return _token(response, now_s)
    answer = read(response)
    says = f"status {response.status}: {answer.message}" if answer.message else f"status {response.status}"
    message = f"ejabberd issues no token for the login ({says})."
    passing = response.status in (408, 425, 429) or answer.raw_message == "unknown_command"
    if passing or (response.status >= 500 and answer.raw_message != "internal_error"):
        return NoToken(message, "See ejabberd's log.", denied=False)
    hint = _HINTS.get(response.status) or _HINTS.get(answer.raw_message, CHECK_URL)
    return NoToken(message, hint, denied=True)


def _token(response: Response, now_s: float) -> OauthToken | NoToken:
    body = parse_json(response.parsable)
    text = body.get("token") if isinstance(body, Mapping) else None
    life = re.match(r"\d{1,9}", str(body.get("expires_in", ""))) if isinstance(body, Mapping) else None
    if not isinstance(text, str) or not re.fullmatch(r"[!-~]+", text):
        # The answer is not shown: it may hold a token in a form that is not known here.
        message = "ejabberd's answer to oauth_issue_token has no token."
        return NoToken(message, CHECK_URL, denied=True)
    life_s = int(life[0]) if life else LIFE_S
    return OauthToken(Bearer(Secret(text)), now_s + life_s * RENEW_AFTER, now_s + life_s)
