"""Where and how rosters are served, and which target tells Prosody that one has changed.

Made by `config.load`; used by `app` and the commands for rosters. Always holds: who can be reached from other
machines asks for a login.
"""

from typing import Final

import attrs

from restbroker.config.secret import Secret
from restbroker.config.target import Basic

KIND: Final = "prosody-roster"
"""The kind of target that refreshes rosters."""
LONGEST_S: Final = 4.0
"""Prosody's users wait for their rosters for so long at most."""
USER: Final = "{user}"
"""What stands for the user in a path."""


@attrs.frozen
class QueryKey:
    """A key in the query of the address, `?key=…`: what Prosody can carry beside HTTP Basic."""

    value: Secret


@attrs.frozen
class Roster:
    """The section `Roster`. `path` has `USER` once. `served`: by a broker as well; else only by itself.

    `domain`: whose users these are; None: of any. `target`: its name; None: nobody is told of a change. `longest_s`: so
    long an answer may take, less than whoever asks for a refresh waits for it.
    """

    bind: tuple[str, int]
    path: str
    served: bool
    domain: str | None
    target: str | None
    auth: Basic | QueryKey | None
    longest_s: float = LONGEST_S
