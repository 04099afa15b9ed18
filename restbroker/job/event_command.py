"""Fills the arguments of a command with the members of an event that somebody posted. Pure.

`operate.handovers` calls it for sources with `Arguments`. Always holds: what stands in the configuration stays as it
is; what was posted is free text only in arguments that are message texts, and elsewhere at most one word, which never
names a host; XML can hold it, and it stands in no tag; an error repeats nothing of what was posted.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias
from xml.sax.saxutils import escape, unescape

import attrs

from restbroker.errors import RestbrokerError
from restbroker.job import rubyjson
from restbroker.job.command import ArgumentSpec, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.names import BODY_NAMES
from restbroker.job.template import BadTemplate, Placeholder, TemplateText

# What fills each argument: a text, or another value as it is.
Templates: TypeAlias = Mapping[str, TemplateText | Json]
# The characters of a member in a message, so that none takes the place of all the others.
LONGEST: Final = 4000
# The bytes in XML of all texts of a message: servers take stanzas of 10,000 in any case (RFC 6120, 13.12).
MOST_BYTES: Final = 8000
_CUT: Final = "…"
# The most bytes in XML that a character takes: a quote.
_WIDEST: Final = len("&quot;")
# Colours and titles of a terminal, of which only the control character could not be sent.
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|.?)")
# What XML cannot hold, and what overrides the direction of the text that follows.
_UNSAID: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_WORD: Final = re.compile(r"[^\s\"&'/:<>@\\]{1,255}")
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
    literals = [part if isinstance(part, str) else "" for part in text.parts]
    before = ("".join(literals[:number]) for number, part in enumerate(text.parts) if isinstance(part, Placeholder))
    if _is_xml(name, text) and any(map(_is_in_tag, before)):
        raise BadTemplate("has a member within a tag; what is posted may only be the text of an element.")
    if place in ("host", "jids") or name == "host":
        raise BadTemplate("names a host, which no sender may choose; write it here, or in each of Routes.")
    is_address = place == "jid" or (not _is_free(name) and "@" in "".join(literals))
    local, _, host = literals.pop().partition("@")
    if is_address and (not host or {"@", "/"} & {*"".join(literals), *local}):
        raise BadTemplate(f'is an address, whose host no sender may choose; write it here: "{{{name}}}@example.org".')


def _is_free(name: str) -> bool:
    """Tell whether an argument is a message text."""
    return name.lower() in BODY_NAMES


def _is_xml(name: str, text: TemplateText) -> bool:
    first = next(iter(text.parts), "")
    return _XML.search(name.lower()) is not None or (isinstance(first, str) and first.lstrip().startswith("<"))


def _is_in_tag(before: str) -> bool:
    """Tell whether a text of XML ends in a tag, or behind a comment, CDATA or an instruction."""
    return re.search("<[!?]", before) is not None or "<" in _TAG.sub("", before)


@attrs.frozen
class _Text:
    """The text of an argument, by lines, and what was posted for its members, which is escaped where it `is_xml`."""

    lines: Sequence[Sequence[str | Placeholder]]
    posted: Mapping[str, str | None]
    is_xml: bool

    def written(self, most: int | None) -> str:
        """Return the text; each member has at most so many bytes in XML."""
        said = {name: "" if text is None else _cut(text, most) for name, text in self.posted.items()}
        if self.is_xml:
            said = {name: _escaped(text) for name, text in said.items()}
        lines = ("".join(part if isinstance(part, str) else said[part.name] for part in line) for line in self.lines)
        return "\n".join(lines)


def fill(
    templates: Templates, spec: CommandSpec, members: Mapping[str, Json], *, is_message: bool = True
) -> dict[str, Json]:
    """Return the command's arguments; raise `UnfitEvent` if the event lacks what they need, or has what they refuse.

    The texts of a message are cut where they are too long for servers of XMPP.
    """
    filled: dict[str, Json | _Text] = {}
    for name, template in templates.items():
        if not isinstance(template, TemplateText):
            filled[name] = template
        elif text := _text(name, template, spec, members, LONGEST if is_message else None):
            filled[name] = text
    said = {name: value.written(None) if isinstance(value, _Text) else value for name, value in filled.items()}
    texts = {name: value for name, value in filled.items() if isinstance(value, _Text) and _is_free(name)}
    # Nearly all fit without a look at their bytes.
    if not is_message or sum(len(str(said[name])) for name in texts) * _WIDEST <= MOST_BYTES:
        return said
    most = _most_of_each([*texts.values()])
    return {**said, **{name: text.written(most) for name, text in texts.items()}}


def _text(
    name: str, text: TemplateText, spec: CommandSpec, members: Mapping[str, Json], longest: int | None
) -> _Text | None:
    """Return the text without those lines of which nothing is there; None if all of it may be missing, and is."""
    posted = {member.name: _said(members.get(member.name), longest) for member in text.placeholders}
    is_free, is_xml = _is_free(name), _is_xml(name, text)
    if posted and not any(posted.values()):
        argument = spec.argument(name)
        may_be_missing = argument is None or argument.optional
        if not (may_be_missing or is_free) or not all(member.optional for member in text.placeholders):
            raise UnfitEvent(f"It has no {' or '.join(posted)}, of which the argument {name} is made.")
        return None if may_be_missing else _Text((), {}, is_xml)
    if not (is_free or all(value is None or _is_word(value) for value in posted.values())):
        raise UnfitEvent(f"The argument {name} takes only a word of it, without blanks and any of \" & ' / : < > @ \\.")

    def stays(line: Sequence[str | Placeholder]) -> bool:
        values = [posted[part.name] for part in line if isinstance(part, Placeholder)]
        # An element may begin in one line and end in another.
        return is_xml or not values or any(values)

    return _Text([line for line in text.lines if stays(line)], posted, is_xml)


def _is_word(text: str) -> bool:
    """Tell whether a text is a word, also as servers read it: to them a full-width @ is an @."""
    plain = unicodedata.normalize("NFKC", text)
    return plain.isprintable() and _WORD.fullmatch(plain) is not None


def _said(value: Json, longest: int | None) -> str | None:
    """Return a member as a text that can be sent; None for one that is missing or empty, an object or a list."""
    if value is None or isinstance(value, Mapping | list):
        return None
    text = value if isinstance(value, str) else rubyjson.dumps(value).decode()
    text = _UNSAID.sub("", _ESCAPES.sub("", text)).replace("\r\n", "\n").replace("\r", "\n").strip()
    return (text if longest is None or len(text) <= longest else text[:longest] + _CUT) or None


def _most_of_each(texts: Sequence[_Text]) -> int | None:
    """Return how many bytes each member may have so that all texts together fit; None: they do."""

    def size(most: int | None) -> int:
        written = ((text.written(most), text.is_xml) for text in texts)
        return sum(len((text if is_xml else _escaped(text)).encode()) for text, is_xml in written)

    return None if size(None) <= MOST_BYTES else bisect_right(range(MOST_BYTES), MOST_BYTES, key=size) - 1


def _cut(text: str, most: int | None) -> str:
    """Return the text of at most so many bytes in XML; it is cut at a character, and shows that it was."""
    written = _escaped(text).encode() if most is not None else b""
    if most is None or len(written) <= most:
        return text
    kept = written[: max(0, most - len(_CUT.encode()))].decode(errors="ignore")
    begun = kept.rfind("&")
    whole = kept if begun < 0 or ";" in kept[begun:] else kept[:begun]
    return unescape(whole, {entity: quote for quote, entity in _QUOTES.items()}) + _CUT


def _escaped(text: str) -> str:
    return escape(text, _QUOTES)
