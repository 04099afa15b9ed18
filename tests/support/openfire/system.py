"""The REST API plugin's sessions, broadcasts, system properties, vCards and health, as measured on 1.2.5 and 1.3.10.

Used by the stand-in's server. Always holds: as rest.py says.
"""

from typing import Any, Final

from tests.support.openfire import talk
from tests.support.openfire.calls import CREATED, DONE, Answer, Call, Failed, Handler, Routes, broken
from tests.support.openfire.forms import Pair, listed
from tests.support.openfire.http import Said
from tests.support.openfire.reading import MESSAGE, PROPERTY
from tests.support.openfire.rest import user_of
from tests.support.openfire.world import Stream

ROUTES: Final = Routes()
_SHOWN: Final = {"away": "Away", "chat": "Available to Chat", "dnd": "Do Not Disturb", "xa": "Extended Away"}


def _session(call: Call, stream: Stream) -> dict[str, Any]:
    return {
        "sessionId": stream.jid,
        "username": "Anonymous" if stream.is_anonymous else stream.username,
        "ressource" if call.dialect == "1.2" else "resource": stream.jid.partition("/")[2],
        "node": "Local",
        "sessionStatus": "Authenticated",
        "presenceStatus": _SHOWN.get(stream.show or "", "Online"),
        "priority": 0,
        "hostAddress": stream.id if call.asked.port == "chat" else "127.0.0.1",
        "hostName": "localhost",
        "creationDate": stream.since,
        "lastActionDate": stream.since,
        "secure": False,
    }


@ROUTES.add("GET", "/sessions")
def _list_sessions(call: Call) -> Answer:
    return listed("sessions", [_session(call, one) for one in call.world.streams.values() if not one.is_kicked])


@ROUTES.add("GET", "/sessions/{username}")
def _user_sessions(call: Call) -> Answer:
    name = call["username"].casefold()
    found = [one for one in call.world.streams.values() if one.username == name and not one.is_kicked]
    return listed("sessions", [_session(call, one) for one in found])


@ROUTES.add("DELETE", "/sessions/{username}")
def _kick(call: Call) -> Answer:
    talk.kick(call.world, call["username"].casefold())
    return DONE


@ROUTES.add("POST", "/messages/users")
def _broadcast(call: Call) -> Answer:
    body = call.read(MESSAGE).get("body")
    if not body:
        raise broken()
    talk.broadcast(call.world, body)
    return CREATED


@ROUTES.add("GET", "/archive/messages/unread/{jid}")
def _unread(call: Call) -> Answer:
    account = call.world.account(call["jid"])
    return {"jid": call["jid"], "count": 0 if account is None else len(account.offline)}


@ROUTES.add("GET", "/system/statistics/sessions")
def _statistics(call: Call) -> Answer:
    count = len(call.world.streams)
    names = ("localSessions", "clusterSessions")
    # The order differs between the generations; in XML it is always the older one.
    ordered = names if call.dialect != "1.2" and "json" in call.asked.accept else reversed(names)
    return dict.fromkeys(ordered, count)


@ROUTES.add("GET", "/system/properties")
def _list_properties(call: Call) -> Answer:
    return listed("properties", [Pair(key, value) for key, value in call.world.properties.items()])


@ROUTES.add("POST", "/system/properties")
def _create_property(call: Call) -> Answer:
    given = call.read(PROPERTY)
    if given.get("key") is None:
        raise broken()
    call.world.properties[given["key"]] = given.get("value", "")
    return CREATED


@ROUTES.add("GET", "/system/properties/{key}")
def _get_property(call: Call) -> Answer:
    _property(call, "Could not find property")
    key, value = ("@key", "@value") if call.dialect == "1.2" else ("key", "value")
    return {key: call["key"], value: call.world.properties[call["key"]]}


def _property(call: Call, message: str, *, named: bool = True) -> None:
    if call["key"] not in call.world.properties:
        raise Failed(404, "PropertyNotFoundException", message, call["key"] if named else None)


@ROUTES.add("PUT", "/system/properties/{key}")
def _update_property(call: Call) -> Answer:
    given = call.read(PROPERTY)
    _property(call, "Could not find property for update", named=False)
    if given.get("key") != call["key"]:
        raise broken()
    call.world.properties[call["key"]] = given.get("value", "")
    return DONE


@ROUTES.add("DELETE", "/system/properties/{key}")
def _delete_property(call: Call) -> Answer:
    _property(call, "Could not find property")
    del call.world.properties[call["key"]]
    return DONE


@ROUTES.add("DELETE", "/users/{username}/vcard", "1.12")
@ROUTES.add("PUT", "/users/{username}/vcard", "1.12")
@ROUTES.add("GET", "/users/{username}/vcard", "1.12")
def _vcard(call: Call) -> Answer:
    account = user_of(call)
    if call.asked.method == "GET":
        return Said(204) if account.vcard is None else Said(200, account.vcard.encode(), "application/xml")
    account.vcard = call.text or None
    return DONE


def _health(call: Call) -> Answer:
    """200 and nothing more."""
    del call
    return DONE


def _legacy(call: Call) -> Answer:
    """Always 200, and the body says whether it was done; the broker is not meant to use it."""
    return Said(200, f"<result>{call.asks('type') or 'ok'}</result>".encode(), "text/xml")


_HEALTH: Final[Handler] = _health
for _path in ("liveness", "liveness/deadlock", "liveness/properties", "readiness"):
    ROUTES.add("GET", f"/system/{_path}", "1.12", is_open=True)(_HEALTH)
for _path in ("server", "cluster", "plugins", "connections"):
    ROUTES.add("GET", f"/system/readiness/{_path}", "1.12", is_open=True)(_HEALTH)
for _method in ("GET", "POST"):
    ROUTES.add(_method, "/userservice", is_open=True)(_legacy)
