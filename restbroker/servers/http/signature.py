"""Signs requests as Standard Webhooks 1.0 (standardwebhooks.com) says. Pure.

Used by `request`, and by `recipes` to test a secret. Always holds: the id is the job's, the same for each attempt, so
that a receiver recognises a repetition; the signature covers exactly the bytes of the body.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

from restbroker.errors import ConfigError

PREFIX: Final = "whsec_"
_URL_SAFE: Final = str.maketrans("+/", "-_")
_SHORTEST_BYTES, _LONGEST_BYTES = 24, 64
# No full stop, which is between the id and the time in what is signed.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


def stable_id(identity: str) -> str:
    """Return `identity` (`Job.identity`) if a header can hold it, else a digest of it."""
    if _PLAIN.fullmatch(identity):
        return identity
    return "jid_" + hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def key_of(secret: str) -> bytes:
    """Return the key in a secret `whsec_…`; raise `ConfigError`, which does not show it, if there is none."""
    coded = secret.removeprefix(PREFIX)
    try:
        # Some write it without the padding.
        key = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not _SHORTEST_BYTES <= len(key) <= _LONGEST_BYTES:
        raise ConfigError(
            f"A signing secret must be {PREFIX} and the base64 of {_SHORTEST_BYTES} to {_LONGEST_BYTES} bytes.",
            'Make one: echo "whsec_$(openssl rand -base64 32)".',
        )
    return key


def spellings(secret: str) -> tuple[str, ...]:
    """Return the other spellings of the key in a secret `whsec_…`: without prefix, URL-safe, and in hexadecimal."""
    coded = secret.removeprefix(PREFIX).rstrip("=")
    return coded, coded.translate(_URL_SAFE), key_of(secret).hex()


def headers(keys: Sequence[bytes], name: str, at_s: int, body: bytes) -> tuple[tuple[str, str], ...]:
    """Return the three headers, with a signature by each key; `name` is the id, `at_s` the time in epoch seconds."""
    content = b"%b.%d.%b" % (name.encode("ascii"), at_s, body)
    signed = (base64.b64encode(hmac.digest(key, content, "sha256")).decode("ascii") for key in keys)
    return (
        ("webhook-id", name),
        ("webhook-timestamp", str(at_s)),
        ("webhook-signature", " ".join(f"v1,{signature}" for signature in signed)),
    )
