"""The options that a source of the kind `openfire-sse` takes: whose server, which users, and their passwords.

The loader makes an instance, which makes `settings.Settings` of itself: those are the finished source's options. Always
holds: neither Trio nor an HTTP client is loaded here.
"""

import re
from typing import Annotated, ClassVar, Final, TypeAlias

import attrs

from restbroker.config import forms
from restbroker.config.events import EventSource
from restbroker.config.form import Items, whole, word
from restbroker.config.key import key
from restbroker.config.kind import At, SourceDefaults
from restbroker.config.passwords import passwords_in
from restbroker.config.review import Review
from restbroker.config.secret import Secret
from restbroker.errors import ConfigError
from restbroker.job.jid import folded
from restbroker.servers.openfire.stream.settings import BUFFER_BYTES, LEASE_S, SILENCE_S, RawMode, Settings

_USER: Final = re.compile(r"[^\s/@:]{1,64}")
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


@attrs.frozen(kw_only=True)
class Options:
    """What is written under `Options`."""

    DEFAULTS: ClassVar[SourceDefaults] = SourceDefaults(is_reader=True, has_ids=False, target_kind="openfire-chat")

    target: str | None = key(
        "Target", "The target of the kind openfire-chat whose server and logins are used.", mandatory="always"
    )
    users: _Users = key(
        "Users",
        "Whose streams are read, as names. They are logged in, but for who was logged off by a job.",
        (),
        shown=None,
        mandatory="or Askers",
    )
    askers: _Users = key(
        "Askers",
        "Users who ask experts (the command ask) and are not logged in: a stream of theirs is there while they ask.",
        (),
        shown=None,
    )
    passwords_file: str | None = key(
        "PasswordsFile",
        "A private file with a line user:password for each of them: a stream is given to its user alone. It is read"
        " anew whenever a stream is opened.",
        mandatory="always",
    )
    raw: RawMode = key(
        "Raw",
        "typed: an event for each that the server has a form for; stanzas: for each stanza that reaches the user, as"
        " XML; both: most come twice.",
        "typed",
    )
    announces: bool = key(
        "Announce",
        "Make a user available after each login, once his stream is open; the login itself does so before.",
        default=True,
    )
    silence: forms.Duration = key(
        "Silence",
        "So long may nothing come, not even a heartbeat (10 s), until the stream is opened anew.",
        SILENCE_S,
        shown=f"{SILENCE_S:g}s",
    )
    lease: forms.Duration = key(
        "Lease",
        "So long after a process died without a word another one reads its users' streams.",
        LEASE_S,
        shown=f"{LEASE_S:g}s",
    )
    limit: Annotated[int, whole(_LEAST_LIMIT, _MOST_LIMIT)] = key(
        "LargestEvent",
        "How many bytes an event may have; a larger one is lost. A message is at least a third larger there.",
        4 * 1024 * 1024,
    )
    buffer: Annotated[int, whole(_LEAST_BUFFER, _MOST_BUFFER)] = key(
        "Buffer",
        "How many bytes of events wait in memory while Redis takes none. Then no stream is read, and Openfire has those"
        " wait who send to these users.",
        BUFFER_BYTES,
    )

    def check(self, source: EventSource, at: At, review: Review) -> EventSource:
        """See `config.kind`."""
        place = at("Options")
        if self.target is None:
            review.refuse(f"{place}.Target", "is missing or empty; it is the name of a target of kind openfire-chat.")
        everybody = [folded(user) for user in (*self.users, *self.askers)]
        if not everybody:
            review.refuse(f"{place}.Users", "is missing or empty; say whose events are wanted.")
        if len(set(everybody)) < len(everybody):
            review.refuse(f"{place}.Users", "names a user for the second time; a user has one stream.")
        for name, value, least in (("Lease", self.lease, _LEAST_LEASE_S), ("Silence", self.silence, _LEAST_SILENCE_S)):
            if value < least:
                review.refuse(f"{place}.{name}", f"expected at least {least:g} s, found {value:g} s.")
        if self.passwords_file is None:
            what = "is missing or empty; a stream is given to its user alone, with his password."
            review.refuse(f"{place}.PasswordsFile", what)
            return source
        secret = Secret(path=review.base / self.passwords_file)
        _judge_file(secret, everybody, f"{place}.PasswordsFile", review)
        count = len(self.users)
        settings = Settings(
            users=tuple(everybody[:count]),
            askers=tuple(everybody[count:]),
            passwords=secret,
            mode=self.raw,
            announces=self.announces,
            silence_s=self.silence,
            lease_s=self.lease,
            limit_bytes=self.limit,
            buffer_bytes=self.buffer,
        )
        return attrs.evolve(
            source, options=settings, alone=settings.everybody, target_name=self.target, secrets=(secret,)
        )


def _judge_file(secret: Secret, users: list[str], place: str, review: Review) -> None:
    try:
        known = passwords_in(secret)
    except ConfigError as error:
        review.refuse(place, error.message)
        return
    if missing := [user for user in users if user not in known]:
        names = ", ".join(missing)
        review.refuse(
            place, f"has no line for {names}; add one, name:password, or take the name out of Users or Askers."
        )
