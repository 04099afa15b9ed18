"""Lines of `ejabberd.yml` that fix a problem that `check` finds. Pure.

Used by `check`. Always holds: each is a whole block that ejabberd 23.01 accepts beside existing ones (tried; that of an
administrator on 26.07); under a key that exists already, a person adds only the inner lines.
"""

import json
from collections.abc import Sequence
from typing import Final

from restbroker.config.target import Basic, Bearer, IssuedLogin, Target, Url

ALL: Final = ("*", "!stop", "!start")
"""Every command but two, as in the `ejabberd.yml` that ejabberd comes with."""


def is_loopback(url: Url) -> bool:
    """Tell whether this URL is on the machine itself."""
    return url.host == "localhost" or url.host.startswith("127.") or url.host == "::1"


def listen(url: Url) -> str:
    """Return lines that offer the API at this URL; on loopback only, if the URL is.

    Ports 80 and 443 belong to a proxy in front of it: the API is then offered on 5281.
    """
    port = 5281 if url.port in (80, 443) else url.port
    address = "127.0.0.1" if is_loopback(url) else "::"
    tls = "\n    tls: true" if url.scheme == "https" else ""
    return f"""\
listen:
  - port: {port}
    ip: "{address}"
    module: ejabberd_http{tls}
    request_handlers:
      {url.path or "/api"}: mod_http_api
modules:
  mod_http_api: {{}}"""


def module(name: str) -> str:
    """Return lines that load this module."""
    return f"modules:\n  {name}: {{}}"


def permissions(target: Target, commands: Sequence[str]) -> str:
    """Return lines that let the target's login call these commands."""
    match target.credentials:
        case Basic(user, _) | IssuedLogin(Basic(user, _), _):
            who = f"      access:\n        - allow:\n          - user: {json.dumps(user)}"
        case Bearer():
            who = _by_token("THE TOKEN'S ACCOUNT")
        case _:
            address = "127.0.0.1/32" if is_loopback(target.url) else "THIS MACHINE'S ADDRESS"
            who = f'      ip: "{address}"'
    return _permission("restbroker", who, commands)


def administrator(target: Target) -> str:
    """Return lines that make the target's account an administrator."""
    match target.credentials:
        case Basic(user, _) | IssuedLogin(Basic(user, _), _):
            who = json.dumps(user)
        case _:
            who = "THE TOKEN'S ACCOUNT"
    return f"access_rules:\n  configure:\n    allow:\n      - user: {who}"


def tokens(user: str) -> str:
    """Return lines that let this account have tokens."""
    return f"""\
oauth_access: restbroker
access_rules:
  restbroker:
    allow:
      - user: {json.dumps(user)}"""


def token_permissions(user: str, commands: Sequence[str]) -> str:
    """Return lines that let tokens of this account call these commands."""
    return _permission("restbroker's tokens", _by_token(user), commands)


def _permission(name: str, who: str, commands: Sequence[str]) -> str:
    # One command to a line: a long line is broken by a narrow terminal and then copied with the break.
    what = "".join(f"\n      - {json.dumps(command)}" for command in commands)
    return f'api_permissions:\n  "{name}":\n    who:\n{who}\n    what:{what}'


def _by_token(user: str) -> str:
    inner = f"access:\n          - allow:\n            - user: {json.dumps(user)}"
    return f'      oauth:\n        - scope: "ejabberd:admin"\n        - {inner}'
