"""The options that a source of kind `webhook` takes beyond those of every source. Loads no Trio."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

import attrs

from restbroker.config.events import TYPE, EventSource
from restbroker.config.key import Form, Items, Names, key, word
from restbroker.config.kind import At, SourceDefaults
from restbroker.config.problems import Problems
from restbroker.config.values import BadValue
from restbroker.job.event import EVENT_MEMBERS
from restbroker.job.json_types import Json
from restbroker.light import frozen
from restbroker.servers.webhook import charset

_OURS: Final = ("source", "received_at", "raw")
"""Members that no map gives."""
_SECRETS: Final = ("header:authorization", "query:key")
_PATTERN: Final = r"/.{0,199}|header:[A-Za-z0-9-]{1,64}|query:.{1,64}|path(?::[0-9])?|=.{0,199}"
_EXPECTED: Final = (
    'a place: a JSON pointer such as "/occupant/jid" ("/message/@from" in XML), "header:X-Message-From", "query:room", '
    '"path" or "path:0" for what follows Path, "=message" for this very text, or a list of these'
)


def _read_places(value: Json) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    if not listed or not all(isinstance(item, str) and re.fullmatch(_PATTERN, item) for item in listed):
        raise BadValue(_EXPECTED, value)
    return tuple(str(item) for item in listed)


def _read_charset(value: Json) -> str:
    found = charset.known(value) if isinstance(value, str) else None
    if found is None:
        raise BadValue(f"one of {charset.LISTED}", value)
    return found


_PLACE: Final[dict[str, Json]] = {"type": "string", "pattern": f"^(?:{_PATTERN})$"}
Places: TypeAlias = Annotated[
    tuple[str, ...],
    Form("place", {"anyOf": [_PLACE, {"type": "array", "items": _PLACE, "minItems": 1}]}, _read_places),
]
"""Where a member is: the first of these places that the request has."""
Map: TypeAlias = Annotated[
    Mapping[str, Places],
    Names("places by member", r"[A-Za-z][A-Za-z0-9_]{0,63}", "a member's name of letters, digits and _"),
]
_WORD: Final = (r".{1,64}", "a word of 1 to 64 characters")
Pointers: TypeAlias = Annotated[
    tuple[str, ...],
    Items(
        "list of pointers",
        'a list of JSON pointers such as ["/occupant/email", "/all_occupants/*/email"]',
        word("pointer", r"/.{0,199}", 'a JSON pointer such as "/occupant/email"'),
    ),
]


@frozen(kw_only=True)
class Options:
    """The members of `Options` in the configuration."""

    DEFAULTS: ClassVar[SourceDefaults] = SourceDefaults(
        has_ids=False, takes_below=True, has_own_types=True, may_command=True
    )

    map: Map = key("Map", default=MappingProxyType({}))
    """Where each member of the event is: {"type": "/event_name", "from": "header:X-Message-From"}. Other names become
    further members."""
    types: Annotated[
        Mapping[str, Annotated[str, word("type", TYPE, 'a type such as "message"')]],
        Names("types by the sender's word", *_WORD),
    ] = key("Types", default=MappingProxyType({}))
    """Other words for its types: {"chat": "message"}."""
    by_type: Annotated[Mapping[str, Map], Names("maps by the sender's word", *_WORD)] = key(
        "MapByType", default=MappingProxyType({})
    )
    """More of Map for one type, by the sender's word: {"groupchat": {"room": "/message/@to"}}."""
    body: Literal["auto", "json", "form", "xml", "text"] = key("Body", default="auto")
    """What its bodies are, whatever their Content-Type says: json, form, xml, text."""
    shape: Literal["any", "slack"] = key("Shape", default="any")
    """slack: it takes what is posted to Slack's incoming webhooks, and answers as these do; body is their text."""
    charset: Annotated[str, Form("charset", {"type": "string"}, _read_charset, str)] | None = key("Charset")
    """What its texts are written in, unless a Content-Type or JSON says it: iso-8859-1, windows-1252; by default what a
    form's field charset or the XML names, else utf-8."""
    chain: bool = key("Chain", default=False)
    """Take what targets of kind http post, also of other restbrokers: only where nothing leads back."""
    drop: Pointers = key("Drop", default=())
    """What raw is not to hold: ["/occupant/email"]; * is each element."""

    def check(self, source: EventSource, at: At, problems: Problems) -> EventSource:
        """Return the source with the names of its own members.

        Refuse members that no map can give, or whose name the source or a route gives to another one.
        """
        shapes = (source.shape, *(route.shape for route in source.routes))
        taken = {name for shape in shapes for name in (*shape.fields, *shape.names.values())}
        maps = {"Map": self.map, **{f"MapByType.{word}": of_type for word, of_type in self.by_type.items()}}
        for place, name, wanted in ((place, *pair) for place, map_ in maps.items() for pair in map_.items()):
            where = at(f"Options.{place}.{name}")
            if any(member.lower() in _SECRETS for member in wanted):
                problems.refuse(where, "is where the secret is, which no event may hold.")
            if name == "type" and place != "Map":
                problems.refuse(where, "has no effect: the type is known by then; use Types.")
            if name in _OURS:
                problems.refuse(where, "is a member that restbroker itself gives; choose another name.")
            elif name in taken - {*EVENT_MEMBERS}:
                problems.refuse(where, "is also given by Fields or Names; keep one of the two.")
        if self.shape == "slack" and self.body != "auto":
            problems.refuse(at("Options.Body"), "has no effect together with Shape, which says what its bodies are.")
        if source.iq != "refuse":
            problems.refuse(at("IQ"), "has no effect: nothing that is posted here is an iq.")
        given = (name for map_ in maps.values() for name in map_)
        own = tuple(dict.fromkeys(name for name in given if name not in EVENT_MEMBERS))
        return attrs.evolve(source, more_members=own, takes_chains=self.chain)
