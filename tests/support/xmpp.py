# ruff: noqa: SLF001 - privates of slixmpp: its reader
"""XMPP clients (slixmpp) that log in to a real server and note what comes to them. For tests beside a real Prosody.

slixmpp lives on asyncio, so all clients of one `Clients` run in a thread of its own; everything here may be called from
a test with or without Trio: `wait_for…` blocks, `awaited_number` does not.

Always holds: what was received stays in the list; a waiter is woken by the event, and fails naming what was missing.
Nothing is checked on the way in: contacts are as the server pushed them.
"""

import asyncio
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, Generic, Literal, Self, TypeVar

import attrs
import trio
from slixmpp import JID, ClientXMPP, Iq
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath, StanzaPath
from slixmpp.xmlstream.stanzabase import StanzaBase

from tests.support.prosody import PASSWORD

T = TypeVar("T")
R = TypeVar("R")
_NEVER_S: Final = 180.0
_ROSTER: Final = "{jabber:iq:roster}"
_CLIENT: Final = "{jabber:client}"


@attrs.frozen
class Contact:
    """A contact as the server sends it; `subscription` is `remove` in a push that takes it away."""

    jid: str
    name: str | None = None
    groups: frozenset[str] = frozenset()
    subscription: str = "both"


@attrs.frozen
class Presence:
    """The news that a user is there, or not (`unavailable`)."""

    sender: str
    kind: str


@attrs.frozen
class Message:
    """A message; `kind` is its type, `condition` the error's where it is one."""

    sender: str
    kind: str
    body: str | None
    condition: str | None


@attrs.define(eq=False)
class Received(Generic[T]):
    """What came, in order; grows from another thread."""

    _all: list[T] = attrs.field(factory=list)
    _grown: threading.Condition = attrs.field(factory=threading.Condition)

    def add(self, one: T) -> None:
        with self._grown:
            self._all.append(one)
            self._grown.notify_all()

    @property
    def all(self) -> list[T]:
        with self._grown:
            return list(self._all)

    def wait_for(self, wanted: Callable[[list[T]], R], what: str, timeout_s: float = _NEVER_S) -> R:
        """The first true answer of `wanted` to all that came so far; fails naming `what`."""
        found: list[R] = []

        def enough() -> bool:
            found[:] = [wanted(list(self._all))]
            return bool(found[0])

        with self._grown:
            assert self._grown.wait_for(enough, timeout_s), (
                f"In {timeout_s:g} s this did not happen: {what}. What came: {self._all}"
            )
        return found[0]

    def wait_for_number(self, number: int, timeout_s: float = _NEVER_S) -> list[T]:
        return self.wait_for(lambda all_: all_ if len(all_) >= number else [], f"{number} of them came", timeout_s)

    async def awaited_number(self, number: int, timeout_s: float = _NEVER_S) -> list[T]:
        """As `wait_for_number`, inside Trio."""
        return await trio.to_thread.run_sync(self.wait_for_number, number, timeout_s, abandon_on_cancel=True)


class _Stream(ClientXMPP):
    """slixmpp's client, which logs in without TLS."""

    def __init__(self, jid: str, password: str) -> None:
        super().__init__(jid, password, plugin_config={"feature_mechanisms": {"unencrypted_plain": True}})
        self.enable_direct_tls = self.enable_starttls = self.use_ipv6 = self.use_aiodns = False
        self.enable_plaintext = True


@attrs.define(eq=False)
class Client:
    """One session of one user. Made by `Clients.login`."""

    jid: str
    _stream: _Stream
    _run: Callable[[Coroutine[Any, Any, Any]], Any]
    pushes: Received[Contact] = attrs.field(factory=Received)
    presences: Received[Presence] = attrs.field(factory=Received)
    """From others; not the user's own."""
    messages: Received[Message] = attrs.field(factory=Received)

    def roster(self) -> dict[str, Contact]:
        """Asks the server for the roster, which also means that pushes come from now on. Raises TimeoutError."""
        found: dict[str, Contact] = self._run(self._ask_roster())
        return found

    def say(self, to: str, body: str, kind: Literal["chat", "groupchat"] = "chat") -> None:
        self._do(self._stream.send_message, mto=JID(to), mbody=body, mtype=kind)

    def send(self, stanza: str) -> None:
        """Sends this XML as it is."""
        self._do(self._stream.send_raw, stanza)

    def join(self, place: str) -> None:
        """Enters a room; `place` has the nick behind the slash."""
        presence = self._stream.make_presence(pto=JID(place))
        presence.append(ET.Element("{http://jabber.org/protocol/muc}x"))
        self._do(self._stream.send, presence)

    def acknowledge(self) -> None:
        """Answers each message that asks for a receipt, from now on."""
        self._do(self._stream.register_plugin, "xep_0184")

    def ask(self, to: str, query: str) -> tuple[str, str | None]:
        """Asks with an iq that has this XML in it; the type of the answer, and the condition where it is an error."""
        answer: tuple[str, str | None] = self._run(self._ask(to, query))
        return answer

    def logout(self) -> None:
        self._run(self._logout())

    async def _ask_roster(self) -> dict[str, Contact]:
        iq = self._stream.make_iq_get(queryxmlns="jabber:iq:roster")
        async with asyncio.timeout(_NEVER_S):
            answer = await iq.send(timeout=_NEVER_S + 5)  # type: ignore[no-untyped-call]
        return {contact.jid: contact for contact in _contacts(answer.xml)}

    async def _appear(self) -> None:
        """Sends presence, and returns when the server has shown it to this client itself."""
        appeared = asyncio.Event()
        own = self._stream.boundjid.full

        def look(stanza: StanzaBase) -> None:
            if stanza.xml.get("from") == own:
                appeared.set()

        self._stream.register_handler(Callback("own presence", MatchXPath(f"{_CLIENT}presence"), look))
        self._stream.send_presence()
        async with asyncio.timeout(_NEVER_S):
            await appeared.wait()
        self._stream.remove_handler("own presence")

    async def _logout(self) -> None:
        await self._stream.disconnect(wait=1.0, ignore_send_queue=True)

    def _do(self, act: Callable[..., object], *given: object, **named: object) -> None:
        async def doing() -> None:
            act(*given, **named)

        self._run(doing())

    async def _ask(self, to: str, query: str) -> tuple[str, str | None]:
        iq: Iq = self._stream.make_iq(ito=JID(to), itype="get")
        iq.append(ET.fromstring(query))  # noqa: S314 - the test wrote it
        answered: asyncio.Future[StanzaBase] = asyncio.get_running_loop().create_future()
        number = iq["id"]

        def look(stanza: StanzaBase) -> None:
            if stanza.xml.get("id") == number and not answered.done():
                answered.set_result(stanza)

        self._stream.register_handler(Callback("answer", MatchXPath(f"{_CLIENT}iq"), look))
        self._stream.send(iq)
        async with asyncio.timeout(_NEVER_S):
            answer = await answered
        self._stream.remove_handler("answer")
        return answer.xml.get("type", ""), _condition(answer.xml)

    def _listen(self) -> None:
        add = self._stream.register_handler
        add(Callback("pushes", StanzaPath("iq@type=set/roster"), self._pushed))
        add(Callback("presences", MatchXPath(f"{_CLIENT}presence"), self._note_presence))
        add(Callback("messages", MatchXPath(f"{_CLIENT}message"), self._note_message))

    def _pushed(self, stanza: StanzaBase) -> None:
        for contact in _contacts(stanza.xml):
            self.pushes.add(contact)

    def _note_presence(self, stanza: StanzaBase) -> None:
        sender = stanza.xml.get("from", "")
        if sender != self._stream.boundjid.full:
            self.presences.add(Presence(sender, stanza.xml.get("type", "available")))

    def _note_message(self, stanza: StanzaBase) -> None:
        xml = stanza.xml
        body = xml.findtext(f"{_CLIENT}body")
        self.messages.add(Message(xml.get("from", ""), xml.get("type", "normal"), body, _condition(xml)))


@attrs.define(eq=False)
class Clients:
    """Logs clients in while its `with` block runs; then all of them are logged out."""

    port: int
    host: str = "example.org"
    _loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.new_event_loop)
    _clients: list[Client] = attrs.field(factory=list)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._live, name="xmpp clients", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.logout()
        self._run(self._end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        assert self._thread is not None
        self._thread.join()

    def login(self, user: str, password: str = PASSWORD, *, roster: bool = True, resource: str = "") -> Client:
        """A new session, which has asked for its roster, unless told otherwise, and sent presence."""
        client: Client = self._run(self._log_in(f"{user}@{self.host}", password, resource))
        self._clients.append(client)
        if roster:
            client.roster()
        client._run(client._appear())
        return client

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _log_in(self, jid: str, password: str, resource: str) -> Client:
        stream = _Stream(f"{jid}/{resource}" if resource else jid, password)
        client = Client(jid, stream, self._run)
        ready = asyncio.Event()
        stream.add_event_handler("session_start", lambda _event: ready.set())
        client._listen()
        stream.connect("127.0.0.1", self.port)
        async with asyncio.timeout(_NEVER_S):
            await ready.wait()
        return client

    async def _end_tasks(self) -> None:
        mine = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not mine]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _contacts(iq: ET.Element) -> Iterator[Contact]:
    for item in iq.iterfind(f"{_ROSTER}query/{_ROSTER}item"):
        groups = frozenset(group.text or "" for group in item.iterfind(f"{_ROSTER}group"))
        yield Contact(item.get("jid", ""), item.get("name"), groups, item.get("subscription", "none"))


def _condition(stanza: ET.Element) -> str | None:
    error = stanza.find(f"{_CLIENT}error")
    if error is None:
        return None
    names = [child.tag.rpartition("}")[2] for child in error if child.tag.rpartition("}")[2] != "text"]
    return names[0] if names else "undefined-condition"
