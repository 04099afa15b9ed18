"""The answers that a producer gets: the reply job on the response queue, and the details for a waiting client.

`job.settle` calls `make_replies`. Always holds: a reply is made for a delivered job that named a reply id, for a dead
one only if details are configured, and for `reply_to` whenever the job has come to its end.
"""

from restbroker.job import rubyjson
from restbroker.job.job import Job
from restbroker.job.json_types import Json
from restbroker.job.outcome import Reason
from restbroker.job.policy import Context
from restbroker.job.settlement import Reply
from restbroker.light import frozen_plain

REPLY_LIMIT_BYTES = 1024 * 1024
REPLY_TTL_S = 3600
BATCH_PREFIX = "restbroker:reply:bulk-"
"""How the keys begin that all answers of a batch go to."""
BATCH_TTL_S = 86_400
"""Seconds for which a batch's answers are kept: a client that waits may be cut off, and come back next morning."""
_REPLY_LEVELS = 4
_LONGEST_LETTER_BYTES = 4


@frozen_plain
class ReplyContent:
    """The content of an answer: `outcome` is delivered, negative, rejected, failed, uncertain, expired or duplicate.

    `error` is None if the job was done. `first`: of a duplicate, as of `Duplicate`.
    """

    outcome: str
    text: str
    body: Json
    status: int | None
    error: Reason | None
    note: str | None = None
    first: tuple[Json, ...] = ()


def failed_answer(outcome: str, reason: Reason, text: str | None) -> ReplyContent:
    """Return the answer for a job that will not be done."""
    return ReplyContent(outcome, text or "", None, status=reason.status, error=reason)


def make_replies(job: Job, answer: ReplyContent, context: Context) -> tuple[Reply, ...]:
    """Return zero to two replies: the reply job for the response queue, and the details for the key `reply_to`."""
    replies: list[Reply] = []
    policy = context.policy
    wanted = answer.error is None or policy.reply_details
    if wanted and context.reply_id is not None and policy.reply_queue is not None:
        replies.append(Reply(_reply_job(job, answer, context, policy.reply_queue), queue=policy.reply_queue))
    if job.reply_to is not None:
        text, truncated = _limit_text(answer.text)
        details = {"jid": job.jid, "command": context.command, "text": text}
        payload = rubyjson.dumps({**details, **_details(job, answer, context, truncated)})
        ttl_s = BATCH_TTL_S if job.reply_to.startswith(BATCH_PREFIX) else REPLY_TTL_S
        replies.append(Reply(payload, key=job.reply_to, ttl_s=ttl_s))
    return tuple(replies)


def _reply_job(job: Job, answer: ReplyContent, context: Context, queue: str) -> bytes:
    text, truncated = _limit_text(answer.text)
    args: list[Json] = [text, context.reply_id]
    if context.policy.reply_details:
        args.append(_details(job, answer, context, truncated))
    now_s = round(context.now_s, 3) + 0.0001
    return rubyjson.dumps(
        {
            "class": context.policy.reply_class,
            "args": args,
            "jid": context.reply_jid,
            "queue": queue,
            "retry": True,
            "created_at": now_s,
            "enqueued_at": now_s,
        }
    )


def _details(job: Job, answer: ReplyContent, context: Context, truncated: bool) -> dict[str, Json]:  # noqa: FBT001 - private
    error = answer.error
    details: dict[str, Json] = {
        "status": answer.status,
        "outcome": answer.outcome,
        "answer": None if truncated or not _can_be_written(answer.body) else answer.body,
        "error": None if error is None else {"code": error.code, "message": error.message, "cure": error.hint},
        "attempts": job.attempt,
        "duration_ms": round(context.duration_s * 1000, 1),
    }
    if answer.note is not None:
        details["note"] = answer.note
    if answer.first:
        details["first"] = dict(zip(("jid", "outcome", "status", "note"), answer.first, strict=False))
    if truncated:
        details["truncated"] = True
    if error is not None and job.may_have_run:
        details["may_have_run"] = True
    return details


def _can_be_written(body: Json) -> bool:
    """Tell whether Ruby could read it: it may nest too deep, above all within a reply."""
    try:
        return rubyjson.nests_at_most(rubyjson.MAX_NESTING - _REPLY_LEVELS, rubyjson.dumps(body))
    except ValueError:
        return False


def _limit_text(text: str) -> tuple[str, bool]:
    if len(text) <= REPLY_LIMIT_BYTES // _LONGEST_LETTER_BYTES:
        return text, False
    raw = text.encode("utf-8", "replace")
    if len(raw) <= REPLY_LIMIT_BYTES:
        return text, False
    return raw[:REPLY_LIMIT_BYTES].decode("utf-8", "ignore"), True
