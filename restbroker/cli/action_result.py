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
from restbroker.operate.job_search import SearchLimits
from restbroker.operate.tally import Progress
from restbroker.store.client import Client

MOST: Final = 100_000
"""How many jobs are followed at most, since their ids are kept in memory."""
_FIRST_S: Final = 0.2
_LONGEST_S: Final = 10.0
_REST: Final = 4
"""After each read, Redis is left alone for this many times as long as it took."""
_LISTS: Final = {"dead": "dead", "retry": "retries"}


def wait(
    client: Client, jids: Sequence[str], sent: Progress, known: ConfigContext, timeout_s: float, *, keeps_ends: bool
) -> ActionResult:
    """Wait until all jobs that were `sent` have ended, or `timeout_s` is over; return the last result.

    It prints why jobs wait, and on a terminal how far they are. Raise `StoreUnavailable` if Redis is away.
    """
    deadline, pause_s, told = time.monotonic() + timeout_s, _FIRST_S, ""
    reasons: set[str] = set()
    elsewhere = frozenset(sent.elsewhere)
    while True:
        began_s = time.monotonic()
        seconds = min(_LONGEST_S, max(deadline - began_s, 1.0))
        bounds = SearchLimits(seconds=seconds, jobs=10 * MOST, ends=10 * MOST)
        became = follow(
            client, jids, sent.began_s, known=known, bounds=bounds, elsewhere=elsewhere, keeps_ends=keeps_ends
        )
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
    if became.dropped:
        output.say(f'{output.jobs(became.dropped)} failed and were dropped, as their own "dead": false demands.')
    if became.gone:
        output.say(
            f"note: {became.gone} of them count as done because they are gone. With History in env.json, restbroker"
            " records how jobs end."
        )
    if became.deleted:
        output.say(
            f"note: {output.jobs(became.deleted)} gone without a record: someone deleted them, or a process without"
            " History finished them."
        )
    if became.taken:
        output.say(
            f"note: restbroker does not know what became of {became.taken} of them: another program serves their"
            " queues, and they are gone."
        )
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
    if became.failed or became.dropped or became.deleted:
        return Exit.PARTLY if became.done or became.gone or became.taken else Exit.FAILED
    return Exit.PARTLY if became.taken else Exit.OK


def fields(became: ActionResult) -> dict[str, Json]:
    """Return the result of following the jobs, as fields for `--json`."""
    told = {**attrs.asdict(became, recurse=False), "queues": list(became.queues)}
    failed: list[Json] = [
        {"place": _LISTS[one.zset], "group": one.group, "error": one.code, "message": one.message, "jobs": one.jobs}
        for one in became.failed
    ]
    return {**told, "failed": failed, "unseen": list(became.unseen), "refused": list(became.refused)}


def _progress_text(became: ActionResult) -> str:
    return ", ".join(_parts(became))


def _parts(became: ActionResult) -> Iterator[str]:
    yield f"{output.jobs(became.done + became.gone)} done"
    if became.failed_jobs + became.dropped:
        yield f"{became.failed_jobs + became.dropped} failed again"
    if became.killed_jobs:
        yield f"{became.killed_jobs} killed"
    if became.deleted:
        yield f"{became.deleted} deleted"
    if became.taken:
        yield f"{became.taken} taken by another program"
    if became.waiting + became.in_progress:
        yield f"{became.waiting + became.in_progress} on their way"
    if became.unknown:
        yield f"{became.unknown} not found yet"


def _why(one: FailureCount) -> str:
    return ": ".join(word for word in (one.code, one.message) if word)
