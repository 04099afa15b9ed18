"""The differences between the servers of the demo: the stand-in of each, and the commands of its jobs.

`demo.demo` takes a scenario, `demo.environment` sets it up, `demo.steps` use it. Always holds: all that differs between
servers is here; the steps name no server.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

import attrs

from restbroker.job.json_types import Json
from restbroker.standins import openfire
from restbroker.standins.ejabberd import Ejabberd
from restbroker.standins.openfire import Openfire
from restbroker.standins.server import Exchange, ReceivedCommand

DOMAIN: Final = "example.org"
QUEUE: Final = "rest"
PASSWORD: Final = "s3cret"  # noqa: S105 - of accounts that live for the length of the demo


class StandIn(Protocol):
    """The attributes and methods of a stand-in that the steps use."""

    @property
    def requests(self) -> list[ReceivedCommand]:
        """The requests that came, the first one first."""

    @property
    def online(self) -> int:
        """The number of users that it reports as online."""

    async def handle(self, exchange: Exchange) -> None:
        """Answer a request."""


@attrs.frozen
class Message:
    """A message that is sent: the command, its arguments as pairs, and the text of the job's reply (`reply`)."""

    command: str
    pairs: Sequence[tuple[str, str]]
    reply: str


@attrs.frozen
class Scenario:
    """The differences of one server. `stand_in` makes the server, given its administrator's name and password.

    `settings` returns the settings of env.json that name it, for its port and login. `create` makes an account, whose
    name is the argument `user`, and is answered with `created`; `lookup` checks for one, `count` returns the number of
    users online. `filled_arguments`: the arguments that the broker fills in.
    """

    name: str
    login: str
    stand_in: Callable[[str, str], StandIn]
    settings: Callable[[int, str, str], dict[str, Json]]
    create: str
    created: int
    user: str
    filled_arguments: Mapping[str, Json]
    message: Message
    lookup: str
    count: str
    ping: str
    """A command without arguments, for users to push."""

    def creation(self, user: str, password: str = PASSWORD) -> list[Json]:
        """Return a job's command and arguments that make this account."""
        return [self.create, {self.user: user, "password": password}]


def _ejabberd(user: str, password: str) -> StandIn:
    return Ejabberd(user, password, frozenset({DOMAIN}))


def _ejabberd_settings(port: int, user: str, password: str) -> dict[str, Json]:
    return {
        "RestURL": f"http://127.0.0.1:{port}/api",
        "RestUser": user,
        "RestPass": password,
        "JabberDomain": DOMAIN,
        "RestQueue": QUEUE,
    }


def _openfire_settings(port: int, user: str, password: str) -> dict[str, Json]:
    return {
        "Targets": {
            "openfire": {
                "Kind": "openfire-rest",
                "URL": f"http://127.0.0.1:{port}{openfire.BASE}",
                "Auth": {"Basic": {"User": user, "Pass": password}},
                "Queues": [QUEUE],
            }
        }
    }


SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType(
    {
        "ejabberd": Scenario(
            "ejabberd",
            login=f"admin@{DOMAIN}",
            stand_in=_ejabberd,
            settings=_ejabberd_settings,
            create="register",
            created=200,
            user="user",
            filled_arguments={"host": DOMAIN},
            message=Message(
                "send_message",
                (
                    ("type", "chat"),
                    ("from", f"admin@{DOMAIN}"),
                    ("to", f"john@{DOMAIN}"),
                    ("subject", ""),
                    ("body", "Hi"),
                ),
                reply="0",
            ),
            lookup="check_account",
            count="connected_users_number",
            ping="status",
        ),
        "openfire": Scenario(
            "openfire",
            login="admin",
            stand_in=Openfire,
            settings=_openfire_settings,
            create="create_user",
            created=201,
            user="username",
            filled_arguments={},
            message=Message("broadcast_message", (("body", "Hi"),), reply=""),
            lookup="get_user",
            count="session_statistics",
            ping="session_statistics",
        ),
    }
)
