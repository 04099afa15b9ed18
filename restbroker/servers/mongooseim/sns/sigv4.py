"""Checks that a request is signed with a key that both sides know: AWS Signature Version 4, in its headers. Pure.

Called by `hook` for each request, before its body is parsed, and for its head before the body is read. Always holds:
the signature covers the method, path, query, host, time and every byte of the body that came; it is compared in
constant time; a refusal repeats nothing of the request. The form is that of Amazon's documentation, "Create a signed
AWS API request"; the tests compare with botocore's signatures.

erlcloud, which MongooseIM signs with, takes the second label of a host of four or more labels as the region, else
us-east-1 (read in its source). So any region counts: it is signed along with the rest.
"""

import hashlib
import hmac
import re
import time
from calendar import timegm
from collections.abc import Iterable, Iterator
from typing import Final, Literal
from urllib.parse import quote

from restbroker.config.values import duration_text
from restbroker.light import define, field, frozen

ALGORITHM: Final = "AWS4-HMAC-SHA256"
_END: Final = "aws4_request"
_MOMENT: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")
_MUST_BE_SIGNED: Final = frozenset({"host", "x-amz-date"})

Fault = Literal["MissingAuthenticationToken", "IncompleteSignature", "InvalidClientTokenId", "SignatureDoesNotMatch"]
"""Amazon's names: no signature; an unreadable one; one of another key; a wrong one, or one of another time."""


@define(eq=False)
class SignatureError(Exception):
    """The request is not signed with the key. `why` is for the log and for the sender."""

    fault: Fault
    why: str


@frozen
class SignedRequest:
    """A request as it came: `path` and `query` as they were sent, names of headers in any case."""

    method: str
    path: bytes
    query: bytes
    headers: Iterable[tuple[bytes, bytes]]
    body: bytes = field(repr=False)


@frozen
class _Claim:
    """What the request says of its signature."""

    key_name: str
    scope: tuple[str, str, str]
    """The day, the region and the service."""
    signed_headers: tuple[str, ...]
    signature: str


@frozen
class ExpectedSignature:
    """What must be signed: a request to this service, with a key of this name, within `skew_s` seconds of now."""

    key_name: str
    service: str
    skew_s: float


def check_head(headers: Iterable[tuple[bytes, bytes]], expected: ExpectedSignature, now_s: float) -> None:
    """Raise `SignatureError` if the headers alone show that the request cannot be signed as expected.

    `now_s`: epoch seconds.
    """
    _require_claim(_join_headers(headers), expected, now_s)


def verify(request: SignedRequest, secret: bytes, expected: ExpectedSignature, now_s: float) -> None:
    """Raise `SignatureError` unless the request is signed as expected with the key `secret`. `now_s`: epoch seconds."""
    headers = _join_headers(request.headers)
    claim, moment = _require_claim(headers, expected, now_s), headers["x-amz-date"]
    if any(name not in headers for name in claim.signed_headers):
        raise SignatureError("SignatureDoesNotMatch", "a signed header is missing")
    digest = hashlib.sha256(request.body).hexdigest()
    if headers.get("x-amz-content-sha256", digest) != digest:
        raise SignatureError("SignatureDoesNotMatch", "the body is not the one that was signed")
    signature = _signature(secret, claim, moment, _canonical(request, headers, claim.signed_headers, digest))
    if not hmac.compare_digest(claim.signature.encode(), signature.encode()):
        why = (
            "the signature is wrong: it was made with another key, or something on the way changed the path, the "
            "host or the body"
        )
        raise SignatureError("SignatureDoesNotMatch", why)


def _require_claim(headers: dict[str, str], expected: ExpectedSignature, now_s: float) -> _Claim:
    """Return what the headers say of the signature. Raise `SignatureError` if that is not as expected."""
    claim = _claim(headers)
    if not hmac.compare_digest(claim.key_name.encode(), expected.key_name.encode()):
        raise SignatureError("InvalidClientTokenId", "it is signed with a key that has another name")
    _require_scope(claim, headers.get("x-amz-date", ""), expected, now_s)
    return claim


def _claim(headers: dict[str, str]) -> _Claim:
    """Parse the `Authorization` header. Raise `SignatureError` if there is no signature, or not a complete one."""
    algorithm, _, rest = headers.get("authorization", "").partition(" ")
    if algorithm != ALGORITHM:
        raise SignatureError("MissingAuthenticationToken", f"it has no signature ({ALGORITHM})")
    parts = dict(_pair(part) for part in rest.split(","))
    match parts.get("Credential", "").rsplit("/", 4):
        case [name, day, region, service, end] if end == _END:
            signed = tuple(parts.get("SignedHeaders", "").split(";"))
            signature = parts.get("Signature", "")
            if _SIGNATURE.fullmatch(signature) and _MUST_BE_SIGNED.issubset(signed):
                return _Claim(name, (day, region, service), signed, signature)
        case _:
            pass
    raise SignatureError("IncompleteSignature", "its signature lacks a part, or does not cover the host and the time")


def _pair(part: str) -> tuple[str, str]:
    name, _, value = part.strip().partition("=")
    return name, value


def _require_scope(claim: _Claim, moment: str, expected: ExpectedSignature, now_s: float) -> None:
    """Raise `SignatureError` if the request was signed at another time, for another day or for another service."""
    day, _, claimed = claim.scope
    at_s = _epoch_s(moment)
    if at_s is None:
        raise SignatureError("IncompleteSignature", "it does not say when it was signed")
    if claimed != expected.service or day != moment[:8]:
        raise SignatureError("SignatureDoesNotMatch", "it was signed for another service or day")
    if abs(now_s - at_s) > expected.skew_s:
        why = f"it was signed more than {duration_text(expected.skew_s)} ago, or in the future: check both clocks"
        raise SignatureError("SignatureDoesNotMatch", why)


def _epoch_s(moment: str) -> int | None:
    if not _MOMENT.fullmatch(moment):
        return None
    try:
        return timegm(time.strptime(moment, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        return None


def _canonical(request: SignedRequest, headers: dict[str, str], signed: tuple[str, ...], digest: str) -> str:
    """Return the text that both sides make of the request, to sign it; `digest` is the body's SHA-256."""
    lines = [
        request.method,
        quote(request.path, safe="/~"),
        "&".join("=".join(pair) for pair in sorted(_query_pairs(request.query))),
        *(f"{name}:{headers[name]}" for name in signed),
        "",
        ";".join(signed),
        digest,
    ]
    return "\n".join(lines)


def _query_pairs(query: bytes) -> Iterator[tuple[str, str]]:
    for part in query.decode("latin-1").split("&") if query else ():
        name, _, value = part.partition("=")
        yield name, value


def _signature(secret: bytes, claim: _Claim, moment: str, canonical: str) -> str:
    key = b"AWS4" + secret
    for part in (*claim.scope, _END):
        key = hmac.digest(key, part.encode(), "sha256")
    hashed = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    to_sign = "\n".join([ALGORITHM, moment, "/".join((*claim.scope, _END)), hashed])
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def _join_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers by name in lower case, several of one name joined with commas, and blanks reduced.

    Blanks at the ends are dropped, and several in a row become one.
    """
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1").lower(), []).append(" ".join(value.decode("latin-1").split()))
    return {name: ",".join(values) for name, values in found.items()}
