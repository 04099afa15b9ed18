"""`restbroker keys`: keys whose jobs are done one after the other, or take turns; why one waits, and what to do."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Final

import attrs
import typer

from restbroker.cli import entries
from restbroker.cli.queues import QueueName, report_jobs, require_queue, run_steps
from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.console import columns, completion, output
from restbroker.console.columns import Column
from restbroker.console.confirmation import confirm
from restbroker.console.lists import ListsFirst
from restbroker.console.options import (
    Consent,
    LimitOption,
    MostOption,
    OneTargetOption,
    Output,
    ReasonOptions,
    RepeatUnsafeOption,
    argument,
    command,
    option,
)
from restbroker.console.times import duration
from restbroker.console.who import who
from restbroker.errors import UsageError
from restbroker.job import hiding
from restbroker.operate import keys
from restbroker.operate.act import Progress
from restbroker.operate.act_job import Action
from restbroker.operate.connect import open_store
from restbroker.operate.context import ConfigContext, context_of
from restbroker.operate.keys import STATES, FairKey, FairQueue, OrderKey
from restbroker.operate.names import listed, require
from restbroker.store import key_queues
from restbroker.store.client import Client
from restbroker.store.order import BusyKey
from restbroker.store.server import time_s

app = typer.Typer(
    cls=ListsFirst,
    add_completion=False,
    help="Show the keys whose jobs are done one after the other (OrderBy) or take turns (FairBy), and help those that"
    " wait. Without a command: list.",
)
KeyName = Annotated[str, argument("KEY", "The key, as `restbroker keys list` shows it.")]
OfQueue = Annotated[str | None, option("--queue QUEUE", "Keys in the lines of this queue (FairBy).", completion.queues)]


def _targets(settings: Config, target: str | None) -> list[Target]:
    """Return the targets whose keys are meant: also those without OrderBy, which may have had one."""
    if target is not None:
        require("target", target, [known.name for known in settings.targets])
    return [known for known in settings.targets if target in (None, known.name)]


@contextmanager
def _open(how: Output) -> Iterator[tuple[Client, Config, ConfigContext]]:
    """Yield a client of the store, the configuration, and what it says of jobs."""
    settings = how.settings()
    with open_store(settings) as client:
        yield client, settings, context_of(settings)


@command(app, "list")
def list_keys(*, target: OneTargetOption = None, queue: OfQueue = None, limit: LimitOption = 100, how: Output) -> None:
    """Show the keys whose next job has to wait, or could start now: stopped ones first.

    In a pipe each line is: target, key, state, jobs waiting, seconds since it was stopped or until its next try, jid of
    the job that died. With --queue it shows the keys in lines, the one with the most jobs first, and what each gets of
    the jobs that are handed out while all wait: key, jobs waiting, weight, share, age of the next job (seconds).
    """
    with _open(how) as (client, settings, known):
        if queue is not None and target is not None:
            raise UsageError("A key is in the lines of a queue, or held by a target.", "Give --queue or --target.")
        if queue is not None:
            require_queue(client, settings, queue)
            _list_lines(keys.fair_queue(client, queue, known, limit), settings, as_json=how.json)
            return
        found, count = keys.busy_keys(client, _targets(settings, target), known, limit)
        now_s = time_s(client)
    columns.show(_busy_columns(now_s), found, as_json=how.json)
    output.say(f"{len(found)} of {output.counted(count, 'key')}. All others are free." if count else "No key is held.")


def _busy_columns(now_s: float) -> Sequence[Column[OrderKey]]:
    def seconds(one: OrderKey) -> float | None:
        return None if one.at_s is None else abs(now_s - one.at_s)

    return (
        Column("TARGET", lambda one: one.target),
        Column("KEY", lambda one: one.name),
        Column("STATE", lambda one: one.state, lambda one: one.state_text),
        Column("WAITING", lambda one: one.waiting, numbers=True),
        Column("SINCE OR IN", seconds, lambda one: duration(seconds(one))),
        Column("DIED", lambda one: one.jid),
    )


_LINES: Final[Sequence[Column[FairKey]]] = (
    Column("KEY", lambda one: one.name),
    Column("JOBS", lambda one: one.jobs, numbers=True),
    Column("WEIGHT", lambda one: one.weight, numbers=True),
    Column("SHARE", lambda one: f"{one.share:.4f}", lambda one: f"{one.share:.1%}", numbers=True),
    Column("LATENCY", lambda one: one.latency_s, lambda one: duration(one.latency_s)),
)


def _list_lines(found: FairQueue, settings: Config, *, as_json: bool) -> None:
    if as_json:
        output.as_json(attrs.asdict(found))
    else:
        columns.show(_LINES, found.keys, as_json=False)
    of = output.counted(found.count, "key")
    in_list = "its list cannot be read" if found.in_list is None else f"{output.jobs(found.in_list)} in the list"
    output.say(f"{output.jobs(found.in_lines)} of {of} in lines, {in_list}.{_why_no_lines(settings, found)}")


def _why_no_lines(settings: Config, found: FairQueue) -> str:
    """Return a sentence that says why no job is in a line; empty if some are, or if none waits."""
    fair_by = next((target.fair_by for target in settings.targets if found.name in target.queues), None)
    if found.in_lines:
        return ""
    if fair_by is None:
        return " This configuration sets no FairBy for this queue."
    return " A running broker moves them into lines." if found.in_list else ""


@command(app)
def show(*, key: KeyName, target: OneTargetOption = None, limit: LimitOption = 20, how: Output) -> None:
    """Show the jobs that wait with a key, next one first. The columns are those of `dead list`."""
    with _open(how) as (client, settings, known):
        place, busy = keys.find_key(client, _targets(settings, target), key, known)
        found = keys.jobs_of_key(client, place, busy, known, limit)
        said = _state(keys.shown_key(client, place, busy, known), time_s(client))
    entries.write(found, as_json=how.json)
    output.say(f"{len(found)} {said}")


def _state(shown: OrderKey, now_s: float) -> str:
    state = shown.state_text
    if shown.at_s is not None:
        ago_s = now_s - shown.at_s
        state += f" for {duration_text(ago_s)}" if ago_s >= 0 else f": its next try is due in {duration_text(-ago_s)}"
    died = f" The job {shown.jid} died." if shown.jid else ""
    return f"of {output.jobs(shown.waiting)} that wait. The key is {state}.{died}"


@command(app)
def retry(
    *,
    key: KeyName,
    target: OneTargetOption = None,
    repeat_unsafe: RepeatUnsafeOption = False,
    reason: ReasonOptions,
    how: Output,
) -> None:
    """Retry the job that holds a key: the dead one that stopped it, or now the one whose last try failed.

    A stopped key goes on once that job is done. To go on without it: skip.
    """
    with _open(how) as (client, settings, known):
        place, busy = keys.find_key(client, _targets(settings, target), key, known)
        if busy.state == "stopped":
            action = Action("retry", who(), why=reason.why or "keys retry", repeat_unsafe=repeat_unsafe)
            *_, last = keys.resume(client, place, busy, known=known, action=action, dry_run=reason.dry_run)
            said = f"The job {_jid(busy, known)} {'would be' if reason.dry_run else 'is'} retried."
            _report(said, key, last.done, how, dry_run=reason.dry_run)
            return
        _require_state(busy, "due")
        if not reason.dry_run:
            _require_done(keys.steer(client, place, "retry", busy, known=known, who=who(), why=reason.why))
    _report(f"Its next job {'would be' if reason.dry_run else 'is'} tried now.", key, 1, how, dry_run=reason.dry_run)


@command(app)
def skip(*, key: KeyName, target: OneTargetOption = None, consent: Consent, how: Output) -> None:
    """Go on with a stopped key without the job that died, which stays among the dead jobs."""
    with _open(how) as (client, settings, known):
        place, busy = keys.find_key(client, _targets(settings, target), key, known)
        _require_state(busy, "stopped")
        if not consent.dry_run:
            confirm(f"Go on with the jobs behind {_jid(busy, known) or 'the dead job'} of {key}?", yes=consent.yes)
            _require_done(keys.steer(client, place, "skip", busy, known=known, who=who(), why=consent.why))
    _report(f"The key {'would go' if consent.dry_run else 'goes'} on.", key, 1, how, dry_run=consent.dry_run)


@command(app)
def drop(
    *, key: KeyName, target: OneTargetOption = None, limit: MostOption = None, consent: Consent, how: Output
) -> None:
    """Kill the jobs that wait with a key now: they go to the dead set, and are answered. A stopped key goes on.

    A job in progress stays. With --limit the next ones die, and a stopped key stays stopped for the others.
    """
    with _open(how) as (client, settings, known):
        place, busy = keys.find_key(client, _targets(settings, target), key, known)
        waiting = keys.shown_key(client, place, busy, known).waiting
        count = waiting if limit is None else min(limit, waiting)
        if not consent.dry_run:
            confirm(f"Have {output.jobs(count)} die that wait with {key}?", yes=consent.yes)
            action = Action("kill", who(), why=consent.why or "keys drop")
            last = Progress(0)
            for last in keys.drop(client, place, busy, settings, action, known, limit=limit):
                time.sleep(last.rest_s)
            if last.refused:
                raise UsageError(f"{output.jobs(last.done)} died; the others wait still: {' '.join(last.refused)}")
            count = last.done
    verb = "would die" if consent.dry_run else "died"
    _report(f"{output.jobs(count)} {verb}.", key, count, how, dry_run=consent.dry_run)


@command(app, "return")
def give_back(*, name: QueueName, consent: Consent, how: Output) -> None:
    """Return all jobs in lines to the front of the queue's list, except those of stopped keys.

    The queue must be paused. Jobs of one key keep their order. Do this before you start a version of restbroker that
    knows no lines, and after somebody deleted parts of lines by hand.
    """
    with _open(how) as (client, settings, known):
        require_queue(client, settings, name)
        target = next((known_target for known_target in settings.targets if name in known_target.queues), None)
        if target is None:
            raise UsageError(f"No target of this configuration serves the queue {name}.", "Name a queue of a target.")
        found, stopped = keys.keys_in(client, name, target, known)
        count = sum(key_queues.count_each(client, name, found))
        if not consent.dry_run:
            confirm(f"Return {output.jobs(count)} to the list of {name}?", yes=consent.yes)
            count = run_steps(keys.give_back(client, name, target, found, who(), consent.why), "returned")
    report_jobs("returned to the list of", name, count, how, dry_run=consent.dry_run)
    if stopped:
        output.say(f"note: stopped keys stay as they are: {listed(stopped)}")


def _jid(busy: BusyKey, known: ConfigContext) -> str:
    """Return the id of the job that died for people; "" if it is unknown."""
    return output.one_line(hiding.mask_secrets(busy.jid, known.secrets))


def _require_state(busy: BusyKey, state: str) -> None:
    if busy.state != state:
        hint = "restbroker keys list shows all keys."
        raise UsageError(f"The key is {STATES[busy.state]}, not {STATES[state]}.", hint)


def _require_done(steps: Iterator[Progress]) -> None:
    *_, last = steps
    if not last.done:
        raise UsageError("The key has changed meanwhile.", "Look again: restbroker keys list")


def _report(words: str, key: str, count: int, how: Output, *, dry_run: bool) -> None:
    output.report(words, {"key": key, "count": count}, as_json=how.json, dry_run=dry_run)
