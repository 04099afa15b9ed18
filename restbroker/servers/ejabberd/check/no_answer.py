"""The findings about a target that gave no answer: no connection, no usable login, silence. Pure.

Called by `check`. Always holds: each of these cases has its own hint.
"""

import attrs

from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.errors import ConfigError
from restbroker.servers.findings import Finding
from restbroker.transport.errors import MaybeSent, NotSent

_WAIT = "Jobs for this target wait in Redis until it answers."


def unusable_login(target: Target, error: ConfigError) -> Finding:
    """Return the finding of credentials that cannot even be sent."""
    why = "Without them, nothing can be tested."
    return Finding("problem", target.name, "BadLogin", message=error.message, why=why, hint=error.hint, cause="config")


def unreachable(target: Target, error: NotSent | MaybeSent) -> Finding:
    """Return the finding of a request that got no answer."""
    found = Finding(
        "problem",
        target.name,
        "Unreachable",
        message=error.message,
        why=_WAIT,
        hint="Check that the server runs, and RestURL.",
        cause="target",
    )
    if isinstance(error, NotSent) and error.tls:
        # A plain ejabberd hangs up in the middle of the handshake, other servers answer with words (measured).
        plain = "CERTIFICATE" not in error.message.upper()
        why = "This port seems to speak plain HTTP." if plain else "Its certificate is not accepted."
        hint = f'"RestURL": "{str(target.url).replace("https:", "http:", 1)}"'
        return attrs.evolve(found, code="TlsFailed", why=why, hint=hint if plain else error.tls_hint)
    if is_silent(error):
        why = f"It accepts the request and does not answer: it hangs or is overloaded. {_WAIT}"
        hint = "Check the server's load and log; the check stopped here. If that port is not for HTTP, correct RestURL."
        return attrs.evolve(found, code="Silent", why=why, hint=hint)
    if isinstance(error, MaybeSent):
        why = (
            "It closes HTTP connections: perhaps this port expects TLS, or is not for HTTP (5222 is for XMPP clients)."
        )
        return attrs.evolve(found, code="HangsUp", why=why)
    return found


def is_silent(error: NotSent | MaybeSent) -> bool:
    """Tell whether the request was sent over a connection, but no answer came in time."""
    return isinstance(error, MaybeSent) and error.timed_out


def lost_connection(target: Target, error: NotSent | MaybeSent) -> Finding:
    """Return the finding of a server that answered before, but does not any more."""
    why = "It answered before, so it is restarting or dropping connections."
    if is_silent(error):
        why = "It answered before and now hangs or is overloaded. The check stopped here."
    return Finding(
        "problem",
        target.name,
        "Unreachable",
        message=error.message,
        why=why,
        hint="Check ejabberd's log.",
        cause="target",
    )


def out_of_time(target: Target, limit_s: float, *, answered: bool) -> Finding:
    """Return the finding of a check whose own time was up; `answered`: there were findings by then."""
    if not answered:
        message = f"No answer from {target.url} within {duration_text(limit_s)}."
        return unreachable(target, MaybeSent(message, timed_out=True))
    message = f"The check of this server was ended after {duration_text(limit_s)} because its answers are too slow."
    why = "Everything else was not tested."
    return Finding(
        "warning",
        target.name,
        "Unfinished",
        message=message,
        why=why,
        hint="Check the server's load and log; try again.",
    )
