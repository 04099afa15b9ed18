"""Rooms of Openfire as its Chat API has them: what is said there arrives there, or the job says why not."""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import trio

from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Denied, Outcome, Rejected
from restbroker.transport.message import MaybeSent, NotSent, Request, Response, Transport
from tests.servers.openfire_sides import Open, sides_of
from tests.servers.sides import Side
from tests.support.link import Direct
from tests.support.openfire_chat.server import Openfire
from tests.support.receiver import Kind
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.rows import rows
from tests.support.wait import until_async

ROLES = ["moderator", "participant", "visitor"]
ROOM: Mapping[str, Json] = {
    "roomName": "balcony", "naturalName": "Balcony", "description": "b", "persistent": True, "publicRoom": True,
    "broadcastPresenceRoles": ROLES,
}  # fmt: skip
IN: Mapping[str, Json] = {"from": "romeo", "roomName": "balcony"}
NURSE: Mapping[str, Json] = {"roomName": "balcony", "jid": "romeo@example.org"}


class Then(Direct):
    """A link on which something happens before the answer is there."""

    def __init__(self, http: Transport, then: Callable[[], Awaitable[None]]) -> None:
        super().__init__(http)
        self.then = then

    async def ask(self, request: Request) -> Response:
        response = await super().ask(request)
        await self.then()
        return response

    async def send(self, request: Request) -> Response:
        response = await super().send(request)
        await self.then()
        return response


@pytest.fixture
def chat() -> Iterator[Openfire]:
    with Openfire() as server:
        server.state.register("romeo", "juliet")
        yield server


def reset(chat: Openfire, redis: RedisServer) -> None:
    """Nobody is logged in, there is no room, and nothing was asked."""
    chat.restart()
    chat.state.rooms.clear()
    chat.requests.clear()
    redis.flush()


def words_in(chat: Openfire) -> list[str]:
    """What was said in the room, for all to hear."""
    return list(chat.state.rooms["balcony"].words)


def sent(chat: Openfire, method: str) -> int:
    """How often a user joined (PUT), left (DELETE), or said something in the room (POST)."""
    return sum(
        sent.method == method and "/chat/ofchat" in sent.path and "/rooms/" in sent.path for sent in chat.requests
    )


def creations(chat: Openfire) -> int:
    """How often a room was created, or would have been reset."""
    return sum(sent.method == "POST" and sent.path.endswith("/chatrooms") for sent in chat.requests)


def says(body: str) -> Mapping[str, Json]:
    """A post of this."""
    return {**IN, "body": body}


def assert_refused(outcome: Outcome, code: str, *words: str) -> None:
    """Assert that the job is dead with this code and these words."""
    assert isinstance(outcome, Rejected), outcome
    assert outcome.reason.code == code
    for word in words:
        assert word in outcome.reason.text, outcome.reason.text


@rows(("command", "more"), [("post_to_room", "body"), ("invite_contact_to_room", "reason")])
async def test_refused_join_says_nothing_and_each_job_says_why(
    chat: Openfire, sides: Open, redis_server: RedisServer, command: str, more: str
) -> None:
    reset(chat, redis_server)
    given = {**IN, more: "Hm", **({"invitedJid": "juliet"} if more == "reason" else {})}
    async with sides(2) as (one, other):
        await one.done("create_room", {**ROOM, "membersOnly": True})
        for side in (one, other, one):
            assert_refused(await side.call(command, given), "JoinRefused", "Status 400", "IllegalArgumentException")
        assert (sent(chat, "POST"), words_in(chat)) == (0, [])
        await other.done("add_room_member", NURSE)
        await one.done(command, given)
    assert sent(chat, "POST") == 1


async def test_user_who_left_joins_again_before_a_post(chat: Openfire, sides: Open) -> None:
    async with sides(2) as (one, other):
        await one.done("create_room", ROOM)
        await one.done("post_to_room", says("before"))
        await other.done("leave_room", IN)
        await one.done("post_to_room", says("after"))
        await other.done("post_to_room", says("and more"))
    assert words_in(chat) == ["before", "after", "and more"]
    assert sent(chat, "PUT") == 2


@rows(
    ("command", "how"),
    [
        ("update_room", ROOM),
        ("update_room", {**ROOM, "outcasts": ["juliet@example.org"]}),
        ("add_room_outcast", {**NURSE, "jid": "romeo@elsewhere.example"}),
        ("add_room_member", NURSE),
    ],
)
async def test_user_of_a_job_who_stays_does_not_leave_and_enter(
    chat: Openfire, sides: Open, redis_server: RedisServer, command: str, how: Mapping[str, Json]
) -> None:
    reset(chat, redis_server)
    async with sides() as (side,):
        await side.done("create_room", ROOM)
        await side.done("post_to_room", says("before"))
        await side.done(command, how)
        await side.done("post_to_room", says("after"))
    assert sent(chat, "PUT") == 1


async def test_finished_ban_counts_whatever_redis_says_then(
    chat: Openfire, sides: Open, redis_server: RedisServer
) -> None:
    """Nothing is said in the room."""
    key = "restbroker:room:chat:balcony@conference"

    async def spoil() -> None:
        redis_server.command(f"RENAME {key} kept")
        redis_server.command(f"SET {key} none")

    async with sides() as (side,):
        await side.done("create_room", ROOM)
        await side.done("post_to_room", says("before"))
        await Side(side.connector, Then(side.link.http, spoil)).done("add_room_outcast", NURSE)
        redis_server.command(f"RENAME kept {key}")
        assert_refused(await side.call("post_to_room", says("banned")), "JoinRefused")
    assert words_in(chat) == ["before"]


async def test_room_that_expels_everyone_is_not_joined_forever(
    chat: Openfire, sides: Open, redis_server: RedisServer
) -> None:
    async def expel() -> None:
        redis_server.command('HSET restbroker:room:chat:balcony@conference romeo "out *"')

    async with sides() as (side,):
        await side.done("create_room", ROOM)
        outcome = await Side(side.connector, Then(side.link.http, expel)).call("post_to_room", says("Hm"))
        assert_refused(outcome, "NotInRoom")
    assert sent(chat, "PUT") == 3
    assert words_in(chat) == []


async def test_turn_lasts_as_long_as_the_server_may_take_for_requests(
    chat: Openfire, sides: Open, redis_server: RedisServer
) -> None:
    held = chat.faults.add(Kind.HANG, "PUT */rooms/*")
    async with sides() as (side,):
        await side.done("create_room", ROOM)
        began_s = time.time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(side.call, "post_to_room", says("Hm"), timeout_s=30.0))
            await until_async(held.reached.is_set, "he joins", 60)
            entry = redis_server.command("HGET restbroker:room:chat:balcony@conference romeo").split()
            assert int(entry[-1]) / 1000 - began_s >= 2 * 30.0
            nursery.cancel_scope.cancel()


async def test_a_ban_that_cannot_be_noted_is_not_sent(chat: Openfire, sides: Open, redis_server: RedisServer) -> None:
    async with sides() as (side,):
        await side.done("create_room", ROOM)
        redis_server.command("SET restbroker:room:chat:balcony@conference none")
        assert isinstance(await side.call("add_room_outcast", NURSE), Deferred)
    assert chat.state.rooms["balcony"].outcasts == set()


async def test_user_banned_by_an_interrupted_job_joins_before_a_post(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        await side.done("create_room", ROOM)
        await side.done("post_to_room", says("before"))
        with trio.CancelScope() as scope:

            async def cut() -> None:
                scope.cancel()
                await trio.sleep_forever()

            await Side(side.connector, Then(side.link.http, cut)).call("add_room_outcast", NURSE)
        assert_refused(await side.call("post_to_room", says("banned")), "JoinRefused")
    assert words_in(chat) == ["before"]


async def test_simultaneous_posts_of_two_brokers_join_once_and_arrive(chat: Openfire, sides: Open) -> None:
    # Each join has him leave and enter: what is said in between is lost, with a 200.
    async with sides(2) as brokers:
        await brokers[0].done("create_room", ROOM)
        chat.faults.add(Kind.DELAY, "PUT */rooms/*", times=None, delay_s=0.2)

        async def post(side: Side, word: str) -> None:
            await side.done("post_to_room", says(word))

        words = [f"word {number}" for number in range(20)]
        async with trio.open_nursery() as nursery:
            for number, word in enumerate(words):
                nursery.start_soon(post, brokers[number % 2], word)
    assert sorted(words_in(chat)) == sorted(words)
    assert sent(chat, "PUT") == 1


async def test_a_login_in_between_has_him_join_by_the_new_one(chat: Openfire, sides: Open) -> None:
    async with sides(2) as (one, other):
        await one.done("create_room", ROOM)
        await one.done("post_to_room", says("before"))
        await other.done("chat_logoff", {"from": "romeo"})
        await other.done("post_to_room", says("after"))
    assert words_in(chat) == ["before", "after"]
    assert sent(chat, "PUT") == 2


@rows("command", ["join_room", "leave_room", "post_to_room"])
async def test_user_with_lost_answer_is_not_taken_for_an_occupant(
    chat: Openfire, sides: Open, redis_server: RedisServer, command: str
) -> None:
    reset(chat, redis_server)
    method = "DELETE" if command == "leave_room" else "PUT"
    async with sides(2) as (one, other):
        await one.done("create_room", ROOM)
        if command == "leave_room":
            await one.done("join_room", IN)
        # Each is repeated once by itself, where its connection was kept alive.
        chat.faults.add(Kind.LOST, f"{method} */rooms/balcony", times=2)
        with pytest.raises((NotSent, MaybeSent)):
            await one.call(command, says("lost") if command == "post_to_room" else IN)
        joins = sent(chat, "PUT")
        await other.done("post_to_room", says("heard"))
    assert sent(chat, "PUT") == joins + 1
    assert words_in(chat) == ["heard"]


async def test_missing_or_empty_redis_costs_one_join_and_no_message(chat: Openfire, tmp_path: Path) -> None:
    redis = RedisServer(redis_binary(), tmp_path).start()
    try:
        async with sides_of(tmp_path, redis, chat.url)() as (side,):
            await side.done("create_room", ROOM)
            await side.done("post_to_room", says("before"))
            redis.stop()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(side.done, "post_to_room", says("meanwhile"))
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert words_in(chat) == ["before"], "nobody knows whether he is in the room"
                await trio.to_thread.run_sync(redis.start)
            await until_async(lambda: words_in(chat) == ["before", "meanwhile"], "it is said")
    finally:
        redis.kill()
    assert sent(chat, "PUT") == 2


async def test_user_outside_says_nothing_where_joins_are_manual(chat: Openfire, sides: Open) -> None:
    async with sides(Options={"JoinRooms": False}) as (side,):
        await side.done("create_room", {**ROOM, "membersOnly": True})
        assert_refused(await side.call("join_room", IN), "JoinRefused")
        assert_refused(await side.call("post_to_room", says("out")), "NotInRoom", "join_room")
        await side.done("add_room_member", NURSE)
        await side.done("join_room", IN)
        await side.done("post_to_room", says("in"))
        await side.done("leave_room", IN)
        assert_refused(await side.call("post_to_room", says("left")), "NotInRoom")
    assert words_in(chat) == ["in"]
    assert sent(chat, "POST") == 1


@rows(
    ("command", "how"),
    [
        ("add_room_outcast", NURSE),
        ("add_room_outcast_group", {"roomName": "Balcony@conference.example.org", "groupname": "montagues"}),
        ("delete_room", {"roomName": "balcony"}),
        ("delete_room_member", NURSE),
        ("delete_room_admin", NURSE),
        ("delete_room_owner", NURSE),
        ("delete_room_member_group", {"roomName": "balcony", "groupname": "montagues"}),
        ("delete_room_owner_group", {"roomName": "balcony", "groupname": "montagues"}),
        ("update_room", {**ROOM, "membersOnly": True}),
        ("update_room", {**ROOM, "outcasts": ["juliet", "Romeo@Example.org"]}),
        ("update_room", {**ROOM, "outcastGroups": ["montagues"]}),
    ],
)
async def test_perhaps_removed_user_says_nothing_until_he_joins(
    chat: Openfire, sides: Open, redis_server: RedisServer, command: str, how: Mapping[str, Json]
) -> None:
    reset(chat, redis_server)
    async with sides(2, Options={"JoinRooms": False}) as (one, other):
        await one.done("create_room", ROOM)
        await one.done("join_room", IN)
        await other.done(command, how)
        await other.done("update_room", ROOM)
        assert_refused(await one.call("post_to_room", says("out")), "NotInRoom", "join_room")
        await other.done("join_room", IN)
        await one.done("post_to_room", says("in"))
    assert words_in(chat) == ["in"]


async def test_post_is_retried_where_the_server_fails_at_its_join(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        await side.done("create_room", ROOM)
        chat.faults.add(Kind.EMPTY, "PUT */rooms/*")
        deferred = await side.call("post_to_room", says("once"))
        assert type(deferred).__name__ == "Deferred", deferred
        await side.done("post_to_room", says("once"))
    assert words_in(chat) == ["once"]


@rows(("command", "joins"), product(("join_room", "post_to_room", "invite_contact_to_room"), (True, False)))
async def test_a_room_that_is_not_there_is_not_made_by_a_typing_error(
    chat: Openfire, sides: Open, redis_server: RedisServer, command: str, joins: bool
) -> None:
    reset(chat, redis_server)
    more = {"post_to_room": {"body": "Hm"}, "invite_contact_to_room": {"invitedJid": "juliet"}}.get(command, {})
    async with sides(Options={"JoinRooms": joins}) as (side,):
        await side.done("create_room", ROOM)
        refused = await side.call(command, {"from": "romeo", "roomName": "balcny", **more})
        assert_refused(refused, "NoSuchRoom", "balcny@conference", "create_room")
        assert list(chat.state.rooms) == ["balcony"]
        await side.done("join_room", IN)
        await side.done(command, {**IN, **more})


async def test_a_room_whose_name_may_hold_a_secret_is_not_named(sides: Open) -> None:
    async with sides() as (side,):
        refused = await side.call("join_room", {"from": "romeo", "roomName": "token=HUNTERabcZZ"})
        assert_refused(refused, "NoSuchRoom", "room (of 28 characters)")
        assert "HUNTER" not in str(refused)


async def test_room_in_capitals_is_the_same_though_plugin_keeps_both(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        await side.done("create_room", ROOM)
        await side.done("post_to_room", {**says("small"), "roomName": "balcony"})
        await side.done("post_to_room", {**says("great"), "roomName": "Balcony@Conference.example.org"})
        await side.done("post_to_room", {**says("small again"), "roomName": "balcony"})
    assert words_in(chat) == ["small", "great", "small again"]


async def test_room_deleted_by_others_is_reported_and_joined_later(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        await side.done("create_room", ROOM)
        await side.done("post_to_room", says("before"))
        del chat.state.rooms["balcony"]
        assert_refused(await side.call("post_to_room", says("to nobody")), "NoSuchRoom")
        await side.done("create_room", ROOM)
        await side.done("post_to_room", says("after"))
    assert words_in(chat) == ["after"]


async def test_room_is_joined_where_its_existence_is_unknown(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        await side.done("create_room", ROOM)
        chat.faults.add(Kind.EMPTY, "GET */chat/rooms/*")
        await side.done("post_to_room", says("heard"))
    assert words_in(chat) == ["heard"]


async def test_existing_room_is_created_by_no_job_and_stays(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        await side.done("create_room", {**ROOM, "membersOnly": True, "members": ["juliet"]})
        other = {**ROOM, "roomName": "Balcony@Conference.example.org"}
        assert_refused(await side.call("create_room", other), "AlreadyExists", "update_room")
        known = [await side.done("create_room", ROOM, **how) for how in ({"ok_if_exists": True}, {"maybe_run": True})]
    assert [outcome.note for outcome in known] == ["already done", "already exists after a retry"]
    assert chat.state.rooms["balcony"].members == {"juliet"}
    assert creations(chat) == 1


@rows(("kind", "code"), [(Kind.EMPTY, "ServerError"), (Kind.REDIRECT, "Redirected"), (Kind.DENIED, "LoginRefused")])
async def test_room_is_created_only_if_the_server_says_it_is_missing(
    chat: Openfire, sides: Open, redis_server: RedisServer, kind: Kind, code: str
) -> None:
    reset(chat, redis_server)
    chat.faults.add(kind, "GET */chat/rooms/*")
    async with sides() as (side,):
        outcome = await side.call("create_room", ROOM)
    assert isinstance(outcome, Deferred | Denied), outcome
    assert (outcome.reason.code, getattr(outcome, "maybe_run", False)) == (code, False)
    assert creations(chat) == 0


async def test_500_of_a_missing_service_differs_from_an_unwell_server(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        chat.faults.add(Kind.EMPTY, "GET */chat/rooms/*")
        await side.done("create_room", {**ROOM, "servicename": "garden"})
        chat.faults.add(Kind.EMPTY, "GET */chat/rooms/*", times=2)
        assert isinstance(await side.call("create_room", {**ROOM, "servicename": "park"}), Deferred)
    assert creations(chat) == 1


async def test_second_job_of_a_process_finds_the_room_of_the_first(chat: Openfire, sides: Open) -> None:
    chat.faults.add(Kind.DELAY, "POST */chatrooms", delay_s=0.2)
    outcomes: list[Outcome] = []

    async def create(side: Side, **more: Json) -> None:
        outcomes.append(await side.call("create_room", {**ROOM, **more}))

    async with sides() as (side,), trio.open_nursery() as nursery:
        nursery.start_soon(partial(create, side, membersOnly=True))
        nursery.start_soon(partial(create, side, roomName="BALCONY"))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Delivered", "Rejected"]
    assert creations(chat) == 1
