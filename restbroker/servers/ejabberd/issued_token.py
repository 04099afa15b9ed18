"""Makes the request for a token that ejabberd issues, and reads the answer. Pure, but for reading secrets.

Called by the session and the check. Always holds: no message holds a token.

Traps, all measured on 23.01: `oauth_issue_token` answers 500 "internal_error" while the Erlang application
`oauth2` is missing, and 400 "badpass" while `oauth_access` does not allow the account, as by default; a token has only
the rights that `api_permissions` gives under `oauth`.
"""

import re
from collections.abc import Mapping
from typing import Final

import attrs

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Bearer, Target
from restbroker.job.json_types import Json
from restbroker.servers.ejabberd.answer import parse, read
from restbroker.servers.ejabberd.outcomes import CHECK_URL
from restbroker.servers.ejabberd.request import question
from restbroker.transport.message import Request, Response

SCOPE: Final = "ejabberd:admin"
"""The one scope that stands for every command; what a token may do is then up to `api_permissions`."""
LIFE_S: Final = 3600
"""How many seconds a token lives: few, since ejabberd keeps it in its database until then, no matter who has it."""
UNSET_ACCESS: Final = (
    "`oauth_access` in ejabberd.yml must allow the account tokens; by default it allows no one, and ejabberd then says "
    "badpass. Set it, then reload ejabberd."
)
"""What `badpass` may mean, and certainly means once the server has accepted the password."""
RENEW_AFTER: Final = 0.75
"""The share of its life after which a token is exchanged; the rest is for servers that are down."""


@attrs.frozen
class Token:
    """A token, the time from which on it is to be renewed, and that of its end (seconds on Trio's clock)."""

    login: Bearer
    renew_at_s: float
    ends_at_s: float


@attrs.frozen
class NoToken:
    """Why there is no token. `denied`: the server works, and a person must do something."""

    message: str
    hint: str
    denied: bool


def token_request(target: Target, login: Basic, scope: str = SCOPE, life_s: int = LIFE_S) -> Request:
    """Return the request for a token that lives `life_s` seconds; raise `ConfigError` as `request.headers_of` does.

    A list of one scope suits every version of the interface: where `scopes` is a text (v0), ejabberd joins it.
    """
    arguments: Mapping[str, Json] = {"jid": login.user, "ttl": life_s, "scopes": [scope]}
    return question(target, "oauth_issue_token", arguments, login)


def read_token(response: Response, now_s: float) -> Token | NoToken:
    """Return the token in this answer, or why there is none; `now_s` is when it was asked for, by Trio's clock."""
    if response.status == 200:
        return _token(response, now_s)
    answer = read(response)
    says = f"status {response.status}: {answer.message}" if answer.message else f"status {response.status}"
    message = f"ejabberd issues no token for the login ({says})."
    passing = response.status in (408, 425, 429) or answer.raw_message == "unknown_command"
    if passing or (response.status >= 500 and answer.raw_message != "internal_error"):
        return NoToken(message, "See ejabberd's log.", denied=False)
    return NoToken(message, _hint(response.status, answer.raw_message), denied=True)


def _token(response: Response, now_s: float) -> Token | NoToken:
    _, body, _ = parse(response.body)
    text = body.get("token") if isinstance(body, Mapping) else None
    life = re.match(r"\d{1,9}", str(body.get("expires_in", ""))) if isinstance(body, Mapping) else None
    if not isinstance(text, str) or not re.fullmatch(r"[!-~]+", text):
        # The answer is not shown: it may hold a token in a form that is not known here.
        message = "ejabberd's answer to oauth_issue_token has no token."
        return NoToken(message, CHECK_URL, denied=True)
    life_s = int(life[0]) if life else LIFE_S
    return Token(Bearer(Secret(text)), now_s + life_s * RENEW_AFTER, now_s + life_s)


def _hint(status: int, words: str) -> str:
    if status == 401:
        return "Correct the target's user (a whole JID) and password (RestUser, RestPass)."
    if status == 403:
        return "Allow oauth_issue_token for the account in ejabberd's api_permissions."
    if words == "badpass":
        return f"The password may be right: {UNSET_ACCESS}"
    if words == "internal_error":
        return "Install the Erlang application oauth2 (Debian: erlang-p1-oauth2), then restart ejabberd."
    return CHECK_URL


def token_refusal() -> NoToken:
    """Return why there is no token, after ejabberd refused one that it had just issued."""
    message = "ejabberd does not accept a token that it issued a short time ago."
    hint = "Check its log; behind a balancer, its nodes must share their database."
    return NoToken(message, hint, denied=True)
