"""The requests to mod_http_roster_admin. Pure; the sender and the check make them.

Always holds: one user is sent as a list of one, whose errors are counted; `GET /refresh/USER` has a verdict and nothing
else, which may contradict that count. A list of users is never empty, since Prosody never answers an empty one
(measured on 0.12.3 and 13.0.1, as all that is said of its answers in this folder), and it is sent with its length,
since a chunked one is not read.
"""

from collections.abc import Sequence
from typing import Final

import orjson

from restbroker.config.target import IssuedLogin, Target
from restbroker.servers.api.login import Headers, authorization
from restbroker.servers.api.request import unsent
from restbroker.transport.message import Request

_ANSWER_LIMIT_BYTES: Final = 65_536


def refresh_request(target: Target, users: Sequence[str]) -> Request:
    """Return one request that refreshes all of these users, at least one.

    Raise `NotSent` if the login cannot be read, and ValueError for no users.
    """
    if not users:
        raise ValueError("Prosody never answers a refresh of no user.")
    headers = (("content-type", "application/json"), *_login(target))
    return _request(target, "POST", "/refresh", headers=headers, body=orjson.dumps(list(users)))


def probe_request(target: Target) -> Request:
    """Return a request that shows whether the module is there; raise `NotSent` if the login cannot be read.

    The module answers it with a redirect, and does nothing.
    """
    return _request(target, "GET", "/refresh", _login(target))


def _request(target: Target, method: str, path: str, headers: Headers, body: bytes = b"") -> Request:
    return Request(
        method,
        target.url.path + path,
        target.timeout_s,
        query=(),
        headers=headers,
        body=body,
        body_limit_bytes=_ANSWER_LIMIT_BYTES,
        repeatable=True,
    )


def _login(target: Target) -> Headers:
    login = None if isinstance(target.credentials, IssuedLogin) else target.credentials
    return tuple((name.lower(), value) for name, value in unsent(lambda: authorization(login)))
