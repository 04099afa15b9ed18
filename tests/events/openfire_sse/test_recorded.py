"""What a real Openfire sent over the streams of users becomes its events, and none too many."""

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Final

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from restbroker.config.target import Target, Url
from restbroker.job.event import ServerEvent
from restbroker.servers.openfire.stream.frames import FrameReader
from restbroker.servers.openfire.stream.stanza import read_stanza
from restbroker.transport.message import Request
from restbroker.transport.stream import StreamEnded, open_stream
from tests.support.player import FOLDER
from tests.support.rows import rows

RECORDED: Final = FOLDER / "openfire-chat" / "0.9.6"
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=UTF-8\r\nConnection: close\r\n\r\n"
ANN, BOB, DAVE, EVE = (f"{name}@example.org" for name in ("ann", "bob", "dave", "eve"))
ANN_THERE, BOB_THERE = f"{ANN}/ann-1935193582", f"{BOB}/bob921243549"
DAVE_THERE, EVE_THERE = f"{DAVE}/dave1805046004", f"{EVE}/eve1695075399"
ROOM, OPEN = "room1@conference.example.org", "open1@conference.example.org"


@attrs.frozen
class Event:
    """What an application looks at. `more`: members of `raw`."""

    kind: str
    sender: str | None
    receiver: str | None
    body: str | None = None
    id: str | None = None
    more: tuple[tuple[str, object], ...] = ()


def presence(
    ident: str, sender: str, receiver: str, word: str, show: str | None = None, status: str | None = None
) -> Event:
    return Event("presence", sender, receiver, id=ident, more=(("presence", word), ("show", show), ("status", status)))


EVENTS: Final = {
    "ann": [
        presence("XyyJN-159", ANN_THERE, ANN_THERE, "available", "away", 'brb "q"'),
        presence("XyyJN-163", ANN_THERE, ANN_THERE, "available"),
        presence("XyyJN-166", f"{ROOM}/ann", ANN_THERE, "available"),
        # A broadcast names nobody.
        Event("message", "example.org", "ann@here.example", "bcast <x>"),
        presence("XyyJN-184", BOB_THERE, ANN, "unavailable"),
    ],
    "bob": [
        Event("message", ANN_THERE, BOB, "plain", "XyyJN-139"),
        Event("message", ANN_THERE, BOB, "two\nlines", "XyyJN-142"),
        Event("message", ANN_THERE, BOB, 'quote " and \\ and <b>&amp; 😀 ü', "XyyJN-145"),
        Event("message", ANN_THERE, BOB, 'with "data"', "XyyJN-147", (("data", {"body": 'with "data"', "x": [1, 2]}),)),
        Event("chatstate", ANN_THERE, BOB, id="XyyJN-149", more=(("state", "composing"),)),
        Event("message", ANN_THERE, BOB, 'x", "from":"evil@example.org', "XyyJN-152"),
        presence("XyyJN-159", ANN_THERE, BOB, "available", "away", 'brb "q"'),
        presence("XyyJN-163", ANN_THERE, BOB, "available"),
        presence("XyyJN-168", f"{ROOM}/bob", BOB_THERE, "error"),
        Event("error", ROOM, BOB_THERE, "room hello", "XyyJN-170"),
        Event("error", ROOM, BOB_THERE, "rj", "XyyJN-172", (("data", {"body": "rj", "k": 1}),)),
        Event("invitation", ROOM, BOB, 'come "now"', more=(("inviter", ANN), ("password", None))),
        Event("message", "example.org", "bob@here.example", "bcast <x>"),
        Event("notify", "admin@example.org", BOB_THERE, more=(("data", "note"),)),
        Event("message", ANN_THERE, BOB, "head", more=(("type", "headline"),)),
        presence("XyyJN-184", BOB_THERE, BOB_THERE, "unavailable"),
    ],
    "dave": [presence("z2dmH-6126", DAVE_THERE, DAVE_THERE, "unavailable")],
    "eve": [
        presence("XyyJN-248", f"{OPEN}/eve", EVE_THERE, "available"),
        Event("groupchat", f"{OPEN}/bob", EVE_THERE, 'room "hello"', "XyyJN-226"),
        Event("groupchat", f"{OPEN}/bob", EVE_THERE, "after leave", "XyyJN-237"),
    ],
    "eve2": [Event("message", "carol@example.org/carol1345708074", EVE, "nopresence", "5RFFp-5020")],
}


def event_of(event: ServerEvent, like: Event) -> Event:
    """The event, with those members of `raw` that it is compared in."""
    assert isinstance(event.raw, dict)
    return Event(event.type, event.sender, event.receiver, event.body, event.id, _members(event.raw, like))


def _members(raw: Mapping[str, object], like: Event) -> tuple[tuple[str, object], ...]:
    return tuple((name, raw.get(name)) for name, _ in like.more)


async def played(user: str, size: int | None) -> list[ServerEvent]:
    """What becomes of a user's stream that comes in pieces of this size (all at once)."""
    written = (RECORDED / f"stream_{user}.txt").read_bytes()
    pieces = [written] if size is None else [written[at : at + size] for at in range(0, len(written), size)]

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        for piece in (HEAD, *pieces):
            await stream.send_all(piece)
            await wait_all_tasks_blocked()
        await stream.aclose()

    form = FrameReader("openfire", user, "here.example")
    events: list[ServerEvent] = []
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        url = Url("http", "127.0.0.1", listener.socket.getsockname()[1])
        target = Target("chat", "openfire-chat", url, ("chat",))
        request = Request("GET", f"/sse/{user}", 30.0, headers=(("Accept", "text/event-stream"),))
        stream = await open_stream(target, request, silence_s=60.0, limit_bytes=100_000)
        with suppress(StreamEnded):
            while True:
                event = form.read(await stream.next(), 1.0)
                events += [] if event is None else [event]
        await stream.aclose()
        nursery.cancel_scope.cancel()
    return events


@rows(("user", "size"), [(user, size) for user in EVENTS for size in (None, 7)])
async def test_recorded_stream_gives_its_events_however_it_is_cut(user: str, size: int | None) -> None:
    events = await played(user, size)
    wanted = EVENTS[user]
    assert [event_of(event, like) for event, like in zip(events, wanted, strict=True)] == wanted


@rows(("user", "is_over"), [("ann", False), ("bob", True), ("dave", True), ("eve", False), ("eve2", True)])
def test_last_event_of_a_session_and_no_other_is_its_end(user: str, is_over: bool) -> None:
    written = (RECORDED / f"stream_{user}.txt").read_text("utf-8")
    stanzas = [read_stanza(coded) for coded in re.findall('"xmpp": "([^"]+)"', written)]
    *before, last = [stanza is not None and stanza.ends for stanza in stanzas]
    assert (any(before), last) == (False, is_over)
