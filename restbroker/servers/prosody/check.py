"""What `restbroker check` checks in a target of kind `prosody-rest`. The registry calls `check`.

Always holds: nothing changes on the server, and no stanza goes to anyone but the account's own host.
"""

import attrs

from restbroker.config.target import Target
from restbroker.servers.api.answer import read
from restbroker.servers.api.checks import asking, finding
from restbroker.servers.api.health import standard_health, target_denied
from restbroker.servers.api.request import authorization, harmless_request
from restbroker.servers.findings import Finding, ok
from restbroker.servers.prosody.connector import health_of
from restbroker.servers.prosody.options import Api, ApiAddress, options_of
from restbroker.servers.prosody.outcomes import CHECK_ACCOUNT, CHECK_LOGIN, CHECK_URL, FORM, is_page
from restbroker.servers.prosody.request import question
from restbroker.transport.message import Request, Transport


async def check(target: Target) -> list[Finding]:
    """Return all findings about this target; a failure that a person can act on is a finding, too. Safe to cancel."""
    settings, found = options_of(target), list[Finding]()
    hint = "Check that Prosody runs, its http_interfaces and http_ports, and the target's URL."
    async with asking(target, found, hint) as http:
        health = health_of(await http.send(question(target, settings)))
        found.append(finding(target, health))
        if health.probe.ok and settings.host is None:
            found.append(_no_domain(target))
        for api, place in settings.apis.items() if health.probe.ok else ():
            if api != "rest":
                found.append(await _module(target, http, api, place))
    return found


def _no_domain(target: Target) -> Finding:
    message = "The account's domain is unknown, so its host's version could not be queried."
    why = "The probe tests the login, but not whether stanzas are accepted."
    hint = f'"Domain": "example.org" in Targets.{target.name}'
    return Finding("note", target.name, "NoDomain", message=message, why=why, hint=hint)


async def _module(target: Target, http: Transport, api: Api, place: ApiAddress) -> Finding:
    """Return whether another module than mod_rest answers and accepts its login."""
    option, module = ("AdminURL", "mod_http_admin_api") if api == "admin" else ("MsgURL", "mod_post_msg")
    response = await http.send(_question(target, api, place))
    # mod_post_msg tells anyone whom it lets in that the body is no JSON.
    if response.status in ((200,) if api == "admin" else (400, 422)):
        return ok(target.name, option, f"{module} answers and accepts the login.")
    answer = read(FORM, response)
    if api == "msg" and response.status == 500 and is_page(response):
        about = f"{module} crashed on the login ({answer.summary})."
        health = target_denied("LoginRefused", about, CHECK_ACCOUNT)
    else:
        health = standard_health(answer, module, CHECK_LOGIN[api], CHECK_URL)
    why = f"Jobs with the commands of {module} die."
    return attrs.evolve(finding(target, health), message=f"{option}: {health.probe.detail}", why=why)


def _question(target: Target, api: Api, place: ApiAddress) -> Request:
    headers = authorization(place.login)
    if api == "admin":
        return harmless_request(target, f"{place.path}/server/info", headers)
    headers = (*headers, ("Content-Type", "application/json"))
    return harmless_request(target, f"{place.path}/restbroker", headers, "POST", b"{")
