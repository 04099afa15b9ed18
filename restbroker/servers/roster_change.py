"""Changes of rosters, their results, and the delay of refreshes: values between a connector and the store.

Always holds: pure data; `rosters.store` executes the changes.
"""

from collections.abc import Mapping

import attrs


@attrs.frozen
class Change:
    """The change of one user's roster. `put`: JID → contact, as `rosters.rules.as_stored` writes it.

    `drop`: JIDs to remove. `whole`: `put` replaces all contacts. `forget`: roster and version are removed.
    """

    user: str
    put: Mapping[str, bytes] = attrs.Factory(dict)
    drop: tuple[str, ...] = ()
    whole: bool = False
    forget: bool = False


@attrs.frozen
class RosterVersions:
    """The changes were written. `versions`: user → version of their roster now; 0: it was forgotten."""

    versions: Mapping[str, int]


@attrs.frozen
class RosterUnchanged:
    """Nothing was written: the roster of this user would be too large."""

    user: str


@attrs.frozen
class RefreshDelay:
    """When a marked user is due: `debounce_ms` after their last change, and `longest_ms` after the first at most."""

    debounce_ms: int
    longest_ms: int
