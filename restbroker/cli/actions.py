"""Retry, delete, kill, reschedule, move and edit jobs for a person, and report how it went.

Called by the verbs of `dead`, `retries` and `scheduled`. Always holds: stdout has only what `--json` or `--dry-run`
requests; a person who stops it learns how far it came.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Final, TypeAlias

import attrs
import typer

from restbroker.cli import action_result, entries
from restbroker.config.core import Config
from restbroker.console import output
from restbroker.console.confirmation import confirm
from restbroker.console.exits import Exit
from restbroker.errors import RestbrokerError
from restbroker.job.json_types import Json
from restbroker.job.unserved_queues import counts_text
from restbroker.operate import keys
from restbroker.operate.act import Action, Progress, Selection, Verb, perform
from restbroker.operate.act_job import FOREIGN_QUEUE
from restbroker.operate.connect import open_store
from restbroker.operate.context import ConfigContext
from restbroker.operate.edit import Edit, differences, same_for_all
from restbroker.operate.entry import Entry
from restbroker.operate.follow import ActionResult
from restbroker.operate.inventory import Inventory, inventory
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet

__all__ = ["ActOptions", "Action", "Operation", "act", "ask_for", "carry_out"]

_DONE: Final[dict[Verb, str]] = {
    "retry": "retried",
    "delete": "deleted",
    "kill": "killed",
    "reschedule": "rescheduled",
    "move": "moved",
    "edit": "edited",
}
_TELL_EVERY_S: Final = 2.0
Follow: TypeAlias = Callable[[Sequence[str]], ActionResult]
"""Waits for the jobs with these ids and returns what became of them."""


@attrs.frozen(kw_only=True)
class ActOptions:
    """How to act; `wait_s`: for how many seconds to follow the jobs that were sent again (None: not at all)."""

    dry_run: bool = False
    yes: bool = False
    rate_per_s: float | None = None
    as_json: bool = False
    wait_s: float | None = None


@attrs.frozen
class Operation:
    """An action. `run(dry_run)` does it, or tells what it would do; `location` says in words where the jobs are."""

    action: Action
    location: str
    run: Callable[[bool], Iterator[Progress]]


def act(
    settings: Config, zset: SortedSet, action: Action, chosen: Selection, known: ConfigContext, how: ActOptions
) -> None:
    """Do the action, after asking if it is risky; with `wait_s`, wait until the jobs have ended or the time is up.

    End the command with FAILED if nothing could be done, with PARTLY if not everything.
    """
    with open_store(settings) as client:

        def operation(meant: Selection) -> Operation:
            def run(dry_run: bool) -> Iterator[Progress]:
                rate = None if dry_run else how.rate_per_s
                return perform(client, zset, action, chosen=meant, known=known, dry_run=dry_run, rate_per_s=rate)

            return Operation(action, f"the {zset} set", run)

        def became(jids: Sequence[str]) -> ActionResult:
            return action_result.wait(client, jids, known, how.wait_s or 0.0)

        follow = None if how.wait_s is None else became
        if how.dry_run:
            carry_out(operation(chosen), how, lambda: None)
            return
        shown = _confirm(client, zset, operation(chosen), chosen=chosen, how=how)
        meant = chosen if shown is None else attrs.evolve(chosen, inventory=shown)
        last, jids = _run(operation(meant), dry_run=False)
        if zset == "dead" and action.verb == "delete" and jids:
            for note in keys.stopped_notes(client, frozenset(jids), known):
                output.say(f"note: {note}")
        _conclude(last, jids, action, how=how, follow=follow)


def carry_out(operation: Operation, how: ActOptions, ask: Callable[[], object]) -> None:
    """Do an operation, or with `dry_run` show what it would do; call `ask` first unless the answer was given (`yes`).

    End the command with FAILED if nothing could be done, with PARTLY if not everything.
    """
    if how.dry_run:
        _print_plan(_run(operation, dry_run=True)[0], operation, as_json=how.as_json)
        return
    if not how.yes:
        ask()
    last, jids = _run(operation, dry_run=False)
    _conclude(last, jids, operation.action, how=how, follow=None)


def ask_for(operation: Operation) -> Progress:
    """Show what would be done, ask whether to do it, and return the counts of that; end the command without a yes."""
    verb, (seen, _) = operation.action.verb, _run(operation, dry_run=True)
    if sys.stdin.isatty():
        entries.print_entries(seen.examples)
        _print_refusals(seen)
    confirm(f"{verb.capitalize()} {output.jobs(seen.done)} of {operation.location}{_foreign_text(seen, verb)}?")
    return seen


def _run(operation: Operation, *, dry_run: bool) -> tuple[Progress, Sequence[str]]:
    """Return how far it came in the end, and the ids of the first jobs done.

    On a terminal it prints the progress meanwhile, and, when it is stopped, how far it came.
    """
    action, step = operation.action, Progress(0)
    jids: list[str] = []
    told_at = time.monotonic()
    running = operation.run(dry_run)
    with closing(running):  # type: ignore[type-var]  # a generator, which its type does not tell
        try:
            for step in running:
                jids += step.jids[: action_result.MOST - len(jids)]
                if sys.stderr.isatty() and time.monotonic() - told_at >= _TELL_EVERY_S:
                    told_at = time.monotonic()
                    counted = "" if dry_run else f", {step.done} {_DONE[action.verb]}"
                    output.say(f"… {step.looked_at} of {step.total} looked at{counted}")
        except KeyboardInterrupt:
            if not dry_run:
                output.say(f"{output.jobs(step.done)} {_DONE[action.verb]}. Run the same command again for the rest.")
            raise
        except RestbrokerError:
            if step.done and not dry_run:
                output.say("Changes made so far stay. Run the same command again for the rest.")
            raise
    return step, jids


def _confirm(
    client: Client, zset: SortedSet, operation: Operation, chosen: Selection, how: ActOptions
) -> Inventory | None:
    """Ask if the action is risky; return the jobs of the set that the question was about, None without a question."""
    action = operation.action
    if action.edit is not None:
        return None if how.yes and not chosen.names else ask_for_edit(operation, how).inventory
    # To bring back what is named costs nothing that cannot be undone; to throw away, or many at once, may.
    is_grave = action.verb in ("delete", "kill") or not chosen.names
    if how.yes or not (is_grave or action.foreign_queues):
        return None
    is_all = not chosen.names and not chosen.where and chosen.limit is None
    if is_all and not action.foreign_queues and action.verb not in ("delete", "kill"):
        # No one waits until a million jobs are read, only to be asked about what can be undone.
        shown = inventory(client, zset)
        confirm(f"{action.verb.capitalize()} all {output.jobs(len(shown))} of the {zset} set?")
        return shown
    if not is_grave and not _run(operation, dry_run=True)[0].foreign_queues:
        return None
    return ask_for(operation).inventory


def ask_for_edit(operation: Operation, how: ActOptions) -> Progress:
    """Show what an edit would change, ask whether to do it, and return that; end the command if it changes nothing."""
    action, (seen, _) = operation.action, _run(operation, dry_run=True)
    if not seen.done:
        _conclude(seen, (), action, how=how, follow=None)
        raise typer.Exit(Exit.OK)
    for line in _changes(seen, action):
        output.say(line)
    if seen.done > len(seen.previews):
        output.say(f"… and {output.jobs(seen.done - len(seen.previews))} more.")
    _print_refusals(seen)
    _warn(seen, action)
    sent = " and send" if action.edit is not None and action.edit.retry else ""
    confirm(f"Edit{sent} {output.jobs(seen.done)} of {operation.location}?", yes=how.yes)
    return seen


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


def _print_plan(seen: Progress, operation: Operation, *, as_json: bool) -> None:
    action = operation.action
    if as_json:
        output.as_json({"dry_run": True, **_as_json(seen, action)})
    elif action.edit is not None:
        for line in _changes(seen, action):
            output.data(line)
    else:
        entries.write(seen.examples, as_json=False)
    above = len(seen.examples if action.edit is None else seen.previews)
    more = f", the first {above} of them above" if seen.done > above > 0 else ""
    would = f"{output.jobs(seen.done)} of {seen.total} in {operation.location} would be {_past_tense(action)}"
    output.say(f"{would}{more}{_foreign_text(seen, action.verb)}.")
    _print_refusals(seen)
    _warn(seen, action)
    if (code := _code(seen, action)) is not Exit.OK:
        raise typer.Exit(code)


def _conclude(last: Progress, jids: Sequence[str], action: Action, how: ActOptions, follow: Follow | None) -> None:
    output.say(f"{output.jobs(last.done)} {_past_tense(action)}{_foreign_text(last, action.verb)}.")
    _print_refusals(last)
    became = None
    if follow is not None and jids:
        if last.done > len(jids):
            output.say(f"note: only the first {output.jobs(len(jids))} will be followed.")
        became = follow(jids)
        action_result.print_result(became, how.wait_s or 0.0)
    if how.as_json:
        followed = {} if became is None else {"became": action_result.fields(became)}
        output.as_json({"dry_run": False, **_as_json(last, action), **followed})
    code = Exit.OK if became is None else action_result.exit_code(became)
    code = _code(last, action) if code is Exit.OK else code
    if code is not Exit.OK:
        raise typer.Exit(code)


def _code(last: Progress, action: Action) -> Exit:
    """Return the exit code for this result, of a real or a trial run."""
    if last.refused or last.missing or (last.gone and action.edit is not None):
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
        **({} if action.edit is None else {"edits": [_edit(*one, action.edit) for one in seen.previews]}),
    }


def _edit(before: Entry, after: Entry, edit: Edit) -> dict[str, Json]:
    told = differences(before, after, edit.values)
    return {"jid": before.jid, "changes": [{"name": name, "before": was, "after": now} for name, was, now in told]}
