"""Takes the token out of a job that waits, so that who looks at Sidekiq Web does not learn it.

The broker's admission calls it for a job that it let in and that goes to `retry`, `schedule` or `dead`. Always holds:
what comes back is the job that was given, or one that is let in at any later time as long as the secret is valid, also
after Ruby wrote it anew; where that is in doubt, the token stays.
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
ORDERS: Final = 1_000_000_000
"""As seconds these are long over: without `restbroker_accepted` such a signature lets no job in."""


def is_own(fields: Mapping[str, Json], secret: str, signature: Signature) -> bool:
    """Whether `seal` made this signature, which fits the job, with this secret: a producer's is of its time.

    Both have to hold, the signature and that it was accepted: anyone can write the mark.
    """
    is_sealed = signature.at_s < ORDERS and not signature.covers_queue
    return is_sealed and signing.is_accepted(fields, secret, signature)


def seal(job: Job, secret: str, token: str, at_s: int) -> Job:
    """The job with a signature in its token's place, made with that token's secret, and accepted already.

    `token` is the token's name. `at_s`: a number below `ORDERS` that no other job gets. It stands in the place of the
    time, which nobody asks for in a job that was let in: two jobs whose producer gave them the same jid, as he may, are
    two orders, and one signature would stand for both. The job itself if its arguments cannot be told, or it has no
    room for a signature, or too much for one.
    """
    given = job.fields.get("args")
    args = repair.parse_list(given) if isinstance(given, str) else given
    submission = arguments.read(args)
    if not isinstance(args, list) or not isinstance(submission, Submission) or not signing.is_signable(submission):
        return job
    if len(job.raw) > PAYLOAD_LIMIT_BYTES - _ROOM_BYTES:
        return job
    text = signing.sign(secret, token, at_s, jid=job.jid, submission=submission)
    signature = signing.read(text)
    if signature is None:
        return job
    accepted = signing.acceptance(secret, signature, job.queue)
    listed: list[Json] = [*args[:2], text, *args[3:]]
    return attrs.evolve(job, fields={**job.fields, "args": listed, signing.ACCEPTED_FIELD: accepted})
