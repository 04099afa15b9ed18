"""What `restbroker check` found, and which exit code follows."""

from restbroker.servers.findings import CAUSES, Cause, Finding, worst_cause
from tests.support.rows import rows


def problem(cause: Cause) -> Finding:
    return Finding("problem", "redis", "Code", "message", cause=cause)


@rows("place", range(len(CAUSES)))
def test_the_first_cause_in_order_counts_whatever_was_found_first(place: int) -> None:
    assert worst_cause([problem(cause) for cause in reversed(CAUSES[place:])]) == CAUSES[place]
