"""The options that a target of kind `prosody-rest` takes: the modules beside mod_rest, and how long an iq may take.

Used by the catalogue, the connector and the check. Always holds: no Trio is loaded here; of a finished target's, `rest`
is its own URL, and the other places share its origin, so that one pool of connections serves them all.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Final, Literal

import attrs

from restbroker.config import forms
from restbroker.config.key import Items, key, secret, word
from restbroker.config.kind import At, Defaults, note_no_login, with_broadcasts
from restbroker.config.logins import note_plain
from restbroker.config.problems import Problems
from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Bearer, Credentials, IssuedLogin, Target, check_bearer
from restbroker.config.urls import BadUrl, rest_address
from restbroker.light import frozen

Api = Literal["rest", "admin", "msg"]
"""mod_rest, mod_http_admin_api, mod_post_msg."""
_BROADCAST: Final = "announcement"
_FIELD: Final = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"


@frozen
class ApiAddress:
    """Where one API is: the path before that of each command, and its login."""

    path: str
    login: Credentials


@frozen(kw_only=True)
class Options:
    """The members of `Options` in the configuration; `apis` are the APIs that the target has.

    `host`: the domain of the account, if anything tells it.
    """

    DEFAULTS: ClassVar = Defaults(url="http://127.0.0.1:5280/rest", takes_token=True)

    apis: Mapping[Api, ApiAddress] = MappingProxyType({})
    host: str | None = None
    _admin_url: str | None = key("AdminURL", secret=True)
    """mod_http_admin_api's URL, for announcements, invites and users; same server and port as URL."""
    _admin_token: Secret | None = secret("AdminToken")
    """Its bearer token, if Auth has none or another."""
    _msg_url: str | None = key("MsgURL", secret=True)
    """mod_post_msg's URL, for the command `msg`; same server and port as URL. Needs Auth.Basic."""
    iq_timeout_s: forms.Duration | None = key("IqTimeout")
    """How long an iq may take, if longer than RequestTimeout; mod_rest allows 300 s."""
    fields: Annotated[
        tuple[str, ...],
        Items("list of names", 'a list of names such as ["receipt"]', word("name", _FIELD, "a member's name")),
    ] = key("Fields", default=())
    """Further members of stanzas that your mod_rest knows. restbroker refuses unknown ones, which mod_rest drops
    silently."""

    def check(self, target: Target, at: At, problems: Problems) -> Target:
        """Return the target with the addresses of its APIs in its options; add problems and notes to `problems`."""
        if isinstance(target.credentials, IssuedLogin):
            problems.refuse(
                at("Auth"), "asks for tokens that the server issues, as ejabberd does; use Basic or a token."
            )
        elif target.credentials is None:
            hint = f"Give {at('Auth')}: mod_rest accepts an account's password or a token."
            note_no_login(target, hint, problems)
        place = at("Options")
        token = problems.try_secret(f"{place}.AdminToken", self._admin_token)
        check_bearer(f"{place}.AdminToken", token, problems)
        if token is not None and target.credentials is None:
            note_plain(target.url, problems)
        places, host = dict(_bare(target).apis), account_domain(target)
        if (path := _path(self._admin_url, target, at, member="Options.AdminURL", problems=problems)) is not None:
            # It takes bearer tokens alone.
            login = target.credentials if token is None else Bearer(token)
            if isinstance(login, Bearer):
                places["admin"] = ApiAddress(path, login)
            else:
                why = "is missing: mod_http_admin_api accepts only bearer tokens."
                problems.refuse(f"{place}.AdminToken", why)
        elif token is not None and self._admin_url is None:
            problems.refuse(f"{place}.AdminURL", "is missing; AdminToken is for it.")
        if (path := _path(self._msg_url, target, at, member="Options.MsgURL", problems=problems)) is not None:
            # It takes passwords alone, with the whole JID.
            match target.credentials:
                case Basic(user, password) if host is not None:
                    places["msg"] = ApiAddress(path, Basic(user if "@" in user else f"{user}@{host}", password))
                case _:
                    needs = f"needs {at('Auth')} with Basic, and the account's domain in User or Domain."
                    problems.refuse(f"{place}.MsgURL", needs)
        return attrs.evolve(
            target,
            options=attrs.evolve(self, apis=places, host=host, admin_url=None, admin_token=None, msg_url=None),
            secrets=() if token is None else (token,),
            at_most_once=with_broadcasts(target.at_most_once, *((_BROADCAST,) if "admin" in places else ())),
        )


def options_of(target: Target) -> Options:
    """Return the target's options; if it was not configured, those of a target with a URL and a login alone."""
    return target.options if isinstance(target.options, Options) else _bare(target)


def account_domain(target: Target) -> str | None:
    """Return the domain of the account that stanzas are sent from: the login's, else the target's, else None."""
    match target.credentials:
        case Basic(user, _) if "@" in user:
            return user.rpartition("@")[2]
        case _:
            return target.default_host


def _bare(target: Target) -> Options:
    """Return options with mod_rest alone, which takes only the account's local part: a JID gets 403 (measured)."""
    login = target.credentials
    if isinstance(login, Basic):
        login = Basic(login.user.rpartition("@")[0] or login.user, login.password)
    return Options(apis={"rest": ApiAddress(target.url.path, login)}, host=account_domain(target))


def _path(written: str | None, target: Target, at: At, member: str, problems: Problems) -> str | None:
    """Return the path of another API on the target's server; None if none is written, or it is wrong (a problem)."""
    if written is None:
        return None
    place = at(member)
    try:
        address = rest_address(written)
    except BadUrl as bad:
        problems.refuse(place, str(bad))
        return None
    if address.credentials is not None:
        problems.refuse(place, "has a login in it; remove that.")
    elif (address.url.origin, address.url.socket) != (target.url.origin, target.url.socket):
        why = f"is not on {target.url.origin}, where URL is; make a target of its own for it."
        problems.refuse(place, why)
    else:
        return address.url.path
    return None
