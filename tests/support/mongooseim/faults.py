"""What goes wrong at the stand-in when a test says so: silence, a database that is away.

A test puts a `Fault` into the server's list; each request of its operation uses one up.
"""

import enum

import attrs

from tests.support import lines


class Kind(enum.Enum):
    """`HANG`: no answer, and nothing is executed; the connection is closed when it is released."""

    HANG = enum.auto()


@attrs.define(eq=False)
class Faults(lines.Faults):
    """All faults of a server. `database_away`: what needs it crashes at once, and there after 20 to 27 s.

    `silent`: so many requests that need the database get no answer first (measured on 6.8.0 with accounts in an RDBMS).
    """

    database_away: bool = False
    silent: int = 0
    _once_more: bool = False

    def meets_no_database(self) -> bool:
        """Whether an operation that needs the database crashes now: it does once more when that is back."""
        with self.lock:
            crashes = self.database_away or self._once_more
            self._once_more = self.database_away
            return crashes

    def is_silent(self) -> bool:
        with self.lock:
            silent = self.silent > 0
            self.silent -= silent
            return silent
