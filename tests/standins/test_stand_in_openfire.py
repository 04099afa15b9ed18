"""The stand-in for Openfire answers each request of this list as the REST API plugin 1.3.10 was seen to, byte for byte.

The answers were measured on an Openfire 4.1.6; no Openfire is here to be asked again.
"""

from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from restbroker.standins.openfire import BASE, Openfire
from restbroker.standins.server import Server

ADMIN = ("admin", "secret")
XML = "application/xml"
JSON = "application/json"
ALICE = b"<user><username>al2</username><name>Alice</name><password>p</password></user>"

# In this order, since both remember: method, path, body, its type; status, the answer's type, body.
EXCHANGES = [
    ("GET", "/users/zz", b"", "", 404, JSON,
     '{"resource":"zz","message":"Could not get user","exception":"UserNotFoundException"}'),
    ("POST", "/users", ALICE, XML, 201, None, ""),
    ("POST", "/users", ALICE, XML, 409, JSON,
     '{"resource":"al2","message":"Could not create new user","exception":"UserAlreadyExistsException"}'),
    ("POST", "/users", b'{"username":"nop"}', JSON, 400, JSON,
     '{"resource":"nop","message":"Could not create new user, because password is null","exception":"PasswordIsNull"}'),
    ("POST", "/users", b'{"password":"p"}', JSON, 500, None, ""),
    ("POST", "/users", b'{"username":"x","password":""}', JSON, 500, None, ""),
    ("POST", "/users", b"{}", JSON, 500, None, ""),
    ("POST", "/users", b'{"username"', JSON, 500, None, ""),
    ("POST", "/users", b"<user", XML, 500, None, ""),
    ("POST", "/users", b"", JSON, 500, None, ""),
    ("POST", "/users", b'{"username":"bob","name":"B","password":"p"}', f"{JSON};charset=UTF-8", 201, None, ""),
    ("GET", "/users/bob", b"", "", 200, JSON, '{"username":"bob","name":"B","password":null,"properties":[]}'),
    ("POST", "/messages/users", b"<message><body>Hi</body></message>", XML, 201, None, ""),
    ("POST", "/messages/users", b'{"body":""}', JSON, 400, JSON,
     '{"resource":"","message":"Message content/body is null or empty","exception":"IllegalArgumentException"}'),
    ("GET", "/system/statistics/sessions", b"", "", 200, JSON, '{"localSessions":0,"clusterSessions":0}'),
    ("GET", "/system/liveness", b"", "", 404, None, ""),
    ("GET", "/nope", b"", "", 404, None, ""),
]  # fmt: skip


@pytest.fixture
def openfire() -> Openfire:
    return Openfire(*ADMIN, online=0)


@pytest.fixture
async def server(nursery: trio.Nursery, openfire: Openfire) -> AsyncIterator[Server]:
    stand_in = Server(openfire.handle)
    await nursery.start(stand_in.run)
    yield stand_in
    nursery.cancel_scope.cancel()


def client(server: Server, auth: tuple[str, str] | None = ADMIN) -> httpx.AsyncClient:
    return httpx.AsyncClient(auth=auth, headers={"Accept": JSON}, base_url=f"http://127.0.0.1:{server.port}{BASE}")


async def test_each_answer_is_the_one_that_was_measured(server: Server) -> None:
    given = []
    async with client(server) as http:
        for method, path, body, kind, *_ in EXCHANGES:
            answer = await http.request(method, path, content=body, headers={"Content-Type": kind} if kind else {})
            given.append(
                (method, path, body, kind, answer.status_code, answer.headers.get("Content-Type"), answer.text)
            )
    assert given == EXCHANGES
