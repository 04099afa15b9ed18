"""What plays MongooseIM's event pushers sends the bytes that MongooseIM 6.8 sent."""

import json
import socket

from tests.support.mongooseim import push_http, push_rabbit, push_sns
from tests.support.mongooseim.push_http import HttpPusher


def test_a_message_is_posted_byte_for_byte_as_there() -> None:
    written = {
        "Hi, Bob!": "Hi%2C+Bob%21",
        "a & b = c": "a+%26+b+%3D+c",
        "~-._": "%7E-._",
        "line\nbreak": "line%0Abreak",
        # Four bytes in a row that need it: a space among them is no plus sign.
        "x   y": "x+++y",
        "x    y": "x%20%20%20%20y",
        "Grüße ☂ an alle": "Gr%C3%BC%C3%9Fe%20%E2%98%82+an+alle",
        "": "",
    }
    assert {text: push_http.escaped(text) for text in written} == written
    expected = b"author=alice&server=localhost&receiver=bob&message=Hi, Bob!"
    assert push_http.literal_body("alice", "localhost", "bob", "Hi, Bob!") == expected

    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        with HttpPusher(port, prefix="/webservice", path="/notifications", request_timeout_s=0.1) as pusher:
            # Nobody answers, so it is lost at once.
            assert not pusher.push("alice", "localhost", "bob", "Hi, Bob!")
        line, _ = door.accept()
        with line:
            assert (
                line.recv(65536).decode()
                == f"""POST /webservicenotifications HTTP/1.1\r
Host: 127.0.0.1:{port}\r
Content-Length: 63\r
content-type: application/x-www-form-urlencoded\r
\r
author=alice&server=localhost&receiver=bob&message=Hi%2C+Bob%21"""
            )


def test_a_request_to_sns_is_signed_as_amazons_own_library_signs_it() -> None:
    """The signature was made by botocore."""
    headers = push_sns.signed("gw.example:8443", b"Action=Publish", "AK", "SECRET", 1_700_000_000)
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AK/20231114/us-east-1/sns/aws4_request, "
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
        "Signature=816a5ef07edf363b70ffee0f2e64eed78ef4323978659d0ebc3dfc6257407e3d"
    )


def test_events_are_published_to_rabbitmq_with_the_keys_and_members_of_there() -> None:
    for one in push_rabbit.chat("first.last@localhost/PC", "bob@localhost", "Grüße"):
        key = "first.last@localhost.chat_msg_sent" if "sent" in one.routing_key else "bob@localhost.chat_msg_recv"
        assert (one.exchange, one.routing_key) == ("chat_msg", key)
        assert "Grüße".encode() in one.body
        assert json.loads(one.body) == {
            "to_user_id": "bob@localhost",
            "from_user_id": "first.last@localhost/PC",
            "message": "Grüße",
        }
    occupants = {"a": "alice@localhost/PC", "b": "bob@localhost/PC"}
    published = push_rabbit.groupchat("alice@localhost/PC", "room@muc.localhost", "a", occupants, "hi")
    assert [(one.routing_key, one.payload["to_user_id"], one.payload["from_user_id"]) for one in published] == [
        ("alice@localhost.groupchat_msg_sent", "room@muc.localhost", "alice@localhost/PC"),
        ("room@muc.localhost.groupchat_msg_recv", "room@muc.localhost", "room@muc.localhost/a"),
        ("alice@localhost.groupchat_msg_recv", "alice@localhost/PC", "room@muc.localhost/a"),
        ("bob@localhost.groupchat_msg_recv", "bob@localhost/PC", "room@muc.localhost/a"),
    ]
    gone = push_rabbit.presence("bob@localhost/PC", present=False)
    assert (gone.exchange, gone.routing_key) == ("presence", "bob@localhost")
    assert json.loads(gone.body) == {"user_id": "bob@localhost/PC", "present": False}
