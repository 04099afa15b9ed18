"""`python -m tests.support.quick_record`: restbroker, but what it does every 5 or 10 seconds it does more often.

Its record is written every 0.2 s instead of every 5, the log sums up every second instead of every 10. For tests that
wait for what the next record shows, for a request that it takes, or for a sum.
"""

from restbroker.__main__ import main
from restbroker.app import services
from restbroker.broker.status import record

QUICK_S = 0.2
SUMMARY_S = 1.0

if __name__ == "__main__":
    # Not assigned: for everybody else they are constants.
    setattr(record, "RECORD_S", QUICK_S)  # noqa: B010
    setattr(services, "_SUMMARY_S", SUMMARY_S)  # noqa: B010
    main()
