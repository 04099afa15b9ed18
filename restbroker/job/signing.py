"""Signed jobs: the third argument is a signature made with the token's secret, so that the secret is not in Redis.

A signature is `v1q:NAME:TIMESTAMP:HEX`: the token's name, epoch seconds, and HMAC-SHA256 over the canonical text of
`["v1q", NAME, TIMESTAMP, JID, ENDPOINT, ARGUMENTS, REPLY_ID, QUEUE]`. The broker's admission verifies, `restbroker
enqueue` signs. One of `job.sealing` has a number in the place of the time, and "" in that of the queue: it is for all
queues. The form `v1` had no queue, and is only read. Always holds: a signature that covers no queue lets in what was
let in before, and nothing else; it covers what the job means, not how it is written, so that Ruby may rewrite a job in
between, and each form of the arguments verifies, a bare list as the list that it is; comparisons take constant time.

The canonical text is JSON in UTF-8 without blanks; the keys of each object are sorted by code point; in texts only
quotes, backslashes and control characters are escaped (the short forms where JSON has them, else four lower-case hex
digits); numbers are written in full, without exponent and without a fraction that is zero (1.0 is 1).

Anybody may push any job with the form of a signature, and nothing else runs while it is verified: so the text is made
once for all secrets, and none is made of a job with more than `VALUES_LIMIT` values. (Without these bounds one of 1 MiB
held a broker up for 20 s.)
"""

import hmac
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from restbroker.job import arguments
from restbroker.job.arguments import BARE, Submission
from restbroker.job.json_types import Json
from restbroker.light import frozen

ACCEPTED_FIELD: Final = "restbroker_accepted"
"""The payload's field that says that this job's signature was seen in time, when, and in which queue.

So its retries are not held against the clock, nor against another queue that they come from.
"""
ORDERS: Final = 1_000_000_000
"""Signatures of `job.sealing` have a number below this in the place of their time, which is long past as seconds."""
ACCEPTED_FOR_S: Final = 30 * 86_400.0
"""For so many seconds a mark of acceptance is good."""
AHEAD_S: Final = 60.0
"""How many seconds a signature's time may be ahead of the broker's clock, and Redis'."""

VALUES_LIMIT: Final = 10_000
"""The arguments of a signed job hold no more values than this, at all depths; a long integer counts as several."""
# A secret that is tried costs about a millisecond for each MiB.
_HASHED_LIMIT_BYTES: Final = 16 * 1024 * 1024
# Of these long integers one costs as much as a value.
_BITS_OF_A_VALUE: Final = 64

_plain = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
# What the text of each float has. Texts may have it as well.
_FRACTION: Final = re.compile(r"\.\d|e[+-]\d")
_quoted = json.encoder.encode_basestring
_MARK: Final = re.compile(r"[0-9a-f]{64}@(\d{1,12}):(.*)", re.ASCII | re.DOTALL)
_FORM: Final = re.compile(r"(v1q?):([a-z0-9-]{1,32}):(\d{1,12}):[0-9a-f]{64}", re.ASCII)
VERSION: Final = "v1q"
OLD_VERSION: Final = "v1"


@frozen
class Signature:
    """The signature in a job's third argument, in parts. `text` is the whole of it.

    `at_s` is its time in epoch seconds.
    """

    text: str
    version: str
    token: str
    at_s: int

    @property
    def covers_queue(self) -> bool:
        """Whether it fits in one queue only."""
        return self.version == VERSION and self.at_s >= ORDERS


def read(given: Json) -> Signature | None:
    """Return the signature in a job's third argument; None if it does not have the form of one."""
    found = _FORM.fullmatch(given) if isinstance(given, str) else None
    return None if found is None else Signature(found[0], found[1], found[2], int(found[3]))


def is_signable(submission: Submission) -> bool:
    """Tell whether the job has no more values than a signature may cover (`VALUES_LIMIT`)."""
    left: int = VALUES_LIMIT
    waiting: list[Json] = [submission.command.arguments, submission.reply_id]
    while waiting and left >= 0:
        match waiting.pop():
            case dict() as value:
                left -= len(value)
                waiting.extend(value.values() if left >= 0 else ())
            case list() as value:
                left -= len(value)
                waiting.extend(value if left >= 0 else ())
            case int() as value:
                left -= value.bit_length() // _BITS_OF_A_VALUE
            case _:
                pass
    return left >= 0


def sign(secret: str, token: str, at_s: int, jid: str, submission: Submission, queue: str) -> str:
    """Return the third argument of a job: its signature for this queue.

    `at_s` is now or, for a job that is to run later, when it is due, in epoch seconds. Call it only if
    `is_signable`: no other signature is accepted.
    """
    signed = _content(VERSION, token, at_s, jid, submission, queue)
    return _format(VERSION, token, at_s, _digest(secret, signed))


def content(signature: Signature, jid: str, submission: Submission, queue: str) -> bytes | None:
    """Return the bytes that the signature of this job must cover; None if a signature cannot cover so much."""
    if not is_signable(submission):
        return None
    covered = [] if signature.version == OLD_VERSION else [queue if signature.covers_queue else ""]
    return _content(signature.version, signature.token, signature.at_s, jid, submission, *covered)


def matching_secret(signature: Signature, secrets: Sequence[str], signed: bytes) -> int | None:
    """Return the index of the secret that made the signature over exactly `signed`; None if none did.

    Try all of them; where `signed` is large, only as many of the first as take no notable time, two at least.
    """
    offered, parts = signature.text.encode(), (signature.version, signature.token, signature.at_s)
    tried = secrets[: max(2, _HASHED_LIMIT_BYTES // len(signed))]
    made = [_format(*parts, _digest(secret, signed)).encode() for secret in tried]
    matches = [bool(secret) and hmac.compare_digest(offered, mac) for secret, mac in zip(tried, made, strict=True)]
    return matches.index(True) if any(matches) else None


def fingerprint(signature: Signature) -> str:
    """Return the 32 hexadecimal digits under which the job of this signature is recorded as done."""
    return signature.text[-64:-32]


def token_digest(secret: str) -> str:
    """Return the 16 digits that stand for the token of this secret, whatever it is called, in names of keys."""
    return _digest(secret, b"token")[:16]


def acceptance(secret: str, signature: Signature, queue: str, at_s: float) -> str:
    """Return the value of `ACCEPTED_FIELD` for a job that is admitted from this queue for the first time.

    It can be made only with the secret, and it fits one signature. `at_s`: when that was (epoch seconds, Redis' clock).
    """
    at = f"@{at_s:.0f}"
    return f"{_digest(secret, f'accepted{at}:{signature.text}:{queue}'.encode())}{at}:{queue}"


def accepted_queue(fields: Mapping[str, Json]) -> str | None:
    """Return the queue from which this job was admitted first, by its `ACCEPTED_FIELD`; None if that names none."""
    value = fields.get(ACCEPTED_FIELD)
    return value.partition(":")[2] or None if isinstance(value, str) else None


def accepted_at_s(fields: Mapping[str, Json], secret: str, signature: Signature) -> int | None:
    """Return when a broker admitted this job first (epoch seconds), by its `ACCEPTED_FIELD`.

    None: that was not made with `secret` for `signature`.
    """
    value = fields.get(ACCEPTED_FIELD)
    mark = _MARK.fullmatch(value) if isinstance(value, str) else None
    if mark is None:
        return None
    at_s = int(mark[1])
    made = acceptance(secret, signature, mark[2], at_s)
    return at_s if hmac.compare_digest(mark[0].encode(), made.encode()) else None


def renew_mark(fields: Mapping[str, Json], secrets: Iterable[str], at_s: float) -> dict[str, Json]:
    """Return the fields of a job that a person retries: a mark of acceptance that one of these secrets made is renewed.

    Only one that is true, of whatever age: what was never accepted does not become so.
    """
    signature, queue = read(arguments.token(fields.get("args"))), accepted_queue(fields) or ""
    for secret in secrets:
        if signature is not None and accepted_at_s(fields, secret, signature) is not None:
            return {**fields, ACCEPTED_FIELD: acceptance(secret, signature, queue, at_s)}
    return dict(fields)


def queue_bound_signature(fields: Mapping[str, Json]) -> Signature | None:
    """Return the job's signature if it covers the queue, from which it must be admitted first then; else None."""
    signature = read(arguments.token(fields.get("args")))
    return signature if signature is not None and signature.covers_queue else None


def canonical(value: Json) -> str:
    """Return the canonical text of a value, as this module's docstring defines it."""
    text = _plain(value)
    return _canonical_text(value) if _FRACTION.search(text) else text


def _canonical_text(value: Json) -> str:
    match value:
        case dict():
            members = (f"{_quoted(key)}:{_canonical_text(value[key])}" for key in sorted(value))
            return "{" + ",".join(members) + "}"
        case list():
            return "[" + ",".join(map(_canonical_text, value)) + "]"
        case str():
            return _quoted(value)
        case float():
            return _number(value)
        case _:
            return json.dumps(value)


def _content(version: str, token: str, at_s: int, jid: str, submission: Submission, *covered: str) -> bytes:
    command = submission.command
    named: Json = command.arguments[BARE] if submission.is_bare else dict(command.arguments)
    return canonical([version, token, at_s, jid, command.endpoint, named, submission.reply_id, *covered]).encode()


def _format(version: str, token: str, at_s: int, hexadecimal: str) -> str:
    return f"{version}:{token}:{at_s}:{hexadecimal}"


def _number(number: float) -> str:
    text = repr(number)
    if "e" in text:
        from decimal import Decimal  # few have one, and anyone who only reads jobs does without

        text = format(Decimal(text), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _digest(secret: str, content: bytes) -> str:
    return hmac.digest(secret.encode(), content, "sha256").hex()
