"""Openfire's Chat API as its connector uses it, beside recorded answers: users' streams, rooms, restarts, refusals."""

import contextlib
from collections.abc import Mapping

import httpx
import pytest
import trio

from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Outcome, Rejected
from restbroker.servers.openfire.chat import logins as chat_logins
from restbroker.transport.message import MaybeSent, NotSent
from tests.servers.openfire_sides import Open, restart
from tests.servers.sides import Side
from tests.support.openfire_chat.server import Openfire
from tests.support.openfire_chat.state import State
from tests.support.receiver import Kind
from tests.support.redis_server import RedisServer
from tests.support.rows import rows
from tests.support.wait import until_async

ROMEO, JULIET = "romeo@example.org", "juliet@example.org"
ROOM = "/restapi/v1/chat/{}/rooms/balcony"


def lines(chat: Openfire, *, logins: bool = False) -> list[str]:
    """What was asked, without ids of streams; logins, and what is asked before them, on request."""
    known = {request.path.split("/")[6] for request in chat.requests if len(request.path.split("/")) > 6}
    found = [request.line.removeprefix(" ").replace("/rest/api/restapi/v1", "") for request in chat.requests]
    for stream in (name for name in known if name.startswith("ofchat")):
        found = [line.replace(stream, "STREAM") for line in found]
    return [line for line in found if logins or not line.endswith(("/login", "/admin/restbroker"))]


@rows(
    ("user", "command", "more"),
    [
        ("romeo", "set_presence", {"show": "available"}),
        ("juliet", "post_to_room", {"roomName": "balcony", "body": "back"}),
        ("nurse", "join_room", {"roomName": "balcony"}),
    ],
)
async def test_process_that_missed_two_restarts_uses_the_newest_stream(
    chat: Openfire, sides: Open, user: str, command: str, more: Mapping[str, Json]
) -> None:
    async with sides(2) as (sleeper, other):
        await sleeper.done("set_presence", {"from": user, "show": "available"})
        await restart(chat, sleeper, other)
        await other.done("set_presence", {"from": user, "show": "away"})
        await restart(chat, sleeper, other)
        await sleeper.done(command, {"from": user, **more})
    assert chat.state.logins.count(user) == 3


async def test_post_is_not_repeated_by_a_new_login(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        await side.done("join_room", {"from": "romeo", "roomName": "balcony"})
        await restart(chat, side)
        await side.done("post_to_room", {"from": "romeo", "roomName": "balcony", "body": "once"})
        assert chat.state.rooms["balcony"].words == ["once"]
        assert len(side.link.sent) == 3, "the join, the post that was refused, and the post"


async def test_leaving_a_room_of_a_stream_that_is_gone_is_done(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        await side.done("join_room", {"from": "romeo", "roomName": "balcony"})
        await restart(chat, side)
        assert (await side.done("leave_room", {"from": "romeo", "roomName": "balcony"})).note == "already done"
        never = {"from": "romeo", "roomName": "cellar"}
        assert isinstance(await side.call("leave_room", never), Rejected)
        assert (await side.done("leave_room", never, maybe_run=True)).note == "already done"


async def test_empty_contact_list_is_believed_of_a_living_stream(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        full = await side.done("list_contacts", {"from": "romeo"})
        assert JULIET in full.text
        await restart(chat, side)
        assert JULIET in (await side.done("list_contacts", {"from": "romeo"})).text
        assert "jid" not in (await side.done("list_contacts", {"from": "nurse"})).text


async def test_a_logoff_is_done_once_and_a_command_logs_in_again(chat: Openfire, sides: Open) -> None:
    async with sides(2) as (one, other):
        await one.done("set_presence", {"from": "romeo"})
        await other.done("chat_logoff", {"from": "Romeo"})
        assert not chat.state.streams
        assert (await one.done("chat_logoff", {"from": "romeo"})).note == "already done"
        await one.done("set_presence", {"from": "romeo"})
        await restart(chat, one, other)
        assert (await other.done("chat_logoff", {"from": "romeo"})).note == "already done"
        assert chat.state.logins == ["romeo", "romeo"]
        await one.done("chat_logoff", {"from": "juliet"})
        assert not chat.state.streams, "nobody knew whether she had one"


async def test_logoff_ends_a_stream_whose_login_redis_lost(
    chat: Openfire, sides: Open, redis_server: RedisServer
) -> None:
    async with sides() as (side,):
        await side.done("chat_login", {"from": "romeo"})
        redis_server.flush()
        await side.done("chat_logoff", {"from": "romeo"})
        assert chat.state.streams == {}
        assert (await side.done("chat_logoff", {"from": "romeo"})).by_us


@pytest.mark.promise("Security: who can reach the ports", "as a user of Openfire, to be taken for another")
async def test_login_is_a_command_and_reveals_no_stream(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        done = await side.done("chat_login", {"from": "romeo", "password": "secret"})
        assert (done.text, done.body) == ("", None)
        assert chat.state.logins == ["romeo"]
        refused = await side.call("chat_login", {"from": "juliet", "password": "wr0ng-one"})
        assert isinstance(refused, Rejected)
        assert refused.reason.code == "UserLoginRefused"
        await side.done("chat_login", {"from": "romeo", "password": ""})
        assert chat.state.logins == ["romeo"]


async def test_no_outcome_of_a_command_holds_the_stream(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        await side.done("chat_login", {"from": "romeo"})
        stream = chat.state.of_user["romeo"].id
        await side.done("set_own_property", {"from": "romeo", "propertyName": "mood", "value": "in love"})
        assert (chat.requests[-1].path.rpartition("/")[2], chat.requests[-1].body) == ("mood", b"in love")
        outcomes = [
            await side.call(name, {"from": "romeo", **given})
            for name, given in (
                ("list_contacts", {}),
                ("list_workgroups", {}),
                ("leave_room", {"roomName": "nowhere"}),
                ("accept_offer", {"offerId": "none"}),
                ("delete_own_property", {"propertyName": "mood"}),
                ("send_xmpp", {"stanza": "<presence/>"}),
                ("post_chat_state", {"state": "composing", "to": JULIET}),
            )
        ]
    assert stream not in repr(outcomes)


async def test_an_offer_is_gone_with_its_stream(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        await side.done("set_presence", {"from": "nurse"})
        await restart(chat, side)
        before = len(chat.requests)
        for maybe_run, words in ((False, "revoked"), (True, "earlier try")):
            gone = await side.call("accept_offer", {"from": "nurse", "offerId": "o1"}, maybe_run=maybe_run)
            assert isinstance(gone, Rejected)
            assert gone.reason.code == "OfferGone"
            assert words in gone.reason.text
        assert [sent.path.rpartition("/")[2] for sent in chat.requests[before:]][:4] == ["o1", "login", "o1", "login"]


async def test_a_room_is_left_on_the_stream_that_another_process_knows(chat: Openfire, sides: Open) -> None:
    async with sides(2) as (one, other):
        for user in ("nurse", "romeo"):
            await one.done("set_presence", {"from": user})
        await restart(chat, one, other)
        for user in ("nurse", "romeo"):
            await other.done("join_room", {"from": user, "roomName": "balcony"})
        assert (await one.done("leave_room", {"from": "nurse", "roomName": "balcony"})).note is None
        assert chat.state.rooms["balcony"].occupants == ["romeo"]


async def test_a_login_that_is_not_answered_leaves_the_command_unsent(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        message = {"from": "romeo", "to": JULIET, "body": "x"}
        chat.faults.add(Kind.RESET, "*/login", times=2)
        with pytest.raises(NotSent):
            await side.call("post_message", message)
        await side.done("post_message", message)
        await restart(chat, side)
        chat.faults.add(Kind.LOST, "*/login", times=2)
        with pytest.raises(NotSent):
            await side.call("post_message", message)
        await side.done("post_message", message)
        assert chat.state.logins == ["romeo", "romeo"]


QUESTION: Mapping[str, Json] = {
    "userID": "romeo",
    "emailAddress": "r@example.org",
    "question": "Wherefore?",
    "workgroup": "love",
}


async def code_of(side: Side, command: str, given: Mapping[str, Json]) -> str:
    """Why a command is dead."""
    outcome = await side.call(command, given)
    assert isinstance(outcome, Rejected), outcome
    return outcome.reason.code


async def ask_and_revoke(chat: Openfire, asker: Side, other: Side) -> None:
    """Ask a workgroup as romeo, and take the question back: no connection is left."""
    await other.done("join_workgroup", {"from": "nurse", "workgroup": "love"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asker.call, "ask", QUESTION)
        await until_async(lambda: "romeo" in chat.state.questions, "the question is asked")
        await other.done("ask_revoke", {"userId": "romeo"})


async def test_question_of_a_logged_in_user_is_not_sent(chat: Openfire, sides: Open) -> None:
    async with sides(2) as (one, other):
        await one.done("set_presence", {"from": "romeo"})
        before = len(chat.requests)
        assert await code_of(other, "ask", QUESTION) == "UserLoggedIn"
        assert len(chat.requests) == before
        await one.done("chat_logoff", {"from": "romeo"})
        await ask_and_revoke(chat, other, one)
        await one.done("set_presence", {"from": "romeo"})
        assert not chat.state.is_jammed


async def test_question_of_a_user_logged_in_elsewhere_is_not_sent(chat: Openfire, sides: Open) -> None:
    """Nor is it where the login's answer was lost."""
    async with sides() as (side,):
        others = httpx.AsyncClient(auth=("admin", "secret"), headers={"Accept": "application/json, text/plain"})
        login = f"{chat.url}/restapi/v1/chat/romeo/login"
        stream = (await others.post(login)).text
        assert await code_of(side, "ask", QUESTION) == "UserLoggedIn"
        await others.post(login.replace("romeo/login", f"{stream}/logoff"))
        await others.aclose()
        await ask_and_revoke(chat, side, side)
        chat.faults.add(Kind.LOST, "*/login", times=9)
        with pytest.raises(NotSent):
            await side.call("set_presence", {"from": "romeo"})
        chat.faults.clear()
        assert await code_of(side, "ask", QUESTION) == "UserLoggedIn"
        assert not chat.state.is_jammed


async def test_login_with_lost_answer_meets_no_question_about_to_go(chat: Openfire, sides: Open) -> None:
    async with sides(2) as (one, other):
        late = chat.faults.add(Kind.LATE, "GET /sse/*", delay_s=1.0)
        chat.faults.add(Kind.LOST, "*/login", times=2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, "ask", QUESTION)
            await until_async(late.carried_out.is_set, "the name had no connection")
            with contextlib.suppress(NotSent):
                await other.call("set_presence", {"from": "romeo"})
        assert not chat.state.is_jammed
        chat.faults.clear()
        await other.call("chat_logoff", {"from": "romeo"})
        assert not chat.state.streams


@pytest.mark.parametrize("kind", [Kind.RESET, Kind.LOST])
async def test_asker_with_unanswered_logoff_is_logged_off_first(chat: Openfire, sides: Open, kind: Kind) -> None:
    async with sides(2) as (one, other):
        await one.done("set_presence", {"from": "romeo"})
        chat.faults.add(kind, "*/logoff", times=2)
        with pytest.raises((NotSent, MaybeSent)):
            await one.call("chat_logoff", {"from": "romeo"})
        chat.faults.clear()
        chat.faults.add(kind, "*/logoff", times=2)
        with pytest.raises(NotSent):
            await other.call("ask", QUESTION)
        chat.faults.clear()
        await ask_and_revoke(chat, other, one)
        await one.done("set_presence", {"from": "romeo"})
        assert not chat.state.is_jammed


async def test_asker_who_cannot_be_logged_off_has_to_wait(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        await side.done("set_presence", {"from": "romeo"})
        chat.faults.add(Kind.UNAVAILABLE, "*/logoff", times=2)
        assert isinstance(await side.call("chat_logoff", {"from": "romeo"}), Deferred)
        assert isinstance(await side.call("ask", QUESTION), Deferred)
        await ask_and_revoke(chat, side, side)
        assert not chat.state.is_jammed


async def test_question_and_login_wait_for_a_logoff_under_way(chat: Openfire, sides: Open) -> None:
    async with sides(2) as (one, other):
        for asks in (True, False):
            await one.done("set_presence", {"from": "romeo"})
            late = chat.faults.add(Kind.DELAY, "*/logoff", delay_s=0.5)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.done, "chat_logoff", {"from": "romeo"})
                await until_async(late.reached.is_set, "the logoff is under way")
                await (ask_and_revoke(chat, other, one) if asks else other.done("set_presence", {"from": "romeo"}))
            assert not chat.state.is_jammed
        assert "romeo" in chat.state.of_user, "he was logged in after it"


async def test_a_login_after_a_logoff_that_is_late_outlives_it(
    chat: Openfire, sides: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_logins, "_LATER_S", 0.2)
    async with sides(2, RequestTimeout="1s") as (one, other):
        await one.done("set_presence", {"from": "romeo"})
        late = chat.faults.add(Kind.DELAY, "*/logoff", delay_s=1.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, "chat_logoff", {"from": "romeo"})
            await until_async(late.reached.is_set, "the logoff is under way")
            nursery.cancel_scope.cancel()
        await other.done("set_presence", {"from": "romeo"})
        assert late.carried_out.is_set(), "it waits for what may be under way"
        with chat.state.lock:
            assert "romeo" in chat.state.of_user


async def test_login_of_an_asker_waits_until_the_question_is_revoked(chat: Openfire, sides: Open) -> None:
    async with sides(2) as (one, other):
        await one.done("join_workgroup", {"from": "nurse", "workgroup": "love"})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.call, "ask", QUESTION)
            await until_async(lambda: "romeo" in chat.state.questions, "the question is asked")
            for command in ("chat_login", "set_presence"):
                assert await code_of(one, command, {"from": "romeo"}) == "UserAsks"
            await one.done("ask_revoke", {"userId": "romeo"})
        await one.done("set_presence", {"from": "romeo"})
        assert not chat.state.is_jammed
    assert chat.state.logins == ["nurse", "romeo"]


async def test_two_users_with_one_stream_do_not_act_for_each_other(chat: Openfire, sides: Open) -> None:
    """Another program logged one of them in in the same millisecond: Openfire keeps that one on the id for good."""
    clock_ms, chat.state.clock_ms = chat.state.clock_ms, lambda: 17
    chat.state.login("juliet")
    async with sides(2) as (one, other):
        await one.done("set_presence", {"from": "romeo"})
        chat.state.clock_ms = clock_ms
        (shared,) = chat.state.streams
        refused = await other.call("post_message", {"from": "juliet", "to": "nurse@example.org", "body": "of juliet"})
        assert isinstance(refused, Deferred)
        assert refused.reason.code == "UserLoginShared"
        assert shared not in str(refused)
        await one.done("post_message", {"from": "romeo", "to": "nurse@example.org", "body": "of romeo"})
        assert [line.username for line in chat.state.streams.values()] == ["romeo"], "on another stream"
        assert not [request for request in chat.requests if request.body == b"of juliet"]
        await restart(chat, one, other)
        await other.done("post_message", {"from": "juliet", "to": "nurse@example.org", "body": "of juliet"})


async def test_logins_pause_while_a_question_is_made_but_not_after(chat: Openfire, sides: Open) -> None:
    async with sides(2) as (one, other):
        await one.done("join_workgroup", {"from": "nurse", "workgroup": "love"})
        slow = chat.faults.add(Kind.DELAY, "POST */ask", delay_s=0.4)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.call, "ask", QUESTION)
            await until_async(slow.reached.is_set, "the question is sent")
            await one.done("set_presence", {"from": "juliet"})
            assert "romeo" in chat.state.asking, "its connection is there first"
            assert "romeo" in chat.state.questions, "and its answer comes later"
            await one.done("ask_revoke", {"userId": "romeo"})
        assert not chat.state.is_jammed


async def test_asker_who_revokes_but_stays_connected_is_not_logged_in(
    chat: Openfire, sides: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sides(2) as (one, other):
        await one.done("join_workgroup", {"from": "nurse", "workgroup": "love"})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.call, "ask", QUESTION)
            await until_async(lambda: "romeo" in chat.state.questions, "the question is asked")
            # As where leaving the queue fails, in the sources.
            monkeypatch.setattr(State, "disconnected", lambda *_: None)
            await one.done("ask_revoke", {"userId": "romeo"})
        assert await code_of(one, "set_presence", {"from": "romeo"}) == "UserAsks"
        assert not chat.state.is_jammed


async def test_a_refused_question_leaves_a_connection_until_a_restart(
    chat: Openfire, sides: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_logins, "_FIRM_S", 0)
    async with sides(2) as (one, other):
        assert await code_of(one, "ask", QUESTION) == "WorkgroupOffline"
        assert await code_of(other, "set_presence", {"from": "romeo"}) == "UserAsks"
        assert not chat.state.is_jammed
        await restart(chat, one, other)
        await other.done("set_presence", {"from": "romeo"})
    assert chat.state.logins == ["romeo"]


async def test_simultaneous_question_and_login_send_only_one(chat: Openfire, sides: Open) -> None:
    chat.state.login_s = 0.05
    async with sides(3) as brokers:
        for number in range(5):
            user = f"user{number}"
            outcomes: list[Outcome] = []

            async def does(side: Side, command: str, given: Mapping[str, Json], to: list[Outcome]) -> None:
                to.append(await side.call(command, given))

            async with trio.open_nursery() as nursery:
                for side in brokers:
                    nursery.start_soon(does, side, "ask", {**QUESTION, "userID": user}, outcomes)
                    nursery.start_soon(does, side, "set_presence", {"from": user}, outcomes)
            codes = {outcome.reason.code for outcome in outcomes if isinstance(outcome, Rejected)}
            assert codes <= {"UserAsks", "UserLoggedIn", "WorkgroupOffline"}
            assert "WorkgroupOffline" in codes or any(isinstance(outcome, Delivered) for outcome in outcomes)
        assert not chat.state.is_jammed


@rows(
    ("user", "command", "path"),
    [
        ("romeo", "kick_user_sessions", "sessions"),
        ("juliet", "lock_user", "lockouts"),
        ("nurse", "delete_user", "users"),
    ],
)
async def test_login_left_by_a_kick_is_logged_off(
    chat: Openfire, sides: Open, user: str, command: str, path: str
) -> None:
    async with sides() as (side,):
        await side.done("set_presence", {"from": user})
        old = chat.state.of_user[user]
        await side.done(command, {"username": user})
        assert old.is_kicked
        assert user not in chat.state.of_user
        assert lines(chat)[-2:] == [
            f"{'POST' if path == 'lockouts' else 'DELETE'} /{path}/{user}",
            "POST /chat/STREAM/logoff",
        ]


async def test_kick_with_lost_answer_makes_a_new_login(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        for lost in ("DELETE */sessions/romeo", "POST */logoff"):
            await side.done("set_presence", {"from": "romeo"})
            old = chat.state.of_user["romeo"]
            chat.faults.add(Kind.LOST if "DELETE" in lost else Kind.RESET, lost, times=2)
            with contextlib.suppress(MaybeSent):
                await side.call("kick_user_sessions", {"username": "romeo"})
            chat.faults.clear()
            assert old.is_kicked
            await side.done("set_presence", {"from": "romeo"})
            assert chat.state.of_user["romeo"] is not old
            assert list(chat.state.streams.values()) == [chat.state.of_user["romeo"]]


async def test_stream_of_user_deleted_by_earlier_try_is_logged_off(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        await side.done("set_presence", {"from": "romeo"})
        chat.faults.add(Kind.LOST, "DELETE */users/romeo")
        chat.faults.add(Kind.RESET, "*/logoff", times=2)
        with pytest.raises(MaybeSent):
            await side.call("delete_user", {"username": "romeo"})
        chat.faults.clear()
        await side.done("delete_user", {"username": "romeo"}, maybe_run=True)
        assert not chat.state.streams
