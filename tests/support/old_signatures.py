"""Signatures of the form v1, which had no queue: of producers, or as restbroker made them of jobs that it stored."""

import hmac

from restbroker.job import signing
from restbroker.job.json_types import Json


def old_signature(secret: str, at_s: int, jid: str, endpoint: str, arguments: Json, reply_id: Json = None) -> str:
    """One of the token "app". `at_s` is below `signing.ORDERS` where restbroker made it."""
    text = signing.canonical(["v1", "app", at_s, jid, endpoint, arguments, reply_id])
    return f"v1:app:{at_s}:{hmac.digest(secret.encode(), text.encode(), 'sha256').hex()}"
