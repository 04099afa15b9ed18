"""The tokens that jobs may carry, kept in memory and re-read from their files when a job's token does not fit.

Admission asks whose a job's third argument is; `restbroker token list` asks the same of waiting jobs. Always holds:
every secret is compared with, whichever fits; no secret is in a `repr`.
"""

from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Final, TypeAlias

import attrs

from restbroker.config.tokens import Token
from restbroker.errors import ConfigError
from restbroker.rules import auth, signing
from restbroker.rules.arguments import Submission
from restbroker.rules.json_types import Json
from restbroker.rules.signing import Signature

_REREAD_S: Final = 1.0
"""A file that looks unchanged is read again after this long, whatever jobs carry meanwhile."""

_Look: TypeAlias = tuple[tuple[int, int, int] | None, ...]


@attrs.frozen
class Proof:
    """What a job showed: the token, the secret that fits, and the signature if it came with one.

    `is_previous`: it is not the token's current secret, but the one that a rotation replaces.
    """

    token: Token
    secret: str = attrs.field(repr=False)
    is_previous: bool
    signature: Signature | None = None


@attrs.define(eq=False)
class Tokens:
    """Never empty. Files that cannot be read later leave the last good values in force.

    `used`: when a job was last let in with each token, by its name (epoch seconds).
    """

    tokens: Sequence[Token]
    used: dict[str, float] = attrs.field(factory=dict)
    _secrets: tuple[Proof, ...] = attrs.field(default=(), repr=False)
    _look: _Look = ()
    _read_at_s: float = 0.0

    def __attrs_post_init__(self) -> None:
        """Reads every secret once; raises `ConfigError` if a file cannot be read."""
        self._look = self._look_now()
        self._secrets = self._read()

    def proof(self, given: Json, jid: str = "", submission: Submission | None = None) -> Proof | None:
        """Whose `given` is, as configured now: a secret, or a signature that fits the jid and the submission."""
        found = self._find(given, jid, submission)
        return self._find(given, jid, submission) if found is None and self._reread() else found

    @property
    def values(self) -> tuple[str, ...]:
        """The texts to keep out of every message."""
        return tuple(known.secret for known in self._secrets)

    def _find(self, given: Json, jid: str, submission: Submission | None) -> Proof | None:
        place = auth.which(given, self.values)
        if place is not None:
            return self._secrets[place]
        signature = signing.read(given)
        if signature is None or submission is None or not jid:
            return None
        named = [known for known in self._secrets if known.token.name == signature.token]
        place = signing.which(signature, [known.secret for known in named], jid, submission)
        return None if place is None else attrs.evolve(named[place], signature=signature)

    def _reread(self) -> bool:
        """Whether there are other secrets now. A flood of bad tokens costs a look at each file, and no reading."""
        look, now_s = self._look_now(), monotonic()
        if not look or (look == self._look and now_s - self._read_at_s < _REREAD_S):
            return False
        self._read_at_s = now_s
        try:
            secrets = self._read()
        except ConfigError:
            return False
        changed = secrets != self._secrets
        self._look, self._secrets = look, secrets
        return changed

    def _read(self) -> tuple[Proof, ...]:
        return tuple(
            Proof(token, secret.reveal(), is_previous=number > 0)
            for token in self.tokens
            for number, secret in enumerate(token.secrets)
        )

    def _look_now(self) -> _Look:
        paths = [secret.path for token in self.tokens for secret in token.secrets if secret.path is not None]
        return tuple(_looks(path) for path in paths)


def _looks(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
