"""What a source of the kind `openfire-sse` is configured to: whose streams are read, and how.

Made by `options`; used by the other files of this folder. Always holds: no password is in it, but where they stand.
"""

from typing import Final, Literal, TypeAlias

import attrs

from restbroker.config.secret import Secret

RawMode: TypeAlias = Literal["typed", "stanzas", "both"]
"""Which events there are: the server's own forms, the stanzas, or both."""
SILENCE_S: Final = 25.0
"""Two and a half heartbeats."""
LEASE_S: Final = 15.0
BUFFER_BYTES: Final = 32 * 1024 * 1024


@attrs.frozen
class Settings:
    """Those of one source. `users` are logged in, `askers` are not: who asks an expert has a stream without a login.

    `passwords`: a file of lines user:password. `announces`: users are made available after each login. `buffer_bytes`
    of events wait in memory while Redis is away.
    """

    users: tuple[str, ...]
    askers: tuple[str, ...]
    passwords: Secret
    mode: RawMode = "typed"
    announces: bool = True
    silence_s: float = SILENCE_S
    lease_s: float = LEASE_S
    limit_bytes: int = 1024 * 1024
    buffer_bytes: int = BUFFER_BYTES

    @property
    def everybody(self) -> tuple[str, ...]:
        """All whose streams are read."""
        return (*self.users, *self.askers)
