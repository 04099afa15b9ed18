"""The queue of a workgroup: whom a question is offered to, and who is told.

Used by fastpath.py. Always holds: a question is offered to one expert at a time, and never again to one who rejected
it.
"""

import json
import secrets
import string
import threading
from typing import Final

from tests.support.openfire import talk
from tests.support.openfire.world import Assist, Stream, Workgroup, World

_MOMENT: Final = "%Y%m%dT%H:%M:%S"
_SPACE: Final = 'xmlns="http://jabber.org/protocol/workgroup"'


def jid(world: World, workgroup: Workgroup | str) -> str:
    """A workgroup's address."""
    name = workgroup if isinstance(workgroup, str) else workgroup.name
    return f"{name}@workgroup.{world.domain}"


def new_id() -> str:
    """As Fastpath's session ids look."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(6))


def url(world: World, assist: Assist) -> str:
    """The meeting of a question."""
    return f"https://{world.domain}:7443/meet/{assist.id}"


def asker(world: World, assist: Assist) -> str:
    """Who asked."""
    return f"{assist.user}@{world.domain}"


def offer(world: World, workgroup: Workgroup) -> None:
    """Gives each question that nobody has to the next expert who did not reject it."""
    for assist in workgroup.queue:
        able = [one for one in workgroup.agents if one not in assist.rejected_by]
        if assist.offered_to is not None or not able:
            continue
        expert = able[0]
        workgroup.agents.remove(expert)
        workgroup.agents.append(expert)
        assist.offered_to = expert
        assist.offers += 1
        world.of_user[expert].offers.add(assist.id)
        asked = {key: assist.given[name] for key, name in _METADATA.items()}
        iq = f'<iq type="set" from="{jid(world, workgroup)}"><offer {_SPACE} id="{assist.id}"/></iq>'
        talk.stanza(world, expert, iq)
        fields = {"workgroup": jid(world, workgroup), "id": assist.id, "from_": asker(world, assist)}
        world.tell(expert, "chatapi.assist", talk.joined(type="offerReceived", **fields, metaData=json.dumps(asked)))
        timer = threading.Timer(world.offer_timeout_s, _too_late, (world, workgroup, assist, assist.offers))
        timer.daemon = True
        timer.start()


_METADATA: Final = {"username": "userID", "email": "emailAddress", "question": "question"}


def _too_late(world: World, workgroup: Workgroup, assist: Assist, number: int) -> None:
    with world.lock:
        if assist in workgroup.queue and assist.offers == number and assist.offered_to is not None:
            revoke(world, workgroup, assist, "timeout")
            offer(world, workgroup)


def revoke(world: World, workgroup: Workgroup, assist: Assist, reason: str) -> None:
    """Takes the offer away from the expert who has it."""
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
    """The experts see the queue, and everybody in it where he stands."""
    where = jid(world, workgroup)
    oldest = workgroup.queue[0].since.strftime(_MOMENT) if workgroup.queue else "null"
    for expert in workgroup.agents:
        to = world.of_user[expert].jid
        talk.stanza(world, expert, f'<presence to="{to}" from="{where}"><notify-queue {_SPACE}/></presence>')
        fields = {"to": to, "from_": where, "averageWaitTime": 0, "userCount": len(workgroup.queue), "status": "open"}
        world.tell(expert, "chatapi.ask", talk.joined(type="notify-queue", **fields, oldestEntry=oldest))
        for position, assist in enumerate(workgroup.queue):
            fields = {"to": to, "from_": where, "userid": asker(world, assist), "postion": position}
            moment = assist.since.strftime(_MOMENT)
            data = talk.joined(type="notify-queue-details", **fields, timeRemaining=0, timestamp=moment)
            world.tell(expert, "chatapi.ask", data)
    for position, assist in enumerate(workgroup.queue):
        to = asker(world, assist)
        fields = {"to": to, "from_": where, "remaingTime": 0, "position": position}
        talk.stanza(world, assist.user, f'<message to="{to}" from="{where}"><queue-status {_SPACE}/></message>')
        world.tell(assist.user, "chatapi.ask", talk.joined(type="update-queue", **fields))


def departed(world: World, workgroup: Workgroup, assist: Assist) -> None:
    """A question is no longer in the queue."""
    workgroup.queue.remove(assist)
    to, where = asker(world, assist), jid(world, workgroup)
    talk.stanza(world, assist.user, f'<message to="{to}" from="{where}"><depart-queue {_SPACE}/></message>')
    world.tell(assist.user, "chatapi.ask", talk.joined(type="depart-queue", to=to, from_=where))
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
    """An expert's stream is over."""
    for name in list(stream.workgroups):
        leave(world, stream, world.workgroups[name])
