"""Whether a job is let in: its form is right, and its token is one that allows what it asks for.

The worker calls `admit` before anything else is done for a job, and `stored` for one that is not done yet. Always
holds: only a producer that knows the token is answered; no token is shown, no matter where a producer put it.
"""

import time
from secrets import randbelow

import attrs

from restbroker.broker import retry_queues
from restbroker.broker.endpoints import Endpoint
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.tokens import Proof
from restbroker.broker.worker_pool import WorkerPool
from restbroker.config.tokens import Token
from restbroker.config.values import duration_text
from restbroker.job import arguments, display, hiding, redact, retry, sealing, signing
from restbroker.job.arguments import Submission
from restbroker.job.job import EFFECTED_FIELD, Job
from restbroker.job.outcome import Reason
from restbroker.job.settlement import Fingerprint
from restbroker.job.signing import Signature
from restbroker.light import light
from restbroker.telemetry.events import Warned

# Who never signed finds a signature in what he took out of "dead".
_SEALED = (
    "If restbroker put the signature there (in a job that it stored), put the token back as the third "
    "argument, or push the whole entry again with its jid."
)


@light
class Admitted:
    """A job that is let in, and what it asks for. The job's fields say that its signature, if any, was accepted."""

    job: Job
    submission: Submission
    known: Endpoint


def admit(pool: WorkerPool, item: JobInProgress, job: Job) -> Admitted | Reason:
    """Return what the job asks for, or why it is not let in. Fill the item's job, command, reply id and proof.

    A reason shows no secret. A signed job's item gets its fingerprint.
    """
    found = _read(pool, item, job)
    if isinstance(found, Reason):
        return found.hidden(hiding.hiding(pool.plan.tokens.values), hiding.EXCERPT_LIMIT)
    if found.submission.reply_id is not None:
        _warn_of_lost_reply(pool)
    return found


def proof_of(pool: WorkerPool, job: Job) -> Proof | None:
    """Return the proof by which a job was let in before; None if that cannot be found out any more."""
    submission = arguments.read(job.fields.get("args"))
    if isinstance(submission, Reason):
        return None
    return pool.plan.tokens.proof(submission.token, _own_jid(job), submission, _let_in_from(pool, job))


def stored(pool: WorkerPool, item: JobInProgress, job: Job) -> Job:
    """Return the job as it may be stored: with its command's name, sealed if it can be, and a note if a part is done.

    A `retry_queue` that does not count is reported.
    """
    name = item.command or display.command_of(job.fields)
    shown = [secret for secret in pool.plan.tokens.values if name is not None and secret in name]
    if name is not None and shown and hiding.text(name, shown) != name:
        name = None
    if retry.names_foreign_queue(job.fields, pool.plan.target.queues):
        pool.report(retry_queues.ignored(item.queue))
    proof = item.proof
    if proof is not None and proof.signature is None and not proof.token.flat:
        job = sealing.seal(job, proof.secret, proof.token.name, randbelow(sealing.ORDERS))
    fields = display.with_command_name(job.fields, name)
    return attrs.evolve(job, fields={**fields, EFFECTED_FIELD: True} if item.effected else fields)


def _read(pool: WorkerPool, item: JobInProgress, job: Job) -> Admitted | Reason:
    tokens = pool.plan.tokens
    args = job.fields.get("args")
    submission = arguments.read(args, tokens.hide)
    if isinstance(submission, Reason):
        token, reply_id = arguments.token_and_reply_id(args)
        item.reply_id = None if tokens.proof(token) is None else reply_id
        return _without_secrets(submission, job)
    queue = _let_in_from(pool, job)
    proof = tokens.proof(submission.token, _own_jid(job), submission, queue)
    if proof is None:
        return _unproven(pool, job, submission)
    item.command = submission.command.endpoint
    item.reply_id = submission.reply_id
    now_s = time.time()
    accepted = _accept(job, proof, queue, now_s)
    if isinstance(accepted, Reason):
        return accepted
    item.job = accepted
    item.proof = proof
    if proof.signature is not None:
        queue = signing.accepted_in(accepted.fields) or job.queue
        item.fingerprint = Fingerprint(
            queue, signing.fingerprint(proof.signature), proof.token.window_s + signing.AHEAD_S
        )
    known = pool.commands.of(item.command)
    asked = arguments.name_bare_list(submission, known.spec) if submission.is_bare else submission
    if isinstance(asked, Reason):
        return _without_secrets(asked, job)
    refused = known.refusal(proof.token, asked.command, item.queue)
    if refused is not None:
        return _without_secrets(refused, job)
    tokens.used[proof.token.name] = now_s
    return Admitted(accepted, asked, known)


def _without_secrets(reason: Reason, job: Job) -> Reason:
    """Return a reason about a job's arguments, which it may quote, without their secrets."""
    return reason.hidden(hiding.hiding(redact.secrets_of(job.fields)), hiding.EXCERPT_LIMIT)


def _let_in_from(pool: WorkerPool, job: Job) -> str:
    """Return the queue that first let the job in, as it says, if this target serves that; else the one it is from.

    `_accept` checks whether what it says is true.
    """
    queue = signing.accepted_in(job.fields)
    return queue if queue in pool.plan.target.queues else job.queue


def _own_jid(job: Job) -> str:
    """Return the payload's jid; "" if it has none, since the one made for it differs from one process to the next."""
    return job.jid if job.fields.get("jid") == job.jid else ""


def _unproven(pool: WorkerPool, job: Job, submission: Submission) -> Reason:
    signature = signing.read(submission.token)
    if signature is None:
        return _BAD_TOKEN
    if not signing.is_signable(submission):
        return Reason(
            "BadSignature",
            f"The job is signed, and has more than the {signing.VALUES_LIMIT} values that a signature can cover.",
            "Push it with the token itself, or as several jobs.",
        )
    if not _own_jid(job):
        return Reason("BadSignature", "A signed job needs a jid, since the signature covers it.", "Push it with one.")
    if all(token.name != signature.token for token in pool.plan.tokens.tokens):
        message = f'The job is signed with a token "{signature.token}", which this broker does not have.'
        return Reason("BadSignature", message, f"Sign with the name and the secret of a configured token. {_SEALED}")
    return _misfit(signature)


def _misfit(signature: Signature) -> Reason:
    what = "arguments, reply id or queue" if signature.covers_queue else "arguments or reply id"
    return Reason(
        "BadSignature",
        "The signature does not match the job: it was made with a secret that this broker does not have, or "
        f"for another jid, endpoint, {what}.",
        f"Sign the canonical text of exactly what is pushed (docs/tokens.md). {_SEALED}",
    )


def _accept(job: Job, proof: Proof, queue: str, now_s: float) -> Job | Reason:
    """Return the job, marked as accepted if it is signed; or why its signature, or the lack of one, is not accepted.

    `queue` is the one that the signature fits, if it covers one.
    """
    token, signature = proof.token, proof.signature
    if signature is None:
        return _unsigned(token) if token.signed else job
    if signing.is_accepted(job.fields, proof.secret, signature):
        return job
    if signature.covers_queue and queue != job.queue:
        # What it says of itself is not true.
        return _misfit(signature)
    if token.queue_signed and not signature.covers_queue:
        return _unsigned(token)
    age_s = now_s - signature.at_s
    if age_s > token.window_s or age_s < -signing.AHEAD_S:
        return _untimely(token.name, age_s, token.window_s)
    mark = signing.acceptance(proof.secret, signature, job.queue)
    return attrs.evolve(job, fields={**job.fields, signing.ACCEPTED_FIELD: mark})


def _unsigned(token: Token) -> Reason:
    if token.queue_signed:
        return Reason(
            "SignatureNeeded",
            f'The token "{token.name}" takes only jobs whose signature covers the queue (v1q); this one\'s does not.',
            "Sign the job with its queue (docs/tokens.md); if it carries the secret, give the token a new one.",
        )
    return Reason(
        "SignatureNeeded",
        f'The token "{token.name}" takes only signed jobs, but this one carries its secret, which is now in Redis.',
        "Sign the job (docs/tokens.md), and give the token a new secret.",
    )


def _untimely(name: str, age_s: float, window_s: float) -> Reason:
    signature, age, window = f'The signature of the token "{name}"', duration_text(abs(age_s)), duration_text(window_s)
    if age_s < 0:
        message = f"{signature} is for a time that is {age} ahead of this broker's clock."
        return Reason("UntimelySignature", message, f"Wait until then, sign again, or check the clocks. {_SEALED}")
    return Reason(
        "UntimelySignature",
        f"{signature} is {age} old, more than its Window of {window}.",
        f"Push the job with a new signature, or raise the token's Window and retry it. {_SEALED}",
    )


def _warn_of_lost_reply(pool: WorkerPool) -> None:
    if pool.plan.policy.reply_queue is not None or "reply" in pool.warned:
        return
    pool.warned.add("reply")
    pool.report(
        Warned(
            "ReplyWithoutQueue",
            "A job asks for a reply, but no ResponseQueue is configured: its answer goes nowhere.",
            'Set "ResponseQueue", or leave the fourth argument out.',
        )
    )


_BAD_TOKEN = Reason(
    "BadToken",
    "This broker does not accept the token (third argument).",
    'Push with the token of the configuration ("Token" or "TokenFile", or one of "Tokens").',
)
