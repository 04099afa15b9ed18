"""Signed jobs: the third argument is a signature made with the token's secret, so that the secret is not in Redis.

A signature is `v1:NAME:TIMESTAMP:HEX`: the token's name, epoch seconds, and HMAC-SHA256 over the canonical text of
`["v1", NAME, TIMESTAMP, JID, ENDPOINT, ARGUMENTS, REPLY_ID]`. The broker's admission verifies, `restbroker enqueue`
signs. Always holds: what is signed is what the job means, not how it is written, so that Ruby may write a job anew in
between, and each form of the arguments verifies; comparisons take constant time.

The canonical text is JSON in UTF-8 without blanks; the keys of each object are sorted by code point; in texts only
quotes, backslashes and control characters are escaped (the short forms where JSON has them, else four lower-case hex
digits); numbers are written in full, without exponent and without a fraction that is zero (1.0 is 1).
"""

import hmac
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import attrs

from restbroker.rules.arguments import Submission
from restbroker.rules.json_types import Json

ACCEPTED_FIELD: Final = "restbroker_accepted"
"""In the payload: this job's signature was seen in time, so that its retries are not held against the clock."""
AHEAD_S: Final = 60.0
"""So far may a signature's time be ahead of the broker's clock."""

_quoted = json.encoder.encode_basestring
_FORM: Final = re.compile(r"v1:([a-z0-9-]{1,32}):(\d{1,12}):([0-9a-f]{64})", re.ASCII)


@attrs.frozen
class Signature:
    """What a job's third argument says. `text` is the whole of it."""

    text: str
    token: str
    at_s: int


def read(given: Json) -> Signature | None:
    """The signature in a job's third argument; None if it has not the form of one."""
    found = _FORM.fullmatch(given) if isinstance(given, str) else None
    return None if found is None else Signature(found[0], found[1], int(found[2]))


def sign(secret: str, token: str, at_s: int, jid: str, submission: Submission) -> str:
    """The third argument of a job. `at_s` is now or, for a job that is to run later, when it is due."""
    return f"v1:{token}:{at_s}:{_digest(secret, _content(token, at_s, jid, submission))}"


def which(signature: Signature, secrets: Sequence[str], jid: str, submission: Submission) -> int | None:
    """The place of the secret that made the signature for just this job; None if none did. Tries all of them."""
    offered = signature.text.encode()
    made = [sign(secret, signature.token, signature.at_s, jid, submission).encode() for secret in secrets]
    matches = [bool(secret) and hmac.compare_digest(offered, one) for secret, one in zip(secrets, made, strict=True)]
    return matches.index(True) if any(matches) else None


def acceptance(secret: str, signature: Signature) -> str:
    """What is written under `ACCEPTED_FIELD`. Only who has the secret can make it, and it fits one signature."""
    return _digest(secret, b"accepted:" + signature.text.encode())


def is_accepted(fields: Mapping[str, Json], secret: str, signature: Signature) -> bool:
    """Whether a broker has let this job in before."""
    value = fields.get(ACCEPTED_FIELD)
    return isinstance(value, str) and hmac.compare_digest(value.encode(), acceptance(secret, signature).encode())


def canonical(value: Json) -> str:
    """The canonical text of a value; see above."""
    match value:
        case dict():
            members = (f"{_quoted(key)}:{canonical(value[key])}" for key in sorted(value))
            return "{" + ",".join(members) + "}"
        case list():
            return "[" + ",".join(map(canonical, value)) + "]"
        case str():
            return _quoted(value)
        case float():
            return _number(value)
        case _:
            return json.dumps(value)


def _content(token: str, at_s: int, jid: str, submission: Submission) -> bytes:
    command = submission.command
    arguments = dict(command.arguments)
    return canonical(["v1", token, at_s, jid, command.endpoint, arguments, submission.reply_id]).encode()


def _number(number: float) -> str:
    text = format(Decimal(repr(number)), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _digest(secret: str, content: bytes) -> str:
    return hmac.digest(secret.encode(), content, "sha256").hex()
