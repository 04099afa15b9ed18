"""Where and how rosters are served, and which target tells Prosody that one has changed.

Made by `config.load`; used by assembly and the commands for rosters. Always holds: who can be reached from other
machines asks for a login.
"""

from typing import Final

import attrs

from restbroker.config.secret import Secret
from restbroker.config.target import Basic

KIND: Final = "prosody-roster"
"""The kind of target that refreshes rosters."""
USER: Final = "{user}"
"""What stands for the user in a path."""


@attrs.frozen
class QueryKey:
    """A key in the query of the address, `?key=…`: what Prosody can carry beside HTTP Basic."""

    value: Secret


@attrs.frozen
class Roster:
    """The section `Roster`. `path` has `USER` once. `served`: by a broker as well; else only by itself.

    `domain`: whose users these are; None: of any. `target`: its name; None: nobody is told of a change.
    """

    bind: tuple[str, int]
    path: str
    served: bool
    domain: str | None
    target: str | None
    auth: Basic | QueryKey | None
