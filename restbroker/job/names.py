"""Which names are names of secrets.

Used by everything that hides secrets: `job.redact` for arguments, `job.hiding` for headers and answers, and by
`enqueue`. Always holds: no notation is known here; nothing raises, and the time grows with the length alone.
"""

import re
from typing import Final

_SECRET: Final = re.compile(r"pass|pwd|secret|token|credential|(api|private)[_-]?key|authorization|cookie|stream_?id")
BODY_NAMES: Final = frozenset(
    {
        *("body", "elementstring", "html", "htmlbody", "message", "messagebody", "messagehtml", "messagesubject"),
        *("question", "raw", "stanza", "subject", "text", "textbody", "xml"),
    }
)
"""Arguments that are message texts, in lower case.

`raw` of an event is all that its server sent, which may have texts under any name.
"""
VALUES: Final = frozenset({"value", "values", "val", "content", "text", "variables"})
"""Arguments that hold the value of what another argument names: an option's value, the variables of a document."""
# What prose and JIDs are made of besides letters and digits. Any other sign may put a value beside a name.
SIGN: Final = re.compile(r"[^\w \t.,!?@-]")


def is_secret(name: str) -> bool:
    """Tell whether an argument or header of this name is secret."""
    return _SECRET.search(name.lower()) is not None
