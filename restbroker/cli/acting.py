"""Retries, deletes, kills, reschedules and moves jobs for a person, and tells how it went.

Called by the verbs of `dead`, `retries` and `scheduled`. Always holds: stdout has only what was asked for with `--json`
or `--dry-run`; who stops it is told how far it came.
"""

import sys
import time
from contextlib import closing
from typing import Final

import attrs
import typer

from restbroker.cli import entries
from restbroker.config.core import Config
from restbroker.console import output
from restbroker.console.asking import confirm
from restbroker.console.exits import Exit
from restbroker.errors import RestbrokerError
from restbroker.job.json_types import Json
from restbroker.job.unserved import listed
from restbroker.operate.act import Action, Chosen, Progress, Verb, perform
from restbroker.operate.act_job import FOREIGN
from restbroker.operate.connect import open_store
from restbroker.operate.known import Known
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet
from restbroker.store.sets import size

__all__ = ["Action", "How", "act"]

_DONE: Final[dict[Verb, str]] = {
    "retry": "retried",
    "delete": "deleted",
    "kill": "killed",
    "reschedule": "rescheduled",
    "move": "moved",
}
_TELL_EVERY_S: Final = 2.0


@attrs.frozen(kw_only=True)
class How:
    """What a person may say besides."""

    dry_run: bool = False
    yes: bool = False
    rate_per_s: float | None = None
    as_json: bool = False


def act(settings: Config, zset: SortedSet, action: Action, chosen: Chosen, known: Known, how: How) -> None:
    """Does it, asking first where that is due. Ends with FAILED if nothing could be done, PARTLY if not everything."""
    with open_store(settings) as client:
        if how.dry_run:
            seen = _last(client, zset, action, chosen, known, attrs.evolve(how, rate_per_s=None))
            _tell_plan(seen, zset, action, as_json=how.as_json)
            return
        if not how.yes:
            _ask(client, zset, action, chosen, known)
        try:
            last = _last(client, zset, action, chosen, known, how)
        except RestbrokerError:
            output.say("What was done until then is done. The same command again goes on with the rest.")
            raise
    _conclude(last, action, as_json=how.as_json)


def _last(client: Client, zset: SortedSet, action: Action, chosen: Chosen, known: Known, how: How) -> Progress:
    """How it went in the end; tells on a terminal how far it is, and when it is stopped, how far it came."""
    step = Progress(0)
    told_at = time.monotonic()
    running = perform(client, zset, action, chosen, known, dry_run=how.dry_run, rate_per_s=how.rate_per_s)
    with closing(running):  # type: ignore[type-var]  # a generator, which its type does not tell
        try:
            for step in running:
                if sys.stderr.isatty() and time.monotonic() - told_at >= _TELL_EVERY_S:
                    told_at = time.monotonic()
                    output.say(f"… {step.looked_at} of {step.total} looked at, {step.done} {_DONE[action.verb]}")
        except KeyboardInterrupt:
            if not how.dry_run:
                output.say(
                    f"{output.jobs(step.done)} {_DONE[action.verb]}. The same command again goes on with the rest."
                )
            raise
    return step


def _ask(client: Client, zset: SortedSet, action: Action, chosen: Chosen, known: Known) -> None:
    # To bring back what is named costs nothing that cannot be mended; to throw away, or many at once, may.
    is_grave = action.verb in ("delete", "kill") or not chosen.names
    if not is_grave and not action.foreign_queues:
        return
    if not chosen.names and not chosen.where and not action.foreign_queues:
        # Nobody waits until a million jobs are looked at, only to be asked.
        total = size(client, zset)
        confirm(f"{action.verb.capitalize()} all {output.jobs(total)} of the {zset} set?")
        return
    seen = _last(client, zset, action, chosen, known, How(dry_run=True))
    if not is_grave and not seen.foreign:
        return
    if sys.stdin.isatty():
        entries.talk(seen.examples)
        _tell_refused(seen)
    confirm(f"{action.verb.capitalize()} {output.jobs(seen.done)} of the {zset} set{_led_away(seen)}?")


def _led_away(seen: Progress) -> str:
    if not seen.foreign or FOREIGN.why in seen.refused:
        return ""
    count = sum(seen.foreign.values())
    return f", {count} of them to queues that this configuration does not serve: {listed(seen.foreign)}"


def _tell_plan(seen: Progress, zset: SortedSet, action: Action, *, as_json: bool) -> None:
    if as_json:
        output.as_json({"dry_run": True, **_as_json(seen, action)})
    else:
        entries.write(seen.examples, as_json=False)
    more = f", the first {len(seen.examples)} of them above" if seen.matched > len(seen.examples) > 0 else ""
    would = f"{output.jobs(seen.done)} of {seen.total} in the {zset} set would be {_DONE[action.verb]}"
    output.say(f"{would}{more}{_led_away(seen)}.")
    _tell_refused(seen)


def _conclude(last: Progress, action: Action, *, as_json: bool) -> None:
    if as_json:
        output.as_json({"dry_run": False, **_as_json(last, action)})
    output.say(f"{output.jobs(last.done)} {_DONE[action.verb]}{_led_away(last)}.")
    _tell_refused(last)
    left = bool(last.refused or last.missing)
    if left:
        raise typer.Exit(Exit.PARTLY if last.done else Exit.FAILED)


def _tell_refused(seen: Progress) -> None:
    for why, count in seen.refused.items():
        output.say(f"{output.jobs(count)} left: {why}")
        if why == FOREIGN.why:
            output.say(f"The queues: {listed(seen.foreign)}.")
    for name in seen.missing:
        output.say(f"There is no job {name} (any more).")
    if seen.gone:
        output.say(f"{output.jobs(seen.gone)} gone meanwhile: somebody else was faster.")


def _as_json(seen: Progress, action: Action) -> dict[str, Json]:
    refused: list[Json] = [{"reason": why, "jobs": count} for why, count in seen.refused.items()]
    return {
        "action": action.verb,
        "looked_at": seen.looked_at,
        "matched": seen.matched,
        "done": seen.done,
        "gone": seen.gone,
        "refused": refused,
        "foreign_queues": dict(seen.foreign),
        "missing": list(seen.missing),
        "examples": [entries.fields(entry) for entry in seen.examples],
    }
