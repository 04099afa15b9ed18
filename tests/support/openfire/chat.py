"""The Chat API: logging in and off, presence, messages, contacts, rooms and raw stanzas, from the plugin's sources.

Used by the stand-in's server. Always holds: whatever goes wrong in a handler is a 400 whose text says nothing; a send
that fails is a 200.
"""

import base64
from typing import Any, Final
from xml.etree import ElementTree as ET

from tests.support.openfire import doors, rest, talk
from tests.support.openfire.calls import CREATED, DONE, Answer, Bare, Call, Failed, Routes
from tests.support.openfire.forms import listed
from tests.support.openfire.http import Said
from tests.support.openfire.reading import ROSTER_ITEM
from tests.support.openfire.world import Stream

ROUTES: Final = Routes()
_OF: Final = "/chat/{stream}"


def refused(resource: str = "Exception") -> Failed:
    """What a handler that failed says: its own text is lost on the way."""
    return Failed(400, "IllegalArgumentException", "Exception", resource)


def stream_of(call: Call) -> Stream:
    """The stream that the path names. Raises Failed."""
    stream = call.world.streams.get(call["stream"])
    if stream is None:
        raise refused()
    return stream


@ROUTES.add("POST", "/chat/{username}/login")
def _login(call: Call) -> Answer:
    world, name, password = call.world, call["username"], call.text.strip()
    if "text/plain" not in (wanted := call.asked.accept) and "*/*" not in wanted:
        raise Bare(406, "Not Acceptable")
    password = "" if password == "{}" else password
    if password:
        account = world.account(name)
        if account is None or account.is_locked or account.password != password or call.asks("totp"):
            raise refused()
    elif call.caller.is_whole_jid:
        raise refused(f"Illegal JID: {call.caller.username}@{world.domain}@{world.domain}")
    # Only Basic says who the caller is: with the secret nobody is an administrator here.
    is_trusted = call.caller.username is not None and call.caller.is_admin
    is_new = name not in world.of_user
    stream = world.opened(name, anonymous=not password and not is_trusted)
    if is_new:
        talk.arrive(world, stream)
    world.login_requests.append(name)
    return Said(200, stream.id.encode(), "text/plain")


@ROUTES.add("POST", _OF + "/logoff")
def _logoff(call: Call) -> Answer:
    talk.end(call.world, stream_of(call))
    return DONE


@ROUTES.add("POST", _OF + "/presence")
def _presence(call: Call) -> Answer:
    query = call.asked.query
    talk.presence(call.world, stream_of(call), query.get("show"), query.get("status"))
    return DONE


@ROUTES.add("POST", _OF + "/messages/{to}")
def _message(call: Call) -> Answer:
    talk.message(call.world, stream_of(call), call["to"], call.text)
    return DONE


@ROUTES.add("POST", _OF + "/chatstate/{state}/{to}")
def _chat_state(call: Call) -> Answer:
    stream_of(call)
    return DONE


@ROUTES.add("POST", _OF + "/xmpp")
def _xmpp(call: Call) -> Answer:
    stream = stream_of(call)
    try:
        element = ET.fromstring(call.text)  # noqa: S314  what a test sends
    except ET.ParseError:
        return DONE
    match element.tag.rpartition("}")[2]:
        case "message":
            talk.message(call.world, stream, element.get("to", ""), element.findtext("{*}body") or "")
        case "presence":
            show = "offline" if element.get("type") == "unavailable" else element.findtext("{*}show")
            talk.presence(call.world, stream, show, element.findtext("{*}status"))
    return DONE


@ROUTES.add("GET", _OF + "/contacts")
def _contacts(call: Call) -> Answer:
    stream = call.world.streams.get(call["stream"])
    if stream is None:
        return listed("roster", [])
    # Its own copy from its login, to which the server adds who is subscribed to; all are shown as available (measured).
    found = call.world.rosters.get(stream.username, {}).values()
    return listed(
        "roster", [_contact(call, one.fields()) for one in found if one.subscription or one.jid in stream.contacts]
    )


def _contact(call: Call, fields: dict[str, Any]) -> dict[str, Any]:
    other = call.world.of_user.get(fields["jid"].partition("@")[0])
    show = "available" if other is None or other.show is None else other.show
    return {**fields, "show": show, "status": None if other is None else other.status}


@ROUTES.add("POST", _OF + "/contacts")
def _add_contact(call: Call) -> Answer:
    given = call.read(ROSTER_ITEM)
    roster = call.world.rosters.setdefault(stream_of(call).username, {})
    try:
        rest.add_contact(roster, given)
    except Failed as failed:
        raise refused(str(failed)) from None
    return CREATED


@ROUTES.add("PUT", _OF + "/contacts/{jid}")
def _update_contact(call: Call) -> Answer:
    given = call.read(ROSTER_ITEM)
    rest.update_contact(call.world.rosters.get(stream_of(call).username, {}), call["jid"], given)
    return CREATED


@ROUTES.add("DELETE", _OF + "/contacts/{jid}")
def _delete_contact(call: Call) -> Answer:
    if call.world.rosters.get(stream_of(call).username, {}).pop(call["jid"], None) is None:
        raise refused("Roster Item could not deleted")
    return CREATED


@ROUTES.add("DELETE", _OF + "/users/{property}")
@ROUTES.add("POST", _OF + "/users/{property}")
def _property(call: Call) -> Answer:
    account = call.world.account(stream_of(call).username)
    if account is None:
        raise refused()
    account.properties.pop(call["property"], None)
    if call.asked.method == "POST":
        account.properties[call["property"]] = call.text
    return DONE


def _where(call: Call) -> str:
    return f"{call['room']}@{call.asks('service', 'conference')}.{call.world.domain}"


def _joined(call: Call) -> Stream:
    """The stream, which must have asked to be in the room once: a refusal counts too. Raises Failed."""
    stream = stream_of(call)
    if _where(call) not in stream.joined:
        raise refused()
    return stream


@ROUTES.add("PUT", _OF + "/rooms/{room}")
def _join(call: Call) -> Answer:
    if not doors.join(call.world, stream_of(call), call.asks("service", "conference"), call["room"]):
        raise refused()
    return DONE


@ROUTES.add("DELETE", _OF + "/rooms/{room}")
def _leave(call: Call) -> Answer:
    stream, room = _joined(call), call.world.room(_where(call))
    if room is not None:
        talk.leave(call.world, room, stream.username)
    return DONE


@ROUTES.add("POST", _OF + "/rooms/{room}")
def _say(call: Call) -> Answer:
    stream, room = _joined(call), call.world.room(_where(call))
    # Who is not in it is answered by the room with an error, and by the API with a 200.
    if room is not None and stream.username in room.occupants:
        talk.say(call.world, room, stream.username, call.text)
    else:
        talk.turn_away(call.world, stream, _where(call), call.text)
    return DONE


@ROUTES.add("POST", _OF + "/rooms/{room}/{jid}")
def _invite(call: Call) -> Answer:
    stream, room = _joined(call), call.world.room(_where(call))
    if "@" not in call["jid"]:
        raise refused()
    if room is not None and stream.username in room.occupants:
        talk.invite(call.world, room, call["jid"], call.text, stream.jid)
    return DONE


@ROUTES.add("POST", "/sessions")
@ROUTES.add("POST", "/sessions/{username}")
def _notify(call: Call) -> Answer:
    """Of sessions that no test opens."""
    del call
    return DONE


@ROUTES.add("GET", "/chat/certificate")
@ROUTES.add("DELETE", "/chat/enroll")
@ROUTES.add("GET", "/chat/enroll")
def _own(call: Call) -> Answer:
    """What needs a caller of one's own: Basic."""
    if call.caller.username is None:
        raise refused()
    if call.asked.path.endswith("certificate"):
        return Said(200, base64.b64encode(call.caller.username.encode()), "application/x-pkcs12")
    if call.asked.method == "GET":
        return Said(200, b"https://chart.example/qr", "application/json")
    return Said(200, content_type="text/plain")
