"""What `restbroker check` checks in a target of kind `openfire-chat`. The registry calls `check`.

Always holds: nothing changes on the server, no user is logged in, and the login is sent to no address but the target's.
"""

from typing import Final

import attrs
import trio

from restbroker.config.passwords import passwords_in
from restbroker.config.target import Target, Url
from restbroker.errors import ConfigError
from restbroker.servers.api.checks import bad_login, finding, open_client, unreachable
from restbroker.servers.api.texts import parse_json
from restbroker.servers.findings import Finding, Texts, ok
from restbroker.servers.openfire.chat.connector import health_of, probe_request
from restbroker.servers.openfire.chat.options import BASE, Options
from restbroker.servers.openfire.chat.outcomes import CHECK_ENABLED
from restbroker.servers.openfire.chat.request import accept_header, question
from restbroker.servers.openfire.chat.sessions import HINT, MESSAGE, is_administrator, trust_question
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response, Transport

_TEXTS: Final = Texts.beside(__file__)
_PORTS: Final = (("http", 7070), ("https", 7443))
"""The ports of http-bind, where the Chat API is."""
_CONSOLE: Final = (9090, 9091)
_LOOK_S: Final = 1.5
_CONNECT_S: Final = 0.7


async def check(target: Target) -> list[Finding]:
    """Ask the target's server and return the findings; a failure that a person can act on is a finding, too.

    Safe to cancel.
    """
    try:
        async with open_client(target) as http:
            found = _finding(target, await http.send(probe_request(target)))
            trust = await _trust(target, http) + await _rooms(target, http) if found.level == "ok" else []
    except (NotSent, MaybeSent) as error:
        away = no_answer(target, error)
        return [away if away.code == "BadLogin" else await _with_address(target, away)]
    if found.code == "NotTheApi":
        return [await _with_address(target, found)]
    return [found, *trust, *_passwords(target)] if found.level == "ok" else [found]


def _finding(target: Target, response: Response) -> Finding:
    health = health_of(response)
    if health.code == "PluginDisabled":
        return finding(target, health, CHECK_ENABLED)
    if health.code == "LoginRefused":
        return finding(target, health, _login_hint(target))
    found = finding(target, health)
    more = _console(target, response) if health.code == "NotTheApi" else ""
    return attrs.evolve(found, message=f"{found.message}{more}")


async def _trust(target: Target, http: Transport) -> list[Finding]:
    """Return a finding if users cannot be logged in without their passwords; none if they can or it cannot be told."""
    if target.credentials is None:
        return []
    answer = await http.send(trust_question(target))
    if answer.status == 500:
        return [_TEXTS.finding(target.name, "NotAdministrator-unclear")]
    if is_administrator(answer) is not False:
        return []
    has_passwords = target.options_as(Options).passwords is not None
    case = "NotAdministrator-passwords" if has_passwords else "NotAdministrator"
    return [_TEXTS.finding(target.name, case, message=MESSAGE, hint=HINT)]


async def _rooms(target: Target, http: Transport) -> list[Finding]:
    """Return a finding if the plugin cannot look at rooms: the REST API plugin beside it breaks that (measured)."""
    answer = await http.send(question(target, "/restapi/v1/chat/rooms/restbroker"))
    return [_TEXTS.finding(target.name, "RoomsBroken")] if answer.status == 500 else []


def _console(target: Target, response: Response) -> str:
    """Return a sentence for the message if it is Openfire's console that answers; else ""."""
    if "login.jsp" in response.headers.get("location", "") or target.url.port in _CONSOLE:
        return " This is Openfire's admin console, which has other APIs: use a target of kind openfire-rest for it."
    return ""


def _login_hint(target: Target) -> str:
    if target.credentials is not None:
        return "Check that the account exists and is an administrator's, its password, and the plugin's allowedIPs."
    if target.options_as(Options).secret is not None:
        return "Check the plugin's secret (plugin.ofchat.secret) and its allowedIPs."
    return "Give Auth with Basic (an administrator's), or Options.Secret."


async def _with_address(target: Target, found: Finding) -> Finding:
    """Return the finding, with the address where the Chat API answers as its hint, if that is one of the usual ones."""
    for url in await _find_addresses(target.url, target):
        return attrs.evolve(found, hint=f'It answers there: "URL": "{url}"')
    return found


async def _find_addresses(own: Url, target: Target) -> list[Url]:
    """Return the usual addresses where the Chat API asks for a login or answers; it is asked without one."""
    if own.socket is not None:
        return []
    places = dict.fromkeys([(own.scheme, own.port), *_PORTS])
    urls = [attrs.evolve(own, scheme=scheme, port=port, path=BASE) for scheme, port in places]
    answering: dict[int, Url] = {}
    async with trio.open_nursery() as nursery:
        for rank, url in enumerate(urls):
            if url != own:
                nursery.start_soon(_try, target, url, rank, answering)
    return [answering[rank] for rank in sorted(answering)]


async def _try(target: Target, url: Url, rank: int, answering: dict[int, Url]) -> None:
    there = attrs.evolve(target, url=url, credentials=None, connect_timeout_s=_CONNECT_S)
    path = f"{url.path}/restapi/v1/system/statistics/sessions"
    request = Request(
        "GET", path, _LOOK_S, query=(), headers=(accept_header("application/json"),), body=b"", body_limit_bytes=65_536
    )
    try:
        async with open_client(there) as http:
            response = await http.send(request)
    except (NotSent, MaybeSent):
        return  # no one there, or someone who does not speak HTTP
    # A 401 of this API is empty and asks for nothing (measured on the REST API plugin).
    refuses = response.status == 401 and not response.body and "www-authenticate" not in response.headers
    if refuses or (response.status == 200 and isinstance(parse_json(response.body), dict)):
        answering[rank] = url


def _passwords(target: Target) -> list[Finding]:
    passwords = target.options_as(Options).passwords
    if passwords is None or passwords.path is None:
        return []
    try:
        count = len(passwords_in(passwords))
    except ConfigError as error:
        return [bad_login(target, error)]
    return [ok(target.name, "Passwords", f"{count} users are logged in with their own passwords.")]


def no_answer(target: Target, error: NotSent | MaybeSent) -> Finding:
    """Return the finding that the target did not answer a request of the check, for the reason in `error`."""
    is_plain = target.url.scheme == "https" and target.url.port == 7070
    plain = "Port 7070 has no TLS by default: https is on 7443. " if is_plain else ""
    hint = "Check that Openfire runs with http-bind enabled and the plugin ofchat, and the target's URL."
    return unreachable(target, error, hint, plain)
