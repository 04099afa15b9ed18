"""Whether a job is let in: its form is right, and its token is one that allows what it asks for.

The worker calls `admit` before anything else is done for a job. Always holds: only who knows the token is answered;
no token is shown, whatever place a producer put it in.
"""

import attrs

from restbroker.broker.item import Item
from restbroker.broker.lane import Lane
from restbroker.rules import arguments, redact
from restbroker.rules.arguments import Submission
from restbroker.rules.job import Job
from restbroker.rules.outcome import Reason
from restbroker.telemetry.events import Warned


@attrs.frozen
class Admitted:
    """A job that is let in, and what it asks for."""

    job: Job
    submission: Submission


def admit(lane: Lane, item: Item, job: Job) -> Admitted | Reason:
    """What the job asks for, or why it is not let in. Fills the item's command and reply id."""
    found = _read(lane, item, job)
    if isinstance(found, Reason):
        return attrs.evolve(found, message=redact.text(found.message, lane.plan.tokens.values))
    item.command = found.command.endpoint
    item.reply_id = found.reply_id
    _warn_of_lost_reply(lane, found)
    return Admitted(job, found)


def _read(lane: Lane, item: Item, job: Job) -> Submission | Reason:
    args = job.fields.get("args")
    submission = arguments.read(args)
    if isinstance(submission, Reason):
        token, reply_id = arguments.addressed(args)
        item.reply_id = reply_id if lane.plan.tokens.allow(token) else None
        return submission
    return submission if lane.plan.tokens.allow(submission.token) else _BAD_TOKEN


def _warn_of_lost_reply(lane: Lane, submission: Submission) -> None:
    if submission.reply_id is None or lane.plan.policy.reply_queue is not None or "reply" in lane.warned:
        return
    lane.warned.add("reply")
    lane.report(
        Warned(
            "ReplyWithoutQueue",
            "A job asks for a reply, but no ResponseQueue is configured: its answer goes nowhere.",
            'Set "ResponseQueue", or leave the fourth argument out.',
        )
    )


_BAD_TOKEN = Reason(
    "BadToken",
    "The token (third argument) is not one that this broker accepts.",
    'Push with the token of the configuration ("Token" or "TokenFile").',
)
