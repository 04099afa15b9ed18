"""The flat keys of the Go original, which make one target.

Called by `config.check_targets`. Always holds: the place of a problem is the flat key.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import attrs

from restbroker.config import forms
from restbroker.config.key import Key, inline, key, make, secret, whole
from restbroker.config.logins import issued_login
from restbroker.config.problems import Problems
from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Credentials, Target, check_bearer, check_login
from restbroker.config.urls import RestAddress
from restbroker.kinds import FLAT
from restbroker.light import frozen

DEFAULT_REST = "http://localhost:5281"
_NAMES: Mapping[str, str] = {
    "URL": "RestURL",
    "Domain": "JabberDomain",
    "Queues": "RestQueue",
    "Auth": "RestUser and RestPass, or RestToken",
    "Options": "",
}
"""The flat key for a member of a target, where its name differs."""
_NOT_FLAT = frozenset({"Kind", "TLS", "Proxy", "ProxyUser", "ProxyPass", "ProxyPassFile", *_NAMES})


def _flat(described: Key) -> Key | None:
    if described.name in _NOT_FLAT:
        return None
    # The Go original read no other spelling.
    aliases = ("Concurreny",) if described.name == "Concurrency" else ()
    return attrs.evolve(described, of_target=described.name, aliases=aliases)


@frozen(kw_only=True)
class FlatKeys:
    """What the operator wrote for the flat keys; None: nothing."""

    rest_url: str | None = key("RestURL", shown="http://localhost:5281", secret=True, of_target="URL")
    """The server's HTTP API; commands are appended (RestURL/register). For ejabberd usually …/api. A unix socket:
    http+unix://%2Frun%2Fx.sock/api, its path with %2F for each /."""
    rest_auth: Literal["auto", "basic", "bearer"] | None = key("RestAuth", of_target="Auth")
    """How to log in; by default, with what is given. basic: RestUser. bearer: RestToken, else a token that the server
    issues for RestUser. auto: such a token, else RestUser."""
    rest_user: str | None = key("RestUser", of_target="Auth")
    """The user for HTTP Basic, e.g. admin@example.org."""
    rest_pass: Secret | None = secret("RestPass", of_target="Auth")
    """The password for HTTP Basic."""
    rest_token: Secret | None = secret("RestToken", of_target="Auth")
    """A bearer token for the server."""
    server_version: str | None = key("ServerVersion", shown="auto", of_target="Options")
    """The server's version, e.g. 24.12; auto: ask the server."""
    api_version: Annotated[int, whole(0, 9999)] | None = key("ApiVersion", of_target="Options")
    """The API version (COMMAND/vN) if a job names none; ejabberd 24.02 or newer."""
    jabber_domain: forms.Name | None = key("JabberDomain", of_target="Domain")
    """The virtual host: for a missing `host` argument, and the Host header."""
    rest_queue: forms.Queue | None = key("RestQueue", mandatory="without Targets", of_target="Queues")
    """The queue to take jobs from, without `queue:`."""
    _target: Target = inline(Target, Target(), _flat)

    def entry(self, problems: Problems) -> Target:
        """Return the flat keys as an entry of `Targets`."""
        if self.rest_url is None:
            hint = "ejabberd's API is usually under /api."
            problems.note("DefaultURL", f"RestURL is not given; using {DEFAULT_REST}.", hint)
        found = {"ServerVersion": self.server_version, "ApiVersion": self.api_version}
        options = make(problems.kinds[FLAT], {name: value for name, value in found.items() if value is not None})
        written = attrs.evolve(
            self._target.written,
            url=self.rest_url or DEFAULT_REST,
            queues=(self.rest_queue,) if self.rest_queue else (),
        )
        domain = self.jabber_domain
        return attrs.evolve(
            self._target, name=FLAT, kind=FLAT, written=written, default_host=domain, options=options, is_flat=True
        )

    def login(self, address: RestAddress, problems: Problems) -> Credentials:
        """Return the credentials that `RestAuth` chooses, or, without it, those that were written.

        None if there is no login, or if it has a problem, which is added to `problems`.
        """
        before = len(problems.problems)
        basic = self._basic(address, problems)
        bearer = check_bearer("RestToken", problems.try_secret("RestToken", self.rest_token), problems)
        match self.rest_auth:
            case "basic":
                found: Credentials = basic
            case "bearer":
                found = bearer or issued_login(basic, fallback=False)
            case _ if basic is not None and bearer is not None:
                problems.refuse("RestAuth", "choose basic or bearer, since both RestUser and RestToken are given.")
                return None
            case "auto" if bearer is None:
                found = issued_login(basic, fallback=True)
            case _:
                found = basic or bearer
        if found is None and self.rest_auth in ("basic", "bearer") and len(problems.problems) == before:
            wanted = "RestUser and RestPass" if self.rest_auth == "basic" else "RestToken, or RestUser and RestPass"
            problems.refuse("RestAuth", f"is {self.rest_auth}, which needs {wanted}.")
        return found

    def _basic(self, address: RestAddress, problems: Problems) -> Basic | None:
        basic = check_login(self.rest_user, self.rest_pass, ("RestUser", "RestPass"), problems)
        if address.credentials is None:
            return basic
        if self.rest_user is None:
            hint = "Use RestUser and RestPassFile, so that the URL can be shown."
            problems.note("LoginInURL", "The login is taken from RestURL.", hint)
            return address.credentials
        problems.note("LoginInURL", "RestUser is used, not the login in RestURL.", "Remove it from RestURL.")
        return basic


def place_of(member: str) -> str:
    """Return the flat key for a member of a target: `RestURL` for `URL`."""
    return _NAMES.get(member, member)
