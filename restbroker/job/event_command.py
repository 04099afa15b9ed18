"""Fills the arguments of a command with the members of an event that somebody posted. Pure.

`operate.handovers` calls it for sources with `Arguments`. Always holds: what stands in the configuration stays as it
is; what was posted is free text only in arguments that are message texts, and elsewhere at most one word, which never
names a host; XML can hold it, and it stands in no tag; an error repeats nothing of what was posted.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final, TypeAlias
from xml.sax.saxutils import escape

from restbroker.errors import RestbrokerError
from restbroker.job import rubyjson
from restbroker.job.command import ArgumentSpec, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.names import BODY_NAMES
from restbroker.job.template import BadTemplate, TemplateText
from restbroker.light import frozen

# What fills each argument: a text, or another value as it is.
Templates: TypeAlias = Mapping[str, TemplateText | Json]
# The characters of a member in a message, less where all its texts would be too long.
LONGEST: Final = 4000
# The bytes in XML of all texts of a message: servers take stanzas of 10,000 in any case (RFC 6120, 13.12).
MOST_BYTES: Final = 8000
_CUT: Final = "…"
# Colours and titles of a terminal, of which only the control character could not be sent.
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|.?)")
# What XML cannot hold, and what overrides the direction of the text that follows.
_UNSAID: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_WORD: Final = re.compile(r"(?!\.{1,2}\Z)[^\s\"&'/:<>@\\]{1,255}")
_XML: Final = re.compile("stanza|xml|html|element")
_TAG: Final = re.compile(r"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")
_QUOTES: Final = {'"': "&quot;", "'": "&apos;"}


class UnfitEvent(RestbrokerError):
    """No command can be made of an event."""


def refuse_foreign(name: str, text: TemplateText, spec: ArgumentSpec | None) -> None:
    """Raise `BadTemplate` if what is posted would choose the host that an argument names, or stand in a tag of XML."""
    if not text.placeholders:
        return
    place = None if spec is None else spec.host_source
    *before, last = text.filled(lambda _: "\0").split("\0")
    if _is_xml(name, text) and any(map(_is_in_tag, accumulate(before))):
        raise BadTemplate("has a member within a tag; what is posted may only be the text of an element.")
    if place in ("host", "jids") or name == "host":
        raise BadTemplate("names a host, which no sender may choose; write it here, or in each of Routes.")
    local, _, host = last.partition("@")
    is_address = place == "jid" or (not _is_free(name) and "@" in "".join((*before, last)))
    if is_address and (not host or {"@", "/"} & {*"".join(before), *local}):
        raise BadTemplate(f'is an address, whose host no sender may choose; write it here: "{{{name}}}@example.org".')


def _is_free(name: str) -> bool:
    """Tell whether an argument is a message text."""
    return name.lower() in BODY_NAMES


def _is_xml(name: str, text: TemplateText) -> bool:
    return _XML.search(name.lower()) is not None or text.filled(lambda _: "\0").lstrip().startswith("<")


def _is_in_tag(before: str) -> bool:
    """Tell whether a text of XML ends in a tag, or behind a comment, CDATA or an instruction."""
    return re.search("<[!?]", before) is not None or "<" in _TAG.sub("", before)


@frozen
class _Text:
    """The text of an argument, by lines, and what was posted for its members, which is escaped where it `is_xml`."""

    lines: Sequence[TemplateText]
    posted: Mapping[str, str | None]
    is_xml: bool

    def written(self, most: int | None) -> str:
        """Return the text with at most so many characters of each member; a cut shows."""

        def value_of(name: str) -> str:
            text = self.posted[name] or ""
            text = text if most is None or len(text) <= most else text[:most] + _CUT
            return escape(text, _QUOTES) if self.is_xml else text

        return "\n".join(line.filled(value_of) for line in self.lines)

    def size(self, most: int) -> int:
        """Return the bytes of this in XML."""
        text = self.written(most)
        return len((text if self.is_xml else escape(text, _QUOTES)).encode())


def fill(
    templates: Templates, spec: CommandSpec, members: Mapping[str, Json], *, is_message: bool = True
) -> dict[str, Json]:
    """Return the command's arguments; raise `UnfitEvent` if the event lacks what they need, or has what they refuse.

    The texts of a message are cut where they are too long for servers of XMPP.
    """
    texts: dict[str, _Text] = {}
    for name, template in templates.items():
        if isinstance(template, TemplateText) and (text := _text(name, template, spec.argument(name), members)):
            texts[name] = text
    most = _most_of_each([text for name, text in texts.items() if _is_free(name)]) if is_message else None
    said = {name: text.written(most if _is_free(name) else None) for name, text in texts.items()}
    return {name: value for name, value in {**templates, **said}.items() if not isinstance(value, TemplateText)}


def _text(name: str, text: TemplateText, argument: ArgumentSpec | None, members: Mapping[str, Json]) -> _Text | None:
    """Return the text without those lines of which nothing is there; None if all of it may be missing, and is."""
    posted = {member.name: _said(members.get(member.name)) for member in text.placeholders}
    is_free, is_xml = _is_free(name), _is_xml(name, text)
    if posted and not any(posted.values()):
        may_be_missing = argument is None or argument.optional
        if not (may_be_missing or is_free) or not all(member.optional for member in text.placeholders):
            raise UnfitEvent(f"It has no {' or '.join(posted)}, of which the argument {name} is made.")
        if may_be_missing:
            return None
    is_address = not is_free and "@" in text.filled(lambda _: "")
    if not (is_free or all(value is None or _is_word(value, is_address=is_address) for value in posted.values())):
        only = ", of ASCII alone" if is_address else ""
        chars = "\" & ' / : < > @ \\"
        raise UnfitEvent(f"The argument {name} takes only a word of it{only}, without blanks and any of {chars}.")

    def stays(line: TemplateText) -> bool:
        # An element may begin in one line and end in another.
        return is_xml or not line.placeholders or any(posted[member.name] for member in line.placeholders)

    return _Text([line for line in text.lines if stays(line)], posted, is_xml)


def _is_word(text: str, *, is_address: bool) -> bool:
    """Tell whether a text is a word, also as servers read it: to them a full-width @ is an @.

    Which other letters an address may have differs from server to server, and what one refuses would be a dead job.
    """
    plain = unicodedata.normalize("NFKC", text)
    return plain.isprintable() and _WORD.fullmatch(plain) is not None and (text.isascii() or not is_address)


def _said(value: Json) -> str | None:
    """Return a member as a text that can be sent; None for one that is missing or empty, an object or a list."""
    if value is None or isinstance(value, Mapping | list):
        return None
    text = value if isinstance(value, str) else rubyjson.dumps(value).decode()
    return _UNSAID.sub("", _ESCAPES.sub("", text)).replace("\r\n", "\n").replace("\r", "\n").strip() or None


def _most_of_each(texts: Sequence[_Text]) -> int:
    """Return how many characters each member may have so that all texts together fit."""

    def size(most: int) -> int:
        return sum(text.size(most) for text in texts)

    return LONGEST if size(LONGEST) <= MOST_BYTES else bisect_right(range(1, LONGEST), MOST_BYTES, key=size)
