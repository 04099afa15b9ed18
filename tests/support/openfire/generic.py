"""Answers for what the stand-in does not play: well-formed, and the same each time.

Used by the stand-in's server. Always holds: nothing here changes the world.
"""

import json
from typing import Any, Final

from tests.support.openfire.calls import DONE, Answer, Call, Failed, Routes
from tests.support.openfire.forms import listed
from tests.support.openfire.http import Said

REST: Final = Routes()
CHAT: Final = Routes()


def _says(said: Any) -> Any:
    def handler(call: Call) -> Answer:
        del call
        answer: Answer = said
        return answer

    return handler


def _text(body: str, content_type: str = "application/json") -> Said:
    return Said(200, body.encode(), content_type)


@CHAT.add("POST", "/messageblast/sendblast")
def _send_blast(call: Call) -> Answer:
    if not all(json.loads(call.text).get(name) for name in ("title", "message", "recipients", "replyTo", "sender")):
        raise Failed(400, "IllegalArgumentException", "Some or all required values no present in request", "Exception")
    return DONE


_CLUSTER: Final = {"status": "Disabled"}
for _path, _said in (
    ("/clustering/status", _CLUSTER),
    ("/clustering/nodes", listed("clusterNodes", [])),
    ("/clustering/nodes/{node}", {"hostName": "localhost", "nodeID": "1", "seniorMember": True}),
    ("/chatservices", listed("chatServices", [])),
    ("/openapi.json", _text('{"openapi":"3.0.1","info":{"title":"Openfire REST API","version":"1.12.0"}}')),
):
    REST.add("GET", _path, "1.12")(_says(_said))
for _path, _said in (
    ("/chatservices", Said(201)),
    ("/chatrooms/{room}/invite", DONE),
    ("/chatrooms/{room}/invite/{jid}", DONE),
):
    REST.add("POST", _path, "1.12")(_says(_said))
REST.add("GET", "/openapi.yaml", "1.12", is_open=True)(
    _says(_text('openapi: 3.0.1\ninfo:\n  title: Openfire REST API\n  version: "1.12.0"\n', "application/yaml"))
)
REST.add("GET", "/logs/security", "1.5", "1.12")(_says(listed("logs", [])))

_BOOKMARK: Final = {
    "bookmarkID": 1,
    "type": "url",
    "name": "Docs",
    "value": "https://docs.example",
    "globalBookmark": False,
    "properties": [],
}
_QUEUE_LESS: Final = {"conversations": listed("conversations", [])}
for _method, _path, _said in (
    ("GET", "/chat/{username}/messages", _QUEUE_LESS["conversations"]),
    ("GET", "/chat/{username}/pdf", Said(200, b"%PDF-1.4", "application/octet-stream")),
    ("GET", "/meet/webpush", listed("users", [])),
    ("GET", "/meet/webpush/{username}", {"publicKey": "BPub"}),
    ("PUT", "/meet/webpush/{username}/{resource}", DONE),
    ("POST", "/meet/webpush/{username}", Said(400)),  # as to each user without a subscription
    ("POST", "/meet/flash/{bridge}/{destination}", DONE),
    ("POST", "/meet/phone/{username}/{destination}", _text('{"id": "call1"}')),
    ("POST", "/meet/action/{action}/{call}", DONE),
    ("POST", "/meet/add/{username}/{bridge}", DONE),
    ("POST", "/meet/remove/{username}/{bridge}", DONE),
    ("POST", "/meet/invite/{username}/{jid}", DONE),
    ("GET", "/meet/profile/{criteria}", _text("[]")),
    ("POST", "/meet/profile", DONE),
    ("DELETE", "/meet/profile/{name}", DONE),
    ("POST", "/meet/friend", DONE),
    ("POST", "/meet/sms/{source}/{destination}", DONE),
    ("POST", "/meet/email", DONE),
    ("GET", "/ask/previewlink/{quality}/{url}", _text('{"title":"A page"}')),
    ("GET", "/ask/uport/{app}/{client}", _text("signer", "text/plain")),
    ("POST", "/ask/uport/register", _text('{"username":"new","password":"given"}')),
    ("POST", "/ask/irma/reveal/{jid}", _text("{}")),
    ("POST", "/bookmarks", _BOOKMARK),
    ("GET", "/bookmarks", listed("bookmarks", [_BOOKMARK])),
    ("GET", "/bookmarks/{id}", _BOOKMARK),
    ("PUT", "/bookmarks/{id}", _BOOKMARK),
    ("DELETE", "/bookmarks/{id}", DONE),
    ("PUT", "/bookmarks/{id}/property", _BOOKMARK),
    ("DELETE", "/bookmarks/{id}/property", _BOOKMARK),
    ("GET", "/sipaccounts", listed("accounts", [])),
    ("GET", "/sipaccounts/username/{username}", {"username": "alice", "enabled": True}),
    ("GET", "/sipaccounts/extension/{extension}", {"username": "alice", "enabled": True}),
    ("POST", "/sipaccounts", Said(201)),
    ("DELETE", "/sipaccounts/{username}", DONE),
    ("GET", "/messageblast/recievers/{from}", {}),
    ("GET", "/messageblast/senders", _text('{"help_url":"","senders":{"admin@example.org":"Administrator"}}')),
    ("POST", "/messageblast/senders", DONE),
    ("GET", "/messageblast/sentblasts", {}),
    ("GET", "/messageblast/sentblasts/{from}/{job}", {}),
    ("DELETE", "/messageblast/sentblasts/{from}/{job}", DONE),
    ("GET", "/messageblast/blasts", {}),
    ("DELETE", "/messageblast/blasts/{job}", DONE),
):
    CHAT.add(_method, _path)(_says(_said))
