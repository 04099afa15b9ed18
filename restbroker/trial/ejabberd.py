"""A stand-in for ejabberd: the few commands that `demo` and `verify` use, answered as ejabberd 23.01 does.

Behind a `server.Server`. Answers and their order of checks were measured on ejabberd 23.01 (Debian 12), and
tests/trial compares both; of requests only those that a broker sends are known, with a JSON object. Always holds:
keeps everything in memory.

A trap of the real server that the stand-in shares: it checks that the command exists, then the login, then the
arguments; so a wrong password on an unknown command is a 404.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs

from restbroker.job.json_types import Json
from restbroker.trial.server import Exchange, ReceivedCommand

Arguments: TypeAlias = Mapping[str, str]
Answer: TypeAlias = tuple[int, Json]

_STATUS = "The node nonode@nohost is started. Status: startedejabberd 23.01-1 is running in that node"


@attrs.define(eq=False)
class Ejabberd:
    """The server: its administrator, its virtual hosts and accounts, and the requests so far.

    `accounts`: (user, host) → password.
    """

    user: str
    password: str
    hosts: frozenset[str]
    online: int = 3
    """The answer to `connected_users_number`."""
    accounts: dict[tuple[str, str], str] = attrs.field(factory=dict)
    requests: list[ReceivedCommand] = attrs.field(factory=list)

    async def handle(self, exchange: Exchange) -> None:
        """Answer a request at once."""
        await exchange.answer(*self.execute(exchange))

    def execute(self, exchange: Exchange) -> Answer:
        """Execute the request's command, add it to `requests`, and return status and value of the answer."""
        arguments = json.loads(exchange.body)
        status, value = self._execute(exchange.command, exchange.headers.get("authorization", ""), arguments)
        self.requests.append(ReceivedCommand(exchange.command, arguments, status, f"{exchange.method} {exchange.path}"))
        return status, value

    def _execute(self, command: str, authorization: str, arguments: Mapping[str, Any]) -> Answer:
        entry = _COMMANDS.get(command)
        if entry is None:
            return 404, {"status": "error", "code": 40, "message": "Endpoint not found."}
        if refusal := self._refusal(authorization):
            return refusal
        if complaint := _complaint(entry.arguments, arguments):
            return 400, complaint
        return entry.run(self, arguments)

    def _refusal(self, authorization: str) -> Answer | None:
        if not authorization:
            denied = "AccessRules: Account does not have the right to perform the operation."
            return 403, {"status": "error", "code": 32, "message": denied}
        if authorization != f"Basic {b64encode(f'{self.user}:{self.password}'.encode()).decode()}":
            return 401, {"status": "error", "code": 10, "message": "You are not authorized to call this command."}
        return None


def _register(server: Ejabberd, arguments: Arguments) -> Answer:
    account = (arguments["user"], arguments["host"])
    if account[1] not in server.hosts:
        return 500, {"status": "error", "code": 10001, "message": "Unknown virtual host"}
    address = "@".join(account)
    if account in server.accounts:
        return 409, {"status": "error", "code": 10090, "message": f"User {address} already registered"}
    server.accounts[account] = arguments["password"]
    return 200, f"User {address} successfully registered"


def _check_account(server: Ejabberd, arguments: Arguments) -> Answer:
    return 200, 0 if (arguments["user"], arguments["host"]) in server.accounts else 1


def _send_message(_: Ejabberd, arguments: Arguments) -> Answer:
    for name in ("from", "to"):
        user, at, host = arguments[name].rpartition("@")
        if not host or (at and not user):
            tag = "tag <message/> qualified by namespace 'jabber:client'"
            return 400, f"Bad value of attribute '{name}' in {tag}"
    return 200, 0


@attrs.frozen
class _Command:
    arguments: tuple[str, ...]
    run: Callable[[Ejabberd, Arguments], Answer]


_COMMANDS = {
    "status": _Command((), lambda _, __: (200, _STATUS)),
    "connected_users_number": _Command((), lambda server, _: (200, {"num_sessions": server.online})),
    "user_sessions_info": _Command(("user", "host"), lambda _, __: (200, [])),
    "register": _Command(("user", "host", "password"), _register),
    "check_account": _Command(("user", "host"), _check_account),
    "send_message": _Command(("type", "from", "to", "subject", "body"), _send_message),
}


def _complaint(names: tuple[str, ...], arguments: Mapping[str, Json]) -> str | None:
    """Return what ejabberd finds wrong with the arguments: the first one that is missing, or all that are unknown."""
    for name in names:
        if name not in arguments:
            return f"Request have missing argument: {name}"
    if unknown := [name for name in arguments if name not in names]:
        return f"Request have unknown arguments: [{','.join(unknown)}]"
    for name in names:
        if not isinstance(arguments[name], str):
            return f"Arg {json.dumps(arguments[name])} is not in format binary"
    return None
