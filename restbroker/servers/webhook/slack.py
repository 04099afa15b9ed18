"""Reads messages in the shape of Slack's incoming webhooks, which most programs can post. Called by `hook`.

Always holds: pure; the text has what Slack shows, without Slack's markup of links and names, in Slack's order: the
text, then each attachment; blocks count only where nothing else says anything.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final
from xml.sax.saxutils import unescape

from restbroker.job.json_types import Json
from restbroker.servers.event_contract import OtherShape

# The field of a form that holds the message as JSON.
FIELD: Final = "payload"
_SHAPE: Final = ("text", "attachments", "blocks")
_NOT_SLACK: Final = f"it is not in Slack's shape: JSON, or a form's field {FIELD}, with {' or '.join(_SHAPE)}"
# The attachments of a message, at most, as in Slack.
_MOST: Final = 100
# A name or a link. Other text between these signs is what a sender wrote without escapes: free < 5 and load > 9.
_MARKED: Final = re.compile(r"<(?:([@#!])([^<>|]+)|([A-Za-z][A-Za-z0-9+.-]*:[^<>|\s]+)\s*)(?:\|([^<>]*))?>")


def text_of(message: Json) -> str | None:
    """Return the text of a message; None if it has none. Raise `OtherShape` if it is no message."""
    if not isinstance(message, Mapping) or message.keys().isdisjoint(_SHAPE):
        raise OtherShape(_NOT_SLACK)
    found = _objects(message.get("attachments"))
    attachments, cut = found[:_MOST], ["…"] if len(found) > _MOST else []
    said = [*_texts(message, "text"), *(part for attachment in attachments for part in _attached(attachment))]
    parts = said or _texts_in([part.get("blocks") for part in (message, *attachments)])
    return "\n".join([*(_plain(part).strip() for part in parts), *cut]) or None


def _attached(attachment: Mapping[str, Json]) -> list[str]:
    """Return what an attachment says: its `fallback` only if it has nothing else."""
    title, link = _texts(attachment, "title"), _texts(attachment, "title_link")
    found = _texts(attachment, "pretext")
    found += map(_linked, title, link or title)
    found += _texts(attachment, "text")
    for field in _objects(attachment.get("fields")):
        if said := _texts(field, "title", "value"):
            found.append(": ".join(said))
    return found or _texts(attachment, "fallback")


def _objects(value: Json) -> list[Mapping[str, Json]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _texts(message: Mapping[str, Json], *names: str) -> list[str]:
    return [value for value in map(message.get, names) if isinstance(value, str) and value.strip()]


def _texts_in(blocks: Json) -> Iterator[str]:
    """Yield the texts in blocks, except those of buttons."""
    match blocks:
        case {"type": "actions"}:
            pass
        case {"text": str(text)} if text.strip():
            yield text
        case Mapping() | list():
            for value in blocks.values() if isinstance(blocks, Mapping) else blocks:
                yield from _texts_in(value)


def _plain(text: str) -> str:
    """Return a text without Slack's markup: `<URL|label>` is "label (URL)", `<!here>` is "@here"."""
    return unescape(
        _MARKED.sub(lambda found: _unmarked(found[1], found[2] or found[3], (found[4] or "").strip()), text)
    )


def _unmarked(sign: str | None, what: str, label: str) -> str:
    if sign:
        return ("#" if sign == "#" else "@") + (label or what).removeprefix("@")
    return _linked(label or what, what)


def _linked(label: str, link: str) -> str:
    return link if label == link else f"{label} ({link})"
