"""Secrets in a text that has a structure of its own, by their names: members of GraphQL and the like, XML, data forms.

`job.redact` asks for the texts among a job's arguments; JSON it reads by itself. Always holds: nothing here raises,
and the time grows with the length alone, whatever the text is.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from html import unescape as _unescape
from itertools import chain
from typing import Final
from urllib.parse import unquote_plus

from restbroker.job import fields
from restbroker.job.headers import parts_of
from restbroker.job.names import NAMING, PRIVATE, VALUES, is_secret
from restbroker.job.spellings import SHORTEST_ANYWHERE

# `password: "x"`, `password='x'` (also `'it''s'` of YAML and SQL), `password: $name`, and `$password: String = "x"`; in
# JSON that is cut or within more text, `"password": "x"`, and of Ruby `"password"=>"x"`.
_ASSIGNED: Final = re.compile(rf"""(?<![\w-])([\w-]+)["']?\s*[:=]>?\s*(?:([\w!\[\]]++)\s*=\s*)?({fields.QUOTED})""")
# `["password", "x"]`, also where the JSON around it is cut.
_PAIRED: Final = re.compile(rf"""\[\s*+"([\w.-]{{1,80}}+)"\s*+,\s*+({fields.QUOTED})(?=\s*+(?:\]|\Z))""")
# `password: ["x"]`, `credentials: {key: "x"}`: what stands between the brackets.
_OPENED: Final = re.compile(r"""(?<![\w-])([\w-]+)["']?\s*[:=]>?\s*(?=[\[{])""")
# A text that nothing ends goes on to the end: to look at each of its quotes anew would take hours of a large one.
_BETWEEN: Final = re.compile(
    r"""([\[{])|([\]}])|("{3}(?s:.*?)"{3}|"[^"\\]*+(?:(?s:\\.)[^"\\]*+)*+"|\$\w+)(\s*:)?|"(?s:.*)"""
)
# `password=x` of a query, a fragment or a form, also `user[password]=x` and `user%5Bpassword%5D=x`, as forms are sent,
# and a line of its own as of YAML and of heads: `password: x`. Each is looked for in the whole text, since one may hold
# the other: `Location: /x?password=x`, `https://h/x?password=x`.
_UNQUOTED: Final = (
    re.compile(r"""(?m)(?:(?<=[?#&;,({\[\s])|^)([\w.%-]++(?:\[[\w-]*+\])*+)=([^\s&;"'<>][^\s&;"<>]*+)"""),
    # A variable of GraphQL alone is none; a password may begin as one, and a hash does.
    re.compile(
        r"""(?m)^[ \t]*+(?:-[ \t]++)?+[:"']?([\w.-]++)["']?[ \t]*+[:=][ \t]*+"""
        r"""((?:[^\s"'<>${}\[\],]|\$(?!\w++[ \t,)}\]]*+$))[^\n]*)$"""
    ),
)
# `password:` with a list of YAML on the lines below.
_BELOW: Final = re.compile(
    r"""(?m)^[ \t]*+(?:-[ \t]++)?+[:"']?([\w.-]++)["']?[ \t]*+:[ \t]*+\r?\n((?:[ \t]*+-[ \t]++[^\n]*+(?:\n|\Z))++)"""
)
_LISTED: Final = re.compile(r"[,\[\]{}\n]")
# `{name: a, password: x}` of YAML, `{ password = x }`: what stands between braces, and one of it.
_BRACES: Final = re.compile(r"[{}]([^{}\n]*+)(?=[{}])")
_IN_BRACES: Final = re.compile(r"""(?:\A|,)\s*+[:"']?([\w.-]++)["']?[ \t]*+[:=][ \t]++([^\s"'<>$\[\],][^,]*+)""")
_DECLARED: Final = re.compile(r"\$\w++(?=\s*+:)")
"""Variables of a document of GraphQL; anything else may begin with the same sign."""
_PLAIN: Final = frozenset({"true", "false", "null"})
# XML allows `>` and the other kind of quotes in an attribute.
_TAG: Final = re.compile(r"""<(/?)([\w.:-]++)((?:[^<>"']|"[^"<]*"|'[^'<]*'|["'])*+)>([^<]*)""")
_ATTRIBUTE: Final = re.compile(r"""(?<![\w:-])([\w-]+)\s*=\s*(?:"([^"<]*)"|'([^'<]*)')""")
_ZEROS: Final = re.compile("&#0{3,}")
_NO_CHARACTER: Final = re.compile("&#[0-9]{10,};?")
"""Python makes a number of the digits, and refuses so many that it would take long."""
_SIBLING: Final = "<name>"
_CDATA: Final = "<![CDATA["


def may_hold_secrets(text: str) -> bool:
    """Whether to look closer: hardly any text has a secret's name in it."""
    return is_secret(text) or PRIVATE in text


def secrets_in(text: str) -> Iterator[str]:
    """The values in a text whose names say that they are secret."""
    yield from _assigned(text)
    if "<" in text:
        yield from _in_xml(_without_cdata(text))
    if "&quot;" in text or "&#" in text:
        # JSON within XML.
        yield from _assigned(unescape(text))


def texts_in(text: str) -> Iterator[str]:
    """The texts within it that may hold secrets, as they were before they were put there: what stands in quotes with
    escapes or on lines, as a stanza in a document of GraphQL, and what stands between tags, as JSON in XML.
    """
    quoted = (found[3] for found in _BETWEEN.finditer(text) if found[3] and may_hold_secrets(found[3]))
    for one in quoted if '"' in text else ():
        with contextlib.suppress(ValueError):
            yield one[3:-3] if one.startswith('"""') else str(json.loads(one, strict=False))
    for found in _TAG.finditer(_without_cdata(text)) if "<" in text else ():
        if may_hold_secrets(found[4]):
            yield unescape(found[4])
    if "&lt;" in text and "<" not in text:
        yield unescape(text)
    # Between any two single quotes, since one may be an apostrophe.
    yield from (unescape(one) for one in text.split("'")[1:-1] if may_hold_secrets(one))


def variables_in(text: str) -> frozenset[str]:
    """The names of the variables that a GraphQL document gives as something secret: `p` of `password: $p`."""
    given = chain(_given(text), fields.values_in(text)) if "$" in text else ()
    return frozenset(value[1:] for value in given if value[0] == "$")


def unescape(text: str) -> str:
    """The same without the escapes of XML and HTML. Never raises, also where one is a number of any length."""
    return _unescape(_NO_CHARACTER.sub("\ufffd", _ZEROS.sub("&#0", text)) if "&#" in text else text)


def _assigned(text: str) -> Iterator[str]:
    seen: set[str] = set(_DECLARED.findall(text)) if "$" in text else set()
    for value in chain(_given(text), _unquoted(text), fields.values_in(text)):
        if value not in seen:
            seen.add(value)
            yield from _readings(value) if value[0] in "\"'" else _bare_readings(value)


def _unquoted(text: str) -> Iterator[str]:
    """What is given to something with a secret's name, and what no quotes end."""
    found = chain.from_iterable(pattern.findall(text) for pattern in _UNQUOTED)
    braced = (pair for inside in _BRACES.findall(text) for pair in _IN_BRACES.findall(inside))
    for name, value in chain(found, braced):
        if is_secret(name) and value.strip().rstrip(",") not in _PLAIN:
            yield value.strip()


def _given(text: str) -> Iterator[str]:
    """What is given to something with a secret's name: texts with their quotes, and variables."""
    for name, kind, value in _ASSIGNED.findall(text):
        # What stands where a variable has its type may be the name: `error: password="x"`, `n:password="x"`.
        if is_secret(f"{name} {kind}"):
            yield value
    yield from (value for name, value in _PAIRED.findall(text) if is_secret(name))
    for name, lines in _BELOW.findall(text):
        items = (line.strip().lstrip("- \t") for line in lines.splitlines() if is_secret(name))
        yield from (item if item[0] in "\"'" else item.rpartition(": ")[2] for item in items if item)
    end = 0
    for found in _OPENED.finditer(text):
        if found.start() < end or not is_secret(found[1]):
            continue
        depth = 0
        for part in _BETWEEN.finditer(text, found.end()):
            opening, closing, value, named = part.groups()
            depth += bool(opening) - bool(closing)
            end = part.end()
            if value and not named:
                yield value
            if depth <= 0:
                break
        yield from _bare_items(text[found.end() : end])


def _bare_items(inside: str) -> Iterator[str]:
    """What a list or an object of YAML holds that has no quotes in it."""
    for item in () if '"' in inside or "'" in inside else _LISTED.split(inside):
        value = item.rpartition(": ")[2].strip()
        if value and value[0] != "$" and value not in _PLAIN:
            yield value


def _readings(quoted: str) -> Iterator[str]:
    """What stands between the quotes, of which the last may be cut off, and what it means, as a text of JSON or XML."""
    mark = '"""' if quoted.startswith('"""') else quoted[0]
    plain = quoted.removeprefix(mark).removesuffix(mark)
    yield plain
    yield plain.replace("''", "'")
    yield unescape(plain)
    with contextlib.suppress(ValueError):
        yield str(json.loads(f'"{plain}"'))


def _bare_readings(value: str) -> Iterator[str]:
    yield value
    yield unquote_plus(value)
    # Where it stands in quotes: `'/x?password=x'`.
    yield value.partition("'")[0]
    yield unquote_plus(value.rstrip(")]},"))
    # With more behind it: `x, user: y`, `x # words`, `x ; words`, `x#fragment`.
    parts = (value.partition(sign)[0].rstrip() for sign in ",#;")
    yield from (part for part in parts if len(part) >= SHORTEST_ANYWHERE)
    # Of `Bearer x` and cookies.
    yield value.rpartition(" ")[2]
    yield from parts_of(value)


def _in_xml(text: str) -> Iterator[str]:
    """The texts of elements with a secret's name, also of those within them, and of fields and settings with one."""
    named, inside = "", ""
    for found in _TAG.finditer(text):
        closing, name, attributes, behind = found.groups()
        local = name.rpartition(":")[2].lower()
        if closing:
            named = "" if named == local else named
            inside = "" if inside == local else inside
            if inside:
                yield from _of_xml(behind)
            continue
        has = {key.lower(): double or single for key, double, single in _ATTRIBUTE.findall(attributes)}
        if not NAMING.isdisjoint(has) or has.get("type") == PRIVATE:
            named = local if _names_a_secret(has) else ""
        elif local in NAMING and behind.strip():
            # `<name>password</name><value>x</value>`, until another is named.
            named = _SIBLING if is_secret(behind) else ""
        held = [value for key, value in has.items() if named == local and key in VALUES]
        if attributes.endswith("/"):
            named = "" if named == local else named
        else:
            inside = inside or (local if is_secret(local) or (named and local in VALUES) else "")
            held += [behind] if named == local and not inside else []
        held += [behind] if inside else []
        for one in held:
            yield from _of_xml(one)


def _of_xml(one: str) -> Iterator[str]:
    if one.strip():
        yield one
        yield unescape(one)
        # Of a text on lines of its own.
        yield unescape(one).strip()


def _names_a_secret(attributes: Mapping[str, str]) -> bool:
    names = (value for key, value in attributes.items() if key in NAMING)
    return attributes.get("type") == PRIVATE or any(is_secret(name) for name in names)


def _without_cdata(text: str) -> str:
    first, *others = text.split(_CDATA)
    sections = (other.partition("]]>") for other in others)
    return first + "".join(f"{escape(inside)}{behind}" for inside, _, behind in sections)
