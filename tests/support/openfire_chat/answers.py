"""What a real ofchat was recorded to answer and to emit, found by a request or by a name.

Used by the rest of this folder, which makes up no status, header or body of its own. Always holds: a name that was
recorded stands for any other in its place, in a path, an answer and an event; of a command that was recorded twice, the
one that was done is the answer to it.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Final
from xml.sax.saxutils import escape

import attrs

from tests.support.player import FOLDER, Exchange, recorded
from tests.support.receiver import Received

CHAT: Final = "/rest/api/restapi/v1"
_VERSION: Final = "openfire-chat/0.9.6"
_NAMES: Final = {
    *("juliet", "nurse", "romeo", "nurse%40example.org", "juliet%40example.org", "balcony", "lovers", "love"),
    *("ofchat1", "o1", "mood", "composing"),
}
"""Segments of recorded paths that stand for any other."""
STANZAS: Final = "chatapi.xmpp"


@attrs.frozen
class Route:
    """A path with any names in it, and what is answered there."""

    pattern: re.Pattern[str]
    exchange: Exchange

    @property
    def literal(self) -> int:
        """How much of it is no name."""
        return len(self.pattern.pattern.replace("([^/]+)", ""))


def _read(*files: str) -> list[Exchange]:
    return recorded(*(f"{_VERSION}/{file}" for file in files))


def _routes() -> list[Route]:
    """Return those of the commands: what was done before what was refused, and the path with fewer names first."""
    exchanges = sorted(_read("commands", "unrecorded", "filled"), key=lambda one: one.status)
    routes = [
        Route(re.compile(_pattern(exchange.path.partition("?")[0])), exchange)
        for exchange in exchanges
        if exchange.command
    ]
    return sorted(routes, key=lambda route: -route.literal)


def _pattern(path: str) -> str:
    return "/".join("([^/]+)" if part in _NAMES else re.escape(part) for part in path.split("/"))


_ROUTES: Final = _routes()
_NAMED: Final = {exchange.about: exchange for exchange in _read("commands", "quoted", "filled")}


def _put(text: str, others: Mapping[str, str]) -> str:
    """All at once, the longest first: no value is taken for a name."""
    if not others:
        return text
    names = "|".join(map(re.escape, sorted(others, key=len, reverse=True)))
    return re.sub(names, lambda found: others[found[0]], text)


def find(request: Received) -> tuple[Exchange, tuple[str, ...]] | None:
    """Return what was recorded of this method and path, and the names in it; None where nothing was."""
    path = request.path.removesuffix("/")
    for route in _ROUTES:
        if route.exchange.method == request.method and (found := route.pattern.fullmatch(path)):
            return route.exchange, found.groups()
    return None


def named(about: str, **names: str) -> Exchange:
    """Return the recorded answer of this name, with these names in the place of its own."""
    exchange = _NAMED[about]
    return attrs.evolve(exchange, answer=_put(exchange.answer, names))


REFUSED: Final = named("a stream that is not there, or a room that it did not ask for")
"""What is said whatever is wrong: the handlers' own words are lost on the way."""


@attrs.frozen
class Event:
    """What a user is sent about one thing: the stanza, and the typed events in words that are not escaped."""

    values: Mapping[str, str]
    stanza: str
    typed: tuple[tuple[str, str], ...]

    def frames(self, **values: str) -> Iterator[tuple[str, str]]:
        """Return name and data of each event, with these values in the place of the recorded ones."""
        others = {self.values[name]: value for name, value in values.items()}
        # An element stands there as it is, and a text coded.
        coded = {old: new for old, new in others.items() if old.startswith("<")}
        coded |= {escape(old): escape(new) for old, new in others.items() if not old.startswith("<")}
        stanza = _put(self.stanza, coded).replace("<status>null</status>", "")
        yield STANZAS, f'{{"xmpp": "{base64.b64encode(stanza.encode()).decode()}"}}'
        yield from ((name, _put(data, others)) for name, data in self.typed)


EVENTS: Final = {
    event["about"]: Event(event["values"], event["stanza"], tuple((name, data) for name, data in event["events"]))
    for event in json.loads((FOLDER / _VERSION / "events.json").read_text("utf-8"))["events"]
}
