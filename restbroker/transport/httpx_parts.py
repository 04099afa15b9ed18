"""What the client and the streams on httpx share: how a target is reached, and what an error of httpx means.

Always holds: no variable of the environment is read, no redirect is followed, no cookie is kept; no text has a part of
a request or an answer in it, nor words of a proxy: httpx quotes them, and they may show a login.
"""

import ssl
from typing import Final

import httpx

from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.transport.errors import NotSent, reason_of

FORBIDDEN: Final = "it contains something that HTTP forbids"
LOGIN_REFUSED: Final = 407


def open_httpx(target: Target, tls: ssl.SSLContext, limits: httpx.Limits) -> httpx.AsyncHTTPTransport:
    """Return the transport of httpx for this target, which connects only when something is sent.

    Raise `NotSent` if the secret of its proxy cannot be read.
    """
    proxy = None
    if target.proxy is not None:
        login = target.proxy.login
        try:
            auth = None if login is None else (login.user, login.password.reveal())
            proxy = httpx.Proxy(target.proxy.origin, auth=auth)
        except ConfigError as error:
            raise NotSent(str(error)) from error
    return httpx.AsyncHTTPTransport(
        verify=tls, http2=target.http2, trust_env=False, limits=limits, proxy=proxy, uds=target.url.socket
    )


def way_to(target: Target) -> str:
    """Return the target's address, with that of the proxy before it."""
    return str(target.url) if target.proxy is None else f"{target.url} through the proxy {target.proxy.origin}"


def proxy_refusal(target: Target, status: str) -> NotSent:
    """Return the error for a proxy that passes nothing on, and begins its answer with `status`."""
    if status.startswith((str(LOGIN_REFUSED), "401")):  # tinyproxy answers 401 to a wrong password
        what, hint = f"it refused the login ({status[:3]})", "Correct ProxyUser and ProxyPass, or that user's rights."
    else:
        what, hint = f"it answered {status[:3]}", "Check that the proxy reaches the server and may connect to it."
    return NotSent(f"No connection to {way_to(target)}: {what}.", hint=hint)


def tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Return the error of TLS that caused this one; None if none did."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def describe_error(error: BaseException) -> str:
    """Return the error as text without a full stop, and without any part of request or answer.

    httpx quotes both, which may show a login.
    """
    match error:
        case httpx.RemoteProtocolError():
            is_early = str(error).startswith(("Server disconnected", "peer closed connection"))
            return "it ended early" if is_early else "it is not HTTP"
        case httpx.LocalProtocolError():
            return FORBIDDEN
        case _:
            return reason_of(error)
