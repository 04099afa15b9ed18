"""What goes wrong at the stand-in when a test says so: crashes, silence, lost answers, a race, a database that is away.

A test puts a `Fault` into the server's list; each request of its operation uses one up. Always holds: whether the
operation was executed is what the fault's kind says.
"""

import enum
import threading

import attrs

LIES = {
    "stanza.sendMessage": ("unknown_user", "User does not exist"),
    "token.revokeToken": ("internal_server_error", "Internal server error"),
}
"""What becomes of an operation whose database is away, when the server takes the error for an answer."""


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
class Fault:
    """For the next `times` requests of an operation (`category.operation`, or `*` for any; None: for all of them)."""

    kind: Kind
    operation: str = "*"
    times: int | None = 1
    reached: threading.Event = attrs.field(factory=threading.Event)
    release: threading.Event = attrs.field(factory=threading.Event)


@attrs.define(eq=False)
class Faults:
    """All faults of a server. `database_away`: what needs it crashes at once, and there after 20 to 27 s.

    `silent`: so many requests that need the database get no answer first; then those in `LIES` get that (measured on
    6.8.0 with accounts in an RDBMS, and little to do).
    """

    listed: list[Fault] = attrs.field(factory=list)
    database_away: bool = False
    silent: int = 0
    _once_more: bool = False
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def add(self, kind: Kind, operation: str = "*", *, times: int | None = 1) -> Fault:
        """The next requests of this operation go wrong like this."""
        fault = Fault(kind, operation, times)
        self.listed.append(fault)
        return fault

    def of(self, operation: str) -> Fault | None:
        """The fault that this request meets, used up by that."""
        with self._lock:
            for fault in self.listed:
                if fault.operation in ("*", operation) and fault.times != 0:
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None

    def meets_no_database(self) -> bool:
        """Whether an operation that needs the database crashes now: it does once more when that is back."""
        with self._lock:
            crashes = self.database_away or self._once_more
            self._once_more = self.database_away
            return crashes

    def is_silent(self) -> bool:
        """Whether this request, which the database is away for, gets no answer."""
        with self._lock:
            silent = self.silent > 0
            self.silent -= silent
            return silent

    def release(self) -> None:
        """Nobody hangs any longer."""
        for fault in self.listed:
            fault.release.set()
