"""Which login a request carries: the configured one, or a bearer token that ejabberd issues for it.

The connector asks `login` before each request, and `another` after one that was refused. Always holds: tokens are in
memory only and in no message; one request for a token is under way at a time, and after one that brought nothing, or
a token that was not taken, there is a pause, so that nothing here becomes a loop of requests; with `fallback`, no job
waits for a token, and none fails for want of one.

Why: HTTP Basic costs ejabberd 6.6 ms of CPU a request where passwords are stored as SCRAM does, a token 0.12 ms
(measured on 24.12; 12 ms against 0.35 ms of time on 23.01). Traps, all measured on 23.01: `oauth_issue_token` answers
500 "internal_error" while the Erlang application `oauth2` is missing, and 400 "badpass" while `oauth_access` does not
allow the account, as by default; a token has only the rights that `api_permissions` gives under `oauth`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, ParamSpec

import attrs
import trio

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Bearer, Issued, Login, Target
from restbroker.connectors.contract import Link
from restbroker.connectors.ejabberd.answer import parse, read
from restbroker.connectors.ejabberd.outcomes import CHECK_URL
from restbroker.connectors.ejabberd.request import question
from restbroker.errors import ConfigError
from restbroker.rules.json_types import Json
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response

P = ParamSpec("P")

SCOPE: Final = "ejabberd:admin"
"""The one scope that stands for every command; what a token may do is then up to `api_permissions`."""
LIFE_S: Final = 3600
"""Short, since ejabberd keeps a token in its database until then, whoever has it."""
RENEW_AFTER: Final = 0.75
"""The share of its life after which a token is exchanged; the rest is for servers that are down."""
PAUSE_S: Final = 60.0
"""Basic counts for so long after no token was had, or one was refused."""
SHORT_PAUSE_S: Final = 1.0
"""The same where there is no Basic to fall back on."""
WEAK_PAUSE_S: Final = 600.0
"""Basic counts for so long after it was allowed what a token was not."""


@attrs.frozen
class Token:
    """A token and the moments (of Trio's clock, in seconds) from which on it is to be exchanged, and useless."""

    login: Bearer
    renew_at_s: float
    ends_at_s: float


@attrs.frozen
class NoToken:
    """Why there is none. `denied`: the server works, and a person must do something."""

    message: str
    cure: str
    denied: bool


@attrs.define(eq=False)
class Session:
    """The login of one target in one process."""

    _target: Target
    _token: Token | None = None
    _why: NoToken | None = None
    _ask_at_s: float = float("-inf")
    _asking: trio.Lock = attrs.field(factory=trio.Lock)

    @property
    def fixed(self) -> Login:
        """The configured login where no token stands in for it; None if one does, or none is configured."""
        credentials = self._target.credentials
        return None if isinstance(credentials, Issued) else credentials

    async def login(self, link: Link) -> Login | NoToken:
        """What the next request carries. Raises `NotSent` or `MaybeSent` where a token is needed and cannot be asked
        for; safe to cancel: whoever waits then asks in its place.
        """
        credentials = self._target.credentials
        if not isinstance(credentials, Issued):
            return credentials
        if self._token is not None and trio.current_time() < self._token.renew_at_s:
            return self._token.login
        if credentials.fallback or self._held is not None:
            await self._try_to_renew(credentials, link)
            return self._held or credentials.login
        async with self._asking:
            if self._held is None and self._may_ask:
                await self._ask(credentials, link)
            found = self._held or self._why
        if found is None:
            # As for whoever asked a moment ago.
            raise NotSent("ejabberd was asked for a token and has not answered.")
        return found

    async def another(self, refused: Login, status: int, link: Link) -> Basic | Bearer | None:
        """The login to send the same request with once more, after `refused` met this status; None: there is none.

        A request that is refused so was not run: ejabberd looks at the login first. Raises nothing but Trio's own.
        """
        credentials = self._target.credentials
        if not isinstance(credentials, Issued) or not isinstance(refused, Bearer) or status not in (401, 403):
            return None
        if status == 401 and self._token is not None and self._token.login is refused:
            self._token, self._why = None, _not_taken()
        if credentials.fallback:
            return credentials.login
        if status == 403:
            return None
        try:
            found = await self.login(link)
        except (NotSent, MaybeSent):
            return None
        return found if isinstance(found, Bearer) and found is not refused else None

    def compare(self, token_status: int, basic_status: int) -> None:
        """Learns that Basic was allowed what the token was not: then Basic counts for some minutes."""
        if token_status == 403 and basic_status not in (401, 403):
            self._token = None
            self._ask_at_s = trio.current_time() + WEAK_PAUSE_S

    @property
    def _held(self) -> Bearer | None:
        token = self._token
        return token.login if token is not None and trio.current_time() < token.ends_at_s else None

    @property
    def _may_ask(self) -> bool:
        return trio.current_time() >= self._ask_at_s

    async def _try_to_renew(self, credentials: Issued, link: Link) -> None:
        if not self._may_ask or self._asking.locked():
            return
        async with self._asking:
            try:
                await self._ask(credentials, link)
            except (NotSent, MaybeSent):
                return  # the request itself finds out whether the server is there

    async def _ask(self, credentials: Issued, link: Link) -> None:
        now_s = trio.current_time()
        # Before the answer: it may never come.
        self._ask_at_s = now_s + (PAUSE_S if credentials.fallback else SHORT_PAUSE_S)
        self._why = None
        request = ready(asking, self._target, credentials.login)
        try:
            response = await link.ask(request)
        except trio.Cancelled:
            # It says nothing of the server: whoever waits asks in its place.
            self._ask_at_s = now_s
            raise
        found = judge(response, now_s)
        if isinstance(found, Token):
            self._token = found
        else:
            self._why = found


def asking(target: Target, login: Basic, scope: str = SCOPE, life_s: int = LIFE_S) -> Request:
    """The request for a token. Raises `ConfigError` as `request.build` does.

    A list of one scope suits every version of the interface: where `scopes` is a text (v0), ejabberd joins it.
    """
    arguments: Mapping[str, Json] = {"jid": login.user, "ttl": life_s, "scopes": [scope]}
    return question(target, "oauth_issue_token", arguments, login)


def judge(response: Response, now_s: float) -> Token | NoToken:
    """The token in this answer, or why there is none. `now_s` is when it was asked for."""
    if response.status == 200:
        return _token(response, now_s)
    answer = read(response)
    says = f"status {response.status}: {answer.words}" if answer.words else f"status {response.status}"
    message = f"ejabberd issues no token for the login ({says})."
    passing = response.status in (408, 425, 429) or answer.words == "unknown_command"
    if passing or (response.status >= 500 and answer.words != "internal_error"):
        return NoToken(message, "See ejabberd's log.", denied=False)
    return NoToken(message, _cure(response.status, answer.words), denied=True)


def ready(make: Callable[P, Request], *args: P.args, **kwargs: P.kwargs) -> Request:
    """The request that `make` makes of the rest. Raises `NotSent` in place of `ConfigError`."""
    try:
        return make(*args, **kwargs)
    except ConfigError as error:
        # A secret file that is gone concerns every job: as unsent, the job waits until it is back.
        raise NotSent(str(error)) from error


def _token(response: Response, now_s: float) -> Token | NoToken:
    _, body, _ = parse(response)
    text = body.get("token") if isinstance(body, Mapping) else None
    life = re.match(r"\d{1,9}", str(body.get("expires_in", ""))) if isinstance(body, Mapping) else None
    if not isinstance(text, str) or not re.fullmatch(r"[!-~]+", text):
        # The answer is not shown: it may hold a token in a form that is not known here.
        message = "ejabberd's answer to oauth_issue_token holds no token."
        return NoToken(message, CHECK_URL, denied=True)
    life_s = int(life[0]) if life else LIFE_S
    return Token(Bearer(Secret(text)), now_s + life_s * RENEW_AFTER, now_s + life_s)


def _cure(status: int, words: str) -> str:
    if status == 401:
        return "Correct the target's user (a whole JID) and password (RestUser, RestPass)."
    if status == 403:
        return "Allow oauth_issue_token for the account in ejabberd's api_permissions."
    if words == "badpass":
        return "Let the account have tokens: `oauth_access` in ejabberd.yml names an access rule that allows it."
    if words == "internal_error":
        return "Install the Erlang application oauth2 (Debian: erlang-p1-oauth2), then restart ejabberd."
    return CHECK_URL


def _not_taken() -> NoToken:
    message = "ejabberd does not take the token that it has just issued."
    cure = "See its log; behind a balancer, its nodes must share their database."
    return NoToken(message, cure, denied=True)
