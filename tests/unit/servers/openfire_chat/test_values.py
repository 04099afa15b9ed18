"""What jobs give becomes what the Chat API reads: paths, quotes, bodies, the two forms of paths; or is refused."""

import json
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target, Url
from restbroker.job.command import Call, Command
from restbroker.job.hiding import MASK
from restbroker.job.json_types import Json
from restbroker.job.redact import arguments
from restbroker.servers.api.table import InvalidArguments
from restbroker.servers.openfire.chat.catalogue import table
from restbroker.servers.openfire.chat.forms import user_name
from restbroker.servers.openfire.chat.options import Options, Paths
from restbroker.servers.openfire.chat.request import build
from restbroker.transport.message import Request

PETER = {"username": "peter", "password": "pw"}
ROOM = {"roomName": "a", "naturalName": "a", "description": "a"}
PRINTED = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn"), exclude_characters="\ufffe\uffff"))


def request(name: str, paths: Paths = "source", /, stream: str = "ofchat-1", **given_: Json) -> Request:
    arguments = {key.rstrip("_"): value for key, value in given_.items()}
    settings = Options(Secret("sh4red"), paths=paths)
    url, login = Url("http", "h", 7070, "/rest/api"), Basic("admin", Secret("secret"))
    target = Target("c", "openfire-chat", url, ("q",), login, default_host="example.org", options=settings)
    return build(Call(Command(name, arguments)), table(paths)[name], target).for_stream(stream)


@given(PRINTED)
def test_any_name_in_the_path_is_one_segment_that_reads_the_same(name: str) -> None:
    try:
        made = request("get_group", groupName=name)
    except InvalidArguments:
        assert "/" in name or name.strip() in ("", ".", "..")
        return
    segments = made.path.split("/")
    assert len(segments) == 7
    is_quoted = len(name) > 2 and name[0] == name[-1] and name[0] in "\"'"
    assert unquote(segments[-1]) == (name[1:-1] if is_quoted else name)
    assert made.path.isascii()


@given(PRINTED)
def test_any_text_is_sent_as_the_body_of_a_message(text: str) -> None:
    sent = request("post_message", from_="romeo", to="juliet@example.org", body=text).body.decode()
    if text.lstrip().startswith("{"):
        assert json.loads(sent) == {"body": text}
    else:
        assert sent == text


def test_json_may_be_given_as_its_text() -> None:
    text = '{"body": "Hi", "mood": 1}'
    assert request("ask_send", userId="romeo", body=text).body.decode() == text
    assert request("ask_send", userId="romeo", body={"body": "Hi"}).body == b'{"body":"Hi"}'


def test_room_of_another_server_is_not_its_local_namesake() -> None:
    rows: list[tuple[str, str | None]] = [
        ("balcony@muc", "muc"),
        ("balcony@muc.example.org", "muc"),
        ("balcony@MUC.chat.Example.org", "muc.chat"),
        ("balcony@conference.elsewhere.example", None),
        ("balcony@example.org", None),
        ("balcony@badexample.org", None),
    ]
    for room, service in rows:
        if service is None:
            with pytest.raises(InvalidArguments, match=r"roomName.*Domain"):
                request("join_room", from_="romeo", roomName=room)
        else:
            made = request("join_room", from_="romeo", roomName=room)
            assert (made.path.rpartition("/")[2], made.query) == ("balcony", (("service", service),)), (room, service)


def test_user_of_another_server_is_not_his_local_namesake() -> None:
    for command in ("list_contacts", "chat_login", "chat_logoff"):
        for name in ("romeo", "romeo@example.org", "romeo@EXAMPLE.org/phone"):
            request(command, from_=name)
        with pytest.raises(InvalidArguments, match=r"from.*Domain"):
            request(command, from_="romeo@elsewhere.example")


def test_quotes_copied_from_the_page_leave_paths_but_not_texts() -> None:
    made = request("join_room", from_='"romeo"', roomName='"balcony"', service='"conference"')
    assert (made.path, made.query) == ("/rest/api/restapi/v1/chat/ofchat-1/rooms/balcony", (("service", "conference"),))
    assert request("set_presence", from_="romeo", show='"dnd"', status='"busy"').query == (
        ("show", "dnd"),
        ("status", '"busy"'),
    )


def test_the_documented_paths_name_no_stream() -> None:
    made = request("accept_offer", "documented", from_="nurse", workgroup="love", offerId="o1")
    assert (made.method, made.path) == ("PUT", "/rest/api/restapi/v1/chat/assists/love/o1")
    made = request("reject_offer", "documented", workgroup="love", offerId="o1")
    assert (made.method, made.path) == ("DELETE", "/rest/api/restapi/v1/chat/assists/love/o1")
    made = request("add_contact", "documented", jid="nurse@example.org", nickname="N")
    assert (made.method, made.path) == ("POST", "/rest/api/restapi/v1/chat/contacts/nurse%40example.org")
    assert b"<nickname>N</nickname>" in made.body
    made = request("accept_offer", from_="nurse", workgroup="love", offerId="o1")
    assert made.path == "/rest/api/restapi/v1/chat/ofchat-1/offer/o1"


def test_lists_may_be_texts_with_commas_in_each_entitys_form() -> None:
    assert request("create_workgroup", name="love", description="", members=["nurse", "friar"]).body == (
        b'{"name":"love","description":"","members":"nurse,friar"}'
    )
    assert request("update_workgroup", workgroup="love", members="nurse, friar").body == b"nurse,friar"
    assert request("update_workgroup", workgroup="love", members=["nurse"]).body == b"nurse,"
    made = request("add_user_to_groups", username="romeo", groupnames="a, b")
    assert made.body == b"<groups><groupname>a</groupname><groupname>b</groupname></groups>"


def test_a_stream_is_one_segment_and_in_no_repr() -> None:
    for stream in ("ofchat-1", "ofchat/1", "a b"):
        made = request("chat_logoff", stream=stream, from_="romeo")
        assert len(made.path.split("/")) == 8, stream
        assert unquote(made.path.split("/")[6]) == stream


def test_message_texts_are_hidden_for_every_command() -> None:
    said = {"question": "Wherefore?", "textBody": "a", "htmlBody": "b", "messagehtml": "c", "stanza": "d", "body": "e"}
    assert set(arguments(None, said, show_bodies=False).values()) == {MASK}


def test_actor_is_the_name_before_at_and_slash() -> None:
    assert [user_name(who) for who in ("Romeo", "romeo@example.org/a@b", "romeo/a")] == ["romeo"] * 3


@pytest.mark.promise("Security: who can reach the ports", "as a producer, to act as any user of Openfire")
def test_actor_leads_nowhere_else() -> None:
    for who in ("../admin", "..@example.org", "./x", "/x", ".", "", " "):
        with pytest.raises(InvalidArguments, match='"from" is empty, or only dots'):
            request("chat_login", from_=who)


def test_value_the_server_would_not_explain_is_refused_unsent() -> None:
    romeo = {"from": "romeo"}
    rows: list[tuple[str, dict[str, Any], str]] = [
        ("join_room", {**romeo, "roomName": "a@muc.example.org", "service": "conference"}, "another service"),
        ("create_user", {**PETER, "email": "e" * 101}, "longer than the 100"),
        ("create_group", {"name": "a", "description": "d" * 256}, "longer than the 255"),
        ("add_user_to_groups", {"username": "romeo", "groupnames": "a, a/b"}, r'"groupnames\[1\]" has a slash'),
        ("add_user_to_group", {"username": "romeo", "groupName": "g" * 51}, "longer than the 50"),
        ("update_room", {**ROOM, "persistent": True, "description": "d" * 256}, "longer than the 255"),
        ("add_contact", {**romeo, "jid": "a@b.c", "nickname": "n" * 256}, "longer than the 255"),
        ("delete_room", {"roomname": "a"}, "did you mean roomName"),
    ]
    for command, given_, why in rows:
        with pytest.raises(InvalidArguments, match=why):
            request(command, **given_)
