"""Requests that are signed as AWS' own library signs them: what our check of signatures is compared with."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import botocore.auth
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NAME: Final = "AKIAIOSFODNN7EXAMPLE"
SECRET: Final = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
FORM: Final = "application/x-www-form-urlencoded; charset=utf-8"


def signed_headers(
    url: str,
    body: bytes,
    *,
    at_s: float | None = None,
    name: str = NAME,
    secret: str = SECRET,
    region: str = "us-east-1",
    service: str = "sns",
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    erlcloud: bool = False,
) -> dict[str, str]:
    """All headers of the request, its host among them. `at_s`: when it is signed, instead of now.

    `erlcloud`: with just those signed that erlcloud signs for MongooseIM.
    """
    sent = {"Content-Type": FORM, **(headers or {})}
    signed = {"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()} if erlcloud else sent
    request = AWSRequest(method=method, url=url, data=body, headers=signed)
    with pytest.MonkeyPatch.context() as patch:
        if at_s is not None:
            patch.setattr(botocore.auth, "get_current_datetime", lambda: datetime.fromtimestamp(at_s, UTC))
        SigV4Auth(Credentials(name, secret), service, region).add_auth(request)
    return {"Host": url.split("/")[2], **sent, **dict(request.headers.items())}
