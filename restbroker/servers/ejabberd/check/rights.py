"""Finds out which common commands the login may call, by calls that cannot have an effect.

Called by `check.server`, and by `check.logins` for a token. Always holds: a right that no answer shows counts as not
known, and causes no warning.

ejabberd looks at the form of a command's arguments, then at the rights, then at what the arguments say. From 26.07 on
an account has no right to a host that the server does not serve, so that one which it serves must be asked with; on
such a host only a user whom no server can have is out of harm's way (measured on 23.01, 24.12 and 26.07).
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import attrs

from restbroker.config.target import Target
from restbroker.job.json_types import Json
from restbroker.servers.ejabberd import catalogue
from restbroker.servers.ejabberd.answer import read
from restbroker.servers.ejabberd.check import ejabberd_yml
from restbroker.servers.ejabberd.check.entry import TEXTS
from restbroker.servers.ejabberd.check.hosts import TrialHost
from restbroker.servers.ejabberd.request import question
from restbroker.servers.findings import Finding, ok
from restbroker.transport.message import Response, Transport

_OF_26_07: Final = "export_db_ext"
"""A command that every 26.07 has, and no older ejabberd: a login that may not ask for the version learns that much."""
_NOBODY: Final = "@"
"""A user's name has no @ in it: nothing is found, made, changed or ended under this one."""


@attrs.frozen
class Rights:
    """The names of commands that the login may call, may not call, or may perhaps; those the server lacks are in none.

    `by_host`: the account has these rights only on hosts of which it is an administrator.
    """

    allowed: Sequence[str]
    forbidden: Sequence[str]
    unknown: Sequence[str]
    by_host: bool


UNKNOWN_ARGUMENT: Final[Mapping[str, Json]] = {"zz_probe": 1}
"""An argument that no command has: ejabberd refuses it before anything runs, and before it checks the rights."""


def trials(host: str) -> Mapping[str, Mapping[str, Json]]:
    """Return {command: arguments} such that ejabberd checks the rights and then refuses the arguments."""
    person: Mapping[str, Json] = {"user": _NOBODY, "host": host}
    return {
        "register": {**person, "password": "restbroker-check"},
        "unregister": person,
        "check_account": person,
        "change_password": {**person, "newpass": "restbroker-check"},
        "kick_user": person,
        "send_message": {"type": "chat", "from": "@", "to": "@", "subject": "", "body": ""},
        "connected_users_number": {},
    }


async def ask_rights(target: Target, http: Transport, host: TrialHost, version: str | None) -> Rights:
    """Send a harmless call of each command, and return which the login may call; raise `NotSent` or `MaybeSent`.

    `version` is None if the login may not even ask for `status`.
    """
    by_host = target.credentials is not None and await _checks_hosts(target, http, version)
    # A refusal is then of the host, or of the command.
    is_doubtful = by_host and not host.is_served
    found: dict[str, list[str]] = {"allowed": [], "forbidden": [] if version else ["status"], "unknown": []}
    for command, arguments in trials(host.name).items():
        response = await http.send(question(target, command, arguments))
        if not is_missing(response):
            found[_classify(command, response, is_doubtful=is_doubtful and "host" in arguments)].append(command)
    return Rights(**found, by_host=by_host)


async def _checks_hosts(target: Target, http: Transport, version: str | None) -> bool:
    if version is not None:
        return catalogue.checks_hosts(version)
    return not is_missing(await http.send(question(target, _OF_26_07, UNKNOWN_ARGUMENT)))


def is_missing(response: Response) -> bool:
    """Tell whether the server has no such command; a 404 of a command itself has a text as its body: "unknown_user"."""
    answer = read(response)
    return answer.raw_message == "unknown_command" or (response.status == 404 and not isinstance(answer.body, str))


def classify_rights(target: Target, rights: Rights, host: TrialHost) -> Finding:
    """Return these rights as one finding."""
    name = target.name
    unknown = f" restbroker could not check whether it may call {', '.join(rights.unknown)}." if rights.unknown else ""
    if not rights.forbidden:
        may = f"The login may call {', '.join(rights.allowed)}." if rights.allowed else ""
        return ok(name, "Rights", f"{may}{unknown}".strip())
    lines, besides = ejabberd_yml.permissions(target, rights.forbidden), ""
    if rights.by_host:
        besides = (
            f" ejabberd 26.07 and newer also require the account to be an administrator of the host, here {host.name}."
        )
        lines = f"{lines}\n\n{ejabberd_yml.administrator(target)}"
    if {"status", "connected_users_number"} <= set(rights.forbidden):
        rest = _rest(rights.forbidden)
        return TEXTS.finding(name, "Forbidden", commands=rest, unknown=unknown, besides=besides, hint=lines)
    commands = ", ".join(rights.forbidden)
    return TEXTS.finding(name, "SomeForbidden", commands=commands, unknown=unknown, besides=besides, hint=lines)


def _classify(command: str, response: Response, *, is_doubtful: bool) -> Literal["allowed", "forbidden", "unknown"]:
    answer = read(response)
    match response.status:
        case 403:
            return "unknown" if is_doubtful else "forbidden"
        case 400:
            # Of what a version says of the name before it looks at the rights, nothing follows.
            return "allowed" if command == "send_message" and "Bad value" in answer.raw_message else "unknown"
        case 401 | 408 | 425 | 429:
            return "unknown"
        case status if status >= 500:
            return "allowed" if answer.code == "10001" else "unknown"
        case _:
            return "allowed"


def _rest(forbidden: Sequence[str]) -> str:
    return ", ".join(one for one in forbidden if one not in ("status", "connected_users_number")) or "nothing else"
