"""Questions and experts: Fastpath as the Chat API shows it, from the plugin's sources.

Used by the stand-in's server. A question waits in its workgroup's queue and is offered to one expert after the other;
who accepts it and who asked it meet in a room. Always holds: an offer that an expert does not know is a 400, as all
that goes wrong here.
"""

import time
from typing import Any, Final

from tests.support.openfire import queueing, talk
from tests.support.openfire.calls import DONE, Answer, Bare, Call, Failed, Routes
from tests.support.openfire.chat import refused, stream_of
from tests.support.openfire.forms import Nil, listed
from tests.support.openfire.http import Said
from tests.support.openfire.reading import ASSIST, WORKGROUP
from tests.support.openfire.world import Assist, Occupant, Room, Stream, Workgroup, World

ROUTES: Final = Routes()


@ROUTES.add("POST", "/ask")
def _ask(call: Call) -> Answer:
    given, world = call.read(ASSIST), call.world
    if any(not given.get(name) for name in ("workgroup", "userID", "emailAddress", "question")):
        raise refused("workgroup, username, email and question must be provided")
    world.connected(given["userID"])
    workgroup = world.workgroups.get(given["workgroup"])
    if workgroup is None:
        raise _not_queued(call, "not-authorized - auth")
    if not workgroup.agents:
        raise _not_queued(call, "service-unavailable - cancel")
    if any(one.user == given["userID"] for one in workgroup.queue):
        raise refused("Unable to join chat queue - already there")
    assist = Assist(queueing.new_id(), given["userID"], workgroup.name, given)
    assist.is_heard = assist.user not in world.of_user
    world.assists[assist.user] = assist
    workgroup.queue.append(assist)
    queueing.tell_queue(world, workgroup)
    queueing.offer_soon(world, assist)
    _wait(world, assist)
    return {**given, **_met(world, assist), "chatroom": Nil}


def _not_queued(call: Call, error: str) -> Failed:
    """The plugin takes every workgroup for one that is there and available, and says what its queue answers."""
    where = queueing.jid(call.world, call.read(ASSIST)["workgroup"])
    came = f"XMPP error reply received from {where}: XMPPError: {error}"
    return refused(f"Unable to join chat queue - org.jivesoftware.smack.XMPPException$XMPPErrorException: {came}")


@ROUTES.add("GET", "/ask/upload/{user}/{file}/{size}")
def _upload(call: Call) -> Answer:
    call.world.connected(call["user"])
    if not call.world.has_uploads:
        raise refused()
    call.world.disconnected(call["user"])
    return Said(200, b'{"get":"https://f.example/g","put":"https://f.example/p"}', "application/json")


def _wait(world: World, assist: Assist) -> None:
    """Until an expert accepts, the question is revoked, or it was too long: then it stays in the queue."""
    starts, until_s = world.starts, time.monotonic() + world.ask_timeout_s
    while assist.room is None and not assist.is_revoked:
        world.changed.wait(max(until_s - time.monotonic(), 0.0))
        if world.starts != starts:
            raise Bare(503)
        if time.monotonic() >= until_s and assist.room is None and not assist.is_revoked:
            raise refused("Timeout error, no agent available")


def _met(world: World, assist: Assist) -> dict[str, Any]:
    if assist.room is None:
        return {"groupchat": "revoked"}
    return {"groupchat": assist.room, "url": queueing.url(world, assist), "message": "", "sender": assist.room}


def _of(call: Call) -> Assist:
    assist = call.world.assists.get(call["user"])
    if assist is None:
        raise refused("Error")
    return assist


@ROUTES.add("GET", "/ask/{user}")
def _status(call: Call) -> Answer:
    assist = _of(call)
    queue = call.world.workgroups[assist.workgroup].queue
    return {
        "available": bool(call.world.workgroups[assist.workgroup].agents),
        "inQueue": assist in queue,
        "queuePosition": queue.index(assist) if assist in queue else -1,
        "queueRemainingTime": 15 if assist in queue else -1,
        "workgroupJID": queueing.jid(call.world, assist.workgroup),
    }


def _room_of(call: Call) -> tuple[Assist, Room]:
    assist = _of(call)
    room = None if assist.room is None else call.world.room(assist.room)
    if room is None:
        raise refused("Error")
    return assist, room


@ROUTES.add("POST", "/ask/{user}")
def _join(call: Call) -> Answer:
    assist, room = _room_of(call)
    world, to = call.world, queueing.asker(call.world, assist)

    def hears(speaker: str, body: str, data: str) -> None:
        # Told twice (measured), in either order.
        said = {"type": "groupchat", "to": to, "from_": speaker}
        raw = talk.heard_as(world, to, speaker, body, data)
        again = talk.joined(**said, data=data, body=body)
        queueing.tell_asker(world, assist, raw, talk.joined(**said, body=body), again)

    def sees(who: str, is_there: bool) -> None:
        del who, is_there

    if assist.user not in room.occupants:
        talk.enter(world, room, assist.user, Occupant(to, hears, sees))
    return DONE


@ROUTES.add("PUT", "/ask/{user}")
def _send(call: Call) -> Answer:
    assist, room = _room_of(call)
    if assist.user in room.occupants:
        talk.say(call.world, room, assist.user, call.text)
    return DONE


@ROUTES.add("DELETE", "/ask/{user}")
def _take_back(call: Call) -> Answer:
    world = call.world
    assist = world.assists.pop(call["user"], None)
    if assist is None:
        raise refused(f"Assistance not found for {call['user']}")
    workgroup = world.workgroups[assist.workgroup]
    room = None if assist.room is None else world.room(assist.room)
    if room is not None:
        talk.leave(world, room, assist.user)
    if assist in workgroup.queue:
        queueing.revoke(world, workgroup, assist, "canceled")
        queueing.departed(world, workgroup, assist)
    assist.is_revoked = True
    world.disconnected(assist.user)
    world.changed.notify_all()
    return DONE


@ROUTES.add("GET", "/chat/{stream}/assists")
def _workgroups(call: Call) -> Answer:
    name = stream_of(call).username
    found = [queueing.jid(call.world, one) for one in call.world.workgroups.values() if name in one.members]
    return listed("workgroups", found)


@ROUTES.add("GET", "/chat/{stream}/assists/queues")
def _queues(call: Call) -> Answer:
    stream = stream_of(call)
    found = [
        {
            "averageWaitTime": 0,
            "currentChats": 0,
            "maxChats": 4,
            "name": "Default Queue",
            "oldestEntry": one.queue[0].since if one.queue else None,
            "status": "open",
            "users": [
                {
                    "estimatedTime": 15,
                    "joinDate": assist.since,
                    "queuePosition": position,
                    "userID": queueing.asker(call.world, assist),
                }
                for position, assist in enumerate(one.queue)
            ],
        }
        for one in call.world.workgroups.values()
        if stream.username in one.agents
    ]
    return listed("queues", found)


def _workgroup(call: Call) -> Workgroup:
    name = call["workgroup"].partition("@")[0]
    found = call.world.workgroups.get(name)
    if found is None:
        raise refused()
    return found


@ROUTES.add("POST", "/chat/{stream}/assists/{workgroup}")
def _come(call: Call) -> Answer:
    stream = stream_of(call)
    try:
        workgroup = _workgroup(call)
    except Failed:
        queueing.tell_nowhere(call.world, stream, call["workgroup"].partition("@")[0])
        raise
    if stream.username not in workgroup.members:
        raise refused()
    stream.workgroups.add(workgroup.name)
    if stream.username not in workgroup.agents:
        workgroup.agents.append(stream.username)
    queueing.tell_queue(call.world, workgroup)
    queueing.offer(call.world, workgroup)
    return DONE


@ROUTES.add("DELETE", "/chat/{stream}/assists/{workgroup}")
def _go(call: Call) -> Answer:
    stream, workgroup = stream_of(call), _workgroup(call)
    if workgroup.name not in stream.workgroups:
        raise refused()
    queueing.leave(call.world, stream, workgroup)
    return DONE


def _offered(call: Call) -> tuple[Stream, Assist | None]:
    """The expert, and the question if it is his to answer. Raises Failed for an offer that he does not know."""
    stream = stream_of(call)
    if call["offer"] not in stream.offers or not stream.workgroups:
        raise refused()
    found = [one for one in call.world.assists.values() if one.id == call["offer"]]
    is_his = bool(found) and found[0].offered_to == stream.username and found[0].room is None
    return stream, found[0] if is_his else None


@ROUTES.add("POST", "/chat/{stream}/offer/{offer}")
def _accept(call: Call) -> Answer:
    stream, assist = _offered(call)
    if assist is None:
        return DONE
    world, workgroup = call.world, call.world.workgroups[assist.workgroup]
    people: dict[str, list[str]] = {
        "owners": [queueing.jid(world, workgroup)],
        "admins": [],
        "members": [],
        "outcasts": [],
    }
    room = world.services["conference"][assist.id] = Room("conference", assist.id, {}, people)
    where = talk.address(world, room)
    assist.room, assist.sender, assist.offered_to = where, where, None
    queueing.departed(world, workgroup, assist)
    to, by = queueing.asker(world, assist), queueing.jid(world, workgroup)
    more = {"to": to, "from_": where, "url": queueing.url(world, assist)}
    again = talk.joined(type="invitationReceived", room=where, inviter=where, **more, reason="null")
    raw = talk.invitation(where, to, by, room.name)
    queueing.tell_asker(world, assist, raw, talk.joined(type="offer", **more, mucRoom=where), again)
    talk.invite(world, room, stream.jid.partition("/")[0], room.name, by)
    world.changed.notify_all()
    return DONE


@ROUTES.add("DELETE", "/chat/{stream}/offer/{offer}")
def _reject(call: Call) -> Answer:
    _, assist = _offered(call)
    if assist is not None:
        queueing.refuse(call.world, assist)
        queueing.offer(call.world, call.world.workgroups[assist.workgroup])
    return DONE


@ROUTES.add("POST", "/ask/admin")
def _create(call: Call) -> Answer:
    given = call.read(WORKGROUP)
    name = given.get("name", "")
    if not name or not {"description", "members"} <= given.keys():
        raise refused("Error")
    # 200 also where it is there; what becomes of its members then was not measured.
    call.world.workgroups.setdefault(name, Workgroup(name, given["description"], given["members"].split(",")))
    return DONE


@ROUTES.add("POST", "/ask/admin/{workgroup}")
def _update(call: Call) -> Answer:
    # Without a comma and a blank it is a list of nobody (read).
    members = call.text.split(",") if "," in call.text else []
    _workgroup(call).members = call.text.split(" ") if " " in call.text else [one for one in members if one]
    return DONE


@ROUTES.add("DELETE", "/ask/admin/{workgroup}")
def _delete(call: Call) -> Answer:
    del call.world.workgroups[_workgroup(call).name]
    return DONE
