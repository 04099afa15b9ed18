"""The connector for Prosody's mod_rest, and for mod_http_admin_api and mod_post_msg beside it: a command is a request.

`app` opens it through the registry. Always holds: a stanza is sent once per delivery; what mod_rest would drop
without a word is refused before anything is sent; the probe changes nothing.
"""

from collections.abc import Callable, Mapping

import attrs
import trio

from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.outcome import Outcome, Probe, Reason, Rejected
from restbroker.servers.api.texts import parsed
from restbroker.servers.contract import Connector, Link, Ports
from restbroker.servers.prosody import catalogue
from restbroker.servers.prosody.answer import read, stanza_in, version_in
from restbroker.servers.prosody.options import Options, options_of
from restbroker.servers.prosody.outcomes import CHECK_URL, judge
from restbroker.servers.prosody.request import Unfit, build, question
from restbroker.servers.prosody.ways import Way
from restbroker.transport.errors import NotSent
from restbroker.transport.message import Request, Response

CHECK_LOGIN = "Correct the target's login (Auth): the account's local part and password, or a token that counts."
CHECK_LOG = "Jobs wait in Redis until it does. If it does not come back, see Prosody's log."


@attrs.frozen
class ProsodyConnector:
    """See `servers.contract.Connector`. Holds nothing that changes."""

    _target: Target
    _settings: Options
    _ways: Mapping[str, Way]
    catalogue: Catalogue
    _now_s: Callable[[], float]

    def spec(self, endpoint: str) -> CommandSpec | None:
        """The command of this name; None if there is none: it is refused."""
        return self.catalogue.commands.get(endpoint)

    async def deliver(self, call: Call, link: Link) -> Outcome:
        """Sends the stanza. Raises `NotSent` or `MaybeSent`; when cancelled, only the link knows if it was sent."""
        endpoint = call.command.endpoint
        way, spec = self._ways.get(endpoint), self.spec(endpoint)
        if way is None or spec is None:
            return _unknown(endpoint, self._target.name, self.catalogue.lacking.get(endpoint))
        try:
            request = build(call, way, self._settings)
        except Unfit as unfit:
            cure = f"`restbroker commands --target {self._target.name} {endpoint}` lists what the command takes."
            end = "" if str(unfit).endswith("?") else "."
            return Rejected(Reason("BadArgument", f"The request cannot be made: {unfit}{end}", cure))
        except ConfigError as error:
            # As unsent, the job waits until the secret file is back.
            raise NotSent(str(error)) from error
        return judge(call, way, spec, await link.send(request), self._now_s())

    async def probe(self, link: Link) -> Probe:
        """Asks the account's own host for its version, or whether the login is taken. Changes nothing."""
        return judge_probe(await link.ask(ready(self._target, self._settings)))

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Has no background work; sleeps until cancelled."""
        task_status.started()
        await trio.sleep_forever()


def ready(target: Target, settings: Options) -> Request:
    """The probe's request. Raises `NotSent` in place of `ConfigError`."""
    try:
        return question(target, settings)
    except ConfigError as error:
        raise NotSent(str(error)) from error


def judge_probe(response: Response) -> Probe:
    """What the answer to the probe means. Whatever a stanza says, mod_rest took the login to send it."""
    status, answer = response.status, read(response)
    body = parsed(response.body)
    match status:
        case 200 if stanza_in(body) is not None:
            version = answer.shown.version(version_in(body))
            detail = f"mod_rest answers, of Prosody {version}." if version else "mod_rest answers, and takes the login."
            return Probe(ok=True, denied=False, version=version, detail=detail)
        case 202 | 400 | 422:
            return Probe(ok=True, denied=False, version=None, detail="mod_rest answers, and takes the login.")
        case 401 | 403:
            return _denied(f"The login is refused ({_says(status, answer.words)}).", CHECK_LOGIN)
        case 200 | 404 | 405:
            return _denied(f"This is not mod_rest ({_says(status, answer.words)}).", CHECK_URL)
        case _ if 300 <= status < 400:
            return _denied(f"The server redirects (status {status}).", CHECK_URL)
        case _:
            detail = f"The server does not work now ({_says(status, answer.words)})."
            return Probe(ok=False, denied=False, version=None, detail=detail, cure=CHECK_LOG)


def _says(status: int, words: str) -> str:
    return f"status {status}: {words.removeprefix(f'{status} ')}" if words else f"status {status}"


def _denied(detail: str, cure: str) -> Probe:
    # Only secret files are read again while it runs.
    wait = "Jobs wait in Redis. It goes on by itself after a change on the server or in a secret's own file;"
    wait += " a change in env.json needs a reload (SIGHUP) or a restart."
    return Probe(ok=False, denied=True, version=None, detail=detail, cure=f"{cure} {wait}")


def _unknown(endpoint: str, target: str, cure: str | None) -> Rejected:
    message = f"The target {target} has no command {endpoint}."
    return Rejected(Reason("UnknownCommand", message, cure or f"`restbroker commands --target {target}` lists them."))


def open_connector(target: Target, ports: Ports) -> Connector:
    """The connector of this target; nothing is sent yet."""
    settings = options_of(target)
    known = catalogue.for_target(target, None)
    return ProsodyConnector(target, settings, catalogue.ways_of(settings), known, ports.now_s)
