"""What `restbroker check` checks in a target of kind `prosody-rest`. The registry calls `check`.

Always holds: nothing changes on the server, and no stanza goes to anyone but the account's own host.
"""

from restbroker.config.target import Basic, Target
from restbroker.errors import ConfigError
from restbroker.servers.api.answer import read
from restbroker.servers.api.checks import bad_login, finding, open_client, problem, unreachable
from restbroker.servers.api.login import authorization
from restbroker.servers.findings import Finding, ok
from restbroker.servers.prosody.answer import FORM, is_page
from restbroker.servers.prosody.connector import health_of, probe_request
from restbroker.servers.prosody.options import ApiAddress, options_of
from restbroker.servers.prosody.outcomes import CHECK_ACCOUNT, CHECK_URL
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response

_DEAD = "Jobs with its commands die."
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
                found.append(_no_host(target))
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


def _no_host(target: Target) -> Finding:
    message = "The account's domain is unknown, so its host's version could not be queried."
    why = "The probe tests the login, but not whether stanzas are accepted."
    return Finding(
        "note",
        target.name,
        "NoDomain",
        message=message,
        why=why,
        hint=f'"Domain": "example.org" in Targets.{target.name}',
    )


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
    answer = read(FORM, response)
    match response.status:
        case 401 | 403:
            is_admin = option == "AdminURL"
            hint = "Check AdminToken." if is_admin else "Check the account with its domain, and its password."
            message = f"{module} refuses the login ({answer.summary})."
            return problem(target, "LoginRefused", message, hint, why=_DEAD, cause="refused")
        case 500 if option == "MsgURL" and is_page(response):
            message = f"{module} crashed on the login ({answer.summary})."
            return problem(target, "LoginRefused", message, CHECK_ACCOUNT, why=_DEAD, cause="refused")
        case status if status < 500:
            message = f"{option} does not lead to {module} ({answer.summary})."
            return problem(target, "NotTheApi", message, CHECK_URL, why=_DEAD)
        case _:
            message = f"{module} does not work now ({answer.summary})."
            return problem(target, "Unwell", message, "See Prosody's log.", why=_DEAD)
