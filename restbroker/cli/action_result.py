"""Wait until jobs that a person sent again are done, or have failed once more, and print the result.

Called by `retry --wait` and `edit --retry --wait`. Always holds: it only reads; a job that has not ended when the time
is up is reported as such, never as done.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from restbroker.config.values import duration_text
from restbroker.console import output
from restbroker.console.exits import Exit
from restbroker.job.json_types import Json
from restbroker.operate.context import ConfigContext
from restbroker.operate.enqueue import why_waiting
from restbroker.operate.follow import ActionResult, FailureCount, follow
from restbroker.operate.walk import SearchLimits
from restbroker.store.client import Client

MOST: Final = 100_000
"""How many jobs are followed at most, since their ids are kept in memory."""
_FIRST_S: Final = 0.2
_LONGEST_S: Final = 10.0
_REST: Final = 4
"""After each read, Redis is left alone for this many times as long as it took."""
_LISTS: Final = {"dead": "dead", "retry": "retries"}


def wait(client: Client, jids: Sequence[str], known: ConfigContext, timeout_s: float) -> ActionResult:
    """Wait until all these jobs have ended, or `timeout_s` is over; return the last result.

    It prints why jobs wait, and on a terminal how far they are. Raise `StoreUnavailable` if Redis is away.
    """
    deadline, pause_s, told = time.monotonic() + timeout_s, _FIRST_S, ""
    reasons: set[str] = set()
    while True:
        began_s = time.monotonic()
        seconds = min(_LONGEST_S, max(deadline - began_s, 1.0))
        bounds = SearchLimits(seconds=seconds, jobs=10 * MOST)
        became = follow(client, jids, known, bounds)
        remaining_s = deadline - time.monotonic()
        if became.is_over:
            return became
        for why in _hindrances(client, became, known):
            if why not in reasons:
                output.say(f"note: {why}")
            reasons.add(why)
        if remaining_s <= 0:
            return became
        if sys.stderr.isatty() and (words := _progress_text(became)) != told:
            output.say(f"… {words}")
            told = words
        time.sleep(min(pause_s, remaining_s))
        pause_s = min(_LONGEST_S, max(2 * pause_s, _REST * (time.monotonic() - began_s - pause_s)))


def _hindrances(client: Client, became: ActionResult, known: ConfigContext) -> Iterator[str]:
    """Yield why jobs that wait are not taken, as far as it is known."""
    for queue in became.queues:
        target = known.targets.get(queue)
        if why := why_waiting(client, queue, None if target is None else target.name):
            yield why


def print_result(became: ActionResult, timeout_s: float) -> None:
    """Print the result of following the jobs for up to `timeout_s` seconds."""
    output.say(f"{_progress_text(became)}.")
    for one in became.failed:
        name, group = _LISTS[one.zset], "" if one.group is None else f" --where 'failure_group = {one.group}'"
        output.say(f"{output.jobs(one.jobs)}: {_why(one)} (restbroker {name} list{group})")
    if became.is_over:
        return
    output.say(
        f"After {duration_text(timeout_s)} some have not ended; they stay queued. restbroker explain JID shows one."
    )
    for why in (*became.refused, *(f"not searched: {where}" for where in became.unseen)):
        output.say(f"note: {why}")


def exit_code(became: ActionResult) -> Exit:
    """Return the exit code for the result of following the jobs."""
    if not became.is_over:
        return Exit.WAITING
    if became.failed:
        return Exit.PARTLY if became.done else Exit.FAILED
    return Exit.OK


def fields(became: ActionResult) -> dict[str, Json]:
    """Return the result of following the jobs, as fields for `--json`."""
    failed: list[Json] = [
        {"place": _LISTS[one.zset], "group": one.group, "error": one.code, "message": one.message, "jobs": one.jobs}
        for one in became.failed
    ]
    counts = attrs.asdict(became, recurse=False, filter=lambda one, _: one.name != "failed_jobs")
    return {**counts, "failed": failed}


def _progress_text(became: ActionResult) -> str:
    on_their_way = became.waiting + became.in_progress
    counts = {"failed again": became.failed_jobs, "on their way": on_their_way, "not found yet": became.unknown}
    return ", ".join([f"{output.jobs(became.done)} done", *(f"{jobs} {what}" for what, jobs in counts.items() if jobs)])


def _why(one: FailureCount) -> str:
    return ": ".join(word for word in (one.code, one.message) if word) or "no reason recorded"
