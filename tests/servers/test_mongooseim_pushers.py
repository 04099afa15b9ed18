"""What plays MongooseIM's event pushers sends the bytes that MongooseIM 6.8 sent."""

import socket

from tests.support.mongooseim import push_http
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
