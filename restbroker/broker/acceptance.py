"""Whether the proof that came with a job is accepted: its token, or a signature in time that fits its queue. Pure.

Admission calls it once `Tokens.proof` has looked for a token. Always holds: a signature that was seen in time stays
accepted for 30 days, also when the job is retried; what a job says of its own acceptance counts only if the secret
confirms it; a signature that can be accepted once more is recorded as done, if it was done.
"""

from collections.abc import Sequence

import attrs

from restbroker.broker.tokens import Proof
from restbroker.config.tokens import Token
from restbroker.config.values import duration_text
from restbroker.job import signing
from restbroker.job.arguments import Submission
from restbroker.job.job import Job
from restbroker.job.outcome import Delivered, Reason
from restbroker.job.settlement import Ack, Drop, Fingerprint, Settlement, is_unchanged_requeue

DIFFER_S = 60.0
"""If our clock and Redis' differ by more than this, whether a signature is timely is not decided."""
# A fast clock accepts a signature so much before its time, a slow one so much after its end.
_SPARE_S = signing.AHEAD_S + 2 * DIFFER_S
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
    return _MISFIT


def fingerprint_of(payload: Job, accepted: Job, proof: Proof, now_s: float) -> Fingerprint | None:
    """Return what is recorded of a job once it is done; None if it is not signed.

    `accepted` is what `accept` made of `payload`; `now_s` is the time by the slower of our clock and Redis'.
    """
    signature = proof.signature
    if signature is None:
        return None
    queue = signing.accepted_queue(accepted.fields) or payload.queue
    keep_s, is_stored = proof.token.window_s, accepted is payload
    if is_stored:
        made_at_s = signing.accepted_at_s(payload.fields, proof.secret, signature) or 0
        keep_s = made_at_s + signing.ACCEPTED_FOR_S - now_s
    token, text = signing.token_digest(proof.secret), signing.fingerprint(signature)
    return Fingerprint(token, queue, text, keep_s + _SPARE_S, is_stored=is_stored)


def record_of(signed: Fingerprint, settlement: Settlement, outcome: object) -> Fingerprint | None:
    """Return what is recorded of the signature of a job with this settlement, which followed from `outcome`.

    It is done if it was delivered. (A duplicate was not: the job that it doubles may have the same signature, and still
    fail.) That a first mark of its acceptance is stored is recorded, too.
    """
    if isinstance(settlement, Ack):
        return signed if isinstance(outcome, Delivered) else None
    if signed.is_stored or isinstance(settlement, Drop) or is_unchanged_requeue(settlement):
        return None
    return attrs.evolve(signed, keep_s=signing.ACCEPTED_FOR_S + _SPARE_S, is_stored=True, is_done=False)


def accept(payload: Job, proof: Proof, queue: str, now_s: float, ahead_s: float) -> Job | Reason:
    """Return the job, marked as accepted if it is signed; or why its signature, or the lack of one, is not accepted.

    `queue` is the one that the signature fits, if it covers one; else it must have been accepted before. `now_s` is the
    time by our clock (epoch seconds), by Redis' it is `ahead_s` later. Untimely is only what both clocks find so;
    `CLOCKS_DIFFER`: they cannot tell.
    """
    token, signature = proof.token, proof.signature
    if signature is None:
        return _unsigned(token) if token.signed else payload
    accepted_at_s = signing.accepted_at_s(payload.fields, proof.secret, signature)
    if accepted_at_s is None:
        if not signature.covers_queue:
            return _OF_NO_QUEUE
        if queue != payload.queue:
            # What it says of itself is not true.
            return _MISFIT
    at_s, limit_s = signature.at_s, token.window_s
    if accepted_at_s is not None:
        at_s, limit_s = accepted_at_s, signing.ACCEPTED_FOR_S
    least_s, most_s = now_s + min(0.0, ahead_s) - at_s, now_s + max(0.0, ahead_s) - at_s
    if accepted_at_s is None and most_s < -signing.AHEAD_S:
        return _untimely(token.name, most_s, limit_s)
    if least_s > limit_s:
        return _untimely(token.name, least_s, limit_s) if accepted_at_s is None else _MARK_OVER
    if abs(ahead_s) > DIFFER_S and (accepted_at_s is None or most_s > limit_s):
        return CLOCKS_DIFFER
    if accepted_at_s is not None:
        return payload
    mark = signing.acceptance(proof.secret, signature, payload.queue, now_s + ahead_s)
    return attrs.evolve(payload, fields={**payload.fields, signing.ACCEPTED_FIELD: mark}, is_plain=False)


def _unsigned(token: Token) -> Reason:
    return Reason(
        "SignatureNeeded",
        f'The token "{token.name}" takes only signed jobs, but this one carries its secret, which is now in Redis.',
        "Sign the job (docs/signed-jobs.md), and give the token a new secret.",
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


_MISFIT = Reason(
    "BadSignature",
    "The signature does not match the job: it was made with a secret that this broker does not have, or "
    "for another jid, endpoint, arguments, reply id or queue.",
    f"Sign the canonical text of exactly what is pushed (docs/signed-jobs.md). {_SEALED}",
)
_OF_NO_QUEUE = Reason(
    "BadSignature",
    "The signature does not cover the queue, and no broker let this job in before: it has the form v1, or restbroker "
    "made it for a job that it stored.",
    f"Sign in the form v1q, with the queue (docs/signed-jobs.md). {_SEALED}",
)
_MARK_OVER = Reason(
    "UntimelySignature",
    "The job was accepted more than 30 days ago.",
    "`restbroker dead retry JID`, or Retry on restbroker's pages, accepts it for 30 more days; Sidekiq Web's does not.",
)
CLOCKS_DIFFER = Reason(
    "ClocksDiffer",
    "Redis' clock and this machine's differ by more than a minute: whether a signature is timely cannot be told.",
    "Synchronise them (NTP). Until then signed jobs wait; one that is too old for its Window by both clocks dies.",
)
_BAD_TOKEN = Reason(
    "BadToken",
    "This broker does not accept the token (third argument).",
    'Push with the token of the configuration ("Token" or "TokenFile", or one of "Tokens"). If brokers with another '
    "configuration serve this queue, too, `restbroker processes` lists them.",
)
