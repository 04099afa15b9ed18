"""Fields in texts of any notation: one member says what the field is called, another what it holds.

`{key: "password", value: "x"}` of GraphQL and of JSON that is cut, `- name: password` of YAML with its value on a line
of its own, `fields[0][var]=password&fields[0][values][0]=x` of forms. Used by `job.structured`. Always holds: nothing
here raises, and the time grows with the length alone, whatever the text is.
"""

import re
from collections.abc import Iterator
from typing import Final, TypeAlias
from urllib.parse import unquote_plus

import attrs

from restbroker.job.names import NAMING, PRIVATE, VALUES, bare, is_secret

# A text in quotes, which may be cut, or a variable of GraphQL alone.
QUOTED: Final = (
    r""""{3}(?s:.*?)(?:"{3}|\Z)|"[^"\\]*+(?:\\(?s:.)[^"\\]*+)*+(?:"|\\?\Z)|(?:'[^']*+(?:'|\Z))++|\$\w++(?![^\s,)}\]])"""
)
# What opens or closes a group, an item of a list of YAML, and the name of a member with what stands behind it.
_TOKEN: Final = re.compile(
    r"""(?P<opens>[{(])|(?P<closes>[})])|(?m:^)(?P<item>[ \t]*+-[ \t])"""
    r"""|(?<![\w.%$-])(?P<word>[\w-]{1,16}+)["']?(?P<sign>[ \t]*+(?:=>|[:=])(?:[ \t]*+(?:\r?\n[ \t]*+-[ \t]++)?+))"""
)
# What a field is called; where blanks may be part of it, nothing else stands behind it.
_CALLED: Final = re.compile(rf"""{QUOTED}|[^\s=<>{{}}\[\]()"'&?,;]++""")
_CALLED_ALONE: Final = re.compile(rf"""(?:{QUOTED}|[^\s=<>{{}}\[\]()"'&?,;]++)(?![ \t]*+[^\s=<>{{}}\[\]()"'&?,;])""")
# What it holds, in a query or the like, within brackets, in a list or on a line.
_IN_QUERY: Final = re.compile(rf"""{QUOTED}|[^\s&;"'<>{{\[][^\s&;"<>]*+""")
_WITHIN: Final = {
    opening: re.compile(rf"""{QUOTED}|[^\s"'<>{{}}\[\]|][^\n,{closing}]*+""")
    for opening, closing in (("{", "}"), ("(", ")"), ("[", "\\]"))
}
_ON_LINE: Final = re.compile(rf"""{QUOTED}|[^\s"'<>{{}}\[\],|][^\n]*+""")
_ALONE: Final = re.compile(r"(?m)[^\n=]*+$")
_LISTED: Final = re.compile(r"\[\s*+")
_BETWEEN: Final = re.compile(r"[\s,]*+")
_NEAR: Final = 1000
"""So many characters apart two members that no brackets hold together are not of one field."""
_ITEM: Final = re.compile(r"""(?:(?<=[?#&;,({\s"'])|^)([\w.%\[\]+-]++)=([^\s&;"'<>][^\s&;"<>]*+)""")
_STEP: Final = re.compile(r"[\w-]+")
_NAME: Final = re.compile(r"""[^\s=<>{}"'&?,;]{1,80}""")
_Place: TypeAlias = int | tuple[str, ...]
"""How deep in brackets a field is, or the steps of a form's names that lead to it."""


@attrs.define(eq=False)
class _Field:
    """What is known of a field so far. `is_within`: it is in one that is secret, and not named itself yet; `waiting`:
    what it holds, as long as nothing says that this is secret.
    """

    is_secret: bool = False
    is_within: bool = False
    members: set[str] = attrs.field(factory=set)
    last: str = ""
    end: int = 0
    waiting: list[str] = attrs.field(factory=list)

    def told(self) -> list[str]:
        """What it holds, if that is secret; each once."""
        found, self.waiting = (self.waiting, []) if self.is_secret or self.is_within else ([], self.waiting)
        return found


@attrs.define(eq=False)
class _Fields:
    """Those that have begun."""

    known: dict[_Place, _Field] = attrs.field(factory=dict)

    def at(self, place: _Place) -> _Field:
        """The field there. One that begins within another is secret with it."""
        if place not in self.known:
            around = self.known.get(place - 1) if isinstance(place, int) else None
            self.known[place] = _Field(is_within=around is not None and (around.is_secret or around.is_within))
        return self.known[place]

    def take(self, place: _Place, word: str, value: str) -> list[str]:
        """What is known to be secret with this member. One that comes again begins another field."""
        field = self.at(place)
        # Twice, one behind the other, it is a list of what the field holds.
        if word in field.members and word != field.last:
            field = self.known[place] = _Field()
        field.members.add(word)
        field.last = word
        if word in VALUES:
            field.waiting.append(value)
        elif word in NAMING:
            field.is_within = False
            field.is_secret |= _is_a_name(value)
        elif value.strip("\"'") == PRIVATE:
            field.is_secret = True
        return field.told()

    def close(self, place: int) -> list[str]:
        """A group that only names, as of the attributes in XML as JSON, names what is around it."""
        field = self.known.pop(place, None)
        if field is None or not field.is_secret or not VALUES.isdisjoint(field.members):
            return []
        around = self.at(place - 1)
        around.is_secret = True
        return around.told()


def values_in(text: str) -> Iterator[str]:
    """What the fields in a text hold whose names or types say that it is secret, as it stands there."""
    yield from _of_pairs(text)
    for line in text.splitlines() if "&" in text else ():
        yield from _of_form(line)


def _of_pairs(text: str) -> Iterator[str]:
    fields = _Fields()
    opened: list[str] = []
    at = 0
    while found := _TOKEN.search(text, at):
        at = found.end()
        match found.lastgroup:
            case "opens":
                opened.append(found[0])
            case "closes" if opened:
                yield from fields.close(len(opened))
                opened.pop()
            case "item":
                fields.known.pop(len(opened), None)
            case "sign":
                word = bare(found["word"])
                if word not in VALUES and word not in NAMING and word != "type":
                    continue
                depth = len(opened)
                if not depth and at - fields.at(0).end > _NEAR:
                    fields.known.pop(0)
                for value, end in _values(text, found, word, opened[-1:]):
                    at = end
                    yield from fields.take(depth, word, value)
                    fields.at(depth).end = end


def _values(text: str, name: re.Match[str], word: str, opened: list[str]) -> Iterator[tuple[str, int]]:
    """What is given to a name within these brackets, each text of a list, and where it ends."""
    at = name.end()
    if listed := _LISTED.match(text, at):
        at = listed.end()
    is_line = not name.start() or text[name.start() - 1] == "\n"
    # `=` with no blanks: of a query or the like, but for a line of its own.
    is_item = name["sign"] == "=" and not (is_line and _ALONE.match(text, at))
    if word not in VALUES:
        form = _CALLED if is_item or opened else _CALLED_ALONE
    elif is_item:
        form = _IN_QUERY
    else:
        within = "[" if listed else "".join(opened)
        form = _WITHIN[within] if within else _ON_LINE
    while found := form.match(text, at):
        yield found[0].rstrip(), found.end()
        if not listed:
            break
        between = _BETWEEN.match(text, found.end())
        at = between.end() if between else found.end()


def _of_form(line: str) -> Iterator[str]:
    fields = _Fields()
    for name, value in _ITEM.findall(line):
        steps = _STEP.findall(unquote_plus(name))
        while len(steps) > 1 and steps[-1].isdigit():
            steps.pop()
        word = bare(steps[-1]) if steps else ""
        if word and (word in VALUES or word in NAMING or word == "type"):
            yield from fields.take(tuple(steps[:-1]), word, value)


def _is_a_name(value: str) -> bool:
    name = unquote_plus(value.strip("\"'"))
    return is_secret(name) and (value[:1] in "\"'" or _NAME.fullmatch(name) is not None)
