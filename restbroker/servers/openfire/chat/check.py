"""What `restbroker check` checks in a target of kind `openfire-chat`. The registry calls `check`.

Always holds: nothing changes on the server, no user is logged in, and the login is sent to no address but the target's.
"""

from typing import Final

from restbroker.config.passwords import passwords_in
from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.servers.api.checks import asking, bad_login, finding
from restbroker.servers.findings import Finding, Texts, ok
from restbroker.servers.openfire.access import tls_hint
from restbroker.servers.openfire.chat.connector import health_of
from restbroker.servers.openfire.chat.options import Options
from restbroker.servers.openfire.chat.request import question
from restbroker.servers.openfire.chat.sessions import HINT, MESSAGE, is_administrator, trust_question
from restbroker.transport.message import Transport

_TEXTS: Final = Texts.beside(__file__)


async def check(target: Target) -> list[Finding]:
    """Ask the target's server and return the findings; a failure that a person can act on is a finding, too.

    Safe to cancel.
    """
    found = list[Finding]()
    hint = "Check that Openfire runs with http-bind enabled and the plugin ofchat, and the target's URL: "
    async with asking(target, found, f"{hint}http://HOST:7070/rest/api.", tls_hint(target, 7070, 7443)) as http:
        found.append(finding(target, health_of(await http.send(question(target)))))
        if found[0].level == "ok":
            found += [*await _trust(target, http), *await _rooms(target, http), *_passwords(target)]
    return found


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


def _passwords(target: Target) -> list[Finding]:
    passwords = target.options_as(Options).passwords
    if passwords is None or passwords.path is None:
        return []
    try:
        count = len(passwords_in(passwords))
    except ConfigError as error:
        return [bad_login(target, error)]
    return [ok(target.name, "Passwords", f"{count} users are logged in with their own passwords.")]
