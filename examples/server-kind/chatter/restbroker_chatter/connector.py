"""Sends a job's command to Chatter, and judges the answer."""

import attrs
import trio

from restbroker.config.target import Bearer, Target
from restbroker.job.command import Call, Catalogue, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.outcome import Outcome, Probe, Rejected
from restbroker.servers.api.answer import AnswerForm, deliver_as_is, read, read_for
from restbroker.servers.api.health import IF_NOT, Health, target_denied, target_down, target_up
from restbroker.servers.api.ladder import Rung, ladder, standard
from restbroker.servers.api.login import Headers, authorization
from restbroker.servers.api.request import guard, json_body, lookup, segment, unsent
from restbroker.servers.api.table import fit
from restbroker.servers.api.texts import parse_json
from restbroker.servers.contract import Connector, Link, Ports
from restbroker.transport.message import Request, Response
from restbroker_chatter.catalogue import TABLE, Entry, for_version
from restbroker_chatter.options import Options

_CHECK_URL = "Correct the target's URL: it is Chatter's address, without /v1."
_CHECK_LOGIN = "Make a new token at Chatter, and write it into the file that Auth names."
_RUNGS = standard("Chatter", check_url=_CHECK_URL, check_log="See Chatter's log.") | {
    401: Rung("denied", "LoginRefused", _CHECK_LOGIN),
    404: Rung("rejected", "NotFound", "Check the user's name."),
    409: Rung("rejected", "AlreadyExists", 'Push it with "ok_if_exists": true if that is fine.'),
}


def _error(_response: Response, text: str) -> tuple[str, str]:
    match parse_json(text.encode()):
        case {"error": {"code": str(code), "message": str(words)}}:
            return code, words
        case _:
            return "", text


_FORM = AnswerForm(_error)


@attrs.frozen
class Chatter:
    """See `restbroker.servers.contract.Connector`."""

    _target: Target
    _ports: Ports
    catalogue: Catalogue

    def spec(self, endpoint: str) -> CommandSpec | None:
        """Return the command of this name; None if there is none."""
        return self.catalogue.commands.get(endpoint)

    async def deliver(self, call: Call, link: Link) -> Outcome:
        """Send the command, and judge the answer."""
        entry = lookup(TABLE, call.command, self._target.name, {})
        if isinstance(entry, Rejected):
            return entry
        request = guard(lambda: _build(call, entry, self._target), self._target.name, entry.name)
        if isinstance(request, Rejected):
            return request
        response = await link.send(request)
        return classify(call, entry, self.spec(entry.name), response, self._ports.now_s())

    async def probe(self, link: Link) -> Probe:
        """Ask for the version, which takes a login and changes nothing."""
        return health_of(await link.ask(unsent(lambda: _question(self._target)))).probe

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Sleep: there is no background work."""
        task_status.started()
        await trio.sleep_forever()


def open_connector(target: Target, ports: Ports) -> Connector:
    """Return the connector of this target; nothing is sent yet."""
    return Chatter(target, ports, for_version(None))


def _login(target: Target) -> Headers:
    return authorization(target.credentials if isinstance(target.credentials, Bearer) else None)


def _question(target: Target) -> Request:
    return Request("GET", f"{target.url.path}/v1/version", target.timeout_s, headers=_login(target), repeatable=True)


def _build(call: Call, entry: Entry, target: Target) -> Request:
    given = fit(entry.takes, entry.name, call.command.arguments)
    in_path = {name: segment(name, str(value)) for name, value in given.items() if f"{{{name}}}" in entry.path}
    members: dict[str, Json] = {name: value for name, value in given.items() if name not in in_path}
    if entry.name == "send_message":
        members["notify"] = target.options_as(Options).notify
    headers: Headers = (*_login(target), *call.headers)
    if members:
        headers = (*headers, ("Content-Type", "application/json"))
    return Request(
        entry.method,
        target.url.path + entry.path.format_map(in_path),
        call.timeout_s,
        headers=headers,
        body=json_body(members) if members else b"",
        repeatable=entry.repeat == "safe",
    )


def classify(call: Call, entry: Entry, spec: CommandSpec | None, response: Response, now_s: float) -> Outcome:
    """Return what this answer means for the job."""
    if 200 <= response.status < 300:
        return deliver_as_is(response, parse_json(response.body))
    answer = read_for(_FORM, call, spec, response, now_s)
    match response.status, answer.code:
        case 409, "exists" if call.maybe_run or call.ok_if_exists:
            return answer.deliver_already_done(call, spec)
        case 404, "no_user" if call.maybe_run and entry.repeat == "already_done":
            return answer.deliver_already_done(call, spec)
        case 404, "":
            return answer.deny("NotTheApi", _CHECK_URL)
        case _:
            return ladder(answer, _RUNGS)


def health_of(response: Response) -> Health:
    """Return what the answer to the probe means."""
    answer = read(_FORM, response)
    match response.status, parse_json(response.body):
        case 200, {"version": str(version)}:
            return target_up(
                f"Chatter {answer.masked_text.hide(version)} answers.", answer.masked_text.version(version)
            )
        case 401 | 403, _:
            return target_denied("LoginRefused", f"The login is refused ({answer.summary}).", _CHECK_LOGIN)
        case status, _ if status < 500:
            return target_denied("NotTheApi", f"This is not Chatter ({answer.summary}).", _CHECK_URL)
        case _:
            return target_down(f"Chatter does not work now ({answer.summary}).", f"{IF_NOT}see Chatter's log.")
