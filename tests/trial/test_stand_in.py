"""The stand-in ejabberd answers as it should, and goes down as a killed server does."""

from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target, Url
from restbroker.connectors.ejabberd.check.server import check
from restbroker.connectors.ejabberd.options import Options
from restbroker.trial.ejabberd import Ejabberd
from restbroker.trial.server import Arrival, Exchange, Server

ADMIN = ("admin@example.org", "secret")
JOHN = {"user": "john", "host": "example.org"}


@pytest.fixture
def ejabberd() -> Ejabberd:
    return Ejabberd(*ADMIN, frozenset({"example.org"}))


@pytest.fixture
async def server(nursery: trio.Nursery, ejabberd: Ejabberd) -> AsyncIterator[Server]:
    stand_in = Server(ejabberd.handle)
    await nursery.start(stand_in.run)
    yield stand_in
    nursery.cancel_scope.cancel()


async def post(server: Server, command: str, body: object, auth: tuple[str, str] | None = ADMIN) -> httpx.Response:
    async with httpx.AsyncClient(auth=auth) as client:
        return await client.post(f"http://127.0.0.1:{server.port}/api/{command}", json=body)


async def test_an_account_is_registered_once(server: Server) -> None:
    account = {**JOHN, "password": "p"}
    assert (await post(server, "check_account", JOHN)).json() == 1
    first, second = await post(server, "register", account), await post(server, "register", account)
    assert (first.status_code, first.json()) == (200, "User john@example.org successfully registered")
    assert (second.status_code, second.json()["code"]) == (409, 10090)
    assert (await post(server, "check_account", JOHN)).json() == 0


async def test_the_check_names_only_rights_to_commands_that_it_has(server: Server) -> None:
    url = Url("http", "127.0.0.1", server.port, "/api")
    login = Basic(ADMIN[0], Secret(ADMIN[1]))
    target = Target("t", "ejabberd", url, ("rest",), login, host_header="example.org", options=Options())
    found = {finding.code: finding.message for finding in await check(target, ())}
    assert found["Rights"] == "The login may call register, check_account, send_message, connected_users_number."


async def test_what_arrives_is_kept_in_order(server: Server, ejabberd: Ejabberd) -> None:
    await post(server, "check_account", JOHN)
    await post(server, "connected_users_number", {})
    assert ejabberd.arrivals == [Arrival("check_account", JOHN, 200), Arrival("connected_users_number", {}, 200)]


async def test_while_down_it_refuses_and_afterwards_it_is_on_the_same_port_with_its_accounts(server: Server) -> None:
    await post(server, "register", {**JOHN, "password": "p"})
    port = server.port
    await server.go_down()
    with trio.fail_after(5):
        while True:
            try:
                await post(server, "status", {})
            except httpx.ConnectError:
                break
    await server.come_up()
    assert server.port == port
    assert (await post(server, "check_account", JOHN)).json() == 0


async def test_a_request_that_is_not_answered_ends_in_a_reset(nursery: trio.Nursery) -> None:
    async def silent(exchange: Exchange) -> None:
        assert exchange.body == b"{}"

    server = Server(silent)
    await nursery.start(server.run)
    with pytest.raises(httpx.ReadError):
        await post(server, "status", {})
    nursery.cancel_scope.cancel()
