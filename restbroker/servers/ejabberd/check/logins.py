"""Checks what the login costs ejabberd, whether it issues tokens, and whether a token has the login's rights.

Called by `check.server` once the login was accepted. Always holds: with a login alone nothing changes on the server; if
the target uses tokens that ejabberd issues, one is requested, lives for a minute at most, and is revoked.
"""

import time
from math import inf
from typing import Final

import attrs

from restbroker.config.target import Basic, Bearer, IssuedLogin, Login, Target
from restbroker.config.values import duration_text
from restbroker.servers.ejabberd.answer import read
from restbroker.servers.ejabberd.check import ejabberd_yml
from restbroker.servers.ejabberd.check.entry import TEXTS
from restbroker.servers.ejabberd.check.rights import trials
from restbroker.servers.ejabberd.issued_token import UNSET_ACCESS, NoToken, read_token, token_request
from restbroker.servers.ejabberd.request import question
from restbroker.servers.findings import Finding, ok
from restbroker.transport.message import Transport

SLOW_LOGIN_S: Final = 0.004
SAMPLES: Final = 5
MOST_CALLS: Final = 3
NO_SCOPE: Final = "restbroker:none"
"""A scope that ejabberd refuses; it checks the scope last, so that all else was right then (measured on 23.01)."""
TRIAL_LIFE_S: Final = 60
AUTO: Final = '"RestAuth": "auto" (in Targets: Auth.Auto instead of Auth.Basic)'


async def check_login(target: Target, http: Transport, host: str) -> list[Finding]:
    """Return findings about the login's cost for each request, and about tokens and their rights on `host`.

    Raise `NotSent` or `MaybeSent` if the server does not answer.
    """
    match target.credentials:
        case Basic() as login:
            return [await _basic(target, login, http)]
        case IssuedLogin(login, fallback):
            return [await _check_issued(target, login, http, host, fallback=fallback)]
        case _:
            return []


async def _basic(target: Target, login: Basic, http: Transport) -> Finding:
    without, login_s = attrs.evolve(target, credentials=None), inf
    for _ in range(MOST_CALLS):
        with_login_s = await _fastest_s(target, login, http)
        login_s = min(login_s, with_login_s - await _fastest_s(without, None, http))
        if login_s < SLOW_LOGIN_S:
            break
    # A moment in which the machine is busy makes no login slow.
    if login_s < SLOW_LOGIN_S:
        return ok(target.name, "Speed", f"It answers in {duration_text(with_login_s)}.")
    by_address = ejabberd_yml.permissions(attrs.evolve(target, credentials=None), ejabberd_yml.ALL)
    instead = f"Or allow this machine by its address, and remove RestUser and RestPass:\n{by_address}"
    refused = await _why_no_token(target, login, http)
    more = ""
    if refused is None:
        rights = ejabberd_yml.token_permissions(login.user, ejabberd_yml.ALL)
        hint = f"Write {AUTO}: ejabberd can issue tokens. They need their own rights:\n{rights}\n{instead}"
    else:
        more = f" {refused.message}"
        hint = f"{_hint(login, refused)}\nThen write {AUTO}. {instead}"
    took = duration_text(login_s)
    return TEXTS.finding(target.name, "SlowLogin", rate=1 / login_s, took=took, more=more, hint=hint)


async def _why_no_token(target: Target, login: Basic, http: Transport) -> NoToken | None:
    """Return why ejabberd would issue no token, None if it would; ask with a scope that it does not know."""
    response = await http.send(token_request(target, login, NO_SCOPE, TRIAL_LIFE_S))
    found = read_token(response, 0.0)
    return found if isinstance(found, NoToken) and read(response).raw_message != "invalid_scope" else None


async def _check_issued(target: Target, login: Basic, http: Transport, host: str, *, fallback: bool) -> Finding:
    case = "-auto" if fallback else ""
    found = read_token(await http.send(token_request(target, login, life_s=TRIAL_LIFE_S)), 0.0)
    if isinstance(found, NoToken):
        return TEXTS.finding(target.name, f"NoToken{case}", message=found.message, hint=_hint(login, found))
    try:
        finding = await _with_token(target, login, found.login, http=http, case=case)
        if finding.level != "ok":
            return finding
        lacking = await _find_forbidden(target, login, found.login, http=http, host=host)
        if not lacking:
            return finding
        lines = ejabberd_yml.token_permissions(login.user, ejabberd_yml.ALL)
        return TEXTS.finding(target.name, f"TokenForbidden-some{case}", commands=", ".join(lacking), hint=lines)
    finally:
        await http.send(question(target, "oauth_revoke_token", {"token": found.login.token.reveal()}))


async def _with_token(target: Target, login: Basic, token: Bearer, http: Transport, case: str) -> Finding:
    commands = ("status", "connected_users_number")
    statuses = [(await http.send(question(target, command, login=token))).status for command in commands]
    if not any(status == 200 for status in statuses):
        lines = ejabberd_yml.token_permissions(login.user, ejabberd_yml.ALL)
        return TEXTS.finding(target.name, f"TokenForbidden{case}", status=statuses[0], hint=lines)
    basic = duration_text(await _fastest_s(target, login, http))
    bearer = duration_text(await _fastest_s(target, token, http))
    says = f"ejabberd issues tokens: it answers in {bearer} with one, in {basic} with the password."
    return ok(target.name, "Speed", says)


async def _find_forbidden(target: Target, login: Basic, token: Bearer, http: Transport, host: str) -> list[str]:
    """Return the commands that the account may call, but its token may not."""
    asked = trials(host)

    async def is_forbidden(command: str, login: Login) -> bool:
        return (await http.send(question(target, command, asked[command], login))).status == 403

    return [name for name in asked if await is_forbidden(name, token) and not await is_forbidden(name, login)]


def _hint(login: Basic, why: NoToken) -> str:
    if "badpass" not in why.message:
        return why.hint
    return f"The password is right. {UNSET_ACCESS}\n{ejabberd_yml.tokens(login.user)}"


async def _fastest_s(target: Target, login: Login, http: Transport) -> float:
    """Return how many seconds the fastest of some harmless requests took."""
    fastest_s = inf
    for _ in range(SAMPLES):
        began_s = time.perf_counter()
        await http.send(question(target, "status", {"zz_probe": 1}, login))
        fastest_s = min(fastest_s, time.perf_counter() - began_s)
    return fastest_s
