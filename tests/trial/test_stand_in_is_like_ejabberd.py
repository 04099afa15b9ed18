"""The stand-in answers every request of this list as a real ejabberd 23.01 (Debian 12's) does, byte for byte."""

from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from restbroker.trial.stand_in import StandIn
from tests.support.ejabberd import PASSWORD, Ejabberd

JOHN = b'{"user":"john","host":"example.org"}'
REGISTER = b'{"user":"john","host":"example.org","password":"p"}'
MESSAGE = b'{"type":"chat","from":"admin@localhost","to":"%s","subject":"","body":"Hi"}'

# In this order, since both servers remember: command, body, may the broker's account be used (or a wrong password).
EXCHANGES = [
    ("status", b"{}", True),
    ("check_account", JOHN, True),
    ("register", REGISTER, True),
    ("register", REGISTER, True),
    ("check_account", JOHN, True),
    ("register", b"{}", True),
    ("register", b'{"user":"john","host":"example.org"}', True),
    ("register", REGISTER, False),
    ("register", b"{}", False),
    ("send_message", MESSAGE % b"john@example.org", True),
    ("send_message", MESSAGE % b"nobody@example.org", True),
    ("connected_users_number", b"{}", True),
    ("user_sessions_info", JOHN, True),
    ("no_such_command_at_all", b"{}", True),
    ("no_such_command_at_all", b"{}", False),
]


@pytest.fixture
async def stand_in(nursery: trio.Nursery, own_ejabberd: Ejabberd) -> AsyncIterator[StandIn]:
    server = StandIn(nursery, own_ejabberd.admin, PASSWORD, online=0)
    await server.come_up()
    yield server
    nursery.cancel_scope.cancel()


async def answers(url: str, user: str) -> list[tuple[str, bytes, int, str, str]]:
    given = []
    for command, body, known in EXCHANGES:
        auth = (user, PASSWORD if known else "wrong")
        async with httpx.AsyncClient(auth=auth, headers={"Host": "localhost"}) as client:
            answer = await client.post(f"{url}/{command}", content=body)
            given.append((command, body, answer.status_code, answer.headers["Content-Type"], answer.text))
    return given


@pytest.mark.slow
async def test_the_stand_in_answers_as_ejabberd_does(own_ejabberd: Ejabberd, stand_in: StandIn) -> None:
    real = await answers(own_ejabberd.url, own_ejabberd.admin)
    ours = await answers(f"http://127.0.0.1:{stand_in.port}/api", own_ejabberd.admin)
    assert ours == real
