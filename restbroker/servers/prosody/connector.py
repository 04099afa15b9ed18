"""The connector for Prosody's mod_rest, and for mod_http_admin_api and mod_post_msg beside it: a command is a request.

`app` opens it through the registry. Always holds: a stanza is sent once per delivery; what mod_rest would drop
without a word is refused before anything is sent; the probe changes nothing.
"""

from collections.abc import Callable, Mapping

import attrs
import trio

from restbroker.config.target import Target
from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.outcome import Delivered, Outcome, Probe, Rejected
from restbroker.servers.api.answer import read
from restbroker.servers.api.health import Health, standard_health, target_denied, target_up
from restbroker.servers.api.request import guard, lookup, unsent
from restbroker.servers.api.texts import parse_json
from restbroker.servers.contract import Connector, Link, Ports
from restbroker.servers.prosody import catalogue, xml_stanza
from restbroker.servers.prosody.catalogue import Entry
from restbroker.servers.prosody.options import Options, options_of
from restbroker.servers.prosody.outcomes import CHECK_ACCOUNT, CHECK_URL, FORM, classify, is_page, stanza_in, version_in
from restbroker.servers.prosody.request import build, question
from restbroker.transport.message import Request, Response

CHECK_LOGIN = "Correct the target's login (Auth): the account's local part and password, or a valid token."


@attrs.frozen
class ProsodyConnector:
    """The connector of one target, as `servers.contract.Connector` describes it; it holds nothing that changes."""

    _target: Target
    _settings: Options
    _table: Mapping[str, Entry]
    catalogue: Catalogue
    _now_s: Callable[[], float]

    def spec(self, endpoint: str) -> CommandSpec | None:
        """Return the command of this name; None if there is none, and a job with it is rejected."""
        return self.catalogue.commands.get(endpoint)

    async def deliver(self, call: Call, link: Link) -> Outcome:
        """Send the command's request, and return the outcome of its answer; raise `NotSent` or `MaybeSent` without one.

        When cancelled, only the link knows whether it was sent.
        """
        entry = lookup(self._table, call.command, self._target.name, self.catalogue.unavailable)
        if isinstance(entry, Rejected):
            return entry
        request = guard(lambda: build(call, entry, self._settings), self._target.name, entry.name)
        if isinstance(request, Rejected):
            return request
        response = await link.send(request)
        outcome = classify(call, entry, self.catalogue.commands[entry.name], response=response, now_s=self._now_s())
        if isinstance(outcome, Delivered) and xml_stanza.is_given(call.command.arguments):
            return attrs.evolve(outcome, body=None)  # no JSON; its text is the stanza
        return outcome

    async def probe(self, link: Link) -> Probe:
        """Ask the account's own host for its version, or test the login; judge the answer. Change nothing.

        Raise `NotSent` or `MaybeSent` without an answer.
        """
        return health_of(await link.ask(probe_request(self._target, self._settings))).probe

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Sleep until cancelled: there is no background work."""
        task_status.started()
        await trio.sleep_forever()


def probe_request(target: Target, settings: Options) -> Request:
    """Return the probe's request; raise `NotSent` in place of `ConfigError`."""
    return unsent(lambda: question(target, settings))


def health_of(response: Response) -> Health:
    """Return the health that the answer to the probe shows; any stanza in it shows that mod_rest accepts the login."""
    status, answer = response.status, read(FORM, response)
    body = parse_json(response.body)
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


def open_connector(target: Target, ports: Ports) -> Connector:
    """Return the connector of this target; nothing is sent yet."""
    settings = options_of(target)
    known = catalogue.for_target(target, None)
    return ProsodyConnector(target, settings, catalogue.entries_of(settings), catalogue=known, now_s=ports.now_s)
