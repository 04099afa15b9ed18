"""Reads what any program posts, as the map of its source says. A `Hook`, for the registry.

Always holds: pure; any bytes make an event or a `MalformedEvent`, whose text repeats nothing of them, in a time that
grows with their number; what the sender says decides nothing but the members of the event; an event has what `raw`
holds, even if the map finds nothing.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, groupby
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote_to_bytes

from restbroker.config.events import TYPE, EventSource
from restbroker.job import rubyjson
from restbroker.job.event import EVENT_MEMBERS, ServerEvent, bare, domain
from restbroker.job.json_types import Json
from restbroker.light import frozen
from restbroker.servers.api.xml import Element, UnreadableXml, read
from restbroker.servers.event_contract import (
    ANY_TYPE,
    USUAL_ANSWERS,
    Hook,
    HookRequest,
    MalformedEvent,
    PostAnswer,
    PostAnswers,
    PostedEvent,
    UnknownMediaType,
)
from restbroker.servers.event_json import json_of
from restbroker.servers.webhook import charset, slack
from restbroker.servers.webhook.charset import decode
from restbroker.servers.webhook.options import Options

_MOST_FIELDS: Final = 1000
# The elements of a list whose texts are one, each on a line.
_MOST_ELEMENTS: Final = 1000
_MARK: Final = re.compile(rb"\A(?:\xef\xbb\xbf|%ef%bb%bf)", re.IGNORECASE)
"""A byte-order mark, which some programs write before all else."""
_TEXT: Final = "#text"
"""The member that holds the text of an element of XML, or of a body that is a text."""
_OTHER: Final = "notify"
"""The type of an event whose sender's word can be none."""
_BodyKind: TypeAlias = Literal["json", "form", "xml", "text", "slack"]
_KINDS: Final[Mapping[str, _BodyKind]] = {"json": "json", "xml": "xml", "x-www-form-urlencoded": "form"}
"""How a body is read, by the end of its media type."""
# Grafana and Alertmanager send again what is not answered by these bytes.
_AS_SLACK: Final = PostAnswers(accepted=lambda: PostAnswer(200, b"ok", "text/plain"))


@frozen
class PostHook:
    """The hook of kind `webhook`, as `event_contract.Hook` describes it."""

    options: Options
    CONTENT_TYPE: str = ANY_TYPE

    @property
    def answers(self) -> PostAnswers:
        """How requests are answered."""
        return _AS_SLACK if self.options.shape == "slack" else USUAL_ANSWERS

    def read(self, posted: HookRequest, source: str, now_s: float) -> PostedEvent:
        """Return the posted request as an event; raise `MalformedEvent` if its body cannot be read."""
        options = self.options
        is_slack = options.shape == "slack"
        kind = "slack" if is_slack else _kind_of(posted.headers) if options.body == "auto" else options.body
        body, raw = _read_body(kind, posted, options.charset)
        message = slack.text_of(body) if is_slack else None
        find = _finder(body, posted, options.charset)
        said = _text(find(options.map.get("type", ()))) or ""
        map_ = {**options.map, **options.by_type.get(said, {})}
        given = {name: find(places) for name, places in map_.items()}
        text = {name: _text(given.get(name)) for name in EVENT_MEMBERS}
        word, receiver, room = options.types.get(said, said), text["to"], text["room"]
        number, at_server = text["id"] or None, receiver or room
        if options.drop and kind in ("xml", "text"):
            raw = None
        for pointer in options.drop:
            raw = _drop(raw, _names(pointer))
        event = ServerEvent(
            type=word if re.fullmatch(TYPE, word) else _OTHER,
            sender=text["from"],
            receiver=receiver,
            id=number,
            body=text["body"] or message,
            room=None if room is None else bare(room),
            presence=text["presence"],
            server=text["server"] or (None if at_server is None else domain(at_server)),
            source=source,
            received_at_s=now_s,
            raw=raw,
            digest=None if number else _digest(posted, map_.values()),
            place=(posted.below.encode("utf-8", "surrogateescape").decode("latin-1"), posted.query.decode("latin-1")),
            more={name: value for name, value in given.items() if name not in EVENT_MEMBERS},
        )
        return PostedEvent(event, unmapped=tuple(name for name, value in given.items() if value is None))


def open_hook(source: EventSource) -> Hook:
    """Return the hook of this source."""
    return PostHook(source.options if isinstance(source.options, Options) else Options())


def _kind_of(headers: Mapping[bytes, bytes]) -> _BodyKind:
    """Return how the body is read, by its media type; raise `UnknownMediaType` if nothing reads it."""
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    top, _, sub = media_type.partition("/")
    kind = _KINDS.get(sub.rpartition("+")[2], "text" if top == "text" else None)
    if kind is None:
        raise UnknownMediaType("its content type is none of JSON, form (urlencoded), XML and text")
    return kind


def _read_body(kind: _BodyKind, posted: HookRequest, usual: str | None) -> tuple[Json, Json]:
    """Return what pointers point into, and what is in `raw`; raise `MalformedEvent` if the body cannot be read.

    `usual`: the charset of a body whose type names none.
    """
    body = posted.body
    # Whatever the type says, it is JSON itself, or a form that has it in a field.
    if kind == "slack" and _MARK.sub(b"", body).lstrip()[:1] not in (b"{", b"["):
        body = (_fields(body, usual).get(slack.FIELD) or "{}").encode()
    if kind in ("json", "slack"):
        # In UTF-8, whatever its type says (RFC 8259, 8.1 and 11).
        value = json_of(body)
        return value, value
    told = charset.of_type(posted.headers.get(b"content-type", b"")) or usual
    if kind == "form":
        fields: dict[str, Json] = {**_fields(body, told)}
        return fields, fields
    told = told or (charset.of_xml(body) if kind == "xml" else None) or charset.UTF_8
    text = decode(body, told).removeprefix("\ufeff")
    if kind == "text":
        return {_TEXT: text}, {"text": text}
    try:
        top = read(text)
    except UnreadableXml as error:
        raise MalformedEvent(f"it {error}") from None
    return {top.name: _value_of(top)}, {"xml": text}


def _fields(form: bytes, told: str | None) -> dict[str, str]:
    """Return the fields of a form in the charset that was told, or else in the one that its field `charset` names.

    Of a name that comes twice the first counts.
    """
    if told == charset.UTF_16:
        # As a whole; its escapes are bytes, and who writes it escapes as everybody does.
        form, told = decode(form, told).encode(), charset.UTF_8
    fields = dict(reversed(_pairs(_MARK.sub(b"", form))))
    told = told or charset.named(fields.get(b"charset", b"")) or charset.UTF_8
    return {decode(name, told): decode(value, told) for name, value in fields.items()}


def _pairs(written: bytes) -> list[tuple[bytes, bytes]]:
    """Return the fields of a form or query, without their escapes."""
    parts = written.split(b"&", _MOST_FIELDS)
    if len(parts) > _MOST_FIELDS:
        raise MalformedEvent(f"its form or query has more than {_MOST_FIELDS} fields")
    split = (part.replace(b"+", b" ").partition(b"=") for part in parts if part)
    return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in split]


def _value_of(element: Element) -> Json:
    """Return an element as its text if it has nothing else, else as an object: attributes as `@name`.

    Of several elements of a name the first counts.
    """
    if not element.attributes and not element.children:
        return element.text
    found: dict[str, Json] = {f"@{name}": value for name, value in element.attributes.items()}
    for child in element.children:
        if child.name not in found:
            found[child.name] = _value_of(child)
    return {**found, _TEXT: element.text} if element.text.strip() else found


def _finder(body: Json, posted: HookRequest, usual: str | None) -> Callable[[Sequence[str]], Json]:
    """Return a function that returns the value at the first of some places that the request has; None at none.

    It raises `MalformedEvent` for a value that is not in the charset `usual`.
    """
    below = posted.below.encode("utf-8", "surrogateescape")
    # Nobody writes a head in UTF-16.
    told = charset.UTF_8 if usual in (None, charset.UTF_16) else usual

    def at(place: str) -> Json:
        if place.startswith("="):
            return place[1:]
        kind, _, rest = place.partition(":")
        found: Sequence[bytes | None]
        match kind:
            case "header":
                found = [posted.headers.get(rest.lower().encode())]
            case "query":
                found = [value for name, value in _pairs(posted.query) if name.decode(told, "surrogateescape") == rest]
            case _:
                found = below.split(b"/")[int(rest) :] if below and rest else [below or None]
        value = next(iter(found), None)
        return None if value is None else decode(value, told, f"{place} (Map)")

    def find(places: Sequence[str]) -> Json:
        runs = groupby(places, lambda place: place.startswith("/"))
        values = ([_point(body, map(_names, run))] if are_pointers else map(at, run) for are_pointers, run in runs)
        return next((value for value in chain.from_iterable(values) if value is not None), None)

    return find


def _point(value: Json, pointers: Iterable[Sequence[str]], *, as_line: bool = False) -> Json:
    """Return the value at the first of these places that has one; `as_line`: its text, if it is one and not blank.

    At `*` it is the texts of all elements of a list, a line for each: of each at the first place that it has.
    """
    for name, same in groupby(pointers, lambda names: names[0] if names else None):
        rests, found = [names[1:] for names in same], None
        match value:
            case _ if name is None:
                # Git forges end the text of a commit with a newline.
                found = ((_text(value) or "").strip() or None) if as_line else value
            case list() if name == "*":
                lines = [_point(element, rests, as_line=True) for element in value[:_MOST_ELEMENTS]]
                lines += ["…"] if len(value) > _MOST_ELEMENTS else []
                found = "\n".join(str(line) for line in lines if line is not None) or None
            case Mapping():
                found = _point(value.get(name), rests, as_line=as_line)
            case list() if re.fullmatch("[0-9]{1,6}", name) and int(name) < len(value):
                found = _point(value[int(name)], rests, as_line=as_line)
        if found is not None:
            return found
    return None


def _names(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _text(value: Json) -> str | None:
    """Return a value as the text of an event's member; None for an object or a list, which is none."""
    match value:
        case str(text) | {"#text": str(text)}:
            return text
        case Mapping() | Sequence() | None:
            return None
        case number:
            return rubyjson.dumps(number).decode()


def _drop(value: Json, names: Sequence[str]) -> Json:
    """Return a copy of the value without what is at these names; `*` stands for each element or member."""
    first, rest = names[0], names[1:]

    def kept(name: str, one: Json) -> list[Json]:
        if first not in (name, "*"):
            return [one]
        return [_drop(one, rest)] if rest else []

    match value:
        case Mapping():
            return {name: left for name, member in value.items() for left in kept(name, member)}
        case list():
            return [left for number, item in enumerate(value) for left in kept(str(number), item)]
        case _:
            return value


def _digest(posted: HookRequest, map_: Iterable[Sequence[str]]) -> str:
    """Return what is equal if the same is posted again, as far as this map reads it."""
    kinds = (place.lower().partition(":") for places in map_ for place in places)
    names = sorted({name.encode() for kind, _, name in kinds if kind == "header"} & posted.headers.keys())
    headers = (b"%s:%s" % (name, posted.headers[name]) for name in names)
    return hashlib.sha256(b"\n".join((posted.raw_path, posted.query, *headers, b"", posted.body))).hexdigest()
