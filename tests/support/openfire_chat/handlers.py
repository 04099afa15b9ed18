"""What becomes of a command, and which recorded answer it gets: logins, messages, rooms, and questions to workgroups.

Used by the player's server, under the state's lock. Always holds: a command that has no handler here changes nothing,
and gets the answer that was recorded.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

import attrs

from tests.support.openfire_chat.answers import REFUSED, named
from tests.support.openfire_chat.state import DOMAIN, Question, Room, State, Stream
from tests.support.player import Exchange
from tests.support.receiver import Received

_DONE: Final = named("a step of a question is done")


@attrs.frozen
class Caller:
    """The login of a request. `name` None: by the shared secret."""

    name: str | None
    is_admin: bool
    is_whole_jid: bool = False


@attrs.frozen
class Call:
    """A request for which `exchange` was recorded; `names` are those in its path. `ask_timeout_s`: for an expert."""

    state: State
    request: Received
    caller: Caller
    exchange: Exchange
    names: tuple[str, ...]
    ask_timeout_s: float

    def name(self, number: int) -> str:
        return unquote(self.names[number])

    @property
    def text(self) -> str:
        return self.request.body.decode()

    @property
    def stream(self) -> Stream:
        return self.state.streams[self.name(0)]


def answer(call: Call) -> Exchange:
    """Return what is answered once it is done."""
    is_of_stream = "/ofchat1/" in call.exchange.path
    if is_of_stream and call.name(0) not in call.state.streams:
        is_listing = call.exchange.command == "list_contacts"
        return named("the contacts of a stream that is gone") if is_listing else REFUSED
    handler = _HANDLERS.get(call.exchange.command)
    return call.exchange if handler is None else handler(call)


def _login(call: Call) -> Exchange:
    state, name, password = call.state, call.name(0), call.text.strip()
    if "text/plain" not in call.request.headers.get("accept", "*/*"):
        return named("a login with Accept: application/json alone")
    if password:
        account = state.accounts.get(name)
        if account is None or account.is_locked or account.password != password:
            return named("a wrong password")
    elif call.caller.is_whole_jid:
        return named("by an administrator who logged in with a whole JID")
    # Only Basic says who logs in: with the secret nobody is an administrator here (read).
    is_trusted = call.caller.name is not None and call.caller.is_admin
    stream = state.login(name, is_anonymous=not password and not is_trusted)
    state.login_requests.append(name)
    return attrs.evolve(call.exchange, answer=stream.id)


def _logoff(call: Call) -> Exchange:
    call.state.end(call.stream)
    return call.exchange


def _presence(call: Call) -> Exchange:
    show = call.request.query.get("show") or "available"
    call.state.presence(call.stream, None if show == "offline" else show, call.request.query.get("status"))
    return call.exchange


def _message(call: Call) -> Exchange:
    """To a user who is not there, it is swallowed (measured)."""
    state, to = call.state, call.name(1)
    user = to.partition("@")[0]
    given = {"to": to, "from": call.stream.jid, "id": state.next_id(), "body": call.text}
    state.deliver(user, partial(state.replay, user, "message", **given))
    return call.exchange


def _broadcast(call: Call) -> Exchange:
    for user in list(call.state.of_user):
        call.state.replay(user, "broadcast", body=json.loads(call.text)["body"])
    return call.exchange


def _contacts(call: Call) -> Exchange:
    account = call.state.accounts.get(call.stream.username)
    if account is None or not account.friends:
        return named("the contacts of a stream that is gone")
    return attrs.evolve(call.exchange, answer=call.exchange.answer.replace("juliet", min(account.friends)))


def _sessions(call: Call) -> Exchange:
    stream = call.state.of_user.get(call.name(0))
    if stream is None or stream.is_kicked:
        return named("an answer of a user's sessions of whom there is none")
    return named("a session", juliet=stream.username, ofchat1=stream.id)


def _kick(call: Call) -> Exchange:
    call.state.kick(call.name(0))
    return call.exchange


def _set_account(call: Call) -> Exchange:
    """Locked, unlocked or deleted: who cannot log in any more has no session either (measured)."""
    user, command = call.name(0), call.exchange.command
    if user not in call.state.accounts:
        return named("no such user", nurse=user)
    call.state.accounts[user].is_locked = command == "lock_user"
    if command != "unlock_user":
        call.state.kick(user)
    if command == "delete_user":
        del call.state.accounts[user]
    return call.exchange


def _get_room(call: Call) -> Exchange:
    is_there = call.name(0).casefold() in call.state.rooms
    return named("a room" if is_there else "no such room", balcony=call.name(0))


def _set_room(call: Call) -> Exchange:
    """Made, or set again: what was so before counts no more (measured)."""

    def people(kind: str) -> set[str]:
        return {jid.partition("@")[0].casefold() for jid in re.findall(f"<{kind}>([^<]*)</{kind}>", call.text)}

    (name,) = re.findall("<roomName>([^<]*)</roomName>", call.text)
    room = call.state.rooms.setdefault(name.casefold(), Room(name.casefold()))
    room.members = people("member") if "<membersOnly>true<" in call.text else None
    room.outcasts = people("outcast")
    return call.exchange


def _delete_room(call: Call) -> Exchange:
    room = call.state.rooms.pop(call.name(0).casefold())
    for user in list(room.occupants):
        call.state.expel(room, user, "332")
    return call.exchange


def _affiliate(call: Call) -> Exchange:
    room, user = call.state.rooms[call.name(0).casefold()], call.name(1).partition("@")[0].casefold()
    match call.exchange.command:
        case "add_room_member":
            room.outcasts.discard(user)
            room.members = None if room.members is None else room.members | {user}
        case "add_room_outcast":
            room.outcasts.add(user)
            call.state.expel(room, user, "301")
    return call.exchange


def _address(call: Call) -> str:
    """The room as the request calls it, which is how the plugin remembers it (measured)."""
    return f"{call.name(1)}@{call.request.query.get('service', 'conference')}"


def _join(call: Call) -> Exchange:
    """A room that is not there is made, and a user in it leaves and enters (measured)."""
    stream, name = call.stream, call.name(1).casefold()
    stream.joined.add(_address(call))
    room = call.state.rooms.setdefault(name, Room(name))
    given = {"to": stream.jid, "from": f"{room.address}/{stream.username}", "id": call.state.next_id()}
    if room.refuses(stream.username):
        call.state.replay(stream.username, "not let in", **given)
        return REFUSED
    if stream.username not in room.occupants:
        room.occupants.append(stream.username)
    call.state.replay(stream.username, "entered", **given)
    return call.exchange


def _in_room(call: Call) -> Exchange:
    """What a user does in a room that was asked for once: also of a user out of it, 200 is said (measured)."""
    state, stream = call.state, call.stream
    if _address(call) not in stream.joined:
        return REFUSED
    room = state.rooms.get(call.name(1).casefold())
    is_in = room is not None and stream.username in room.occupants
    match call.exchange.command:
        case "leave_room" if room is not None and is_in:
            room.occupants.remove(stream.username)
        case "post_to_room" if room is not None and is_in:
            state.say(room, stream.username, call.text)
        case "post_to_room":
            where = f"{call.name(1).casefold()}@conference.{DOMAIN}"
            given = {"to": stream.jid, "from": where, "id": state.next_id(), "body": call.text}
            state.replay(stream.username, "sent back", **given)
        case "invite_contact_to_room" if room is not None and is_in:
            _invite(state, room, call.name(2), f"{stream.username}@{DOMAIN}", call.text)
    return call.exchange


def _invite(state: State, room: Room, to: str, inviter: str, reason: str) -> None:
    user = to.partition("@")[0]
    given = {"to": to, "room": room.address, "name": room.name, "inviter": inviter, "reason": reason}
    state.deliver(user, partial(state.replay, user, "invitation", **given))


def _ask(call: Call) -> Exchange:
    """Returns when an expert accepts, or it is taken back, or it was too long: then it stays."""
    state, given = call.state, json.loads(call.text)
    state.connected(given["userID"])
    if not any(given["workgroup"] in stream.workgroups for stream in state.streams.values()):
        return named("nobody of the workgroup is there")
    question = Question(given["userID"], f"o{next(state.ids)}", given["workgroup"])
    state.questions[question.user] = question
    starts, until_s = state.starts, time.monotonic() + call.ask_timeout_s
    while question.room is None and not question.is_revoked:
        state.changed.wait(max(until_s - time.monotonic(), 0.0))
        if state.starts != starts:
            return named("it cannot work now")
        if time.monotonic() >= until_s:
            return named("nobody accepted it for 180 s")
    names = {"juliet": question.user, "love": question.workgroup}
    return named("it was taken back" if question.is_revoked else "an expert accepted", **names, o1=question.id)


def _answer_offer(call: Call) -> Exchange:
    state, stream = call.state, call.stream
    if call.name(1) not in stream.offers:
        return REFUSED
    question = next((question for question in state.questions.values() if question.id == call.name(1)), None)
    if question is None or question.expert != stream.username:
        return _DONE
    question.expert = None
    if call.exchange.command == "reject_offer":
        return _DONE
    room = question.room = state.rooms[question.id] = Room(question.id)
    workgroup = f"{question.workgroup}@workgroup.{DOMAIN}"
    given = {"to": question.asker, "room": room.address, "workgroup": workgroup, "name": room.name}
    state.replay(question.user, "met", **given)
    _invite(state, room, f"{stream.username}@{DOMAIN}", workgroup, room.name)
    state.changed.notify_all()
    return _DONE


def _of_question(call: Call) -> Exchange:
    question = call.state.questions.get(call.name(0))
    if question is None or question.room is None:
        return call.exchange
    if call.exchange.command == "ask_send":
        call.state.say(question.room, question.user, call.text)
    elif question.user not in question.room.occupants:
        question.room.occupants.append(question.user)
    return _DONE


def _revoke(call: Call) -> Exchange:
    state = call.state
    question = state.questions.pop(call.name(0), None)
    if question is None:
        return call.exchange
    if question.expert is not None:
        workgroup = f"{question.workgroup}@workgroup.{DOMAIN}"
        given = {"workgroup": workgroup, "id": question.id, "from": question.asker}
        state.of_user[question.expert].offers.discard(question.id)
        state.replay(question.expert, "revoked", **given)
    if question.room is not None and question.user in question.room.occupants:
        question.room.occupants.remove(question.user)
    question.is_revoked = True
    state.disconnected(question.user)
    state.changed.notify_all()
    return _DONE


def _join_workgroup(call: Call) -> Exchange:
    call.stream.workgroups.add(call.name(1))
    return call.exchange


def _leave_workgroup(call: Call) -> Exchange:
    if call.name(1) not in call.stream.workgroups:
        return REFUSED
    call.stream.workgroups.remove(call.name(1))
    return call.exchange


_HANDLERS: Final[Mapping[str, Callable[[Call], Exchange]]] = MappingProxyType(
    {
        "chat_login": _login,
        "chat_logoff": _logoff,
        "set_presence": _presence,
        "post_message": _message,
        "broadcast_message": _broadcast,
        "list_contacts": _contacts,
        "user_sessions": _sessions,
        "kick_user_sessions": _kick,
        **dict.fromkeys(("lock_user", "unlock_user", "delete_user"), _set_account),
        "chat_get_room": _get_room,
        **dict.fromkeys(("create_room", "update_room"), _set_room),
        "delete_room": _delete_room,
        **dict.fromkeys(("add_room_member", "add_room_outcast"), _affiliate),
        "join_room": _join,
        **dict.fromkeys(("leave_room", "post_to_room", "invite_contact_to_room"), _in_room),
        "ask": _ask,
        **dict.fromkeys(("ask_join", "ask_send"), _of_question),
        "ask_revoke": _revoke,
        **dict.fromkeys(("accept_offer", "reject_offer"), _answer_offer),
        "join_workgroup": _join_workgroup,
        "leave_workgroup": _leave_workgroup,
    }
)
