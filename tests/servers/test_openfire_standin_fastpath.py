"""The stand-in's Fastpath asks one expert after the other, and brings who asked and who accepts into a room."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import attrs
import pytest

from tests.support.openfire.asking import Answer, Asker, Listener
from tests.support.openfire.server import Openfire
from tests.support.wait import until

NOT_QUEUED = (
    "Unable to join chat queue - org.jivesoftware.smack.XMPPException$XMPPErrorException:"
    " XMPP error reply received from"
)
QUESTION = {"userID": "juliet", "emailAddress": "j@example.org", "question": "Wherefore?", "workgroup": "love"}


@attrs.define
class Love:
    """A workgroup with two experts who are there, in the order in which they are asked."""

    server: Openfire
    asker: Asker
    pool: ThreadPoolExecutor
    streams: dict[str, str]
    heard: dict[str, Listener]

    def ask(self, **fields: str) -> Future[Answer]:
        """A question, which waits for its answer; returns once it is in the queue."""
        asking = self.pool.submit(self.asker.chat, "POST", "/ask", {**QUESTION, **fields})
        until(lambda: "juliet" in self.server.world.assists, "the question is in the queue")
        return asking

    def answer(self, method: str, expert: str, offer: str) -> int:
        """POST accepts, DELETE rejects."""
        return self.asker.chat(method, f"/chat/{self.streams[expert]}/offer/{offer}").status

    def offered(self, expert: str) -> dict[str, Any]:
        """The expert's next offer."""
        return self.heard[expert].typed("offerReceived")


@pytest.fixture
def love() -> Iterator[Love]:
    openfire = Openfire(ask_timeout_s=10, offer_delay_s=0.05)
    with openfire as server, Asker(server) as asker, ThreadPoolExecutor(4) as pool:
        server.world.register("juliet", "nurse", "friar")
        server.world.consult("love", "nurse", "friar")
        streams = dict(zip(("nurse", "friar"), asker.login("nurse", "friar"), strict=True))
        heard = {name: asker.listen(name) for name in streams}
        for stream in streams.values():
            assert asker.chat("POST", f"/chat/{stream}/assists/love").status == 200
        yield Love(server, asker, pool, streams, heard)
        server.stop()


def test_a_question_is_rejected_by_one_and_accepted_by_the_next(love: Love) -> None:
    asking = love.ask()
    offer = love.offered("nurse")
    assert offer["metaData"] == {"username": "juliet", "email": "j@example.org", "question": "Wherefore?"}
    assert (offer["workgroup"], offer["from"]) == ("love@workgroup.example.org", "juliet@example.org/juliet")
    assert love.asker.chat("GET", "/ask/juliet").json["inQueue"] == "true"
    juliet = love.asker.listen("juliet")
    assert love.answer("DELETE", "nurse", offer["id"]) == 200
    assert love.offered("friar")["id"] == offer["id"]
    assert love.answer("POST", "friar", offer["id"]) == 200
    room = f"{offer['id']}@conference.example.org"
    answered = asking.result(5)
    assert (answered.status, answered.json["groupchat"], answered.json["sender"]) == (200, room, room)
    assert '"chatroom":null' in answered.text
    met = juliet.typed("offer")
    assert (met["mucRoom"], met["from"], met["to"]) == (room, room, "juliet@example.org/juliet")
    assert juliet.typed("invitationReceived")["room"] == room
    assert [love.heard["friar"].typed("invitationReceived")["reason"] for _ in "12"] == ["null", offer["id"]]
    assert love.asker.chat("PUT", f"/chat/{love.streams['friar']}/rooms/{offer['id']}").status == 200
    assert love.asker.chat("POST", "/ask/juliet").status == 200
    assert love.asker.chat("PUT", "/ask/juliet", "good even").status == 200
    assert love.heard["friar"].typed("groupchat")["body"] == "good even"
    assert [(name, json.loads(data)["body"]) for name, data in (juliet.next(), juliet.next())] == [
        ("chatapi.ask", "good even"), ("chatapi.muc", "good even"),
    ]  # fmt: skip
    # He has been told of the offer, so a second answer is taken, and changes nothing.
    assert love.answer("POST", "friar", offer["id"]) == 200


def test_the_queue_is_told_of_by_itself_with_a_presence_behind_each(love: Love) -> None:
    love.ask()
    frames = [love.heard["friar"].next() for _ in range(5)]
    while json.loads(frames[0][1])["type"] != "notify-queue" or json.loads(frames[0][1])["userCount"] == "0":
        frames = [*frames[1:], love.heard["friar"].next()]
    assert [json.loads(data)["type"] for _, data in frames[:4]] == [
        "notify-queue", "presence", "notify-queue-details", "presence",
    ]  # fmt: skip
    assert {json.loads(data)["from"] for _, data in frames[:4]} == {"love@workgroup.example.org/Default Queue"}


def test_an_offer_comes_and_lapses_as_late_as_it_was_measured_to() -> None:
    world = Openfire().world
    assert (world.offer_delay_s, world.offer_timeout_s, world.offers_again_s) == (1.5, 20.0, 20.0)


def test_an_expert_who_comes_again_has_no_offer_a_moment_later_and_is_not_told(love: Love) -> None:
    love.server.world.offer_void_s = 0.05
    asking = love.ask()
    offer = love.offered("nurse")
    love.asker.chat("POST", f"/chat/{love.streams['friar']}/assists/love")
    assert love.server.world.assists["juliet"].offered_to == "nurse", "it is hers, whoever else comes again"
    love.asker.chat("POST", f"/chat/{love.streams['friar']}/presence?show=dnd")
    love.asker.chat("POST", f"/chat/{love.streams['nurse']}/assists/love")
    until(lambda: love.server.world.assists["juliet"].offered_to is None, "the offer is void")
    assert love.answer("POST", "nurse", offer["id"]) == 200
    assert love.asker.chat("GET", "/ask/juliet").json["inQueue"] == "true"
    assert not asking.done()
    love.server.stop()
    told = love.heard["nurse"].rest()
    assert b"invitationReceived" not in told
    assert b"offerRevoked" not in told


def test_an_offer_can_be_taken_at_once_when_its_expert_came_again(love: Love) -> None:
    love.server.world.offer_void_s = 60.0
    asking = love.ask()
    offer = love.offered("nurse")
    love.asker.chat("POST", f"/chat/{love.streams['nurse']}/assists/love")
    assert love.answer("POST", "nurse", offer["id"]) == 200
    assert asking.result(5).status == 200


def test_an_offer_lapses_and_goes_to_the_next_and_comes_again(love: Love) -> None:
    love.server.world.offer_timeout_s, love.server.world.offers_again_s = 0.1, 0.2
    love.ask()
    first = love.offered("nurse")
    assert love.heard["nurse"].typed("offerRevoked")["reason"] == "The offer has timed out"
    love.offered("friar")
    assert love.answer("POST", "nurse", first["id"]) in (200, 400)
    assert love.offered("nurse")["id"] == first["id"]


def test_somebody_who_leaves_or_does_not_want_to_be_disturbed_is_not_asked(love: Love) -> None:
    love.asker.chat("POST", f"/chat/{love.streams['nurse']}/presence?show=dnd")
    love.ask()
    love.offered("friar")
    love.asker.chat("POST", f"/chat/{love.streams['nurse']}/presence?show=available")
    assert love.asker.chat("DELETE", f"/chat/{love.streams['friar']}/assists/love").status == 200
    assert love.heard["friar"].typed("offerRevoked")["reason"] == "left"
    love.offered("nurse")
    assert love.asker.chat("DELETE", f"/chat/{love.streams['friar']}/assists/love").status == 400


def test_a_question_is_taken_back(love: Love) -> None:
    asking = love.ask()
    offer = love.offered("nurse")
    juliet = love.asker.listen("juliet")
    assert [love.asker.chat("DELETE", "/ask/juliet").status for _ in "12"] == [200, 400]
    assert love.heard["nurse"].typed("offerRevoked")["id"] == offer["id"]
    assert asking.result(5).json["groupchat"] == "revoked"
    assert love.asker.listen("juliet").status == 404, "the old one beats on"
    love.server.stop()
    assert juliet.rest().strip(b"\r\n") == b"", "it was told nothing of the queue"
    love.server.start()
    assert love.answer("POST", "nurse", offer["id"]) == 400


def test_nobody_answers_in_time_and_the_question_stays(love: Love) -> None:
    love.server.world.ask_timeout_s = 0.1
    answered = love.ask().result(5)
    assert (answered.status, answered.json["ressource"]) == (400, "Timeout error, no agent available")
    assert [one.user for one in love.server.world.workgroups["love"].queue] == ["juliet"]
    assert love.asker.chat("POST", "/ask", QUESTION).status == 400


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"question": ""}, "workgroup, username, email and question must be provided"),
        ({"workgroup": "hate"}, f"{NOT_QUEUED} hate@workgroup.example.org: XMPPError: not-authorized - auth"),
    ],
)
def test_a_question_that_cannot_be_asked_says_why(love: Love, fields: dict[str, str], why: str) -> None:
    got = love.asker.chat("POST", "/ask", {**QUESTION, **fields})
    assert (got.status, got.json["ressource"]) == (400, why)


def test_without_experts_the_workgroup_is_offline(love: Love) -> None:
    for name, stream in love.streams.items():
        love.asker.chat("POST", f"/chat/{stream}/logoff")
        assert name not in love.server.world.workgroups["love"].agents
    why = f"{NOT_QUEUED} love@workgroup.example.org: XMPPError: service-unavailable - cancel"
    assert love.asker.chat("POST", "/ask", QUESTION).json["ressource"] == why


def test_who_has_a_stream_when_he_asks_is_told_nothing(love: Love) -> None:
    love.asker.login("juliet")
    love.ask()
    offer = love.offered("nurse")
    love.answer("POST", "nurse", offer["id"])
    assert any('"type": "offer"' in data for user, data in love.server.world.lost if user == "juliet")
    assert love.server.world.is_jammed


def test_a_restart_forgets_the_queue_and_who_was_there(love: Love) -> None:
    asking = love.ask()
    love.offered("nurse")
    love.server.restart()
    assert isinstance(asking.exception(5), ConnectionError)
    workgroup = love.server.world.workgroups["love"]
    assert (workgroup.queue, workgroup.agents) == ([], [])
    assert love.asker.chat("GET", "/ask/juliet").status == 400


def test_without_the_plugins_own_account_no_workgroup_is_made_or_changed(love: Love) -> None:
    love.server.world.has_admin_account = False
    made = love.asker.chat("POST", "/ask/admin", {"name": "herbs", "description": "d", "members": "friar,nurse"})
    changed = love.asker.chat("POST", "/ask/admin/love", "friar,nurse", Content_Type="text/plain")
    deleted = love.asker.chat("DELETE", "/ask/admin/love")
    assert {got.status for got in (made, changed, deleted)} == {400}
    assert {got.json["ressource"] for got in (made, changed, deleted)} == {"admin account unavailable"}


def test_workgroups_are_made_and_joined_by_their_members(love: Love) -> None:
    given = {"name": "herbs", "description": "d", "members": "friar,nurse"}
    assert [love.asker.chat("POST", "/ask/admin", given).status for _ in "12"] == [200, 200]
    workgroup = love.server.world.workgroups["herbs"]
    for text, members in (("friar", []), ("friar,nurse", ["friar", "nurse"]), ("friar,", ["friar"])):
        assert love.asker.chat("POST", "/ask/admin/herbs", text, Content_Type="text/plain").status == 200
        assert workgroup.members == members
    path = "/chat/{}/assists/herbs@workgroup.example.org"
    assert [love.asker.chat("POST", path.format(love.streams[name])).status for name in ("friar", "nurse")] == [
        200,
        400,
    ]
    shown = love.asker.chat("GET", f"/chat/{love.streams['friar']}/assists").json["workgroup"]
    assert shown == ["love@workgroup.example.org", "herbs@workgroup.example.org"]
    assert love.asker.chat("GET", f"/chat/{love.streams['friar']}/assists/queues").json["queue"][0]["status"] == "open"
    assert [love.asker.chat("DELETE", "/ask/admin/herbs").status for _ in "12"] == [200, 400]
    assert love.asker.chat("POST", path.format(love.streams["friar"])).status == 400
    seen = love.heard["friar"].typed("presence")
    while seen["from"] != "herbs@workgroup.example.org":
        seen = love.heard["friar"].typed("presence")
    assert seen["show"] == "available", "though its stanza is an error"
