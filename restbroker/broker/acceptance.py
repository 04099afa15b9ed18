"""Whether the proof that came with a job is accepted: its token, or a signature in time that fits its queue. Pure.

Admission calls it once `Tokens.proof` has looked for a token. Always holds: a signature that was seen in time stays
accepted, also when the job is retried; what a job says of its own acceptance counts only if the secret confirms it.
"""

from collections.abc import Sequence

import attrs

from restbroker.broker.tokens import Proof
from restbroker.config.tokens import Token
from restbroker.config.values import duration_text
from restbroker.job import signing
from restbroker.job.arguments import Submission
from restbroker.job.job import Job
from restbroker.job.outcome import Reason
from restbroker.job.settlement import Fingerprint
from restbroker.job.signing import Signature

# Those who never signed find a signature in what they took out of "dead".
_SEALED = (
    "If restbroker put the signature there (in a job that it stored), put the token back as the third "
    "argument, or push the whole entry again with its jid."
)


def own_jid(payload: Job) -> str:
    """Return the payload's jid; "" if it has none, since the one made for it differs from one process to the next."""
    return payload.jid if payload.fields.get("jid") == payload.jid else ""


def let_in_from(payload: Job, queues: Sequence[str]) -> str:
    """Return the queue that first let the job in, as it says, if `queues` has it; else the one it is from.

    `accept` checks whether what it says is true.
    """
    queue = signing.accepted_queue(payload.fields)
    return queue if queue is not None and queue in queues else payload.queue


def refuse_unproven(payload: Job, submission: Submission, tokens: Sequence[Token]) -> Reason:
    """Return why a job is refused whose third argument fits none of these tokens."""
    signature = signing.read(submission.token)
    if signature is None:
        return _BAD_TOKEN
    if not signing.is_signable(submission):
        return Reason(
            "BadSignature",
            f"The job is signed, and has more than the {signing.VALUES_LIMIT} values that a signature can cover.",
            "Push it with the token itself, or as several jobs.",
        )
    if not own_jid(payload):
        message = "A signed job needs a jid, since the signature covers it."
        return Reason("BadSignature", message, "Push it with one.")
    if all(token.name != signature.token for token in tokens):
        message = f'The job is signed with a token "{signature.token}", which this broker does not have.'
        return Reason("BadSignature", message, f"Sign with the name and the secret of a configured token. {_SEALED}")
    return _misfit(signature)


def fingerprint_of(payload: Job, proof: Proof) -> Fingerprint | None:
    """Return what is remembered of an accepted job once it is done; None if it is not signed."""
    signature = proof.signature
    if signature is None:
        return None
    queue = signing.accepted_queue(payload.fields) or payload.queue
    return Fingerprint(queue, signing.fingerprint(signature), proof.token.window_s + signing.AHEAD_S)


def accept(payload: Job, proof: Proof, queue: str, now_s: float) -> Job | Reason:
    """Return the job, marked as accepted if it is signed; or why its signature, or the lack of one, is not accepted.

    `queue` is the one that the signature fits, if it covers one.
    """
    token, signature = proof.token, proof.signature
    if signature is None:
        return _unsigned(token) if token.signed else payload
    if signing.is_accepted(payload.fields, proof.secret, signature):
        return payload
    if signature.covers_queue and queue != payload.queue:
        # What it says of itself is not true.
        return _misfit(signature)
    if token.queue_signed and not signature.covers_queue:
        return _unsigned(token)
    age_s = now_s - signature.at_s
    if age_s > token.window_s or age_s < -signing.AHEAD_S:
        return _untimely(token.name, age_s, token.window_s)
    mark = signing.acceptance(proof.secret, signature, payload.queue)
    return attrs.evolve(payload, fields={**payload.fields, signing.ACCEPTED_FIELD: mark})


def _misfit(signature: Signature) -> Reason:
    what = "arguments, reply id or queue" if signature.covers_queue else "arguments or reply id"
    return Reason(
        "BadSignature",
        "The signature does not match the job: it was made with a secret that this broker does not have, or "
        f"for another jid, endpoint, {what}.",
        f"Sign the canonical text of exactly what is pushed (docs/tokens.md). {_SEALED}",
    )


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


_BAD_TOKEN = Reason(
    "BadToken",
    "This broker does not accept the token (third argument).",
    'Push with the token of the configuration ("Token" or "TokenFile", or one of "Tokens"). If brokers with another '
    "configuration serve this queue, too, `restbroker processes` lists them.",
)
