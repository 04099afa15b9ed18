"""What SIGTERM and SIGINT do to a process that serves until it is stopped, while nothing has begun in it.

`__main__` listens for them before anything slow is imported; `broker.signals.receive` takes over. Always holds: no
handler raises, since an import or a call that is under way might catch what it raises, or break.
"""

import os
import signal
from typing import Final

STOP: Final = (signal.SIGTERM, signal.SIGINT)


def listen() -> None:
    """Have a signal to stop end this process at once, from now on until it begins; ignore SIGHUP as long."""
    for number in STOP:
        signal.signal(number, end_at_once)
    # The default would end the process, and what has changed is read in a moment.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def end_at_once(number: int, _frame: object) -> None:
    """End the process: with 0 by SIGTERM, as a stop that leaves nothing; with 130 by Ctrl-C."""
    # Not `sys.exit`, which raises. Nothing has begun, so there is nothing to put in order.
    os._exit(0 if number == signal.SIGTERM else 128 + number)
