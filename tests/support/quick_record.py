"""`python -m tests.support.quick_record`: restbroker, but its record is written every 0.2 s instead of every 5.

For the tests of tests/sidekiq/ that wait for what the next record shows, or for a request that it takes.
"""

from restbroker.__main__ import main
from restbroker.broker.status import record

QUICK_S = 0.2

if __name__ == "__main__":
    # Not assigned: for everybody else it is a constant.
    setattr(record, "RECORD_S", QUICK_S)  # noqa: B010
    main()
