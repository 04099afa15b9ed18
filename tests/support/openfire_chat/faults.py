"""What goes wrong at the player when a test says so: delays, resets, lost answers, what a server says that starts.

A test adds a fault for a pattern of `METHOD /path`; each request that fits uses one up. Always holds: whether a request
was carried out is what the fault's kind says.
"""

import enum
import threading
from typing import Final

from tests.support.lines import Fault, Gone
from tests.support.openfire_chat.answers import named
from tests.support.player import Exchange


class Kind(enum.Enum):
    """`DELAY`, `LATE` and `LOST` are carried out, the others not.

    `DELAY`: carried out after `delay_s`. `LATE`: answered `delay_s` after it was. `LOST`: carried out, then a reset.
    `RESET`: a reset at once. `HANG`: no answer; closed when the fault is released. `EMPTY`: 500 without a body.
    `DENIED`: 401. `REDIRECT`: 302 to the login page. `UNAVAILABLE`: 503.
    """

    DELAY = enum.auto()
    LATE = enum.auto()
    LOST = enum.auto()
    RESET = enum.auto()
    HANG = enum.auto()
    EMPTY = enum.auto()
    DENIED = enum.auto()
    REDIRECT = enum.auto()
    UNAVAILABLE = enum.auto()


_ANSWERS: Final = {
    Kind.EMPTY: named("it failed"),
    Kind.DENIED: named("a login that is wrong"),
    Kind.REDIRECT: named("the console redirects"),
    Kind.UNAVAILABLE: named("it cannot work now"),
}


def before(fault: Fault | None, gone: threading.Event) -> Exchange | None:
    """Return what is answered instead of carrying it out, if anything. Raises Gone."""
    if fault is None:
        return None
    fault.reached.set()
    match fault.kind:
        case Kind.RESET:
            raise Gone(reset=True)
        case Kind.HANG:
            fault.release.wait()
            raise Gone
        case Kind.DELAY:
            gone.wait(fault.delay_s)
    return _ANSWERS.get(fault.kind) if isinstance(fault.kind, Kind) else None


def after(fault: Fault | None, gone: threading.Event) -> None:
    """What goes wrong once it is carried out. Raises Gone."""
    if fault is None:
        return
    fault.carried_out.set()
    match fault.kind:
        case Kind.LOST:
            raise Gone(reset=True)
        case Kind.LATE:
            gone.wait(fault.delay_s)
