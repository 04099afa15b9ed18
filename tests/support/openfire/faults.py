"""What goes wrong at the stand-in when a test says so: delays, resets, lost answers, bursts of 401, 302 and 503.

A test adds a fault for a pattern of `METHOD /path`; each request that fits uses one up. Always holds: whether a request
was carried out is what the fault's kind says.
"""

import enum
import threading
from typing import Final

from tests.support.lines import Fault, Gone, is_kind
from tests.support.openfire.http import Said

LOGIN_PAGE: Final = Said(302, headers=(("Location", "/login.jsp?url=%2Fplugins%2Frestapi"),))


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
