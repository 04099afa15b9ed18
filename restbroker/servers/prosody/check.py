"""What `restbroker check` checks in a target of kind `prosody-rest`. The registry calls `check`.

Always holds: nothing changes on the server, and no stanza goes to anyone but the account's own host.
"""

from restbroker.config.target import Basic, Target
from restbroker.errors import ConfigError
from restbroker.servers.api.answer import read
from restbroker.servers.api.checks import bad_login, finding, open_client, unreachable
from restbroker.servers.api.login import authorization
from restbroker.servers.findings import Finding, Texts, ok
from restbroker.servers.prosody.answer import FORM, is_page
from restbroker.servers.prosody.connector import health_of, probe_request
from restbroker.servers.prosody.options import ApiAddress, options_of
from restbroker.servers.prosody.outcomes import CHECK_ACCOUNT, CHECK_URL
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response

_TEXTS = Texts.beside(__file__)
_LIMIT_BYTES = 65_536


async def check(target: Target) -> list[Finding]:
    """Return all findings about this target; a failure that a person can act on is a finding, too. Safe to cancel."""
    settings = options_of(target)
    try:
        async with open_client(target) as http:
            health = health_of(await http.send(probe_request(target, settings)))
            found = [finding(target, health, _login_hint(target) if health.code == "LoginRefused" else None)]
            if not health.probe.ok:
                return found
            if settings.host is None:
                found.append(_TEXTS.finding(target.name, "NoDomain", target=target.name))
            if (admin := settings.apis.get("admin")) is not None:
                found.append(_admin(target, await http.send(_admin_request(target, admin))))
            if (msg := settings.apis.get("msg")) is not None:
                found.append(_msg(target, await http.send(_msg_request(target, msg))))
    except (NotSent, MaybeSent) as error:
        hint = "Check that Prosody runs, its http_interfaces and http_ports, and the target's URL."
        return [unreachable(target, error, hint)]
    except ConfigError as error:
        return [bad_login(target, error)]
    return found


def _login_hint(target: Target) -> str:
    match target.credentials:
        case None:
            return "Give Auth: mod_rest accepts an account's password or a token."
        case Basic():
            return "Check that the account exists on that VirtualHost, and its password."
        case _:
            return "Create a new token for the account, with the right to send stanzas."


def _admin_request(target: Target, place: ApiAddress) -> Request:
    return Request(
        "GET",
        f"{place.path}/server/info",
        target.timeout_s,
        query=(),
        headers=authorization(place.login),
        body=b"",
        body_limit_bytes=_LIMIT_BYTES,
    )


def _admin(target: Target, response: Response) -> Finding:
    return _classify_module(
        target, response, is_well=response.status == 200, option="AdminURL", module="mod_http_admin_api"
    )


def _msg_request(target: Target, place: ApiAddress) -> Request:
    # No JSON: anyone who is let in is told that, and nothing is sent.
    headers = (*authorization(place.login), ("Content-Type", "application/json"))
    return Request(
        "POST",
        f"{place.path}/restbroker",
        target.timeout_s,
        query=(),
        headers=headers,
        body=b"{",
        body_limit_bytes=_LIMIT_BYTES,
    )


def _msg(target: Target, response: Response) -> Finding:
    return _classify_module(
        target, response, is_well=response.status in (400, 422), option="MsgURL", module="mod_post_msg"
    )


def _classify_module(target: Target, response: Response, *, is_well: bool, option: str, module: str) -> Finding:
    if is_well:
        return ok(target.name, option, f"{module} answers and accepts the login.")
    says = read(FORM, response).summary
    match response.status:
        case 401 | 403:
            is_admin = option == "AdminURL"
            hint = "Check AdminToken." if is_admin else "Check the account with its domain, and its password."
            return _TEXTS.finding(target.name, "LoginRefused", module=module, says=says, hint=hint)
        case 500 if option == "MsgURL" and is_page(response):
            return _TEXTS.finding(target.name, "LoginRefused-crash", module=module, says=says, hint=CHECK_ACCOUNT)
        case status if status < 500:
            return _TEXTS.finding(target.name, "NotTheApi", option=option, module=module, says=says, hint=CHECK_URL)
        case _:
            return _TEXTS.finding(target.name, "Unwell", module=module, says=says)
