"""What becomes of one job that a person retries, deletes, kills, reschedules, moves or edits. Called by `operate.act`.

Always holds: what goes to a queue or a set is written as Ruby writes it, so that Sidekiq finds it again; bytes that are
no job can only be deleted; unless the action says so, nothing is led to a queue that this configuration does not serve,
and a job that may have run, and does harm when it runs twice, is not sent again.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias, assert_never, get_args

import attrs

from restbroker.errors import UsageError
from restbroker.job import expiry, redact, retry, rubyjson, signing
from restbroker.job.crashes import with_crashes_uncertain
from restbroker.job.job import MAY_HAVE_RUN_FIELD, UNCERTAIN_FIELD
from restbroker.job.json_types import Json
from restbroker.job.repair import fractional, repair
from restbroker.light import frozen
from restbroker.operate.edit import Edit, edit_job, keeps_hidden
from restbroker.operate.job import FOREIGN_QUEUE, NOT_A_JOB, Refusal, StoredJob, refusal
from restbroker.store.keys import SortedSet
from restbroker.store.sets import Placement

Verb: TypeAlias = Literal["retry", "delete", "kill", "reschedule", "move", "edit"]
VERBS: Final[Mapping[SortedSet, tuple[Verb, ...]]] = {
    "retry": get_args(Verb),
    "schedule": get_args(Verb),
    "dead": ("retry", "delete", "reschedule", "move", "edit"),
}
"""The verbs that make sense in each set."""
REPLAYS: Final = frozenset({"retry", "reschedule"})


@frozen
class Action:
    """An action on jobs, and the person behind it.

    `at_s` (epoch seconds) is for `reschedule`, `queue` for `move`, `edit` for `edit`. `retry`, and an `edit` that
    retries, send a job to its queue: behind those that wait there, or `first`. `reschedule` sets another time; a dead
    job then waits in the retry set. `why` goes into the audit log, and into jobs that are killed. `repeat_unsafe`:
    include jobs that may have run and are not safe to repeat. `foreign_queues`: include jobs that the action sends to a
    queue that this configuration does not serve. `begins_at_once`: write the action's first audit entry and report it
    before jobs are looked for, not only before the first is changed.
    """

    verb: Verb
    who: str
    at_s: float | None = None
    queue: str | None = None
    why: str = ""
    repeat_unsafe: bool = False
    foreign_queues: bool = False
    edit: Edit | None = None
    first: bool = False
    begins_at_once: bool = False

    @property
    def sends_again(self) -> bool:
        """Whether jobs leave their set to be done."""
        return self.verb in REPLAYS or (self.edit is not None and self.edit.retry)

    @property
    def name(self) -> str:
        """The action's name in the audit log."""
        return "edit and retry" if self.edit is not None and self.edit.retry else self.verb

    @property
    def details(self) -> str:
        """Further words for the audit log, such as " (to urgent)"; "" if there are none."""
        if self.edit is not None:
            return f" ({self.edit}{', next in line' if self.first else ''})"
        if self.queue is not None:
            return f" (to {self.queue})"
        if self.first:
            return " (next in line)"
        if self.at_s is not None:
            return f" (for {datetime.fromtimestamp(round(self.at_s), UTC).isoformat().replace('+00:00', 'Z')})"
        return ""


NO_TIME: Final = (
    "It does not say when it was pushed, so that it may have come since you were asked: choose it by its id, or use the"
    " command line."
)
MAY_HAVE_RUN_BEFORE: Final = Refusal(
    "It may have run already, and an edit does not undo that: check on the server whether it was done, then "
    "delete it, or edit it with --repeat-unsafe."
)
UNCHANGED: Final = Refusal("It is like this already: nothing would change.")
SIGNED_FOR_A_QUEUE: Final = Refusal(
    "Its signature is for the queue that it was pushed to, and no broker has accepted it yet: in another queue "
    "it would die as BadSignature. Sign and push it again, for the other queue."
)
SHOWN_THERE: Final = Refusal(
    "One of its arguments is hidden, and would be shown in that queue: give the argument a new value first (edit), or "
    "remove it from the job."
)


def require_sense(zset: SortedSet, action: Action) -> None:
    """Raise `UsageError` if the action makes no sense in this set."""
    if action.verb not in VERBS[zset]:
        raise UsageError(f"Jobs of the {zset} set do not support {action.verb}.", f"Try: {', '.join(VERBS[zset])}.")
    if action.verb == "reschedule" and action.at_s is None:
        raise UsageError("No new time is given.", "Give the new time.")
    if action.verb == "move" and not action.queue:
        raise UsageError("No queue is given.", "Name the queue.")
    if action.verb == "edit" and action.edit is None:
        raise UsageError("There is nothing to change.", "Give arguments, a command or a queue.")
    try:
        f"{action.queue}{action.why}".encode()
    except UnicodeEncodeError:
        # Bytes of a command line arrive so; no job can hold them.
        raise UsageError("The queue or the reason is not UTF-8.", "Give it as UTF-8.") from None


def plan(view: StoredJob, zset: SortedSet, action: Action, now_s: float, unique: int) -> Placement | Refusal:
    """Return where the job goes, or why it stays; one that waits in a queue is deleted or killed as in any set.

    `unique` (microseconds) is added to scores, so that the jobs of one action get different ones, and to equal jobs, so
    that they differ.
    """
    if action.verb == "delete":
        return Placement(view.raw)
    fields = view.fields
    if fields is None or not view.is_job:
        return NOT_A_JOB
    if not action.foreign_queues and foreign_queue(view, action) is not None:
        return FOREIGN_QUEUE
    match action.verb:
        case "retry":
            return _refusal(view, action) or attrs.evolve(_retry(view, fields, zset, now_s), first=action.first)
        case "kill":
            return _kill(view, fields, action, now_s=now_s, unique=unique)
        case "reschedule":
            return _reschedule(view, fields, zset, action=action, unique=unique)
        case "move":
            return _move(view, fields, zset, action)
        case "edit":
            return _edit(view, zset, action, now_s=now_s, unique=unique)
        case _:
            assert_never(action.verb)


def foreign_queue(view: StoredJob, action: Action) -> str | None:
    """Return the foreign queue that the action sends the job to, now or when it is due; None if there is none."""
    queue = action.queue if action.verb == "move" else view.queue if action.verb in REPLAYS else None
    return queue if queue and view.context.target(queue) is None else None


def home_queue(view: StoredJob, action: Action) -> str | None:
    """Return the foreign queue from which the action takes the job for good; None if it has none."""
    takes = action.verb in ("delete", "kill") and not action.foreign_queues and view.fields is not None
    return view.queue if takes and view.queue and view.context.target(view.queue) is None else None


def _refusal(view: StoredJob, action: Action) -> Refusal | None:
    return refusal(view, foreign_queues=action.foreign_queues, repeat_unsafe=action.repeat_unsafe)


def _retry(view: StoredJob, fields: Mapping[str, Json], zset: SortedSet, now_s: float) -> Placement:
    """Plan what Sidekiq's `SortedEntry#retry` does, or `add_to_queue` for what is scheduled."""
    again = _reset_fields(signing.renew_mark(fields, view.context.tokens, now_s), view)
    if zset != "schedule":
        again = _lower_retry_count(again, view)
    if zset == "dead":
        again = _lift_expiry(again, view, now_s)
    again.pop("at", None)
    again["enqueued_at"] = fractional(now_s)
    return Placement(view.raw, queue=view.queue, new=rubyjson.dumps(again))


def _kill(
    view: StoredJob, fields: Mapping[str, Json], action: Action, now_s: float, unique: int
) -> Placement | Refusal:
    moment_s = retry.stamp(now_s, unique)
    dead = repair(_reset_fields(fields, view), view.queue or "default")
    said = kill_text(action)
    if not isinstance(dead.get("error_class"), str):
        dead |= {"error_class": "Killed", "error_message": said[: retry.ERROR_MESSAGE_LIMIT]}
    if not isinstance(dead.get("failed_at"), float):
        dead["failed_at"] = moment_s
    entry: dict[str, Json] = {"at": moment_s, "status": None, "outcome": "killed", "code": "Killed", "ms": 0.0}
    dead[retry.ATTEMPTS_FIELD] = retry.attempts(fields, {**entry, "excerpt": said[:200]})
    return Placement(view.raw, zset="dead", new=rubyjson.dumps(dead), score=now_s + unique / 1e6)


def kill_text(action: Action) -> str:
    """Return a sentence for a killed job that says who killed it and why."""
    return f"{action.who} killed it" + (f": {action.why}" if action.why else ".")


def _reschedule(
    view: StoredJob, fields: Mapping[str, Json], zset: SortedSet, action: Action, unique: int
) -> Placement | Refusal:
    # Sidekiq Web takes out all entries of one score to act on one of them.
    at_s = (action.at_s or 0.0) + unique / 1e6
    if zset != "dead":
        return Placement(view.raw, zset=zset, score=at_s)
    refusal = _refusal(view, action)
    if refusal is not None:
        return refusal
    fields = signing.renew_mark(fields, view.context.tokens, at_s)
    again = _lift_expiry(_lower_retry_count(_reset_fields(fields, view), view), view, at_s)
    again = repair(again, view.queue or "default")
    return Placement(view.raw, zset="retry", new=rubyjson.dumps(again), score=at_s)


def _move(view: StoredJob, fields: Mapping[str, Json], zset: SortedSet, action: Action) -> Placement | Refusal:
    if is_moved_already(view, action):
        return Refusal("")
    if (bound := _bound(view, fields, action)) is not None:
        return bound
    return Placement(view.raw, zset=zset, new=rubyjson.dumps({**fields, "queue": action.queue}))


def _edit(view: StoredJob, zset: SortedSet, action: Action, now_s: float, unique: int) -> Placement | Refusal:
    assert action.edit is not None  # noqa: S101 - `require_sense` asks for it
    done = edit_job(action.edit, view, action.who, retry.stamp(now_s, unique))
    if done is None:
        return UNCHANGED
    if isinstance(done, str):
        # A job may have its token in the command's place.
        return Refusal(str(view.without_secrets(done)))
    # Another command repeats nothing: what the first one did, if it ran, stays as well.
    is_harmless = not done.is_another and (not action.edit.retry or view.repeat_safe)
    if view.may_have_run and not is_harmless and not action.repeat_unsafe:
        return MAY_HAVE_RUN_BEFORE
    if not action.edit.retry:
        return Placement(view.raw, zset=zset, new=rubyjson.dumps(_with_jid(done.fields, view)))
    return attrs.evolve(_retry(view, done.fields, zset, now_s), queue=done.queue, first=action.first)


def _bound(view: StoredJob, fields: Mapping[str, Json], action: Action) -> Refusal | None:
    """Return why a job cannot be moved to this queue; None if it can.

    It cannot if its signature covers another queue, or if what is hidden of it would be shown there.
    """
    if _reveals_value(view, fields, action):
        return SHOWN_THERE
    if signing.queue_bound_signature(fields) is None:
        return None
    first = signing.accepted_queue(fields)
    if first is None:
        return SIGNED_FOR_A_QUEUE
    target = view.context.target(first)
    if target is not None and target == view.context.target(action.queue):
        return None
    return Refusal(f"Its signature is for the queue {first}: it can be moved to queues of the same target only.")


def _reveals_value(view: StoredJob, fields: Mapping[str, Json], action: Action) -> bool:
    """Tell whether the new queue's target would show a value that the target of its present queue hides."""
    specs = [view.context.spec(queue, view.command) for queue in (view.queue, action.queue)]
    if specs[0] == specs[1]:
        return False
    bodies = view.context.show_bodies
    was, now = (redact.look(fields, spec, show_bodies=bodies)[0] for spec in specs)
    return not keeps_hidden(was, now)


def is_moved_already(view: StoredJob, action: Action) -> bool:
    """Tell whether a move would change nothing: the job stays in its set and already names the new queue."""
    fields = view.fields
    if action.verb != "move" or fields is None or not view.is_job:
        return False
    return "queue" in fields and view.queue == action.queue


def _reset_fields(fields: Mapping[str, Json], view: StoredJob) -> dict[str, Json]:
    """Return the fields after a person's decision, with a job id.

    The counts of how often it may have run and of crashes restart, but the fact that it may have run is kept.
    """
    again = with_crashes_uncertain(fields)
    if again.pop(UNCERTAIN_FIELD, None):
        again[MAY_HAVE_RUN_FIELD] = True
    return _with_jid(again, view)


def _lift_expiry(fields: dict[str, Json], view: StoredJob, at_s: float) -> dict[str, Json]:
    """Return the fields of a job that a person takes out of the dead set: it is worth doing at `at_s`, they say."""
    return dict(expiry.lift(fields, view.context.expire_s(view.queue, view.command), at_s))


def _with_jid(fields: dict[str, Json], view: StoredJob) -> dict[str, Json]:
    return fields if view.jid is not None else {**fields, "jid": view.jid_then}


def _lower_retry_count(fields: dict[str, Json], view: StoredJob) -> dict[str, Json]:
    """Lower the retry count by one, since a retry that a person orders costs no try."""
    if view.count is not None:
        fields["retry_count"] = max(view.count - 1, -1)
    return fields
