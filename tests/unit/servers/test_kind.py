"""A kind in one file: the requests of its rows, and what answers mean where it says nothing of them."""

from itertools import repeat
from typing import Any

import attrs
import pytest

from restbroker.config.target import Target, Url
from restbroker.job.command import Call, Command
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Rejected, Uncertain
from restbroker.servers.api.answer import Answer
from restbroker.servers.api.health import Health, target_up
from restbroker.servers.api.kind import Row, TableKind
from restbroker.servers.api.table import FLAG, NAME, TEXT, WHOLE, may, needs
from restbroker.servers.api.texts import parse_json
from restbroker.servers.contract import Ports
from restbroker.transport.message import Response
from tests.support.link import Scripted
from tests.support.rows import rows

USER = needs(user=NAME)


def health(answer: Answer) -> Health | None:
    return target_up("Well.") if parse_json(answer.response.body) == {"ok": True} else None


KIND = TableKind(
    server="Made-up",
    version="1",
    commands=(
        Row("rooms", "GET /users/{user}/rooms?limit&open", "safe", (*USER, *may(limit=WHOLE, open=FLAG))),
        Row("rename", "POST /users/{user}", "unsafe", (*USER, *may(name=TEXT)), tags=("users",)),
        Row("stop", "DELETE /", "unsafe", (), touches="server"),
    ),
    probe="/ok",
    check_url="URL?",
    check_login="Login?",
    check_log="Log?",
    login=lambda _: (("X-Key", "k"),),
    error=lambda _response, text: ("", text),
    health=health,
    one_domain=True,
)


def answering(status: int, body: bytes = b"") -> Scripted:
    """A link that answers each request alike."""
    return Scripted(repeat(Response(status, {}, body, 0.1)))


CONNECTOR = KIND.open_connector(
    Target("t", "made-up", Url("http", "127.0.0.1", 80, "/api"), ("q",), default_host="a.b"),
    Ports(lambda _: None, lambda: 0.0),
)


async def done(server: Scripted, command: str, /, **given: Any) -> Outcome:
    return await CONNECTOR.deliver(Call(Command(command, given)), server)


async def test_a_row_says_where_each_argument_goes() -> None:
    server = answering(200, b"[1]")
    assert isinstance(await done(server, "rooms", user="a/b", limit=5, open=True, host="A.b"), Delivered)
    assert isinstance(await done(server, "rename", user="ann", name="Ann"), Delivered)
    assert isinstance(await done(server, "rename", user="ann"), Delivered)
    first, *others = server.requests
    assert (first.method, first.path, first.query, first.body) == (
        "GET",
        "/api/users/a%2Fb/rooms",
        (("limit", "5"), ("open", "true")),
        b"",
    )
    assert first.headers == (("X-Key", "k"),)
    assert [request.body for request in others] == [b'{"name":"Ann"}', b"{}"]
    assert others[0].headers[1] == ("Content-Type", "application/json")


@rows(("name", "given"), [("rooms", {"user": "ann", "host": "x.y"}), ("rooms", {}), ("stop", {"now": 1}), ("go", {})])
async def test_unfit_arguments_are_not_sent(name: str, given: dict[str, Any]) -> None:
    server = answering(200)
    assert isinstance(await done(server, name, **given), Rejected)
    assert server.requests == []


@rows(
    ("status", "kind"),
    [
        *((400, Rejected), (401, Denied), (403, Denied), (404, Denied), (405, Denied), (302, Denied)),
        *((429, Deferred), (503, Deferred), (502, Uncertain)),
    ],
)
async def test_the_status_decides_where_the_kind_says_nothing(status: int, kind: type[Outcome]) -> None:
    assert isinstance(await done(answering(status, b"no"), "rooms", user="ann"), kind)


@pytest.mark.parametrize(("body", "is_ok"), [(b'{"ok": true}', True), (b"<html>", False)])
async def test_a_page_of_another_server_is_not_well(body: bytes, is_ok: bool) -> None:
    probe = await CONNECTOR.probe(answering(200, body))
    assert (probe.ok, probe.denied) == (is_ok, not is_ok)


def test_its_catalogue_has_hosts_tags_and_dangers() -> None:
    catalogue = KIND.for_version(None)
    assert catalogue.commands["rename"].tags == {"users"}
    assert catalogue.commands["rename"].fills_host
    assert catalogue.dangerous_in("stop") == {"stop": {"server"}}


@pytest.mark.parametrize(
    ("request_", "repeat", "error"),
    [
        ("GET /users/{usr}", "safe", "names usr, which it does not take"),
        ("GET /users?lim", "safe", "names lim, which it does not take"),
        ("/users", "safe", "must be a method and a path"),
        ("GET users", "safe", "must be a method and a path"),
        ("GET /users", "Unsafe", "'repeat' must be in"),
    ],
)
def test_a_wrong_row_is_refused_when_it_is_read(request_: str, repeat: Any, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Row("rooms", request_, repeat, USER)


def test_two_rows_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="more than one row of rooms"):
        attrs.evolve(KIND, commands=(KIND.commands[0], *KIND.commands))
