"""The connector for Prosody's mod_rest, and for mod_http_admin_api and mod_post_msg beside it: a command is a request.

`app` opens it through the registry. Always holds: a stanza is sent once per delivery; what mod_rest would drop
without a word is refused before anything is sent; the probe changes nothing.
"""

from functools import partial

import attrs

from restbroker.config.target import Target
from restbroker.job.command import Call, CommandSpec
from restbroker.job.outcome import Delivered, Outcome
from restbroker.servers.api.answer import read
from restbroker.servers.api.connector import TableConnector, ask_once, send_once
from restbroker.servers.api.health import Health, standard_health, target_denied, target_up
from restbroker.servers.api.request import authorization, kept
from restbroker.servers.api.texts import parse_json
from restbroker.servers.contract import Connector, Ports
from restbroker.servers.prosody import catalogue, xml_stanza
from restbroker.servers.prosody.catalogue import ProsodyEntry
from restbroker.servers.prosody.options import options_of
from restbroker.servers.prosody.outcomes import CHECK_ACCOUNT, CHECK_URL, FORM, classify, is_page, stanza_in, version_in
from restbroker.servers.prosody.request import build, question
from restbroker.transport.message import Response

CHECK_LOGIN = "Correct the target's login (Auth): the account's local part and password, or a valid token."


def health_of(response: Response) -> Health:
    """Return the health that the answer to the probe shows; any stanza in it shows that mod_rest accepts the login."""
    status, answer = response.status, read(FORM, response)
    body = parse_json(response.parsable)
    match status:
        case 200 if stanza_in(body) is not None:
            version = answer.masked_text.version(version_in(body))
            about = f"mod_rest answers, of Prosody {version}." if version else "mod_rest answers and accepts the login."
            return target_up(about, version)
        case 202 | 400 | 422:
            return target_up("mod_rest answers and accepts the login.")
        case 500 if is_page(response):
            # It asks a module of Prosody's own, so that nothing but the login is likely to have crashed.
            return target_denied("LoginRefused", f"Prosody crashed on the login ({answer.summary}).", CHECK_ACCOUNT)
        case _:
            return standard_health(answer, "mod_rest", CHECK_LOGIN, CHECK_URL)


def _classify(call: Call, entry: ProsodyEntry, spec: CommandSpec, response: Response, now_s: float) -> Outcome:
    outcome = classify(call, entry, spec, response, now_s)
    if isinstance(outcome, Delivered) and xml_stanza.is_given(call.command.arguments):
        return attrs.evolve(outcome, body=None)  # no JSON; its text is the stanza
    return outcome


def open_connector(target: Target, ports: Ports) -> Connector:
    """Return the connector of this target; nothing is sent yet."""
    settings = options_of(target)
    logins = {api: kept(partial(authorization, site.login), target.all_secrets) for api, site in settings.apis.items()}
    return TableConnector(
        target,
        catalogue.for_target(target, None),
        catalogue.entries_of(settings),
        request=lambda call, entry: build(call, entry, settings, logins[entry.api]),
        send=send_once(_classify, ports.now_s),
        probe=ask_once(lambda: question(target, settings), health_of),
        stepwise=True,
    )
