"""What mod_rest, mod_post_msg and mod_http_admin_api do with stanzas, tokens and mistakes, in a real Prosody.

By default against our stand-ins, which were written from what the originals were seen to do; `make test
PROSODY_MODULES=/path` holds the originals to the same.
"""

import json
from typing import Any

import pytest

from tests.support.prosody import Prosody
from tests.support.roster_service import RosterService
from tests.support.xmpp import Client, Clients

JSON = "application/json"
HELLO = {"kind": "message", "type": "chat", "to": "aaron@example.org", "body": "hello ☂"}


def post(prosody: Prosody, document: object, user: str = "john", **headers: str) -> tuple[int, Any]:
    """POST /rest by this account; the answer's document where it has one."""
    body = document if isinstance(document, str) else json.dumps(document)
    given = {"Content-Type": JSON, "Authorization": prosody.authorization(user), **headers}
    return read(prosody.call("POST", "/rest", body, {name: value for name, value in given.items() if value}))


def read(answered: tuple[int, str]) -> tuple[int, Any]:
    status, text = answered
    return status, json.loads(text) if text.startswith("{") else text


@pytest.fixture
def john(prosody: Prosody, roster_service: RosterService, clients: Clients) -> Client:
    prosody.register("john", "aaron")
    return clients.login("john")


@pytest.fixture
def aaron(john: Client, clients: Clients) -> Client:
    return clients.login("aaron")


def test_an_iq_can_be_a_get(prosody: Prosody, john: Client) -> None:
    headers = {"Authorization": prosody.authorization("john")}
    for what in ("ping", "version", "disco"):
        status, reply = read(prosody.call("GET", f"/rest/{what}/example.org", headers=headers))
        assert (what, status, reply["type"]) == (what, 200, "result")
        status, reply = read(prosody.call("GET", f"/rest/{what}/nobody%40example.org%2Fphone", headers=headers))
        assert (what, status, reply["error"]["condition"]) == (what, 200, "service-unavailable")


def test_an_error_of_xmpp_is_a_200_with_its_type_and_condition(prosody: Prosody, john: Client) -> None:
    status, reply = post(prosody, {**HELLO, "to": "nobody@example.org", "id": "9"})
    assert (status, reply["kind"], reply["type"], reply["id"]) == (200, "message", "error", "9")
    assert (reply["error"]["type"], reply["error"]["condition"]) == ("cancel", "service-unavailable")


def test_whom_it_does_not_know(prosody: Prosody, john: Client) -> None:
    status, text = post(prosody, HELLO, Authorization="", Accept=JSON)
    assert status == 401
    assert "<html" in text
    for bad in (
        prosody.authorization("john", "wrong"),
        prosody.authorization("nobody"),
        prosody.authorization("john@example.org"),  # the local part only
        "Bearer wrong",
        "Digest x",
    ):
        assert post(prosody, HELLO, Authorization=bad)[0] == 403


def test_mistakes_in_what_is_sent(prosody: Prosody, john: Client) -> None:
    assert post(prosody, "{no JSON")[0] == 400
    assert post(prosody, {"kind": "letter", "to": "aaron@example.org"})[0] == 422
    assert post(prosody, {**HELLO, "from": "aaron@example.org"})[0] == 403
    assert post(prosody, {**HELLO, "from": "john@example.org/bot"})[0] == 202
    assert post(prosody, HELLO, **{"Content-Type": "text/csv"})[0] == 415
    assert post(prosody, {**HELLO, "body": "x" * 300_000})[0] == 413


def test_an_iq_that_nobody_answers_ends_after_the_time_that_a_header_gives(prosody: Prosody, john: Client) -> None:
    prosody.appear(["mute"])
    iq = {"kind": "iq", "type": "get", "to": "mute@example.org/without", "ping": True}
    status, reply = post(prosody, iq, **{"Prosody-Rest-Timeout": "1"})
    assert (status, reply["error"]["type"], reply["error"]["condition"]) == (200, "wait", "remote-server-timeout")


# mod_post_msg


def send(prosody: Prosody, path: str, body: str, kind: str = JSON, user: str = "john@example.org") -> int:
    headers = {"Content-Type": kind, "Authorization": prosody.authorization(user)}
    return prosody.call("POST", f"/msg{path}", body, headers)[0]


def test_post_msg_sends_json_forms_and_text(prosody: Prosody, aaron: Client) -> None:
    assert send(prosody, "/aaron@example.org", '{"body": "one"}') == 201
    assert send(prosody, "/aaron@example.org", "two", "text/plain") == 201
    assert send(prosody, "/", "to=aaron%40example.org&body=three", "application/x-www-form-urlencoded") == 201
    assert [message.body for message in aaron.messages.wait_for_number(3)] == ["one", "two", "three"]


# mod_http_admin_api

ADMIN = "prosody:scope:admin"


def admin(prosody: Prosody, method: str, path: str, document: object = None, scope: str = ADMIN) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {prosody.token('john', scope)}", "Content-Type": JSON}
    return read(prosody.call(method, f"/admin_api{path}", json.dumps(document) if document else "", headers))


def test_the_admin_api_shows_users_and_the_server(prosody: Prosody, john: Client) -> None:
    status, text = admin(prosody, "GET", "/users")
    assert status == 200
    assert sorted(user["username"] for user in json.loads(text)) == ["aaron", "john"]
    paths = ("/users/john", "/users/nobody", "/server/info", "/server/metrics", "/invites", "/groups")
    assert [admin(prosody, "GET", path)[0] for path in paths] == [200, 404, 200, 200, 200, 500]
    assert admin(prosody, "DELETE", "/users/nobody")[0] == 200
