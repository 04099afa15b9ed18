"""Runs the command line and writes how many calls that took: `python -m tests.bench.counting FILE run …`.

Calls of Python functions and of C functions in all threads, start and stop included. The file gets two numbers when the
process ends: the calls that restbroker's own code makes and receives, and all. Used by calls_per_job.py.

How many jobs are fetched and settled together depends on time in the broker; here it does not, or a busy machine would
change the numbers by a tenth. The record that shows what is in hand, every five seconds, is written at the start alone:
with 200 jobs in hand it takes a hundred thousand calls.
"""

import itertools
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

import restbroker
from restbroker.__main__ import main
from restbroker.broker.intake import pace
from restbroker.broker.settling import finished
from restbroker.broker.status import record

PACKAGE = str(Path(restbroker.__file__).parent)
COUNTED = ("call", "c_call")
FOR_EVER_S = 3600.0


def count(own: Iterator[int], every: Iterator[int]) -> None:
    """Takes a number from these for each call from now on, in this thread and in those that are started."""
    is_own: dict[CodeType, bool] = {}

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event not in COUNTED:
            return
        # One step of C code each: no call is lost where two threads count at once.
        next(every)
        code = frame.f_code
        if code not in is_own:
            is_own[code] = code.co_filename.startswith(PACKAGE)
        if is_own[code]:
            next(own)

    threading.setprofile(note)
    sys.setprofile(note)


if __name__ == "__main__":
    finished.GATHER_S = pace.SPAN_S = FOR_EVER_S
    # Not assigned: for everybody else it is a constant.
    setattr(record, "RECORD_S", FOR_EVER_S)  # noqa: B010
    path = Path(sys.argv.pop(1))
    counters = itertools.count(), itertools.count()
    count(*counters)
    try:
        main()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        path.write_text(" ".join(str(next(counter)) for counter in counters), encoding="ascii")
