"""Retry, delete, kill, reschedule, move and edit jobs for a person, report how it went, and follow what was sent again.

Called by the verbs of `dead`, `retries`, `scheduled` and `queues`. Always holds: stdout has only what `--json` or
`--dry-run` requests; a person who stops it learns how far it came; a job that has not ended in the time of `--wait` is
reported as such, never as done.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final

import attrs
import typer

from restbroker.cli import entries
from restbroker.config.values import duration_text
from restbroker.console import output
from restbroker.console.confirmation import confirm
from restbroker.console.exits import Exit
from restbroker.console.progress import progress
from restbroker.errors import RestbrokerError
from restbroker.job.json_types import Json
from restbroker.job.unserved_queues import counts_text
from restbroker.light import field, frozen
from restbroker.operate.act import Action, Jobs, Progress, Verb, perform
from restbroker.operate.act_set import SetJobs, inventory
from restbroker.operate.context import ConfigContext
from restbroker.operate.edit import Edit, differences, same_for_all
from restbroker.operate.enqueue import why_waiting
from restbroker.operate.find import SearchLimits
from restbroker.operate.follow import ActionResult, FailureCount, follow
from restbroker.operate.job import FOREIGN_QUEUE, ShownJob
from restbroker.store.client import Client

__all__ = ["Action", "PlannedAction"]

_DONE: Final[dict[Verb, str]] = {
    "retry": "retried",
    "delete": "deleted",
    "kill": "killed",
    "reschedule": "rescheduled",
    "move": "moved",
    "edit": "edited",
}
_MOST: Final = 100_000
"""How many jobs are followed at most, since their ids are kept in memory."""
_FIRST_S: Final = 0.2
_LONGEST_S: Final = 10.0
_REST: Final = 4
"""After each read, Redis is left alone for this many times as long as it took."""


@frozen
class PlannedAction:
    """An action, and how to do it; `wait_s`: for how long to follow the jobs that were sent again (None: not)."""

    client: Client
    action: Action
    known: ConfigContext
    dry_run: bool = field(kw_only=True)
    yes: bool = field(kw_only=True)
    as_json: bool = field(kw_only=True)
    wait_s: float | None = field(default=None, kw_only=True)

    def act(self, jobs: Jobs) -> None:
        """Do the action, after asking if it is risky; with `wait_s`, wait until the jobs have ended or the time is up.

        With `dry_run` show what it would do. End the command with FAILED if nothing could be done, with PARTLY if not
        everything.
        """
        if self.dry_run:
            self._print_plan(jobs)
            return
        last, jids = self._run(self._confirmed(jobs), dry_run=False)
        for note in last.notes:
            output.say(f"note: {note}")
        self._conclude(last, jids)

    def _run(self, jobs: Jobs, *, dry_run: bool) -> tuple[Progress, Sequence[str]]:
        """Return how far it came in the end, and the ids of the first jobs done.

        On a terminal it shows the progress meanwhile; when it is stopped, it prints how far it came.
        """
        past, step = _DONE[self.action.verb], Progress(0)
        jids: list[str] = []
        running = perform(self.client, jobs, self.action, self.known, dry_run=dry_run)
        with closing(running):  # type: ignore[type-var]  # a generator, which its type does not tell
            try:
                with progress(self.client) as show:
                    for step in running:
                        jids += step.jids[: _MOST - len(jids)]
                        so_far, total = _extent(jobs, step)
                        show(so_far, total, f"{step.looked_at:,} looked at" if dry_run else f"{step.done:,} {past}")
                        time.sleep(step.rest_s)
            except (KeyboardInterrupt, RestbrokerError) as error:
                if not dry_run:
                    output.say_how_far(step.done, past, error)
                raise
        return step, jids

    def _confirmed(self, jobs: Jobs) -> Jobs:
        """Ask if the action is risky; return the jobs that the question was about, all of them without a question."""
        action = self.action
        is_named = isinstance(jobs, SetJobs) and bool(jobs.names)
        if action.edit is not None:
            return jobs if self.yes and not is_named else self._confirmed_edit(jobs)
        # To bring back what is named costs nothing that cannot be undone; to throw away, or many at once, may.
        is_grave = action.verb in ("delete", "kill") or not is_named
        if self.yes or not (is_grave or action.foreign_queues):
            return jobs
        if (
            isinstance(jobs, SetJobs)
            and jobs.is_all
            and not (action.foreign_queues or action.verb in ("delete", "kill"))
        ):
            # No one waits until a million jobs are read, only to be asked about what can be undone.
            with progress(self.client):
                shown = inventory(self.client, jobs.zset)
            confirm(f"{action.verb.capitalize()} all {output.jobs(len(shown))} of {jobs.location}?")
            return attrs.evolve(jobs, inventory=shown)
        seen, _ = self._run(jobs, dry_run=True)
        if not is_grave and not seen.foreign_queues:
            return jobs
        if sys.stdin.isatty():
            entries.print_entries(seen.examples)
            _print_refusals(seen)
        foreign = _foreign_text(seen, action.verb)
        confirm(f"{action.verb.capitalize()} {_counted(seen, jobs)} of {jobs.location}{foreign}?")
        return jobs.as_seen(seen)

    def _confirmed_edit(self, jobs: Jobs) -> Jobs:
        """Show what an edit would change and ask; return those jobs. End the command if it changes nothing."""
        action, (seen, _) = self.action, self._run(jobs, dry_run=True)
        if not seen.done:
            self._conclude(seen, ())
            raise typer.Exit(Exit.OK)
        for line in _changes(seen, action):
            output.say(line)
        if seen.done > len(seen.previews):
            output.say(f"… and {output.jobs(seen.done - len(seen.previews))} more.")
        _print_refusals(seen)
        _warn(seen, action)
        sent = " and send" if action.edit is not None and action.edit.retry else ""
        confirm(f"Edit{sent} {_counted(seen, jobs)} of {jobs.location}?", yes=self.yes)
        return jobs.as_seen(seen)

    def _print_plan(self, jobs: Jobs) -> None:
        """Print what would be done."""
        action, (seen, _) = self.action, self._run(jobs, dry_run=True)
        if self.as_json:
            output.as_json({"dry_run": True, **_as_json(seen, action)})
        elif action.edit is not None:
            for line in _changes(seen, action):
                output.data(line)
        else:
            entries.write(seen.examples, as_json=False)
        above = len(seen.examples if action.edit is None else seen.previews)
        more = f", the first {above} of them above" if seen.done > above > 0 else ""
        would = f"{_counted(seen, jobs)} of {seen.total:,} in {jobs.location} would be {_past_tense(action)}"
        output.say(f"{would}{more}{_foreign_text(seen, action.verb)}.")
        _print_refusals(seen)
        _warn(seen, action)
        _end_with(_code(seen, action))

    def _conclude(self, last: Progress, jids: Sequence[str]) -> None:
        """Print what was done, and with `wait_s` what became of the jobs; end the command with its code."""
        action = self.action
        output.say(f"{output.jobs(last.done)} {_past_tense(action)}{_foreign_text(last, action.verb)}.")
        _print_refusals(last)
        became = None
        if self.wait_s is not None and jids:
            if last.done > len(jids):
                output.say(f"note: only the first {output.jobs(len(jids))} will be followed.")
            became = _follow(self.client, jids, self.known, self.wait_s, last.began_s)
            _print_result(became, self.wait_s)
        if self.as_json:
            followed = {} if became is None else {"became": _result_json(became)}
            output.as_json({"dry_run": False, **_as_json(last, action), **followed})
        code = Exit.OK if became is None else _result_code(became)
        _end_with(_code(last, action) if code is Exit.OK else code)


def _counted(seen: Progress, jobs: Jobs) -> str:
    """Return how many jobs would be done; with a limit, that it is one."""
    return output.jobs(seen.done) + ("" if jobs.limit is None else f" (at most {jobs.limit:,})")


def _extent(jobs: Jobs, step: Progress) -> tuple[int, int]:
    """Return how many jobs were read so far, and how many there are; of a limited number how many are done."""
    if isinstance(jobs, SetJobs) and jobs.limit is not None:
        return step.done, jobs.limit
    return step.looked_at, len(jobs.names) if isinstance(jobs, SetJobs) and jobs.names else step.total


def _end_with(code: Exit) -> None:
    if code is not Exit.OK:
        raise typer.Exit(code)


def _changes(seen: Progress, action: Action) -> Iterator[str]:
    """Yield what an edit would change in the first jobs, a line for each difference; secrets are masked."""
    assert action.edit is not None  # noqa: S101 - previews are of edits only
    for before, after in seen.previews:
        yield f"{before.jid or before.key} ({before.command or '-'})"
        for name, was, now in differences(before, after, action.edit.values):
            yield f"    {name}: {was} → {now}"
        if before.may_have_run:
            yield "    It may have run already, unedited: check on the server whether it was done."


def _warn(seen: Progress, action: Action) -> None:
    """Warn about secrets that become the same in all jobs, since the value that each had is lost then."""
    if action.edit is not None and seen.done > 1:
        for name in same_for_all(seen.previews, action.edit.values):
            output.say(
                f"warning: {name} becomes the same in all {seen.done} jobs. If each is to keep its own value under"
                f" another name: --rename NAME={name}"
            )


def _past_tense(action: Action) -> str:
    return "edited and sent" if action.edit is not None and action.edit.retry else _DONE[action.verb]


def _foreign_text(seen: Progress, verb: Verb) -> str:
    if not seen.foreign_queues or FOREIGN_QUEUE.why in seen.refused:
        return ""
    count, way = sum(seen.foreign_queues.values()), "from" if verb in ("delete", "kill") else "to"
    return (
        f", {count:,} of them {way} queues that this configuration does not serve: {counts_text(seen.foreign_queues)}"
    )


def _code(last: Progress, action: Action) -> Exit:
    """Return the exit code for this result, of a real or a trial run."""
    if last.refused or last.missing or not last.ended or (last.gone and action.edit is not None):
        return Exit.PARTLY if last.done else Exit.FAILED
    return Exit.OK


def _print_refusals(seen: Progress) -> None:
    for why, count in seen.refused.items():
        output.say(f"{output.jobs(count)} not changed: {why}")
        if why == FOREIGN_QUEUE.why:
            output.say(f"The queues: {counts_text(seen.foreign_queues)}.")
    for name in seen.missing:
        output.say(f"There is no job {name} (any more).")
    if seen.gone:
        output.say(f"{output.jobs(seen.gone)} gone meanwhile: someone else was faster.")
    if seen.unseen:
        output.say(
            f"{output.jobs(seen.unseen)} not searched: other processes took them first, or restbroker lost its place "
            "in the queue. Run the command again for the rest."
        )


def _as_json(seen: Progress, action: Action) -> dict[str, Json]:
    refused: list[Json] = [{"reason": why, "jobs": count} for why, count in seen.refused.items()]
    return {
        "action": action.verb,
        "run": seen.run or None,
        "looked_at": seen.looked_at,
        "matched": seen.matched,
        "done": seen.done,
        "gone": seen.gone,
        "unseen": seen.unseen,
        "refused": refused,
        "foreign_queues": dict(seen.foreign_queues),
        "missing": list(seen.missing),
        "examples": [entries.fields(entry) for entry in seen.examples],
        **({} if action.edit is None else {"edits": [_edit(*preview, action.edit) for preview in seen.previews]}),
    }


def _edit(before: ShownJob, after: ShownJob, edit: Edit) -> dict[str, Json]:
    told = differences(before, after, edit.values)
    return {"jid": before.jid, "changes": [{"name": name, "before": was, "after": now} for name, was, now in told]}


def _follow(
    client: Client, jids: Sequence[str], known: ConfigContext, timeout_s: float, since_s: float
) -> ActionResult:
    """Wait until all these jobs, sent since `since_s`, have ended, or `timeout_s` is over; return the last result.

    It prints why jobs wait, and on a terminal how far they are. Raise `StoreUnavailable` if Redis is away.
    """
    deadline, pause_s = time.monotonic() + timeout_s, _FIRST_S
    reasons: set[str] = set()
    with progress() as show:
        while True:
            began_s = time.monotonic()
            seconds = min(_LONGEST_S, max(deadline - began_s, 1.0))
            bounds = SearchLimits(seconds=seconds, jobs=10 * _MOST)
            became = follow(client, jids, known, bounds, since_s)
            remaining_s = deadline - time.monotonic()
            if became.is_over:
                return became
            for why in _hindrances(client, became, known):
                if why not in reasons:
                    output.say(f"note: {why}")
                reasons.add(why)
            if remaining_s <= 0:
                return became
            show(became.done + became.failed_jobs, became.jobs, _progress_text(became))
            time.sleep(min(pause_s, remaining_s))
            pause_s = min(_LONGEST_S, max(2 * pause_s, _REST * (time.monotonic() - began_s - pause_s)))


def _hindrances(client: Client, became: ActionResult, known: ConfigContext) -> Iterator[str]:
    """Yield why jobs that wait are not taken, as far as it is known."""
    for queue in became.queues:
        target = known.targets.get(queue)
        if why := why_waiting(client, queue, None if target is None else target.name):
            yield why


def _print_result(became: ActionResult, timeout_s: float) -> None:
    """Print the result of following the jobs for up to `timeout_s` seconds."""
    output.say(f"{_progress_text(became)}.")
    for row in became.failed:
        name, group = entries.COMMANDS[row.zset], "" if row.group is None else f" --where 'failure_group = {row.group}'"
        output.say(f"{output.jobs(row.jobs)}: {_why(row)} (restbroker {name} list{group})")
    if became.is_over:
        return
    output.say(
        f"After {duration_text(timeout_s)} some have not ended; they stay queued. restbroker explain JID shows one."
    )
    for why in (*became.refused, *(f"not searched: {where}" for where in became.unseen)):
        output.say(f"note: {why}")


def _result_code(became: ActionResult) -> Exit:
    """Return the exit code for the result of following the jobs."""
    if not became.is_over:
        return Exit.WAITING
    if became.failed:
        return Exit.PARTLY if became.done else Exit.FAILED
    return Exit.OK


def _result_json(became: ActionResult) -> dict[str, Json]:
    """Return the result of following the jobs, as fields for `--json`."""
    failed: list[Json] = [
        {
            "place": entries.COMMANDS[row.zset],
            "group": row.group,
            "error": row.code,
            "message": row.message,
            "jobs": row.jobs,
        }
        for row in became.failed
    ]
    counts = attrs.asdict(became, recurse=False, filter=lambda one, _: one.name != "failed_jobs")
    return {**counts, "failed": failed}


def _progress_text(became: ActionResult) -> str:
    on_their_way = became.waiting + became.in_progress
    counts = {"failed again": became.failed_jobs, "on their way": on_their_way, "not found yet": became.unknown}
    return ", ".join([f"{output.jobs(became.done)} done", *(f"{jobs} {what}" for what, jobs in counts.items() if jobs)])


def _why(one: FailureCount) -> str:
    return ": ".join(word for word in (one.code, one.message) if word) or "no reason recorded"
