"""The options that a target of kind `mongooseim` takes beyond those of every target. Loads no Trio."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, Literal

import attrs

from restbroker.config.key import key
from restbroker.config.kind import At, Defaults, note_no_login, with_broadcasts, with_slots
from restbroker.config.problems import Problems
from restbroker.config.target import Basic, Target
from restbroker.light import frozen
from restbroker.servers.mongooseim.command_attributes import BROADCAST, REGISTER

Schema = Literal["admin", "domain_admin", "user"]
_SLOTS: Final[Mapping[str, int]] = MappingProxyType({REGISTER: 2})
"""The most jobs of a command that may be in progress at once, by default.

Registering an account costs the server 12 ms of a processor (measured): more at once than it has processors only
lengthen the wait.
"""


@frozen
class Options:
    """The options of a target. `schema`: which of the server's three endpoints the URL leads to.

    `server_version`: the version whose operations to expect, e.g. "6.5.0"; "auto" asks the server.
    """

    DEFAULTS: ClassVar = Defaults(idle_expiry_s=4.0, domain_is_host=False, url="http://localhost:5551/api/graphql")
    """MongooseIM closes a connection after 5 s, and its listeners may want a Host that is none of its domains."""

    schema: Schema = key("Schema", default="admin")
    """The URL's endpoint: an admin's, a domain admin's or a user's."""
    server_version: str = key("ServerVersion", default="auto")
    """The server's version, e.g. 6.5.0; auto: ask (only admins get it)."""

    def check(self, target: Target, at: At, problems: Problems) -> Target:
        """Return the target as it is to be used, with defaults filled in; add what is wrong with it to `problems`.

        The defaults are a domain admin's own domain as `Domain`, the slots, and broadcasts as at-most-once.
        """
        match target.credentials:
            case Basic(user, _):
                self._classify_user(user, at, problems)
            case None if self.schema == "admin":
                hint = f"Give {at('Auth')} with Basic, unless its listener has no username and password."
                note_no_login(target, hint, problems)
            case _:
                why = "must be Basic: MongooseIM accepts no other login."
                problems.refuse(at("Auth"), why)
        if self.server_version != "auto" and not self.server_version[:1].isdigit():
            problems.refuse(at("Options.ServerVersion"), 'is neither "auto" nor a version such as "6.5.0".')
        return attrs.evolve(
            target,
            default_host=target.default_host or self._own_domain(target),
            slots=with_slots(target.slots, _SLOTS),
            at_most_once=with_broadcasts(target.at_most_once, BROADCAST),
        )

    def _classify_user(self, user: str, at: At, problems: Problems) -> None:
        local, _, domain = user.rpartition("@")
        if self.schema == "domain_admin" and local != "admin":
            why = "is not a domain admin's: that user is admin@ and the domain."
            problems.refuse(at("Auth"), why)
        elif self.schema == "user" and not (local and domain):
            why = "is not a user's: the user is a whole JID, such as bot@example.org."
            problems.refuse(at("Auth"), why)

    def _own_domain(self, target: Target) -> str | None:
        """Return the domain of a domain admin's login; None for other schemas (a user's operations name no domain)."""
        match target.credentials:
            case Basic(user, _) if self.schema == "domain_admin":
                return user.rpartition("@")[2]
            case _:
                return None
