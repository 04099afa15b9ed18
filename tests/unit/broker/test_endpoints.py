# ruff: noqa: SLF001 - what is kept stays bounded, and no public name shows how much it is
"""What is found out once for an endpoint is what each of its jobs would find out for itself."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.broker import admission
from restbroker.broker.admission import Endpoints
from restbroker.broker.gates import Slots
from restbroker.config.secret import Secret
from restbroker.config.target import Target, Url
from restbroker.config.tokens import Token
from restbroker.job import auth
from restbroker.job.auth import AccessRequest
from restbroker.job.command import Command
from restbroker.servers.contract import Connector, Ports
from restbroker.servers.ejabberd.options import Options
from restbroker.servers.registry import open_connector
from restbroker.transport.message import Request, Response

TARGET = Target(
    "ejabberd",
    "ejabberd",
    Url("http", "127.0.0.1", 5281, "/api"),
    ("rest",),
    default_host="example.org",
    timeout_s=7.0,
    at_most_once=("send_*",),
    slots={"delete_old_*": 2},
    options=Options(),
)
CONNECTOR = open_connector(TARGET, Ports(lambda _: None, lambda: 0.0))
KNOWN = Endpoints(TARGET, CONNECTOR, Slots(TARGET.slots))

ENDPOINTS = st.sampled_from(
    ["register", "register/v1", "v1/register", "backup", "x/backup", "stop", "send_message", "get_roster", "own"]
)
TOKENS = [
    Token("all", (Secret("a"),)),
    Token("some", (Secret("b"),), allow=("get_*", "register", "dangerous:backup")),
    Token("here", (Secret("c"),), hosts=("example.org",)),
]


@attrs.frozen
class Old:
    """A server of this version, asked for its status."""

    version: str

    async def ask(self, request: Request) -> Response:
        assert request.path == "/api/status"
        return Response(200, {}, f'"ejabberd {self.version} is running"'.encode(), 0.0)

    send = ask

    async def task(self) -> None:
        pass


def opened() -> tuple[Connector, Endpoints]:
    connector = open_connector(TARGET, Ports(lambda _: None, lambda: 0.0))
    return connector, Endpoints(TARGET, connector, Slots(TARGET.slots))


@given(ENDPOINTS, st.sampled_from(TOKENS), st.sampled_from([{}, {"host": "example.org"}, {"host": "other.org"}]))
def test_token_is_refused_at_once_what_each_job_would_be_refused(
    endpoint: str, token: Token, arguments: dict[str, Any]
) -> None:
    command = Command(endpoint, arguments)
    dangerous = CONNECTOR.catalogue.dangerous_in(endpoint)
    wish = AccessRequest(
        command, CONNECTOR.spec(endpoint), dangerous, TARGET.default_host, TARGET.name, TARGET.queues[0]
    )
    assert KNOWN.of(endpoint).refusal(token, command, TARGET.queues[0]) == auth.refusal(token, wish)


def test_facts_are_of_the_command_whatever_its_endpoint_adds() -> None:
    known = KNOWN.of("send_message/v1")
    assert known.at_most_once
    assert known.slot is None
    assert known.timeout_s == TARGET.timeout_s
    slow = KNOWN.of("delete_old_messages")
    assert not slow.at_most_once
    assert slow.slot is KNOWN.of("delete_old_mam_messages").slot is not None
    assert slow.timeout_s == 300.0


async def test_version_found_later_counts_for_known_endpoints() -> None:
    connector, known = opened()
    before = known.of("ban_account")
    assert known.of("ban_account") is before
    await connector.probe(Old("23.01"))
    after = known.of("ban_account")
    assert after is not before
    assert after.spec is connector.spec("ban_account")


def test_endpoints_that_producers_invent_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_KNOWN_LIMIT", 3)
    _, known = opened()
    for number in range(10):
        known.of(f"invented{number}")
        assert len(known._known) <= 3


def test_slash_for_the_dot_changes_nothing_about_a_command() -> None:
    url = Url("http", "localhost", 5551, "/api/graphql")
    target = Target("mim", "mongooseim", url, ("q",), at_most_once=("broadcast.*",), slots={"account.registerUser": 2})
    connector = open_connector(target, Ports(lambda _: None, lambda: 0.0))
    known = Endpoints(target, connector, Slots(target.slots))
    assert known.of("broadcast/startBroadcast").at_most_once
    assert known.of("account/registerUser").slot is known.of("account.registerUser").slot is not None
    token = Token("some", (Secret("b"),), allow=("account.check*", "account", "*/*"))
    for endpoint, code in (("account/removeUser", "CommandNotAllowed"), ("server/stop", "DangerousCommand")):
        refused = known.of(endpoint).refusal(token, Command(endpoint, {}), "q")
        assert refused is not None
        assert refused.code == code
    assert known.of("account/checkUser").refusal(token, Command("account/checkUser", {}), "q") is None
