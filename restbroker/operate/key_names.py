"""How a key of jobs is named: for people, and in a command to be typed. Used by `keys`, `order_wait` and `check`.

Always holds: secrets are masked. It stands alone, so that `explain` loads nothing that acts.
"""

import shlex
from typing import Final

from restbroker.job import hiding
from restbroker.job.fairness import BETWEEN
from restbroker.operate.context import ConfigContext

SHOWN_BETWEEN: Final = " | "


def display_name(name: str, known: ConfigContext) -> str:
    """Return the name of a key for people, with secrets masked."""
    return hiding.mask_secrets(name.replace(BETWEEN, SHOWN_BETWEEN), known.secrets)


def command(verb: str, name: str, more: str = "") -> str:
    """Return what to type to have `restbroker keys` do this with a key; `more`: what is needed besides the key.

    What terminals do not show is in the form that bash reads.
    """
    if name.isprintable():
        key = shlex.quote(name)
    else:
        plain = name.replace("\\", "\\\\").replace("'", "\\'")
        key = "$'" + "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in plain) + "'"
    words = f"{more} -- {key}" if name.startswith("-") else f" {key}{more}"
    return f"restbroker keys {verb}{words}"
