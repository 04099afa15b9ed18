"""What `restbroker check` checks in a target of kind `ejabberd`. The registry calls `check`.

Always holds: what the probe says comes first, and only if it is well, the facts: version, hosts, rights, cost of the
login. Nothing changes on the server: rights are tested by calls that cannot have an effect. The one exception: if the
target uses tokens that ejabberd issues, one is requested, lives for a minute at most, and is revoked.

ejabberd looks at the form of a command's arguments, then at the rights, then at what the arguments say. From 26.07 on
an account has no right to a host that the server does not serve, so that one which it serves must be named; on such a
host only a user whom no server can have is out of harm's way (measured on 23.01, 24.12 and 26.07).
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Final, Literal

from restbroker.config.target import Basic, IssuedLogin, Login, Target
from restbroker.job.json_types import Json
from restbroker.servers.api.checks import asking, finding
from restbroker.servers.api.health import Health, target_denied
from restbroker.servers.ejabberd import catalogue
from restbroker.servers.ejabberd.connector import health_of, without_token
from restbroker.servers.ejabberd.options import Options
from restbroker.servers.ejabberd.outcomes import CHECK_URL, hosts_in, read
from restbroker.servers.ejabberd.request import question
from restbroker.servers.ejabberd.session import TEXTS, NoToken, login_cost, read_token, token_request
from restbroker.servers.findings import Finding, ok
from restbroker.transport.message import Response, Transport

_CHECK_SERVER: Final = f"Check that ejabberd listens there (docs/servers/ejabberd.md), https:// if by TLS. {CHECK_URL}"
_NO_HOST: Final = "restbroker.invalid"
"""A host that no server has (RFC 2606)."""
_NOBODY: Final = "@"
"""A user's name has no @ in it: nothing is found, made, changed or ended under this one."""
_TOKEN_LIFE_S: Final = 60
_UNFIT: Final = {"send_message": "Bad value", "send_stanza": "JID malformed"}
"""What is said, behind the look at the rights, of addresses that are none (`send_stanza` measured on 23.01 alone)."""


async def check(target: Target) -> list[Finding]:
    """Return all findings about this target; a failure that a person can act on is a finding, too. Safe to cancel."""
    found: list[Finding] = []
    async with asking(target, found, _CHECK_SERVER) as http:
        await _check_server(target, http, found)
    return found


async def _check_server(target: Target, http: Transport, found: list[Finding]) -> None:
    """Add the findings, made with the login that jobs have."""
    if not isinstance(target.credentials, IssuedLogin):
        await _check_login(target, http, target.credentials, found)
        return
    login, fallback = target.credentials.login, target.credentials.fallback
    token = read_token(await http.send(token_request(target, login, life_s=_TOKEN_LIFE_S)), 0.0)
    if isinstance(token, NoToken) and fallback:
        found.append(TEXTS.finding(target.name, "NoToken", message=token.message, hint=token.hint))
        await _check_login(target, http, login, found)
    elif isinstance(token, NoToken):
        found.append(finding(target, without_token(token)))
    else:
        try:
            await _check_login(target, http, token.login, found)
        finally:
            await http.send(question(target, "oauth_revoke_token", {"token": token.login.token.reveal()}))


async def _check_login(target: Target, http: Transport, login: Login, found: list[Finding]) -> None:
    health = await _health(target, http, login)
    match target.credentials:
        case IssuedLogin(_, True) if health.code == "CommandForbidden" and login is not target.credentials.login:
            found.append(TEXTS.finding(target.name, "TokenForbidden", message=health.probe.detail))
            return
        case _:
            found.append(finding(target, health))
    if not health.probe.ok:
        return
    version = health.probe.version
    found += _version(target, version)
    hosts = await http.send(question(target, "registered_vhosts", login=login))
    found += hosts_findings(target, hosts)
    found += await _rights(target, http, login, hosts=hosts, version=version)
    if isinstance(login, Basic):
        found.append(await login_cost(target, login, http.send))
    elif isinstance(target.credentials, IssuedLogin):
        found.append(ok(target.name, "Speed", "ejabberd issues tokens: it checks the password for a token alone."))


async def _health(target: Target, http: Transport, login: Login) -> Health:
    response = await http.send(question(target, "status", login=login))
    health = health_of(target, response)
    if response.status == 403:
        return health_of(target, await http.send(question(target, "connected_users_number", login=login)))
    if health.probe.ok and health.probe.version is None:
        return target_denied("NotTheApi", f"This is not ejabberd's API ({read(response).summary}).", CHECK_URL)
    return health


def _version(target: Target, version: str | None) -> Iterator[Finding]:
    wanted = target.options_as(Options).server_version
    if version is None:
        return
    if wanted not in ("auto", version):
        yield TEXTS.finding(target.name, "OtherVersion", wanted=wanted, version=version)
    known = catalogue.for_target(target, version).version
    yield ok(target.name, "Version", f"It is ejabberd {version}; restbroker uses the command list of {known}.")


def hosts_findings(target: Target, response: Response) -> Iterator[Finding]:
    """Yield the finding about the answer to `registered_vhosts`: does the server have the target's domain?"""
    name, domain = target.name, target.default_host
    served, hide = hosts_in(response), read(response).masked_text.hide
    if served is None:
        yield TEXTS.finding(name, "HostsHidden")
        return
    more = f" and {len(served) - 5} more" if len(served) > 5 else ""
    hosts = hide(", ".join(served[:5])) + more
    nearest = [*get_close_matches(domain or "", served, n=1, cutoff=0.6), *served][:1]
    hint = f'"JabberDomain": "{hide(nearest[0])}"' if nearest else None
    if domain is None:
        yield TEXTS.finding(name, "NoDomain", hosts=hosts, hint=hint)
    elif domain in served:
        yield ok(name, "Host", f"The server has the virtual host {domain}.")
    else:
        yield TEXTS.finding(name, "UnknownHost", domain=domain, hosts=hosts, hint=hint)


def _trial_host(target: Target, response: Response) -> tuple[str, bool]:
    """Return the host for the test of rights, and whether the server certainly has it.

    `response` is the answer to `registered_vhosts`.
    It is the target's domain, else the account's, which is there since the login was taken, else any of the server's.
    If the server does not tell its hosts, the account's counts before the target's domain.
    """
    login = target.credentials.login if isinstance(target.credentials, IssuedLogin) else target.credentials
    own = login.user.rpartition("@")[2].lower() if isinstance(login, Basic) and "@" in login.user else None
    served = hosts_in(response)
    if served is None:
        return own or target.default_host or _NO_HOST, own is not None
    found = next((host for host in (target.default_host, own, *served) if host in served), None)
    return found or _NO_HOST, found is not None


def trials(host: str) -> Mapping[str, Mapping[str, Json]]:
    """Return {command: arguments} such that ejabberd checks the rights and then refuses the arguments."""
    person: Mapping[str, Json] = {"user": _NOBODY, "host": host}
    return {
        "register": {**person, "password": "restbroker-check"},
        "unregister": person,
        "check_account": person,
        "change_password": {**person, "newpass": "restbroker-check"},
        "kick_user": person,
        "send_message": {"type": "chat", "from": "@", "to": "@", "subject": "", "body": ""},
        "send_stanza": {"from": "@", "to": "@", "stanza": "<message/>"},
        "connected_users_number": {},
    }


async def _rights(target: Target, http: Transport, login: Login, hosts: Response, version: str | None) -> list[Finding]:
    """Return what the login may call, what it may not, and what the server lacks; what no answer shows is no warning.

    `hosts` is the answer to `registered_vhosts`; `version` is None if the login may not even ask for it.
    """
    host, is_served = _trial_host(target, hosts)
    by_host = login is not None and (version is None or catalogue.checks_hosts(version))
    # A refusal is then of the host, or of the command.
    is_doubtful = by_host and not is_served
    found: dict[str, list[str]] = {"allowed": [], "forbidden": [], "unknown": [], "missing": []}
    for command, arguments in trials(host).items():
        response = await http.send(question(target, command, arguments, login))
        found[_right(command, response, is_doubtful=is_doubtful and "host" in arguments)].append(command)
    named = {right: ", ".join(commands) for right, commands in found.items()}
    codes = {"missing": "ModuleMissing", "forbidden": "SomeForbidden"}
    findings = [TEXTS.finding(target.name, code, commands=named[part]) for part, code in codes.items() if found[part]]
    says = [f"The login may call {named['allowed']}."] if found["allowed"] else []
    if found["unknown"]:
        says.append(f"restbroker could not check whether it may call {named['unknown']}.")
    return [*findings, *([ok(target.name, "Rights", " ".join(says))] if says else [])]


def _right(
    command: str, response: Response, *, is_doubtful: bool
) -> Literal["allowed", "forbidden", "unknown", "missing"]:
    answer = read(response)
    # A 404 of a command itself has a text as its body: "unknown_user".
    if answer.raw_message == "unknown_command" or (response.status == 404 and not isinstance(answer.body, str)):
        return "missing"
    match response.status:
        case 403:
            return "unknown" if is_doubtful else "forbidden"
        case 400:
            # Of what a version says of the name before it looks at the rights, nothing follows.
            return "allowed" if command in _UNFIT and _UNFIT[command] in answer.raw_message else "unknown"
        case 401 | 408 | 425 | 429:
            return "unknown"
        case status if status >= 500:
            return "allowed" if answer.code == "10001" else "unknown"
        case _:
            return "allowed"
