"""Sends a job's command to Synapse, and judges the answer. What answers mean was measured on Synapse 1.163.2."""

from functools import partial
from typing import Final

from restbroker.config.target import Target
from restbroker.job.command import Call, CommandSpec
from restbroker.job.outcome import Outcome, Probe
from restbroker.servers.api.answer import Answer, AnswerForm, deliver_as_is, read, read_for
from restbroker.servers.api.connector import TableConnector, send_once
from restbroker.servers.api.health import IF_NOT, Health, target_denied, target_down, target_up
from restbroker.servers.api.ladder import Rung, ladder, standard
from restbroker.servers.api.request import Headers, authorization, json_body, path_of, query_of, segment, unsent
from restbroker.servers.api.table import fit, names_in, split_request, without_host
from restbroker.servers.api.texts import parse_json
from restbroker.servers.contract import Connector, Link, Ports
from restbroker.transport.message import Request, Response
from restbroker_synapse.catalogue import TABLE, Entry, for_version

_CHECK_URL: Final = "Correct the target's URL, and have Synapse, or the proxy before it, serve /_synapse/admin there."
_CHECK_LOGIN: Final = "Write the access token of a server administrator into the file that Auth names."
_CHECK_DOMAIN: Final = "Set the target's Domain to the server_name in Synapse's homeserver.yaml."
_CHECK_LOG: Final = "See Synapse's log."
_RUNGS: Final = standard("Synapse", check_url=_CHECK_URL, check_log=_CHECK_LOG) | {
    401: Rung("denied", "LoginRefused", _CHECK_LOGIN),
    403: Rung("denied", "LoginRefused", _CHECK_LOGIN),
    404: Rung("denied", "NotTheApi", _CHECK_URL),
    405: Rung("denied", "NotTheApi", _CHECK_URL),
}


def _error(_response: Response, text: str) -> tuple[str, str]:
    match parse_json(text.encode()):
        case {"errcode": str(code), "error": str(words)}:
            return code, words
        case _:
            return "", text


_FORM: Final = AnswerForm(_error)


def open_connector(target: Target, ports: Ports) -> Connector:
    """Return the connector of this target; nothing is sent yet."""
    return TableConnector(
        target,
        for_version(None),
        TABLE,
        request=lambda call, entry: _build(call, entry, target),
        send=send_once(_outcome, ports.now_s),
        probe=partial(_probe, target),
        stepwise=True,
    )


async def _probe(target: Target, link: Link) -> Probe:
    """Ask for a user, which takes an administrator, and for the version, which anybody is told."""
    users = await link.ask(unsent(lambda: _question(target, "/_synapse/admin/v2/users", ("limit", "1"))))
    version = await link.ask(unsent(lambda: _question(target, "/_synapse/admin/v1/server_version")))
    return health_of(users, version, target.default_host).probe


def _login(target: Target) -> Headers:
    return authorization(target.credentials)


def _question(target: Target, path: str, *query: tuple[str, str]) -> Request:
    return Request(
        "GET", target.url.path + path, target.timeout_s, query=query, headers=_login(target), repeatable=True
    )


def _build(call: Call, entry: Entry, target: Target) -> Request:
    method, path, in_query = split_request(entry.request)
    given = fit(entry.takes, entry.name, without_host(call.command.arguments, target.default_host))
    elsewhere = {*names_in(path), *in_query}
    has_body = method != "GET"
    return Request(
        method,
        target.url.path + path_of(path, given, lambda name, text: segment(name, f"@{text}:{target.default_host}")),
        call.timeout_s,
        query=query_of(in_query, given),
        headers=(*_login(target), *call.headers, *((("Content-Type", "application/json"),) if has_body else ())),
        body=json_body({name: value for name, value in given.items() if name not in elsewhere}) if has_body else b"",
        repeatable=True,
    )


def _outcome(call: Call, _entry: Entry, spec: CommandSpec, response: Response, now_s: float) -> Outcome:
    if 200 <= response.status < 300:
        return deliver_as_is(response, parse_json(response.parsable))
    return classify(read_for(_FORM, call, spec, response, now_s))


def classify(answer: Answer) -> Outcome:
    """Return what an answer that is no success means for the job."""
    match answer.status, answer.code:
        case 404, "M_NOT_FOUND" | "M_UNKNOWN":  # M_UNKNOWN: `set_admin` about nobody
            return answer.reject("NotFound", "Check the user's name.")
        case 400, "M_UNKNOWN" if "local users" in answer.raw_message:
            return answer.deny("WrongDomain", _CHECK_DOMAIN)
        case _:
            return ladder(answer, _RUNGS)


def health_of(users: Response, version: Response, domain: str | None) -> Health:
    """Return what the answers to the probe's two questions mean."""
    answer = read(_FORM, users)
    match users.status, parse_json(users.body):
        case 200, {"users": [{"name": str(name)}, *_]} if not name.endswith(f":{domain}"):
            wrong = f"Its users are such as {answer.masked_text.hide(name)}."
            return target_denied("WrongDomain", wrong, _CHECK_DOMAIN)
        case 200, {"users": _}:
            return _well(version)
        case ((401 | 403), {"errcode": _}):
            return target_denied("LoginRefused", f"The login is refused ({answer.summary}).", _CHECK_LOGIN)
        case status, _ if status < 500 and status != 429:
            return target_denied("NotTheApi", f"This is not Synapse ({answer.summary}).", _CHECK_URL)
        case _:
            return target_down(f"Synapse does not work now ({answer.summary}).", f"{IF_NOT}see Synapse's log.")


def _well(version: Response) -> Health:
    match parse_json(version.body):
        case {"server_version": str(number)}:
            shown = read(_FORM, version).masked_text
            return target_up(f"Synapse {shown.hide(number)} answers.", shown.version(number))
        case _:
            return target_up("Synapse answers.")
