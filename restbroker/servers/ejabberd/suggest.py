"""Writes the `api_permissions` of `ejabberd.yml` that give a target's login the rights that tokens need. Pure.

The registry calls `suggest`. Always holds: the lines are a whole block that ejabberd 23.01 accepts (tried), even with
names of commands that it lacks. Commands that restbroker itself sends are allowed too, with a comment that says so.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Final

from restbroker.config.target import Basic, IssuedLogin, Target
from restbroker.config.urls import is_loopback
from restbroker.servers.allowed_commands import AllowedCommands
from restbroker.servers.ejabberd.catalogue import MESSAGE, STANZA
from restbroker.servers.ejabberd.session import NEEDS_OAUTH2, SCOPE

PROBES: Final = ("status", "connected_users_number")
"""What the probe asks for, to see whether the server works."""
_ACCOUNTS: Final = (*PROBES, "registered_vhosts")
"""Also whether the server has the host of a job that it refused: 26.07 does not tell an account."""
_TOKENS: Final = ("oauth_issue_token", "oauth_revoke_token")
_ACCOUNT: Final = "THE TOKEN'S ACCOUNT"


def suggest(target: Target, allowed: AllowedCommands) -> str:
    """Return the lines for `ejabberd.yml`, with comments that say what to know about them."""
    return "\n".join((*_remarks(target, allowed), *_settings(target, allowed)))


def _remarks(target: Target, allowed: AllowedCommands) -> Iterator[str]:
    yield f"# ejabberd.yml, for the target {target.name}; after the change: ejabberdctl reload_config"
    yield "# Merge it into what the file has: each key stands there once. Rights add up: to leave the login only these,"
    yield "# remove it from all other entries of api_permissions and the acls that they name."
    if target.credentials is not None:
        yield "# Before ejabberd 26.07 the account needs no other right; from then on it must also be an administrator"
        yield "# (access rule configure) of each host that its commands name."
    if isinstance(target.credentials, IssuedLogin):
        yield "# An administrator who may do everything needs only one line instead: oauth_access: configure"
        yield f"# {NEEDS_OAUTH2}"
    if allowed.all_others:
        yield '# A token\'s Allow has "*". Commands of modules that restbroker does not know must be added by hand.'
    if allowed.hosts:
        hosts = ", ".join(allowed.hosts)
        yield f"# ejabberd cannot bind a command to hosts: only restbroker keeps jobs to {hosts}."


def _settings(target: Target, allowed: AllowedCommands) -> Iterator[str]:
    login, commands = target.credentials, allowed.commands
    if isinstance(login, IssuedLogin):
        yield from ("oauth_access: restbroker", "access_rules:", "  restbroker:", "    allow:")
        yield f"      - user: {json.dumps(login.login.user)}"
    yield "api_permissions:"
    match login:
        case None:
            address = "127.0.0.1/32" if is_loopback(target.url.host) else "THIS MACHINE'S ADDRESS"
            yield from _permission(target, "", [f'ip: "{address}"'], commands, own=PROBES)
        case Basic(user):
            yield from _permission(target, "", _account(user), commands, own=_ACCOUNTS)
        case IssuedLogin(Basic(user), fallback):
            own = (*_ACCOUNTS, *_TOKENS) if fallback else _TOKENS
            yield from _permission(target, "", _account(user), commands if fallback else (), own=own)
            yield from _permission(target, "'s tokens", _tokens_of(user), commands, own=_ACCOUNTS)
        case _:
            yield from _permission(target, "'s token", _tokens_of(_ACCOUNT), commands, own=_ACCOUNTS)


def _permission(
    target: Target, what: str, who: list[str], commands: Sequence[str], own: Sequence[str]
) -> Iterator[str]:
    yield f"  {json.dumps(f'restbroker {target.name}{what}')}:"
    yield "    from: mod_http_api"
    yield "    who:"
    yield from (f"      {line}" for line in who)
    yield "    what:"
    yield "      # restbroker itself needs these."
    if MESSAGE in commands:
        own = (*own, STANZA)  # with `id` or `receipts`
    yield from (f"      - {json.dumps(name)}" for name in own)
    if jobs := [name for name in commands if name not in own]:
        yield "      # Jobs may run these."
        yield from (f"      - {json.dumps(name)}" for name in jobs)


def _account(user: str) -> list[str]:
    return ["access:", "  - allow:", f"    - user: {json.dumps(user)}"]


def _tokens_of(user: str) -> list[str]:
    first, *rest = _account(user)
    return ["oauth:", f'  - scope: "{SCOPE}"', f"  - {first}", *(f"  {line}" for line in rest)]
