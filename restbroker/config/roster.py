"""The section `Roster`: where and how rosters are served, and which target tells Prosody that one has changed.

Used by `app` and the commands for rosters. Always holds of a loaded one: if other machines can reach it, it asks for a
login, and the target that refreshes rosters is able to do so.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Final

import attrs

from restbroker.config import forms
from restbroker.config.key import duration, key, secret, whole
from restbroker.config.problems import Problems, at
from restbroker.config.secret import NO_SECRET, Secret
from restbroker.config.target import Basic, Target
from restbroker.config.urls import is_loopback
from restbroker.config.values import without_logins
from restbroker.kinds import PROSODY_ROSTER
from restbroker.light import frozen

LONGEST_S: Final = 4.0
"""How many seconds Prosody's users wait for their rosters at most."""
USER: Final = "{user}"
"""What stands for the user in a path."""
_KEY: Final = re.compile(r"[A-Za-z0-9._~+/=-]+", re.ASCII)
_SHARE: Final = 0.8
"""The share of a refresh's time that Prosody may spend waiting for a roster."""
_HINT: Final = "give Auth, or use a loopback address"


@frozen
class QueryKey:
    """A key in the query of the address, `?key=…`, which Prosody can send instead of HTTP Basic."""

    value: Secret = secret("Value", default=NO_SECRET, mandatory="or ValueFile")
    """The key."""

    def check(self, place: str, problems: Problems) -> "QueryKey | None":
        """Return the key as it is to be used; None without a usable one, which becomes a problem in `problems`."""
        where = at(place, "Value")
        value = problems.try_secret(where, self.value, missing="it is the key in the address (or use ValueFile)")
        if value is None:
            return None
        if not _KEY.fullmatch(value.reveal()):
            problems.refuse(where, "must be of letters, digits and . _ ~ + / = - only, since it is part of an address.")
        return QueryKey(value)


@frozen
class RosterAuth:
    """How Prosody logs in, as it is written: one of two ways."""

    basic: Basic | None = key("Basic", secret=True)
    """User and password: http://USER:PASS@… in Prosody."""
    key: QueryKey | None = key("Key", secret=True, instead_of=("Basic",))
    """A key in the address: …?key=KEY in Prosody."""

    def check(self, place: str, problems: Problems) -> Basic | QueryKey | None:
        """Return the configured login; None after a problem, which is added to `problems`."""
        if self.basic is not None:
            return self.basic.check(at(place, "Basic"), problems)
        if self.key is not None:
            return self.key.check(at(place, "Key"), problems)
        problems.refuse(place, "is empty; give exactly one of Basic and Key, or remove it.")
        return None


@frozen
class Roster:
    """The section itself; in a checked one, `path` has `USER` once.

    `domain` is the domain of the users; None: of any domain. An answer may take `longest_s` seconds, which is less than
    the time that a request for a refresh waits for it.
    """

    bind: forms.Bind = key("Listen", default=("127.0.0.1", 8082), shown="127.0.0.1:8082")
    """host:port for rosters; without Auth, a loopback address. Port 0: any free one."""
    path: forms.UserPath = key("Path", default=f"/roster/{USER}")
    """The path, with {user} for the user, by default at the end."""
    served: bool = key("Serve", default=True)
    """`restbroker run` serves them too; else only `restbroker roster serve`."""
    domain: str | None = key("Domain")
    """The users' domain, by default Target's: user@Domain is the same as user. Users cannot be their own contact."""
    target: str | None = key("Target")
    """The prosody-roster target that tells Prosody of changes. Without it, rosters are only served."""
    copy_age_s: Annotated[float, duration(30, none=True)] = key("CopyAge", default=86_400.0, shown="24h")
    """While Redis is away, users get copies of their rosters up to this age. 0: no copies."""
    copies_mib: Annotated[int, whole(1, 4096)] = key("CopiesMiB", default=64)
    """Memory for these copies, in MiB; the oldest are dropped first."""
    _auth_as_written: RosterAuth | None = key("Auth", secret=True)
    """How Prosody logs in: exactly one of its members."""
    auth: Basic | QueryKey | None = None
    longest_s: float = LONGEST_S

    def check(self, targets: Sequence[Target], problems: Problems) -> "Roster":
        """Return the section as it is to be used; problems and notes go to `problems`."""
        written = self._auth_as_written
        host = self.bind[0]
        auth = None if written is None else written.check("Roster.Auth", problems)
        if not is_loopback(host) and written is None:
            problems.refuse("Roster.Listen", f"{host} is open to others, and rosters have no login; {_HINT}.")
        elif not is_loopback(host):
            problems.note(
                "PlainRosters",
                f"Rosters, and the login for them, go unencrypted from {host}.",
                "Listen on a loopback address, or let only Prosody reach this one.",
            )
        target = _target(self.target, targets, problems)
        waits_s = [target.timeout_s * _SHARE for target in targets if target.kind == PROSODY_ROSTER]
        domain = self.domain or (target.default_host if target is not None else None)
        return attrs.evolve(
            self,
            path=self.path if USER in self.path else f"{self.path.rstrip('/')}/{USER}",
            domain=None if domain is None else domain.lower(),
            auth_as_written=None,
            auth=auth,
            longest_s=min([LONGEST_S, *waits_s]),
        )


def _target(name: str | None, targets: Sequence[Target], problems: Problems) -> Target | None:
    if name is None:
        able = [target.name for target in targets if target.kind == PROSODY_ROSTER and not target.is_local]
        if able:
            problems.note(
                "NoRosterTarget",
                "Roster names no Target: Prosody does not learn of changes, and users see them at their next login.",
                f'Add "Target": "{able[0]}" to it.',
            )
        return None
    found = next((target for target in targets if target.name == name), None)
    if found is None:
        known = ", ".join(target.name for target in targets)
        problems.refuse("Roster.Target", f"there is no target {without_logins(name)!r}; these are configured: {known}.")
    elif found.kind not in ("", PROSODY_ROSTER):
        why = f"the target {name!r} is of kind {found.kind}; only {PROSODY_ROSTER} refreshes rosters."
        problems.refuse("Roster.Target", why)
    elif found.is_local:
        problems.refuse("Roster.Target", f"the target {name!r} has WritesOnly, and refreshes nothing; name another.")
    return found
