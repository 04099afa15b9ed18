"""The stand-in's Chat API and its event streams do what the plugin's sources and a measured Jetty do."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.openfire.asking import LOGIN, Asker, basic
from tests.support.openfire.rooms import make_room, open_room
from tests.support.openfire.server import Openfire
from tests.support.wait import until

BOB = "bob@example.org"
REFUSED = {"exception": "IllegalArgumentException", "message": "Exception", "ressource": "Exception"}


@pytest.fixture
def server() -> Iterator[Openfire]:
    with Openfire(heartbeat_s=0.05) as server:
        server.world.register("alice", "bob", "carol")
        server.world.befriend("alice", "bob")
        yield server


@pytest.fixture
def asker(server: Openfire) -> Iterator[Asker]:
    with Asker(server) as asker:
        yield asker


def test_a_login_gives_the_same_stream_until_the_logoff(server: Openfire, asker: Asker) -> None:
    got = asker.chat("POST", "/chat/alice/login", Accept=LOGIN)
    assert (got.status, got.kind, got.text[:6], got.text[6:].lstrip("-").isdigit()) == (
        200,
        "text/plain",
        "ofchat",
        True,
    )
    assert asker.login("alice") == [got.text]
    assert server.world.logins == ["alice"]
    assert asker.chat("POST", f"/chat/{got.text}/logoff").status == 200
    again = asker.chat("POST", f"/chat/{got.text}/logoff")
    assert (again.status, again.json) == (400, REFUSED)
    assert asker.login("alice") != [got.text]


@pytest.mark.parametrize(
    ("authorization", "password", "is_own"),
    [
        (basic("admin", "secret"), "", True),
        (basic("admin", "secret"), "secret", True),
        (basic("bob", "secret"), "secret", True),
        ("chat-secret", "secret", True),
        ("chat-secret", "", False),
        (basic("bob", "secret"), "", False),
        (basic("bob", "secret"), "{}", False),
    ],
)
def test_who_gives_no_password_must_be_an_administrator_by_basic(
    server: Openfire, asker: Asker, authorization: str, password: str, is_own: bool
) -> None:
    got = asker.chat("POST", "/chat/alice/login", password, Authorization=authorization, Accept=LOGIN)
    assert got.status == 200
    assert server.world.of_user["alice"].is_anonymous != is_own


def test_a_wrong_password_is_a_400(server: Openfire, asker: Asker) -> None:
    got = asker.chat("POST", "/chat/alice/login", "wrong", Accept=LOGIN)
    assert (got.status, got.json) == (400, REFUSED)
    server.world.accounts["alice"].is_locked = True
    assert asker.chat("POST", "/chat/alice/login", "secret", Accept=LOGIN).status == 400
    assert asker.chat("POST", "/chat/nobody/login", "secret", Accept=LOGIN).status == 400


@pytest.mark.parametrize(
    ("accept", "right", "wrong"),
    [("application/json", 406, 406), ("text/plain", 200, 500), ("*/*", 200, 500), (LOGIN, 200, 400)],
)
def test_what_a_login_accepts_says_how_it_is_answered(asker: Asker, accept: str, right: int, wrong: int) -> None:
    for password, status in (("secret", right), ("wrong", wrong)):
        got = asker.chat("POST", "/chat/alice/login", password, Accept=accept)
        assert (got.status, got.body == b"") == (status, status in (406, 500))
        assert "set-cookie" not in got.headers
        assert (got.headers.get("transfer-encoding") == "chunked") == (got.body != b"")


def test_two_first_logins_at_the_same_moment_are_two_and_nobody_gets_an_event_stream_from_then_on(
    server: Openfire, asker: Asker
) -> None:
    server.world.login_s = 0.2
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: asker.login("alice")[0], "12")
    assert one != other
    asker.login("bob")
    assert asker.listen("bob").status == 404
    server.restart()
    asker.login("bob")
    assert asker.listen("bob").status == 200


def test_a_question_and_a_login_of_one_name_are_two_as_well_and_streams_that_are_open_go_on(
    server: Openfire, asker: Asker
) -> None:
    for asks_first in (True, False):
        server.restart()
        [bob] = asker.login("bob")
        listener = asker.listen("bob")
        server.world.has_uploads = False
        steps = [("GET", "/ask/upload/alice/a.png/10"), ("POST", "/chat/alice/login")]
        for method, path in steps if asks_first else reversed(steps):
            assert asker.chat(method, path, Accept=LOGIN).status == (400 if method == "GET" else 200)
        asker.login("carol")
        assert asker.listen("carol").status == 404
        asker.chat("POST", f"/chat/{bob}/messages/{BOB}", "still here")
        assert listener.typed("chat")["body"] == "still here"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "presence", 400),
        ("POST", f"messages/{BOB}", 400),
        ("POST", "xmpp", 400),
        ("POST", "users/colour", 400),
        ("PUT", "rooms/tea", 400),
        ("POST", "rooms/tea", 400),
        ("POST", f"rooms/tea/{BOB}", 400),
        ("DELETE", "rooms/tea", 400),
        ("POST", "offer/abc", 400),
        ("DELETE", "offer/abc", 400),
        ("GET", "assists", 400),
        ("GET", "contacts", 200),
    ],
)
def test_a_stream_that_is_not_there_is_a_400_but_for_the_contacts(
    asker: Asker, method: str, path: str, status: int
) -> None:
    got = asker.chat(method, f"/chat/ofchat-1/{path}", "x" if method == "POST" else None)
    assert got.status == status
    assert got.json == (REFUSED if status == 400 else {})


def test_a_message_is_told_as_a_stanza_and_as_joined_text(asker: Asker) -> None:
    alice, _ = asker.login("alice", "bob")
    listener = asker.listen("bob")
    assert asker.chat("POST", f"/chat/{alice}/messages/{BOB}", 'he said "hi"\nnow').status == 200
    assert '<body>he said "hi"\nnow</body>' in listener.stanza()
    name, data = listener.next()
    assert name == "chatapi.chat"
    assert data.startswith('{"type": "chat", "to":"bob@example.org", "from":"alice@example.org/alice')
    assert data.endswith('"data":null, "body": "he said "hi"\nnow"}')


def test_an_object_travels_as_data(asker: Asker) -> None:
    alice, _ = asker.login("alice", "bob")
    listener = asker.listen("bob")
    asker.chat("POST", f"/chat/{alice}/messages/{BOB}", '{"body": "hi", "n": 1}')
    asker.chat("POST", f"/chat/{alice}/messages/{BOB}", '{"n": 2}')
    asker.chat("POST", f"/chat/{alice}/chatstate/composing/{BOB}")
    chat, notify, state = [json.loads(listener.next()[1]) for _ in "123"]
    assert (chat["body"], chat["data"]) == ("hi", {"body": "hi", "n": 1})
    assert (notify["type"], notify["data"]) == ("notify", {"n": 2})
    assert (state["type"], state["state"]) == ("normal", "composing")


def test_what_an_administrator_has_a_session_told_is_not_quoted(asker: Asker) -> None:
    asker.login("bob")
    listener = asker.listen("bob")
    assert asker.chat("POST", "/sessions/bob", "note", Content_Type="text/plain").status == 200
    name, data = listener.next()
    assert (name, data.endswith('"from":"admin@example.org", "data":note}')) == ("chatapi.notify", True)


def test_what_several_threads_write_comes_in_any_order_behind_its_stanza(server: Openfire, asker: Asker) -> None:
    alice, _ = asker.login("alice", "bob")
    # With a heartbeat all that is late is written.
    server.world.threads, server.heartbeat_s = 2, 600.0
    listener = asker.listen("bob")
    for text in ("one", "two", "three"):
        asker.chat("POST", f"/chat/{alice}/messages/{BOB}", text)
    assert [listener.frame()[0] for _ in range(4)] == [*["chatapi.xmpp"] * 3, "chatapi.chat"]


def test_a_message_that_cannot_be_sent_is_a_200(server: Openfire, asker: Asker) -> None:
    [alice] = asker.login("alice")
    listener = asker.listen("alice")
    for to in ("bob", "bob@elsewhere.example", "nobody@example.org"):
        assert asker.chat("POST", f"/chat/{alice}/messages/{to}", "hi").status == 200
    assert asker.chat("POST", f"/chat/{alice}/xmpp", "<not xml").status == 200
    # Nothing comes back: the next thing that she hears is her own presence.
    asker.chat("POST", f"/chat/{alice}/presence")
    assert json.loads(listener.next()[1])["type"] == "presence"


def test_what_came_while_somebody_was_away_is_lost_at_his_login_which_makes_him_available(
    server: Openfire, asker: Asker
) -> None:
    [alice] = asker.login("alice")
    asker.chat("POST", f"/chat/{alice}/messages/{BOB}", "kept")
    assert len(server.world.accounts["bob"].offline) == 1
    [bob] = asker.login("bob")
    assert server.world.accounts["bob"].offline == []
    listener = asker.listen("bob")
    asker.chat("POST", f"/chat/{alice}/messages/{BOB}", "without any presence of his")
    assert listener.typed("chat")["body"] == "without any presence of his"
    asker.chat("POST", f"/chat/{bob}/presence?show=away&status=tea")
    asker.chat("POST", f"/chat/{alice}/messages/{BOB}", "last")
    assert listener.typed("chat")["body"] == "last"
    assert [user for user, data in server.world.lost if '"kept"' in data] == ["bob"]


def test_presence_is_seen_by_contacts_and_by_nobody_else(server: Openfire, asker: Asker) -> None:
    alice, bob, _ = asker.login("alice", "bob", "carol")
    asker.chat("POST", f"/chat/{bob}/presence")
    listeners = [asker.listen(name) for name in ("alice", "bob")]
    asker.chat("POST", f"/chat/{alice}/presence?show=dnd&status=writing%20now")
    seen = listeners[1].typed("presence")
    assert (seen["show"], seen["status"]) == ("dnd", "writing now")
    own = listeners[0].typed("presence")
    assert (own["from"].partition("/")[0], own["show"]) == ("alice@example.org", "dnd"), "one's own comes back"
    asker.chat("POST", f"/chat/{alice}/logoff")
    assert listeners[1].typed("presence")["show"] == "available"
    asker.login("alice")
    assert listeners[1].typed("presence")["to"] == BOB, "a login makes her available"
    told = [json.loads(data) for user, data in server.world.lost if user == "carol"]
    assert {one["from"].partition("@")[0] for one in told if "type" in one} == {"carol"}


def test_that_somebody_left_is_told_by_the_stanza_only(asker: Asker) -> None:
    alice, _ = asker.login("alice", "bob")
    listener = asker.listen("bob")
    asker.chat("POST", f"/chat/{alice}/presence?show=offline")
    assert 'type="unavailable"' in listener.stanza()


def test_contacts_are_kept(asker: Asker) -> None:
    [alice] = asker.login("alice")
    path = f"/chat/{alice}/contacts"
    item = {"jid": "carol@example.org", "nickname": "C", "subscriptionType": 3}
    assert [asker.chat("POST", path, item).status for _ in "12"] == [201, 400]
    assert asker.chat("PUT", f"{path}/carol@example.org", {**item, "nickname": "Carol"}).status == 201
    shown = asker.chat("GET", path).json["rosterItem"]
    carol = {one["jid"]: one for one in shown}["carol@example.org"]
    assert (carol["nickname"], carol["show"]) == ("Carol", "available"), "though she is away"
    assert asker.chat("DELETE", f"{path}/carol@example.org").status == 201
    gone = asker.chat("DELETE", f"{path}/carol@example.org")
    assert (gone.status, gone.json["ressource"]) == (400, "Roster Item could not deleted")
    asker.chat("POST", path, {**item, "subscriptionType": 0})
    assert "carol" not in asker.chat("GET", path).text, "nobody is subscribed to anybody"
    asker.chat("POST", f"/chat/{alice}/logoff")
    [alice] = asker.login("alice")
    assert "carol" in asker.chat("GET", f"/chat/{alice}/contacts").text


def test_own_properties_are_set_and_deleted(server: Openfire, asker: Asker) -> None:
    [alice] = asker.login("alice")
    path = f"/chat/{alice}/users/colour"
    assert asker.chat("POST", path, "blue").status == 200
    assert server.world.accounts["alice"].properties == {"colour": "blue"}
    assert [asker.chat("DELETE", path).status for _ in "12"] == [200, 200]
    assert server.world.accounts["alice"].properties == {}


def test_a_room_is_joined_spoken_in_and_left(server: Openfire, asker: Asker) -> None:
    alice, bob = asker.login("alice", "bob")
    listener = asker.listen("bob")
    assert asker.chat("POST", f"/chat/{alice}/rooms/tea", "too early").status == 400
    open_room(server.world, "tea")
    assert [asker.chat("PUT", f"/chat/{one}/rooms/tea").status for one in (alice, bob, bob)] == [200] * 3
    assert asker.chat("POST", f"/chat/{alice}/rooms/tea", "hello").status == 200
    said = listener.typed("groupchat")
    assert (said["from"], said["body"]) == ("tea@conference.example.org/alice", "hello")
    assert asker.chat("DELETE", f"/chat/{alice}/rooms/tea").status == 200
    left = listener.typed("presence")
    assert (left["from"], left["show"]) == ("tea@conference.example.org/alice", "available")
    # Somebody who left is answered by the room, not by the API.
    refused = asker.listen("alice")
    assert asker.chat("POST", f"/chat/{alice}/rooms/tea", "too late").status == 200
    answer = refused.typed("error")
    assert (answer["from"], answer["body"]) == ("tea@conference.example.org", "too late")
    assert list(server.world.services["conference"]["tea"].occupants) == ["bob"]


@pytest.mark.parametrize(("asked", "status"), [("occupants", 500), ("participants", 500), ("chathistory", 404)])
def test_who_asks_for_a_room_that_is_not_there_gets_a_page_but_for_its_history(
    asker: Asker, asked: str, status: int
) -> None:
    got = asker.chat("GET", f"/chat/rooms/nowhere/{asked}")
    assert (got.status, got.kind) == (status, "text/html" if status == 500 else "application/json")
    assert status == 500 or got.json["message"] == "Could not find the chat room"


def test_a_room_that_a_join_made_is_its_makers_alone_until_he_leaves(server: Openfire, asker: Asker) -> None:
    alice, bob = asker.login("alice", "bob")
    told = asker.listen("bob")
    assert [asker.chat("PUT", f"/chat/{one}/rooms/tea").status for one in (alice, bob)] == [200, 400]
    assert told.typed("presence")["from"] == "tea@conference.example.org/bob"
    assert asker.chat("POST", f"/chat/{bob}/rooms/tea", "is anybody here?").status == 200
    assert server.world.services["conference"]["tea"].told == []
    assert asker.chat("DELETE", f"/chat/{alice}/rooms/tea").status == 200
    assert asker.chat("PUT", f"/chat/{bob}/rooms/tea").status == 200


def test_a_room_that_tells_nobodys_presence_lets_him_in_and_the_join_is_a_400(server: Openfire, asker: Asker) -> None:
    server.world.join_timeout_s = 0.05
    (alice,) = asker.login("alice")
    make_room(server.world, "conference", "tea", {"persistent": True})
    assert asker.chat("PUT", f"/chat/{alice}/rooms/tea").status == 400
    assert asker.chat("POST", f"/chat/{alice}/rooms/tea", "hello").status == 200
    assert [body for _, body, _ in server.world.services["conference"]["tea"].told] == ["hello"]


def test_who_comes_hears_what_was_said_last(server: Openfire, asker: Asker) -> None:
    alice, bob = asker.login("alice", "bob")
    open_room(server.world, "tea")
    asker.chat("PUT", f"/chat/{alice}/rooms/tea")
    asker.chat("POST", f"/chat/{alice}/rooms/tea", "before")
    listener = asker.listen("bob")
    asker.chat("PUT", f"/chat/{bob}/rooms/tea")
    assert listener.typed("groupchat")["body"] == "before"


def test_an_invitation_is_told_twice_to_who_is_invited(asker: Asker) -> None:
    alice, _ = asker.login("alice", "bob")
    listener = asker.listen("bob")
    assert asker.chat("POST", f"/chat/{alice}/rooms/tea/{BOB}", "come").status == 400
    asker.chat("PUT", f"/chat/{alice}/rooms/tea?service=other")
    assert asker.chat("POST", f"/chat/{alice}/rooms/tea/{BOB}?service=other", "come").status == 200
    room = "tea@other.example.org"
    assert f'<x xmlns="jabber:x:conference" jid="{room}"/>' in listener.stanza()
    first, second = listener.typed("invitationReceived"), listener.typed("invitationReceived")
    assert (first["room"], first["inviter"], first["reason"], "password" in first) == (room, room, "null", False)
    assert (second["room"], second["reason"], second["password"]) == (room, "come", "null")
    assert second["inviter"].startswith("alice@example.org/")


@pytest.mark.parametrize(
    ("user", "by", "accept", "status"),
    [
        ("bob", "bob", "text/event-stream", 200),
        ("bob", "bob", "", 405),
        ("bob", "bob", "text/event-stream, */*", 405),
        ("bob", "carol", "text/event-stream", 503),
        ("carol", "carol", "text/event-stream", 404),
        ("bob", "nobody", "text/event-stream", 401),
        # Who asks is looked at first, then the path, then the header, and whose it is last.
        ("carol", "nobody", "", 401),
        ("carol", "carol", "", 404),
        ("bob", "carol", "", 405),
    ],
)
def test_an_event_stream_is_as_strict_as_there(asker: Asker, user: str, by: str, accept: str, status: int) -> None:
    asker.login("bob")
    listener = asker.listen(user, accept, by)
    assert listener.status == status
    assert ('WWW-Authenticate: basic realm="ofchat"' in listener.head) == (status == 401)
    assert "Set-Cookie" not in listener.head
    if status == 200:
        assert "Content-Type: text/event-stream; charset=UTF-8\r\nConnection: close" in listener.head


def test_the_last_opened_stream_is_the_only_one_that_is_told(asker: Asker) -> None:
    alice, _ = asker.login("alice", "bob")
    first, second = asker.listen("bob"), asker.listen("bob")
    asker.chat("POST", f"/chat/{alice}/messages/{BOB}", "hi")
    assert second.typed("chat")["body"] == "hi"
    asker.server.stop()
    assert set(first.rest().split(b"\r\n")) == {b""}


def test_a_stream_beats_on_behind_a_logoff_and_ends_with_the_server(server: Openfire, asker: Asker) -> None:
    alice, bob = asker.login("alice", "bob")
    old = asker.listen("bob")
    assert old.line.recv(2) == b"\r\n"
    asker.chat("POST", f"/chat/{bob}/logoff")
    assert old.typed("presence")["from"].startswith(BOB), "that he left is the last that it is told"
    assert asker.listen("bob").status == 404
    asker.login("bob")
    new = asker.listen("bob")
    asker.chat("POST", f"/chat/{alice}/messages/{BOB}", "hi")
    assert new.typed("chat")["body"] == "hi"
    assert old.line.recv(2) == b"\r\n"
    server.stop()
    assert set(old.rest()) <= set(b"\r\n"), "it was told nothing"


def test_a_stream_may_end_within_an_event_or_fall_silent(server: Openfire, asker: Asker) -> None:
    alice, _ = asker.login("alice", "bob")
    listener = asker.listen("bob")
    server.mute("bob")
    asker.chat("POST", f"/chat/{alice}/messages/{BOB}", "unheard")
    server.cut("bob")
    assert listener.rest().strip(b"\r\n") == b'event: chatapi.chat\r\ndata: {"type": "chat", "bo'


def test_a_reader_that_leaves_is_forgotten(server: Openfire, asker: Asker) -> None:
    asker.login("bob")
    asker.listen("bob").close()
    until(lambda: not server.world.open_readers, "nobody reads")
    assert server.world.readers == {}


def test_who_is_kicked_or_locked_out_keeps_a_login_that_leads_nowhere(server: Openfire, asker: Asker) -> None:
    for method, path in (("DELETE", "/sessions/bob"), ("POST", "/lockouts/bob")):
        alice, bob = asker.login("alice", "bob")
        bobs, alices = asker.listen("bob"), asker.listen("alice")
        asker.rest(method, path)
        assert "not-authorized" in bobs.stanza()
        assert asker.login("bob") == [bob], "the same id as before"
        assert asker.chat("POST", f"/chat/{bob}/messages/alice@example.org", "hi").status == 200
        assert alices.typed("chat")["body"] == "hi"
        asker.chat("POST", f"/chat/{alice}/messages/{BOB}", "unheard")
        assert bobs.line.recv(100).strip() == b"", "it beats on, and is told nothing"
        assert asker.listen("bob", by="carol").status == 404
        assert asker.chat("GET", "/sessions/bob").json == {}
        assert asker.chat("POST", f"/chat/{bob}/logoff").status == 200
        assert asker.login("bob") != [bob]
        assert asker.listen("bob", by="carol").status == 503, "it is there again"
        asker.chat("POST", f"/chat/{asker.login('bob')[0]}/logoff")


def test_a_broadcast_reaches_who_is_there(asker: Asker) -> None:
    asker.login("bob")
    listener = asker.listen("bob")
    asker.rest("POST", "/messages/users", {"body": "hear <this>"})
    assert "<body>hear &lt;this&gt;</body>" in listener.stanza()
    told = listener.typed("normal")
    assert (told["from"], told["to"], told["body"]) == ("example.org", "null", "hear <this>")
