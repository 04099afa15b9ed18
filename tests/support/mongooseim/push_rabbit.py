"""MongooseIM's event pusher for RabbitMQ (`mod_event_pusher.rabbit`): exchanges, routing keys and payloads as it sends
them.

It makes what is to be published; who publishes is the test, with whatever client it has. Always holds: a payload is
JSON in UTF-8 without escapes, and comes without any AMQP property: no content type, id, time or persistence.
"""

import json
import random
from collections.abc import Mapping
from typing import Any, Final

import attrs

from tests.support.mongooseim.scalars import Jid
from tests.support.mongooseim.world import Sent

EXCHANGES: Final = ("presence", "chat_msg", "groupchat_msg")
"""Topic exchanges, neither durable nor deleted by themselves; declared when MongooseIM starts, and never again."""


@attrs.frozen
class Published:
    """One message to RabbitMQ."""

    exchange: str
    routing_key: str
    payload: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        """What goes over the line; the order of members varies."""
        members = list(self.payload.items())
        random.shuffle(members)
        return json.dumps(dict(members), ensure_ascii=False, separators=(",", ":")).encode()


def presence(user: str, *, present: bool) -> Published:
    """A session came or went; `user` is a full JID."""
    return Published("presence", Jid.read(user).bare, {"user_id": user, "present": present})


def chat(sender: str, to: str, text: str, *, is_local: bool = True) -> list[Published]:
    """A message of a local user, and the same as it is routed to one. Which comes first is not sure."""
    payload = {"to_user_id": to, "from_user_id": sender, "message": text}
    pair = [Published("chat_msg", f"{Jid.read(sender).bare}.chat_msg_sent", payload)]
    pair += [Published("chat_msg", f"{Jid.read(to).bare}.chat_msg_recv", payload)] if is_local else []
    return random.sample(pair, len(pair))


def groupchat(sender: str, room: str, nick: str, occupants: Mapping[str, str], text: str) -> list[Published]:
    """A message in a room: sent once, received once by the room and once by each occupant (full JIDs by nick)."""
    sent = {"to_user_id": room, "from_user_id": sender, "message": text}
    said = {"from_user_id": f"{room}/{nick}", "message": text}
    key = "groupchat_msg_recv"
    return [
        Published("groupchat_msg", f"{Jid.read(sender).bare}.groupchat_msg_sent", sent),
        Published("groupchat_msg", f"{room}.{key}", {**said, "to_user_id": room}),
        *(
            Published("groupchat_msg", f"{Jid.read(full).bare}.{key}", {**said, "to_user_id": full})
            for full in occupants.values()
        ),
    ]


def of(sent: Sent, *, is_local: bool = True) -> list[Published]:
    """What is published of a message: nothing of types other than chat, but also of one without a text."""
    return chat(str(sent.sender), str(sent.receiver), sent.body, is_local=is_local) if sent.kind == "chat" else []
