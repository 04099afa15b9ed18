"""Frames as Openfire's Chat API writes them to the stream of a user, for tests of what becomes of them."""

import base64
from collections.abc import Iterable
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from restbroker.job.event import ServerEvent
from restbroker.servers.openfire.stream.form import Form
from restbroker.transport.stream import Frame

ANN: Final = "ann@example.org"
BOB: Final = "bob@example.org"
ROOM: Final = "tea@conference.example.org"
WORKGROUP: Final = "w@workgroup.example.org"
FULL: Final = f"{BOB}/phone"
IN_ROOM: Final = f"{ROOM}/bob"


def concatenated(body: str, sender: str = FULL) -> str:
    return f'{{"type": "chat", "to":"{ANN}", "from":"{sender}", "data":null, "body": "{body}"}}'


def coded(xml: str) -> Frame:
    return Frame("chatapi.xmpp", f'{{"xmpp": "{base64.b64encode(xml.encode()).decode()}"}}')


def stanza(body: str, sender: str = FULL, ident: str = "m1", word: str = "chat") -> Frame:
    """What the plugin sends before it."""
    head = f"<message type={quoteattr(word)} from={quoteattr(sender)} to={quoteattr(ANN)} id={quoteattr(ident)}"
    return coded(f"{head}><body>{escape(body)}</body></message>")


def message(body: str, sender: str = FULL) -> Frame:
    return Frame("chatapi.chat", concatenated(body, sender))


def presence(word: str | None = None, sender: str = FULL) -> tuple[Frame, Frame]:
    """A presence's stanza, and what the plugin makes of it: the same whether its user comes or leaves."""
    kind = "" if word is None else f' type="{word}"'
    data = f'{{"type": "presence", "to":"{ANN}", "from":"{sender}", "status":"null", "show": "available"}}'
    return coded(f'<presence from="{sender}" to="{ANN}"{kind}/>'), Frame("chatapi.presence", data)


def all_of(form: Form, frames: Iterable[Frame]) -> list[ServerEvent]:
    return [event for frame in frames if (event := form.read(frame, 1.0)) is not None]


def presences(events: Iterable[ServerEvent]) -> list[object]:
    """What `raw` says of each; the event says the same, and nothing of what is unknown."""
    found = []
    for event in events:
        assert isinstance(event.raw, dict)
        found.append(said := event.raw.get("presence"))
        assert event.presence == (None if said == "unknown" else said)
    return found


def invited(inviter: str, reason: str) -> tuple[Frame, Frame, Frame]:
    """An invitation's stanza, and the two frames that the plugin makes of it."""
    inner = (
        f'<x xmlns="http://jabber.org/protocol/muc#user"><invite from="{inviter}"><reason>{escape(reason)}</reason>'
        f'</invite><password>pw</password></x><x xmlns="jabber:x:conference" jid="{ROOM}"/>'
    )
    ends = f'"to":"{ANN}", "from":"{ROOM}", "url":"https://h:7443/meet/tea", "reason": '
    head = '{"type": "invitationReceived", '
    by_room = f'{head}"room":"{ROOM}", "inviter":"{ROOM}", {ends}"null"}}'
    whole = f'{head}"password":"pw", "room":"{ROOM}", "inviter":"{inviter}", {ends}"{reason}"}}'
    stanza = coded(f'<message from="{ROOM}" to="{ANN}">{inner}</message>')
    return stanza, Frame("chatapi.muc", by_room), Frame("chatapi.muc", whole)
