"""Reads messages in the shape of Slack's incoming webhooks, which most programs can post. Called by `hook`.

Always holds: pure, in a time that grows with the size of the message; the text has what Slack shows, in its order and
without its markup of links and names. Buttons, icons and the times of attachments are not said. `text` is left out only
as a whole, if each of its lines stands in blocks or attachments: beside blocks Slack shows it in notifications alone.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Final
from xml.sax.saxutils import unescape

from restbroker.job import rubyjson
from restbroker.job.json_types import Json, as_count
from restbroker.servers.event_contract import OtherShape

# The field of a form that holds the message as JSON.
FIELD: Final = "payload"
_SHAPE: Final = ("text", "attachments", "blocks")
_NOT_SLACK: Final = f"it is not in Slack's shape: JSON, or a form's field {FIELD}, with {' or '.join(_SHAPE)}"
# The attachments of a message, at most, as in Slack.
_MOST: Final = 100
# The texts of a list, at most: each on a line, they are more than a message of XMPP holds.
_MOST_PARTS: Final = 5000
# A name or a link. Other text between these signs is what a sender wrote without escapes: free < 5 and load > 9.
_MARKED: Final = re.compile(r"<(?:([@#!])([^<>|]+)|([A-Za-z][A-Za-z0-9+.-]*:[^<>|\s]+)\s*)(?:\|([^<>]*))?>")
# What Slack shows of an attachment, a block, and what is in one, in its order.
_SHOWN: Final = (
    "blocks", "child_blocks", "hero_image", "icon", "pretext", "author_name", "label", "title", "subtitle",
    "text", "body", "subtext", "description", "fields", "elements", "tasks", "details", "output", "sources", "hint",
    "accessory", "alt_text", "provider_name", "footer",
)  # fmt: skip
_KNOWN: Final = frozenset({"type", "value", "fallback", "image_url", "rows", *_SHOWN})
# The members that hold the link of another one.
_LINKS: Final = {"author_name": ("author_link",), "title": ("title_link", "title_url", "video_url"), "text": ("url",)}
# How a piece of rich text reads, by the first of these members that it has.
_PIECES: Final = {
    "text": "{}", "user_id": "@{}", "usergroup_id": "@{}", "team_id": "@{}", "channel_id": "#{}", "range": "@{}",
    "name": ":{}:", "value": "{}", "fallback": "{}", "timestamp": "{}",
}  # fmt: skip


def text_of(message: Json) -> str | None:
    """Return the text of a message; None if it has none. Raise `OtherShape` if it is no message."""
    if not isinstance(message, Mapping) or message.keys().isdisjoint(_SHAPE):
        raise OtherShape(_NOT_SLACK)
    attachments = _objects(message.get("attachments"))
    text, shown = _said(message.get("text")), _said([*_objects(message.get("blocks")), *attachments[:_MOST]])
    parts = shown if _lines(text) <= _lines(shown) else [*text, *shown]
    return "\n".join([*parts, *["…"][: len(attachments) > _MOST]]) or None


def _lines(parts: Iterable[str]) -> set[str]:
    return {line.strip() for part in parts for line in part.splitlines()} - {""}


def _objects(value: Json) -> list[Mapping[str, Json]]:
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]


def _said(value: Json) -> list[str]:
    """Return what a value says, whatever its type; nothing if null or blank. Of an image it is its text or address."""
    match value:
        case str(text):
            return [plain] if (plain := _plain(text).strip()) else []
        case list(parts):
            found = [*islice(chain.from_iterable(map(_said, parts)), _MOST_PARTS)]
            return found if len(found) < _MOST_PARTS else [*found, "…"]
        case dict() if not _KNOWN.isdisjoint(value):
            found = _shown(value) or _said(value.get("fallback"))
            return found if value.get("alt_text") else [*found, *_said(value.get("image_url"))]
        case other:
            return [] if other in (None, {}) else [rubyjson.dumps(other).decode()]


def _shown(item: Mapping[str, Json]) -> list[str]:
    """Return what Slack shows of an attachment, a block, or what is in one."""
    match item:
        case {"type": str(kind)} if kind.endswith(("button", "actions")):
            return []
        case {"type": "rich_text"}:
            return [part for piece in _objects(item.get("elements")) if (part := _joined(piece).strip())]
        case {"rows": list(rows)}:
            cells = [[" ".join(_said(cell)) for cell in row] for row in rows if isinstance(row, list)]
            return [*_said(item.get("caption")), *map(" | ".join, cells)]
        case {"value": value} if "text" not in item:
            # A field of an attachment.
            named = (" ".join(_said(item.get("title"))), ", ".join(_said(value)))
            return [": ".join(filter(None, named))] if any(named) else []
    found: list[str] = []
    for name in [name for name in _SHOWN if name in item]:
        said = _said(item[name])
        if name in _LINKS and said and (link := _said([item.get(member) for member in _LINKS[name]])):
            # Of several texts with one link it is said once: a small post may not become a large text.
            said = [_linked(" ".join(said), link[0])]
        found += said
    return found


def _joined(element: Mapping[str, Json]) -> str:
    """Return an element of rich text as it reads; nothing in it is markup."""
    pieces = [_joined(piece) for piece in _objects(element.get("elements"))]
    if element.get("type") == "rich_text_list":
        mark = "{}. " if element.get("style") == "ordered" else "• "
        first = 1 + min(as_count(element.get("offset")), 999)
        return "\n".join(mark.format(number) + piece.strip() for number, piece in enumerate(pieces, first))
    if isinstance(at_s := element.get("timestamp"), int | float) and 0 <= at_s < 1e11:
        element = {**element, "timestamp": f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"}
    said = [form.format(element[name]) for name, form in _PIECES.items() if element.get(name) not in (None, "")]
    text, url = "".join(pieces or said[:1]), str(element.get("url") or "")
    return _linked(text or url, url or text)


def _plain(text: str) -> str:
    """Return a text without Slack's markup: `<URL|label>` is "label (URL)", `<!here>` is "@here"."""
    return unescape(_MARKED.sub(_unmarked, text))


def _unmarked(found: re.Match[str]) -> str:
    sign, what, label = found[1], found[2] or found[3], (found[4] or "").strip()
    if sign == "!" and what.startswith("date^"):
        # <!date^SECONDS^FORMAT^URL|label>, with or without the URL.
        return _linked(label or what, "".join(what.split("^", 3)[3:]) or label or what)
    if sign:
        return ("#" if sign == "#" else "@") + (label or what.rpartition("^")[2]).removeprefix("@")
    return _linked(label or what, what)


def _linked(label: str, link: str) -> str:
    return link if label == link else f"{label} ({link})"
