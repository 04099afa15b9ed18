"""The options that a source of kind `openfire-sse` takes: its server, which users, and their passwords.

Used by the other files of this folder. Always holds: they hold no password, only the file where passwords are; neither
Trio nor an HTTP client is loaded here.
"""

from typing import Annotated, ClassVar, Final, TypeAlias

import attrs

from restbroker.config import forms
from restbroker.config.events import EventSource
from restbroker.config.key import Items, key, whole, word
from restbroker.config.kind import At, SourceDefaults
from restbroker.config.passwords import check_passwords, passwords_in
from restbroker.config.problems import Problems
from restbroker.config.secret import NO_SECRET, Secret
from restbroker.config.values import too_short
from restbroker.job.jid import fold_case
from restbroker.kinds import OPENFIRE_CHAT
from restbroker.light import frozen

SILENCE_S: Final = 25.0
"""Two and a half heartbeats."""
LEASE_S: Final = 15.0
BUFFER_BYTES: Final = 32 * 1024 * 1024
_USER: Final = r"[^\s/@:]{1,64}"
_LEAST_LIMIT: Final = 1024
_LEAST_LEASE_S: Final = 1.0
_LEAST_SILENCE_S: Final = 12.0
_MOST_LIMIT: Final = 8 * 1024 * 1024
_LEAST_BUFFER: Final = 1024 * 1024
_MOST_BUFFER: Final = 4 * 1024 * 1024 * 1024


_Users: TypeAlias = Annotated[
    tuple[str, ...],
    Items(
        "list of names",
        'a list of users\' names such as ["ann", "bob"]',
        word("name", _USER, "a user's name, without @ and host"),
    ),
]


@frozen
class Options:
    """The members of `Options` in the configuration.

    `users` are logged in, `askers` are not: a user who asks an expert has a stream without a login. `buffer_bytes`: the
    most bytes of events that wait in memory while Redis is away.
    """

    DEFAULTS: ClassVar[SourceDefaults] = SourceDefaults(is_reader=True, has_ids=False, target_kind=OPENFIRE_CHAT)

    users: _Users = key("Users", default=(), mandatory="or Askers")
    """The users whose streams are read. restbroker logs them in, except those that a job logged off."""
    askers: _Users = key("Askers", default=())
    """Users who only ask experts (the command ask): not logged in, with a stream while they ask."""
    passwords: forms.SecretFile = key("PasswordsFile", default=NO_SECRET, mandatory="always")
    """A private file with a line user:password for each of them, read whenever a stream opens."""
    _target: str | None = key("Target", mandatory="always")
    """The target of kind openfire-chat with the server and its logins."""
    announces: bool = key("Announce", default=True)
    """After each login make users available once their stream is open; the login itself already does so."""
    silence_s: forms.Duration = key("Silence", default=SILENCE_S, shown=f"{SILENCE_S:g}s")
    """Reopen a stream after this long without event or heartbeat (every 10 s)."""
    lease_s: forms.Duration = key("Lease", default=LEASE_S, shown=f"{LEASE_S:g}s")
    """How long after a process dies another takes over its streams."""
    limit_bytes: Annotated[int, whole(_LEAST_LIMIT, _MOST_LIMIT)] = key("LargestEvent", default=4 * 1024 * 1024)
    """Bytes of the largest event; larger ones are lost. Events are longer than their messages by a third or more."""
    buffer_bytes: Annotated[int, whole(_LEAST_BUFFER, _MOST_BUFFER)] = key("Buffer", default=BUFFER_BYTES)
    """Bytes of events that wait in memory while Redis accepts none. Once full, no stream is read, and Openfire blocks
    senders to these users."""

    def check(self, source: EventSource, at: At, problems: Problems) -> EventSource:
        """Return the source as it is to be used, with users' names folded; add what is wrong with it to `problems`."""
        place = at("Options")
        everybody = [fold_case(user) for user in (*self.users, *self.askers)]
        for name, is_wrong, why in (
            ("Target", self._target is None, "is missing or empty; it is the name of a target of kind openfire-chat."),
            ("Users", not everybody, "is missing or empty; name the users whose events you want."),
            ("Users", len(set(everybody)) < len(everybody), "names a user twice; a user has one stream."),
            ("Lease", self.lease_s < _LEAST_LEASE_S, too_short(self.lease_s, _LEAST_LEASE_S)),
            ("Silence", self.silence_s < _LEAST_SILENCE_S, too_short(self.silence_s, _LEAST_SILENCE_S)),
            (
                "PasswordsFile",
                self.passwords == NO_SECRET,
                "is missing or empty; each stream needs its user's password.",
            ),
        ):
            if is_wrong:
                problems.refuse(f"{place}.{name}", why)
        passwords = check_passwords(self.passwords, f"{place}.PasswordsFile", problems) or NO_SECRET
        if passwords != NO_SECRET:
            _refuse_missing(passwords, everybody, f"{place}.PasswordsFile", problems)
        count = len(self.users)
        users, askers = tuple(everybody[:count]), tuple(everybody[count:])
        options = attrs.evolve(self, users=users, askers=askers, passwords=passwords, target=None)
        return attrs.evolve(
            source, options=options, alone=options.everybody, target_name=self._target, secrets=(passwords,)
        )

    @property
    def everybody(self) -> tuple[str, ...]:
        """All users whose streams are read."""
        return (*self.users, *self.askers)


def _refuse_missing(passwords: Secret, users: list[str], place: str, problems: Problems) -> None:
    known = passwords_in(passwords)
    if missing := [user for user in users if user not in known]:
        names = ", ".join(missing)
        problems.refuse(
            place, f"has no line for {names}; add one, name:password, or remove the name from Users or Askers."
        )
