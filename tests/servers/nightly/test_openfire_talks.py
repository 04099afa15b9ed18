"""Openfire by jobs and events alone: two people talk, and a question finds its expert, whatever restarts meanwhile."""

import itertools
import re
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from dev.tools.pages import ROOT, blocks
from tests.servers.openfire_talk import ROOM, Talk, talking
from tests.support.openfire_chat.server import Openfire
from tests.support.process import started
from tests.support.receiver import Kind
from tests.support.redis_server import RedisServer
from tests.support.wait import until

WORKGROUP: Final = "help"
EXPERTS: Final = ("bob", "cid")


@attrs.frozen
class Step:
    """One job, who does it, and who must get which event then: `ann ask > bob offerReceived`."""

    who: str
    command: str
    events: Sequence[Sequence[str]] = ()

    @classmethod
    def of(cls, words: str) -> "Step":
        act, _, events = words.partition(" > ")
        who, command = act.split()
        return cls(who, command, [part.split() for part in events.split(" + ") if part])


WALKS: Final[Mapping[str, Sequence[Step]]] = {
    name: [Step.of(step) for step in walk.split(", ")]
    for name, walk in {
        "the next expert takes what the first rejects": (
            "bob join_workgroup, cid join_workgroup, ann ask > bob offerReceived, bob reject_offer > cid offerReceived,"
            " cid accept_offer > ann offer + cid invitationReceived, cid join_room, ann ask_join,"
            " ann ask_send > cid groupchat, cid post_to_room > ann groupchat, cid leave_room, cid leave_workgroup,"
            " bob leave_workgroup, ann ask_revoke"
        ),
        "who asks takes it back and asks again": (
            "bob join_workgroup, ann ask > bob offerReceived, ann ask_revoke > bob offerRevoked,"
            " ann ask > bob offerReceived, bob accept_offer > ann offer + bob invitationReceived, ann ask_join,"
            " bob join_room, bob post_to_room > ann groupchat"
        ),
        "an expert comes after the question": (
            "bob join_workgroup, ann ask > bob offerReceived, bob reject_offer, cid join_workgroup > cid offerReceived,"
            " cid accept_offer > ann offer + cid invitationReceived, ann ask_revoke"
        ),
    }.items()
}
"""Between them they go along every arrow of the page but two, which only the server's own time decides."""
_REQUESTS: Final[Mapping[str, str]] = {
    "set_presence": "POST */presence*",
    "post_message": "POST */messages/*",
    "join_room": "PUT */rooms/*",
    "post_to_room": "POST */rooms/*",
    "invite_contact_to_room": "POST */rooms/*/*",
    "leave_room": "DELETE */rooms/*",
    "chat_logoff": "POST */logoff",
    "join_workgroup": "POST */assists/*",
    "leave_workgroup": "DELETE */assists/*",
    "ask": "POST */ask",
    "ask_join": "POST */ask/*",
    "ask_send": "PUT */ask/*",
    "ask_revoke": "DELETE */ask/*",
    "accept_offer": "POST */offer/*",
    "reject_offer": "DELETE */offer/*",
}
_ENDS_WITH_THE_SERVER: Final = {
    *("ask", "ask_join", "ask_send", "accept_offer", "reject_offer", "join_room", "post_to_room")
}
"""What they are about is gone after a restart, a question's room too; the other steps are taken on the new stream."""


def room_of(user: str) -> dict[str, str]:
    return {"from_": user, "roomName": ROOM}


def chat_steps(talk: Talk) -> Iterator[tuple[str, dict[str, str], tuple[str, str] | None]]:
    """What ann does, who is in the room, and who gets an event of it."""
    bob, room = talk.jid("bob"), room_of("ann")
    yield "set_presence", {"from_": "ann", "show": "available"}, None
    yield "post_message", {"from_": "ann", "to": bob, "body": "Hi!"}, ("bob", "message")
    yield "join_room", room, None
    yield "post_to_room", {**room, "body": "Is anybody here?"}, ("ann", "groupchat")
    yield "invite_contact_to_room", {**room, "invitedJid": bob, "reason": "come"}, ("bob", "invitation")
    yield "leave_room", room, None


def test_messages_in_an_outage_are_sent_once_and_events_come(
    redis_server: RedisServer, openfire: Openfire, tmp_path: Path
) -> None:
    with talking(tmp_path, redis_server, openfire, ["ann", "bob"], brokers=2) as talk:
        talk.listening()
        talk.do("post_message", from_="ann", to=talk.jid("bob"), body="Before")
        before = len(openfire.state.logins)
        openfire.stop()
        words = [f"Meanwhile {number}" for number in range(20)]
        jobs = [talk.push("post_message", from_="ann", to=talk.jid("bob"), body=word) for word in words]
        until(lambda: "target.down" in talk.output(), "a broker finds nobody", 60)
        openfire.start()
        assert {talk.answer(job)["outcome"] for job in jobs} == {"delivered"}
        talk.listening()
        assert Counter(openfire.state.logins[before:]) == {"ann": 1, "bob": 1}
        # Between his login and the opening of his stream the server sends nothing.
        lost = [word for word in words if any(f'"{word}"' in data for _, data in openfire.state.lost)]
        for word in ("Before", *(word for word in words if word not in lost)):
            talk.event("bob", "message", body=word)
        assert [event for event in talk.untaken() if event["type"] == "message"] == []


def interrupted(talk: Talk, command: str, arguments: Mapping[str, Any], kind: Kind) -> int:
    """Restarts the server while it works on this job, which is delivered all the same. How many logins were before.

    `HANG`: before it is carried out; `LATE`: after that, and before it is answered. With `LOST`, the answer is lost and
    the server goes on.
    """
    fault = talk.server.faults.add(kind, _REQUESTS[command], delay_s=600)
    jid = talk.push(command, **arguments)
    reached = fault.reached if kind is Kind.HANG else fault.carried_out
    assert reached.wait(60), talk.output()
    before = len(talk.server.state.logins)
    if kind is not Kind.LOST:
        talk.server.restart()
    answer = talk.answer(jid)
    assert answer["outcome"] == "delivered", f"{command}: {answer}\n{talk.output()}"
    return before


@pytest.mark.parametrize("kind", [Kind.HANG, Kind.LATE, Kind.LOST])
def test_restart_in_any_step_of_a_chat_loses_nothing(
    redis_server: RedisServer, openfire: Openfire, tmp_path: Path, kind: Kind
) -> None:
    """A lost answer loses nothing either. It costs one login of each user."""
    if kind is Kind.HANG:
        # Some jobs are done before the users are read whom they reach.
        openfire.faults.add(Kind.DELAY, "GET /sse/*", times=None, delay_s=0.5)
    with talking(tmp_path, redis_server, openfire, ["ann", "bob"], brokers=2) as talk:
        for command, arguments, event in chat_steps(talk):
            talk.listening()
            talk.do("join_room", **room_of("ann"))
            since = talk.now()
            before = interrupted(talk, command, arguments, kind)
            talk.listening()
            again = {} if kind is Kind.LOST else {"ann": 1, "bob": 1}
            assert Counter(openfire.state.logins[before:]) == again, command
            if event is not None:
                talk.event_or_gap(*event, since)
        if kind is Kind.HANG:
            # Who joins hears the last words of the room again.
            assert {event["body"] for event in talk.untaken() if event["body"]} <= {"Is anybody here?"}
        assert talk.dead() == []
        before = interrupted(talk, "chat_logoff", {"from_": "ann"}, Kind.LOST if kind is Kind.LOST else Kind.HANG)
        talk.listening("bob")
        assert set(openfire.state.of_user) == {"bob"}
        assert Counter(openfire.state.logins[before:])["bob"] == (kind is not Kind.LOST)


@attrs.define
class Walker:
    """Goes along a walk: each step is a job, and each event that is due has to come. `asks`: jobs of `ask`."""

    talk: Talk
    offers: dict[str, str] = attrs.field(factory=dict)
    room: str = ""
    asks: list[str] = attrs.field(factory=list)
    outcomes: Mapping[str, str] = attrs.field(factory=dict)
    """What becomes of a command, where that is not `delivered`."""

    def open(self) -> None:
        """The workgroup is there, and its experts are."""
        self.talk.listening()
        self.talk.do("create_workgroup", name=WORKGROUP, description="Help", members=EXPERTS)
        for user in EXPERTS:
            self.talk.do("set_presence", from_=user, show="available")

    def go(self, step: Step) -> None:
        """One step, until all its events have come."""
        jid = self.push(step)
        if step.command == "ask":
            self.talk.listening(step.who)
        else:
            answer = self.talk.answer(jid)
            assert answer["outcome"] == self._outcome(step.command), f"{step}: {answer}\n{self.talk.output()}"
        for who, event in step.events:
            self._take_event(who, event, f"{step.who} speaks")
        if step.command in ("accept_offer", "ask_revoke") and self.asks:
            assert self.talk.answer(self.asks.pop())["outcome"] == self._outcome("ask")

    def _outcome(self, command: str) -> str:
        return self.outcomes.get(command, "delivered")

    def push(self, step: Step) -> str:
        """Its job."""
        jid = self.talk.push(step.command, **self._arguments(step))
        if step.command == "ask":
            self.asks.append(jid)
        return jid

    def _take_event(self, who: str, event: str, words: str) -> None:
        if event == "groupchat":
            self.talk.event(who, event, body=words)
            return
        if event == "offerReceived":
            # The server decides whose turn it is; here the walk does.
            with self.talk.server.state.lock:
                self.talk.server.state.offer("ann", who)
        kind = {"offerReceived": "offer", "offerRevoked": "offer-revoked"}.get(event, "invitation")
        got = self.talk.event(who, kind, None if kind == "invitation" else event)
        match event:
            case "offerReceived":
                assert "How?" in str(got["raw"]["metaData"])
                self.offers[who] = got["id"]
            case "offerRevoked":
                assert got["id"] == self.offers.pop(who)
            case _:
                assert self.room in ("", got["room"])
                self.room = got["room"]

    def _arguments(self, step: Step) -> dict[str, object]:
        name, _, service = self.room.partition("@")
        room: dict[str, object] = {"from_": step.who, "roomName": name, "service": service.partition(".")[0]}
        match step.command:
            case "ask":
                address = f"{step.who}@mail.example"
                return {"userID": step.who, "emailAddress": address, "question": "How?", "workgroup": WORKGROUP}
            case "ask_revoke" | "ask_join":
                return {"userId": step.who}
            case "ask_send":
                return {"userId": step.who, "body": f"{step.who} speaks"}
            case "join_workgroup" | "leave_workgroup":
                return {"from_": step.who, "workgroup": WORKGROUP}
            case "accept_offer" | "reject_offer":
                return {"from_": step.who, "offerId": self.offers.pop(step.who, "gone")}
            case "post_to_room":
                return {**room, "body": f"{step.who} speaks"}
            case _:
                return room


def test_the_walks_take_every_step_of_the_page() -> None:
    (states,) = blocks(ROOT / "docs/servers/openfire-questions.md", "text")
    between = {name for names in re.findall(r"-([\w, ]+)-", states) for name in names.split(", ")}
    steps = [step for walk in WALKS.values() for step in walk]
    taken = {step.command for step in steps} | {event for step in steps for _, event in step.events}
    assert taken - {"groupchat"} == between


@pytest.mark.parametrize("walk", WALKS)
def test_a_question_finds_its_expert_by_jobs_and_events_alone(
    redis_server: RedisServer, openfire: Openfire, tmp_path: Path, walk: str
) -> None:
    with talking(tmp_path, redis_server, openfire, EXPERTS, askers=["ann"], brokers=2) as talk:
        walker = Walker(talk)
        walker.open()
        for step in WALKS[walk]:
            walker.go(step)
        counts = Counter(
            (event["to"], event["type"], event["room"], event["body"], event["id"])
            for event in talk.events()
            if event["type"] in ("groupchat", "invitation", "offer")
        )
        assert set(counts.values()) == {1}, f"what the server sends twice is one event: {counts}"
        assert Counter(openfire.state.logins) == dict.fromkeys(EXPERTS, 1)
        assert [data for _, data in openfire.state.lost if '"body"' in data or "ffer" in data] == []


def test_question_finds_its_expert_though_each_answer_is_lost(
    redis_server: RedisServer, openfire: Openfire, tmp_path: Path
) -> None:
    (walk, *_) = WALKS.values()
    with talking(tmp_path, redis_server, openfire, EXPERTS, askers=["ann"], brokers=2) as talk:
        ends = {"ask": "uncertain"}  # nobody asks it again
        walker = Walker(talk, outcomes=ends)
        walker.open()
        for step in walk:
            openfire.faults.add(Kind.LOST, _REQUESTS[step.command])
            walker.go(step)
        assert [fault.pattern for fault in openfire.faults.listed if not fault.carried_out.is_set()] == []
        assert sum(request.line.endswith("POST /rest/api/restapi/v1/ask") for request in openfire.requests) == 1
        assert len(talk.dead()) == sum(step.command in ends for step in walk)
        assert Counter(openfire.state.logins) == dict.fromkeys(EXPERTS, 1)


@pytest.mark.promise("At least once, and seldom more", "AtMostOnce: a caller who waits gets one answer")
def test_question_with_killed_broker_dies_and_is_answered_once(
    redis_server: RedisServer, openfire: Openfire, tmp_path: Path
) -> None:
    with talking(tmp_path, redis_server, openfire, EXPERTS, askers=["ann"]) as talk:
        walker = Walker(talk)
        walker.open()
        walker.go(Step.of("bob join_workgroup"))
        walker.go(Step.of("ann ask > bob offerReceived"))
        (jid,) = walker.asks
        waited_for = talk.store.keys.reply(f"restbroker:reply:{jid}")
        assert talk.store.command("LLEN", waited_for) == 0
        talk.brokers[0].signal(signal.SIGKILL)
        talk.brokers[0].wait()
        with started(["run"], directory=tmp_path) as following:
            until(talk.dead, "it dies in the next broker", 60)
            talk.do("set_presence", from_="bob", show="away")
            assert following.stop() == 0
        assert talk.store.command("LLEN", waited_for) == 1
        answer = talk.answer(jid)
        assert (answer["jid"], answer["command"], answer["outcome"]) == (jid, "ask", "uncertain")
        assert (answer["error"]["code"], answer["attempts"], answer["answer"]) == ("AskUnanswered", 1, None)
        assert answer["error"]["cure"].startswith("ask_status shows its state")
        assert talk.dead() == [jid]
        assert talk.store.command("XLEN", talk.store.keys.dead_copies) == 1
        assert [request.line for request in openfire.requests].count("POST /rest/api/restapi/v1/ask") == 1


def test_restart_in_any_step_of_a_question_loses_no_job(
    redis_server: RedisServer, openfire: Openfire, tmp_path: Path
) -> None:
    """It costs one login of each expert."""
    (walk, *_) = WALKS.values()
    with talking(tmp_path, redis_server, openfire, EXPERTS, askers=["ann"], brokers=2) as talk:
        talk.do("create_workgroup", name=WORKGROUP, description="Help", members=["bob", "cid"])
        for cut in walk:
            talk.listening()
            walker = Walker(talk)
            for user in EXPERTS:
                talk.do("set_presence", from_=user, show="available")
            for step in itertools.takewhile(lambda step: step != cut, walk):  # noqa: B023  used at once
                walker.go(step)
            fault = openfire.faults.add(Kind.HANG, _REQUESTS[cut.command])
            jid = walker.push(cut)
            assert fault.reached.wait(60)
            before = len(openfire.state.logins)
            openfire.restart()
            ended = {*walker.asks, *([jid] if cut.command in _ENDS_WITH_THE_SERVER else [])}
            outcomes = {name: talk.answer(name)["outcome"] for name in {*ended, jid}}
            assert {name for name, outcome in outcomes.items() if outcome != "delivered"} == ended, talk.output()
            assert ended <= set(talk.dead())
            talk.listening()
            assert Counter(openfire.state.logins[before:]) == dict.fromkeys(EXPERTS, 1)
