"""What goes wrong at the stand-in when a test says so: delays, resets, lost answers, bursts of 401, 302 and 503.

A test adds a fault for a pattern of `METHOD /path`; each request that fits uses one up. Always holds: whether a request
was carried out is what the fault's kind says.
"""

import enum
import fnmatch
import struct
import threading
from typing import Final

import attrs

from tests.support.openfire.http import Said

RESET: Final = struct.pack("ii", 1, 0)
"""What a socket lingers with so that it sends a reset."""
LOGIN_PAGE: Final = Said(302, headers=(("Location", "/login.jsp?url=%2Fplugins%2Frestapi"),))


class Gone(Exception):
    """The connection ends without an answer; `reset` when it is torn down."""

    def __init__(self, *, reset: bool = False) -> None:
        self.reset = reset


class Kind(enum.Enum):
    """`DELAY`, `LATE`, `LOST` and `BROKEN` are carried out, the others not.

    `DELAY`: carried out after `delay_s`. `LATE`: answered `delay_s` after it was. `LOST`: carried out, then a reset.
    `BROKEN`: carried out, then a 500 without a body. `RESET`: a reset at once. `HANG`: no answer; closed when the fault
    is released. `EMPTY`: 500 without a body. `DENIED`: 401. `REDIRECT`: 302 to the login page. `UNAVAILABLE`: 503.
    """

    DELAY = enum.auto()
    LATE = enum.auto()
    LOST = enum.auto()
    BROKEN = enum.auto()
    RESET = enum.auto()
    HANG = enum.auto()
    EMPTY = enum.auto()
    DENIED = enum.auto()
    REDIRECT = enum.auto()
    UNAVAILABLE = enum.auto()


@attrs.define(eq=False)
class Fault:
    """For the next `times` requests that fit `pattern` (as file names are matched; None: for all of them)."""

    kind: Kind
    pattern: str = "*"
    times: int | None = 1
    delay_s: float = 0.0
    reached: threading.Event = attrs.field(factory=threading.Event)
    carried_out: threading.Event = attrs.field(factory=threading.Event)
    """Of those that are carried out before they go wrong."""
    release: threading.Event = attrs.field(factory=threading.Event)


@attrs.define(eq=False)
class Faults:
    """All faults of a server."""

    listed: list[Fault] = attrs.field(factory=list)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def add(self, kind: Kind, pattern: str = "*", *, times: int | None = 1, delay_s: float = 0.0) -> Fault:
        """The next requests that fit go wrong like this."""
        fault = Fault(kind, pattern, times, delay_s)
        with self._lock:
            self.listed.append(fault)
        return fault

    def of(self, line: str) -> Fault | None:
        """The fault that this request meets, used up by that."""
        with self._lock:
            for fault in self.listed:
                if fault.times != 0 and fnmatch.fnmatchcase(line, fault.pattern):
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None

    def clear(self) -> None:
        """Nothing goes wrong any more, and nobody hangs."""
        self.release()
        with self._lock:
            self.listed.clear()

    def release(self) -> None:
        """Nobody hangs any longer."""
        for fault in self.listed:
            fault.release.set()


def is_kind(fault: Fault | None, kind: Kind) -> bool:
    """Whether the request meets this."""
    return fault is not None and fault.kind is kind


def before(fault: Fault | None, gone: threading.Event) -> Said | None:
    """What goes wrong before anything is carried out. Raises Gone."""
    if fault is None:
        return None
    fault.reached.set()
    match fault.kind:
        case Kind.RESET:
            raise Gone(reset=True)
        case Kind.HANG:
            fault.release.wait()
            raise Gone
        case Kind.EMPTY:
            return Said(500, reason="Server Error")
        case Kind.DENIED:
            return Said(401)
        case Kind.REDIRECT:
            return LOGIN_PAGE
        case Kind.UNAVAILABLE:
            return Said(503, b"", "text/html")
        case Kind.DELAY:
            gone.wait(fault.delay_s)
    return None


def after(fault: Fault | None, gone: threading.Event) -> None:
    """What goes wrong once it is carried out. Raises Gone."""
    if fault is not None:
        fault.carried_out.set()
    if is_kind(fault, Kind.LOST):
        raise Gone(reset=True)
    if fault is not None and fault.kind is Kind.LATE:
        gone.wait(fault.delay_s)
