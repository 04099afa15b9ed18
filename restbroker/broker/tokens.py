"""The tokens that jobs may carry, kept in memory and re-read from their files when a job's token does not fit."""

from collections.abc import Sequence

import attrs

from restbroker.config.tokens import Token
from restbroker.errors import ConfigError
from restbroker.rules import auth
from restbroker.rules.json_types import Json


@attrs.define(eq=False)
class Tokens:
    """Never empty. A file that cannot be read later leaves the last good value in force."""

    tokens: Sequence[Token]
    _values: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        """Reads every token once; raises `ConfigError` if a file cannot be read."""
        self._values = self._read()

    def allow(self, given: Json) -> bool:
        """Whether `given` is one of the tokens, as configured now."""
        if auth.allowed(given, self._values):
            return True
        if all(secret.path is None for token in self.tokens for secret in token.secrets):
            return False
        try:
            self._values = self._read()
        except ConfigError:
            return False
        return auth.allowed(given, self._values)

    def _read(self) -> tuple[str, ...]:
        return tuple(secret.reveal() for token in self.tokens for secret in token.secrets)

    @property
    def values(self) -> tuple[str, ...]:
        """The texts to keep out of every message."""
        return self._values
