"""Reads the note that mod_admin_adhoc puts into the answer to an ad-hoc command. Pure.

`outcomes` calls it. Always holds: a failure in a note of type `info` is found; a JID in it never counts as a heading.

A note on several accounts has two lists, of which either may be missing (the same texts on 0.12.3 and 13.0.1,
recorded): "The following accounts were successfully deleted:" and "The following accounts could not be deleted:".
"""

import re
from typing import Final

import attrs

from restbroker.job.json_types import Json
from restbroker.servers.api.ad_hoc import ADMIN

REPORTS: Final = frozenset({"delete-user", "end-user-session", "disable-user", "reenable-user"})
"""The commands that report on several accounts, by the end of their nodes."""
_HEADING: Final = re.compile(r"The following accounts (were successfully|could not be) \w+:")
_CODES: Final = (
    ("AlreadyExists", re.compile("Account already exists")),
    ("NotFound", re.compile("User does not exist|The following accounts could not be (deleted|disconnected):")),
)
_JID: Final = re.compile(r"[^\s@/]+([@/].*)?")
"""What may stand under a heading: only behind its first @ or / a JID may have spaces."""


@attrs.frozen
class Report:
    """For how many accounts the command was done, and for how many it failed; both 0 if the note's text is unknown."""

    done: int
    failed: int


def is_report(node: Json) -> bool:
    """Tell whether a command of this node reports on several accounts."""
    return isinstance(node, str) and node.removeprefix(f"{ADMIN}#") in REPORTS


def read(text: str) -> Report:
    """Return the numbers of accounts in a note on several accounts."""
    counts = {"were successfully": 0, "could not be": 0}
    part = ""
    for line in text.splitlines():
        if heading := _HEADING.fullmatch(line):
            part = heading[1]
        elif part and _JID.fullmatch(line):
            counts[part] += 1
        elif line:
            return Report(0, 0)
    return Report(counts["were successfully"], counts["could not be"])


def code_of(text: str) -> str:
    """Return our code for the failure in a note's text about one account; "CommandFailed" for an unknown text."""
    return next((code for code, words in _CODES if words.match(text)), "CommandFailed")
