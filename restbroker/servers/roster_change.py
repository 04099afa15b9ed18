"""What may be done to rosters, what became of it, and when it is refreshed: values between a connector and the store.

Always holds: pure data; `rosters.store` does it.
"""

from collections.abc import Mapping
from typing import Literal

import attrs

Needs = Literal["", "present", "absent", "keep"]
Why = Literal["ABSENT", "PRESENT", "MANY", "LARGE"]


@attrs.frozen
class Change:
    """What to do with one user's roster. `put`: JID → contact, as `rosters.rules.as_stored` writes it.

    `whole`: what is put replaces all; `forget`: the roster goes, and its version. `needs`: what holds of each JID that
    is put, or nothing is done; or `keep`: what is there stays as it is.
    """

    user: str
    put: Mapping[str, bytes] = attrs.Factory(dict)
    drop: tuple[str, ...] = ()
    whole: bool = False
    forget: bool = False
    needs: Needs = ""


@attrs.frozen
class RosterVersions:
    """It is written. `versions`: user → version after it; 0: forgotten."""

    versions: Mapping[str, int]


@attrs.frozen
class RosterUnchanged:
    """Nothing of it is written, for this user and JID: ABSENT or PRESENT it is; MANY or LARGE his roster would be."""

    user: str
    why: Why
    jid: str


@attrs.frozen
class Pace:
    """When a user who is marked is due: `debounce_ms` after his last change, `longest_ms` after the first at most."""

    debounce_ms: int
    longest_ms: int
