"""What `restbroker check` found, and which exit code follows."""

from restbroker.servers.findings import CAUSES, Cause, Finding, ok, worst_cause
from tests.support.rows import rows


def problem(cause: Cause) -> Finding:
    return Finding("problem", "redis", "Code", "message", cause=cause)


def test_what_is_well_is_no_problem_and_names_what_was_looked_at() -> None:
    found = ok("redis", "Version", "Redis 7.2")
    assert (found.level, found.area, found.code, found.message) == ("ok", "redis", "Version", "Redis 7.2")
    warning = Finding("warning", "redis", "Code", "message", cause="store")
    assert worst_cause([found, warning]) is None


@rows("place", range(len(CAUSES)))
def test_the_first_cause_in_order_counts_whatever_was_found_first(place: int) -> None:
    assert worst_cause([problem(cause) for cause in reversed(CAUSES[place:])]) == CAUSES[place]
