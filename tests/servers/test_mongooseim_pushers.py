"""What plays MongooseIM's event pushers sends the bytes that MongooseIM 6.8 sent, and gives up when that did."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.mongooseim import push_http, push_rabbit, push_sns
from tests.support.mongooseim.push_http import HttpPusher
from tests.support.mongooseim.push_sns import SnsPusher
from tests.support.mongooseim.scalars import Jid
from tests.support.mongooseim.world import Sent
from tests.support.ports import free_port
from tests.transport.authority import authority


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Hi Bob", "Hi+Bob"),
        ("Hi, Bob!", "Hi%2C+Bob%21"),
        ("a & b = c", "a+%26+b+%3D+c"),
        ("~-._", "%7E-._"),
        ("line\nbreak", "line%0Abreak"),
        # Four bytes in a row that need it: a space among them is no plus sign.
        ("x   y", "x+++y"),
        ("x    y", "x%20%20%20%20y"),
        ("Grüße ☂ an alle", "Gr%C3%BC%C3%9Fe%20%E2%98%82+an+alle"),
        ("", ""),
    ],
)
def test_a_value_of_the_form_mixes_both_ways_to_write_a_space(text: str, written: str) -> None:
    assert push_http.escaped(text) == written


@given(st.text())
def test_a_value_of_the_form_can_be_read_by_whoever_reads_forms(text: str) -> None:
    form = push_http.body("alice", "localhost", "bob", text).decode("ascii")
    fields = dict(parse_qsl(form, keep_blank_values=True, strict_parsing=True, errors="strict"))
    assert fields == {"author": "alice", "server": "localhost", "receiver": "bob", "message": text}


def test_the_form_of_the_documentation_is_not_escaped() -> None:
    expected = b"author=alice&server=localhost&receiver=bob&message=Hi, Bob!"
    assert push_http.literal_body("alice", "localhost", "bob", "Hi, Bob!") == expected


@attrs.define(eq=False)
class Door:
    """Takes connections and does with each request what the next of `answers` says: bytes, None for a silent close."""

    answers: Sequence[bytes | None]
    delay_s: float = 0.0
    came: list[bytes] = attrs.field(factory=list)
    listening: socket.socket = attrs.field(factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    @property
    def port(self) -> int:
        port = self.listening.getsockname()[1]
        assert isinstance(port, int)
        return port

    def serve(self) -> None:
        while True:
            try:
                line, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(line,), daemon=True).start()

    def _talk(self, line: socket.socket) -> None:
        with line:
            while came := line.recv(65536):
                with self._lock:
                    self.came.append(came)
                    answer = self.answers[min(len(self.came), len(self.answers)) - 1]
                time.sleep(self.delay_s)
                if answer is None:
                    return
                line.sendall(answer)


@pytest.fixture
def open_door() -> Iterator[Callable[..., Door]]:
    doors: list[Door] = []

    def make(*answers: bytes | None, delay_s: float = 0.0) -> Door:
        doors.append(Door(answers, delay_s))
        threading.Thread(target=doors[-1].serve, daemon=True).start()
        return doors[-1]

    yield make
    for door in doors:
        door.listening.shutdown(socket.SHUT_RDWR)
        door.listening.close()


def said(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok".encode()


def test_a_message_is_posted_byte_for_byte_as_there(open_door: Callable[..., Door]) -> None:
    door = open_door(said("200 OK"))
    with HttpPusher(door.port, prefix="/webservice", path="/notifications") as pusher:
        assert pusher.push("alice", "localhost", "bob", "Hi, Bob!")
        assert pusher.push("alice", "localhost", "bob", "again")
    first = f"""POST /webservicenotifications HTTP/1.1\r
Host: 127.0.0.1:{door.port}\r
Content-Length: 63\r
content-type: application/x-www-form-urlencoded\r
\r
author=alice&server=localhost&receiver=bob&message=Hi%2C+Bob%21"""
    assert door.came[0].decode() == first
    assert len(door.came) == 2


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "503 Service Unavailable"])
def test_any_status_counts_as_sent_and_nothing_is_sent_again(open_door: Callable[..., Door], status: str) -> None:
    door = open_door(said(status))
    with HttpPusher(door.port) as pusher:
        assert pusher.push("alice", "localhost", "bob", "x")
    assert (len(door.came), pusher.sent, pusher.failed, len(pusher.response_times_s)) == (1, 1, 0, 1)


def test_the_same_bytes_come_three_times_where_the_receiver_hangs_up(open_door: Callable[..., Door]) -> None:
    door = open_door(None)
    with HttpPusher(door.port) as pusher:
        assert not pusher.push("alice", "localhost", "bob", "x")
    assert len(door.came) == 3
    assert len(set(door.came)) == 1
    assert (pusher.sent, pusher.failed, pusher.response_times_s) == (0, 1, [])


def test_what_is_refused_or_not_answered_in_time_is_lost_at_once(open_door: Callable[..., Door]) -> None:
    with HttpPusher(free_port()) as pusher:
        assert not pusher.push("alice", "localhost", "bob", "x")
    door = open_door(said("200 OK"), delay_s=0.5)
    with HttpPusher(door.port, request_timeout_s=0.1) as pusher:
        assert not pusher.push("alice", "localhost", "bob", "x")
    assert len(door.came) == 1


def test_what_waits_too_long_for_a_worker_counts_as_failed_and_is_posted_nevertheless(
    open_door: Callable[..., Door],
) -> None:
    door = open_door(said("200 OK"), delay_s=0.3)
    pusher = HttpPusher(door.port, workers=1, call_timeout_s=0.1)
    assert not pusher.push("alice", "localhost", "bob", "x")
    pusher.close()
    assert len(door.came) == 1


def test_a_pool_with_https_verifies_the_certificate(tmp_path: Path) -> None:
    ours = authority(tmp_path)
    topics = Topics(0, *ours.pair("server"))
    with topics as server:
        port = server.server_address[1]
        with HttpPusher(port, host="localhost", trust=str(ours.ca)) as pusher:
            assert pusher.push("alice", "localhost", "bob", "hi")
        with HttpPusher(port, host="localhost", trust=str(ours.folder / "stranger.pem")) as stranger:
            assert not stranger.push("alice", "localhost", "bob", "hi")
    assert topics.came == [{"author": "alice", "server": "localhost", "receiver": "bob", "message": "hi"}]


def test_only_chat_with_a_text_is_posted_and_the_domain_of_the_receiver_is_lost(open_door: Callable[..., Door]) -> None:
    door = open_door(said("200 OK"))
    alice, bob = Jid.read("alice@localhost/PC"), Jid.read("bob@second.localhost")
    with HttpPusher(door.port) as pusher:
        for sent in (Sent(alice, bob, ""), Sent(alice, bob, "x", "headline"), Sent(alice, bob, "hi")):
            pusher.told(sent)
    assert [one.rpartition(b"\r\n")[2] for one in door.came] == [
        b"author=alice&server=localhost&receiver=bob&message=hi"
    ]


def test_a_request_to_sns_is_signed_as_amazons_own_library_signs_it() -> None:
    """The signature was made by botocore."""
    headers = push_sns.signed("gw.example:8443", b"Action=Publish", "AK", "SECRET", 1_700_000_000)
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AK/20231114/us-east-1/sns/aws4_request, "
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
        "Signature=816a5ef07edf363b70ffee0f2e64eed78ef4323978659d0ebc3dfc6257407e3d"
    )


@attrs.define(eq=False)
class Topics:
    """An endpoint with TLS that answers 500 as often as it is told, and 200 then."""

    failures: int
    pem: Path
    key: Path
    came: list[dict[str, str]] = attrs.field(factory=list)

    def __enter__(self) -> ThreadingHTTPServer:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers["content-length"])).decode()
                ours.came.append(dict(parse_qsl(form, strict_parsing=True)))
                self.send_response(500 if len(ours.came) <= ours.failures else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Tests read `came`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem, self.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self._server

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    _server: ThreadingHTTPServer = attrs.field(init=False)


def test_what_sns_does_not_take_is_published_again_and_nobody_waits(tmp_path: Path) -> None:
    ours = authority(tmp_path)
    topics = Topics(3, *ours.pair("server"))
    with topics as server:
        address = f"localhost:{server.server_address[1]}"
        pusher = SnsPusher(address, "AK", "SECRET", str(ours.ca), retry_count=6, retry_time_ms=10)
        with pusher:
            pusher.told(Sent(Jid.read("alice@localhost/PC"), Jid.read("bob@localhost"), 'ü "q" \\ \n'))
            pusher.wait()
            assert [one.status for one in pusher.tries] == [500, 500, 500, 200]
            pusher.presence("alice@localhost/PC", present=True)
            pusher.wait()
    assert not pusher.dropped
    message = {"from_user_id": "alice@localhost", "to_user_id": "bob@localhost", "message": 'ü "q" \\ \n'}
    assert [json.loads(one["Message"]) for one in topics.came] == [message] * 4 + [
        {"user_id": "alice@localhost", "present": True}
    ]
    assert {one["TopicArn"] for one in topics.came[:4]} == {"arn:aws:sns:eu-west-1:251423380551:user_message_sent"}


def test_a_certificate_that_nobody_trusts_is_refused_and_what_is_refused_is_dropped_in_the_end(tmp_path: Path) -> None:
    for name in ("ours", "other"):
        (tmp_path / name).mkdir()
    ours, other = authority(tmp_path / "ours"), authority(tmp_path / "other")
    topics = Topics(0, *ours.pair("server"))
    with topics as server:
        address = f"localhost:{server.server_address[1]}"
        with SnsPusher(address, "AK", "SECRET", str(other.ca), retry_count=1, retry_time_ms=1) as pusher:
            pusher.publish("chat", {"message": "x"})
            pusher.wait()
    assert [one.status for one in pusher.tries] == [None, None]
    assert pusher.dropped == [{"message": "x"}]
    assert not topics.came


def test_a_message_is_published_to_rabbitmq_as_sent_and_as_received() -> None:
    published = push_rabbit.chat("first.last@localhost/PC", "bob@localhost", "Grüße")
    assert {(one.exchange, one.routing_key) for one in published} == {
        ("chat_msg", "first.last@localhost.chat_msg_sent"),
        ("chat_msg", "bob@localhost.chat_msg_recv"),
    }
    for one in published:
        assert "Grüße".encode() in one.body
        assert json.loads(one.body) == {
            "to_user_id": "bob@localhost",
            "from_user_id": "first.last@localhost/PC",
            "message": "Grüße",
        }


def test_a_message_of_a_room_comes_once_for_everybody_in_it_and_for_the_room() -> None:
    occupants = {"a": "alice@localhost/PC", "b": "bob@localhost/PC"}
    published = push_rabbit.groupchat("alice@localhost/PC", "room@muc.localhost", "a", occupants, "hi")
    assert [(one.routing_key, one.payload["to_user_id"], one.payload["from_user_id"]) for one in published] == [
        ("alice@localhost.groupchat_msg_sent", "room@muc.localhost", "alice@localhost/PC"),
        ("room@muc.localhost.groupchat_msg_recv", "room@muc.localhost", "room@muc.localhost/a"),
        ("alice@localhost.groupchat_msg_recv", "alice@localhost/PC", "room@muc.localhost/a"),
        ("bob@localhost.groupchat_msg_recv", "bob@localhost/PC", "room@muc.localhost/a"),
    ]


def test_a_presence_has_the_full_jid_and_the_key_the_bare_one() -> None:
    one = push_rabbit.presence("bob@localhost/PC", present=False)
    assert (one.exchange, one.routing_key) == ("presence", "bob@localhost")
    assert json.loads(one.body) == {"user_id": "bob@localhost/PC", "present": False}
