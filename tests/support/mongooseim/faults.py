"""What goes wrong at the stand-in when a test says so: crashes, silence, lost answers, a race, a database that is away.

A test puts a `Fault` into the server's list; each request of its operation uses one up. Always holds: whether the
operation was executed is what the fault's kind says.
"""

import enum

import attrs

from tests.support import lines


class Kind(enum.Enum):
    """`CRASH`, `HANG`, `EMPTY` and `INTERNAL` are not executed, `LOST` and `RACE` are.

    `CRASH`: 200 with `resolver_crash`. `HANG`: no answer; the connection is closed when it is released. `EMPTY`: 500
    without a body. `INTERNAL`: 500, `internal_server_error`. `LOST`: closed without an answer. `RACE`: an `exists` is
    told as `cannot_register`, as it was to 22 of 95 who lost a race.
    """

    CRASH = enum.auto()
    HANG = enum.auto()
    EMPTY = enum.auto()
    INTERNAL = enum.auto()
    LOST = enum.auto()
    RACE = enum.auto()


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
