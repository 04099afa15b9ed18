"""The plans by which the broker sends commands without the connector: each does exactly what `deliver` does."""

from typing import Final, cast

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target, Url
from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.servers.contract import Planner, Ports
from restbroker.servers.ejabberd.connector import open_connector
from restbroker.servers.ejabberd.options import Options
from restbroker.transport.message import Request, Response

_TARGET: Final = Target(
    "t",
    "ejabberd",
    Url("http", "127.0.0.1", 5281, "/api"),
    ("rest",),
    credentials=Basic("a@x", Secret("p")),
    default_host="example.net",
)
_ARGUMENTS: Final[tuple[dict[str, Json], ...]] = (
    {},
    {"user": "a"},
    {"user": "a", "host": "x"},
    {"service": "conference.x", "nick": "a", "user": "a", "host": "x"},
    {"serverhost": "x"},
)
_BODIES: Final = (b"0", b"1", b'{"res":1}', b'{"res":0}', b'"a"', b"[]", b"true", b"", b"a page")


@attrs.define
class Link:
    """Gives the same answer to each request, and keeps the requests."""

    answer: Response
    requests: list[Request] = attrs.field(factory=list)

    async def send(self, request: Request) -> Response:
        self.requests.append(request)
        return self.answer

    ask = send


@pytest.mark.parametrize("api_version", [None, 2])
@pytest.mark.parametrize("version", ["23.01", "24.12", "26.07"])
async def test_a_plan_of_any_command_sends_and_judges_it_as_deliver_does(version: str, api_version: int | None) -> None:
    target = attrs.evolve(_TARGET, options=Options(server_version=version, api_version=api_version))
    connector = open_connector(target, Ports(lambda _: None, lambda: 0.0))
    planned = 0
    for name in (*connector.catalogue.commands, "in_no_catalogue"):
        for endpoint in (name, f"{name}/v1", f"{name}/v3"):
            plan = cast("Planner", connector).plan(endpoint)
            if plan is None:
                continue
            planned += 1
            for arguments in _ARGUMENTS:
                link, body = Link(Response(200, {}, b"0", 0.0)), plan.body(arguments)
                assert body is not None
                call = Call(Command(endpoint, arguments), host=target.default_host)
                await connector.deliver(call, link)
                assert link.requests == [attrs.evolve(plan.request, body=body)], endpoint
            for status, body in ((status, body) for status in (200, 201, 302) for body in _BODIES):
                outcome = plan.outcome(status, body)
                if outcome is not None:
                    link = Link(Response(status, {}, body, 0.0))
                    assert await connector.deliver(call, link) == outcome, (endpoint, status, body)
                    assert len(link.requests) == 1, "nothing is asked besides"
    assert planned > len(connector.catalogue.commands)
