"""What counts as a secret's name.

Asked by all that hides secrets: `job.redact` for arguments, `job.hiding` for headers and answers, and by `enqueue`.
Always holds: no notation is known here; nothing raises, and the time grows with the length alone.
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
"""Arguments that are message texts, in small letters; of an event, `raw` is what its server sent, texts under any name
among it.
"""
VALUES: Final = frozenset({"value", "values", "val", "content", "text", "variables"})
"""Arguments that hold what another one names: an option's value, the variables of a document."""
# What prose and JIDs are made of besides letters and digits. Any other sign may put a value beside a name.
SIGN: Final = re.compile(r"[^\w \t.,!?@-]")


def is_secret(name: str) -> bool:
    """Return whether what is called so is secret, in arguments and headers."""
    return _SECRET.search(name.lower()) is not None


def may_be_secret(name: str, text: str) -> bool:
    """Return whether `job.redact` may find something secret in an argument of this name that is a text; False is
    certain.
    """
    return SIGN.search(name + text) is not None or is_secret(name) or name.lower() in VALUES
