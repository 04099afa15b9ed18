"""Findings of the check about problems that the processes reading a source reported. Called by the kinds' checks.

Always holds: a problem that the check has found by itself is not repeated, and of many users a few are named.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from restbroker.servers.findings import Cause, Finding
from restbroker.store.sources import SourceState

_MOST: Final = 10


def findings_of(
    states: Sequence[SourceState], known: Sequence[Finding], why: str, causes: Mapping[str, Cause]
) -> Iterator[Finding]:
    """Yield a finding for each process and user of `states` for which nothing is read, except for what is `known`.

    There are ten at most; the last says how many more there would be. `causes`: {code: cause}.
    """
    troubled = [state for state in states if state.code and not any(_is_same(one, state) for one in known)]
    for number, state in enumerate(troubled[:_MOST], start=1):
        since = f"{datetime.fromtimestamp(state.since_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
        more = len(troubled) - _MOST if number == _MOST else 0
        others = f" The same applies to {more} more." if more > 0 else ""
        message = f"Source {state.source}: {state.message} {state.process} says so, since {since}.{others}"
        yield Finding(
            "problem",
            "Events",
            state.code,
            message=message,
            why=why,
            hint=state.hint,
            cause=causes.get(state.code, "other"),
        )


def _is_same(finding: Finding, state: SourceState) -> bool:
    return finding.code == state.code and (not state.user or state.message in finding.message)
