"""Takes the token out of a job that waits, so that people who look at Sidekiq Web do not learn it.

The broker's settler calls it for an admitted job that goes to `retry`, `schedule` or `dead`, `operate.edit` for a job
that a person edits. Always holds: it returns either the job unchanged, or one that will be admitted as long
as its mark of acceptance and the secret are good, also after Ruby rewrote it; where that is in doubt, the token stays.
"""

from collections.abc import Mapping
from typing import Final

import attrs

from restbroker.job import arguments, repair, signing
from restbroker.job.arguments import Submission
from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.job.job import Job
from restbroker.job.json_types import Json
from restbroker.job.signing import Signature

# What a failure adds to a payload, and more: a signature must not be what makes a job too large.
_ROOM_BYTES: Final = 64 * 1024


def is_own(fields: Mapping[str, Json], secret: str, signature: Signature) -> bool:
    """Tell whether restbroker itself (`seal`) made this signature. Producers' signatures have a real time.

    `signature` is valid for the job and `secret`. The mark of acceptance is checked as well: alone it proves nothing,
    since anyone can write it.
    """
    return signature.at_s < signing.ORDERS and signing.accepted_at_s(fields, secret, signature) is not None


def seal(job: Job, secret: str, token: str, number: int, now_s: float) -> Job:
    """Return the job with a signature in its token's place, made with that token's secret and accepted already.

    `token` is the token's name, `now_s` the time by Redis' clock. The signature is for all queues, as the token is.
    `number` is below `signing.ORDERS`, and no other job gets it. It stands in the place of the time, which is not
    checked in a job that was let in before: two jobs to which their producer gave the same jid, as they may, are two
    jobs, and one signature would stand for both. Return the job itself if its arguments cannot be read, if it has no
    room for a signature, or if it has more values than a signature may cover.
    """
    given = job.fields.get("args")
    args = repair.parse_list(given) if isinstance(given, str) else given
    submission = arguments.read(args)
    if not isinstance(args, list) or not isinstance(submission, Submission) or not signing.is_signable(submission):
        return job
    if len(job.raw) > PAYLOAD_LIMIT_BYTES - _ROOM_BYTES:
        return job
    text = signing.sign(secret, token, number, jid=job.jid, submission=submission, queue="")
    signature = signing.read(text)
    if signature is None:
        return job
    accepted = signing.acceptance(secret, signature, job.queue, now_s)
    listed: list[Json] = [*args[:2], text, *args[3:]]
    return attrs.evolve(job, fields={**job.fields, "args": listed, signing.ACCEPTED_FIELD: accepted})
