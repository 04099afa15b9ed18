"""`restbroker keys`: keys whose jobs are done one after the other, or take turns; why one waits, and what to do then.

Always holds: without `--queue` a key is one that a target holds (OrderBy), with it one that has a line in that queue
(FairBy).
"""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
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
from restbroker.console.groups import Consent, Output, Reason, command
from restbroker.console.lists import ListsFirst
from restbroker.console.options import AllOption, LimitOption, OneTargetOption, RepeatUnsafeOption, argument, option
from restbroker.console.times import duration
from restbroker.console.who import who
from restbroker.errors import UsageError
from restbroker.job import hiding
from restbroker.operate import keys
from restbroker.operate.act_job import Action
from restbroker.operate.claims import release_cleared
from restbroker.operate.connect import open_store
from restbroker.operate.context import ConfigContext, context_of
from restbroker.operate.keys import STATES, FairKey, FairQueue, OrderKey
from restbroker.operate.names import keys_command, require
from restbroker.store.client import Client
from restbroker.store.order import HeldKey
from restbroker.store.server import time_s

app = typer.Typer(
    cls=ListsFirst,
    add_completion=False,
    help="Show the keys whose jobs are done one after the other (OrderBy) or take turns (FairBy), and help those that"
    " wait. Without a command: list.",
)
KeyName = Annotated[str, argument("KEY", "The key, as `restbroker keys list` shows it.")]
SomeKey = Annotated[str | None, argument("[KEY]", "The key, as `restbroker keys list` shows it.")]


@attrs.frozen
class Place:
    """Where keys are: held by a target, or in the lines of a queue."""

    target: OneTargetOption = None
    queue: Annotated[
        str | None, option("--queue QUEUE", "Keys in the lines of this queue (FairBy).", completion.queues)
    ] = None

    def queue_of(self, client: Client, settings: Config) -> str | None:
        """Return the queue, None if there is none; raise `UsageError` if it is not known, or a target is named too."""
        if self.queue is not None and self.target is not None:
            raise UsageError("A key is in the lines of a queue, or held by a target.", "Give --queue or --target.")
        if self.queue is not None:
            require_queue(client, settings, self.queue)
        return self.queue

    def targets(self, settings: Config) -> list[Target]:
        """Return the targets whose keys are meant: also those without OrderBy, which may have had one."""
        if self.target is not None:
            require("target", self.target, [one.name for one in settings.targets])
        return [one for one in settings.targets if self.target in (None, one.name)]


@contextmanager
def _open(how: Output) -> Iterator[tuple[Client, Config, ConfigContext]]:
    """Yield a client of the store, the configuration, and what it says of jobs."""
    settings = how.settings()
    with open_store(settings) as client:
        yield client, settings, context_of(settings)


@command(app, "list")
def list_keys(*, place: Place, limit: LimitOption = 100, how: Output) -> None:
    """Show the keys whose next job has to wait, or could start now: stopped ones first.

    In a pipe each line is: target, key, state, jobs waiting, seconds since it was stopped or until its next try, jid of
    the job that died. With --queue it shows the keys in lines, the one with the most jobs first, and what each gets of
    the jobs that are handed out while all wait: key, jobs waiting, weight, share, age of the next job (seconds).
    """
    with _open(how) as (client, settings, known):
        queue = place.queue_of(client, settings)
        if queue is not None:
            _list_lines(keys.fair_queue(client, queue, known, limit), settings, as_json=how.json)
            return
        found, count = keys.held_keys(client, place.targets(settings), known, limit)
        now_s = time_s(client)
    columns.show(_held_columns(now_s), found, as_json=how.json)
    output.say(f"{len(found)} of {output.counted(count, 'key')}. All others are free." if count else "No key is held.")


def _held_columns(now_s: float) -> Sequence[Column[OrderKey]]:
    def seconds(one: OrderKey) -> float | None:
        return None if one.at_s is None else abs(now_s - one.at_s)

    return (
        Column("TARGET", lambda one: one.target),
        Column("KEY", lambda one: one.name),
        Column("STATE", lambda one: one.state, lambda one: STATES[one.state] + (", to die" if one.drops else "")),
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
def show(*, key: KeyName, place: Place, limit: LimitOption = 20, how: Output) -> None:
    """Show the jobs that wait with a key, next one first. The columns are those of `dead list`."""
    with _open(how) as (client, settings, known):
        queue = place.queue_of(client, settings)
        if queue is not None:
            found = keys.jobs_of_line(client, queue, key, known, limit)
            said = f"of {output.jobs(keys.count_jobs(client, queue, key, known))} of this key in {queue}."
        else:
            target, held = keys.find_key(client, place.targets(settings), key)
            found = keys.jobs_of_key(client, target, held, known, limit)
            said = _state(keys.shown_key(client, target, held, known), time_s(client))
    entries.write(found, as_json=how.json)
    output.say(f"{len(found)} {said}")


def _state(shown: OrderKey, now_s: float) -> str:
    state = STATES[shown.state]
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
    reason: Reason,
    how: Output,
) -> None:
    """Retry the job that holds a key: the dead one that stopped it, or now the one whose last try failed.

    A stopped key goes on once that job is done. To go on without it: skip.
    """
    with _open(how) as (client, settings, known):
        place, held = keys.find_key(client, Place(target).targets(settings), key)
        if held.state == "stopped":
            action = Action("retry", who(), why=reason.why or "keys retry", repeat_unsafe=repeat_unsafe)
            done, refused = keys.resume(client, place, held, known=known, action=action, dry_run=reason.dry_run)
            jid = _jid(held, known)
            if not done:
                raise _not_retried(key, jid, refused)
            _report(
                f"The job {jid} {'would be' if reason.dry_run else 'is'} retried.",
                key,
                done,
                how,
                dry_run=reason.dry_run,
            )
            return
        _require_state(held, "due")
        if not reason.dry_run:
            _require_done(keys.steer(client, place, "retry", [held], known=known, who=who(), why=reason.why))
    _report(f"Its next job {'would be' if reason.dry_run else 'is'} tried now.", key, 1, how, dry_run=reason.dry_run)


def _not_retried(key: str, jid: str, refused: Sequence[str]) -> UsageError:
    gone = f"The job that died is not among the dead jobs any more: {jid}."
    if not jid:
        gone = "The id of the job that died is not known: if it is among the dead jobs, retry it there."
    hint = f"To go on without it: {keys_command('skip', key)}"
    if jid and not refused:
        hint += f"\nTo put it back first: restbroker dead restore {shlex.quote(jid)}"
    return UsageError(" ".join(refused) or gone, hint)


@command(app)
def skip(*, key: KeyName, target: OneTargetOption = None, consent: Consent, how: Output) -> None:
    """Go on with a stopped key without the job that died, which stays among the dead jobs."""
    with _open(how) as (client, settings, known):
        place, held = keys.find_key(client, Place(target).targets(settings), key)
        _require_state(held, "stopped")
        if not consent.dry_run:
            confirm(f"Go on with the jobs behind {_jid(held, known) or 'the dead job'} of {key}?", yes=consent.yes)
            _require_done(keys.steer(client, place, "skip", [held], known=known, who=who(), why=consent.why))
    _report(f"The key {'would go' if consent.dry_run else 'goes'} on.", key, 1, how, dry_run=consent.dry_run)


@command(app)
def drop(*, key: SomeKey = None, every: AllOption = False, place: Place, consent: Consent, how: Output) -> None:
    """Have the jobs die that wait with a key now: they go to the dead set as PredecessorDied, and are answered.

    A broker does it, in their order. A stopped key goes on. A job in progress dies only if it has to be tried again.
    With --queue the jobs in the key's line are deleted: there is no copy, and no answer. Its jobs in the queue's list
    stay: brokers move them into its line soon.
    """
    if every == (key is not None):
        raise UsageError("Give a key, or --all.", "restbroker keys list shows the keys.")
    with _open(how) as (client, settings, known):
        queue = place.queue_of(client, settings)
        if queue is not None:
            _drop_line(client, queue, key, known, consent, how)
            return
        targets = place.targets(settings)
        meant = [(one, keys.all_keys(client, one)) for one in targets]
        if key is not None:
            one, held = keys.find_key(client, targets, key)
            meant = [(one, [held])]
        waiting = sum(keys.count_waiting(client, one, held) for one, held in meant)
        if not consent.dry_run:
            confirm(f"Have {output.jobs(waiting)} die that wait with {key or 'all keys'}?", yes=consent.yes)
            waiting = sum(
                keys.drop_key(client, one, held, known=known, who=who(), why=consent.why) for one, held in meant
            )
    would = "would" if consent.dry_run else "will"
    _report(f"{output.jobs(waiting)} {would} die.", key or "", waiting, how, dry_run=consent.dry_run)


def _drop_line(
    client: Client, queue: str, key: str | None, known: ConfigContext, consent: Consent, how: Output
) -> None:
    if key is None:
        raise UsageError("Give a key.", f"To delete all: restbroker queues clear {shlex.quote(queue)}")
    count = keys.count_jobs(client, queue, key, known)
    if not consent.dry_run:
        confirm(f"Delete {output.jobs(count)} of {key} in {queue}? There is no copy.", yes=consent.yes)
        release = partial(release_cleared, client, queue, context=known)
        steps = keys.drop_line(client, queue, key, known=known, who=who(), why=consent.why, release=release)
        count = run_steps(steps, "deleted")
    report_jobs("deleted from", queue, count, how, dry_run=consent.dry_run)


@command(app, "return")
def give_back(*, name: QueueName, consent: Consent, how: Output) -> None:
    """Return all jobs in lines to the front of the queue's list, before a version of restbroker that knows no lines.

    The queue must be paused. Jobs of one key keep their order.
    """
    with _open(how) as (client, settings, known):
        require_queue(client, settings, name)
        count = keys.fair_queue(client, name, known, 0).in_lines
        if not consent.dry_run:
            confirm(f"Return {output.jobs(count)} to the list of {name}?", yes=consent.yes)
            count = run_steps(keys.give_back(client, name, who=who(), why=consent.why), "returned")
    report_jobs("returned to the list of", name, count, how, dry_run=consent.dry_run)


def _jid(held: HeldKey, known: ConfigContext) -> str:
    """Return the id of the job that died for people; "" if it is unknown."""
    return output.one_line(hiding.mask_secrets(held.jid, known.secrets))


def _require_state(held: HeldKey, state: str) -> None:
    if held.state != state:
        hint = "restbroker keys list shows all keys."
        raise UsageError(f"The key is {STATES[held.state]}, not {STATES[state]}.", hint)


def _require_done(count: int) -> None:
    if not count:
        raise UsageError("The key has changed meanwhile.", "Look again: restbroker keys list")


def _report(words: str, key: str, count: int, how: Output, *, dry_run: bool) -> None:
    output.report(words, {"key": key, "count": count}, as_json=how.json, dry_run=dry_run)
