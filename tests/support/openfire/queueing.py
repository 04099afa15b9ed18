"""The queue of a workgroup: whom a question is offered to, and who is told.

Used by fastpath.py. Always holds: a question is offered to one expert at a time, and to one who rejected it, or let it
lapse, not before `offers_again_s` have passed.
"""

import json
import secrets
import string
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from tests.support.openfire import talk
from tests.support.openfire.world import Assist, Stream, Workgroup, World

_MOMENT: Final = "%Y%m%dT%H:%M:%S"
_SPACE: Final = 'xmlns="http://jabber.org/protocol/workgroup"'
_METADATA: Final = {"username": "userID", "email": "emailAddress", "question": "question"}


def jid(world: World, workgroup: Workgroup | str) -> str:
    name = workgroup if isinstance(workgroup, str) else workgroup.name
    return f"{name}@workgroup.{world.domain}"


def new_id() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(6))


def url(world: World, assist: Assist) -> str:
    return f"https://{world.domain}:7443/meet/{assist.id}"


def asker(world: World, assist: Assist) -> str:
    """Who asked, at the connection that the question has (measured)."""
    return f"{assist.user}@{world.domain}/{assist.user}"


def offer(world: World, workgroup: Workgroup) -> None:
    """Gives each question that nobody has to the next expert who may be asked."""
    for assist in workgroup.queue:
        able = [one for one in workgroup.agents if _may_be_asked(world, assist, one)]
        if assist.offered_to is None and able:
            _offered(world, workgroup, assist, able[0])


def offer_soon(world: World, assist: Assist) -> None:
    _later(world, world.offer_delay_s, _again, assist)


def _may_be_asked(world: World, assist: Assist, expert: str) -> bool:
    is_late = assist.not_before_s.get(expert, 0.0) <= time.monotonic()
    return is_late and world.of_user[expert].show != "dnd"


def _offered(world: World, workgroup: Workgroup, assist: Assist, expert: str) -> None:
    workgroup.agents.remove(expert)
    workgroup.agents.append(expert)
    assist.offered_to = expert
    world.of_user[expert].offers.add(assist.id)
    asked = {key: assist.given[name] for key, name in _METADATA.items()}
    iq = f'<iq type="set" from="{jid(world, workgroup)}"><offer {_SPACE} id="{assist.id}"/></iq>'
    talk.stanza(world, expert, iq)
    fields = {"workgroup": jid(world, workgroup), "id": assist.id, "from_": asker(world, assist)}
    world.tell(expert, "chatapi.assist", talk.joined(type="offerReceived", **fields, metaData=json.dumps(asked)))


def refuse(world: World, assist: Assist) -> None:
    """The expert who has it is not asked again for a while."""
    if assist.offered_to is not None:
        assist.not_before_s[assist.offered_to] = time.monotonic() + world.offers_again_s
        _later(world, world.offers_again_s, _again, assist)
    assist.offered_to = None


def _again(world: World, assist: Assist) -> None:
    with world.lock:
        workgroup = world.workgroups.get(assist.workgroup)
        if workgroup is not None and assist in workgroup.queue:
            offer(world, workgroup)


def _later(world: World, delay_s: float, told: Callable[..., None], *arguments: Any) -> None:
    timer = threading.Timer(delay_s, told, (world, *arguments))
    timer.daemon = True
    world.timers.append(timer)
    timer.start()


def tell_asker(world: World, assist: Assist, raw: str, data: str, again: str | None = None) -> None:
    """An event to who asked, by the stream of the question's own connection. `again`: as everybody is told it."""
    if not assist.is_heard:
        world.lost.append((assist.user, data))
        return
    talk.stanza(world, assist.user, raw)
    world.tell(assist.user, "chatapi.ask", data)
    if again is not None:
        world.tell(assist.user, "chatapi.muc", again)


def revoke(world: World, workgroup: Workgroup, assist: Assist, reason: str) -> None:
    expert, assist.offered_to = assist.offered_to, None
    stream = world.of_user.get(expert or "")
    if stream is None:
        return
    stream.offers.discard(assist.id)
    iq = f'<iq type="set" from="{jid(world, workgroup)}"><offer-revoke {_SPACE} id="{assist.id}"/></iq>'
    talk.stanza(world, stream.username, iq)
    fields = {"workgroup": jid(world, workgroup), "id": assist.id, "from_": asker(world, assist), "reason": reason}
    world.tell(stream.username, "chatapi.assist", talk.joined(type="offerRevoked", **fields))


def tell_queue(world: World, workgroup: Workgroup) -> None:
    """The experts see the queue, with a presence each time (measured); who asked is told nothing of it (measured)."""
    where = f"{jid(world, workgroup)}/Default Queue"
    oldest = workgroup.queue[0].since.strftime(_MOMENT) if workgroup.queue else "null"
    for expert in workgroup.agents:
        to = world.of_user[expert].jid
        seen = talk.joined(type="presence", to=to, from_=where, status="null", show="available")
        talk.stanza(world, expert, f'<presence to="{to}" from="{where}"><notify-queue {_SPACE}/></presence>')
        fields = {"to": to, "from_": where, "averageWaitTime": 0, "userCount": len(workgroup.queue), "status": "open"}
        world.tell(expert, "chatapi.ask", talk.joined(type="notify-queue", **fields, oldestEntry=oldest))
        world.tell(expert, "chatapi.presence", seen)
        talk.stanza(world, expert, f'<presence to="{to}" from="{where}"><notify-queue-details {_SPACE}/></presence>')
        for position, assist in enumerate(workgroup.queue):
            fields = {"to": to, "from_": where, "userid": asker(world, assist), "postion": position}
            moment = assist.since.strftime(_MOMENT)
            data = talk.joined(type="notify-queue-details", **fields, timeRemaining=0, timestamp=moment)
            world.tell(expert, "chatapi.ask", data)
        world.tell(expert, "chatapi.presence", seen)


def tell_nowhere(world: World, stream: Stream, name: str) -> None:
    """Who comes to a workgroup that is not there gets an error; the typed event looks like any presence (measured)."""
    to, where = stream.jid, jid(world, name)
    talk.stanza(world, stream.username, f'<presence to="{to}" from="{where}" type="error"/>')
    seen = talk.joined(type="presence", to=to, from_=where, status="null", show="available")
    world.tell(stream.username, "chatapi.presence", seen)


def departed(world: World, workgroup: Workgroup, assist: Assist) -> None:
    """A question is no longer in the queue; who asked is not told (measured)."""
    workgroup.queue.remove(assist)
    tell_queue(world, workgroup)


def leave(world: World, stream: Stream, workgroup: Workgroup) -> None:
    """An expert is no longer there: what he was offered goes to the next one."""
    stream.workgroups.discard(workgroup.name)
    workgroup.agents = [one for one in workgroup.agents if one != stream.username]
    for assist in list(workgroup.queue):
        if assist.offered_to == stream.username:
            revoke(world, workgroup, assist, "left")
    offer(world, workgroup)


def left(world: World, stream: Stream) -> None:
    for name in list(stream.workgroups):
        leave(world, stream, world.workgroups[name])
