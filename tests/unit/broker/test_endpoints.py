"""What is found out once for an endpoint is what each of its jobs would find out for itself."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from restbroker.broker.admission import Endpoints
from restbroker.broker.gates import Slots
from restbroker.config.secret import Secret
from restbroker.config.target import Target, Url
from restbroker.config.tokens import Token
from restbroker.job import auth
from restbroker.job.auth import AccessRequest
from restbroker.job.command import Command
from restbroker.servers.contract import Ports
from restbroker.servers.ejabberd.options import Options
from restbroker.servers.registry import open_connector

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


@given(ENDPOINTS, st.sampled_from(TOKENS), st.sampled_from([{}, {"host": "example.org"}, {"host": "other.org"}]))
def test_token_is_refused_at_once_what_each_job_would_be_refused(
    endpoint: str, token: Token, arguments: dict[str, Any]
) -> None:
    command = Command(endpoint, arguments)
    dangerous = CONNECTOR.catalogue.dangerous_in(endpoint)
    wish = AccessRequest(
        command, CONNECTOR.spec(endpoint), dangerous, TARGET.default_host, TARGET.name, TARGET.queues[0]
    )
    assert KNOWN.get(endpoint).refusal(token, command, TARGET.queues[0]) == auth.refusal(token, wish)


def test_facts_are_of_the_command_whatever_its_endpoint_adds() -> None:
    known = KNOWN.get("send_message/v1")
    assert known.at_most_once
    assert known.slot is None
    assert known.timeout_s == TARGET.timeout_s
    slow = KNOWN.get("delete_old_messages")
    assert not slow.at_most_once
    assert slow.slot is KNOWN.get("delete_old_mam_messages").slot is not None
    assert slow.timeout_s == 300.0


def test_slash_for_the_dot_changes_nothing_about_a_command() -> None:
    url = Url("http", "localhost", 5551, "/api/graphql")
    target = Target("mim", "mongooseim", url, ("q",), at_most_once=("broadcast.*",), slots={"account.registerUser": 2})
    connector = open_connector(target, Ports(lambda _: None, lambda: 0.0))
    known = Endpoints(target, connector, Slots(target.slots))
    assert known.get("broadcast/startBroadcast").at_most_once
    assert known.get("account/registerUser").slot is known.get("account.registerUser").slot is not None
    token = Token("some", (Secret("b"),), allow=("account.check*", "account", "*/*"))
    for endpoint, code in (("account/removeUser", "CommandNotAllowed"), ("server/stop", "DangerousCommand")):
        refused = known.get(endpoint).refusal(token, Command(endpoint, {}), "q")
        assert refused is not None
        assert refused.code == code
    assert known.get("account/checkUser").refusal(token, Command("account/checkUser", {}), "q") is None
