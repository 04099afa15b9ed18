"""The options that a target of kind `openfire-chat` takes beyond those of every target. Loads no Trio."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, Literal

import attrs

from restbroker.config import forms
from restbroker.config.key import key, secret
from restbroker.config.kind import At, Defaults, with_broadcasts, with_slots
from restbroker.config.passwords import check_passwords
from restbroker.config.problems import Problems
from restbroker.config.secret import Secret
from restbroker.config.target import Target
from restbroker.light import frozen
from restbroker.servers.openfire.access import check_access

Paths = Literal["source", "documented"]

BASE: Final = "/rest/api"
"""Where the Chat API is on the port of http-bind (read)."""
_PLUGIN: Final = "/restapi/v1"
_SLOTS: Final[Mapping[str, int]] = MappingProxyType({"ask": 4})
"""The most jobs of a command that may be in progress at once, by default, so that other jobs go on beside them.

They wait for people: an agent who accepts.
"""
_ASK: Final = "ask"
_ONCE: Final = ("broadcast_message", "notify_sessions")


@frozen
class Options:
    """The members of `Options` in the configuration.

    `passwords`: the file with users' own passwords; None: the target's login logs all users in.
    """

    DEFAULTS: ClassVar = Defaults(
        concurrency=6, idle_expiry_s=25.0, domain_is_host=False, url="http://127.0.0.1:7070", login="admin"
    )
    """Openfire's threads are few, and it closes a connection that was idle for 30 s (measured)."""

    secret: Secret | None = secret("Secret")
    """The shared secret (plugin.ofchat.secret), instead of Auth."""
    passwords: forms.SecretFile | None = key("PasswordsFile")
    """A private file with lines user:password. Users without a line need the target's login, which must be an
    administrator's."""
    paths: Paths = key("Paths", default="source")
    """The paths where the plugin's documentation and source differ."""
    joins: bool = key("JoinRooms", default=True)
    """Have a user join a room before they post or invite there, unless their current login did."""

    def check(self, target: Target, at: At, problems: Problems) -> Target:
        """Return the target as it is to be used, with defaults filled in; add what is wrong with it to `problems`.

        The path, the slots and the commands to send at most once are filled in.
        """
        secret = check_access(target, self.secret, at, problems)
        place = at("Options")
        if target.credentials is None and secret is not None and self.passwords is None:
            hint = f"Give {place}.PasswordsFile, or {at('Auth')} with Basic (an administrator's)."
            message = f"{place}.Secret cannot log users in: commands that act as a user need their password."
            problems.note("NoPasswords", message, hint)
        passwords = check_passwords(self.passwords, f"{place}.PasswordsFile", problems)
        return attrs.evolve(
            target,
            url=attrs.evolve(target.url, path=_base(target.url.path)),
            options=attrs.evolve(self, secret=secret, passwords=passwords),
            secrets=() if secret is None else (secret,),
            slots=with_slots(target.slots, _SLOTS),
            # A question is asked once whatever is configured: one of which no one knows may wait for an agent still.
            at_most_once=with_broadcasts(_with_question(target.at_most_once), *_ONCE),
        )


def _base(path: str) -> str:
    """Return the path before that of each command; people may write it with the plugin's part, or leave it out."""
    return path.removesuffix(_PLUGIN) or BASE


def _with_question(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return patterns if _ASK in patterns else (*patterns, _ASK)
