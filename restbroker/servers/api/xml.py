"""Reads XML that comes from outside: stanzas, also those of jobs, and what programs post. Pure.

Always holds: no entity is resolved; the time grows with the text; an error repeats nothing of it.
"""

from typing import Final
from xml.etree import ElementTree as ET
from xml.parsers import expat

from restbroker.job.json_types import Json
from restbroker.job.xml_text import fits_xml
from restbroker.light import define, field

_DEPTH: Final = 100


@define(eq=False)
class Element:
    """One element, its name as it was written; `inner` has its texts and elements in their order."""

    name: str
    attributes: dict[str, str]
    inner: list["Element | str"] = field(factory=list)

    @property
    def children(self) -> list["Element"]:
        """The elements directly in it."""
        return [part for part in self.inner if isinstance(part, Element)]

    @property
    def text(self) -> str:
        """The text directly in it, without that of its elements."""
        return "".join(part for part in self.inner if isinstance(part, str))

    def child(self, name: str) -> "Element | None":
        """Return the first element of this name directly in it; None if there is none."""
        return next((child for child in self.children if child.name == name), None)


class UnreadableXml(ValueError):
    """A text cannot be read; the error's own says why, and repeats nothing of it."""


def read(text: str) -> Element:
    """Return the element; raise `UnreadableXml`, whose text repeats nothing of it."""
    names = expat.ParserCreate("utf-8", namespace_separator=" ")  # refuses prefixes that stand for nothing
    parser = expat.ParserCreate("utf-8")
    top, path = list[Element](), list[Element]()

    def start(name: str, attributes: dict[str, str]) -> None:
        element = Element(name, attributes)
        (path[-1].inner if path else top).append(element)
        path.append(element)
        if len(path) > _DEPTH:
            raise UnreadableXml(f"nests elements deeper than {_DEPTH}")

    def characters(words: str) -> None:
        path[-1].inner.append(words)

    def refuse(*_: object) -> None:
        raise UnreadableXml("has a document type or an instruction")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _name: path.pop()
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = parser.ProcessingInstructionHandler = refuse
    try:
        data = text.encode()
        parser.Parse(data, True)
        names.Parse(data, True)
    except expat.ExpatError as error:
        why = expat.errors.messages[error.code]
        raise UnreadableXml(f"is not well-formed: {why} (line {error.lineno}, column {error.offset + 1})") from None
    except UnicodeEncodeError:
        raise UnreadableXml("has half a character") from None
    return top[0]


def read_message(stanza: Json) -> ET.Element | None:
    """Return the message that this text is; None if it is none, or has a document type, since one may expand."""
    if not isinstance(stanza, str) or "<!DOCTYPE" in stanza or not fits_xml(stanza):
        return None
    try:
        root = ET.fromstring(stanza)  # noqa: S314 - no document type, so nothing to expand
    except ET.ParseError:
        return None
    return root if root.tag.rpartition("}")[2] == "message" else None


def body_in(message: ET.Element) -> str | None:
    """Return the text of the message's body; None without one."""
    return next((part.text for part in message if part.tag.rpartition("}")[2] == "body"), None)
