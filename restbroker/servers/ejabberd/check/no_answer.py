"""Judges that a target gave no answer: no connection, no login to send, silence. Pure.

Called by `check`. Always holds: each way in which there is no answer has its own cure.
"""

import attrs

from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.errors import ConfigError
from restbroker.servers.findings import Finding
from restbroker.transport.errors import MaybeSent, NotSent

_WAIT = "Jobs for this target wait in Redis until it answers."


def unusable_login(target: Target, error: ConfigError) -> Finding:
    """The credentials cannot even be sent."""
    why = "Without them nothing can be asked."
    return Finding("problem", target.name, "BadLogin", message=error.message, why=why, cure=error.cure, cause="config")


def unreachable(target: Target, error: NotSent | MaybeSent) -> Finding:
    """No answer came."""
    found = Finding(
        "problem",
        target.name,
        "Unreachable",
        message=error.message,
        why=_WAIT,
        cure="Check that the server runs, and RestURL.",
        cause="target",
    )
    if isinstance(error, NotSent) and error.tls:
        # A plain ejabberd hangs up in the middle of the handshake, other servers answer with words (measured).
        plain = "CERTIFICATE" not in error.message.upper()
        why = "This port seems to speak plain HTTP." if plain else "This machine does not trust its certificate."
        cure = f'"RestURL": "{str(target.url).replace("https:", "http:", 1)}"'
        other = "Install the certificate's CA on this machine, or use the name that is in the certificate."
        return attrs.evolve(found, code="TlsFailed", why=why, cure=cure if plain else other)
    if is_silent(error):
        why = f"It takes the request and does not answer: it hangs, or has too much to do. {_WAIT}"
        cure = "Look at the server's load and log; nothing more was asked. If that port is not for HTTP, see RestURL."
        return attrs.evolve(found, code="Silent", why=why, cure=cure)
    if isinstance(error, MaybeSent):
        why = "It hangs up on HTTP: perhaps this port expects TLS, or is none for HTTP (5222 is for XMPP clients)."
        return attrs.evolve(found, code="HangsUp", why=why)
    return found


def is_silent(error: NotSent | MaybeSent) -> bool:
    """Whether the request was taken and no answer came in time."""
    return isinstance(error, MaybeSent) and error.timed_out


def gone(target: Target, error: NotSent | MaybeSent) -> Finding:
    """It answered before, and does no more."""
    why = "It answered before, so that it is restarting, or drops connections."
    if is_silent(error):
        why = "It answered before and hangs now, or has too much to do. Nothing more was asked."
    return Finding(
        "problem",
        target.name,
        "Unreachable",
        message=error.message,
        why=why,
        cure="Look at ejabberd's log.",
        cause="target",
    )


def out_of_time(target: Target, limit_s: float, *, answered: bool) -> Finding:
    """The check's own time was up."""
    if not answered:
        message = f"No answer from {target.url} within {duration_text(limit_s)}."
        return unreachable(target, MaybeSent(message, timed_out=True))
    message = f"The check of this server was ended after {duration_text(limit_s)}, so slow are its answers."
    why = "What is not told here was not asked."
    return Finding(
        "warning",
        target.name,
        "Unfinished",
        message=message,
        why=why,
        cure="Look at the server's load and log; try again.",
    )
