"""How restbroker gets access to a plugin: the login in the configuration, its header, the properties that let it in.

Used by the options, requests and `suggest` of both kinds. Always holds: a plugin takes Basic or its shared secret; the
secret goes as it is, since "Bearer" before it gets 401 (measured on the REST API plugin); no Trio is loaded here.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from restbroker.config.kind import At, note_no_login
from restbroker.config.logins import check_name_alone, note_plain
from restbroker.config.problems import Problems
from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target, check_bearer
from restbroker.config.urls import is_loopback
from restbroker.errors import ConfigError
from restbroker.servers.api.request import Headers, authorization

if TYPE_CHECKING:
    from restbroker.servers.allowed_commands import AllowedCommands

_VISIBLE: Final = re.compile(r"[!-~]+", re.ASCII)


def check_access(target: Target, secret: Secret | None, at: At, problems: Problems) -> Secret | None:
    """Return the secret as it is to be used; add what is wrong with it, and with the login beside it, to `problems`."""
    place = at("Options.Secret")
    secret = problems.try_secret(place, secret)
    check_bearer(place, secret, problems)
    match target.credentials:
        case None if secret is None:
            note_no_login(target, f"Give {at('Auth')} with Basic, an administrator's, or {place}File.", problems)
        case None:
            note_plain(target.url, problems)
        case Basic(user, _) if secret is None:
            check_name_alone(at("Auth"), user, problems)
        case Basic():
            problems.refuse(at("Auth"), "and the shared secret exclude one another: the plugin takes one of them.")
        case _:
            problems.refuse(at("Auth"), f"must be Basic; the plugin's shared secret belongs in {place}File.")
    return secret


def login_header(target: Target, secret: Secret | None) -> Headers:
    """Return the header that logs in; none without a login. Raise `ConfigError` if its secret is of no use."""
    if secret is None:
        return authorization(target.credentials)
    text = secret.reveal()
    if not _VISIBLE.fullmatch(text):
        raise ConfigError(
            "The shared secret cannot be put into a header: it is empty or has characters beyond visible ASCII.",
            "Put the secret alone into the setting or its file, without spaces and line breaks.",
        )
    return (("Authorization", text),)


def tls_hint(target: Target, plain: int, tls: int) -> str:
    """Return the beginning of a hint for a target with https on the port `plain`; "" for any other."""
    is_plain = target.url.scheme == "https" and target.url.port == plain
    return f"Port {plain} has no TLS by default: https is on {tls}. " if is_plain else ""


def properties(target: Target, allowed: "AllowedCommands", plugin: str, own: Iterable[str]) -> str:
    """Return the lines of the properties to set, with remarks above them on what an operator must know.

    `plugin`: what their names begin with; `own`: lines without that, such as `httpAuth = basic`. If the target is on
    another machine, the addresses that may reach the plugin are a placeholder in capitals.
    """
    lines = [
        f"# System properties of Openfire (console: Server, Server Manager, System Properties), for {target.name}",
        "# The plugin has no rights by command: anyone who logs in may do everything. Only the tokens' Allow limits",
        "# what jobs may run: give no one else the login or access to the port.",
    ]
    if allowed.hosts:
        lines.append(f"# Only restbroker keeps jobs to {', '.join(allowed.hosts)}.")
    address = "127.0.0.1" if is_loopback(target.url.host) else "THE ADDRESSES OF RESTBROKER'S MACHINES"
    return "\n".join((*lines, *(f"{plugin}.{line}" for line in ("enabled = true", *own, f"allowedIPs = {address}"))))
