"""Where a target's three APIs are and how each is logged in to. `options` makes one of what is written.

Used by the catalogue, the connector and the check. Always holds: no Trio is loaded here; `rest` is the target's own
URL, and the others share its origin, so that one pool of connections serves them all.
"""

from collections.abc import Mapping
from typing import assert_never

import attrs

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Bearer, Issued, Login, Target
from restbroker.servers.prosody.ways import Api


@attrs.frozen
class Place:
    """One API: the path before that of each command, and its login."""

    path: str
    login: Login


@attrs.frozen
class Settings:
    """The options of a target of kind `prosody-rest`. `host`: the domain of the account, where anything tells it.

    `iq_timeout_s`: how long an iq may take where that is longer than the target's time-out. `fields`: members that this
    mod_rest knows beside those that are known of it.
    """

    places: Mapping[Api, Place]
    host: str | None = None
    iq_timeout_s: float | None = None
    fields: tuple[str, ...] = ()


def settings_of(target: Target) -> Settings:
    """The target's; those of one with nothing but a URL and a login if it was not configured."""
    return (
        target.options if isinstance(target.options, Settings) else Settings({"rest": rest_place(target)}, own(target))
    )


def own(target: Target) -> str | None:
    """The domain of the account that stanzas are sent from: the login's, else the target's."""
    match target.credentials:
        case Basic(user, _) if "@" in user:
            return user.rpartition("@")[2]
        case _:
            return target.default_host


def rest_place(target: Target) -> Place:
    """Where mod_rest is. It wants the local part of the account alone: a whole JID gets 403 (measured)."""
    match target.credentials:
        case Basic(user, password):
            return Place(target.url.path, Basic(user.rpartition("@")[0] or user, password))
        case Bearer() | None as login:
            return Place(target.url.path, login)
        case Issued():  # refused when the configuration is loaded
            return Place(target.url.path, None)
        case _:
            assert_never(target.credentials)


def admin_place(target: Target, path: str, token: Secret | None) -> Place | None:
    """Where mod_http_admin_api is, which takes bearer tokens alone; None where there is none."""
    match token, target.credentials:
        case Secret(), _:
            return Place(path, Bearer(token))
        case None, Bearer() as login:
            return Place(path, login)
        case _:
            return None


def msg_place(target: Target, path: str) -> Place | None:
    """Where mod_post_msg is, which takes passwords alone, with the whole JID; None where there is none."""
    match target.credentials, own(target):
        case Basic(user, password), str(host):
            return Place(path, Basic(user if "@" in user else f"{user}@{host}", password))
        case _:
            return None
