"""Checks whether a job's own GraphQL document may be sent: it has one operation, and no subscription. Pure.

Called by `request`. Always holds: what stands inside texts and comments does not count; messages show nothing
of the document. It is no parser: what else is wrong with a document, the server says before it does anything.
"""

import re
from typing import Final, Literal

from restbroker.servers.api.arguments import InvalidArguments

Kind = Literal["query", "mutation"]

_LIMIT_CHARACTERS: Final = 500_000
# The first alternative that fits counts: a block string before an empty one.
_TOKEN: Final = re.compile(
    r'(?P<text>"""(?:[^"\\]|\\"""|\\|"(?!""))*"""|"(?:[^"\\\n\r]|\\.)*")|(?P<comment>\#[^\n\r]*)'
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<bracket>[{}()\[\]])|(?P<quote>\")|(?P<other>[^\sA-Za-z_{}()\[\]\"\#]+)"
)
_PAIRS: Final = {"}": "{", ")": "(", "]": "["}


def kind_of(document: str) -> Kind:
    """Return whether the document's one operation is a query or a mutation.

    Raise `InvalidArguments` if it has none, several or a subscription, is too long, or is not a GraphQL document.
    """
    if len(document) > _LIMIT_CHARACTERS:
        raise InvalidArguments(
            'the argument "query" is longer than any document needs to be; put values into "variables"'
        )
    found = [kind for kind in _definitions(document) if kind != "fragment"]
    if "subscription" in found:
        message = 'the argument "query" is a subscription, which has no answer to wait for'
        raise InvalidArguments(message)
    if len(found) != 1:
        how_many = "no operation" if not found else f"{len(found)} operations, in no defined order"
        message = f'the argument "query" has {how_many}; send one in each job'
        raise InvalidArguments(message)
    return "mutation" if found[0] == "mutation" else "query"


def _definitions(document: str) -> list[str]:
    """Return the word with which each definition begins; "query" where the word is left out.

    Raise `InvalidArguments` if brackets or quotation marks do not match, or a definition begins with another word.
    """
    found: list[str] = []
    opened: list[str] = []
    is_inside = False
    for token in _TOKEN.finditer(document):
        text, kind = token[0], token.lastgroup
        if kind == "quote":
            raise InvalidArguments('a string in the argument "query" has no end')
        if kind == "comment":
            continue
        if not is_inside and text.strip(","):
            found.append(_definition_kind(text))
            is_inside = True
        if kind == "bracket" and text in _PAIRS:
            if not opened or opened.pop() != _PAIRS[text]:
                raise InvalidArguments(_ODD)
            is_inside = bool(opened) or text != "}"
        elif kind == "bracket":
            opened.append(text)
    if is_inside:
        raise InvalidArguments(_ODD)
    return found


def _definition_kind(text: str) -> str:
    """Return the kind of a definition that begins with this token. Raise `InvalidArguments` if no definition does."""
    if text == "{":
        return "query"
    if text not in ("query", "mutation", "subscription", "fragment"):
        raise InvalidArguments(_ODD)
    return text


_ODD: Final = 'the argument "query" is not a GraphQL document: a query or mutation, perhaps with fragments'
