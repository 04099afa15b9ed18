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

from restbroker.job.hiding import SECRET_NAME, parts_of

PRIVATE: Final = "text-private"
"""The type of a data form's field that is a password (XEP-0004), whatever the field is called."""
# `password: "x"`, `password='x'` (also `'it''s'` of YAML and SQL), `password: $name`, and `$password: String = "x"`; in
# JSON that is cut or within more text, `"password": "x"`, and of Ruby `"password"=>"x"`.
_ASSIGNED: Final = re.compile(
    r"""(?<![\w-])([\w-]+)["']?\s*[:=]>?\s*(?:([\w!\[\]]++)\s*=\s*)?"""
    r"""("{3}(?s:.*?)"{3}|"[^"\\]*+(?:\\.[^"\\]*+)*+"|(?:'[^']*+')++|\$\w+)"""
)
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
# `{name: a, password: x}` of YAML, `{ password = x }`: what stands between braces, and one of it.
_BRACES: Final = re.compile(r"[{}]([^{}\n]*+)(?=\})")
_IN_BRACES: Final = re.compile(r"""(?:\A|,)\s*+[:"']?([\w.-]++)["']?[ \t]*+[:=][ \t]++([^\s"'<>$\[\],][^,]*+)""")
# A field: `- name: password` of YAML with its value on the next line, and `a[name]=password&a[value]=x` of a form.
_FIELDS: Final = (
    re.compile(
        r"""(?m)^[ \t]*+(?:-[ \t]++)?+["']?(?:var|name|key)["']?[ \t]*+:[ \t]*+["']?([\w.#-]++)["']?,?[ \t]*+\r?\n"""
        r"""[ \t]*+["']?(value)s?["']?[ \t]*+:[ \t]*+([^\s{}\[\]|>$][^\n]*)$"""
    ),
    re.compile(
        r"""(?:(?<![\w-])|(?<=%5[Bb]))(?:var|name|key)(?:\]|%5[Dd])?=([\w.%+-]++)"""
        r"""&([\w.%\[\]-]++)=([^\s&;"'<>][^\s&;"<>]*+)"""
    ),
)
_PLAIN: Final = frozenset({"true", "false", "null"})
# XML allows `>` and the other kind of quotes in an attribute.
_TAG: Final = re.compile(r"""<(/?)([\w.:-]++)((?:[^<>"']|"[^"<]*"|'[^'<]*'|["'])*+)>([^<]*)""")
_ATTRIBUTE: Final = re.compile(r"""(?<![\w:-])([\w-]+)\s*=\s*(?:"([^"<]*)"|'([^'<]*)')""")
_NAMING: Final = frozenset({"var", "name", "key"})
_VALUES: Final = frozenset({"value", "val", "content"})
"""Attributes and elements of XML: what names a field or a setting, and what it holds."""
_ZEROS: Final = re.compile("&#0{3,}")
_NO_CHARACTER: Final = re.compile("&#[0-9]{10,};?")
"""Python makes a number of the digits, and refuses so many that it would take long."""
_SIBLING: Final = "<name>"
_CDATA: Final = "<![CDATA["


def may_hold_secrets(text: str) -> bool:
    """Whether to look closer: hardly any text has a secret's name in it."""
    return SECRET_NAME.search(text.lower()) is not None or PRIVATE in text


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


def variables_in(text: str) -> frozenset[str]:
    """The names of the variables that a GraphQL document gives as something secret: `p` of `password: $p`."""
    assigned = _given(text) if "$" in text else ()
    return frozenset(value[1:] for value in assigned if value[0] == "$")


def unescape(text: str) -> str:
    """The same without the escapes of XML and HTML. Never raises, also where one is a number of any length."""
    return _unescape(_NO_CHARACTER.sub("\ufffd", _ZEROS.sub("&#0", text)) if "&#" in text else text)


def _assigned(text: str) -> Iterator[str]:
    seen: set[str] = set()
    for value in _given(text):
        if value not in seen and value[0] != "$":
            seen.add(value)
            yield from _readings(value)
    for name, given in _unquoted(text):
        value = given.strip()
        if value not in seen and SECRET_NAME.search(name.lower()) and value.rstrip(",") not in _PLAIN:
            seen.add(value)
            yield value
            yield unquote_plus(value)
            # Where it stands in quotes: `'/x?password=x'`.
            yield value.partition("'")[0]
            yield unquote_plus(value.rstrip(")]},"))
            # Of `Bearer x` and cookies.
            yield value.rpartition(" ")[2]
            yield from parts_of(value)
            if value[0] in "\"'":
                yield from _readings(value.rstrip(","))


def _unquoted(text: str) -> Iterator[tuple[str, str]]:
    """Names with what is given to them, which no quotes end."""
    for pattern in _UNQUOTED:
        yield from pattern.findall(text)
    for inside in _BRACES.findall(text):
        yield from _IN_BRACES.findall(inside)
    for name, member, value in chain.from_iterable(pattern.findall(text) for pattern in _FIELDS):
        if member.lower().rstrip("[]").removesuffix("%5d").endswith(("value", "values", "val", "content")):
            yield name, value


def _given(text: str) -> Iterator[str]:
    """What is given to something with a secret's name: texts with their quotes, and variables."""
    for name, kind, value in _ASSIGNED.findall(text):
        # What stands where a variable has its type may be the name: `error: password="x"`, `n:password="x"`.
        if SECRET_NAME.search(f"{name} {kind}".lower()):
            yield value
    end = 0
    for found in _OPENED.finditer(text):
        if found.start() < end or not SECRET_NAME.search(found[1].lower()):
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


def _readings(quoted: str) -> Iterator[str]:
    """What stands between the quotes, and what it means, as a text of JSON or of XML."""
    plain = quoted[3:-3] if quoted.startswith('"""') else quoted[1:-1]
    yield plain
    yield plain.replace("''", "'")
    yield unescape(plain)
    with contextlib.suppress(ValueError):
        yield str(json.loads(f'"{plain}"'))


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
        has = {key: double or single for key, double, single in _ATTRIBUTE.findall(attributes)}
        if not _NAMING.isdisjoint(has) or has.get("type") == PRIVATE:
            named = local if _names_a_secret(has) else ""
        elif local in _NAMING and behind.strip():
            # `<name>password</name><value>x</value>`, until another is named.
            named = _SIBLING if SECRET_NAME.search(behind.lower()) else ""
        held = [value for key, value in has.items() if named == local and key in _VALUES]
        if attributes.endswith("/"):
            named = "" if named == local else named
        else:
            inside = inside or (local if SECRET_NAME.search(local) or (named and local in _VALUES) else "")
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
    names = (value for key, value in attributes.items() if key in _NAMING)
    return attributes.get("type") == PRIVATE or any(SECRET_NAME.search(name.lower()) for name in names)


def _without_cdata(text: str) -> str:
    first, *others = text.split(_CDATA)
    sections = (other.partition("]]>") for other in others)
    return first + "".join(f"{escape(inside)}{behind}" for inside, _, behind in sections)
