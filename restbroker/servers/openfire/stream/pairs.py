"""Keeps the last stanzas of a stream, and finds the one that a frame was made of. `form` has one for each stream.

The plugin writes each stanza that reaches a user, and then what it makes of it: one frame, or two that say the same.
Several of the server's threads write at once, so that anything may lie in between (measured). Always holds: pure; a
frame belongs to a stanza only if it is, letter by letter, the text that the plugin makes of that stanza; what is kept
is bounded.
"""

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

import attrs

from restbroker.servers.openfire.stream.stanza import Stanza
from restbroker.transport.stream import Frame

MOST: Final = 256
"""The most stanzas that may come before the last frame of the first: more than a server has threads that write."""
_MOST_CHARACTERS: Final = 2 * 1024 * 1024
"""The most characters of stanzas that are kept; the last stanza is kept whatever its size."""
FrameMeaning: TypeAlias = Literal["message", "invitation", "presence"]


@attrs.frozen
class Pair:
    """A frame's stanza, and what the frame says of it. `is_repeated`: an earlier frame said so, too.

    `is_certain`: no other stanza that came gives the same frame and says something else. The plugin writes the same of
    a user who comes and of one who leaves.
    """

    stanza: Stanza
    says: FrameMeaning
    is_repeated: bool
    is_certain: bool


@attrs.frozen
class _Shape:
    """What a frame looks like. With a `tail`, the address of a meeting lies in between, which only the plugin knows."""

    says: FrameMeaning
    name: str
    head: str
    tail: str | None = None

    def fits(self, name: str, text: str) -> bool:
        if name != self.name:
            return False
        if self.tail is None:
            return text == self.head
        is_long = len(text) >= len(self.head) + len(self.tail)
        return is_long and text.startswith(self.head) and text.endswith(self.tail)


@attrs.define(eq=False)
class _Entry:
    number: int
    stanza: Stanza
    due: list[_Shape]
    """The frames that have not come."""
    reported: set[FrameMeaning] = attrs.field(factory=set)
    is_certain: bool = True


@attrs.define(eq=False)
class Pairs:
    """The stanzas of one stream whose frames have not all come."""

    _entries: list[_Entry] = attrs.field(factory=list)
    """The stanzas of which a frame is due, in the order in which they came."""
    _count: int = 0
    _characters: int = 0

    def add(self, stanza: Stanza) -> None:
        """Keep a stanza that came, if frames of it are due; forget the oldest ones beyond the limits."""
        due = list(_frames(stanza))
        if not due:
            return
        self._count += 1
        self._entries.append(_Entry(self._count, stanza, due))
        self._characters += len(stanza.xml)
        while self._is_old(self._entries[0]):
            self._forget(self._entries[0])

    def _is_old(self, entry: _Entry) -> bool:
        is_large = self._characters > _MOST_CHARACTERS and len(self._entries) > 1
        return is_large or entry.number <= self._count - MOST

    def of(self, frame: Frame) -> Pair | None:
        """Return the oldest stanza that this frame may be made of, once for each frame; None if none of them fits."""
        text = _lines(frame.data)
        fitting = [one for one in self._entries if any(shape.fits(frame.name, text) for shape in one.due)]
        if not fitting:
            return None
        if len({one.stanza.word for one in fitting}) > 1 or not all(one.is_certain for one in fitting):
            for one in fitting:
                one.is_certain = False
        entry = fitting[0]
        shape = next(one for one in entry.due if one.fits(frame.name, text))
        pair = Pair(entry.stanza, shape.says, is_repeated=shape.says in entry.reported, is_certain=entry.is_certain)
        entry.reported.add(shape.says)
        entry.due.remove(shape)
        if not entry.due:
            self._forget(entry)
        return pair

    def _forget(self, entry: _Entry) -> None:
        self._entries.remove(entry)
        self._characters -= len(entry.stanza.xml)


def _frames(stanza: Stanza) -> Iterator[_Shape]:
    """Yield the frames that the plugin makes of a stanza, as its sources build them (measured)."""
    to, sender = _java(stanza.receiver), _java(stanza.sender)
    ends = f'"to":"{to}", "from":"{sender}"'
    if stanza.kind == "presence":
        head = (
            f'{{"type": "presence", {ends}, "status":"{_java(stanza.status)}", "show": "{stanza.show or "available"}"}}'
        )
        yield _Shape("presence", "chatapi.presence", _lines(head))
    elif stanza.kind == "message" and stanza.body is not None:
        name = "chatapi.muc" if stanza.word == "groupchat" else "chatapi.chat"
        head = f'{{"type": "{stanza.word or "normal"}", {ends}, '
        words = f'"body": "{stanza.body}"}}'
        yield _Shape("message", name, _lines(f'{head}"data":{_java(stanza.data)}, {words}'))
        if stanza.word == "groupchat":
            # Who asks an expert is told so as well.
            yield _Shape("message", "chatapi.ask", _lines(f'{{"type": "groupchat", {ends}, {words}'))
    if stanza.kind == "message" and stanza.word not in ("groupchat", "error"):
        yield from _of_invitation(stanza)


def _of_invitation(stanza: Stanza) -> Iterator[_Shape]:
    """Yield the frames that the plugin makes of an invitation; a user who asks an expert gets that of an offer."""
    to, sender, invitation = _java(stanza.receiver), _java(stanza.sender), stanza.invitation
    ends = f'"to":"{to}", "from":"{sender}", "url":"'
    head = '{"type": "invitationReceived", '
    if stanza.conference is not None and stanza.body is None:
        begin = f'{head}"room":"{stanza.conference}", "inviter":"{sender}", {ends}'
        yield _Shape("invitation", "chatapi.muc", _lines(begin), '", "reason": "null"}')
    if invitation is not None:
        who = f'"password":"{_java(invitation.password)}", "room":"{sender}", "inviter":"{_java(invitation.inviter)}"'
        end = f'", "reason": "{_java(invitation.reason)}"}}'
        yield _Shape("invitation", "chatapi.muc", _lines(f"{head}{who}, {ends}"), _lines(end))
        yield _Shape("invitation", "chatapi.ask", '{"type": "offer", "to":"', f'", "mucRoom": "{sender}"}}')


def _java(text: str | None) -> str:
    """Return the text, or "null" for None, as Java writes what is not there."""
    return "null" if text is None else text


def _lines(text: str) -> str:
    """Return the text with the line ends of a stream of events, which are all alike."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
